"""Running pip: what it says as progress, why it failed as an error, all of it in a log."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfyui_api.errors import SandboxError
from comfyui_api.quantities import count
from comfyui_api.sandbox import processes
from comfyui_api.sandbox.folders import Say

# These say where packages go or what is printed. Where they come from (index, proxy, certificates, cache …) is the
# user's to set.
_PIP_SETTINGS_LEFT_OUT = frozenset(
    {
        *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV", "PIP_ISOLATED"),
        *("PIP_NO_DEPS", "PIP_IGNORE_INSTALLED", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_DRY_RUN", "PIP_REPORT"),
        *("PIP_QUIET", "PIP_VERBOSE", "PIP_PROGRESS_BAR", "PIP_NO_INPUT", "PIP_NO_COLOR"),
    }
)
_HEARTBEAT_SECONDS = 10.0


class Pip:
    """pip in the environment, its output in the log and told line by line."""

    def __init__(self, python: Path, log: Path, say: Say) -> None:
        self._command = [str(python), "-I", "-X", "utf8", "-m", "pip", "install"]
        self._command += ["--no-input", "--only-binary", ":all:"]
        self._log = log
        self._say = say

    def install(self, *arguments: str) -> None:
        # "raw" prints plain lines with the bytes so far. Older pips, which we only use to bring themselves up to date,
        # do not know it.
        bar = "off" if arguments[0].startswith("pip==") else "raw"
        self._run("--progress-bar", bar, *arguments)

    def would_install(self, *arguments: str) -> dict[str, Any]:
        """pip's report of what it would install. Nothing is downloaded, only the wheels' metadata."""
        report = self._log.with_suffix(".json")
        # Not every index offers metadata by itself; fast-deps then reads it out of the wheel's end.
        self._run("--use-feature=fast-deps", "--dry-run", "--ignore-installed", "--report", str(report), *arguments)
        answer: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        report.unlink()
        return answer

    def _run(self, *arguments: str) -> None:
        progress = _Progress(self._say)
        with output_of([*self._command, *arguments], self._log) as (lines, result):
            told = PipOutput()
            for line in lines:
                if line is not None:
                    told.read(line)
                progress.tell(told)
        if result.returncode != 0:
            raise failure(told, result.returncode, self._log)


class PipOutput:
    """What pip's lines say about where it stands."""

    def __init__(self) -> None:
        self.doing = ""
        self.missing = ""
        self.bytes_done = 0
        self.bytes_all = 0
        self.trouble = ""
        self.errors: list[str] = []

    def read(self, line: str) -> None:
        text = line.strip()
        if found := re.match(r"(?:Downloading|Using cached) (\S+?\.whl)(?: \((.+)\))?$", text):
            self._now(f"fetching {_short(found[1])}" + (f" ({found[2]})" if found[2] else ""))
        elif found := re.match(r"Processing (.+\.whl)$", text):
            self._now(f"unpacking {_short(found[1])}")
        elif found := re.match(r"Progress (\d+) of (\d+)", text):
            self.bytes_done, self.bytes_all = int(found[1]), int(found[2])
        elif found := re.match(r"Collecting (\S+)", text):
            self._now(f"looking up {found[1]}")
        elif text.startswith("Installing collected packages: "):
            self._now(f"installing {count(text.count(',') + 1, 'package')}")
        elif text.startswith("ERROR: "):
            self.errors.append(text.removeprefix("ERROR: "))
            if found := re.search(r"(?:requirement|distribution found for) ([A-Za-z0-9._-]+==\S+)", text):
                self.missing = found[1]
        elif found := re.search(r"connection broken by '(\w+)\(.*?: (.+?)\"?\)'", text):
            self.trouble = found[2].strip("\"'")

    def _now(self, doing: str) -> None:
        self.doing, self.bytes_done, self.bytes_all = doing, 0, 0

    @property
    def position(self) -> str:
        if not self.bytes_all:
            return self.doing
        return f"{self.doing}: {self.bytes_done / 1e6:.0f} of {self.bytes_all / 1e6:.0f} MB"


class _Progress:
    """Tells where pip stands: large packages at once, otherwise now and then."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._began = self._last = time.monotonic()
        self._told = ""

    def tell(self, output: PipOutput) -> None:
        now = time.monotonic()
        position = output.position
        large = bool(re.search(r"\(\d{2,}\.\d MB\)|\([\d.]+ GB\)", output.doing)) and not output.bytes_all
        begins = position.startswith("installing") or large
        if position and position != self._told and (begins or now - self._last >= _HEARTBEAT_SECONDS / 3):
            self._say(f"    {position}")
        elif now - self._last >= _HEARTBEAT_SECONDS:
            self._say(f"    {position or 'still at it'} ({now - self._began:.0f} s)")
        else:
            return
        self._last, self._told = now, position


def _short(wheel: str) -> str:
    """Name and version from a wheel's file name or path."""
    return "-".join(re.split(r"[/\\]", wheel)[-1].split("-")[:2])


def failure(output: PipOutput, exit_status: int, log: Path) -> SandboxError:
    """The error for a pip that ended with this status: what could not be had, pip's reason, what to do."""
    reason = output.errors[-1] if output.errors else f"it ended with status {exit_status}, without saying why"
    what = (
        f"{output.missing} could not be fetched" if output.missing else f"pip failed while {output.doing or 'starting'}"
    )
    if output.trouble:
        reason = f"{reason.rstrip('.')} ({output.trouble})"
    others_found = any("from versions: " in error and "from versions: none" not in error for error in output.errors)
    if others_found and not output.trouble:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        advice = (
            f"The index has no build of it for Python {version} on this platform: run comfyui-api with another Python "
            "(3.11 to 3.13), or set another index."
        )
    else:
        advice = (
            "Check the network, the proxy and pip's settings (PIP_INDEX_URL, PIP_PROXY, pip's configuration file), "
            "then start again: what was fetched so far is kept in pip's cache."
        )
    return SandboxError(f"{what}: {reason.rstrip('.')}.", f"{advice} The full output is in {log}.")


def _without_credentials(text: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://***@", text)


@contextmanager
def output_of(command: Sequence[str], log: Path) -> Iterator[tuple[Iterator[str | None], subprocess.Popen[str]]]:
    """Run a command and give its lines as they come, with None for each second of silence; all goes to the log too.

    The command is ended when the block is left early.
    """
    variables = {
        name: value
        for name, value in processes.environment_variables().items()
        if name.upper() not in _PIP_SETTINGS_LEFT_OUT
    }
    running = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        encoding="utf-8",
        errors="replace",
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stream = running.stdout
    assert stream is not None

    def pump() -> None:
        for line in stream:
            lines.put(_without_credentials(line.rstrip("\r\n")))
        lines.put(None)

    reader = threading.Thread(target=pump, daemon=True)
    reader.start()

    def follow() -> Iterator[str | None]:
        with log.open("a", encoding="utf-8") as file:
            file.write(_without_credentials(f"$ {' '.join(command)}\n"))
            while True:
                try:
                    line = lines.get(timeout=1)
                except queue.Empty:
                    yield None
                    continue
                if line is None:
                    break
                if not line.startswith("Progress "):
                    file.write(line + "\n")
                yield line
        running.wait()

    try:
        yield follow(), running
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait()
        reader.join()
        stream.close()
