"""Starting, looking at, stopping and removing sandboxes."""

from __future__ import annotations

import http.client
import json
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from comfyui_api.errors import SandboxError
from comfyui_api.sandbox import contents, install, processes
from comfyui_api.sandbox.folders import (
    Home,
    SandboxFolder,
    Say,
    file_trouble_told,
    remove_tree,
    write_atomically,
)
from comfyui_api.settings import Settings

if TYPE_CHECKING:
    import psutil

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LOOPBACK = "127.0.0.1"
# A first start on a slow disk reads some 2 GB; a normal one takes 5 to 10 seconds.
_START_SECONDS = 300.0
_POLL_SECONDS = 0.1
_STILL_STARTING_SECONDS = 10.0
_LOG_LINES = 15


@dataclass(frozen=True)
class SandboxState:
    """How a sandbox stands. `pid`, `port` and `url` are those of a running one, otherwise None."""

    name: str
    state: Literal["running", "stopped", "not_installed", "broken"]
    url: str | None
    pid: int | None
    port: int | None
    base_directory: Path
    log_file: Path
    comfyui_version: str | None


@dataclass(frozen=True)
class _Record:
    """What sandbox.json keeps of the last start. The process may be gone since."""

    pid: int | None = None
    create_time: float = 0.0
    port: int | None = None
    frontend_root: str | None = None
    packs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """The options of a start that only a new process can take up. A port of None takes any."""

    port: int | None
    frontend_root: Path | None
    packs: tuple[Path, ...]

    def differences(self, record: _Record) -> list[str]:
        """In which options a recorded start differs from these, each as 'its port is …'."""
        frontend = str(self.frontend_root) if self.frontend_root else None
        packs = sorted(str(pack) for pack in self.packs)
        found = []
        if self.port not in (None, record.port):
            found.append(f"its port is {record.port}")
        if frontend != record.frontend_root:
            found.append(f"its frontend is {record.frontend_root or 'the one that ComfyUI brings'}")
        if packs != sorted(record.packs):
            found.append(f"its node packs are {', '.join(Path(pack).name for pack in record.packs) or 'none'}")
        return found


def default_home(settings: Settings) -> Path:
    """Where sandboxes are kept unless told otherwise: the setting, or the user's cache folder."""
    if settings.sandbox_home:
        return Path(settings.sandbox_home).expanduser()
    # Without the author's folder: paths inside of torch are long, and Windows ends at 260 letters.
    return platformdirs.user_cache_path("comfyui-api", appauthor=False) / "sandbox"


def start(
    home: Path,
    *,
    name: str = "default",
    port: int | None = None,
    frontend_root: Path | None = None,
    custom_nodes: Sequence[Path] = (),
    models: Sequence[str] = (),
    tiny_upscaler: bool = False,
    torch_index: str = "",
    say: Say,
    confirm: Callable[[str], bool],
) -> SandboxState:
    """A running sandbox that answers: the one of that name, or a new one, installed before if need be.

    `say` gets a line for each step, `confirm` is asked before a CUDA build of PyTorch is fetched, `torch_index` is a
    package index with other builds of it. Models and the upscaler are added to a running sandbox; for another port,
    frontend or node packs it has to be stopped first. Raises SandboxError.
    """
    place = Home.at(home)
    folder = place.sandbox(name)
    model_paths = contents.model_paths(models)
    with file_trouble_told():
        wanted = _Wanted(
            _checked_port(port), _checked_frontend(frontend_root), tuple(contents.find_packs(custom_nodes))
        )
        with place.turn_for_sandbox(name, say):
            found = _find(folder)
            if found is not None and found[0] is None:
                say(f"The record of the sandbox '{name}' was unreadable: ending the ComfyUI that serves its folder.")
                processes.end(found[1])
                found = None
            if found is not None and found[0] is not None:
                record, process = found[0], found[1]
                if differences := wanted.differences(record):
                    raise SandboxError(
                        f"The sandbox '{name}' runs already, with other options: {'; '.join(differences)}.",
                        "Stop it first, or give another name.",
                    )
                say(f"The sandbox '{name}' is running already.")
            else:
                _refuse_taken(wanted.port)
                with place.turn_for_environment(say):
                    environment = install.ensure_environment(place, torch_index=torch_index, say=say, confirm=confirm)
                    record, process = _launch(place, folder, wanted, environment, say)
            started_here = found is None
            answers = False
            try:
                added = contents.add_placeholder_models(folder.base_directory, model_paths)
                if added:
                    say(f"Placeholder models added: {', '.join(file.name for file in added)}.")
                if tiny_upscaler:
                    contents.add_tiny_upscaler(folder.base_directory, install.environment_python(place.environment))
                _wait_until_it_answers(folder, record, process, say)
                answers = True
            finally:
                # Also for Ctrl-C: a half-started server that nobody was told of would stay behind.
                if started_here and not answers:
                    processes.end(process)
        state = _state(place, folder)
    say(f"ComfyUI answers at {state.url}.")
    return state


