"""Where a process works: its settings and folders, and one open connection to each server that it talks to."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import anyio
from anyio.abc import TaskGroup
from platformdirs import user_config_path, user_data_path

from comfyui_api.client import ComfyClient, is_loopback
from comfyui_api.errors import FileProblem, InvalidArgument, NotPermitted, UnknownName
from comfyui_api.events import EventStream
from comfyui_api.inventory import Inventory, inventory_path, read_inventory
from comfyui_api.jobs import Jobs
from comfyui_api.projects import manifest_url
from comfyui_api.settings import ServerEntry, Settings, folder_list, parse_servers, parse_settings

APP = "comfyui-api"


@dataclass
class Connection:
    """One server: the HTTP client, the event stream, and what is known to be installed there."""

    client: ComfyClient
    events: EventStream
    inventory_path: Path
    inventory: Inventory | None = None

    @property
    def url(self) -> str:
        return self.client.url


@dataclass
class Workspace:
    """Everything that one process holds. Made by `open_workspace`; the tools get it as their first argument."""

    settings: Settings
    home: Path
    tasks: TaskGroup
    servers: Mapping[str, ServerEntry]
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    _connections: dict[str, Connection] = field(default_factory=dict)
    _jobs: Jobs | None = None

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def output(self) -> Path:
        return self.home / "output"

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
            credentials = self.settings.url if url == self.default_url else url
            client = ComfyClient(credentials, client_id=self.client_id, timeout=self.settings.timeout)
            events = EventStream(client)
            self._connections[url] = Connection(client, events, inventory_path(self.state, url, self.default_url))
            self.tasks.start_soon(events.run)
        return self._connections[url]

    def known_inventory(self, connection: Connection) -> tuple[Inventory | None, str | None]:
        """(inventory, trouble) as last read or written for this server."""
        trouble = None
        if connection.inventory is None:
            connection.inventory, trouble = read_inventory(connection.inventory_path)
        return connection.inventory, trouble

    async def close(self) -> None:
        for connection in self._connections.values():
            await connection.client.close()

    def readable(self, path: str) -> Path:
        """The absolute path of a file to read; relative ones stand under the working folder.

        Raises NotPermitted where reading is fenced to folders and this one is outside.
        """
        resolved = self._absolute(path)
        fence = folder_list(self.settings.read_folders, self.home)
        if fence and not _inside(resolved, [*fence, self.home]):
            raise NotPermitted(
                f"{resolved} may not be read: COMFYUI_API_READ_FOLDERS allows {_folders([*fence, self.home])} only.",
                "Put the file into one of these folders.",
            )
        return resolved

    def writable_folder(self, path: str) -> Path:
        """The absolute path of a folder to write to: in the working folder, or in one that the settings allow."""
        resolved = self._absolute(path)
        allowed = [self.home, *folder_list(self.settings.write_folders, self.home)]
        if not _inside(resolved, allowed):
            raise NotPermitted(
                f"{resolved} is outside of the folders that may be written to: {_folders(allowed)}.",
                "Choose a folder inside, or allow this one by COMFYUI_API_WRITE_FOLDERS.",
            )
        return resolved

    def _absolute(self, path: str) -> Path:
        try:
            return (self.home / Path(path).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as exc:
            raise InvalidArgument(f"{path!r} is no path that can be used: {exc}.", "Give another path.") from exc

    def _url(self, server: str | None, project: str | None, prompt_id: str | None) -> str:
        if server:
            return self._named(server)
        if prompt_id and (job := self.jobs.find(prompt_id)) is not None:
            return job.server
        if (name := project or self.settings.project) and (url := manifest_url(self.home, name)):
            self._permit(url, f"comfyui_url of the project '{name}'")
            return clean_url(url)
        return self.default_url

    def _named(self, server: str) -> str:
        if server.startswith(("http://", "https://")):
            self._permit(server, "`server`")
            return clean_url(server)
        if (entry := self.servers.get(server)) is not None:
            if not entry.trusted:
                self._permit(entry.url, f"the server '{server}' of servers.toml in the working folder")
            return clean_url(entry.url)
        raise UnknownName(
            f"No server is configured under the name '{server}'.",
            f"Give a URL, or one of these names: {', '.join(self.servers) or 'none is configured'}.",
        )

    def _permit(self, url: str, what: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise NotPermitted(f"{what} carries credentials.", "Set COMFYUI_URL for a server that needs them.")
        host = parts.hostname or ""
        allowed = {entry.casefold() for entry in self.settings.allowed_hosts}
        own = urlsplit(self.default_url)
        if is_loopback(host) or (host, parts.port) == (own.hostname, own.port):
            return
        if host.casefold() in allowed or f"{host}:{parts.port}".casefold() in allowed:
            return
        raise NotPermitted(
            f"{what} is {url}, which is neither on this machine nor an allowed host.",
            f"Ask the user to add {host} to COMFYUI_API_ALLOWED_HOSTS, or to set COMFYUI_URL.",
        )


@asynccontextmanager
async def open_workspace(environment: Mapping[str, str]) -> AsyncIterator[Workspace]:
    """A workspace by the settings of this environment; its connections are closed at the end."""
    settings = read_settings(environment)
    home = working_folder(settings)
    try:
        async with anyio.create_task_group() as tasks:
            workspace = Workspace(settings, home, tasks, read_servers(home))
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
    path = Path(environment.get("COMFYUI_API_CONFIG") or user_config_path(APP) / "settings.toml")
    settings = parse_settings(environment, _text(path), str(path))
    clean_url(settings.url)
    return settings


def read_servers(home: Path) -> dict[str, ServerEntry]:
    """The configured servers: the user's own, and those of the working folder that do not take their names."""
    own, local = user_config_path(APP) / "servers.toml", home / "servers.toml"
    return {
        **parse_servers(_text(local), trusted=False, source=str(local)),
        **parse_servers(_text(own), trusted=True, source=str(own)),
    }


def working_folder(settings: Settings) -> Path:
    """Where state/, projects/ and output/ stand: the set folder, else the current one if it can be written to.

    Desktop agents start servers in `/` or in a folder of their own: then it is the user's data folder.
    """
    if settings.home:
        home = Path(settings.home).expanduser().resolve()
        home.mkdir(parents=True, exist_ok=True)
        return home
    with suppress(OSError):
        current = Path.cwd()
        if current != Path(current.anchor) and os.access(current, os.W_OK):
            return current.resolve()
    home = user_data_path(APP)
    home.mkdir(parents=True, exist_ok=True)
    return home


def clean_url(url: str) -> str:
    """The server's address without credentials and trailing slashes. Raises InvalidArgument where it is none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as exc:
        raise InvalidArgument(f"'{url}' is no URL: {exc}.", "Write it as http://host:8188.") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f"'{url}' is no address of a server.", "Write it as http://host:8188.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urlunsplit((parts.scheme, f"{host}:{port}" if port else host, parts.path.rstrip("/"), "", ""))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise FileProblem(f"{path} could not be read: {exc}.", "Correct the file or remove it.") from exc


def _inside(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _folders(folders: list[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)
