"""A saved /object_info, read piece by piece."""

from __future__ import annotations

from pathlib import Path

from comfyui_api.errors import FileProblem
from comfyui_api.inventory.classes import ClassesInMemory, ClassWriter, node_classes_of
from comfyui_api.node_class import NodeClasses
from comfyui_api.object_info import ObjectInfoSplitter

READ_AT_ONCE = 2**20
_NEXT_STEP = "Give a saved reply of /object_info."


def write_saved_classes(path: Path, classes: ClassWriter) -> int:
    """Write the node classes of a saved /object_info. Returns how many entries are none.

    Raises FileProblem where the file cannot be read or holds no node classes.
    """
    splitter, found = ObjectInfoSplitter(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_AT_ONCE):
                entries = splitter.feed(piece)
                classes.add(entries)
                found += len(entries)
        entries = splitter.finish()
    except OSError as exc:
        raise FileProblem(f"{path} could not be read: {exc.strerror or exc}.", _NEXT_STEP) from exc
    except ValueError as exc:
        raise FileProblem(f"{path} is not valid JSON of node classes: {exc}.", _NEXT_STEP) from exc
    classes.add(entries)
    if found + len(entries) == 0:
        raise FileProblem(f"{path} holds no node classes.", _NEXT_STEP)
    return splitter.passed_over


def saved_classes(path: Path) -> NodeClasses:
    """The node classes of a saved /object_info, for a single use. Raises FileProblem as above."""
    with ClassWriter(None) as classes:
        write_saved_classes(path, classes)
        classes.finish()
        return node_classes_of(ClassesInMemory(classes.database))
