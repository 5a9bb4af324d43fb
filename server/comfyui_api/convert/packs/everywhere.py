"""cg-use-everywhere ("Anything Everywhere"): nodes that feed every fitting unlinked input when the editor queues.

Source of the rules: the pack's JavaScript, version 7.8. Departures: a Seed Everywhere saved before version 7 feeds
seeds, where the pack mistakes its seed for an expression; and one that the server does not know gives its value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from comfyui_api.convert.following import output_type
from comfyui_api.convert.live import Graph, Input, Link, Node, Port, Subgraph, every_node
from comfyui_api.convert.nodes import REROUTE
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.packs.expressions import Expressions, Test
from comfyui_api.convert.saved import BYPASS, INPUT_NODE, OUTPUT_NODE, as_dict, as_list, slot_type, whole

SEED, PROMPTS = "Seed Everywhere", "Prompts Everywhere"
TYPES = frozenset({"Anything Everywhere", "Anything Everywhere3", "Anything Everywhere?", PROMPTS, SEED})
"""The pack's broadcasters: where the server does not know them, they are virtual."""

_SEEDS = "seed|随机种"
_EXPRESSIONS = ("title", "input", "prompt", "negative", "group")
_TITLE_BAR = 30
_NAMELESS = "un-nameable node"  # what the pack calls the outputs of a subgraph
_NO_LINK = 0


def connect(root: Graph, notes: Notes) -> None:
    """Give the unlinked inputs of a loaded workflow the links that broadcasts make, each graph by itself."""
    broadcasters: dict[int, list[Node]] = {}
    for node in every_node(root):
        if not node.skipped and (node.type in TYPES or node.properties.get("ue_convert")):
            broadcasters.setdefault(id(node.graph), []).append(node)
    if broadcasters:
        expressions, ids = Expressions(notes), count(-1_000_000, -1)
        for nodes in broadcasters.values():
            _connect_graph(nodes, root, expressions, notes, ids)


def _connect_graph(nodes: list[Node], root: Graph, expressions: Expressions, notes: Notes, ids: Iterator[int]) -> None:
    graph = nodes[0].graph
    casts = {node.id: _broadcasts(node, root, expressions) for node in nodes}
    by_type: dict[str, list[_Broadcast]] = {}
    for cast in (cast for own in casts.values() for cast in own):
        for kind in cast.rules.types_fed(cast.type):
            by_type.setdefault(kind, []).append(cast)
    fed: dict[str, list[str]] = {node.id: [] for node in nodes}
    unfed: dict[tuple[str, str], list[str]] = {}
    for socket in list(_sockets(graph, in_root=graph is root)) if by_type else ():
        found = [cast for cast in by_type.get(socket.slot.type, ()) if _matches(cast, socket, expressions)]
        best = max((cast.rules.priority for cast in found), default=0)
        found = [cast for cast in found if cast.rules.priority == best]
        if len(found) > 1:
            tied = " and ".join(dict.fromkeys(cast.node.id for cast in found))
            unfed.setdefault((found[0].node.id, f"Broadcasts of {tied} tie"), []).append(socket.name)
        elif found and found[0].type == "STRING" and socket.slot.type == "COMBO":
            unfed.setdefault((found[0].node.id, "A choice takes no text"), []).append(socket.name)
        elif found and _give(found[0], socket, next(ids)):
            fed[found[0].node.id].append(socket.name)
    graph.linked()
    for node in nodes:
        if node.type == SEED and node.virtual:
            for target in graph.outgoing(node, 0):
                target.input.link = None
                if _give(casts[node.id][0], _Socket(target.node, target.input, {}), _NO_LINK):
                    fed[node.id].append(f"{target.input.name} of {target.node.id}")
            graph.linked()
        failed = "no unlinked input takes it" if casts[node.id] else "nothing that runs is linked to it"
        message = f"Broadcasts to {_list(fed[node.id])}." if fed[node.id] else f"Broadcasts to nothing: {failed}."
        notes.add("frontend_node", message, node.id)
    for (node_id, why), names in unfed.items():
        notes.add("frontend_node", f"{why}: ComfyUI links nothing to {_list(names)}.", node_id)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


