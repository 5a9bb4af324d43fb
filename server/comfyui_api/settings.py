"""What can be set, by environment variable or in a settings file: one table, read by the code and by `doctor`.

The file is TOML in the user's config folder (`settings.toml`), or the one that COMFYUI_API_CONFIG names. An environment
variable wins over the file. Settings that widen what may be touched are never read from the working folder, since a
cloned project could bring its own.

Servers with names stand in `servers.toml`. Keys are never written there: an entry names the environment variable or
the file that has them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from comfyui_api.errors import InvalidArgument

ServerKind = Literal["local", "cloud", "v2"]

DEFAULT_URL = "http://127.0.0.1:8188"
CLOUD_URL = "https://cloud.comfy.org"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _setting(environment: str, about: str, default: Any, *, secret: bool = False) -> Any:
    """A setting; a secret one comes from its environment variable only, and repr does not show it."""
    metadata = {"environment": environment, "about": about, "secret": secret}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """All settings, read once for a process. Folder lists are absolute or relative to the working folder."""

    url: str = _setting("COMFYUI_URL", "the default ComfyUI server: an address, or a name in servers.toml", DEFAULT_URL)
    api_key: str = _setting(
        "COMFYUI_API_KEY",
        "key of a Comfy account: for the default server where that is Comfy Cloud or API v2, and for partner nodes",
        "",
        secret=True,
    )
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
class SecretSource:
    """Where a secret is read when it is needed: an environment variable, or the first line of a file."""

    env: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class ServerEntry:
    """One server as it stands in servers.toml: no secret, only where each is read.

    `trusted` is false where the entry comes from the working folder: then no secret is read for it. `key` is a Comfy
    account's or deployment's key, `token` a bearer token for what stands before the server, `user` and `password` are
    for basic authentication. `ca_file`: the certificates that the server's own must come from. `comfy_user`: whose
    files, on a server with --multi-user. `inventory`: where a server of kind v2 has its node classes from: a server's
    address or name, or a file of a saved /object_info, relative to the folder of this servers.toml.
    """

    name: str
    url: str
    trusted: bool
    kind: ServerKind = "local"
    key: SecretSource | None = None
    token: SecretSource | None = None
    user: str | None = None
    password: SecretSource | None = None
    headers: Mapping[str, SecretSource] = field(default_factory=dict)
    ca_file: str | None = None
    comfy_user: str | None = None
    inventory: str | None = None

    @property
    def opens_doors(self) -> bool:
        """Whether it names secrets or certificates, which only the user's own configuration may."""
        return bool(self.key or self.token or self.user or self.password or self.headers or self.ca_file)


@dataclass(frozen=True)
class Access:
    """How a server is spoken to, with the secrets themselves: never written anywhere, and not shown by repr.

    `headers` go with every request (bearer tokens are among them), `basic` is (user, password). `api_key` is for the
    dialects `cloud` and `v2`. `partner_key` goes into the extra_data of a prompt with partner nodes; it is None for
    servers that are not the user's own. `ca_file` is absolute. `inventory`: see ServerEntry; here it is an address or
    an absolute path, with `inventory_access` for an address.
    """

    kind: ServerKind = "local"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    partner_key: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    inventory: str | None = None
    inventory_access: Access | None = field(default=None, repr=False)


NO_SECRETS = Access()


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
        elif name in from_file and f.metadata["secret"]:
            raise InvalidArgument(
                f"{source} has {name} in the clear.", f"Remove it there, and set {variable} in the environment."
            )
        elif name in from_file:
            values[name] = _coerce(from_file[name], kind, f"{name} in {source}")
    settings = Settings(**values)
    if settings.log_level.upper() not in LOG_LEVELS:
        raise InvalidArgument(
            f"log_level is '{settings.log_level}'.", f"It is one of {', '.join(LOG_LEVELS)} (COMFYUI_API_LOG_LEVEL)."
        )
    return settings


def parse_servers(text: str, *, trusted: bool, source: str = "servers.toml") -> dict[str, ServerEntry]:
    """The servers of a servers.toml: a table for each. Raises InvalidArgument; a secret in the file is not repeated."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidArgument(f"{source} is not valid TOML: {exc}.", "Correct the file or remove it.") from exc
    return {name: _entry(name, table, trusted, f"{source}: the server '{name}'") for name, table in tables.items()}


def _entry(name: str, table: Any, trusted: bool, what: str) -> ServerEntry:
    if "://" in name or not name.strip() or name == "all":
        raise InvalidArgument(f"{what} needs another name: that one means something else.", "Write e.g. [gpu].")
    table = table if isinstance(table, dict) else {}
    kinds, kind = get_args(ServerKind), table.get("kind", "local")
    if kind not in kinds:
        raise InvalidArgument(f"{what} has a kind that does not exist.", f"These exist: {', '.join(kinds)}.")
    values: dict[str, Any] = {"url": CLOUD_URL} | table if kind == "cloud" else dict(table)
    if not isinstance(values.get("url"), str):
        raise InvalidArgument(f"{what} has no url.", f'Write: [{name}] and below it url = "http://host:8188".')
    known = [f.name for f in fields(ServerEntry) if f.name not in ("name", "trusted")]
    if unknown := sorted(set(values) - set(known)):
        raise InvalidArgument(
            f"{what} has keys that do not exist: {', '.join(unknown)}.", f"These exist: {', '.join(known)}."
        )
    for key in ("user", "ca_file", "comfy_user", "inventory"):
        if not isinstance(values.get(key, ""), str):
            raise InvalidArgument(f"{what}: {key} should be a text.", "Put it in quotes.")
    for key in ("key", "token", "password"):
        if key in values:
            values[key] = _secret_source(values[key], f"{what}: {key}", key)
    values["headers"] = _headers(values.get("headers", {}), what)
    if ("user" in values) != ("password" in values):
        raise InvalidArgument(f"{what} has only one of user and password.", "Give both, or none.")
    if "user" in values and "token" in values:
        raise InvalidArgument(
            f"{what} has both a token and a user.", "A request carries one of them: remove the other."
        )
    return ServerEntry(name=name, trusted=trusted, **values)


def _headers(headers: Any, what: str) -> dict[str, SecretSource]:
    if not isinstance(headers, dict):
        raise InvalidArgument(f"{what}: headers should be a table.", 'Write: headers.X-Token = { env = "GPU_TOKEN" }.')
    for header in headers:
        if not _HEADER_NAME.fullmatch(header):
            raise InvalidArgument(f"{what}: {header!r} is no name of a header.", "Use letters, digits and hyphens.")
    return {
        header: _secret_source(value, f"{what}: the header {header}", f"headers.{header}")
        for header, value in headers.items()
    }


def _secret_source(value: Any, what: str, key: str) -> SecretSource:
    if isinstance(value, str):
        raise InvalidArgument(
            f"{what} is written in the clear.",
            f'Put it into an environment variable or a file, and write {key} = {{ env = "NAME" }} or '
            f'{key} = {{ file = "PATH" }}.',
        )
    if isinstance(value, dict) and len(value) == 1 and (found := next(iter(value))) in ("env", "file"):
        place = value[found]
        if isinstance(place, str) and place.strip():
            return SecretSource(**{found: place.strip()})
    raise InvalidArgument(
        f"{what} does not say where it is.", f'Write {key} = {{ env = "NAME" }} or {key} = {{ file = "PATH" }}.'
    )


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
