"""What the rules share: a fault of one input, and how values are shown in a finding."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

RUN_FAILS = "the run fails"
STOPS = "ComfyUI would stop working over it, until it is restarted."
ACCEPTED = f"The server accepts it; then {RUN_FAILS}."


class Fault(NamedTuple):
    """What is wrong with one input: ComfyUI's error type, and a sentence."""

    code: str
    message: str


def short(value: Any) -> Any:
    """The value as received, long ones cut: findings are read by agents."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, bool | int | float):
        return value
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        return "a value nested too deeply"
    if len(text) > 200:
        return text[:200] + "…"
    return value


def shown(value: Any) -> str:
    """A value in a sentence: texts in quotes as they are, anything else as Python writes it."""
    value = short(value)
    return f"'{value}'" if isinstance(value, str) else repr(value)
