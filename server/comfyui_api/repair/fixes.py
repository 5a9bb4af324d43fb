"""A sentence for each finding on how to mend it, from the node classes and the prompt itself."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from comfyui_api.dynamic_inputs import DYNAMIC_COMBO, choices_of, expanded
from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt, downstream
from comfyui_api.node_class import InputSpec, NodeClasses, types_match
from comfyui_api.repair.names import SHOWN, closest, closest_classes, first_of, listed

CLASSES_SEARCHED = 2000  # for one that gives a type
CLASSES_NAMED = 3
WALKS = 50  # over the whole prompt, for as many nodes that lack a link
NAMES_COMPARED = 20  # comparing a name with thousands takes milliseconds: a workflow full of unknown ones gets no more

# What usually gives a type, of ComfyUI's own classes.
_USUAL_GIVERS: dict[str, tuple[str, ...]] = {
    "MODEL": ("CheckpointLoaderSimple", "UNETLoader"),
    "CLIP": ("CheckpointLoaderSimple", "CLIPLoader", "DualCLIPLoader"),
    "VAE": ("CheckpointLoaderSimple", "VAELoader"),
    "CONDITIONING": ("CLIPTextEncode",),
    "LATENT": ("EmptyLatentImage", "VAEEncode"),
    "IMAGE": ("LoadImage", "VAEDecode"),
    "MASK": ("LoadImageMask", "ImageToMask"),
    "AUDIO": ("LoadAudio",),
    "VIDEO": ("LoadVideo", "CreateVideo"),
    "CONTROL_NET": ("ControlNetLoader",),
    "CLIP_VISION": ("CLIPVisionLoader",),
    "CLIP_VISION_OUTPUT": ("CLIPVisionEncode",),
    "UPSCALE_MODEL": ("UpscaleModelLoader",),
    "STYLE_MODEL": ("StyleModelLoader",),
    "SAMPLER": ("KSamplerSelect",),
    "SIGMAS": ("BasicScheduler",),
    "NOISE": ("RandomNoise",),
    "GUIDER": ("CFGGuider", "BasicGuider"),
}


# Nodes of the editor that no server has. What their links and values stand for is put in when it sends a workflow.
_EDITOR_ONLY = {
    "PrimitiveNode": "write its value into the inputs that it feeds",
    "Reroute": "link to what it passes on",
    "Note": "take it out",
    "MarkdownNote": "take it out",
    "GetNode": "link to what its SetNode of the same name gets",
    "SetNode": "link to what it gets",
}
_INSTANCE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def editor_only(class_type: str) -> str | None:
    """What to do about a node that exists in the editor only; None for any other class."""
    advice = _EDITOR_ONLY.get(class_type)
    if class_type.startswith(("workflow>", "workflow/")) or _INSTANCE.fullmatch(class_type):
        advice = "put the nodes that it stands for in its place"
    if advice is None:
        return None
    return f"It exists only in ComfyUI's editor: {advice}, or give the workflow as the editor saves it (UI format)."


def with_fixes(findings: list[Finding], prompt: Prompt, node_classes: NodeClasses) -> list[Finding]:
    """The same findings, each with its fix where one is known. A fix is advice: no value is ever replaced."""
    mender = _Mender(prompt, node_classes)
    return [replace(finding, fix=fix) if (fix := mender.fix(finding)) is not None else finding for finding in findings]


class _Mender:
    """The fixes for one prompt; what several findings need is worked out once."""

    def __init__(self, prompt: Prompt, node_classes: NodeClasses) -> None:
        self._prompt = prompt
        self._node_classes = node_classes
        self._class_fixes: dict[str, str] = {}
        self._class_givers: dict[str, list[str]] = {}
        self._waiting: dict[str | None, set[str]] = {}

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
            case "exception_during_validation" if finding.input is None:
                return 'Give the node an "inputs" object, empty if it has none.'
        return self._fix_input(finding, spec) if spec is not None else None

    def _fix_input(self, finding: Finding, spec: InputSpec) -> str | None:
        if finding.code == "custom_validation_failed" or spec.is_upload:
            return _fix_file(finding.received, spec) if spec.is_combo or spec.is_upload else f"Give {_describe(spec)}."
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
        if node_class is None or finding.input is None:
            return None
        if finding.input in node_class.inputs or not node_class.has_dynamic_inputs:
            return node_class.inputs.get(finding.input)
        node = self._prompt.get(finding.node_id or "")
        given = node.get("inputs") if isinstance(node, dict) else None
        specs = expanded(node_class.inputs.values(), given if isinstance(given, dict) else {})
        return next((spec for spec in specs if spec.name == finding.input), None)

    def _fix_class(self, name: str) -> str:
        if name not in self._class_fixes:
            compared = len(self._class_fixes) < NAMES_COMPARED
            near = closest_classes(name, self._node_classes) if compared else []
            self._class_fixes[name] = editor_only(name) or (
                f"Did you mean {listed(near)}? If it belongs to a node pack, install that pack and restart ComfyUI."
                if near
                else "Install the node pack that has it and restart ComfyUI, or use another node class."
            )
        return self._class_fixes[name]

    def _fix_link(self, finding: Finding, spec: InputSpec) -> str:
        fitting = [output for output in self._givers if types_match(output, spec)]
        waiting = self._waiting_for(finding.node_id)
        givers = [giver for output in fitting for node_id, giver in self._givers[output] if node_id not in waiting]
        if givers:
            return f"Link an output of type {spec.type}: {', '.join(givers[:SHOWN])}."
        classes = self._classes_giving(spec)
        return (
            f"Nothing in this prompt gives {spec.type}: add {' or '.join(classes) or 'a node that does'}, and link it."
        )

    def _waiting_for(self, node_id: str | None) -> set[str]:
        """A node and all that depend on it: a link to one of these would make a circle."""
        if node_id not in self._waiting:
            known = len(self._waiting) < WALKS
            self._waiting[node_id] = downstream(self._prompt, [node_id]) if known else {node_id or ""}
        return self._waiting[node_id]

    def _classes_giving(self, spec: InputSpec) -> list[str]:
        """A few classes that have an output for an input, the usual ones first."""
        if spec.type not in self._class_givers:
            found = [name for name in _USUAL_GIVERS.get(spec.type, ()) if name in self._node_classes]
            for class_type in islice(self._node_classes, CLASSES_SEARCHED) if not found else ():
                node_class = self._node_classes.get(class_type)
                if node_class is not None and spec.type in node_class.outputs:
                    found.append(class_type)
                if len(found) == CLASSES_NAMED:
                    break
            self._class_givers[spec.type] = found
        return self._class_givers[spec.type]

    @cached_property
    def _givers(self) -> dict[str, list[tuple[str, str]]]:
        """By type, the first nodes of the prompt that give it: (node id, the link and the class)."""
        found: dict[str, list[tuple[str, str]]] = {}
        for node_id, node in self._prompt.items():
            node_class = self._node_classes.get(str(node.get("class_type"))) if isinstance(node, dict) else None
            if node_class is None:
                continue
            for slot, output in enumerate(node_class.outputs):
                # Lists of values are not looked for. One more than is shown: no node is told to link to itself.
                if isinstance(output, str) and len(found.setdefault(output, [])) <= SHOWN:
                    found[output].append((node_id, f'["{node_id}", {slot}] ({node_class.class_type})'))
        return found


def _is_widget(spec: InputSpec) -> bool:
    return spec.is_combo or spec.type in ("INT", "FLOAT", "STRING", "BOOLEAN", DYNAMIC_COMBO)


def options_of(spec: InputSpec) -> list[str]:
    """What a combo takes, dynamic ones included."""
    options = choices_of(spec) if spec.type == DYNAMIC_COMBO else spec.options or ()
    return [str(option) for option in options]


def _fix_option(received: Any, spec: InputSpec) -> str:
    options = options_of(spec)
    if not options:
        return (
            "Nothing is installed for this input: add a file to its folder, then check_status(refresh_inventory=true)."
        )
    near = closest(str(received), options)
    if near:
        return f"Closest: {listed(near)}."
    default = spec.config.get("default")
    usual = f" Default: '{default}'." if default in options else ""
    return f"Options: {first_of(options)}.{usual}"


def _fix_file(received: Any, spec: InputSpec) -> str:
    near = closest(str(received), options_of(spec), 2) if isinstance(received, str) and received else []
    there = f" Closest there: {listed(near)}." if near else ""
    return f"Bring the file with upload_image and give the value that it returns.{there}"


def _describe(spec: InputSpec) -> str:
    """What an input takes, e.g. "a whole number from 1 to 10000, default 20"."""
    if spec.is_combo or spec.type == DYNAMIC_COMBO:
        options = options_of(spec)
        return f"one of {first_of(options)}" if options else "a value of this list (it is empty here)"
    words = {"INT": "a whole number", "FLOAT": "a number", "STRING": "a text", "BOOLEAN": "true or false"}
    text = words.get(spec.type, f"a value of type {spec.type}")
    low, high = spec.config.get("min"), spec.config.get("max")
    if low is not None and high is not None:
        text += f" from {low} to {high}"
    if (default := spec.config.get("default")) is not None and default != "":
        text += f", default {default}"
    return text