# -- what is broadcast


@dataclass(frozen=True)
class _Rules:
    """What a broadcaster's settings say. `within` are the ids of the nodes that it may feed, None for all."""

    settings: dict[str, Any]
    priority: float
    title: Test | None
    input: Test | None
    within: set[str] | None

    def types_fed(self, kind: str) -> set[str]:
        more = {"COMBO"} if kind == "STRING" and _level(self.settings, "string_to_combo") > 0 else set()
        return {kind, *more, *({"*"} if _level(self.settings, "send_to_any") > 0 else ())}


class _Broadcast(NamedTuple):
    """One output that a node broadcasts. `name` is what the target's name is compared with, None for nothing."""

    node: Node
    type: str
    source: Link
    rules: _Rules
    name: str | None


_Source: TypeAlias = tuple[str, str, Link]
"""What a node may broadcast: a name, a type, and where it comes from."""


def _broadcasts(node: Node, root: Graph, expressions: Expressions) -> list[_Broadcast]:
    settings = _settings(node)
    seeds = bool(settings.get("seed_inputs"))
    converted = seeds or bool(node.properties.get("ue_convert"))
    sources = list(_own_outputs(node, settings) if converted else _linked(node))
    times = Counter(kind for _, kind, _ in sources)
    repeated = {kind for kind, number in times.items() if number > 1}
    rules = _rules(node, settings, bool(repeated), root, expressions)
    if seeds:
        return [_Broadcast(node, "INT", Link(_NO_LINK, node.id, 0), rules, None)]
    named = bool(settings.get("apply_to_unrepeated"))
    return [
        _Broadcast(node, kind, source, rules, name if named or kind in repeated else None)
        for name, kind, source in sources
        if source.origin_id == INPUT_NODE
        or ((origin := node.graph.nodes.get(source.origin_id)) is not None and not origin.skipped)
    ]


def _settings(node: Node) -> dict[str, Any]:
    """A broadcaster's `ue_properties` as the pack brings them up to date on loading."""
    settings = dict(as_dict(node.properties.get("ue_properties")))
    if node.type not in TYPES:
        return settings
    if not settings.get("version"):
        values = [None] * 3 if node.type == SEED else [*as_list(node.raw.get("widgets_values")), None, None, None]
        settings = {key: node.properties.get(key) for key in ("group_restricted", "color_restricted")}
        settings |= {f"{name}_regex": values[place] for place, name in enumerate(("title", "input", "group"))}
    settings = {key: value for key, value in settings.items() if value != ".*"}
    if node.type == SEED:
        settings |= {"seed_inputs": True, "input_regex": settings.get("input_regex") or _SEEDS}
    return settings


def _level(settings: dict[str, Any], key: str) -> int:
    raw = settings.get(key)
    return int(raw) if isinstance(raw, bool) else whole(raw, 0)


def _rules(node: Node, settings: dict[str, Any], repeats: bool, root: Graph, expressions: Expressions) -> _Rules:
    by_group, by_color = _level(settings, "group_restricted"), _level(settings, "color_restricted")
    priority = settings.get("priority")
    if not isinstance(priority, int | float) or not priority:
        special = repeats or any(settings.get(f"{name}_regex") for name in _EXPRESSIONS)
        priority = 10 + 20 * special + 3 * (by_group > 0) + 6 * (by_color > 0)
    nodes = node.graph.nodes
    within = None
    if by_group in (1, 2):
        mates = {mate.id for frame in node.graph.frames if _inside(node, frame) for mate in _members(node.graph, frame)}
        within = mates if by_group == 1 else nodes.keys() - mates
    if by_color in (1, 2):
        alike = {each.id for each in nodes.values() if each.raw.get("color") == node.raw.get("color")}
        within = (nodes.keys() if within is None else within) & (alike if by_color == 1 else nodes.keys() - alike)
    title, slot, group = (expressions.test(settings, name, node) for name in ("title", "input", "group"))
    if group is not None:
        frames = [frame for frame in root.frames if expressions.agree(group, str(frame.get("title") or ""))]
        framed = {each.id for frame in frames for each in _members(root, frame)}
        within = framed if within is None else within & framed
    return _Rules(settings, priority, title, slot, within)


