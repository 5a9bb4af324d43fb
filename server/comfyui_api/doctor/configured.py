"""The settings with where they come from, and the folders that are worked in."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from comfyui_api.doctor.check import Check
from comfyui_api.errors import ComfyError
from comfyui_api.fetch_models import installation_of
from comfyui_api.repair import did_you_mean
from comfyui_api.servers import usable_url
from comfyui_api.settings import Settings
from comfyui_api.storage import STATE_LIMIT, content_of, text_of
from comfyui_api.workspace import Workspace, config_file, read_settings

PREFIX = "COMFYUI_API_"
# Read elsewhere than in the settings.
OTHER_VARIABLES = frozenset(
    {"COMFYUI_API_CONFIG", "COMFYUI_API_HTTP_TOKEN", "COMFYUI_API_ORACLE", "COMFYUI_API_CHROMIUM"}
)
SECRETS = ("key", "token", "secret", "password")


def check_settings(environment: Mapping[str, str]) -> list[Check]:
    """Each setting that is made, with its source, and variables that mean nothing."""
    known = {each.metadata["environment"]: each for each in fields(Settings)}
    try:
        path = config_file(environment)
        settings = read_settings(environment)
    except ComfyError as exc:
        return [Check("settings", "problem", exc.message, exc.next_step or None)]
    in_file = _keys(path)
    checks = [
        Check("settings file", "ok", f"{path}" if in_file is not None else f"{path} does not exist (none needed)")
    ]
    for variable, setting in known.items():
        source = variable if environment.get(variable) else path.name if setting.name in (in_file or {}) else None
        if source is not None:
            shown = _shown(setting, getattr(settings, setting.name))
            checks.append(Check("setting", "ok", f"{setting.name} = {shown} (from {source})"))
    defaults = len(known) + 1 - len(checks)
    checks.append(Check("setting", "ok", f"{defaults} others are at their defaults"))
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known and variable not in OTHER_VARIABLES:
            perhaps = did_you_mean(variable, known).strip()
            checks.append(Check("setting", "warn", f"{variable} is no setting.", perhaps or "Remove it."))
    return checks


def check_folders(workspace: Workspace) -> Iterator[Check]:
    """The working folder, what stands in it, and the installation that models go to."""
    home, where = workspace.home, "set by COMFYUI_API_HOME" if workspace.settings.home else "the current folder"
    with suppress(OSError):
        if not workspace.settings.home and home != Path.cwd().resolve():
            where = "the user's data folder, as the current folder cannot be written to"
    refused = [
        folder.name for folder in (home, workspace.state, home / "output", home / "projects") if not _takes(folder)
    ]
    if refused:
        mend = "Check its permissions, or set COMFYUI_API_HOME to a folder of yours."
        yield Check("working folder", "problem", f"{home}: {', '.join(refused)} cannot be written to", mend)
    else:
        yield Check("working folder", "ok", f"{home} ({where})")
    jobs = workspace.state / "jobs.json"
    if (trouble := _damage(jobs)) is not None:
        yield Check(
            "runs", "warn", f"{jobs}: {trouble}", "It is set aside at the next run; earlier runs need --server."
        )
    if workspace.settings.comfyui_path:
        try:
            yield Check("ComfyUI's folder", "ok", str(installation_of(workspace, None)))
        except ComfyError as exc:
            yield Check("ComfyUI's folder", "problem", exc.message, exc.next_step or None)


def _keys(path: Path) -> dict[str, Any] | None:
    """What stands in the settings file; None where there is none."""
    try:
        return tomllib.loads(text_of(path))
    except (OSError, ValueError):
        return None


def _shown(setting: Field[Any], value: Any) -> str:
    """A value without what is secret: credentials in an address, and whole keys."""
    if setting.metadata.get("secret") or any(word in setting.name for word in SECRETS):
        return "set"
    if setting.name == "url" and "://" in value:
        credentials = " with credentials" if "@" in value else ""
        return f"{usable_url(value) or 'no address'}{credentials}"
    is_list = setting.default is MISSING
    return ", ".join(value) if is_list else str(value)


def _takes(folder: Path) -> bool:
    """Whether files can be written to a folder; one that is not there yet will be made."""
    if not folder.exists():
        return True
    try:
        # Only trying tells: on Windows every folder claims to be writable.
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _damage(path: Path) -> str | None:
    """What is wrong with a file of ours that should be a JSON object."""
    try:
        content = json.loads(content_of(path, STATE_LIMIT))
    except FileNotFoundError:
        return None
    except OSError as exc:
        return f"it cannot be read ({exc.strerror or exc})"
    except (ValueError, RecursionError):
        return "it is no valid JSON"
    return None if isinstance(content, dict) else "it is no list of runs"
