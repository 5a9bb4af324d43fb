"""The known kinds of failure, as references/troubleshooting.md tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from comfyui_api.diagnose.traceback import Frame
from comfyui_api.runs import ExecutionError

# Patterns are searched in this much of a message: what it says first and last matters most, and no message can keep
# them busy for long. `messages` of state dict errors have thousands of lines.
SEARCHED = 4000
FRAMES_SEARCHED = 60

_TABLE_ROW = re.compile(r"^\| (\d{1,6}) \| (.{1,300}) \|$", re.MULTILINE)


@dataclass(frozen=True)
class KnownCase:
    """One section of the document.

    `patterns` are searched in "ExceptionType: message", `places` in the files and functions of the traceback; one of
    each has to be found, of `places` only where there are any. `shows` names what is to be added from the run.
    `meanings` is the section's table: what a number in the message stands for.
    """

    title: str
    patterns: tuple[re.Pattern[str], ...]
    places: tuple[re.Pattern[str], ...]
    cause: str
    remedy: str
    shows: tuple[str, ...]
    meanings: Mapping[int, str]

    def fits(self, text: str, places: str) -> bool:
        if not any(pattern.search(text) for pattern in self.patterns):
            return False
        return not self.places or any(place.search(places) for place in self.places)


@lru_cache
def known_cases(document: str) -> tuple[KnownCase, ...]:
    """The cases of the document: sections that have a `- Matches:` line with patterns in backquotes and a `- Remedy:`.

    Sections without them are for people and agents to read.
    """
    cases = []
    for section in re.split(r"^## ", document, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        matches, remedy = _item(body, "Matches"), _item(body, "Remedy")
        if matches and remedy:
            cases.append(
                KnownCase(
                    title=title.strip(),
                    patterns=_patterns(matches),
                    places=_patterns(_item(body, "Where")),
                    cause=_item(body, "Cause"),
                    remedy=remedy,
                    shows=tuple(_quoted(_item(body, "Shows"))),
                    meanings={int(number): words for number, words in _TABLE_ROW.findall(body)},
                )
            )
    return tuple(cases)


def known_case(error: ExecutionError, frames: Sequence[Frame], cases: tuple[KnownCase, ...]) -> KnownCase | None:
    """The first case that an error fits, or None."""
    text = searched_text(error)
    places = "\n".join(f"{frame.path} {frame.function}" for frame in frames[-FRAMES_SEARCHED:])
    return next((case for case in cases if case.fits(text, places)), None)


def searched_text(error: ExecutionError) -> str:
    """What patterns are searched in: the beginning and the end of "ExceptionType: message", each bounded."""
    text = f"{error.exception_type[:300]}: {error.exception_message}"
    return text if len(text) <= SEARCHED else f"{text[: SEARCHED // 2]}\n{text[-SEARCHED // 2 :]}"


def _item(body: str, name: str) -> str:
    """The text of a list item "- Name: …", which may go on in indented lines."""
    found = re.search(rf"^- {name}: (.+(?:\n  .+)*)", body, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _quoted(item: str) -> list[str]:
    return re.findall(r"`([^`]+)`", item)


def _patterns(item: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in _quoted(item))