def _own_outputs(node: Node, settings: dict[str, Any]) -> Iterator[_Source]:
    """The outputs of any node that was told to broadcast, but those that it was told to keep."""
    labels = [as_dict(raw) for raw in as_list(node.raw.get("outputs"))]
    if node.subgraph is not None:
        names = [port.name for port in node.subgraph.outputs]
    else:
        names = list(node.node_class.output_names) if node.node_class else [str(raw.get("name")) for raw in labels]
    for place, kind in enumerate(node.outputs):
        name = names[place] if place < len(names) else kind
        label = next((raw["label"] for raw in labels if raw.get("name") == name and raw.get("label")), name)
        if not as_dict(settings.get("output_not_broadcasting")).get(name):
            yield str(label), kind, Link(_NO_LINK, node.id, place)


def _linked(node: Node) -> Iterator[_Source]:
    """What is linked to a broadcaster, behind bypassed nodes."""
    raws = _raw_inputs(node)
    fixed = dict(zip(raws, ("positive", "negative"), strict=False)) if node.type == PROMPTS else {}
    for slot in node.inputs:
        if slot.link is not None:
            raw = raws.get(slot.name, {})
            link = _behind_bypassed(node.graph, slot.link, _link_type(node.graph, slot.link, raw))
            name = fixed.get(slot.name) or raw.get("label") or slot.name
            yield str(name), _link_type(node.graph, link, raw), link


def _link_type(graph: Graph, link: Link, raw: dict[str, Any]) -> str:
    """The type of what is linked; where the output itself takes any, what the file says of it or of the input."""
    if link.origin_id == INPUT_NODE and isinstance(graph, Subgraph):
        return graph.inputs[link.origin_slot].type
    place, origin = link.origin_slot, graph.nodes.get(link.origin_id)
    kinds = [output_type(origin, place), *origin.saved_outputs[place : place + 1]] if origin is not None else []
    return next((kind for kind in [*kinds, slot_type(raw.get("type"))] if kind not in ("*", "")), "*")


def _behind_bypassed(graph: Graph, link: Link, kind: str) -> Link:
    """The link that a bypassed node hands on; the one given where there is none."""
    first, seen = link, set[str]()
    while (origin := graph.nodes.get(link.origin_id)) is not None and origin.mode == BYPASS:
        slots = [*origin.inputs[link.origin_slot : link.origin_slot + 1], *origin.inputs]
        slot = next((slot for slot in slots if slot.type == kind), None)
        if slot is None or slot.link is None or origin.id in seen:
            return first
        seen.add(origin.id)
        link = slot.link
    return link


# -- what may be fed


class _Socket(NamedTuple):
    """An unlinked input of a node, or (without a node) output of the subgraph. `raw` is its JSON in the file."""

    node: Node | None
    slot: Input | Port
    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.slot.name} of {self.node.id}" if self.node else f"the subgraph's output {self.slot.name}"


def _sockets(graph: Graph, *, in_root: bool) -> Iterator[_Socket]:
    for node in graph.nodes.values():
        if node.type in TYPES or node.properties.get("rejects_ue_links"):
            continue
        raws = _raw_inputs(node)
        settings = as_dict(node.properties.get("ue_properties"))
        open_widgets = settings.get("widget_ue_connectable")
        if not isinstance(open_widgets, dict):
            open_widgets = node.properties.get("widget_ue_connectable")
        if not isinstance(open_widgets, dict):  # saved without the pack
            open_widgets = dict.fromkeys(raws, True) if in_root else {}
        closed = as_dict(settings.get("input_ue_unconnectable")) if settings.get("version") else {}
        for slot in node.inputs:
            takes = open_widgets.get(slot.name) if slot.widget is not None else not closed.get(slot.name)
            if slot.link is None and takes:
                yield _Socket(node, slot, raws.get(slot.name, {}))
    for port in graph.outputs if isinstance(graph, Subgraph) else ():
        if port.source is None:
            yield _Socket(None, port, {})


