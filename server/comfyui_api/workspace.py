"""Where a process works: its settings and folders, and one open connection to each server that it talks to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from platformdirs import user_config_path, user_data_path

from comfyui_api.comfy_server import ComfyServer
from comfyui_api.dialects import open_server
from comfyui_api.errors import FileProblem, InvalidArgument, NotPermitted
from comfyui_api.events import RunEvents
from comfyui_api.inventory import Inventory, inventory_path, read_inventory
from comfyui_api.jobs import Jobs
from comfyui_api.masking import Mask, hidden_in_logs, secrets_of
from comfyui_api.servers import Place, Servers, clean_url, file_text, in_words
from comfyui_api.settings import Access, Settings, parse_settings
from comfyui_api.storage import stands

APP = "comfyui-api"


@dataclass
class Connection:
    """One server: the HTTP client, the event stream, and what is known to be installed there."""

    client: ComfyServer
    events: RunEvents
    inventory_path: Path
    access: Access
    name: str | None = None
    """Its name in servers.toml, where it has one."""
    inventory: Inventory | None = None
    inventory_trouble: str | None = None
    """Why it, or its node classes, were last found to be not there any more."""
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
    servers: Servers
    mask: Mask = field(default_factory=Mask, repr=False)
    """Hides every secret that this process has used so far."""
    _connections: dict[tuple[str, str | None], Connection] = field(default_factory=dict)
    _jobs: Jobs | None = None

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def jobs(self) -> Jobs:
        if self._jobs is None:
            self._jobs = Jobs(self.state / "jobs.json")
        return self._jobs

    def connect(
        self, server: str | None = None, *, project: str | None = None, prompt_id: str | None = None
    ) -> Connection:
        """The connection that a call means: the server it names, else the one its run went to, else the project's,
        else the default.

        Raises UnknownName for a name that is not configured, NotPermitted for a URL that is neither this machine's nor
        allowed, InvalidArgument and FileProblem for a secret that is not where it should be.
        """
        job = self.jobs.find(prompt_id) if prompt_id and not server else None
        place = self.servers.meant(server, project=project, job=job)
        key = (place.url, place.name)
        if key not in self._connections:
            self._connections[key] = self._open(place)
        return self._connections[key]

    def _open(self, place: Place) -> Connection:
        access = self.servers.access(place)
        self.mask.add(secrets_of(access))
        client, events = open_server(place.url, access, timeout=self.settings.timeout)
        path = inventory_path(self.state, place.url, self.servers.default.url)
        self.tasks.start_soon(events.run)
        return Connection(client, events, path, access, place.name)

    def known_inventory(self, connection: Connection) -> tuple[Inventory | None, str | None]:
        """(inventory, trouble) as last read or written for this server; None where there is none of it.

        What is set aside is there once only: why something is missing is told until it is there again.
        """
        if (kept := connection.inventory) is not None and kept.is_current():
            return kept, connection.inventory_trouble if kept.classes is None else None
        connection.inventory, trouble = read_inventory(connection.inventory_path)
        # Inventories of an older form do not name their server.
        if connection.inventory is not None and connection.inventory.server not in (None, connection.url):
            trouble = f"{connection.inventory_path.name} is of another server, {connection.inventory.server}."
            connection.inventory = None
        if connection.inventory is None:
            trouble = trouble or connection.inventory_trouble
        connection.inventory_trouble = trouble
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
                f"{path!r} is no path that can be used: {in_words(exc)}.", "Give another path."
            ) from exc


@asynccontextmanager
async def open_workspace(environment: Mapping[str, str]) -> AsyncIterator[Workspace]:
    """A workspace by the settings of this environment; its connections are closed at the end."""
    settings = read_settings(environment)
    home = working_folder(settings)
    try:
        async with anyio.create_task_group() as tasks:
            servers = Servers(settings, home, config_file(environment).parent, environment)
            workspace = Workspace(settings, home, tasks, servers)
            if settings.api_key:
                workspace.mask.add([settings.api_key])
            try:
                with hidden_in_logs(workspace.mask):
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
    settings = parse_settings(environment, file_text(path), str(path))
    if "://" in settings.url or set(settings.url) & set(":/@"):  # else it is the name of a server
        clean_url(settings.url, "COMFYUI_URL (url in settings.toml)")
    return settings


def config_file(environment: Mapping[str, str]) -> Path:
    """The user's settings file; servers.toml stands beside it."""
    path = Path(environment.get("COMFYUI_API_CONFIG") or user_config_path(APP) / "settings.toml")
    try:
        return path.expanduser()
    except RuntimeError as exc:
        raise FileProblem(
            f"COMFYUI_API_CONFIG, {path}, is no path: {in_words(exc)}.", "Give the path of a file."
        ) from exc


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
            f"{folder} cannot be the working folder: {in_words(exc)}.", "Set COMFYUI_API_HOME to a folder of yours."
        ) from exc
    return folder


def _inside(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _folders(folders: list[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)
