"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "problem"]


@dataclass(frozen=True)
class Check:
    """`about` is what was looked at, `found` what there is to say of it, `mend` what to do where something is wrong.

    `problem`: something does not work; `warn`: something may not work as expected, or is out of date. No secret is ever
    in it.
    """

    about: str
    state: State
    found: str
    mend: str | None = None