def status(home: Path, *, name: str) -> SandboxState:
    """How the sandbox of that name stands, without asking its server."""
    place = Home.at(home)
    with file_trouble_told():
        return _state(place, place.sandbox(name))


def list_sandboxes(home: Path) -> list[SandboxState]:
    """All sandboxes of a home, in the order of their names."""
    place = Home.at(home)
    with file_trouble_told():
        return [_state(place, place.sandbox(name)) for name in place.names()]


def stop(home: Path, *, name: str) -> SandboxState:
    """End a sandbox's process and all that it started. One that does not run is left as it is."""
    place = Home.at(home)
    folder = place.sandbox(name)
    with file_trouble_told():
        if folder.folder.is_dir():
            with place.turn_for_sandbox(name):
                _end(folder)
        return _state(place, folder)


def remove(home: Path, *, name: str | None) -> None:
    """Stop a sandbox and delete its folder; without a name all sandboxes and the environment."""
    place = Home.at(home)
    with file_trouble_told():
        if name is not None:
            folder = place.sandbox(name)
            if name not in place.names():
                raise SandboxError(
                    f"There is no sandbox '{name}'.", f"These exist: {', '.join(place.names()) or 'none'}."
                )
            with place.turn_for_sandbox(name):
                _end(folder)
                _delete(folder)
                place.drop_lock(name)
            return
        if not place.locks.is_dir():
            return
        with place.turn_for_environment():
            # Without the sandboxes' own turns: whoever holds one may be waiting for this one.
            for each in place.names():
                _end(place.sandbox(each))
                _delete(place.sandbox(each))
            install.remove_environment(place)
            place.install_log.unlink(missing_ok=True)
            place.mark.unlink(missing_ok=True)
        _remove_if_empty(place)


def free_port(taken: Sequence[int | None] = ()) -> int:
    """A port that nobody listens on now, outside of the range from which the system serves outgoing connections."""
    for _ in range(100):
        port = random.randint(20000, 29999)
        if port not in taken and _listening_trouble(port) is None:
            return port
    with socket.socket() as listener:
        listener.bind((_LOOPBACK, 0))
        return int(listener.getsockname()[1])


def _launch(
    place: Home, folder: SandboxFolder, wanted: _Wanted, environment: install.Environment, say: Say
) -> tuple[_Record, psutil.Process]:
    """Start the process and record it."""
    before = _read_record(folder) or _Record()
    base = folder.base_directory
    folder.folder.mkdir(parents=True, exist_ok=True)
    # The record comes first: it is what tells this folder from one that is not ours.
    _write_record(folder, replace(before, pid=None))
    for inner in ("custom_nodes", "user", "models", "input", "output", "temp"):
        (base / inner).mkdir(parents=True, exist_ok=True)
    contents.place_packs(base, wanted.packs, [Path(pack).name for pack in before.packs])

    records = [_read_record(place.sandbox(name)) for name in place.names()]
    port = wanted.port or free_port([record.port for record in records if record is not None])
    record = _Record(
        port=port,
        frontend_root=str(wanted.frontend_root) if wanted.frontend_root else None,
        packs=tuple(str(pack) for pack in wanted.packs),
    )
    _write_record(folder, record)
    command = [str(environment.python), "-P", str(_LAUNCHER), str(environment.comfyui), "--cpu"]
    command += ["--listen", _LOOPBACK, "--port", str(port), "--base-directory", str(base), "--disable-auto-launch"]
    # Relative to the base directory, where the process starts: in a URL, odd letters of a path would mean something.
    command += ["--database-url", "sqlite:///user/comfyui.db"]
    if wanted.frontend_root is not None:
        command += ["--front-end-root", str(wanted.frontend_root)]
    # Nothing to fetch, nobody to tell, and no bytecode into the folders of linked node packs.
    variables = processes.environment_variables() | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    say(f"Starting ComfyUI {environment.comfyui_version} as '{folder.name}' on port {port}; its log: {folder.log_file}")
    process = processes.spawn(command, folder=base, log_file=folder.log_file, variables=variables)
    record = replace(record, pid=process.pid, create_time=process.create_time())
    _write_record(folder, record)
    return record, process


def _wait_until_it_answers(folder: SandboxFolder, record: _Record, process: psutil.Process, say: Say) -> None:
    began = told = time.monotonic()
    assert record.port is not None
    while not _answers(record.port, folder.base_directory):
        now = time.monotonic()
        if not processes.is_alive(process):
            raise SandboxError(
                f"ComfyUI ended while it was starting. The last lines of {folder.log_file}:\n{_log_tail(folder)}",
                _advice_after_death(record.port),
            )
        if now - began > _START_SECONDS:
            raise SandboxError(
                f"ComfyUI runs but has not answered for {_START_SECONDS:.0f} seconds. The last lines of "
                f"{folder.log_file}:\n{_log_tail(folder)}",
                "Stop the sandbox and start it again.",
            )
        if now - told >= _STILL_STARTING_SECONDS:
            say(f"    still starting ({now - began:.0f} s)")
            told = now
        time.sleep(_POLL_SECONDS)


