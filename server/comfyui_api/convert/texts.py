"""Texts that the editor changes when it sends them: choices {a|b}, comments, and %names% in file names.

Source of the rules: the web frontend 1.58.1, formatUtil (processDynamicPrompt, formatDate) and searchAndReplace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from comfyui_api.convert.live import Node, as_text

Choose = Callable[[int], int]
"""Gives an index below a number: where the random choices come from."""

SAVERS = frozenset(
    {
        "SaveImage",
        "SaveImageAdvanced",
        "SaveSVGNode",
        "SaveVideo",
        "SaveAnimatedWEBP",
        "SaveWEBM",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveAudioAdvanced",
        "SaveGLB",
        "Save3DAdvanced",
        "SaveGaussianSplat",
        "SavePointCloud",
        "SaveAnimatedPNG",
        "CLIPSave",
        "VAESave",
        "ModelSave",
        "LoraSave",
        "SaveLatent",
    }
)
"""The classes whose filename_prefix may name values of other nodes, and the date."""

_COMMENT = re.compile(r"/\*|//[^\n\r\u2028\u2029]*")
_TOKEN = re.compile(r"\\.?|[{}|]|[^\\{}|]+", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")
_NAMED = re.compile(r"%([^%]+)%")
_UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
_DATE = re.compile(r"dd?|MM?|yyy?y?|hh?|mm?|ss?")
_LEVELS = 100  # of choices within choices
_NAMED_SIZE = 10_000_000  # characters that names may bring into texts: texts that name each other multiply


def resolve_choices(text: str, choose: Choose) -> str:
    """A text without its comments, and with one option of each {a|b} in its place."""
    text = _without_comments(text)
    return _resolved(_parsed(text), text, choose, _LEVELS) if "{" in text or "\\" in text else text


def _without_comments(text: str) -> str:
    kept: list[str] = []
    place, last_close = 0, text.rfind("*/")
    while (found := _COMMENT.search(text, place)) is not None:
        start, end = found.span()
        if found[0] != "/*":
            kept.append(text[place:start])
        elif end <= last_close:
            kept.append(text[place:start])
            end = text.index("*/", end) + 2
        else:  # never closed: no comment
            kept.append(text[place:end])
        place = end
    return "".join([*kept, text[place:]])


@dataclass(slots=True)
class _Option:
    """A part of a text, from `start` to `end`: texts, and choices as lists of options."""

    start: int
    end: int
    parts: list[str | list[_Option]]


def _parsed(text: str) -> _Option:
    """The whole text as an option. Choices that are never closed go to its end."""
    option = whole = _Option(0, len(text), [])
    around: list[tuple[_Option, list[_Option]]] = []  # for each open choice, the option that it stands in, and its own
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark == "{":
            inner = _Option(token.end(), len(text), [])
            around.append((option, [inner]))
            option.parts.append(around[-1][1])
            option = inner
        elif around and mark in ("|", "}"):
            option.end = token.start()
            if mark == "}":
                option, _ = around.pop()
            else:
                option = _Option(token.end(), len(text), [])
                around[-1][1].append(option)
        else:
            option.parts.append(mark)
    return whole


def _resolved(option: _Option, text: str, choose: Choose, levels: int) -> str:
    if not levels:
        return text[option.start : option.end]
    parts = [
        part if isinstance(part, str) else _resolved(part[choose(len(part))], text, choose, levels - 1)
        for part in option.parts
    ]
    return _ESCAPED.sub(r"\1", "".join(parts))


class Names:
    """What %node.widget% and %date:format% stand for. `nodes` are all of the workflow's."""

    def __init__(self, nodes: Iterable[Node], now: datetime | None) -> None:
        self._now = now
        self._left = _NAMED_SIZE
        self._by_name: dict[str, Node] = {}
        self._by_title: dict[str, Node] = {}
        for node in nodes:
            name = _search_name(node)
            if isinstance(name, str):
                self._by_name.setdefault(name, node)
            self._by_title.setdefault(node.title, node)

    def replace(self, text: str) -> str:
        """A text with the names in it replaced; what names nothing stays as it is."""
        return _NAMED.sub(self._replaced, text)

    def _replaced(self, match: re.Match[str]) -> str:
        parts = match[1].split(".")
        if len(parts) != 2:
            if self._now is not None and parts[0].startswith("date:"):
                return _date(parts[0][len("date:") :], self._now)
            return match[0]
        node = self._by_name.get(parts[0]) or self._by_title.get(parts[0])
        widget = node.widget(parts[1]) if node is not None else None
        if widget is None or self._left < 0:
            return match[0]
        value = as_text(widget.value)
        self._left -= len(value)
        return _UNSAFE.sub("_", value) if self._left >= 0 else match[0]


def _search_name(node: Node) -> object:
    name = node.properties.get("Node name for S&R")
    if name is None and node.node_class is not None and node.type not in SAVERS:
        return node.type
    return name


def _date(pattern: str, now: datetime) -> str:
    def part(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] == "y":
            return {"yyyy": str(now.year), "yy": str(now.year)[2:]}.get(text, text)
        number = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}[text[0]]
        return str(number).rjust(len(text), "0")

    return _DATE.sub(part, pattern)
