"""What can be set, by environment variable or in a settings file: one table, read by the code and by `doctor`.

The file is TOML in the user's config folder (`settings.toml`), or the one that COMFYUI_API_CONFIG names. An environment
variable wins over the file. Settings that widen what may be touched are never read from the working folder, since a
cloned project could bring its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from comfyui_api.errors import InvalidArgument

DEFAULT_URL = "http://127.0.0.1:8188"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _setting(environment: str, about: str, default: Any) -> Any:
    metadata = {"environment": environment, "about": about}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All settings, read once for a process. Folder lists are absolute or relative to the working folder."""

    url: str = _setting("COMFYUI_URL", "the default ComfyUI server", DEFAULT_URL)
    project: str = _setting("COMFYUI_PROJECT", "the project for calls that name none", "")
    home: str = _setting("COMFYUI_API_HOME", "working folder: state/, projects/ and output/ stand in it", "")
    timeout: float = _setting("COMFYUI_API_TIMEOUT", "seconds without a byte before a call counts as unanswered", 30.0)
    allowed_hosts: tuple[str, ...] = _setting(
        "COMFYUI_API_ALLOWED_HOSTS", "hosts (host or host:port) a URL may name besides this machine", ()
    )
    read_folders: tuple[str, ...] = _setting(
        "COMFYUI_API_READ_FOLDERS",
        "if set, files are read only from these folders and the working folder",
        (),
    )
    write_folders: tuple[str, ...] = _setting(
        "COMFYUI_API_WRITE_FOLDERS", "folders outside the working folder that get_output may write to", ()
    )
    comfyui_path: str = _setting(
        "COMFYUI_API_COMFYUI_PATH",
        "folder of a ComfyUI installation on this machine, that models are downloaded to",
        "",
    )
    download_hosts: tuple[str, ...] = _setting(
        "COMFYUI_API_DOWNLOAD_HOSTS",
        "hosts that models are downloaded from; `default` stands for the known hubs and their storage",
        ("default",),
    )
    max_upload_mb: float = _setting("COMFYUI_API_MAX_UPLOAD_MB", "largest file that upload_image sends", 100.0)
    log_level: str = _setting("COMFYUI_API_LOG_LEVEL", "what goes to stderr: DEBUG, INFO, WARNING or ERROR", "WARNING")
    sandbox_home: str = _setting("COMFYUI_API_SANDBOX_HOME", "where sandboxes are installed", "")
    sandbox_torch_index: str = _setting(
        "COMFYUI_API_SANDBOX_TORCH_INDEX", "package index with a CPU build of PyTorch, for the sandbox", ""
    )


@dataclass(frozen=True)
class ServerEntry:
    """One server of servers.toml. `trusted` is false where the entry comes from the working folder."""

    name: str
    url: str
    trusted: bool


def settings_table() -> list[tuple[str, str, str, str]]:
    """(key in the file, environment variable, what it is, default) of every setting."""
    rows = []
    for f in fields(Settings):
        default = ", ".join(f.default_factory()) if f.default_factory is not MISSING else str(f.default)
        rows.append((f.name, f.metadata["environment"], f.metadata["about"], default))
    return rows


def parse_settings(environment: Mapping[str, str], file_text: str = "", source: str = "settings.toml") -> Settings:
    """Settings from environment variables over the text of a settings file.

    Raises InvalidArgument for a value of the wrong type and for a key that does not exist.
    """
    try:
        from_file = tomllib.loads(file_text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidArgument(f"{source} is not valid TOML: {exc}.", "Correct the file or remove it.") from exc
    known = {f.name: f for f in fields(Settings)}
    if unknown := sorted(set(from_file) - set(known)):
        raise InvalidArgument(
            f"{source} has settings that do not exist: {', '.join(unknown)}.",
            f"These exist: {', '.join(known)}.",
        )
    values: dict[str, Any] = {}
    for name, f in known.items():
        kind = tuple if f.default is MISSING else type(f.default)
        variable = f.metadata["environment"]
        if environment.get(variable):
            values[name] = _coerce(environment[variable], kind, variable)
        elif name in from_file:
            values[name] = _coerce(from_file[name], kind, f"{name} in {source}")
    settings = Settings(**values)
    if settings.log_level.upper() not in LOG_LEVELS:
        raise InvalidArgument(
            f"log_level is '{settings.log_level}'.", f"It is one of {', '.join(LOG_LEVELS)} (COMFYUI_API_LOG_LEVEL)."
        )
    return settings


def parse_servers(text: str, *, trusted: bool, source: str = "servers.toml") -> dict[str, ServerEntry]:
    """The servers of a servers.toml: a table for each, with its `url`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidArgument(f"{source} is not valid TOML: {exc}.", "Correct the file or remove it.") from exc
    servers = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("url"), str):
            raise InvalidArgument(
                f"{source}: the server '{name}' has no url.",
                f'Write: [{name}] and below it url = "http://host:8188".',
            )
        servers[name] = ServerEntry(name=name, url=table["url"], trusted=trusted)
    return servers


def _coerce(value: Any, kind: type, where: str) -> Any:
    if kind is tuple:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise InvalidArgument(f"{where} should be a list of texts, not {value!r}.", "Separate entries by commas.")
    if kind is float:
        try:
            number = float(value)
        except (TypeError, ValueError) as exc:
            raise InvalidArgument(f"{where} should be a number, not {value!r}.", "Write it in digits.") from exc
        if not 0 < number < float("inf"):
            raise InvalidArgument(f"{where} should be a number above 0, not {value!r}.", "Write it in digits.")
        return number
    if not isinstance(value, str):
        raise InvalidArgument(f"{where} should be a text, not {value!r}.", "Put it in quotes.")
    return value.strip()
