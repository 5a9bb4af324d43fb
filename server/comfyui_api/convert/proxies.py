"""`properties.proxyWidgets`: how files of 2025 say which widgets inside a subgraph its instances show.

The editor turns each entry into an input of the definition on loading, and so does this.
Source of the rules: the web frontend 1.58.1, proxyWidgetMigration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from comfyui_api.convert.live import Input, Node, Subgraph, Target, Widget
from comfyui_api.convert.nodes import PRIMITIVE
from comfyui_api.convert.notes import Homes, Notes, shown
from comfyui_api.convert.saved import SavedNode
from comfyui_api.convert.subgraphs import add_input, connect, promote, source_of

_BYPASSED = "proxyBypassedToSubgraphInput"  # on a primitive: the input that took its place
_PREFIX = re.compile(r"^\s*(\d+)\s*:\s*(.+)$", re.DOTALL)
_NO_VALUE = object()


@dataclass(frozen=True)
class _Entry:
    """One shown widget: the node inside, the widget's name there, and this instance's value for it."""

    node_id: str
    name: str
    value: Any
    homes: Homes = ()


def migrate(host: Node, saved: SavedNode, notes: Notes) -> None:
    """Turn an instance's list of shown widgets into inputs of its definition, with the instance's values."""
    subgraph = host.subgraph
    listed = host.properties.get("proxyWidgets")
    if subgraph is None or not isinstance(listed, list):
        return
    primitives: dict[str, list[_Entry]] = {}
    for entry in _entries(host, listed, saved.values):
        if not _migrate_entry(host, subgraph, entry, primitives):
            _set_aside(host, entry, notes)
    for node_id, entries in primitives.items():
        _replace_primitive(host, subgraph, subgraph.nodes[node_id], entries)


def _entries(host: Node, listed: list[Any], values: list[Any]) -> list[_Entry]:
    found = []
    for place, raw in enumerate(listed):
        if not isinstance(raw, list) or len(raw) < 2:
            return []  # one malformed entry voids the list, as in the editor
        node_id, name = str(raw[0]), str(raw[1])
        while _resolves(host, node_id, name) is None and (prefixed := _PREFIX.match(name)):
            name = prefixed[2]
        if place < len(values):
            found.append(_Entry(node_id, name, values[place], ((values, place),)))
        else:
            found.append(_Entry(node_id, name, _NO_VALUE))
    return found


def _resolves(host: Node, node_id: str, name: str) -> Widget | None:
    node = host.subgraph.nodes.get(node_id) if host.subgraph is not None else None
    return _widget(node, name) if node is not None else None


def _widget(node: Node, name: str) -> Widget | None:
    """A node's widget by name; on an instance, what the input of that name, or that shows such a widget, stands for."""
    if node.subgraph is None:
        return node.widget(name)
    slot = _shown_as(node, name)
    return slot.promoted if slot is not None else None


def _shown_as(node: Node, name: str) -> Input | None:
    if node.subgraph is None:
        return None
    for slot, port in zip(node.inputs, node.subgraph.inputs, strict=True):
        source = source_of(port)
        if slot.name == name or (source is not None and source[1] == name):
            return slot
    return None


def _migrate_entry(host: Node, subgraph: Subgraph, entry: _Entry, primitives: dict[str, list[_Entry]]) -> bool:
    """Do what one entry asks for. False where there is nothing that it could mean."""
    for slot, port in zip(host.inputs, subgraph.inputs, strict=True):
        source = source_of(port)
        if source is not None and source[0].id == entry.node_id and source[1] == entry.name:
            return _set(slot, entry)
    node = subgraph.nodes.get(entry.node_id)
    if node is None:
        return False
    if node.type == PRIMITIVE:
        replaced = host.input(str(node.properties.get(_BYPASSED)))
        if replaced is not None:
            return _set(replaced, entry)
        primitives.setdefault(node.id, []).append(entry)
        return True
    if entry.name.startswith("$$"):
        return True  # a preview: nothing that is sent
    widget = _widget(node, entry.name)
    fed = _input_of(node, widget, entry.name)
    if widget is None or fed is None:
        return False
    name = add_input(subgraph, entry.name, fed.type, Target(node, fed))
    added = host.input(name)
    return added is None or _set(added, entry)


def _input_of(node: Node, widget: Widget | None, name: str) -> Input | None:
    if widget is None:
        return None
    if node.subgraph is not None:
        return _shown_as(node, name)
    return next((slot for slot in node.inputs if slot.widget == widget.name), None)


def _set(slot: Input, entry: _Entry) -> bool:
    if slot.promoted is None:
        return False
    if entry.value is not _NO_VALUE:
        slot.promoted.value, slot.promoted.homes, slot.promoted.restored = entry.value, entry.homes, True
    return True


def _set_aside(host: Node, entry: _Entry, notes: Notes) -> None:
    """An entry that means no widget here. The id -1 names an input of the instance itself."""
    if entry.node_id == "-1":
        slot = host.input(entry.name)
        if slot is not None and _set(slot, entry):
            return
    if entry.value is not _NO_VALUE and entry.value is not None and not _is_control(entry):
        notes.add(
            "lost_value",
            f"{shown(entry.value)} was saved for '{entry.name}' of node {entry.node_id} inside, where ComfyUI finds "
            "no such input: not sent.",
            host.id,
            entry.name,
        )


def _is_control(entry: _Entry) -> bool:
    return entry.name in ("control_after_generate", "control_filter_list")


def _replace_primitive(host: Node, subgraph: Subgraph, node: Node, entries: list[_Entry]) -> None:
    """A shown primitive: its place is taken by an input of the definition, which feeds what the primitive fed."""
    targets = subgraph.outgoing(node, 0)
    own_type = node.saved_outputs[0] if node.saved_outputs else "*"
    if not targets or any(
        "*" not in (target.input.type, own_type) and target.input.type != own_type for target in targets
    ):
        return
    title = node.title if node.title != PRIMITIVE else entries[0].name
    given = next((entry for entry in entries if entry.value is not _NO_VALUE), None)
    if given is None and node.widgets:
        given = _Entry(node.id, entries[0].name, node.widgets[0].value, node.widgets[0].homes)
    name = add_input(subgraph, title, own_type, targets[0])
    place = len(subgraph.inputs) - 1
    for target in targets[1:]:
        connect(subgraph, place, target)
    for instance in subgraph.instances:
        slot = instance.inputs[place]
        if slot.promoted is None:
            promote(slot, subgraph.inputs[place])
    node.properties = {**node.properties, _BYPASSED: name}
    added = host.input(name)
    if added is not None and given is not None:
        _set(added, given)
