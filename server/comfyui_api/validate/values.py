"""Values written into a prompt: conversions, ranges, options, and the choices of dynamic combos."""

from __future__ import annotations

from typing import Any

from comfyui_api.dynamic_inputs import DYNAMIC_COMBO, choices_of
from comfyui_api.node_class import InputSpec
from comfyui_api.validate.faults import ACCEPTED, RUN_FAILS, Fault, short, shown

# What only a node can make: no value that could be written into a prompt stands for these.
_LINK_ONLY = frozenset(
    {"AUDIO", "CLIP", "CLIP_VISION", "CLIP_VISION_OUTPUT", "CONDITIONING", "CONTROL_NET", "GUIDER", "IMAGE", "LATENT"}
    | {"MASK", "MODEL", "NOISE", "SAMPLER", "SIGMAS", "STYLE_MODEL", "UPSCALE_MODEL", "VAE", "VIDEO"}
)
_CONVERSIONS: dict[str, Any] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
_ARTICLES = {"INT": "a whole number", "FLOAT": "a number", "STRING": "a text", "BOOLEAN": "true or false"}


def check_value(value: Any, spec: InputSpec, *, own_check: bool = False) -> Fault | None:
    """The rules of validate_inputs for a value; without list and range where the class checks it itself.

    What ComfyUI 0.3.75 accepts and then fails over is a fault as well: options of V3 combos, and plain values where
    only a link can work.
    """
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if (convert := _CONVERSIONS.get(spec.type)) is not None:
        try:
            value = convert(value)
        except (TypeError, ValueError, OverflowError):
            return Fault("invalid_input_type", f"'{spec.name}' takes {_ARTICLES[spec.type]}, not {shown(value)}.")
    if spec.type in _LINK_ONLY and (spec.required or value is not None):
        wanted = f"'{spec.name}' takes a link to {spec.type}, not {shown(value)}."
        return Fault("invalid_input_type", f"{wanted} {ACCEPTED}")
    if own_check:
        return None
    return _check_range(value, spec) or (_check_option(value, spec) if spec.is_combo else None)


def _check_range(value: Any, spec: InputSpec) -> Fault | None:
    low, high = spec.config.get("min"), spec.config.get("max")
    try:
        if low is not None and value < low:
            return Fault("value_smaller_than_min", f"'{spec.name}' is {short(value)}, below its minimum of {low}.")
        if high is not None and value > high:
            return Fault("value_bigger_than_max", f"'{spec.name}' is {short(value)}, above its maximum of {high}.")
    except TypeError:  # of a type that is not converted
        return Fault("exception_during_validation", f"'{spec.name}' takes a number, not {shown(value)}.")
    return None


def _check_option(value: Any, spec: InputSpec) -> Fault | None:
    if spec.options is None:
        return None  # the server's own
    several = bool(spec.config.get("multiselect")) and isinstance(value, list)
    wrong = [one for one in (value if several else [value]) if one not in spec.options]
    if not wrong:
        return None
    unchecked = "" if spec.legacy_combo else f" Older servers (0.3.75) accept it; then {RUN_FAILS}."
    none_of = _none_of(len(spec.options))
    return Fault("value_not_in_list", f"'{spec.name}' is {shown(wrong[0])}, {none_of}.{unchecked}")


def check_choice(value: Any, spec: InputSpec) -> Fault | None:
    """A dynamic combo: servers up to 0.33 leave it out where its value is no key, with all that stands below it."""
    assert spec.type == DYNAMIC_COMBO
    keys = choices_of(spec)
    if not keys or (isinstance(value, str) and value in keys):
        return None
    given = "a link" if isinstance(value, list) else shown(value)
    return Fault("value_not_in_list", f"'{spec.name}' is {given}, {_none_of(len(keys))}. {ACCEPTED}")


def _none_of(count: int) -> str:
    """What a value is not."""
    if count == 0:
        return "and there is nothing to choose from"
    return "which is not its only option" if count == 1 else f"which is none of its {count} options"
