"""Where a process works: its settings and folders, and one open connection to each server that it talks to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import anyio
from anyio.abc import TaskGroup
from platformdirs import user_config_path, user_data_path

from comfyui_api.client import ComfyClient, is_loopback
from comfyui_api.errors import FileProblem, InvalidArgument, NotPermitted, UnknownName
from comfyui_api.events import EventStream
from comfyui_api.inventory import Inventory, inventory_path, read_inventory
from comfyui_api.jobs import Jobs
from comfyui_api.projects import manifest_url
from comfyui_api.settings import ServerEntry, Settings, parse_servers, parse_settings
from comfyui_api.storage import stands

APP = "comfyui-api"


@dataclass
class Connection:
    """One server: the HTTP client, the event stream, and what is known to be installed there."""

    client: ComfyClient
    events: EventStream
    inventory_path: Path
    inventory: Inventory | None = None
    inventory_doubted: bool = False
    """Whether the server decided otherwise than its inventory says: then it is asked before the next use."""
    refreshing: anyio.Lock = field(default_factory=anyio.Lock)
    stopping: anyio.Lock = field(default_factory=anyio.Lock)
    running_since: dict[str, float] = field(default_factory=dict)
    """When this process first saw a run running (time.monotonic), while it has not seen it end."""

    @property
    def url(self) -> str:
        return self.client.url


@dataclass
class Workspace:
    """Everything that one process holds. Made by `open_workspace`; the tools get it as their first argument."""

    settings: Settings
    home: Path
    tasks: TaskGroup
    config: Path
    """The user's own configuration folder, whose servers.toml may name any host."""
    _connections: dict[str, Connection] = field(default_factory=dict)
    _jobs: Jobs | None = None

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def jobs(self) -> Jobs:
        if self._jobs is None:
            self._jobs = Jobs(self.state / "jobs.json")
        return self._jobs

    @property
    def default_url(self) -> str:
        return clean_url(self.settings.url)

    def connect(
        self, server: str | None = None, *, project: str | None = None, prompt_id: str | None = None
    ) -> Connection:
        """The connection that a call means: the server it names, else the one its run went to, else the project's,
        else the default.

        Raises UnknownName for a name that is not configured, NotPermitted for a URL that is neither this machine's nor
        allowed.
        """
        url = self._url(server, project, prompt_id)
        if url not in self._connections:
            client = ComfyClient(url, timeout=self.settings.timeout, auth=self._credentials(url))
            events = EventStream(client)
            self._connections[url] = Connection(client, events, inventory_path(self.state, url, self.default_url))
            self.tasks.start_soon(events.run)
        return self._connections[url]

    def known_inventory(self, connection: Connection) -> tuple[Inventory | None, str | None]:
        """(inventory, trouble) as last read or written for this server; None where there is none of it."""
        if connection.inventory is not None and connection.inventory.is_current():
            return connection.inventory, None
        connection.inventory, trouble = read_inventory(connection.inventory_path)
        # Inventories of an older form do not name their server.
        if connection.inventory is not None and connection.inventory.server not in (None, connection.url):
            trouble = f"{connection.inventory_path.name} is of another server, {connection.inventory.server}."
            connection.inventory = None
        return connection.inventory, trouble

    async def close(self) -> None:
        for connection in self._connections.values():
            await connection.client.close()

    def readable(self, path: str) -> Path:
        """The absolute path of a file to read; relative ones stand under the working folder.

        Raises NotPermitted where reading is fenced to folders and this one is outside.
        """
        resolved = self._absolute(path)
        fence = self._folders(self.settings.read_folders)
        if fence and not _inside(resolved, [*fence, self.home]):
            raise NotPermitted(
                f"{resolved} may not be read: COMFYUI_API_READ_FOLDERS allows {_folders([*fence, self.home])} only.",
                "Put the file into one of these folders.",
            )
        return resolved

    def writable_folder(self, path: str) -> Path:
        """The absolute path of a folder to write to: in the working folder, or in one that the settings allow."""
        resolved = self._absolute(path)
        allowed = [self.home, *self._folders(self.settings.write_folders)]
        if stands(resolved) and not resolved.is_dir():
            raise InvalidArgument(f"{resolved} is a file, not a folder.", "Choose a folder.")
        if not _inside(resolved, allowed):
            raise NotPermitted(
                f"{resolved} is outside of the folders that may be written to: {_folders(allowed)}.",
                "Choose a folder inside, or allow this one by COMFYUI_API_WRITE_FOLDERS.",
            )
        return resolved

    def _folders(self, entries: tuple[str, ...]) -> list[Path]:
        return [self._absolute(entry) for entry in entries]

    def _absolute(self, path: str) -> Path:
        try:
            return (self.home / Path(path).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as exc:
            raise InvalidArgument(
                f"{path!r} is no path that can be used: {_words(exc)}.", "Give another path."
            ) from exc

    def _url(self, server: str | None, project: str | None, prompt_id: str | None) -> str:
        if server:
            return self._named(server)
        if prompt_id and (job := self.jobs.find(prompt_id)) is not None:
            return self._permitted(job.server, f"the server of the run {prompt_id} in jobs.json")
        if (name := project or self.settings.project) and (url := manifest_url(self.home, name)):
            return self._permitted(url, f"comfyui_url of the project '{name}'")
        return self.default_url

    def _named(self, server: str) -> str:
        if "://" in server:
            return self._permitted(server, "`server`")
        servers = read_servers(self.home, self.config)
        if (entry := servers.get(server)) is None:
            shown = "of this form" if "@" in server else f"'{server[:200]}'"  # it may hold a password
            hint = " An address begins with http:// or https://." if ":" in server or "." in server else ""
            raise UnknownName(
                f"No server is configured under the name {shown}.{hint}",
                f"Give a URL, or one of these names: {', '.join(servers) or 'none is configured'}.",
            )
        if entry.trusted:
            return clean_url(entry.url, f"the url of [{server}] in servers.toml")
        return self._permitted(entry.url, f"the server '{server}' of servers.toml in the working folder")

    def _credentials(self, url: str) -> tuple[str, str] | None:
        """User and password for a server, from the user's own settings only."""
        own = [self.settings.url, *(entry.url for entry in own_servers(self.config).values())]
        return next((found for known in own if usable_url(known) == url and (found := credentials(known))), None)

    def _permitted(self, url: str, what: str) -> str:
        """The cleaned URL if this machine, an allowed host or one of the user's own servers has it."""
        cleaned = clean_url(url, what)
        if credentials(url):
            raise NotPermitted(f"{what} carries credentials.", "Set COMFYUI_URL for a server that needs them.")
        parts = urlsplit(cleaned)
        host, port = (parts.hostname or "").casefold(), parts.port
        own = [self.default_url, *(usable_url(entry.url) for entry in own_servers(self.config).values())]
        own_places = {(urlsplit(known).hostname, urlsplit(known).port) for known in own if known}
        allowed = {entry.casefold() for entry in self.settings.allowed_hosts}
        if is_loopback(host) or (host, port) in own_places or host in allowed or f"{host}:{port}" in allowed:
            return cleaned
        raise NotPermitted(
            f"{what} is {cleaned}, which is neither on this machine nor an allowed host.",
            f"Ask the user to add {host} to COMFYUI_API_ALLOWED_HOSTS, or to set COMFYUI_URL.",
        )


@asynccontextmanager
async def open_workspace(environment: Mapping[str, str]) -> AsyncIterator[Workspace]:
    """A workspace by the settings of this environment; its connections are closed at the end."""
    settings = read_settings(environment)
    home = working_folder(settings)
    try:
        async with anyio.create_task_group() as tasks:
            workspace = Workspace(settings, home, tasks, config_file(environment).parent)
            try:
                yield workspace
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await workspace.close()
    except BaseExceptionGroup as group:
        # The task group wraps what was raised inside of it; the caller gets it as it was.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings by environment over the user's settings file. Raises InvalidArgument for a wrong one."""
    path = config_file(environment)
    settings = parse_settings(environment, _text(path), str(path))
    clean_url(settings.url, "COMFYUI_URL (url in settings.toml)")
    return settings


def config_file(environment: Mapping[str, str]) -> Path:
    """The user's settings file; servers.toml stands beside it."""
    path = Path(environment.get("COMFYUI_API_CONFIG") or user_config_path(APP) / "settings.toml")
    try:
        return path.expanduser()
    except RuntimeError as exc:
        raise FileProblem(
            f"COMFYUI_API_CONFIG, {path}, is no path: {_words(exc)}.", "Give the path of a file."
        ) from exc


def own_servers(config: Path) -> dict[str, ServerEntry]:
    """The servers of the user's own servers.toml, which may be anywhere."""
    path = config / "servers.toml"
    return parse_servers(_text(path), trusted=True, source=str(path))


def read_servers(home: Path, config: Path) -> dict[str, ServerEntry]:
    """The configured servers: the user's own, and those of the working folder that do not take their names."""
    local = home / "servers.toml"
    return {**parse_servers(_text(local), trusted=False, source=str(local)), **own_servers(config)}


def working_folder(settings: Settings) -> Path:
    """Where state/, projects/ and output/ stand: the set folder, else the current one if it can be written to.

    Desktop agents start servers in `/` or in a folder of their own: then it is the user's data folder.
    """
    if settings.home:
        return _made(Path(settings.home))
    with suppress(OSError):
        current = Path.cwd()
        if current != Path(current.anchor):
            # Only trying tells: on Windows every folder claims to be writable.
            with tempfile.TemporaryFile(dir=current):
                return current.resolve()
    return _made(user_data_path(APP))


def _made(folder: Path) -> Path:
    try:
        folder = folder.expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as exc:
        raise FileProblem(
            f"{folder} cannot be the working folder: {_words(exc)}.", "Set COMFYUI_API_HOME to a folder of yours."
        ) from exc
    return folder


def usable_url(url: str) -> str | None:
    """The cleaned address, or None for what is none."""
    try:
        return clean_url(url)
    except InvalidArgument:
        return None


def clean_url(url: str, what: str = "The address of the server") -> str:
    """The server's address without credentials, query and trailing slashes. Raises InvalidArgument where it is none.

    `what` names where it comes from, for the error.
    """
    # A password or token in it is never repeated.
    shown = what if set(url) & set("@?#") else f"{what}, '{url[:200]}',"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidArgument(f"{shown} is no URL.", "Write it as http://host:8188.") from exc
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise InvalidArgument(f"{shown} is no address of a server.", "Write it as http://host:8188.")
    place = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{place}:{port}" if port else place, parts.path.rstrip("/"), "", ""))


def credentials(url: str) -> tuple[str, str] | None:
    """(user, password) in a URL, for basic authentication."""
    parts = urlsplit(url.strip())
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _words(exc: Exception) -> str:
    return str(getattr(exc, "strerror", None) or exc).rstrip(".")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # as some editors on Windows save it
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise FileProblem(f"{path} could not be read: {exc}.", "Correct the file or remove it.") from exc


def _inside(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _folders(folders: list[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)