def _raw_inputs(node: Node) -> dict[str, dict[str, Any]]:
    return {str(raw.get("name")): raw for raw in as_list(node.raw.get("inputs")) if isinstance(raw, dict)}


def _matches(cast: _Broadcast, socket: _Socket, expressions: Expressions) -> bool:
    node_id, title = (socket.node.id, socket.node.title) if socket.node else (OUTPUT_NODE, _NAMELESS)
    label = str(socket.raw.get("label") or "")
    if cast.source.origin_id == node_id or (cast.rules.within is not None and node_id not in cast.rules.within):
        return False
    if cast.name is not None and not _fits_name(cast, label or socket.slot.name, title, expressions):
        return False
    name = label or str(socket.raw.get("localized_name") or socket.slot.name)
    return expressions.agree(cast.rules.title, title) and expressions.agree(cast.rules.input, name)


def _fits_name(cast: _Broadcast, target: str, title: str, expressions: Expressions) -> bool:
    """Whether an input is the one meant among several of a type (repeated_type_rule)."""
    own, rule = cast.name or "", _level(cast.rules.settings, "repeated_type_rule")
    length = min(len(own), len(target))
    if rule == 4:
        test = expressions.read(own, cast.node)
        return test is not None and expressions.agree(test, target)
    verdicts = {
        0: target == own,
        1: target[:length] == own[:length],
        2: target[len(target) - length :] == own[len(own) - length :],
        3: title == own,
    }
    return verdicts.get(rule, True)


def _give(cast: _Broadcast, socket: _Socket, link_id: int) -> bool:
    """Link a broadcast to what it feeds. False where there is only a value to give, and no widget to take it."""
    source = Link(link_id, cast.source.origin_id, cast.source.origin_slot)
    if isinstance(socket.slot, Port):
        socket.slot.source = source
        return True
    if not (cast.node.virtual and cast.node.type == SEED):
        socket.slot.link = source
        return True
    widget = socket.node.widget_of(socket.slot) if socket.node else None
    if widget is None or not cast.node.widgets:
        return False
    widget.put(cast.node.widgets[0].value)
    widget.homes = cast.node.widgets[0].homes
    return True


# -- frames


def _members(graph: Graph, frame: dict[str, Any]) -> list[Node]:
    return [node for node in graph.nodes.values() if _inside(node, frame)]


def _inside(node: Node, frame: dict[str, Any]) -> bool:
    """Whether the centre of a node, its title bar included, lies in a frame (LGraphGroup.recomputeInsideNodes)."""
    (x, y), (width, height) = _numbers(node.raw.get("pos"), 2), _numbers(node.raw.get("size"), 2)
    if as_dict(node.raw.get("flags")).get("collapsed"):  # as wide as its title, of which only a browser knows the width
        width, height = min(width, 2 * _TITLE_BAR + 7 * len(node.title)), 0
    bar = 0 if node.type == REROUTE else _TITLE_BAR
    left, top, frame_width, frame_height = _numbers(frame.get("bounding"), 4)
    return 0 <= x + width / 2 - left < frame_width and 0 <= y + (height - bar) / 2 - top < frame_height


def _numbers(raw: Any, size: int) -> list[float]:
    """Coordinates, which old files have as an object."""
    found = list(raw.values()) if isinstance(raw, dict) else as_list(raw)
    return [each if isinstance(each, int | float) and abs(each) < 1e9 else 0 for each in [*found, *[0] * size][:size]]
