"""A workflow as the editor saves it, read tolerantly: what is no node, link or subgraph is left out and said."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comfyui_api.convert.notes import Notes

INPUT_NODE = "-10"  # the origin of links that come into a subgraph
OUTPUT_NODE = "-20"  # the target of links that leave it
ALWAYS, NEVER, BYPASS = 0, 2, 4  # LGraphEventMode; the other modes run like ALWAYS
_ID_LENGTH = 200  # ids multiply in the paths of nested subgraphs; the longest of the editor's have 36 characters
_DIGITS, _HUGE = 19, 2**63


class SavedSlot(NamedTuple):
    """An input as saved. `link` is its link's id, `widget` the name of the widget that it feeds."""

    name: str
    type: str
    link: int | None = None
    widget: str | None = None


class SavedLink(NamedTuple):
    id: int
    origin_id: str
    origin_slot: int
    target_id: str
    target_slot: int
    type: str = "*"


class SavedPort(NamedTuple):
    """An input or output of a subgraph, with the ids of its links inside."""

    name: str
    type: str
    links: list[int]


@dataclass(slots=True)
class SavedNode:
    """`outputs` are types; `values` is `widgets_values` as a list, `named_values` the same by name, where the file has
    names. `raw` is the node's own JSON."""

    id: str
    type: str
    title: str
    mode: int
    inputs: list[SavedSlot]
    outputs: list[str]
    values: list[Any]
    named_values: dict[str, Any] | None
    properties: dict[str, Any]
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class SavedGraph:
    """`frames` are the coloured frames ("groups") that the editor draws around nodes."""

    nodes: list[SavedNode]
    links: dict[int, SavedLink]
    frames: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class SavedSubgraph:
    id: str
    name: str
    graph: SavedGraph
    inputs: list[SavedPort]
    outputs: list[SavedPort]


@dataclass(slots=True)
class SavedWorkflow:
    """`groups` are the group nodes of older files, as they stand in `extra.groupNodes`."""

    graph: SavedGraph
    subgraphs: list[SavedSubgraph]
    groups: dict[str, dict[str, Any]]
    last_node_id: int = 0
    ids: set[str] = field(default_factory=set)


def read_workflow(data: dict[str, Any], notes: Notes) -> SavedWorkflow:
    """A saved workflow, of any of the editor's versions: links as lists (0.4) or as objects (1)."""
    state = as_dict(data.get("state"))
    last = whole(data.get("last_node_id"), whole(state.get("lastNodeId"), 0))
    graph = read_graph(data, notes, "the workflow")
    subgraphs: dict[str, SavedSubgraph] = {}
    for raw in _definitions(data):
        definition = _read_subgraph(raw, notes)
        if definition is not None and definition.id not in subgraphs:
            subgraphs[definition.id] = definition
    raw_groups = as_dict(as_dict(data.get("extra")).get("groupNodes"))
    groups = {name: group for name, group in raw_groups.items() if isinstance(group, dict)}
    return SavedWorkflow(graph, list(subgraphs.values()), groups, last)


def read_graph(data: dict[str, Any], notes: Notes, where: str) -> SavedGraph:
    nodes = []
    for raw in as_list(data.get("nodes")):
        node = read_node(raw)
        if node is None:
            notes.add("unreadable", f"An entry of {where} is no node and was left out.")
        else:
            nodes.append(node)
    links: dict[int, SavedLink] = {}
    raw_links = data.get("links")
    for raw in raw_links.values() if isinstance(raw_links, dict) else as_list(raw_links):
        link = _read_link(raw)
        if link is None:
            notes.add("unreadable", f"A link of {where} cannot be read and was left out.")
        else:
            links.setdefault(link.id, link)
    return SavedGraph(nodes, links, [frame for frame in as_list(data.get("groups")) if isinstance(frame, dict)])


def read_node(raw: Any) -> SavedNode | None:
    if not isinstance(raw, dict):
        return None
    node_id, node_type = identifier(raw.get("id")), raw.get("type")
    if node_id is None or not isinstance(node_type, str) or not node_type:
        return None
    values, named = raw.get("widgets_values"), raw.get("widgets_values_named")
    if isinstance(values, dict):  # some packs save names; VHS is the best known
        values, named = [], values
    title = raw.get("title")
    return SavedNode(
        id=node_id,
        type=node_type,
        title=title if isinstance(title, str) else "",
        mode=whole(raw.get("mode"), ALWAYS),
        inputs=[_read_slot(slot) for slot in as_list(raw.get("inputs")) if isinstance(slot, dict)],
        outputs=[slot_type(slot.get("type")) for slot in as_list(raw.get("outputs")) if isinstance(slot, dict)],
        values=values if isinstance(values, list) else [],
        named_values=named if isinstance(named, dict) else None,
        properties=as_dict(raw.get("properties")),
        raw=raw,
    )


