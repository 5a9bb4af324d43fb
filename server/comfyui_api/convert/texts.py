"""Texts that the editor changes when it sends them: choices {a|b}, comments, and %names% in file names.

Source of the rules: the web frontend 1.58.1, formatUtil (processDynamicPrompt, formatDate) and searchAndReplace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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

_COMMENTS = re.compile(r"/\*.*?\*/|//[^\n\r\u2028\u2029]*", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")
_NAMED = re.compile(r"%([^%]+)%")
_UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
_DATE = re.compile(r"dd?|MM?|yyy?y?|hh?|mm?|ss?")
_ROUNDS = 100  # levels of choices within choices


def resolve_choices(text: str, choose: Choose) -> str:
    """A text without its comments, and with one option of each {a|b} in its place."""
    return _resolved(text, choose, _ROUNDS)


def _resolved(text: str, choose: Choose, rounds: int) -> str:
    text = _COMMENTS.sub("", text)
    if "{" not in text and "\\" not in text:
        return text
    result: list[str] = []
    place = 0
    while place < len(text):
        char = text[place]
        place += 1
        if char == "\\":
            result.append("\\" + text[place : place + 1])
            place += 1
        elif char == "{":
            options, place = _options(text, place)
            chosen = options[choose(len(options))]
            result.append(_resolved(chosen, choose, rounds - 1) if rounds else chosen)
        else:
            result.append(char)
    return _ESCAPED.sub(r"\1", "".join(result))


def _options(text: str, place: int) -> tuple[list[str], int]:
    """The options of a choice whose bracket has just been opened, and where the text goes on after it."""
    options: list[str] = []
    option: list[str] = []
    depth = 0
    while place < len(text):
        char = text[place]
        place += 1
        if char == "\\":
            option.append("\\" + text[place : place + 1])
            place += 1
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            if not depth:
                break
            depth -= 1
        elif char == "|" and not depth:
            options.append("".join(option))
            option = []
            continue
        option.append(char)
    options.append("".join(option))
    return options, place


def replace_names(text: str, nodes: Iterable[Node], now: datetime | None) -> str:
    """%node.widget% and %date:format% replaced by what they name; what names nothing stays as it is."""
    if "%" not in text:
        return text
    found = list(nodes)

    def replaced(match: re.Match[str]) -> str:
        parts = match[1].split(".")
        if len(parts) != 2:
            if now is not None and parts[0].startswith("date:"):
                return _date(parts[0][len("date:") :], now)
            return match[0]
        named = [node for node in found if _search_name(node) == parts[0]]
        named = named or [node for node in found if node.title == parts[0]]
        widget = named[0].widget(parts[1]) if named else None
        return _UNSAFE.sub("_", as_text(widget.value)) if widget is not None else match[0]

    return _NAMED.sub(replaced, text)


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
