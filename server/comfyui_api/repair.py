"""How to mend what validation found: a sentence for each finding, from the node classes and the prompt itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt
from comfyui_api.node_class import InputSpec, NodeClasses

SHOWN = 5


def with_fixes(findings: list[Finding], prompt: Prompt, node_classes: NodeClasses) -> list[Finding]:
    """The same findings, each with its fix where one is known. A fix is advice: no value is ever replaced."""
    return [
        replace(finding, fix=fix) if (fix := _fix(finding, prompt, node_classes)) is not None else finding
        for finding in findings
    ]


def closest(name: str, names: Iterable[str], count: int = SHOWN) -> list[str]:
    """The names most like `name`, the best first; letter case and folders count little."""
    by_key: dict[str, str] = {}
    for candidate in names:
        by_key.setdefault(candidate.replace("\\", "/").casefold(), candidate)
    wanted = name.replace("\\", "/").casefold()
    found = get_close_matches(wanted, by_key, n=count, cutoff=0.6)
    # The same file in another folder is nearer than any likeness of letters.
    file_name = wanted.rsplit("/", 1)[-1]
    same_file = [key for key in by_key if key.rsplit("/", 1)[-1] == file_name]
    ordered = list(dict.fromkeys([*same_file, *found]))
    return [by_key[key] for key in ordered[:count]]


def _fix(finding: Finding, prompt: Prompt, node_classes: NodeClasses) -> str | None:
    spec = _spec_of(finding, node_classes)
    match finding.code:
        case "missing_node_type":
            return _fix_class(str(finding.received), node_classes)
        case "prompt_no_outputs":
            return "Add a node that saves or shows the result, e.g. SaveImage with its images linked."
        case "dependency_cycle":
            return "Take one of these links out: a node cannot depend on its own result."
        case "bad_linked_input":
            return 'Write a link as ["node id", slot], and a literal list as {"__value__": [...]}.'
        case "exception_during_validation" | "return_type_mismatch" if spec is not None:
            return _fix_link(finding, spec, prompt, node_classes)
        case "required_input_missing" if spec is not None:
            return _fix_missing(finding, spec, prompt, node_classes)
        case "value_smaller_than_min" | "value_bigger_than_max" | "invalid_input_type" if spec is not None:
            return f"Give {_describe(spec)}."
        case "value_not_in_list" if spec is not None:
            return _fix_option(finding.received, spec)
        case "exception_during_validation":
            return 'Give the node an "inputs" object, empty if it has none.'
        case "invalid_prompt":
            return 'Every node is {"class_type": "…", "inputs": {…}} under its id.'
    return None


def _spec_of(finding: Finding, node_classes: NodeClasses) -> InputSpec | None:
    node_class = node_classes.get(finding.class_type) if finding.class_type else None
    return node_class.inputs.get(finding.input) if node_class and finding.input else None


def _fix_class(name: str, node_classes: NodeClasses) -> str:
    if near := closest(name, node_classes, 3):
        return f"Did you mean {_listed(near)}? If it belongs to a node pack, install that pack and restart ComfyUI."
    return "Install the node pack that has it and restart ComfyUI, or use another node class."


def _fix_option(received: Any, spec: InputSpec) -> str:
    options = [str(option) for option in spec.options or ()]
    if not options:
        return (
            "Nothing is installed for this input: add a file to its folder, then check_status(refresh_inventory=true)."
        )
    near = closest(str(received), options)
    if near:
        return f"Closest: {_listed(near)}."
    more = f" and {len(options) - SHOWN} more" if len(options) > SHOWN else ""
    return f"Options: {_listed(options[:SHOWN])}{more}."


def _fix_missing(finding: Finding, spec: InputSpec, prompt: Prompt, node_classes: NodeClasses) -> str:
    if spec.is_combo or spec.type in ("INT", "FLOAT", "STRING", "BOOLEAN"):
        return f"Give {_describe(spec)}."
    return _fix_link(finding, spec, prompt, node_classes)


def _fix_link(finding: Finding, spec: InputSpec, prompt: Prompt, node_classes: NodeClasses) -> str:
    if spec.is_combo:
        return f"Give {_describe(spec)}."
    givers = [
        f'["{node_id}", {slot}] ({node_class.class_type})'
        for node_id, node in prompt.items()
        if node_id != finding.node_id and isinstance(node, dict)
        if (node_class := node_classes.get(str(node.get("class_type")))) is not None
        for slot, output in enumerate(node_class.outputs)
        if output == spec.type
    ]
    if givers:
        return f"Link an output of type {spec.type}: {', '.join(givers[:SHOWN])}."
    return f"Nothing in this prompt gives {spec.type}: add a node that does, and link it."


def _describe(spec: InputSpec) -> str:
    """What an input takes, e.g. "a whole number from 1 to 10000, default 20"."""
    if spec.is_combo:
        options = [str(option) for option in spec.options or ()]
        more = f" and {len(options) - SHOWN} more" if len(options) > SHOWN else ""
        return f"one of {_listed(options[:SHOWN])}{more}" if options else "a value of this list (it is empty here)"
    words = {"INT": "a whole number", "FLOAT": "a number", "STRING": "a text", "BOOLEAN": "true or false"}
    text = words.get(spec.type, f"a value of type {spec.type}")
    low, high = spec.config.get("min"), spec.config.get("max")
    if low is not None and high is not None:
        text += f" from {low} to {high}"
    if (default := spec.config.get("default")) is not None and default != "":
        text += f", default {default}"
    return text


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
