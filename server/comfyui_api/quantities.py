"""How many of something, in words: 1 run, 3 runs."""

from __future__ import annotations


def count(number: int, what: str, several: str = "") -> str:
    """1 error, 3 errors; `several` where more than an s is added."""
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"


def first_shown(number: int) -> str:
    """That only the first so many of a list are shown, as a part of a sentence."""
    return "the first is shown" if number == 1 else f"the first {number:,} are shown"
