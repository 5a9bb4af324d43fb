"""/queue read as it comes, run by run: a thousand waiting runs with their workflows may be of 500 MB."""

from __future__ import annotations

import codecs
import json
from collections.abc import Generator
from typing import Any

from comfyui_api.replies import in_order, queue_item
from comfyui_api.runs import QueueItem, QueueState

RUN_LIMIT = 256 * 2**20  # characters of one run's entry
_SPACE = " \t\r\n"
_Parser = Generator[None, None, Any]


class QueueReader:
    """Takes the pieces of a reply of /queue, keeps of each run what QueueItem has, and forgets the rest.

    `feed` and `finish` raise ValueError for what is no JSON, and KeyError or TypeError where it is no queue.
    """

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._text, self._at, self._wanted, self._ended = "", 0, 0, False
        self._found: dict[str, list[QueueItem]] = {}
        self._parser = self._reply()
        self._complete = False
        self._advance()

    def feed(self, piece: bytes | bytearray) -> None:
        self._text = self._text[self._at :] + self._characters.decode(piece)
        self._at = 0
        # A run that is not whole yet is tried again when there is twice as much of it: so all is read but twice.
        if len(self._text) >= self._wanted:
            self._advance()

    def finish(self) -> QueueState:
        self._ended = True
        self._advance()
        if not self._complete:
            raise ValueError("the reply ends too early")
        return in_order(self._found["queue_running"], self._found["queue_pending"])

    def _advance(self) -> None:
        if not self._complete:
            try:
                next(self._parser)
            except StopIteration:
                self._complete = True

    def _reply(self) -> _Parser:
        yield from self._take("{")
        while (yield from self._next()) != "}":
            name = yield from self._value()
            yield from self._take(":")
            if name in ("queue_running", "queue_pending"):
                yield from self._runs(name)
            else:
                yield from self._value()
            if (yield from self._next()) == ",":
                self._at += 1

    def _runs(self, name: str) -> _Parser:
        runs = self._found.setdefault(name, [])
        yield from self._take("[")
        while (character := (yield from self._next())) != "]":
            if character == ",":
                self._at += 1
            else:
                runs.append(queue_item((yield from self._value()), running=name == "queue_running"))
        self._at += 1

    def _take(self, character: str) -> _Parser:
        found = yield from self._next()
        if found != character:
            raise ValueError(f"'{character}' was expected, not '{found}'")
        self._at += 1

    def _next(self) -> Generator[None, None, str]:
        """The next character that is no space, which stays where it is."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            yield from self._more(1)

    def _value(self) -> _Parser:
        yield from self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if self._ended or len(self._text) - self._at > RUN_LIMIT:
                    raise
            else:
                # A number at the very end may go on in the next piece.
                if end < len(self._text) or self._ended or not isinstance(value, int | float):
                    self._at = end
                    return value
            yield from self._more(2 * (len(self._text) - self._at))

    def _more(self, wanted: int) -> Generator[None, None, None]:
        if self._ended:
            raise ValueError("the reply ends too early")
        self._wanted = wanted
        yield
        self._wanted = 0
