"""Names like a name, and lists of them in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest
from itertools import pairwise

SHOWN = 5
MEASURED = 10  # names that are compared letter by letter
ALIKE, SLIP = 0.6, 0.88  # likeness of names that may be meant, and of those that differ by a slip of the pen


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
