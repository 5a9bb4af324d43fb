"""`properties.proxyWidgets`: how files of 2025 say which widgets inside a subgraph its instances show.

The editor turns each entry into an input of the definition on loading, and so does this.
Source of the rules: the web frontend 1.58.1, proxyWidgetMigration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from comfyui_api.convert.live import Input, Node, Subgraph, Target
from comfyui_api.convert.nodes import PRIMITIVE
from comfyui_api.convert.notes import Homes, Notes, shown
from comfyui_api.convert.saved import SavedNode, shown_widgets
from comfyui_api.convert.size import Size
from comfyui_api.convert.subgraphs import add_input, source_of

_BYPASSED = "proxyBypassedToSubgraphInput"  # on a primitive: the input that took its place
_PREFIXES = re.compile(r"(?:\s*+([0-9]++)\s*+:)++\s*+(.+)")  # the ids of the nodes on the way to the widget
_NO_VALUE = object()
_CONTROLS = ("control_after_generate", "control_filter_list")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One shown widget: the node inside, the widget's name there, and this instance's value for it.

    Where the node inside is an instance, `origin` is the node in it that the widget belongs to, if the file tells.
    """

    node_id: str
    name: str
    origin: str | None
    value: Any
    homes: Homes = ()


def migrate(host: Node, saved: SavedNode, size: Size, notes: Notes) -> None:
    """Turn an instance's list of shown widgets into inputs of its definition, with the instance's values."""
    listed = shown_widgets(host.properties)
    if host.subgraph is not None and listed:
        _Migration(host, host.subgraph, size, notes).run(listed, saved.values)


