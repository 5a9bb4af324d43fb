"""The verdict of the server on a prompt, without the server (the rules of ComfyUI's execution.py, validate_prompt)."""

from __future__ import annotations

import math
from typing import Any

from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt, downstream, is_link, sources, upstream
from comfyui_api.node_class import InputSpec, NodeClass, NodeClasses, OutputType
from comfyui_api.repair import with_fixes


def validate_prompt(prompt: Prompt, node_classes: NodeClasses) -> list[Finding]:
    """What is wrong with a prompt, in the order of its nodes; empty for a sound one.

    As on the server, every node must have a class that exists, and then only the output nodes and what they depend on
    count. Stricter than ComfyUI 0.3.75 where it accepts what is sure to fail when it runs: values of V3 combos that
    are no option, and plain values where only a link can work. Files that a class looks for itself are left to it.
    """
    if not isinstance(prompt, dict):
        return [Finding("error", "invalid_prompt", f"A prompt is an object of nodes, not {_kind(prompt)}.")]
    findings = _check_form(prompt, node_classes)
    outputs = output_nodes(prompt, node_classes)
    if not outputs and not findings:
        findings.append(
            Finding("error", "prompt_no_outputs", "The prompt has no output node, so there is nothing to run.")
        )
    findings.extend(_cycles(prompt, outputs))
    # A node of an unknown class may be an output once its class is there: what it needs is looked at already now.
    reached = upstream(prompt, outputs + [finding.node_id for finding in findings if finding.node_id is not None])
    for node_id, node in prompt.items():
        if node_id in reached and (node_class := _class_of(node, node_classes)) is not None:
            findings.extend(_check_node(node_id, node, node_class, prompt, node_classes))
    return with_fixes(findings, prompt, node_classes)


def output_nodes(prompt: Prompt, node_classes: NodeClasses) -> list[str]:
    """The ids of the nodes whose results a run delivers."""
    found = []
    for node_id, node in prompt.items():
        node_class = _class_of(node, node_classes)
        if node_class is not None and node_class.is_output_node:
            found.append(node_id)
    return found


def stops_the_server(prompt: Prompt) -> list[str]:
    """The ids of nodes that must never be sent, whatever is forced.

    ComfyUI 0.3.75 accepts a node without inputs where some output is sound without it, and then its worker thread dies
    over it (comfy_execution/caching.py): nothing runs any more until it is restarted.
    """
    return [node_id for node_id, node in prompt.items() if not isinstance(_get(node, "inputs"), dict)]


def dropped_outputs(prompt: Prompt, findings: list[Finding], node_classes: NodeClasses) -> list[str]:
    """The output nodes that a run would lose, because they or something they depend on has an error."""
    tainted = downstream(prompt, [finding.node_id for finding in findings if finding.severity == "error"])
    return [node_id for node_id in output_nodes(prompt, node_classes) if node_id in tainted]


def uploads_to_look_up(prompt: Prompt, node_classes: NodeClasses) -> list[tuple[str, str, str]]:
    """(node id, input, value) of every file that must lie in the server's input folder and is in no list of it."""
    found = []
    for node_id in upstream(prompt, output_nodes(prompt, node_classes)):
        node_class = _class_of(prompt[node_id], node_classes)
        if node_class is None:
            continue
        for name, value in _inputs_of(prompt[node_id]).items():
            spec = node_class.inputs.get(name)
            if spec is not None and spec.is_upload and isinstance(value, str) and value not in (spec.options or ()):
                found.append((node_id, name, value))
    return sorted(found)


def _check_form(prompt: Prompt, node_classes: NodeClasses) -> list[Finding]:
    """What every node must have, also one that no output depends on."""
    findings = []
    for node_id, node in prompt.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            message = f"Node {node_id} has no class_type."
            findings.append(Finding("error", "invalid_prompt", message, node_id, received=_short(node)))
            continue
        name = node["class_type"]
        if name not in node_classes:
            message = f"No node class named '{_short(name)}' is installed."
            findings.append(
                Finding("error", "missing_node_type", message, node_id, _short(name), received=_short(name))
            )
        if not isinstance(node.get("inputs"), dict):
            message = f"Node {node_id} ({name}) has no inputs object, and ComfyUI would stop working over it."
            findings.append(Finding("error", "exception_during_validation", message, node_id, name))
    return findings


def _check_node(
    node_id: str, node: dict[str, Any], node_class: NodeClass, prompt: Prompt, node_classes: NodeClasses
) -> list[Finding]:
    inputs = _inputs_of(node)
    found = []
    for spec in node_class.inputs.values() if isinstance(node.get("inputs"), dict) else ():
        if spec.name in inputs:
            value = inputs[spec.name]
            fault = _check_link(value, spec, prompt, node_classes) if is_link(value) else _check_value(value, spec)
        elif spec.required and not spec.is_dynamic:
            value, fault = None, ("required_input_missing", f"The required input '{spec.name}' is missing.")
        else:
            continue
        if fault is not None:
            code, message = fault
            found.append(
                Finding("error", code, message, node_id, node_class.class_type, spec.name, received=_short(value))
            )
    return found


_FAILS = "the run fails"
Fault = tuple[str, str]


