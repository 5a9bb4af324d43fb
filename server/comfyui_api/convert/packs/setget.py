"""SetNode and GetNode (KJNodes; Easy-Use has its own): links by name instead of by wire.

Source of the rules: ComfyUI-KJNodes, web/js/setgetnodes.js, and ComfyUI-Easy-Use, getset.js, of 2025. Where a name is
not in the Get's own graph, the graphs around it are searched.
"""

from __future__ import annotations

import re

from comfyui_api.convert.following import Path, output_type
from comfyui_api.convert.live import Graph, Node
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.saved import INPUT_NODE

KJ_SET, KJ_GET = "SetNode", "GetNode"
EASY_SET, EASY_GET = "easy setNode", "easy getNode"
VIRTUAL_TYPES = frozenset({KJ_SET, KJ_GET, EASY_SET, EASY_GET})
SETTERS = {KJ_GET: KJ_SET, EASY_GET: EASY_SET}


def name_of(node: Node) -> str:
    value = node.widgets[0].value if node.widgets else None
    return value if isinstance(value, str) else ""


def source(path: Path, getter: Node) -> tuple[Path, Node, int] | None:
    """The input of the setter that a getter stands for, and the instances around it."""
    name, set_type = name_of(getter), SETTERS[getter.type]
    if not name:
        return None
    own = _setters(getter.graph, set_type, name)
    if own:
        return path, own[0], 0
    if set_type == EASY_SET:
        return None
    found = [
        (path[:depth], setter)
        for depth in range(len(path) - 1, -1, -1)
        for setter in _setters(path[depth].graph, set_type, name)
    ]
    if len(found) != 1:
        return None
    around, setter = found[0]
    link = setter.inputs[0].link if setter.inputs else None
    return None if link is None or link.origin_id == INPUT_NODE else (around, setter, 0)


def _setters(graph: Graph, set_type: str, name: str) -> list[Node]:
    return [node for node in graph.nodes.values() if node.type == set_type and name_of(node) == name and node.inputs]


def put_right(graph: Graph) -> None:
    """What KJNodes does when it loads a graph: later setters of one name get another, and so do getters after them;
    links of getters whose type does not fit are cut."""
    taken: set[str] = set()
    renamed: dict[str, str] = {}
    for node in graph.nodes.values():
        name = name_of(node) if node.type in (KJ_SET, KJ_GET) else ""
        if not name:
            continue
        if node.type == KJ_GET:
            node.widgets[0].value = renamed.get(name, name)
        elif name in taken:
            base, number = re.sub(r"_\d+$", "", name), 0
            while f"{base}_{number}" in taken:
                number += 1
            renamed[name] = node.widgets[0].value = f"{base}_{number}"
            taken.add(renamed[name])
        else:
            taken.add(name)
    for getter in [node for node in graph.nodes.values() if node.type == KJ_GET]:
        _cut_misfits(graph, getter)


def _cut_misfits(graph: Graph, getter: Node) -> None:
    setters = _setters(graph, KJ_SET, name_of(getter))
    link = setters[0].inputs[0].link if setters else None
    origin = graph.nodes.get(link.origin_id) if link is not None else None
    if origin is None or link is None:
        return
    kind = output_type(origin, link.origin_slot)
    for target in graph.outgoing(getter, 0):
        taken = target.input.link
        if taken is not None and kind != "*" and "*" not in taken.type.split(",") and kind not in taken.type.split(","):
            target.input.link = None
            graph.linked()


def report(getter: Node, node_id: str, notes: Notes) -> None:
    """Say that nothing sets what a getter asks for."""
    notes.add("frontend_node", f"Nothing sets '{name_of(getter)}', which this {getter.type} asks for.", node_id)
