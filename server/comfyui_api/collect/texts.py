"""Texts of a run: shown where they are short, and saved whole where they had to be cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from comfyui_api.follow import shorten
from comfyui_api.results import SavedFile, ShownText
from comfyui_api.runs import OutputText
from comfyui_api.storage import put_in_place, safe_name, temporary_beside

SHOWN = 2000  # characters of one text
ENTRIES = 20
GLIMPSE = 600  # characters of one that is cut
ENTRY = 60  # characters of JSON around a text
FILE_BYTES = 4 * SHOWN  # of a text file are read for what is shown of it


@dataclass
class Shelf:
    """The texts of one answer. `left`: the characters of JSON that there is still room for."""

    left: int
    shown: list[ShownText] = field(default_factory=list)

    def has_room(self, texts: Sequence[str], prompt_id: str | None) -> bool:
        """Whether all of these can be shown whole."""
        costs = [_cost(ShownText("", text, None, prompt_id)) for text in texts]
        fits = len(self.shown) + len(texts) <= ENTRIES and sum(costs) <= self.left
        return fits and all(len(text) <= SHOWN for text in texts)

    def add(self, entry: ShownText) -> None:
        """Show a text if there is room."""
        if len(self.shown) < ENTRIES and (cost := _cost(entry)) <= self.left:
            self.left -= cost
            self.shown.append(entry)


def keep_texts(
    texts: Sequence[OutputText], folder: Path, shelf: Shelf, prompt_id: str, *, marked: bool
) -> list[SavedFile]:
    """Show a run's texts. Those of a node of which one has no room are saved whole: returns these files.

    `marked`: what is shown and saved names its run. Raises FileProblem where a file cannot be written.
    """
    by_node: dict[str, list[str]] = {}
    for text in texts:
        by_node.setdefault(text.node_id, []).append(text.text)
    mark = prompt_id if marked else None
    saved = []
    for node_id, own in by_node.items():
        path = None
        if not shelf.has_room(own, mark):
            file = _save(own, folder, f"{prompt_id[:8]}_{node_id}")
            path = str(file)
            saved.append(SavedFile(path, "text", file.stat().st_size, node_id, prompt_id=mark))
        for each in own:
            shelf.add(ShownText(node_id, each if path is None else shorten(each, GLIMPSE), path, mark))
    return saved


def show_file(file: SavedFile, shelf: Shelf) -> None:
    """Show the beginning of a text file that a run saved."""
    with Path(file.path).open("rb") as source:
        head = source.read(FILE_BYTES)
    if b"\0" in head:
        return
    text = head.decode("utf-8-sig", "replace")
    if file.bytes > len(head):
        text = f"{text[:GLIMPSE]}… ({file.bytes:,} bytes in all)"
    elif not shelf.has_room([text], file.prompt_id):
        text = shorten(text, GLIMPSE)
    shelf.add(ShownText(file.node_id, text, file.path, file.prompt_id))


def _cost(entry: ShownText) -> int:
    texts = (entry.text, entry.node_id, entry.path, entry.prompt_id)
    return ENTRY + sum(len(json.dumps(text, ensure_ascii=False)) for text in texts if text)


def _save(texts: list[str], folder: Path, name: str) -> Path:
    """One text as a text file; several of one node as a JSON list, which keeps them apart."""
    ending = "txt" if len(texts) == 1 else "json"
    content = texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False, indent=1)
    target = folder / safe_name(f"text_{name}.{ending}")
    with temporary_beside(target) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace"))  # lone surrogates
        return put_in_place(temporary, target)
