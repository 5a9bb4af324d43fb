"""Inputs that appear by what a prompt gives: dynamic combos, groups that grow, slots and rows, with dotted names.

Source of the rules: comfy_api/latest/_io.py of recent servers (DynamicCombo, Autogrow, DynamicSlot), checked against
the verdicts of ComfyUI 0.33.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from comfyui_api.node_class import InputSpec, parse_input

AUTOGROW, MATCH_TYPE = "COMFY_AUTOGROW_V3", "COMFY_MATCHTYPE_V3"
DYNAMIC_COMBO, DYNAMIC_SLOT = "COMFY_DYNAMICCOMBO_V3", "COMFY_DYNAMICSLOT_V3"
DYNAMIC_GROUP = "COMFY_DYNAMICGROUP_V3"
GROUP_LIMIT = 1000  # numbers in a group that grows
_DEPTH_LIMIT = 20


def declared_inputs(raw: Any) -> list[InputSpec]:
    """The inputs in {"required": {name: description}, "optional": …}."""
    groups = _mapping(raw)
    return [
        spec
        for group in ("required", "optional")
        for name, description in _mapping(groups.get(group)).items()
        if (spec := parse_input(name, description, required=group == "required")) is not None
    ]


def choices_of(spec: InputSpec) -> dict[str, Any]:
    """The options of a dynamic combo: {key: the inputs that it brings, as /object_info has them}."""
    listed = spec.config.get("options")
    return {
        option["key"]: option.get("inputs")
        for option in (listed if isinstance(listed, list) else ())
        if isinstance(option, dict) and isinstance(option.get("key"), str)
    }


def expanded(specs: Iterable[InputSpec], given: Mapping[str, Any]) -> Iterator[InputSpec]:
    """The inputs that a node really has with these values given, under their whole names.

    A dynamic combo comes first itself, then the inputs of the option that was chosen; of a group that grows come those
    that must be there and those that are given.
    """
    return _expanded(specs, given, "", 0)


def _expanded(specs: Iterable[InputSpec], given: Mapping[str, Any], prefix: str, depth: int) -> Iterator[InputSpec]:
    for spec in specs:
        own = replace(spec, name=prefix + spec.name) if prefix else spec
        below = f"{own.name}."
        if not spec.type.startswith("COMFY_") or depth > _DEPTH_LIMIT:
            yield own
        elif spec.type == DYNAMIC_COMBO:
            yield own
            chosen = given.get(own.name)
            if isinstance(chosen, str) and (inputs := choices_of(spec).get(chosen)) is not None:
                yield from _expanded(declared_inputs(inputs), given, below, depth + 1)
        elif spec.type == AUTOGROW:
            yield from _expanded(_grown(spec, given, below), given, below, depth + 1)
        elif spec.type == DYNAMIC_SLOT:
            yield replace(own, type=str(spec.config.get("slotType") or "*"))
            if own.name in given:
                yield from _expanded(declared_inputs(spec.config.get("inputs")), given, below, depth + 1)
        else:
            yield own


def _grown(spec: InputSpec, given: Mapping[str, Any], below: str) -> Iterator[InputSpec]:
    """The inputs of a group under their own names. As on the server, the first of the template is what is repeated."""
    template = _mapping(spec.config.get("template"))
    first = next(iter(declared_inputs(template.get("input"))), None)
    if first is None:
        return
    names, prefix, low = template.get("names"), template.get("prefix"), template.get("min")
    low = low if isinstance(low, int) and first.required else 0
    if isinstance(names, list):
        listed = [str(name) for name in names[:GROUP_LIMIT]]
    else:
        prefix = prefix if isinstance(prefix, str) else ""
        high = template.get("max")
        high = min(high, GROUP_LIMIT) if isinstance(high, int) else GROUP_LIMIT
        listed = [f"{prefix}{number}" for number in range(high)]
    for place, name in enumerate(listed):
        if place < low or below + name in given:
            yield replace(first, name=name, required=place < low)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
