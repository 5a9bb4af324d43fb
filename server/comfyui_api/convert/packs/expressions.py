"""JavaScript's regular expressions, as users write them into nodes, searched for in bounded time."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from comfyui_api.convert.live import Node
from comfyui_api.convert.notes import Notes, shown

_STEPS = 300_000_000  # that all searches of one workflow may take: some seconds
_PIECE = re.compile(r"\\(?:k<\w+>|.)|\[\^?(?:\\.|[^\]\\])*\]|\(\?<(?=\w)|\$|\{(?!\d)", re.DOTALL)
_IN_PYTHON = {"[": r"\[", "$": r"\Z", "[]": "(?!)", "[^]": r"[\s\S]", "{": r"\{", "(?<": "(?P<", "--": r"-\-"}
_NOT_IN_JAVASCRIPT = re.compile(r"\(\?(?![:=!<])|(?:[*+?]|\{\d[\d,]*\})\+")


class Test(NamedTuple):
    """An expression to be found in a text, or not. `pattern` is None where no search is safe: then nothing agrees."""

    pattern: re.Pattern[str] | None
    loops: int = 0
    ways: int = 1
    inverted: bool = False


class Expressions:
    """Reads expressions and searches with them, each once. What is no expression counts as none, as in the pack."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._left = _STEPS
        self._tests: dict[str, Test | None] = {}
        self._found: dict[tuple[str, str], bool] = {}

    def test(self, settings: dict[str, Any], name: str, node: Node) -> Test | None:
        text = settings.get(f"{name}_regex")
        test = self.read(text, node) if isinstance(text, str) and text not in ("", ".*") else None
        return test._replace(inverted=bool(settings.get(f"{name}_regex_invert"))) if test is not None else None

    def read(self, text: str, node: Node) -> Test | None:
        if text not in self._tests:
            why = ""
            try:
                test = self._tests[text] = _compiled(text)
                if test.pattern is None:
                    why = "could be searched with forever, so that nothing fits it"
            except (re.error, OverflowError) as exc:
                self._tests[text], why = None, f"is left out: {exc}"
            if why:
                self._notes.add("frontend_node", f"Its expression {shown(text)} {why}.", node.id)
        return self._tests[text]

    def agree(self, test: Test | None, text: str) -> bool:
        if test is None or test.pattern is None:
            return test is None
        key = (test.pattern.pattern, text)
        if key not in self._found:
            steps = math.comb(len(text) + test.loops + 1, test.loops + 1) * test.ways
            if steps > self._left:
                self._notes.add("frontend_node", "The expressions of broadcasts are too costly here: not all fit.")
                return False
            self._left -= steps
            self._found[key] = test.pattern.search(text) is not None
        return self._found[key] != test.inverted


def _compiled(text: str) -> Test:
    """JavaScript's expression in Python's words, and what a search costs. Raises re.error."""
    bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", text, flags=re.DOTALL)
    if len(text) > 200 or re.search(r"\)[*+{]", bare):
        return Test(None)
    if _NOT_IN_JAVASCRIPT.search(bare):
        raise re.error("it is none")
    bars = bare.count("|")
    ways = (2**bars if "(" in bare else bars + 1) << bare.count("?")
    return Test(re.compile(_PIECE.sub(_word, text), re.ASCII), len(re.findall(r"[*+]|\{\d", bare)), ways)


def _word(piece: re.Match[str]) -> str:
    """What Python has for a piece in which the languages differ."""
    text = piece[0]
    if text in _IN_PYTHON:
        return _IN_PYTHON[text]
    if text[0] == "[":
        return "[" + re.sub(r"\\.|--|[\[&~|]", _word, text[1:], flags=re.DOTALL)
    if text.startswith("\\k<"):
        return f"(?P={text[3:-1]})"
    if text[0] != "\\":
        return f"\\{text}"
    return text[1] if text[1].isalpha() and text[1] not in "dDwWsSbBtrnfvux" else text
