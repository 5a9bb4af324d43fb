"""From an input to where its value really comes from: through reroutes, bypassed nodes and subgraph borders.

Source of the rules: the web frontend 1.58.1, ExecutableNodeDTO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from comfyui_api.convert.live import Graph, Input, Link, Node, Widget
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.saved import BYPASS, INPUT_NODE, NEVER

Path: TypeAlias = tuple[Node, ...]
"""The instances that a node stands in, outermost first."""


class Source(NamedTuple):
    """An output of a node that is sent."""

    node_id: str
    slot: int


class Value(NamedTuple):
    """The value that a subgraph instance has for a widget inside."""

    widget: Widget


Lost: TypeAlias = Literal["nothing", "muted", "bypassed", "virtual", "cycle", "gone"]
"""Why there is no source: nothing linked, muted, a bypassed node without a fitting input, a node of the editor's,
a circle, or a node that is not there."""

VirtualSource: TypeAlias = Callable[[Path, Node, int], tuple[Path, Node, int] | None]
"""Where a pack's virtual node gets its output from: an input of a node, or None for nothing."""


def execution_id(path: Path, node: Node) -> str:
    return ":".join([*(instance.id for instance in path), node.id]) if path else node.id


class _Step(NamedTuple):
    """An input on the way; `wanted` is the type that the way began with, where it still counts."""

    path: Path
    node: Node
    place: int
    wanted: str | None


class Ways:
    """Follows links; a way that many inputs share is followed once."""

    def __init__(self, virtual_source: VirtualSource) -> None:
        self._virtual_source = virtual_source
        self._known: dict[_Step, Source | Value | Lost] = {}

    def follow(self, path: Path, node: Node, place: int) -> Source | Value | Lost:
        """What feeds an input of a node."""
        found = self._next(_Step(path, node, place, None))
        taken: dict[_Step, None] = {}
        while isinstance(found, _Step):
            step = found
            if step in taken:
                found = "cycle"
            elif step in self._known:
                found = self._known[step]
            else:
                taken[step] = None
                found = self._next(step)
        self._known.update(dict.fromkeys(taken, found))
        return found

    def _next(self, step: _Step) -> Source | Value | Lost | _Step:
        path, node, place, wanted = step
        slot = node.inputs[place]
        link = slot.link
        if link is None:
            return "nothing"
        if link.origin_id != INPUT_NODE or not path:
            return self._leave(path, node, link, wanted or slot.type)
        host = path[-1]
        if link.origin_slot >= len(host.inputs):
            return "gone"
        return _enter(_Step(path[:-1], host, link.origin_slot, None))

    def _leave(self, path: Path, node: Node, link: Link, wanted: str) -> Source | Value | Lost | _Step:
        """From a link to the output it comes from, and into subgraphs; the next input where that only passes on."""
        slot = link.origin_slot
        origin = node.graph.nodes.get(link.origin_id)
        while origin is not None:
            if origin.mode == NEVER:
                return "muted"
            if origin.mode == BYPASS:
                place = passed_through(origin, slot, wanted)
                return _Step(path, origin, place, None) if place is not None else "bypassed"
            if origin.subgraph is None:
                if not origin.virtual:
                    return Source(execution_id(path, origin), slot)
                found = self._virtual_source(path, origin, slot)
                return _Step(*found, wanted) if found is not None else "virtual"
            if not 0 <= slot < len(origin.subgraph.outputs):
                return "gone"
            inner = origin.subgraph.outputs[slot].source
            if inner is None:
                return "nothing"
            if inner.origin_id == INPUT_NODE:  # the subgraph only hands this input on
                if not 0 <= inner.origin_slot < len(origin.inputs):
                    return "gone"
                return _enter(_Step(path, origin, inner.origin_slot, None))
            path = (*path, origin)
            origin, slot = origin.subgraph.nodes.get(inner.origin_id), inner.origin_slot
        return "gone"


def _enter(step: _Step) -> Value | Lost | _Step:
    """Follow on from an instance's input, or take the instance's own value for it."""
    slot = step.node.inputs[step.place]
    if slot.link is not None:
        return step
    return Value(slot.promoted) if slot.promoted is not None else "nothing"


def passed_through(node: Node, slot: int, wanted: str) -> int | None:
    """The input that a bypassed node hands on at an output: the same place, an equal type, or a fitting one."""
    inputs = node.inputs
    if wanted in ("*", ""):
        return slot if 0 <= slot < len(inputs) else (0 if inputs else None)
    own = output_type(node, slot)
    if 0 <= slot < len(inputs) and fits(inputs[slot].type, own) and fits(inputs[slot].type, wanted):
        return slot
    for place, candidate in enumerate(inputs):
        if candidate.type == wanted:
            return place
    for place, candidate in enumerate(inputs):
        if fits(candidate.type, own) and fits(candidate.type, wanted):
            return place
    return None


def output_type(node: Node, slot: int) -> str:
    if node.match_outputs is not None and slot in node.match_outputs:
        linked = {_linked_type(node, slot_in) for slot_in in node.inputs if slot_in.name in node.match_outputs[slot]}
        linked.discard("*")
        return linked.pop() if len(linked) == 1 else "*"
    return node.outputs[slot] if 0 <= slot < len(node.outputs) else "*"


def _linked_type(node: Node, slot: Input) -> str:
    link = slot.link
    if link is None:
        return "*"
    origin = node.graph.nodes.get(link.origin_id)
    if origin is None or not 0 <= link.origin_slot < len(origin.outputs):
        return "*"
    return origin.outputs[link.origin_slot]


def cut_misfits(graph: Graph, notes: Notes) -> None:
    """Cut the links that leave an output of a matched type for an input of another, as the editor does on loading."""
    for node in graph.nodes.values():
        for slot in node.match_outputs or ():
            kind = output_type(node, slot)
            for target in graph.outgoing(node, slot) if kind != "*" else ():
                if not fits(kind, target.input.type):
                    target.input.link = None
                    graph.linked()
                    message = f"Its link brings {kind} where {target.input.type} is wanted: dropped, as ComfyUI does."
                    notes.add("dropped_link", message, target.node.id, target.input.name)


def fits(one: str, other: str) -> bool:
    """Whether the editor would link these two types (LiteGraph.isValidConnection)."""
    if one in ("*", "") or other in ("*", "") or one == other:
        return True
    first, second = one.lower().split(","), other.lower().split(",")
    return any(a == b or a in ("", "*") or b in ("", "*") for a in first for b in second)


def note_lost(lost: Lost, notes: Notes, node_id: str, name: str) -> None:
    """Say why a link is not sent, where it is not plain."""
    if lost == "cycle":
        notes.add("cycle", "Its link leads back to itself through nodes that are not sent: dropped.", node_id, name)
    elif lost == "gone":
        notes.add("dangling_link", "Its link comes from a node or slot that is not there: dropped.", node_id, name)
    elif lost == "muted":
        notes.add("dropped_link", "Its link comes from a muted node: dropped.", node_id, name)
    elif lost == "bypassed":
        notes.add(
            "dropped_link", "Its link comes from a bypassed node without an input of that type: dropped.", node_id, name
        )
    elif lost == "virtual":
        notes.add("dropped_link", "Its link comes from a node that sends nothing: dropped.", node_id, name)
