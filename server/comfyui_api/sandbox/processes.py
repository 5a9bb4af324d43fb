"""Starting the sandbox's process, telling it from a stranger with the same number, and ending it with its children.

psutil is imported on first use: it costs time that commands which start no sandbox should not pay.
"""

# ruff: noqa: PLC0415  (see the docstring)

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

POLL_SECONDS = 0.05
# Long enough for ComfyUI to close its database; what is still there then is killed.
TERMINATE_SECONDS = 10.0
# The same process reads a little differently when the system clock was set right meanwhile.
CREATE_TIME_TOLERANCE = 1.0

# Processes that this one started. Somebody has to ask for the exit status of a child when it ends, or the system keeps
# the dead entry, and Popen warns when it is thrown away before.
_started: dict[int, subprocess.Popen[bytes]] = {}


def environment_variables() -> dict[str, str]:
    """This process's environment without what would make another Python load from our folders."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("PYTHON") and name.upper() not in {"VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    }
    return kept | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"}


def spawn(command: Sequence[str], *, folder: Path, log_file: Path, variables: Mapping[str, str]) -> psutil.Process:
    """Start a process that outlives this one, with its output in `log_file`."""
    import psutil

    flags = 0
    if sys.platform == "win32":
        # Not DETACHED_PROCESS: an environment's python.exe starts the real one, which would open a window.
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    with log_file.open("wb") as log:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            creationflags=flags,
            start_new_session=sys.platform != "win32",
        )
    _started[child.pid] = child
    # It cannot be gone yet: even if it has ended, its entry is kept until somebody asks for the exit status.
    return psutil.Process(child.pid)


def is_alive(process: psutil.Process) -> bool:
    """Whether any of the process still runs. One that has ended but was not collected by its parent does not."""
    import psutil

    child = _started.get(process.pid)
    if child is not None:
        if child.poll() is None:
            return True
        _started.pop(process.pid, None)
        return False
    try:
        if not process.is_running():
            return False
        # On Linux a process counts as ended as soon as its first thread is: the others, and the port, may last longer.
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def find(pid: int, create_time: float, base_directory: Path) -> psutil.Process | None:
    """The running process with this number, if it is the one that was recorded."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - create_time) <= CREATE_TIME_TOLERANCE
    except (psutil.NoSuchProcess, psutil.AccessDenied, OverflowError):
        return None
    if not is_alive(process):
        return None
    return process if same or _serves(process, base_directory) else None


def find_serving(base_directory: Path) -> psutil.Process | None:
    """The ComfyUI that serves this base directory, found by its command line."""
    import psutil

    for process in psutil.process_iter():
        if _serves(process, base_directory) and is_alive(process):
            return process
    return None


def find_running_from(environment: Path) -> list[psutil.Process]:
    """Every process that was started with the Python of this environment, by the start of its command line."""
    import psutil

    found = []
    for process in psutil.process_iter():
        command = command_line(process)
        if (
            command
            and process.pid != os.getpid()
            and Path(command[0]).is_relative_to(environment)
            and is_alive(process)
        ):
            found.append(process)
    return found


def command_line(process: psutil.Process) -> list[str]:
    """The command line, or nothing where it may not be read."""
    import psutil

    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return []


def option(command: Sequence[str], name: str) -> str | None:
    """The value that follows an option in a command line."""
    if name in command[:-1]:
        return command[command.index(name) + 1]
    return None


def _serves(process: psutil.Process, base_directory: Path) -> bool:
    return option(command_line(process), "--base-directory") == str(base_directory)


def end(process: psutil.Process) -> None:
    """End a process and everything it started; returns when all of it is gone."""
    import psutil

    family = [process]
    try:
        family += process.children(recursive=True)
        # psutil itself refuses to signal a process that took over the number of this one.
        process.terminate()
    except psutil.NoSuchProcess:
        pass
    deadline = time.monotonic() + TERMINATE_SECONDS
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for member in family:
        try:
            if is_alive(member):
                member.kill()
        except psutil.NoSuchProcess:
            continue
    while any(is_alive(member) for member in family):
        time.sleep(POLL_SECONDS)
