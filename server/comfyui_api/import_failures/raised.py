"""Tracebacks in a log: the exception that the last one ends with, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TRACEBACK = "Traceback (most recent call last):"
WORDS_KEPT = 500  # characters of an exception that are kept

_CAUSED = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"
_LED_KEPT = 8  # exceptions that led to the last one
_LINES_KEPT = 20  # lines of one exception's words

_FRAME = re.compile(r'\s+File "([^"]+)", line (\d+)')
_TYPE = re.compile(r"[A-Za-z_][\w.]*")
_NO_MODULE = re.compile(r"No module named (?:'([^']+)'|([\w.]+))")


@dataclass(frozen=True)
class Raised:
    """The exception at the end of a traceback, as far as it is known.

    `frames` are (file, line). `cause` is the module whose absence another exception was raised for.
    """

    type: str = ""
    message: str = ""
    frames: tuple[tuple[str, str], ...] = ()
    cause: str | None = None

    @property
    def line(self) -> str | None:
        """The exception as Python ends a traceback with it."""
        return ": ".join(part for part in (self.type, self.message) if part) or None

    @property
    def missing_module(self) -> str | None:
        return missing_module(self.message) or self.cause


class Block:
    """The last traceback of a log, with those that led to it."""

    def __init__(self) -> None:
        self._parts: list[list[str]] = []
        self._last_words = ""

    def read(self, line: str) -> None:
        """Take one more line of the log."""
        if TRACEBACK in line:
            if not any(chain in self._last_words for chain in (_CAUSED, _DURING)):
                self._parts = []
            self._parts.append([])
        elif self._parts:
            self._parts[-1].append(line)
        if line.strip():
            self._last_words = line

    def raised(self, words: str | None = None) -> Raised:
        """The exception that the last traceback ends with. Where its `words` are known and the traceback is one of
        something else, the words are all there is."""
        raised = _end_of(self._parts[-1]) if self._parts else Raised()
        if words is not None and not (raised.type and _agree(raised.message, words)):
            return Raised(message=clean(words))
        for part in reversed(self._parts[:-1][-_LED_KEPT:]):
            led = _end_of(part)
            module = missing_module(led.message) if led.type == "ModuleNotFoundError" else None
            is_cause = any(_CAUSED in line for line in part[-3:])
            # While a missing module is handled, anything may go wrong: it counts where the words name it.
            if module and (is_cause or module.partition(".")[0] in raised.message):
                return Raised(raised.type, raised.message, raised.frames, module)
        return raised


def missing_module(message: str) -> str | None:
    """The module that an exception's words say is missing."""
    found = _NO_MODULE.search(message)
    return found and (found[1] or found[2])


def clean(words: str, length: int = WORDS_KEPT) -> str:
    """Words of others in one line without control characters, cut to a length."""
    line = "".join(char if char.isprintable() else " " for char in words[: 4 * length])
    line = " ".join(line.split())
    return f"{line[:length]}…" if len(line) > length else line


def _agree(message: str, words: str) -> bool:
    """Whether a traceback's last line and the words of an exception are of the same one."""
    words = clean(words)
    # Python adds the place to the words of a syntax error: only the beginning is the same.
    length = min(len(words), len(message), 40)
    return words[:length] == message[:length]


def _end_of(lines: Sequence[str]) -> Raised:
    """The frames of one traceback and the exception that it ends with."""
    frames = []
    end = 0
    for index, line in enumerate(lines):
        if match := _FRAME.match(line):
            frames.append((match[1], match[2]))
            end = index + 1
    while end < len(lines) and lines[end].startswith((" ", "\t")):
        end += 1
    said = []
    for line in lines[end : end + _LINES_KEPT]:
        if not line.strip():
            break
        said.append(line)
    kind, _, message = " ".join(said).partition(": ")
    # The type of an exception that a pack defines itself begins with the path of its file.
    kind = re.split(r"[/\\]", kind)[-1]
    return Raised(kind, clean(message), tuple(frames)) if _TYPE.fullmatch(kind) else Raised()
