"""Texts of others made harmless: without what steers a terminal, turns letters round, or cannot be written."""

from __future__ import annotations

import re

# C0 and C1 but for tabs and line feeds; Unicode's Bidi_Control; lone surrogates.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
STAND_IN = "\ufffd"


def harmless(text: str) -> str:
    """A text to be read, with a mark in place of each such letter. Lines end as they do here."""
    return _CONTROLS.sub(STAND_IN, text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    """A JSON text that means the same, with such letters written as escapes."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
