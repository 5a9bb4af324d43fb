"""PrimitiveNode: a value that the editor writes into the widgets that it is linked to.

Source of the rules: the web frontend 1.58.1, widgetInputs (PrimitiveNode) and widgetValuePropagation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyui_api.convert.layout import choose, widget_type
from comfyui_api.convert.live import Graph, Node, Target, Widget
from comfyui_api.convert.nodes import PRIMITIVE
from comfyui_api.convert.notes import Notes, shown
from comfyui_api.convert.numbers import common_range, is_number, rounded, within
from comfyui_api.convert.texts import Names

_REPLACE = "Run widget replace on values"


def spread(graph: Graph, names: Names, notes: Notes) -> None:
    """Write the values of a graph's primitives into their targets."""
    for node in graph.nodes.values():
        if node.type == PRIMITIVE and node.node_class is None:
            targets = graph.outgoing(node, 0)
            if targets and (first := _widget(targets[0])) is not None:
                _spread(node, targets, first, names, notes)
            elif targets and node.widgets:
                notes.add(
                    "lost_value",
                    f"The value {shown(node.widgets[0].value)} of this primitive reaches no widget: ComfyUI does not "
                    "send it. A primitive must be linked to a widget directly, not through a reroute.",
                    node.id,
                )


def _widget(target: Target) -> Widget | None:
    return target.node.widget_of(target.input)


def _spread(node: Node, targets: list[Target], first: Widget, names: Names, notes: Notes) -> None:
    value = _value(node, targets, first, notes)
    if isinstance(value, str) and node.properties.get(_REPLACE):
        value = names.replace(value)
    for target in targets:
        widget = _widget(target)
        if widget is not None:
            if widget.kind == "dynamic_combo" and target.node.subgraph is None:
                choose(target.node, widget, value)
            else:
                spec = widget.spec
                widget.put(rounded(widget_type(spec), spec.config, value) if spec is not None else value)
            if node.widgets and value is None:
                widget.restored |= node.widgets[0].restored  # a null that the file gives is sent, nothing at all is not
            widget.homes = node.widgets[0].homes if node.widgets else ()
            if target.node.subgraph is not None:
                notes.add(
                    "lost_value",
                    f"The primitive {node.id} is linked to this input of a subgraph: ComfyUI does not carry its value "
                    f"{shown(value)} inside, and sends the value that stands there.",
                    target.node.id,
                    target.input.name,
                )


def _value(node: Node, targets: list[Target], first: Widget, notes: Notes) -> Any:
    """The primitive's own value, kept within what all numbers that it feeds allow."""
    own_type = node.saved_outputs[0] if node.saved_outputs else "*"
    spec = first.spec
    kind = widget_type(spec) if spec is not None else None
    value = node.widgets[0].value if node.widgets and own_type in (kind, None) else first.value
    if value is None and spec is not None and spec.options:
        return spec.options[0]  # as ComfyUI does with every choice that a file leaves open
    if kind not in ("INT", "FLOAT") or not is_number(value):
        return value
    kept: int | float = value
    config: Mapping[str, Any] = {}
    for target in targets:
        widget = _widget(target)
        if widget is None or widget.spec is None or widget_type(widget.spec) != kind:
            continue
        merged = common_range(config or widget.spec.config, widget.spec.config)
        if merged is not None:
            config = merged
            kept = rounded(kind, config, within(config, kept))
    if kept != value:
        notes.add(
            "replaced_value", f"ComfyUI keeps this primitive's {value} within what it feeds: {kept}.", node.id, "value"
        )
    return kept
