"""How to mend what validation found: a sentence for each finding, from the node classes and the prompt itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt
from comfyui_api.node_class import InputSpec, NodeClasses, OutputType

SHOWN = 5
NAMES_COMPARED = 20  # comparing a name with thousands takes milliseconds: a workflow full of unknown ones gets no more


def with_fixes(findings: list[Finding], prompt: Prompt, node_classes: NodeClasses) -> list[Finding]:
    """The same findings, each with its fix where one is known. A fix is advice: no value is ever replaced."""
    mender = _Mender(prompt, node_classes)
    return [replace(finding, fix=fix) if (fix := mender.fix(finding)) is not None else finding for finding in findings]


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


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The question whether the name most like this one was meant, after a space; nothing where none is like it."""
    near = closest(name, names, 1)
    return f" Did you mean '{near[0]}'?" if near else ""


class _Mender:
    """The fixes for one prompt; what several findings need is worked out once."""

    def __init__(self, prompt: Prompt, node_classes: NodeClasses) -> None:
        self._prompt = prompt
        self._node_classes = node_classes
        self._class_fixes: dict[str, str] = {}

    def fix(self, finding: Finding) -> str | None:
        spec = self._spec_of(finding)
        match finding.code:
            case "missing_node_type":
                return self._fix_class(str(finding.received))
            case "prompt_no_outputs":
                return "Add a node that saves or shows the result, e.g. SaveImage with its images linked."
            case "dependency_cycle":
                return "Take one of these links out: a node cannot depend on its own result."
            case "bad_linked_input":
                return 'Write a link as ["node id", slot], and a literal list as {"__value__": [...]}.'
            case "invalid_prompt":
                return 'Every node is {"class_type": "…", "inputs": {…}} under its id.'
            case "exception_during_validation" if spec is None:
                return 'Give the node an "inputs" object, empty if it has none.'
        return self._fix_input(finding, spec) if spec is not None else None

    def _fix_input(self, finding: Finding, spec: InputSpec) -> str | None:
        if spec.is_upload:
            return "Bring the file with upload_image and give the value that it returns."
        match finding.code:
            case "exception_during_validation" | "return_type_mismatch" | "required_input_missing":
                return f"Give {_describe(spec)}." if _is_widget(spec) else self._fix_link(finding, spec)
            case "invalid_input_type" if not _is_widget(spec):
                return self._fix_link(finding, spec)
            case "value_smaller_than_min" | "value_bigger_than_max" | "invalid_input_type":
                return f"Give {_describe(spec)}."
            case "value_not_in_list":
                return _fix_option(finding.received, spec)
        return None

    def _spec_of(self, finding: Finding) -> InputSpec | None:
        node_class = self._node_classes.get(finding.class_type) if finding.class_type else None
        return node_class.inputs.get(finding.input) if node_class and finding.input else None

    def _fix_class(self, name: str) -> str:
        if name not in self._class_fixes:
            compared = len(self._class_fixes) < NAMES_COMPARED
            near = closest(name, self._node_classes, 3) if compared else []
            self._class_fixes[name] = (
                f"Did you mean {_listed(near)}? If it belongs to a node pack, install that pack and restart ComfyUI."
                if near
                else "Install the node pack that has it and restart ComfyUI, or use another node class."
            )
        return self._class_fixes[name]

    def _fix_link(self, finding: Finding, spec: InputSpec) -> str:
        givers = [giver for node_id, giver in self._givers.get(spec.type, ()) if node_id != finding.node_id]
        if givers:
            return f"Link an output of type {spec.type}: {', '.join(givers[:SHOWN])}."
        return f"Nothing in this prompt gives {spec.type}: add a node that does, and link it."

    @cached_property
    def _givers(self) -> dict[OutputType, list[tuple[str, str]]]:
        """By type, the first nodes of the prompt that give it: (node id, the link and the class)."""
        found: dict[OutputType, list[tuple[str, str]]] = {}
        for node_id, node in self._prompt.items():
            node_class = self._node_classes.get(str(node.get("class_type"))) if isinstance(node, dict) else None
            if node_class is None:
                continue
            for slot, output in enumerate(node_class.outputs):
                # One more than is shown, as a node is never told to link to itself.
                if len(found.setdefault(_hashable(output), [])) <= SHOWN:
                    found[_hashable(output)].append((node_id, f'["{node_id}", {slot}] ({node_class.class_type})'))
        return found


def _hashable(output: OutputType) -> OutputType:
    return output if isinstance(output, str) else repr(output)


def _is_widget(spec: InputSpec) -> bool:
    return spec.is_combo or spec.type in ("INT", "FLOAT", "STRING", "BOOLEAN")


def _fix_option(received: Any, spec: InputSpec) -> str:
    options = [str(option) for option in spec.options or ()]
    if not options:
        return (
            "Nothing is installed for this input: add a file to its folder, then check_status(refresh_inventory=true)."
        )
    near = closest(str(received), options)
    if near:
        return f"Closest: {_listed(near)}."
    return f"Options: {_first_of(options)}."


def _describe(spec: InputSpec) -> str:
    """What an input takes, e.g. "a whole number from 1 to 10000, default 20"."""
    if spec.is_combo:
        options = [str(option) for option in spec.options or ()]
        return f"one of {_first_of(options)}" if options else "a value of this list (it is empty here)"
    words = {"INT": "a whole number", "FLOAT": "a number", "STRING": "a text", "BOOLEAN": "true or false"}
    text = words.get(spec.type, f"a value of type {spec.type}")
    low, high = spec.config.get("min"), spec.config.get("max")
    if low is not None and high is not None:
        text += f" from {low} to {high}"
    if (default := spec.config.get("default")) is not None and default != "":
        text += f", default {default}"
    return text


def _first_of(options: list[str]) -> str:
    more = f" and {len(options) - SHOWN} more" if len(options) > SHOWN else ""
    return _listed(options[:SHOWN]) + more


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
