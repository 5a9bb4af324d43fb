"""Node packs whose own JavaScript changes what the editor sends: converted as that code would, or reported by name."""

from __future__ import annotations

from comfyui_api.convert.following import Path
from comfyui_api.convert.live import Graph, Node
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.packs import rgthree, setget, videohelper
from comfyui_api.convert.saved import SavedNode
from comfyui_api.convert.texts import Choose

# What these do happens in the browser, with what only the browser knows.
_BROWSER_ONLY = {
    "VHS_SelectLatest": "it asks the server for the newest file",
    "PresetText|pysssss": "its texts are kept in the browser",
}
VIRTUAL_TYPES = setget.VIRTUAL_TYPES | rgthree.VIRTUAL_TYPES | frozenset(_BROWSER_ONLY)


def restore(node: Node, saved: SavedNode) -> bool:
    """Put the file's values into a node whose pack has widgets of its own. False where the editor's rules hold."""
    return rgthree.restore(node, saved) or videohelper.restore(node, saved)


def put_right(graph: Graph) -> None:
    """What packs do to a graph when it is loaded."""
    setget.put_right(graph)
    rgthree.put_right(graph)


def act(graph: Graph, choose: Choose, notes: Notes) -> None:
    """What packs do to a graph when it is queued."""
    rgthree.set_modes(graph, choose, notes)
    for node in graph.nodes.values():
        if node.type in _BROWSER_ONLY and not node.skipped and node.node_class is None:
            notes.add("frontend_node", f"{node.type} works in the browser only ({_BROWSER_ONLY[node.type]}).", node.id)


def virtual_source(path: Path, node: Node, slot: int) -> tuple[Path, Node, int] | None:
    """The input that feeds an output of a virtual node: its own of the same place, for reroutes of every kind."""
    if node.type in setget.SETTERS:
        return setget.source(path, node)
    return (path, node, slot) if 0 <= slot < len(node.inputs) else None
