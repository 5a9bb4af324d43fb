"""Inputs of ComfyUI's own classes that the class judges itself (VALIDATE_INPUTS), in place of list and range.

/object_info does not show it. Read off ComfyUI 0.3.75 and the verdicts of 0.33.0; what is known of the packs' classes
stands in pack_checks.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from comfyui_api.node_class import InputSpec, NodeClass, OutputType
from comfyui_api.validate.faults import ACCEPTED, Fault, shown
from comfyui_api.validate.pack_checks import gives_as_well, judges_itself, looks_for_file, takes_link

# Loaders whose files are not marked as uploads.
_FILES: dict[str, frozenset[str]] = {"LoadLatent": frozenset({"latent"})}
PREFIX = "filename_prefix"
_CAMERA = ("horizontal_movement", "vertical_movement", "pan", "tilt", "roll", "zoom")
# By class, the inputs for which neither list nor range counts.
_FREE: dict[str, frozenset[str]] = {
    "CustomCombo": frozenset({"choice", "index"}),
    "FluxProUltraImageNode": frozenset({"aspect_ratio"}),
    "KlingCameraControls": frozenset(_CAMERA),
}
_RATIO = re.compile(r"\s*\+?(\d+)\s*:\s*\+?(\d+)\s*")
_NARROWEST, _WIDEST = 1 / 4, 4 / 1


def is_file(class_type: str, name: str) -> bool:
    """Whether this input names a file that the class looks for."""
    return name in _FILES.get(class_type, ()) or looks_for_file(class_type, name)


def is_free(class_type: str, name: str) -> bool:
    """Whether neither list nor range counts for this input."""
    return name in _FREE.get(class_type, ()) or judges_itself(class_type, name)


def fits(taker: NodeClass, spec: InputSpec, source: NodeClass, slot: int, received: OutputType) -> bool:
    """Whether a link fits by a rule of the classes' own, though the declared types do not."""
    if not isinstance(received, str):
        return takes_link(taker.class_type, spec.name, "COMBO", from_v3=source.is_v3)
    taken = takes_link(taker.class_type, spec.name, received, from_v3=source.is_v3)
    return taken or spec.type in gives_as_well(source.class_type, slot)


def check_prefix(value: Any, spec: InputSpec, node_class: NodeClass) -> Fault | None:
    """Where a saving node of ComfyUI's own would write (folder_paths.py, get_save_image_path)."""
    if spec.name != PREFIX or not node_class.is_core or not isinstance(value, str):
        return None
    path = posixpath.normpath(value)  # backslashes are letters like others on most servers
    if path.startswith(("../", "/")) or path == "..":
        reason = f"'{spec.name}' is {shown(value)}, which leads out of the output folder."
        return Fault("invalid_input_type", f"{reason} {ACCEPTED}")
    return None


def check_own(class_type: str, name: str, inputs: Mapping[str, Any]) -> Fault | None:
    """What the class's own check says of one of its free inputs."""
    value = inputs[name]
    if class_type == "FluxProUltraImageNode":
        ratio = _RATIO.fullmatch(str(value))
        parts = [int(part) for part in ratio.groups()] if ratio else [0, 0]
        if not all(parts) or not _NARROWEST <= parts[0] / parts[1] <= _WIDEST:
            message = f"'{name}' is {shown(value)}; it takes a ratio from 1:4 to 4:1, such as 16:9."
            return Fault("custom_validation_failed", message)
    if class_type == "KlingCameraControls" and name == _CAMERA[0]:
        moves = [inputs.get(each) for each in _CAMERA]
        if all(isinstance(move, int | float) and math.isclose(move, 0.0) for move in moves):
            return Fault("custom_validation_failed", "One of the camera's movements must differ from 0.")
    return None