def _read_slot(raw: dict[str, Any]) -> SavedSlot:
    widget = raw.get("widget")
    name = widget.get("name") if isinstance(widget, dict) else None
    return SavedSlot(
        text_of(raw.get("name")),
        slot_type(raw.get("type")),
        number_of(raw.get("link")),
        name if isinstance(name, str) else None,
    )


def _read_link(raw: Any) -> SavedLink | None:
    if isinstance(raw, dict):
        parts = [raw.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")]
    elif isinstance(raw, list) and len(raw) >= 5:
        parts = [*raw[:6], None][:6]
    else:
        return None
    link_id, origin, target = number_of(parts[0]), identifier(parts[1]), identifier(parts[3])
    origin_slot, target_slot = number_of(parts[2]), number_of(parts[4])
    if link_id is None or origin is None or target is None or origin_slot is None or target_slot is None:
        return None
    return SavedLink(link_id, origin, origin_slot, target, target_slot, slot_type(parts[5]))


def _definitions(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The subgraph definitions, those inside of definitions after the one that holds them."""
    todo = [data]
    while todo:
        held = as_list(as_dict(todo.pop().get("definitions")).get("subgraphs"))
        for raw in held:
            if isinstance(raw, dict):
                yield raw
        todo.extend(raw for raw in reversed(held) if isinstance(raw, dict))


def _read_subgraph(raw: dict[str, Any], notes: Notes) -> SavedSubgraph | None:
    subgraph_id = identifier(raw.get("id"))
    if subgraph_id is None:
        notes.add("unreadable", "A subgraph definition without an id was left out.")
        return None
    name = text_of(raw.get("name")) or "Subgraph"
    graph = read_graph(raw, notes, f"the subgraph '{name}'")
    graph.nodes = list({node.id: node for node in reversed(graph.nodes)}.values())[::-1]  # the first of each id
    return SavedSubgraph(subgraph_id, name, graph, _ports(raw.get("inputs")), _ports(raw.get("outputs")))


def _ports(raw: Any) -> list[SavedPort]:
    return [
        SavedPort(
            text_of(port.get("name")),
            slot_type(port.get("type")),
            [link for item in as_list(port.get("linkIds")) if (link := number_of(item)) is not None],
        )
        for port in as_list(raw)
        if isinstance(port, dict)
    ]


def identifier(raw: Any) -> str | None:
    """An id as the prompt writes it: ids are numbers in most files, texts in some."""
    if isinstance(raw, str):
        return raw if 0 < len(raw) <= _ID_LENGTH else None
    number = number_of(raw)
    if number is None and isinstance(raw, float) and math.isfinite(raw):
        return str(raw)
    return str(number) if number is not None else None


def number_of(raw: Any) -> int | None:
    """A link id or slot number, which some files write as text."""
    if raw is None or isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw if -_HUGE < raw < _HUGE else None
    if isinstance(raw, str):
        return int(raw) if raw.isdecimal() and len(raw) < _DIGITS else None
    return int(raw) if isinstance(raw, float) and -_HUGE < raw < _HUGE and raw.is_integer() else None


def text_of(raw: Any) -> str:
    """A name, which some files write as a number."""
    return raw if isinstance(raw, str) else identifier(raw) or ""


def shown_widgets(properties: dict[str, Any]) -> list[list[str]]:
    """What an instance of a subgraph shows: [node id, widget name], and a third part in some files. One malformed
    entry voids the list, as in the editor (parseProxyWidgets)."""
    listed = properties.get("proxyWidgets")
    if isinstance(listed, str):
        try:
            listed = json.loads(listed)
        except ValueError:
            return []
    entries = as_list(listed)
    readable = (
        isinstance(entry, list) and len(entry) in (2, 3) and all(isinstance(part, str) for part in entry)
        for entry in entries
    )
    return entries if all(readable) else []


def slot_type(raw: Any) -> str:
    """A slot's type name; a list of options is a combo, and a number (litegraph's events) stands for anything."""
    if isinstance(raw, str):
        return raw
    return "COMBO" if isinstance(raw, list) else "*"


def whole(raw: Any, otherwise: int) -> int:
    number = number_of(raw)
    return otherwise if number is None else number


def as_dict(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def as_list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []
