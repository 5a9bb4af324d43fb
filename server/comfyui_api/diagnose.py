"""Why a run failed and what helps: an execution error against the cases of references/troubleshooting.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from comfyui_api.runs import ExecutionError

TRACEBACK_LINES = 3
MESSAGE_SHOWN = 1200


@dataclass(frozen=True)
class KnownCase:
    """One section of the document: its heading, what it matches in an error, and the remedy in its words."""

    title: str
    patterns: tuple[re.Pattern[str], ...]
    remedy: str


@lru_cache
def known_cases(document: str) -> tuple[KnownCase, ...]:
    """The cases of the document: sections that have a `- Matches:` line with patterns in backquotes and a `- Remedy:`.

    Sections without them are for people and agents to read.
    """
    cases = []
    for section in re.split(r"^## ", document, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        matches = re.search(r"^- Matches: (.+)$", body, re.MULTILINE)
        remedy = re.search(r"^- Remedy: (.+?)(?=^- |^$|\Z)", body, re.MULTILINE | re.DOTALL)
        if matches and remedy:
            patterns = tuple(re.compile(text, re.IGNORECASE) for text in re.findall(r"`([^`]+)`", matches[1]))
            cases.append(KnownCase(title.strip(), patterns, " ".join(remedy[1].split())))
    return tuple(cases)


def remedy_for(error: ExecutionError, cases: tuple[KnownCase, ...]) -> str:
    """What to do about a failed node; for an unknown failure, where it happened and where to look."""
    text = f"{error.exception_type}: {error.exception_message}"
    for case in cases:
        if any(pattern.search(text) for pattern in case.patterns):
            return f"{case.title}: {case.remedy}"
    place = "".join(error.traceback[-TRACEBACK_LINES:]).strip()
    shown = f" It failed in: {place[-600:]}" if place else ""
    return f"Check the inputs of this node and ComfyUI's log.{shown}"


def in_one_line(error: ExecutionError) -> str:
    """The exception's message as one line, a long one cut: what it says first and last matters most."""
    text = " ".join(error.exception_message.split())
    if len(text) > MESSAGE_SHOWN:
        text = f"{text[: MESSAGE_SHOWN * 2 // 3]} … {text[-MESSAGE_SHOWN // 3 :]}"
    return text or error.exception_type or "no reason given"
