"""What the readers of all containers share: the texts they come upon, and which of them are a workflow's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from comfyui_api.embedded.section import Damaged, Section

Tag: TypeAlias = tuple[str, Callable[[], str]]
"""A text in a file: its key, and how to read it, which is only done with those that are wanted."""

KEYS = frozenset(["prompt", "workflow"])
COMMENTS = frozenset(["comment", "description"])  # where some savers put both texts, as one JSON object
OTHERS_SHOWN = 8
MEMBER_LIMIT = 1_000_000  # a model has some thousand tensors
BRACKET_LIMIT = 5_000_000  # a workflow of 64 MB has about four million

_DECODER = json.JSONDecoder()
_NO_JSON = "its JSON is damaged"
_TOO_MANY = "its JSON has more parts than any workflow"

_OBJECT = re.compile(r"\s*\{")
_SPACE = re.compile(r"\s*")
_SCALAR = re.compile(r"[^\s,\]}]+")
# Up to the next bracket that is not in a string; never goes back, so that no text makes it slow.
_TO_BRACKET = re.compile(r'[^"\[\]{}]*+(?:"(?:[^"\\]++|\\.)*+"[^"\[\]{}]*+)*+[\[\]{}]', re.DOTALL)


@dataclass
class Texts:
    """The two texts as far as they are found, and the keys of other texts on the way."""

    found: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return all(is_object(self.found.get(key, "")) for key in KEYS)

    def add(self, tag: Tag) -> None:
        """Take a tag's text if it is wanted: the first of each key that looks like JSON, or else the first."""
        key, read = tag
        name = key.casefold()
        if name in KEYS:
            if not is_object(self.found.get(name, "")):
                self._offer(name, read())
        elif name in COMMENTS:
            self._unwrap(read())
        else:
            self._pass_over(key)

    def _offer(self, name: str, text: str) -> None:
        known = self.found.get(name)
        if text and not text.isspace() and (known is None or (is_object(text) and not is_object(known))):
            self.found[name] = text

    def _unwrap(self, comment: str) -> None:
        if not is_object(comment):
            if "\nSteps: " in comment:  # as Stable Diffusion WebUI begins the line of its settings
                self._pass_over("parameters")
            return
        try:
            for key, text in members(comment):
                if key.casefold() in KEYS:
                    self._offer(key.casefold(), text)
        except Damaged:
            return  # no JSON, then: a comment like any other

    def _pass_over(self, key: str) -> None:
        if len(self.others) < OTHERS_SHOWN:
            self.others.append(key)


def is_object(text: str) -> bool:
    """Whether a text looks like a JSON object."""
    return _OBJECT.match(text) is not None


def members(text: str) -> Iterator[tuple[str, str]]:
    """The members of a JSON object as (key, text): a string's content, or any other value as it is written.

    Values are passed over, not built: a hostile text of brackets alone would take thirty times its size. Raises Damaged
    where the text is no such object.
    """
    place = _after(text, 0, "{")
    for _ in range(MEMBER_LIMIT):
        if text.startswith("}", place):
            return
        key, place = _string(text, place)
        start = _after(text, place, ":")
        if text.startswith('"', start):
            value, place = _string(text, start)
        else:
            place = _end_of_value(text, start)
            value = text[start:place]
        yield key, value
        place = _space(text, place)
        if text.startswith(",", place):
            place = _space(text, place + 1)
    raise Damaged(_TOO_MANY)


def member(text: str, key: str) -> str | None:
    """The text of one member of a JSON object."""
    return next((value for name, value in members(text) if name == key), None)


def _string(text: str, place: int) -> tuple[str, int]:
    if text.startswith('"', place):
        try:
            value, end = _DECODER.raw_decode(text, place)
            return str(value), end
        except ValueError as exc:
            raise Damaged(_NO_JSON) from exc
    raise Damaged(_NO_JSON)


def _end_of_value(text: str, place: int) -> int:
    if not text.startswith(("{", "["), place):
        found = _SCALAR.match(text, place)
        if found is None:
            raise Damaged(_NO_JSON)
        return found.end()
    depth = 0
    for _ in range(BRACKET_LIMIT):
        found = _TO_BRACKET.match(text, place)
        if found is None:
            raise Damaged(_NO_JSON)
        place = found.end()
        depth += 1 if text[place - 1] in "[{" else -1
        if depth == 0:
            return place
    raise Damaged(_TOO_MANY)


def _after(text: str, place: int, mark: str) -> int:
    place = _space(text, place)
    if not text.startswith(mark, place):
        raise Damaged(_NO_JSON)
    return _space(text, place + 1)


def _space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def read_text(section: Section) -> str:
    """What is left of a section as a text."""
    return decoded(section.rest())


def decoded(data: bytes | memoryview) -> str:
    """Bytes as a text: UTF-8, as nearly everybody writes; Latin-1 is what PNG prescribes for its plain texts."""
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        text = str(data, "latin-1")
    return text.strip("\0")