class _Migration:
    """One instance's list. What its entries mean is told by how the definition was before."""

    def __init__(self, host: Node, subgraph: Subgraph, size: Size, notes: Notes) -> None:
        self._host = host
        self._subgraph = subgraph
        self._size = size
        self._notes = notes
        self._by_source: dict[tuple[str, str], Input] = {}
        for slot, port in zip(host.inputs, subgraph.inputs, strict=True):
            if (source := source_of(port)) is not None:
                self._by_source.setdefault((source[0].id, source[1]), slot)
        self._by_name: dict[str, Input] = {}
        for slot in host.inputs:
            self._by_name.setdefault(slot.name, slot)
        self._numbers: dict[str, int] = {}
        self._shown: dict[str, dict[tuple[str, str | None], Input]] = {}

    def run(self, listed: list[list[str]], values: list[Any]) -> None:
        primitives: dict[str, list[_Entry]] = {}
        left: list[_Entry] = []
        for entry in [self._read(place, parts, values) for place, parts in enumerate(listed)]:
            node = self._subgraph.nodes.get(entry.node_id)
            linked = self._by_source.get((entry.node_id, entry.name)) or self._taken_over(node)
            if linked is not None:
                done = _set(linked, entry)
            elif node is not None and node.type == PRIMITIVE:
                primitives.setdefault(node.id, []).append(entry)
                done = True
            else:
                done = node is not None and self._lead_out(node, entry)
            if not done:
                left.append(entry)
        fed = {node_id: self._subgraph.outgoing(self._subgraph.nodes[node_id], 0) for node_id in primitives}
        for node_id, entries in primitives.items():
            self._replace_primitive(self._subgraph.nodes[node_id], fed[node_id], entries)
        for entry in left:
            self._set_aside(entry)

    def _read(self, place: int, parts: list[str], values: list[Any]) -> _Entry:
        node_id, name = parts[:2]
        origin = parts[2] if len(parts) > 2 else None
        node = self._subgraph.nodes.get(node_id)
        resolves = node is not None and (name, None) in self._inputs_of(node)
        if not resolves and (prefixed := _PREFIXES.fullmatch(name)) is not None:
            origin, name = prefixed[1], prefixed[2]
        if place < len(values):
            return _Entry(node_id, name, origin, values[place], ((values, place),))
        return _Entry(node_id, name, origin, _NO_VALUE)

    def _taken_over(self, node: Node | None) -> Input | None:
        """The input that has taken a primitive's place already."""
        name = node.properties.get(_BYPASSED) if node is not None and node.type == PRIMITIVE else None
        return self._by_name.get(name) if isinstance(name, str) else None

    def _inputs_of(self, node: Node) -> dict[tuple[str, str | None], Input]:
        """The inputs that stand for the widgets of a node inside, by name; those of an instance also by the name
        of the widget that they show, and by that name and the node that has it."""
        known = self._shown.get(node.id)
        if known is None:
            known = self._shown[node.id] = {}
            names = {widget.name for widget in node.widgets}
            ports = node.subgraph.inputs if node.subgraph is not None else [None] * len(node.inputs)
            for slot, port in zip(node.inputs, ports, strict=True):
                if port is None:
                    if slot.widget in names:
                        known.setdefault((slot.widget, None), slot)
                elif slot.promoted is not None:
                    known.setdefault((slot.name, None), slot)
                    if (source := source_of(port)) is not None:
                        known.setdefault((source[1], None), slot)
                        known.setdefault((source[1], source[0].id), slot)
        return known

    def _lead_out(self, node: Node, entry: _Entry) -> bool:
        """Make an input of the definition of a widget inside. False where the node has none of that name."""
        if entry.name.startswith("$$"):
            return True  # a preview: nothing that is sent
        known = self._inputs_of(node)
        slot = known.get((entry.name, entry.origin)) or known.get((entry.name, None))
        if slot is None:
            return False
        return self._add(entry.name, slot.type, [Target(node, slot)], entry)

    def _add(self, name: str, type_name: str, targets: list[Target], entry: _Entry) -> bool:
        """Add an input to the definition, under a name that it does not have yet."""
        unused = name
        while unused in self._by_name:
            number = self._numbers[name] = self._numbers.get(name, 0) + 1
            unused = f"{name}_{number}"
        add_input(self._subgraph, unused, type_name, targets, self._size)
        added = self._by_name[unused] = self._host.inputs[-1]
        _set(added, entry)
        return True

    def _replace_primitive(self, node: Node, targets: list[Target], entries: list[_Entry]) -> None:
        """A shown primitive: its place is taken by an input of the definition, which feeds what the primitive fed."""
        own_type = node.saved_outputs[0] if node.saved_outputs else "*"
        types = {target.input.type for target in targets} - {"*", own_type}
        one_name = all(entry.name == entries[0].name for entry in entries)
        if not targets or not one_name or (types and own_type != "*"):
            return
        given = next((entry for entry in entries if entry.value is not _NO_VALUE), entries[0])
        if given.value is _NO_VALUE and node.widgets:
            given = replace(given, value=node.widgets[0].value, homes=node.widgets[0].homes)
        self._add(node.title if node.title != PRIMITIVE else given.name, own_type, targets, given)
        node.properties = {**node.properties, _BYPASSED: self._host.inputs[-1].name}

    def _set_aside(self, entry: _Entry) -> None:
        """An entry that means no widget here. The id -1 names an input of the instance itself."""
        slot = self._by_name.get(entry.name) if entry.node_id == "-1" else None
        if slot is not None and _set(slot, entry):
            return
        if entry.value is not _NO_VALUE and entry.value is not None and entry.name not in _CONTROLS:
            self._notes.add(
                "lost_value",
                f"{shown(entry.value)} was saved for '{entry.name}' of node {entry.node_id} inside, where ComfyUI "
                "finds no such input: not sent.",
                self._host.id,
                entry.name,
            )


def _set(slot: Input, entry: _Entry) -> bool:
    if slot.promoted is None:
        return False
    if entry.value is not _NO_VALUE:
        slot.promoted.value, slot.promoted.homes, slot.promoted.restored = entry.value, entry.homes, True
    return True
