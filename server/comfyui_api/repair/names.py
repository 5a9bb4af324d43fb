"""Names like a name, and lists of them in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from heapq import nlargest
from itertools import pairwise

SHOWN = 5
MEASURED = 10  # names that are compared letter by letter
ALIKE, SLIP = 0.6, 0.88  # likeness of names that may be meant, and of those that differ by a slip of the pen

OTHER_WORDS = 2  # that a class may have beside those that were guessed
_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]|\d+")
_ENDING = re.compile(r"(?<=[a-z]{3})(ers?|ing|s)$")


def closest(name: str, names: Iterable[str], count: int = SHOWN, likeness: float = ALIKE) -> list[str]:
    """The names most like `name`, the best first; letter case and folders count little."""
    by_key: dict[str, str] = {}
    for candidate in names:
        by_key.setdefault(candidate.replace("\\", "/").casefold(), candidate)
    wanted = name.replace("\\", "/").casefold()
    found = get_close_matches(wanted, _likely(wanted, by_key), n=count, cutoff=likeness)
    # The same file in another folder is nearer than any likeness of letters.
    file_name = wanted.rsplit("/", 1)[-1]
    same_file = [key for key in by_key if key.rsplit("/", 1)[-1] == file_name]
    ordered = list(dict.fromkeys([*same_file, *found]))
    return [by_key[key] for key in ordered[:count]]


def closest_classes(name: str, names: Iterable[str], count: int = 3, likeness: float = ALIKE) -> list[str]:
    """The class names most like one that was guessed: the same words in any order first (LoadLora: LoraLoader), those
    with few other words, then those that are spelt alike."""
    wanted = _words(name)
    known = list(names)
    having = sorted(
        (len(words) - len(wanted), len(candidate), candidate)
        for candidate in known
        if wanted and wanted <= (words := _words(candidate)) and len(words) <= len(wanted) + OTHER_WORDS
    )
    same = [candidate for _, _, candidate in having]
    return list(dict.fromkeys([*same[:count], *closest(name, known, count, likeness)]))[:count]


def same_words(one: str, other: str) -> bool:
    """Whether two class names are the same but for the order and form of their words."""
    return _words(one) == _words(other)


@lru_cache(maxsize=2**15)
def _words(name: str) -> frozenset[str]:
    """The words of a class name in one form: LoraLoader and LoadLoras are both {lora, load}."""
    return frozenset(_ENDING.sub("", word.casefold()) for word in _WORD.findall(name))


def _likely(wanted: str, keys: Iterable[str]) -> list[str]:
    """Those that share the most pairs of letters: measuring the likeness itself takes ten times as long."""
    pairs = set(pairwise(wanted))
    return nlargest(MEASURED, keys, key=lambda key: len(pairs.intersection(pairwise(key))))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The question whether the name most like this one was meant, after a space; nothing where none is like it."""
    near = closest(name, names, 1)
    return f" Did you mean '{near[0]}'?" if near else ""


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def first_of(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return listed(names[:SHOWN]) + more


def printable(text: str, length: int = 100) -> str:
    """A text of others on one line, without what would move the cursor of a terminal."""
    return "".join(char if char.isprintable() else "�" for char in text[:length])
