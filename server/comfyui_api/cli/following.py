"""The progress of runs on the console: a bar where somebody looks on, and a line now and then for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comfyui_api.cli.console import harmless, terminal

if TYPE_CHECKING:
    from rich.progress import Progress

LOG_SECONDS = 10.0  # a log needs no more lines than that, as long as it is the same node


class Follower:
    """Takes what a run reports (`report` is a follow.Report) and shows it on stderr."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=100.0) if bar is not None else None
        self._said, self._said_at = "", 0.0

    async def report(self, percent: float, _: float | None, sentence: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=percent, description=harmless(sentence))
            return
        subject = sentence.rsplit(")", 1)[0]  # the node; its steps follow
        if subject != self._said or time.monotonic() >= self._said_at + LOG_SECONDS:
            self._said, self._said_at = subject, time.monotonic()
            sys.stderr.write(f"{percent:5.1f} %  {harmless(sentence)}\n")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The terminal without the bar, to ask something there."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()


@contextmanager
def follower(title: str = "") -> Iterator[Follower]:
    """A follower for the time of this block; its bar goes away at the end."""
    if not sys.stderr.isatty():
        yield Follower(None)
        return
    from rich import progress  # noqa: PLC0415  # for people only
    from rich.markup import escape  # noqa: PLC0415

    columns = (
        progress.TextColumn(escape(title)),
        progress.BarColumn(bar_width=20),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.description}", markup=False),
    )
    with progress.Progress(*columns, console=terminal(stderr=True), transient=True) as bar:
        yield Follower(bar)
