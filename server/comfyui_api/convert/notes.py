"""What a conversion has to say about what it dropped, repaired or could not know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from comfyui_api.findings import Note, NoteCode
from comfyui_api.graph import Prompt

Homes: TypeAlias = tuple[tuple[Any, Any], ...]
"""Places in a file's JSON: (the list or object, the position or key)."""


@dataclass(frozen=True)
class Conversion:
    """A workflow as the editor would send it. `prompt` has class_type, inputs and _meta under each node id."""

    prompt: Prompt
    notes: list[Note] = field(default_factory=list)
    homes: dict[tuple[str, str], Homes] = field(default_factory=dict, repr=False, compare=False)
    """Where in the workflow's JSON each (node id, input) of the prompt has its value; see `write`."""

    def write(self, node_id: str, input_name: str, value: Any) -> bool:
        """Put a value into the converted workflow itself, where the prompt's came from.

        False, with nothing written, where the file has no place for it: linked inputs, defaults that were filled in,
        and values that several nodes of the prompt share (subgraphs used twice, primitives).
        """
        homes = self.homes.get((node_id, input_name), ())
        if not homes or sum(_same_place(homes, other) for other in self.homes.values()) > 1:
            return False
        for container, key in homes:
            container[key] = value
        return True


def _same_place(homes: Homes, other: Homes) -> bool:
    return bool(other) and homes[0][0] is other[0][0] and homes[0][1] == other[0][1]


_LIMIT = 1000  # remarks that anybody would read
_LENGTH = 1000  # characters of a remark: names in a file may be of any length


class Notes:
    """The remarks of one conversion, each once; after the first thousand they are only counted."""

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}
        self._left_out: list[NoteCode] = []

    def add(self, code: NoteCode, message: str, node_id: str | None = None, input_name: str | None = None) -> None:
        note = Note(code, _cut(message, _LENGTH), node_id, input_name)
        if len(self._notes) < _LIMIT:
            self._notes.setdefault(note)
        elif note not in self._notes:
            self._left_out.append(code)

    def all(self) -> list[Note]:
        if not self._left_out:
            return list(self._notes)
        codes = ", ".join(sorted(set(self._left_out)))
        return [*self._notes, Note(self._left_out[0], f"… and {len(self._left_out):,} more remarks ({codes}).")]


def shown(value: Any) -> str:
    """A value as a note quotes it: short, on one line."""
    return _cut(repr(value), 60)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
