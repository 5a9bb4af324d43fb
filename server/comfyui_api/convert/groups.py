"""Group nodes, the forerunners of subgraphs: the editor turns them into subgraphs when it loads a file.

Source of the rules: the web frontend 1.58.1, groupNode (GroupNodeConfig, convertToNodes). Two departures: links to the
widgets of a group go by their names, where the editor goes by places that have changed since; and a muted or bypassed
group stays so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from comfyui_api.convert.layout import Layouts, lay_out, widget_type
from comfyui_api.convert.live import Graph, Input, Link, Node, Port, Subgraph, Target
from comfyui_api.convert.nodes import PRIMITIVE, REROUTE, attach, make_node, restore
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.saved import (
    INPUT_NODE,
    SavedGraph,
    SavedNode,
    SavedWorkflow,
    as_dict,
    as_list,
    number_of,
    read_node,
    text_of,
)
from comfyui_api.node_class import InputSpec, NodeClass

_PREFIXES = ("workflow>", "workflow/")


class _InnerLink(NamedTuple):
    """A link between two nodes of a group, by their places in its list."""

    origin: int
    origin_slot: int
    target: int
    target_slot: int
    type: str


class _Inner(NamedTuple):
    """A node of a group: its file form, and which of its inputs the group shows under which names."""

    saved: SavedNode
    shown: dict[str, str]


def types_of(workflow: SavedWorkflow) -> frozenset[str]:
    """The types of a workflow's group nodes."""
    return frozenset(prefix + name for name in workflow.groups for prefix in _PREFIXES)


def unpack(root: Graph, workflow: SavedWorkflow, layouts: Layouts, notes: Notes, virtual: frozenset[str]) -> None:
    """Replace the root's group nodes by instances of subgraphs."""
    last = max([workflow.last_node_id, *(number_of(node_id) or 0 for node_id in root.nodes)])
    types = types_of(workflow)
    current: dict[str, str] = {}
    for saved in workflow.graph.nodes:
        if saved.type in types and saved.id in root.nodes:
            group = _Group(saved.type[len(_PREFIXES[0]) :], workflow.groups, layouts, last)
            last = group.put_into(root, saved, notes, virtual)
            current[saved.id] = str(last)
    for node in root.nodes.values() if current else ():
        for slot in node.inputs:
            if slot.link is not None and slot.link.origin_id in current:
                slot.link = slot.link._replace(origin_id=current[slot.link.origin_id])