def _check_link(link: list[Any], spec: InputSpec, prompt: Prompt, node_classes: NodeClasses) -> Fault | None:
    if len(link) != 2:
        return (
            "bad_linked_input",
            f"'{spec.name}' should be a link [node id, output slot] or a value, not {_short(link)}.",
        )
    source_id, slot = link
    if not isinstance(source_id, str) or source_id not in prompt:
        hint = " Node ids are texts: put them in quotes." if isinstance(source_id, int) else ""
        return (
            "exception_during_validation",
            f"'{spec.name}' is linked to node {source_id!r}, which does not exist.{hint}",
        )
    source = _class_of(prompt[source_id], node_classes)
    if source is None:
        return None  # reported where that node stands
    if isinstance(slot, bool) or not isinstance(slot, int) or not -len(source.outputs) <= slot < len(source.outputs):
        return (
            "exception_during_validation",
            f"'{spec.name}' is linked to output {slot!r} of node {source_id} ({source.class_type}), "
            f"which has {len(source.outputs)} outputs, counted from 0.",
        )
    received = source.outputs[slot]
    if not types_match(received, spec):
        wanted = "one of a list of values" if spec.legacy_combo else spec.type
        given = received if isinstance(received, str) else "a list of values"
        return (
            "return_type_mismatch",
            f"'{spec.name}' takes {wanted}, but output {slot} of node {source_id} ({source.class_type}) gives {given}.",
        )
    return None


def types_match(received: OutputType, spec: InputSpec) -> bool:
    """Whether an output may be linked to an input (comfy_execution/validation.py): unions like "INT,FLOAT" match by
    what they have in common. Wildcards and V3 match types count as fitting, since /object_info does not show how
    their classes compare."""
    if spec.legacy_combo:
        return received in (spec.options, "*")
    if not isinstance(received, str):
        return spec.type == "*"
    if received == spec.type or received.startswith("COMFY_") or spec.type.startswith("COMFY_"):
        return True
    given = {part.strip() for part in received.split(",")}
    taken = {part.strip() for part in spec.type.split(",")}
    return "*" in given | taken or not given.isdisjoint(taken)


# What only a node can make: no value that could be written into a prompt stands for these.
_LINK_ONLY = frozenset(
    {"AUDIO", "CLIP", "CLIP_VISION", "CLIP_VISION_OUTPUT", "CONDITIONING", "CONTROL_NET", "GUIDER", "IMAGE", "LATENT"}
    | {"MASK", "MODEL", "NOISE", "SAMPLER", "SIGMAS", "STYLE_MODEL", "UPSCALE_MODEL", "VAE", "VIDEO"}
)
_CONVERSIONS: dict[str, Any] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _check_value(value: Any, spec: InputSpec) -> Fault | None:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if (convert := _CONVERSIONS.get(spec.type)) is not None:
        try:
            value = convert(value)
        except (TypeError, ValueError, OverflowError):
            return "invalid_input_type", f"'{spec.name}' takes {_article(spec.type)}, not {_short(value)!r}."
    if spec.is_upload:
        # The class looks for the file itself, and fails over anything but a name.
        fault = f"'{spec.name}' takes the name of a file, not {_short(value)!r}."
        return None if isinstance(value, str) else ("exception_during_validation", fault)
    if spec.type in _LINK_ONLY and (spec.required or value is not None):
        # The server accepts any value here.
        return "invalid_input_type", f"'{spec.name}' takes a link to {spec.type}; with {_short(value)!r} {_FAILS}."
    if isinstance(value, int | float):
        low, high = spec.config.get("min"), spec.config.get("max")
        if isinstance(low, int | float) and value < low:
            return "value_smaller_than_min", f"'{spec.name}' is {value}, below its minimum of {low}."
        if isinstance(high, int | float) and value > high:
            return "value_bigger_than_max", f"'{spec.name}' is {value}, above its maximum of {high}."
    if spec.is_combo and spec.options is not None and not spec.config.get("multiselect") and value not in spec.options:
        unchecked = "" if spec.legacy_combo else f" Older servers (0.3.75) accept it; then {_FAILS}."
        count = len(spec.options)
        return (
            "value_not_in_list",
            f"'{spec.name}' is {_short(value)!r}, which is none of its {count} options.{unchecked}",
        )
    return None


def _cycles(prompt: Prompt, outputs: list[str]) -> list[Finding]:
    """One finding for each link that closes a circle, found by a depth-first walk without recursion."""
    findings = []
    done: set[str] = set()
    for start in outputs:
        path: list[str] = []
        on_path: set[str] = set()
        todo: list[tuple[str, bool]] = [(start, True)]
        while todo:
            node_id, entering = todo.pop()
            if not entering:
                done.add(path.pop())
                on_path.discard(node_id)
                continue
            if node_id in done or node_id not in prompt:
                continue
            if node_id in on_path:
                circle = [*path[path.index(node_id) :], node_id]
                node = prompt[node_id]
                class_type = node.get("class_type") if isinstance(node, dict) else None
                findings.append(
                    Finding(
                        "error",
                        "dependency_cycle",
                        f"These nodes wait for each other: {' ← '.join(circle[:20])}.",
                        node_id,
                        class_type if isinstance(class_type, str) else None,
                    )
                )
                continue
            path.append(node_id)
            on_path.add(node_id)
            todo.append((node_id, False))
            todo.extend((source, True) for source in sources(prompt[node_id]))
    return findings


def _get(node: Any, key: str) -> Any:
    return node.get(key) if isinstance(node, dict) else None


def _class_of(node: Any, node_classes: NodeClasses) -> NodeClass | None:
    class_type = _get(node, "class_type")
    return node_classes.get(class_type) if isinstance(class_type, str) else None


def _inputs_of(node: Any) -> dict[str, Any]:
    inputs = _get(node, "inputs")
    return inputs if isinstance(inputs, dict) else {}


def _short(value: Any) -> Any:
    """The value as received, long ones cut: findings are read by agents."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    if len(text) > 200:
        return text[:200] + "…"
    return value


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "nothing"}.get(type(value), type(value).__name__)


def _article(type_name: str) -> str:
    return {"INT": "a whole number", "FLOAT": "a number", "STRING": "a text"}.get(type_name, type_name)
