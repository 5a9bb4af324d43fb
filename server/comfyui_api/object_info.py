"""/object_info split into its entries while it arrives, so that 100 MB of node classes never stand in memory at once.

The bytes are scanned for the end of each entry, and only a whole entry is parsed: what is broken inside of one costs
that one. NaN and Infinity occur in real replies (json.dumps writes them) and stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from comfyui_api.node_card import Card, card_of

ENTRY_LIMIT = 64 * 2**20  # bytes of one entry; real ones with many long file lists reach 20 MB
NAME_LIMIT = 2**16
DEPTH_LIMIT = 500  # json.loads gives up soon after it

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb'[^ \t\r\n,{}\[\]"]*+')
_PLAIN = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'


def _nested(levels: int) -> bytes:
    """A pattern for text without open brackets, or with whole brackets of so many levels."""
    return _PLAIN if levels == 0 else _PLAIN + rb"|[\[{](?:" + _nested(levels - 1) + rb")*+[\]}]"


# Five levels are those of an ordinary entry, which is then passed over in one step; deeper ones are counted.
_BALANCED = re.compile(rb"(?:" + _nested(5) + rb")*+", re.DOTALL)


class Entry(NamedTuple):
    """One node class: its description as the JSON text that came, the module that declares it, and, as it is parsed
    here anyhow, what a search needs of it."""

    class_type: str
    description: str
    python_module: str
    card: Card | None = None


class ObjectInfoSplitter:
    """Takes /object_info in chunks of bytes and gives its entries as they become whole.

    Entries that describe no node class, have a name that is no text, are larger than ENTRY_LIMIT or nested deeper than
    DEPTH_LIMIT are passed over and counted. Raises ValueError where the whole is no JSON object.
    """

    def __init__(self) -> None:
        self.passed_over = 0
        self._buffer = bytearray()
        self._state = "start"
        self._name = b""
        self._depth = 0  # open brackets of the entry, as far as it was scanned
        self._is_too_deep = False
        self._scanned = 0  # bytes of the entry that were scanned, where it was not whole
        self._wait_for = 0  # length of the buffer below which scanning again would be in vain
        self._dropped = 0  # bytes of an entry beyond the limit that were thrown away

    def feed(self, chunk: bytes | bytearray) -> list[Entry]:
        """The entries that this chunk completes."""
        if not self._buffer and self._state == "start":
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")  # as some editors on Windows save it
        self._buffer += chunk
        return [] if len(self._buffer) < self._wait_for else list(self._entries())

    def finish(self) -> list[Entry]:
        """The entries that were still waiting. Raises ValueError where the text ends before its end."""
        entries = list(self._entries())
        if self._state != "end":
            raise ValueError("it ends in the middle" if self._state != "start" else "it is empty")
        return entries

    def _entries(self) -> Iterator[Entry]:
        buffer, at = self._buffer, 0
        self._wait_for = 0
        while (at := _end(_SPACE, buffer, at) if self._state != "value" else at) < len(buffer):
            if self._state == "value":
                end = self._value_end(at)
                if end is None:
                    break
                if (entry := self._entry(at, end)) is not None:
                    yield entry
                self._state, at = "next", end
                self._depth = self._scanned = self._dropped = 0
                self._is_too_deep = False
            elif self._state in ("first", "name") and buffer[at] == ord('"'):
                name = _STRING.match(buffer, at)
                if name is None and len(buffer) - at > NAME_LIMIT:
                    raise ValueError("a name in it has no end")
                if name is None:
                    break
                self._state, self._name, at = "colon", name.group(), name.end()
            else:
                at = self._punctuation(at)
        del buffer[:at]

    def _punctuation(self, at: int) -> int:
        found = chr(self._buffer[at])
        following = {
            ("start", "{"): "first",
            ("first", "}"): "end",
            ("colon", ":"): "before value",
            ("next", ","): "name",
            ("next", "}"): "end",
        }.get((self._state, found))
        if self._state == "before value":
            self._state = "value"
            return at
        if following is None:
            raise ValueError(f"{found!r} stands where a JSON object should go on or end")
        self._state = following
        return at + 1

    def _value_end(self, start: int) -> int | None:
        """Where the value that begins at `start` ends, or None while that is not there yet."""
        buffer, at = self._buffer, start + self._scanned
        if self._depth == 0 and buffer[start] not in b"{[":
            value = (_STRING if buffer[start] == ord('"') else _SCALAR).match(buffer, start)
            if value is not None and value.end() < len(buffer):
                if value.end() == start:
                    raise ValueError("a value is missing in it")
                return value.end()
            if len(buffer) - start > NAME_LIMIT:
                raise ValueError("a value in it has no end")
            return None
        while True:
            if self._depth > 0:
                at = _end(_BALANCED, buffer, at)
            if at == len(buffer):
                self._scanned_to(start, at)
                return None
            if buffer[at] in b"{[":
                self._depth += 1
                self._is_too_deep |= self._depth > DEPTH_LIMIT
            elif buffer[at] in b"}]":
                self._depth -= 1
                if self._depth == 0:
                    return at + 1
            else:
                # A text without its end: looked at again when as much has come again, so that no byte is read often.
                self._wait_for = len(buffer) - start + (len(buffer) - at)
                self._scanned_to(start, at)
                return None
            at += 1

    def _scanned_to(self, start: int, at: int) -> None:
        self._scanned = at - start
        if self._scanned > ENTRY_LIMIT:
            # Too large to be kept: only its brackets are counted from here on.
            del self._buffer[start:at]
            self._dropped += self._scanned
            self._scanned = 0
        if len(self._buffer) - start > 2 * ENTRY_LIMIT:
            raise ValueError("a text in it has no end")

    def _entry(self, start: int, end: int) -> Entry | None:
        if self._dropped or self._is_too_deep or end - start > ENTRY_LIMIT:
            self.passed_over += 1
            return None
        text = self._buffer[start:end].decode("utf-8", "replace")
        try:
            entry: Any = json.loads(text)
            name = json.loads(self._name)
        except (ValueError, RecursionError):
            entry = name = None
        sound = isinstance(entry, dict) and not entry.keys().isdisjoint(("input", "output"))
        # A lone surrogate in a name would sink all the others.
        if not sound or not isinstance(name, str) or not name.isprintable():
            self.passed_over += 1
            return None
        module = entry.get("python_module")
        return Entry(name, text, module if isinstance(module, str) else "", card_of(name, entry))


def _end(pattern: re.Pattern[bytes], buffer: bytearray, at: int) -> int:
    match = pattern.match(buffer, at)
    return at if match is None else match.end()
