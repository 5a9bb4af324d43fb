"""The verdict of the server on a prompt, without the server (the rules of ComfyUI's execution.py, validate_prompt)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NamedTuple

from comfyui_api.dynamic_inputs import DYNAMIC_COMBO, expanded
from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt, downstream, is_followed, is_link, links_of, reached_by, sources, upstream
from comfyui_api.node_class import InputSpec, NodeClass, NodeClasses
from comfyui_api.repair import with_fixes
from comfyui_api.validate.cycles import cycles, waiting_input
from comfyui_api.validate.faults import ACCEPTED, RUN_FAILS, STOPS, Fault, short, shown
from comfyui_api.validate.files import check_file, is_listed, link_for_file, takes_file
from comfyui_api.validate.links import check_link, class_of
from comfyui_api.validate.own_checks import check_own, check_prefix, is_file, is_free
from comfyui_api.validate.values import check_choice, check_value

_SHOWN = 10
_SKIPPED_BY_PACKS = ("value_not_in_list", "value_smaller_than_min", "value_bigger_than_max")
_PACK_DECIDES = "If the pack checks it itself, it may take it: force=true leaves that to the server."
_NONE: Mapping[str, bool] = MappingProxyType({})
_MISNAMED = 0.8  # likeness from which an unknown input counts as a name gone wrong; below, it is the editor's own


PARTNER_NODE = "partner_node"


class LookedUp(NamedTuple):
    """A file of a loader node that is among no options: only the server can tell whether it is there."""

    node_id: str
    input: str
    value: str


def validate_prompt(
    prompt: Prompt, node_classes: NodeClasses | Mapping[str, Any], files: Mapping[str, bool] = _NONE
) -> list[Finding]:
    """What is wrong with a prompt, in the order of its nodes; empty for a sound one.

    `node_classes` are the classes of the server, or its /object_info as it comes. `files` tells of loaders' values
    whether the server has the file, where it was asked.

    As on the server, every node must have a class that exists, and then only the output nodes and what they depend on
    count. Stricter than the server where it accepts what is sure to fail when it runs: values of V3 combos that are no
    option (0.3.75), dynamic combos without a choice, and plain values where only a link can work; the findings say so.
    """
    classes = NodeClasses.of(node_classes)
    if not isinstance(prompt, dict):
        return [Finding("error", "invalid_prompt", f"A prompt is an object of nodes, not {_kind(prompt)}.")]
    findings = _check_form(prompt, classes)
    outputs = output_nodes(prompt, classes)
    if not outputs and not findings:
        findings.append(
            Finding("error", "prompt_no_outputs", "The prompt has no output node, so there is nothing to run.")
        )
    findings.extend(_check_cycles(prompt, outputs, classes))
    # A node of an unknown class may be an output once its class is there: what it needs is looked at already now.
    starts = outputs + [finding.node_id for finding in findings if finding.node_id is not None]
    reached = upstream(prompt, starts)
    judged = _judged(prompt, starts, classes)
    for node_id, node in prompt.items():
        if node_id in reached and (node_class := class_of(node, classes)) is not None:
            found = _check_node(node_id, node, node_class, prompt, classes, files)
            findings.extend(found if node_id in judged else map(_unseen, found))
    if idle := [node_id for node_id in prompt if node_id not in reached]:
        findings.append(_not_reached(idle))
    return with_fixes(findings, prompt, classes)


def output_nodes(prompt: Prompt, node_classes: NodeClasses) -> list[str]:
    """The ids of the nodes whose results a run delivers."""
    found = []
    for node_id, node in prompt.items():
        node_class = class_of(node, node_classes)
        if node_class is not None and node_class.is_output_node:
            found.append(node_id)
    return found


def partner_nodes(prompt: Prompt, node_classes: NodeClasses | None) -> list[str]:
    """The ids of the nodes that ask Comfy's partners and will run: they spend the account's credits."""
    if node_classes is None:
        return []
    running = upstream(prompt, output_nodes(prompt, node_classes))
    classes = {node_id: class_of(prompt[node_id], node_classes) for node_id in prompt if node_id in running}
    return [node_id for node_id, found in classes.items() if found is not None and found.is_partner_node]


def stops_the_server(prompt: Prompt, node_classes: NodeClasses | None = None) -> list[str]:
    """The ids of nodes that must never be sent, whatever is forced.

    ComfyUI 0.3.75 accepts them, and then its worker thread dies over them, so that nothing runs any more until it is
    restarted: a node without inputs where some output is sound without it (comfy_execution/caching.py), and a link to a
    node that does not exist at an input that the class does not declare (comfy_execution/graph.py, add_node).
    """
    found = []
    for node_id, node in prompt.items():
        inputs = _get(node, "inputs")
        if not isinstance(inputs, dict):
            found.append(node_id)
            continue
        node_class = class_of(node, node_classes) if node_classes is not None else None
        lost = [name for name, value in inputs.items() if is_followed(value) and value[0] not in prompt]
        if lost and node_class is not None:
            names = {spec.name for spec in _specs(node_class, inputs)}
            if any(name not in names for name in lost):
                found.append(node_id)
    return found


def dropped_outputs(prompt: Prompt, findings: list[Finding], node_classes: NodeClasses) -> list[str]:
    """The output nodes that a run would lose, because they or something they depend on has an error."""
    tainted = downstream(prompt, [finding.node_id for finding in findings if finding.severity == "error"])
    return [node_id for node_id in output_nodes(prompt, node_classes) if node_id in tainted]


def files_to_look_up(prompt: Prompt, node_classes: NodeClasses) -> list[LookedUp]:
    """Every file of a loader that is in no list of options."""
    found = []
    for node_id in upstream(prompt, output_nodes(prompt, node_classes)):
        node_class = class_of(prompt[node_id], node_classes)
        if node_class is None:
            continue
        for name, value in _inputs_of(prompt[node_id]).items():
            spec = node_class.inputs.get(name)
            if spec is None or not isinstance(value, str) or is_listed(value, spec):
                continue
            if takes_file(spec) or is_file(node_class.class_type, name):
                found.append(LookedUp(node_id, name, value))
    return sorted(found)


def _check_form(prompt: Prompt, node_classes: NodeClasses) -> list[Finding]:
    """What every node must have, also one that no output depends on."""
    findings = []
    for node_id, node in prompt.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            message = f"Node {node_id} has no class_type."
            findings.append(Finding("error", "invalid_prompt", message, node_id, received=short(node)))
            continue
        name = node["class_type"]
        if name not in node_classes:
            message = f"No node class named '{short(name)}' is installed."
            findings.append(Finding("error", "missing_node_type", message, node_id, short(name), received=short(name)))
        if not isinstance(node.get("inputs"), dict):
            message = f"Node {node_id} ({name}) has no inputs object. {STOPS}"
            findings.append(Finding("error", "exception_during_validation", message, node_id, name))
    return findings


def _check_cycles(prompt: Prompt, outputs: list[str], node_classes: NodeClasses) -> Iterator[Finding]:
    """As on the server (recent ones), a finding for every node of a circle."""
    for group in cycles(prompt, outputs):
        message = f"These nodes wait for each other: {_some(group)}."
        ways = [waiting_input(prompt, node_id, group) for node_id in group]
        if not all(_declares(prompt[node_id], name, node_classes) for node_id, name in zip(group, ways, strict=True)):
            message = f"{message} {ACCEPTED}"  # it follows no input that the class does not have; the run does
        for node_id, name in zip(group, ways, strict=True):
            class_type = _get(prompt[node_id], "class_type")
            shown = class_type if isinstance(class_type, str) else None
            yield Finding("error", "dependency_cycle", message, node_id, shown, name)


def _declares(node: Any, name: str | None, node_classes: NodeClasses) -> bool:
    node_class = class_of(node, node_classes)
    return node_class is None or any(spec.name == name for spec in _specs(node_class, _inputs_of(node)))


def _specs(node_class: NodeClass, inputs: Mapping[str, Any]) -> Iterable[InputSpec]:
    specs = node_class.inputs.values()
    return expanded(specs, inputs) if node_class.has_dynamic_inputs else specs


def _judged(prompt: Prompt, starts: list[str], node_classes: NodeClasses) -> set[str]:
    """The nodes that the server looks at: unlike a run, it follows no input that the class does not have."""

    def followed(node_id: str) -> Iterable[str]:
        node = prompt[node_id]
        node_class = class_of(node, node_classes)
        if node_class is None:
            return sources(node)
        linked = [(name, link[0]) for name, link in links_of(node) if len(link) == 2 and isinstance(link[0], str)]
        if all(name in node_class.inputs for name, _ in linked):
            return (source for _, source in linked)
        names = {spec.name for spec in _specs(node_class, _inputs_of(node))}
        return (source for name, source in linked if name in names)

    return reached_by(starts, followed, prompt)


def _unseen(finding: Finding) -> Finding:
    """A finding where the server does not look."""
    if finding.severity == "warning" or RUN_FAILS in finding.message:
        return finding
    return replace(finding, message=f"{finding.message} {ACCEPTED}")


def _check_node(
    node_id: str,
    node: dict[str, Any],
    node_class: NodeClass,
    prompt: Prompt,
    node_classes: NodeClasses,
    files: Mapping[str, bool],
) -> Iterator[Finding]:
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        return
    names = set()
    for spec in _specs(node_class, inputs):
        names.add(spec.name)
        fault = None
        value = inputs.get(spec.name)
        if spec.name in inputs:
            fault = _check_input(inputs, spec, node_class, prompt, node_classes, files)
        elif spec.required:
            accepted = f" {ACCEPTED}" if spec.type == DYNAMIC_COMBO else ""
            fault = Fault("required_input_missing", f"The required input '{spec.name}' is missing.{accepted}")
        if fault is not None:
            code, message = fault
            class_type = node_class.class_type
            if code in _SKIPPED_BY_PACKS and not node_class.is_core:
                message = f"{message} {_PACK_DECIDES}"
            yield Finding("error", code, message, node_id, class_type, spec.name, received=short(value))
    if node_class.is_partner_node:
        yield Finding(
            "warning",
            PARTNER_NODE,
            f"{node_class.class_type} runs on Comfy's servers: it needs a signed-in account and spends its credits.",
            node_id,
            node_class.class_type,
        )
    yield from _unknown_inputs(node_id, node_class, inputs, names, prompt)


def _check_input(
    inputs: dict[str, Any],
    spec: InputSpec,
    node_class: NodeClass,
    prompt: Prompt,
    node_classes: NodeClasses,
    files: Mapping[str, bool],
) -> Fault | None:
    value, class_type = inputs[spec.name], node_class.class_type
    if spec.type == DYNAMIC_COMBO:
        return check_choice(value, spec)
    names_file = takes_file(spec) or is_file(class_type, spec.name)
    if is_link(value):
        fault = check_link(value, spec, node_class, prompt, node_classes)
        return fault or (link_for_file(spec) if names_file else None)
    if names_file:
        return check_file(value, spec, files.get(value) if isinstance(value, str) else None)
    if (fault := check_value(value, spec, own_check=is_free(class_type, spec.name))) is not None:
        return fault
    if (fault := check_prefix(value, spec, node_class)) is not None:
        return fault
    return check_own(class_type, spec.name, inputs) if is_free(class_type, spec.name) else None


def _unknown_inputs(
    node_id: str, node_class: NodeClass, inputs: dict[str, Any], names: set[str], prompt: Prompt
) -> Iterator[Finding]:
    """Inputs that the class does not have: the server passes over their values, but a run hands on what is linked.

    Packs may take what they do not declare; a name that reads like one that is not given has gone wrong anywhere, and
    a link that leads nowhere stops the server.
    """
    free = [name for name in names if name not in inputs]
    for name, value in inputs.items():
        if name in names:
            continue
        linked = is_followed(value)
        near = get_close_matches(str(name)[:100], free, 1, _MISNAMED)
        fix = f"Did you mean '{near[0]}'?" if near else "Take this input out."
        if linked and value[0] not in prompt:
            outcome = f"and it is linked to node {shown(value[0])}, which does not exist. {STOPS}"
        elif linked and node_class.is_core:
            outcome = f"and what is linked to it is handed on all the same. {ACCEPTED}"
        elif near:
            message = f"{node_class.class_type} has no input '{short(name)}', so it is passed over."
            yield Finding("warning", "unknown_input", message, node_id, node_class.class_type, str(name)[:200], fix=fix)
            continue
        else:
            continue
        message = f"{node_class.class_type} has no input '{short(name)}', {outcome}"
        received = short(value)
        yield Finding("error", "unknown_input", message, node_id, node_class.class_type, str(name)[:200], received, fix)


def _not_reached(idle: list[str]) -> Finding:
    message = f"These nodes will not run, as no output depends on them: {_some(idle)}."
    return Finding("warning", "not_reached", message, fix="Link them to an output node if they should run.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _get(node: Any, key: str) -> Any:
    return node.get(key) if isinstance(node, dict) else None


def _inputs_of(node: Any) -> dict[str, Any]:
    inputs = _get(node, "inputs")
    return inputs if isinstance(inputs, dict) else {}


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "nothing"}.get(type(value), type(value).__name__)