def _advice_after_death(port: int) -> str:
    if _listening_trouble(port) is not None:
        return f"Port {port} was taken by another program meanwhile: start again, with another port."
    return (
        "If a node pack or the frontend is the cause, start without it. If the installation is damaged, remove the "
        "sandbox with its environment and start again."
    )


def _answers(port: int, base_directory: Path) -> bool:
    """Whether the ComfyUI of this base directory, and not another program, answers at the port."""
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/system_stats")
        reply = connection.getresponse()
        stats: Any = json.loads(reply.read()) if reply.status == 200 else None
        return str(base_directory) in stats["system"]["argv"]
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return False
    finally:
        connection.close()


def _log_tail(folder: SandboxFolder) -> str:
    try:
        lines = folder.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(line for line in lines[-_LOG_LINES:] if line.strip()) or "(the log is empty)"


def _state(place: Home, folder: SandboxFolder) -> SandboxState:
    found = _find(folder)
    installed = install.inspect_environment(place)
    state: Literal["running", "stopped", "not_installed", "broken"]
    if found is not None:
        state = "running"
    elif installed == "installed":
        state = "stopped"
    else:
        state = "not_installed" if installed == "missing" else "broken"
    process = found[1] if found else None
    port = None
    if process is not None:
        port = found[0].port if found and found[0] else _port_of(process)
    return SandboxState(
        name=folder.name,
        state=state,
        url=f"http://{_LOOPBACK}:{port}" if port else None,
        pid=process.pid if process else None,
        port=port,
        base_directory=folder.base_directory,
        log_file=folder.log_file,
        comfyui_version=install.COMFYUI_VERSION if installed == "installed" else None,
    )


def _find(folder: SandboxFolder) -> tuple[_Record | None, psutil.Process] | None:
    """The sandbox's running process with its record, which is None where the file is there but unreadable."""
    if not folder.record_file.exists():
        return None
    record = _read_record(folder)
    if record is None:
        process = processes.find_serving(folder.base_directory)
    elif record.pid is None:
        return None
    else:
        process = processes.find(record.pid, record.create_time, folder.base_directory)
    return (record, process) if process is not None else None


def _port_of(process: psutil.Process) -> int | None:
    port = processes.option(processes.command_line(process), "--port")
    return int(port) if port is not None and port.isdigit() else None


def _end(folder: SandboxFolder) -> None:
    found = _find(folder)
    if found is not None:
        processes.end(found[1])
    if folder.record_file.exists():
        _write_record(folder, replace(_read_record(folder) or _Record(), pid=None, port=None))


def _delete(folder: SandboxFolder) -> None:
    # The record goes last: without it, what is left of an interrupted removal would not count as a sandbox.
    remove_tree(folder.base_directory)
    remove_tree(folder.folder)


def _remove_if_empty(place: Home) -> None:
    for lock in place.locks.glob("*.lock"):
        lock.unlink(missing_ok=True)
    for folder in (place.sandboxes, place.locks, place.root):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _read_record(folder: SandboxFolder) -> _Record | None:
    """The record, or None where there is none or it is not one."""
    try:
        data = json.loads(folder.record_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    pid, create_time, port = data.get("pid"), data.get("create_time"), data.get("port")
    frontend_root, packs = data.get("frontend_root"), data.get("packs")
    if not (isinstance(pid, int | None) and isinstance(create_time, int | float) and isinstance(port, int | None)):
        return None
    if not (isinstance(frontend_root, str | None) and isinstance(packs, list)):
        return None
    if not all(isinstance(pack, str) for pack in packs):
        return None
    return _Record(pid, float(create_time), port, frontend_root, tuple(packs))


def _write_record(folder: SandboxFolder, record: _Record) -> None:
    write_atomically(folder.record_file, json.dumps(asdict(record), indent=1))


def _checked_port(port: int | None) -> int | None:
    if port is not None and not 1 <= port <= 65535:
        raise SandboxError(f"{port} is not a port.", "Give one from 1024 to 65535, or none for a free one.")
    return port


def _refuse_taken(port: int | None) -> None:
    if port is not None and (trouble := _listening_trouble(port)) is not None:
        raise SandboxError(
            f"Port {port} cannot be used: {trouble.strerror}.", "Give another port, or none for a free one."
        )


def _checked_frontend(frontend_root: Path | None) -> Path | None:
    if frontend_root is None:
        return None
    folder = frontend_root.expanduser().resolve()
    if not (folder / "index.html").is_file():
        raise SandboxError(
            f"There is no frontend in {folder}.",
            "Name the folder with its index.html (`static` of the frontend's package).",
        )
    return folder


def _listening_trouble(port: int) -> OSError | None:
    """What keeps a server from being started on the port; None when nothing does."""
    with socket.socket() as listener:
        if sys.platform != "win32":
            # As servers do: connections that have just ended are no obstacle. On Windows it would mean sharing a port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_LOOPBACK, port))
        except OSError as exc:
            return exc
    return None