class _Group:
    """One group node's definition, being read; `last` is the last id in use."""

    def __init__(self, name: str, groups: dict[str, dict[str, Any]], layouts: Layouts, last: int) -> None:
        self._name = name
        self._layouts = layouts
        self._data = groups[name]
        self._specs: dict[str, InputSpec] = {}
        self._seen: dict[str, int] = {}
        self._last = last
        self._links = [link for raw in as_list(self._data.get("links")) if (link := _read_link(raw)) is not None]
        layouts.size.grow(len(self._links) + len(as_list(self._data.get("nodes"))))
        self._entering: dict[int, list[_InnerLink]] = {}
        self._leaving: dict[int, list[_InnerLink]] = {}
        for link in self._links:
            self._entering.setdefault(link.target, []).append(link)
            self._leaving.setdefault(link.origin, []).append(link)
        self._inner: dict[int, _Inner] = {}
        late: list[tuple[int, SavedNode, InputSpec]] = []
        for place, raw in enumerate(as_list(self._data.get("nodes"))):
            self._last += 1
            saved = read_node({**as_dict(raw), "id": self._last})
            if saved is not None:
                late += self._show(place, saved)
        for place, saved, spec in late:
            self._add(place, saved, spec)

    def _show(self, place: int, saved: SavedNode) -> list[tuple[int, SavedNode, InputSpec]]:
        """Give the group the inputs of one of its nodes; those that were converted come after all others."""
        self._inner[place] = _Inner(saved, {})
        fed = {self._target_name(link, saved) for link in self._entering.get(place, ())}
        sockets, late = [], []
        for spec in self._specs_of(place, saved):
            if spec.name in fed:
                continue  # by a link within the group
            if widget_type(spec) is None:
                sockets.append(spec)
            elif any(slot.name == slot.widget == spec.name for slot in saved.inputs):
                late.append((place, saved, spec))
            else:
                self._add(place, saved, spec)
        for spec in sockets:
            self._add(place, saved, spec)
        return late

    def _specs_of(self, place: int, saved: SavedNode) -> list[InputSpec]:
        node_class = self._layouts.node_class(saved.type)
        if node_class is not None:
            return self._layouts.specs(node_class)
        leaving = self._leaving.get(place)
        if saved.type == PRIMITIVE and leaving:
            target = self._inner_class_input(leaving[0])
            config = {**(target.config if target is not None else {}), "control_after_generate": True}
            return [InputSpec("value", leaving[0].type, required=True, config=config)]
        if saved.type == REROUTE:
            kind = leaving[0].type if leaving else "*"
            return [InputSpec(kind, kind, required=True, config={"forceInput": True})]
        return []

    def _inner_class_input(self, link: _InnerLink) -> InputSpec | None:
        raw = as_list(self._data.get("nodes"))
        target = read_node({**as_dict(raw[link.target]), "id": 0}) if link.target < len(raw) else None
        node_class = self._layouts.node_class(target.type) if target is not None else None
        if target is None or node_class is None or link.target_slot >= len(target.inputs):
            return None
        return node_class.inputs.get(target.inputs[link.target_slot].name)

    def _add(self, place: int, saved: SavedNode, spec: InputSpec) -> None:
        """Show an input under a name of its own."""
        shown = self._configured(place, "input", spec.name)
        if shown.get("visible") is False and widget_type(spec) is None:
            return
        name, prefix = text_of(shown.get("name")) or spec.name, ""
        if (saved.type == PRIMITIVE and saved.title) or name in self._seen:
            prefix = f"{saved.title or saved.type} "
            key = name = prefix + spec.name
            if name in self._seen:
                name = f"{prefix}{self._seen[name]} {spec.name}"
        else:
            key = name
        self._seen[key] = self._seen.get(key, 1) + 1
        self._specs[name] = InputSpec(name, spec.type, spec.required, spec.options, spec.legacy_combo, _config(spec))
        self._inner[place].shown[spec.name] = name

    def _configured(self, place: int, side: str, name: str) -> dict[str, Any]:
        config = as_dict(as_dict(self._data.get("config")).get(str(place)))
        return as_dict(as_dict(config.get(side)).get(name))

    @staticmethod
    def _target_name(link: _InnerLink, saved: SavedNode) -> str:
        if saved.type == REROUTE:
            return link.type
        return saved.inputs[link.target_slot].name if link.target_slot < len(saved.inputs) else ""

    def put_into(self, root: Graph, saved: SavedNode, notes: Notes, virtual: frozenset[str]) -> int:
        """Put an instance in the place of a group node; its id, the last in use, is returned."""
        former = root.nodes.pop(saved.id)
        shell = Node(root, former.id, former.type, former.title, former.mode)
        shell_class = NodeClass(
            f"group {self._name}", self._name, self._specs, (), (), is_output_node=False, python_module=""
        )
        lay_out(shell, shell_class, self._layouts)
        restore(shell, shell_class, saved, self._layouts, notes)

        subgraph = Subgraph(f"group {self._name}", self._name)
        nodes = self._fill(subgraph, shell, notes, virtual)
        self._last += 1
        instance = Node(root, str(self._last), subgraph.id, former.title, former.mode)
        instance.subgraph, instance.virtual = subgraph, True
        subgraph.instances.append(instance)
        linked = {slot.name: slot for slot in former.inputs if slot.link is not None}
        for place, node in nodes.items():
            for inner_name, name in self._inner[place].shown.items():
                target = _inner_input(node, inner_name)
                if name in linked and target is not None:
                    _lead_in(instance, subgraph, linked[name], Target(node, target))
        for slot, (place, inner_slot) in enumerate(self._outputs()):
            port = Port("", _type_at(nodes[place].outputs, inner_slot))
            port.source = Link(-1 - slot, nodes[place].id, inner_slot)
            subgraph.outputs.append(port)
            instance.outputs.append(port.type)
        root.nodes[instance.id] = instance
        notes.add("renumbered", f"The group node {former.id} is now the subgraph {instance.id}.", instance.id)
        return self._last

    def _fill(self, subgraph: Subgraph, shell: Node, notes: Notes, virtual: frozenset[str]) -> dict[int, Node]:
        nodes = {}
        outer_widgets = {widget.name: widget for widget in reversed(shell.widgets)}
        for place, inner in self._inner.items():
            unlinked = [slot._replace(link=None) for slot in inner.saved.inputs]
            inner.saved.inputs = unlinked
            node = make_node(subgraph, inner.saved, self._layouts, notes, virtual)
            attach(node, inner.saved, SavedGraph([], {}), {})
            subgraph.nodes[node.id] = nodes[place] = node
            for inner_name, name in inner.shown.items():
                outer = outer_widgets.get(name)
                own = node.widgets[0] if node.type == PRIMITIVE and node.widgets else node.widget(inner_name)
                if outer is not None and own is not None:
                    own.put(outer.value)
                    own.restored = own.restored or outer.restored
        for number, link in enumerate(self._links):
            origin, target = nodes.get(link.origin), nodes.get(link.target)
            if origin is None or target is None:
                continue
            name = self._target_name(link, self._inner[link.target].saved)
            slot = _inner_input(target, name)
            if slot is not None:
                slot.link = Link(number, origin.id, link.origin_slot)
        return nodes

    def _outputs(self) -> list[tuple[int, int]]:
        """The outputs that the group shows: those that feed nothing inside, and those that were linked outside."""
        external = {tuple(number_of(part) for part in as_list(raw)[:2]) for raw in as_list(self._data.get("external"))}
        inside = {(link.origin, link.origin_slot) for link in self._links}
        found = []
        for place, inner in self._inner.items():
            node_class = self._layouts.node_class(inner.saved.type)
            count = len(node_class.outputs) if node_class is not None else 1
            if node_class is None and not self._specs_of(place, inner.saved):
                continue
            for slot in range(count):
                shown = self._configured(place, "output", str(slot)).get("visible")
                hidden = (place, slot) in inside and (place, slot) not in external
                if shown is True or (shown is None and not hidden):
                    found.append((place, slot))
        return found


