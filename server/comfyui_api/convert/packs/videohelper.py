"""VideoHelperSuite: values saved by name, and the further values of each video format.

Source of the rules: ComfyUI-VideoHelperSuite, web/js/VHS.core.js, of 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyui_api.convert.layout import CONTROLS, add_input
from comfyui_api.convert.live import Node, Widget
from comfyui_api.convert.saved import SavedNode
from comfyui_api.node_class import NodeClass, parse_input

VIRTUAL_TYPES = frozenset({"VHS_SelectLatest"})
_PREFIX = "VHS_"
_COMBINE = "VHS_VideoCombine"
# The order of the values of files from before they were saved by name.
_VIDEO = ["video", "force_rate", "force_size", "frame_load_cap", "skip_first_frames", "select_every_nth"]
_ORDERS: dict[str, list[str]] = {
    _COMBINE: ["frame_rate", "loop_count", "filename_prefix", "format", "pingpong", "save_image"],
    "VHS_LoadVideo": _VIDEO,
    "VHS_LoadVideoPath": _VIDEO,
    "VHS_LoadImages": ["directory", "", "image_load_cap", "skip_first_images", "select_every_nth"],
    "VHS_LoadImagesPath": ["directory", "image_load_cap", "skip_first_images", "select_every_nth"],
}


def restore(node: Node, saved: SavedNode) -> bool:
    """Put the file's values into a node of the pack, by name. False for nodes of other packs."""
    if not node.type.startswith(_PREFIX) or node.node_class is None:
        return False
    saved.inputs = [slot._replace(name="meta_batch") if slot.name == "batch_manager" else slot for slot in saved.inputs]
    values = _named(node.type, saved)
    if values is None:
        return False
    _rename(values)
    if node.type == _COMBINE:
        _add_format_inputs(node, node.node_class, values)
    for widget in node.widgets:
        if widget.in_file and widget.name in values:
            container, key = values[widget.name]
            widget.put(container[key])
            widget.homes, widget.restored = ((container, key),), True
        elif widget.kind != "control":
            widget.restored = True  # what the file lacks is newer than it: the class's default is meant
    return True


def _named(type_name: str, saved: SavedNode) -> dict[str, tuple[Any, Any]] | None:
    """Where the file has each value."""
    if saved.named_values is not None and not saved.values:
        return {name: (saved.named_values, name) for name in saved.named_values}
    order = _ORDERS.get(type_name)
    if order is None or any(value in CONTROLS for value in saved.values if isinstance(value, str)):
        return None
    return {name: (saved.values, place) for place, name in enumerate(order) if name and place < len(saved.values)}


def _rename(values: dict[str, tuple[Any, Any]]) -> None:
    """Values under their names of today."""
    if "save_image" in values:
        values.setdefault("save_output", values["save_image"])
    if "force_size" in values and "custom_width" not in values:
        container, key = values["force_size"]
        width, height = _size(container[key])
        sizes = {"custom_width": width, "custom_height": height}
        values.update({name: (sizes, name) for name in sizes})


def _size(force_size: Any) -> tuple[int, int]:
    """ "512x?" and its kin as width and height, 0 for one that follows from the other."""
    width, _, height = force_size.partition("x") if isinstance(force_size, str) else ("", "", "")
    return (int(width) if width.isdecimal() else 0, int(height) if height.isdecimal() else 0)


def _add_format_inputs(node: Node, node_class: NodeClass, values: Mapping[str, tuple[Any, Any]]) -> None:
    """The inputs that a video format has of its own stand right after it."""
    format_widget = node.widget("format")
    spec = node_class.inputs.get("format")
    formats = spec.config.get("formats") if spec is not None else None
    if format_widget is None or not isinstance(formats, Mapping) or "format" not in values:
        return
    container, key = values["format"]
    listed = formats.get(container[key]) if isinstance(container[key], str) else None
    before = len(node.widgets)
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, list) and len(entry) >= 2 and isinstance(entry[0], str):
            parsed = parse_input(entry[0], entry[1:], required=True)
            if parsed is not None and node.widget(entry[0]) is None:
                add_input(node, parsed)
    added: list[Widget] = node.widgets[before:]
    del node.widgets[before:]
    at = node.widgets.index(format_widget) + 1
    node.widgets[at:at] = added
