"""Ctrl-C while a run is followed: it ends the waiting, not the run, and then it is asked what is to become of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal, TypeAlias, TypeVar

import anyio

T = TypeVar("T")
Wish: TypeAlias = Literal["watch", "stop", "leave"]

QUESTION = "Stop the run (s), leave it going and end here (l), or go on watching (w)? [w] "
ANSWERS: dict[str, Wish] = {"s": "stop", "stop": "stop", "l": "leave", "leave": "leave"}
PATIENCE = "It is being queued; when that is done you will be asked. Ctrl-C again ends at once.\n"


class Presses:
    """Ctrl-C as something to be waited for. What must not be torn is done outside of `unless`: a press during it counts
    for the next one, and only a second one ends it all (`ends`)."""

    def __init__(self, whole: anyio.CancelScope) -> None:
        self._whole = whole
        self._waiting: anyio.CancelScope | None = None
        self._loop = asyncio.get_running_loop()
        self._pressed = False
        self.ends = False

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        # A signal comes between any two steps of the program: only the loop may touch what it is at.
        if self._waiting is not None:
            self._loop.call_soon_threadsafe(self._waiting.cancel)
        elif self._pressed:
            if self.ends:  # and does not come to its end
                raise KeyboardInterrupt
            self.ends = True
            self._loop.call_soon_threadsafe(self._whole.cancel)
        else:
            sys.stderr.write(f"\n{PATIENCE}")
        self._pressed = True

    async def unless(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """The result of some work, or None where Ctrl-C was pressed before it was done."""
        with anyio.CancelScope() as waiting:
            if not self._pressed:
                self._waiting = waiting
                try:
                    return await work()
                finally:
                    self._waiting = None
        return None

    def ask(self) -> Wish:
        """What is to become of the run: leave it, where nobody can be asked or Ctrl-C is pressed once more."""
        self._pressed = False
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return "leave"
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            sys.stderr.write(f"\n{QUESTION}")
            sys.stderr.flush()
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            answer = ""
        finally:
            signal.signal(signal.SIGINT, before)
        if not answer.endswith("\n"):  # Ctrl-C or the end of the input
            sys.stderr.write("\n")
            return "leave"
        return ANSWERS.get(answer.strip().casefold(), "watch")


@contextmanager
def presses() -> Iterator[Presses]:
    """Ctrl-C in the event loop that runs, for the time of this block, which is left where it is to end."""
    with anyio.CancelScope() as whole:
        found = Presses(whole)
        before = signal.signal(signal.SIGINT, found._on_signal)
        try:
            yield found
        finally:
            signal.signal(signal.SIGINT, before)