def _read_link(raw: Any) -> _InnerLink | None:
    parts = [number_of(part) for part in as_list(raw)[:4]]
    if len(parts) < 4 or any(part is None or part < 0 for part in parts):
        return None  # a link from outside of what was grouped
    kind = raw[5] if len(raw) > 5 and isinstance(raw[5], str) else "*"
    origin, origin_slot, target, target_slot = (part or 0 for part in parts)
    return _InnerLink(origin, origin_slot, target, target_slot, kind)


def _config(spec: InputSpec) -> dict[str, Any]:
    if spec.name in ("seed", "noise_seed"):
        return {**spec.config, "control_after_generate": True}
    return dict(spec.config)


def _inner_input(node: Node, name: str) -> Input | None:
    if node.type == REROUTE and node.inputs:
        return node.inputs[0]
    return node.input(name)


def _lead_in(instance: Node, subgraph: Subgraph, outer: Input, target: Target) -> None:
    place = len(subgraph.inputs)
    port = Port(outer.name, target.input.type)
    port.targets.append(target)
    subgraph.inputs.append(port)
    slot = Input(outer.name, target.input.type)
    slot.link = outer.link
    instance.inputs.append(slot)
    target.input.link = Link(-1 - place, INPUT_NODE, place)


def _type_at(types: list[str], slot: int) -> str:
    return types[slot] if slot < len(types) else "*"
