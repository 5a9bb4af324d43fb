"""rgthree-comfy: loaders with rows of their own, and nodes that mute others.

Source of the rules: rgthree-comfy 1.0 of 2025, web/comfyui. Its muters and bypassers change the modes of nodes when
they are clicked; the file has those. Only repeaters, relays and the random unmuter act without a click.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comfyui_api.convert.live import Graph, Input, Node, Widget
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.saved import ALWAYS, BYPASS, NEVER, SavedNode, as_list
from comfyui_api.convert.texts import Choose

REROUTE, COLLECTOR, COMBINER = "Reroute (rgthree)", "Node Collector (rgthree)", "Node Combiner (rgthree)"
REPEATER, RELAY = "Mute / Bypass Repeater (rgthree)", "Mute / Bypass Relay (rgthree)"
UNMUTER = "Random Unmuter (rgthree)"
VIRTUAL_TYPES = frozenset(
    {
        REROUTE,
        COLLECTOR,
        COMBINER,
        REPEATER,
        RELAY,
        UNMUTER,
        "Label (rgthree)",
        "Bookmark (rgthree)",
        "Fast Muter (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Actions Button (rgthree)",
        "Power Conductor (rgthree)",
    }
)
_CONTEXTS = ("Context (rgthree)", "Context Big (rgthree)", "Context Switch (rgthree)", "Context Merge (rgthree)")
_SHOW_ONLY = ("Image Comparer (rgthree)", "Display Any (rgthree)", "Display Int (rgthree)")
_RELAYED = {"MUTE": NEVER, "BYPASS": BYPASS, "ACTIVE": ALWAYS}
_FALSE = ("false", "null", "none", "", "0")


def restore(node: Node, saved: SavedNode) -> bool:
    """Put the file's values into the nodes whose widgets are the pack's own. False for all others."""
    values = saved.values
    if node.type == "Power Lora Loader (rgthree)":
        separate = saved.properties.get("Show Strengths") == "Separate Model & Clip"
        rows = [place for place, value in enumerate(values) if isinstance(value, dict) and "lora" in value]
        node.widgets = [_value(f"lora_{number}", _row(values[place], separate)) for number, place in enumerate(rows, 1)]
    elif node.type == "Power Primitive (rgthree)" and len(values) >= 2:
        kind = "BOOLEAN" if values[0] == "BOOL" else values[0]
        node.widgets = [_value("type", kind), _value("value", _cast(kind, values[1]))]
        node.widgets[1].homes = ((values, 1),)
        if node.input("value") is None:
            node.inputs.append(Input("value", "*", "value"))
    elif node.type == "Power Puter (rgthree)" and len(values) >= 2:
        listed = values[0].get("outputs") if isinstance(values[0], dict) else [values[0]]
        kinds = ["BOOLEAN" if kind == "BOOL" else kind for kind in listed] if isinstance(listed, list) else []
        node.widgets = [_value("outputs", {"outputs": kinds}), _value("code", values[1])]
    elif node.type == "Seed (rgthree)" and values:
        node.widgets = [_value("seed", values[0])]  # -1 and its kin: the pack's own server part draws one
        node.widgets[0].homes = ((values, 0),)
    elif node.type in _SHOW_ONLY:
        node.widgets = []
    else:
        return False
    return True


def _value(name: str, value: Any) -> Widget:
    widget = Widget(name, "other", value)
    widget.restored = True
    return widget


def _row(row: dict[str, Any], separate: bool) -> dict[str, Any]:
    """One LoRA: the strength for the text encoder counts only where it is shown."""
    sent = {key: value for key, value in row.items() if key != "strengthTwo"}
    if separate and "strengthTwo" in row:
        sent["strengthTwo"] = 1 if row["strengthTwo"] is None else row["strengthTwo"]
    return sent


def _cast(kind: Any, value: Any) -> Any:
    if kind in ("INT", "FLOAT") and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return 0
        return int(number) if number.is_integer() else number
    if kind == "BOOLEAN" and isinstance(value, str):
        return value.lower() not in _FALSE
    return value


def put_right(graph: Graph) -> None:
    """Links from context nodes go by the names of their outputs, whose order has changed over the years."""
    for node in graph.nodes.values():
        if node.type not in _CONTEXTS or node.node_class is None:
            continue
        names = list(node.node_class.output_names)
        saved = [slot.get("name") if isinstance(slot, dict) else None for slot in as_list(node.raw.get("outputs"))]
        if saved[: len(names)] == names:
            continue
        ends = [
            (target, names.index(name))
            for slot, name in enumerate(saved)
            if name in names
            for target in graph.outgoing(node, slot)
        ]
        for target, place in ends:
            if target.input.link is not None:
                target.input.link = target.input.link._replace(origin_slot=place)
        graph.linked()


def set_modes(graph: Graph, choose: Choose, notes: Notes) -> None:
    """Mute, bypass and wake nodes as the graph's repeaters, relays and random unmuters do."""
    nodes = [node for node in graph.nodes.values() if node.type in (REPEATER, RELAY, UNMUTER)]
    for node in nodes:
        if node.type == REPEATER:
            _repeat(node)
    for node in nodes:
        if node.type == RELAY:
            _relay(graph, node)
    for node in nodes:
        linked = list(_linked(node)) if node.type == UNMUTER else []
        if linked and all(other.mode == NEVER for other in linked):
            chosen = linked[choose(len(linked))]
            chosen.mode = ALWAYS
            notes.add("frontend_node", f"This random unmuter woke node {chosen.id}.", node.id)


def _repeat(repeater: Node) -> None:
    for node in _linked(repeater):
        if node.type != RELAY:
            node.mode = repeater.mode


def _relay(graph: Graph, relay: Node) -> None:
    modes = [node.mode for node in _linked(relay)]
    if not modes:
        return
    if any(mode not in (NEVER, BYPASS) for mode in modes):
        said = relay.properties.get("on_any_active_inputs")
    elif len(set(modes)) > 1:
        return
    else:
        said = relay.properties.get("on_muted_inputs" if modes[0] == NEVER else "on_bypassed_inputs")
    mode = _RELAYED.get(said) if isinstance(said, str) else None
    if mode is None:
        return
    for slot in range(len(relay.outputs)):
        for target in graph.outgoing(relay, slot):
            if target.node.type == REPEATER:
                target.node.mode = mode
                _repeat(target.node)


def _linked(node: Node) -> Iterator[Node]:
    """The nodes at a node's inputs, behind reroutes and collectors."""
    seen = {node.id}
    todo = [node]
    while todo:
        for slot in todo.pop(0).inputs:
            origin = node.graph.nodes.get(slot.link.origin_id) if slot.link is not None else None
            if origin is None or origin.id in seen:
                continue
            seen.add(origin.id)
            if origin.type in (REROUTE, COLLECTOR, COMBINER, "Reroute"):
                todo.append(origin)
            else:
                yield origin
