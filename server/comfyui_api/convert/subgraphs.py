"""Subgraphs: definitions, their instances, and the values that an instance has for the widgets inside.

Source of the rules: the web frontend 1.58.1, SubgraphNode (configure, _resolveInputWidget, _setWidget).
"""

from __future__ import annotations

from typing import Any

from comfyui_api.convert.live import Input, Link, Node, Port, Subgraph, Target
from comfyui_api.convert.notes import Homes
from comfyui_api.convert.saved import INPUT_NODE, OUTPUT_NODE, SavedNode, SavedSubgraph
from comfyui_api.convert.size import Size


def add_ports(subgraph: Subgraph, saved: SavedSubgraph) -> None:
    """Connect a definition's inputs and outputs with the nodes inside, which are linked already."""
    by_link = {
        slot.link.id: Target(node, slot)
        for node in subgraph.nodes.values()
        for slot in node.inputs
        if slot.link is not None and slot.link.origin_id == INPUT_NODE
    }
    leaving: dict[int, Link] = {}
    for link in saved.graph.links.values():
        if link.target_id == OUTPUT_NODE:
            leaving.setdefault(link.target_slot, Link.of(link))
    for saved_input in saved.inputs:
        port = Port(saved_input.name, saved_input.type)
        port.targets = [by_link[link_id] for link_id in saved_input.links if link_id in by_link]
        subgraph.inputs.append(port)
    for place, saved_output in enumerate(saved.outputs):
        port = Port(saved_output.name, saved_output.type)
        named = (saved.graph.links[link_id] for link_id in saved_output.links if link_id in saved.graph.links)
        first = next(named, None)
        port.source = Link.of(first) if first is not None else leaving.get(place)
        subgraph.outputs.append(port)


def make_instance(node: Node, subgraph: Subgraph, saved: SavedNode, size: Size) -> None:
    """Give a node the inputs and outputs of its definition, and the values that the file has for this instance."""
    size.grow(1 + len(subgraph.outputs) + sum(1 + len(port.targets) for port in subgraph.inputs))
    node.subgraph = subgraph
    node.virtual = True
    node.title = node.title or subgraph.name
    node.inputs = [Input(port.name, port.type) for port in subgraph.inputs]
    node.outputs = [port.type for port in subgraph.outputs]
    subgraph.instances.append(node)
    for slot, port in zip(node.inputs, subgraph.inputs, strict=True):
        promote(slot, port)
    _restore(node, saved)


def promote(slot: Input, port: Port) -> None:
    """Give an instance's input a value of its own, where the first widget that it feeds inside has one."""
    widget = next((found for target in port.targets if (found := target.node.widget_of(target.input))), None)
    if widget is None:
        return
    slot.promoted = widget.copy()
    slot.promoted.restored = widget.restored
    slot.promoted.name = slot.name
    slot.promoted.in_file = slot.promoted.in_prompt = True
    slot.widget = slot.name


def _restore(node: Node, saved: SavedNode) -> None:
    set_aside = dict(_set_aside(saved.properties.get("proxyWidgetErrorQuarantine")))
    shown = [slot for slot in node.inputs if slot.promoted is not None]
    # Values in order mean nothing once the definition shows more or fewer widgets than when the file was saved.
    named = saved.named_values or {}
    in_order = saved.named_values is None or len(shown) == len(saved.values)
    for place, slot in enumerate(shown):
        widget = slot.promoted
        if widget is None:
            continue
        homes: Homes = ((saved.values, place),) if in_order and place < len(saved.values) else ()
        if slot.name in named:
            homes += ((named, slot.name),)
        if homes:
            container, key = homes[0]
            widget.value, widget.homes, widget.restored = container[key], homes, True
        if slot.name in set_aside:
            widget.value, widget.homes = set_aside[slot.name], ()


def _set_aside(listed: Any) -> list[tuple[str, Any]]:
    """The values that an earlier load of the file could not place (proxyWidgetErrorQuarantine), by input name."""
    found = []
    for entry in reversed(listed) if isinstance(listed, list) else ():
        original = entry.get("originalEntry") if isinstance(entry, dict) else None
        if isinstance(original, list) and len(original) > 1 and original[0] == "-1" and "hostValue" in entry:
            found.append((str(original[1]), entry["hostValue"]))
    return found


def add_input(subgraph: Subgraph, name: str, type_name: str, targets: list[Target], size: Size) -> None:
    """Lead values inside out to the instances, as a new input of the definition, in place of what was linked there."""
    size.grow(len(subgraph.instances) * len(targets))
    port = Port(name, type_name)
    port.targets = targets
    for target in targets:
        target.input.link = Link(-1 - len(subgraph.inputs), INPUT_NODE, len(subgraph.inputs))
    subgraph.inputs.append(port)
    subgraph.linked()
    for instance in subgraph.instances:
        slot = Input(port.name, port.type)
        promote(slot, port)
        instance.inputs.append(slot)


def source_of(port: Port) -> tuple[Node, str] | None:
    """The node and widget inside that an input of a definition stands for; for an instance inside, its input's name."""
    for target in port.targets:
        if target.node.subgraph is not None:
            return target.node, target.input.name
        widget = target.node.widget_of(target.input)
        if widget is not None:
            return target.node, widget.name
    return None
