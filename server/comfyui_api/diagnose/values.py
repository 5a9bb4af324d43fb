"""The inputs of a failed node, cut to what helps: short values, tensors as their shape, other objects by their kind.

ComfyUI sends `str()` of what is no number, text or boolean (execution.py, format_value): of a tensor the numbers, of
which it leaves out the middle, so that a long dimension is told as "?".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from comfyui_api.import_failures.raised import clean

INPUTS_SHOWN = 16
NAME_SHOWN = 60
TEXT_SHOWN = 120
DUMP_READ = 100_000
TENSORS_SHOWN = 6
DEEPEST = 8
LARGEST = 2**63  # seeds are smaller; what is larger is shown as text, which is cut

_TOKEN = re.compile(r"[\[\],]|\.\.\.")
_SIZE = re.compile(r"size=\(([\d, ]{0,80})\)")
_DTYPE = re.compile(r"dtype=torch\.(\w{1,30})")
_DEVICE = re.compile(r"device='(\w{1,20}(?::\d{1,3})?)'")
_SECRET = re.compile(r"key\b|api_?key|token|secret|passw|auth|credential", re.IGNORECASE)
_OBJECT = re.compile(r"<(?:[\w.]{0,200}\.)?(\w{1,80})(?: object)? at 0x[0-9a-fA-F]{1,20}>")


def short_inputs(inputs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Each input with its value. A node gets a list for each input; of several values the first is shown.
    Keys, tokens and passwords are not."""
    shown: dict[str, Any] = {}
    for name, values in list(inputs.items())[:INPUTS_SHOWN]:
        first = _short(values[0]) if values else "nothing"
        if isinstance(first, str) and _SECRET.search(name[:NAME_SHOWN]):
            first = "(not shown)"
        shown[clean(name, NAME_SHOWN)] = f"{first} and {len(values) - 1} more" if len(values) > 1 else first
    if len(inputs) > INPUTS_SHOWN:
        shown["…"] = f"{len(inputs) - INPUTS_SHOWN} more inputs"
    return shown


def _short(value: Any) -> Any:
    if value is None:
        return "nothing"
    if isinstance(value, bool | int | float) and abs(value) < LARGEST:
        return value
    text = value if isinstance(value, str) else str(value)
    return clean(_OBJECT.sub(r"\1", _with_short_tensors(text[:DUMP_READ])), TEXT_SHOWN)


def _with_short_tensors(text: str) -> str:
    """A text with each `tensor(…)` in it as "tensor 1 × ? × ? × 3 float16"."""
    parts, at = [], 0
    for _ in range(TENSORS_SHOWN):
        start = text.find("tensor(", at)
        if start < 0:
            break
        end = text.find(")", start)
        if end >= 0 and "size=(" in text[max(start, end - 80) : end]:
            end = text.find(")", end + 1)
        end = len(text) if end < 0 else end
        parts += [text[at:start], _tensor(text[start + len("tensor(") : end])]
        at = end + 1
    return "".join([*parts, text[at:]])


def _tensor(dump: str) -> str:
    size = _SIZE.search(dump, max(0, len(dump) - 200))
    shape = [part.strip() for part in size[1].split(",") if part.strip()] if size else _shape(dump)
    dtype = _DTYPE.search(dump, max(0, len(dump) - 200))
    device = _DEVICE.search(dump, max(0, len(dump) - 200))
    words = ["tensor", " × ".join(shape) or "of one number", *(found[1] for found in (dtype, device) if found)]
    return " ".join(words)


def _shape(dump: str) -> list[str]:
    """The dimensions of a printed tensor, "?" for those that were cut. Counted along the first row of each depth."""
    if dump.startswith("[]"):
        return ["0"]
    depth = 0
    counts: list[int] = []
    cut: set[int] = set()
    countable = DEEPEST  # deeper rows than this have been counted
    for match in _TOKEN.finditer(dump):
        token = match[0]
        if token == "[":
            depth += 1
            if len(counts) < depth <= countable:
                counts.append(1)
        elif token == "]":
            depth -= 1
            countable = min(countable, depth)
            if depth <= 0:
                break
        elif token == "," and 0 < depth <= countable:
            counts[depth - 1] += 1
        elif token == "...":
            cut.add(depth)
    if depth > 0:  # the text ended before the tensor did
        cut.update(range(1, depth + 1))
    return ["?" if index in cut else str(count) for index, count in enumerate(counts, start=1)]
