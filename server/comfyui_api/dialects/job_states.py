"""Jobs as Comfy Cloud and API v2 tell them: their states in our words, moments, and files that lie elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

JobState: TypeAlias = Literal["queued", "running", "completed", "failed", "interrupted", "expired"]

# What is in none of these is in flight: new states come without notice (Cloud API documents).
_STATES: Mapping[str, JobState] = {
    "pending": "queued",
    "queued": "queued",
    "submitted": "queued",
    "queued_limited": "queued",
    "queued_waiting": "queued",
    "waiting_to_dispatch": "queued",
    "completed": "completed",
    "succeeded": "completed",
    "success": "completed",
    "failed": "failed",
    "error": "failed",
    "non_retryable_error": "failed",
    "lost": "failed",
    "cancelled": "interrupted",
    "canceled": "interrupted",
    "expired": "expired",
}
_SECONDS_UNTIL = 10**11  # a moment in seconds is below that for 3,000 years, one in milliseconds since 1973 above


def job_state(status: Any) -> JobState:
    """What a job's status means; `running` for every one that is not known."""
    return _STATES.get(status.casefold(), "running") if isinstance(status, str) else "running"


def milliseconds(moment: Any) -> int | None:
    """A moment in milliseconds since 1970, told as such, in seconds, or as ISO 8601; None for what is none."""
    if isinstance(moment, str):
        try:
            told = datetime.fromisoformat(moment)
        except ValueError:
            return None
        moment = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()
    if isinstance(moment, bool) or not isinstance(moment, int | float) or not math.isfinite(moment) or moment <= 0:
        return None
    whole = int(moment * 1000) if moment < _SECONDS_UNTIL else int(moment)
    return whole if whole < 2**53 else None
