"""Links between nodes: whether they lead somewhere, and whether what comes along them fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comfyui_api.graph import Prompt, links_of
from comfyui_api.node_class import InputSpec, NodeClass, NodeClasses, types_match
from comfyui_api.quantities import count
from comfyui_api.validate.faults import Fault, short, shown
from comfyui_api.validate.own_checks import fits


def class_of(node: Any, node_classes: NodeClasses) -> NodeClass | None:
    class_type = node.get("class_type") if isinstance(node, dict) else None
    return node_classes.get(class_type) if isinstance(class_type, str) else None


def check_link(
    link: list[Any], spec: InputSpec, taker: NodeClass, prompt: Prompt, node_classes: NodeClasses
) -> Fault | None:
    """The rules of validate_inputs for a list value, which the server always takes for a link."""
    if len(link) != 2:
        return Fault(
            "bad_linked_input",
            f"'{spec.name}' should be a link [node id, output slot] or a value, not {short(link)}.",
        )
    source_id, slot = link
    if not isinstance(source_id, str) or source_id not in prompt:
        hint = " Node ids are texts: put them in quotes." if isinstance(source_id, int) else ""
        return Fault(
            "exception_during_validation",
            f"'{spec.name}' is linked to node {shown(source_id)}, which does not exist.{hint}",
        )
    source = class_of(prompt[source_id], node_classes)
    if source is None:
        return None  # reported where that node stands
    if not isinstance(slot, int) or not -len(source.outputs) <= slot < len(source.outputs):
        return Fault(
            "exception_during_validation",
            f"'{spec.name}' is linked to output {shown(slot)} of node {source_id} ({source.class_type}), "
            f"which has {count(len(source.outputs), 'output')}, counted from 0.",
        )
    received = source.outputs[slot]
    if not types_match(received, spec) and not fits(taker, spec, source, slot, received):
        wanted = "one of a list of values" if spec.legacy_combo else spec.type
        given = received if isinstance(received, str) else "a list of values"
        return Fault(
            "return_type_mismatch",
            f"'{spec.name}' takes {wanted}, but output {slot} of node {source_id} ({source.class_type}) gives {given}.",
        )
    return None


def wildcard_links(node: Any, taker: NodeClass, prompt: Prompt, node_classes: NodeClasses) -> Iterator[str]:
    """The inputs of a node that fit only by a wildcard of a pack's class: ComfyUI 0.3.75 compares them by a rule of the
    class's own, which /object_info does not show; recent servers take them all."""
    for name, link in links_of(node):
        spec = taker.inputs.get(name)
        source = class_of(prompt.get(link[0]), node_classes) if len(link) == 2 and isinstance(link[0], str) else None
        if spec is None or source is None or (taker.is_core and source.is_core):
            continue
        slot = link[1]
        if isinstance(slot, int) and -len(source.outputs) <= slot < len(source.outputs):
            received = source.outputs[slot]
            if "*" in (spec.type, received) and received != spec.type:
                yield f"{taker.class_type}.{name}"
