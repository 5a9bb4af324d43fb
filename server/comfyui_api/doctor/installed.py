"""What this program itself needs: Python, packages, its documents, and a command that agents find."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from comfyui_api import __version__
from comfyui_api.doctor.check import Check
from comfyui_api.documents import document
from comfyui_api.errors import FileProblem

DISTRIBUTION = "comfyui-api"
OLDEST_PYTHON = (3, 11)
SHOWN = ("mcp", "httpx2", "pydantic", "typer", "rich")
DOCUMENTS = (
    "references/models.md",
    "references/node_packs.json",
    "references/troubleshooting.md",
    "references/workflows.md",
    "references/templates.md",
)
SCHEMAS = ("foundation/inventory.schema.json", "foundation/api-quick-ref.md")


def check_installed(environment: Mapping[str, str], started_as: str) -> Iterator[Check]:
    """Python, packages, documents, the optional extra, and the console command."""
    yield _python()
    yield _packages()
    missing = [name for name in (*DOCUMENTS, *SCHEMAS) if not _is_there(name)]
    if missing:
        yield Check("references", "problem", f"missing: {', '.join(missing)}", "Install comfyui-api again.")
    else:
        yield Check("references", "ok", str(document(DOCUMENTS[0]).parent))
    if find_spec("av") is None:
        mend = "pip install av in its environment, or comfyui-api with its extra `video`."
        yield Check("videos", "ok", "the optional PyAV is not installed: videos come without previews", mend)
    else:
        yield Check("videos", "ok", f"previews by PyAV {_version('av')}")
    yield _command(environment, started_as)


def _python() -> Check:
    told = f"{platform.python_version()} at {sys.executable}, comfyui-api {__version__}"
    if sys.version_info < OLDEST_PYTHON:
        least = ".".join(map(str, OLDEST_PYTHON))
        return Check("Python", "problem", told, f"Install it in Python {least} or newer.")
    return Check("Python", "ok", told)


def _packages() -> Check:
    try:
        required = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return Check(
            "packages", "warn", "comfyui-api runs from a folder and is not installed", "uv tool install FOLDER."
        )
    names = [name[0] for line in required if ";" not in line and (name := re.match(r"[\w.-]+", line))]
    absent = [name for name in names if _version(name) is None]
    if absent:
        return Check("packages", "problem", f"missing: {', '.join(absent)}", "Install comfyui-api again.")
    return Check("packages", "ok", ", ".join(f"{name} {_version(name)}" for name in SHOWN))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_there(name: str) -> bool:
    try:
        document(name)
    except FileProblem:
        return False
    return True


def _command(environment: Mapping[str, str], started_as: str) -> Check:
    """Whether the command that agents' configurations name is found, and is this one."""
    found = shutil.which(DISTRIBUTION, path=environment.get("PATH", ""))
    if found is None:
        mend = "Add its folder to PATH, install it by `uv tool install`, or give agents its full path."
        return Check("command", "warn", f"{DISTRIBUTION} is not on PATH; this one is {started_as}", mend)
    running = Path(started_as)
    if running.stem != DISTRIBUTION:  # started as a module
        return Check("command", "ok", found)
    if Path(found).resolve() != running.resolve():
        mend = "Agents that name the bare command get the first one: remove one of them, or give a full path."
        return Check("command", "warn", f"PATH has {found}, and this one is {running}", mend)
    return Check("command", "ok", found)
