"""The console at a terminal: what a person sees, types and presses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType

import pytest

from tests.support import environment_for

NOBODY = "http://127.0.0.1:9"
PATIENCE = 60.0  # seconds
_STEERING = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")


class Terminal:
    """A command at a terminal of its own, of `columns` columns."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        url: str = NOBODY,
        columns: int = 100,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        pty = pytest.importorskip("pty")
        self._ours, theirs = pty.openpty()
        self._seen = b""
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "comfyui_api", *arguments],
            env=terminal_environment(home, url, columns, more),
            cwd=home,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.STDOUT,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 10_000)
            except OSError:  # Linux says so when the last writer has gone
                piece = b""
            with self._news:
                self._seen += piece
                self._ended = not piece
                self._news.notify_all()
            if not piece:
                return

    @property
    def raw(self) -> str:
        return self._seen.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """What was shown, without colours and movements of the cursor."""
        return _STEERING.sub("", self.raw).replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Until the terminal has shown this text."""
        with self._news:
            shown = self._news.wait_for(lambda: text in self.text or self._ended, PATIENCE)
        assert shown, f"nothing was shown of {text!r}: {self.text}"
        assert text in self.text, self.text

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


def terminal_environment(home: Path, url: str, columns: int, more: Mapping[str, str]) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "LINES")}
    return {**plain, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment_for(home, url), **more}


def on_a_terminal(home: Path, *arguments: str, url: str = NOBODY, columns: int = 100) -> tuple[int, str]:
    """Exit code and text of a command where somebody looks at it."""
    with Terminal(home, *arguments, url=url, columns=columns) as terminal:
        code = terminal.end()
        return code, terminal.text
