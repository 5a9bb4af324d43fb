"""Which inputs and widgets the editor gives a node of a class, in its order.

Source of the rules: the web frontend 1.58.1, litegraphService (addInputs), its widget constructors, dynamicWidgets,
and the extensions of its own that add widgets to some classes.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from comfyui_api.convert.live import Autogrow, Input, Node, Widget, WidgetKind
from comfyui_api.node_class import InputSpec, NodeClass, NodeClasses, parse_input

CONTROLS = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
AUTOGROW, MATCH_TYPE = "COMFY_AUTOGROW_V3", "COMFY_MATCHTYPE_V3"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
CUSTOM_COMBO = "CustomCombo"  # its options are written into the node itself

# Types whose input is a widget that holds one value; what the editor takes where nothing is declared.
_PLAIN: dict[str, Any] = {
    "COLOR": "#000000",
    "CHART": {},
    "GALLERIA": [],
    "PAINTER": None,
    "COMPOSITOR": {},
    "TEXTAREA": "",
    "CURVE": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"},
    "RANGE": {"min": 0.0, "max": 1.0},
    "VIDEO_EDIT": {
        "trim": {"start_time": 0, "duration": 0},
        "crop": {"x": 0, "y": 0, "width": 0, "height": 0},
    },
    "BOUNDING_BOXES": [],
    "LIGHT_INFO_PREVIEW": [],
    "COLORS": [],
}
_NUMBERS = ("INT", "FLOAT")
# Types whose widgets are buttons, views and recorders: (name, takes a place in widgets_values, is sent).
_EDITOR_WIDGETS: dict[str, list[tuple[str, bool, bool]]] = {
    "IMAGEUPLOAD": [("", True, False)],
    "AUDIOUPLOAD": [("", True, False)],
    "AUDIO_UI": [("", False, False)],
    "AUDIO_RECORD": [("", True, True), ("audiorecord", True, False)],
    "WEBCAM": [("", True, True)],
    "LOAD_3D": [
        ("upload 3d model", True, False),
        ("upload extra resources", True, False),
        ("clear", True, False),
        ("image", True, True),
    ],
    "LOAD_3D_ADVANCED": [("viewport_state", True, True)],
    "PREVIEW_3D": [("image", True, False)],
    "CAMERA_INFO_STATE": [("camera_info_state", False, False)],
    "CAMERA_ANGLE_VIEW": [("camera_angle_view", True, False)],
    "RESOLUTION_PREVIEW": [("", False, False)],
}
WIDGET_TYPES = frozenset(
    {*_NUMBERS, "BOOLEAN", "STRING", "MARKDOWN", "COMBO", "BOUNDING_BOX", "IMAGECOMPARE", DYNAMIC_COMBO}
    | set(_PLAIN)
    | set(_EDITOR_WIDGETS)
)

# Widgets that the editor's own extensions add to some classes: (class, input name, type), after all declared ones.
_AUDIO_PLAYERS = ("LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced")
_VIEWERS_3D = (
    "SaveGLB",
    "Preview3D",
    "Preview3DAnimation",
    "PreviewGaussianSplat",
    "PreviewPointCloud",
    "Save3DAdvanced",
    "SaveGaussianSplat",
    "SavePointCloud",
)


class Layouts:
    """The classes that a workflow is converted with, each one's inputs put in the editor's order once."""

    def __init__(self, node_classes: NodeClasses) -> None:
        self._node_classes = node_classes
        self._specs: dict[str, list[InputSpec]] = {}

    def node_class(self, class_type: str) -> NodeClass | None:
        return self._node_classes.get(class_type)

    def specs(self, node_class: NodeClass) -> list[InputSpec]:
        """The inputs that the editor builds: those declared, then those that its extensions add."""
        known = self._specs.get(node_class.class_type)
        if known is None:
            declared = list(node_class.inputs.values())
            known = self._specs[node_class.class_type] = declared + list(_added_inputs(node_class))
        return known


def _added_inputs(node_class: NodeClass) -> Iterator[InputSpec]:
    required = [spec for spec in node_class.inputs.values() if spec.required]
    if node_class.class_type in _AUDIO_PLAYERS:
        yield InputSpec("audioUI", "AUDIO_UI", required=True)
    uploads = ("image_upload", "video_upload", "animated_image_upload")
    audio = node_class.inputs.get("audio")
    if "upload" in node_class.inputs:
        pass  # a group node's own
    elif any(spec.is_combo and any(spec.config.get(flag) is True for flag in uploads) for spec in required):
        yield InputSpec("upload", "IMAGEUPLOAD", required=True)
    elif audio is not None and audio.required and audio.config.get("audio_upload") is True:
        yield InputSpec("upload", "AUDIOUPLOAD", required=True)
    if node_class.class_type in _VIEWERS_3D and "image" not in node_class.inputs:
        yield InputSpec("image", "PREVIEW_3D", required=True)
    if node_class.class_type == "Load3DAdvanced" and "viewport_state" not in node_class.inputs:
        yield InputSpec("viewport_state", "LOAD_3D_ADVANCED", required=True)


def widget_type(spec: InputSpec) -> str | None:
    """The type of the widget that an input is shown as; None for one that only takes links."""
    named = spec.config.get("widgetType")
    kind = named if isinstance(named, str) else spec.type
    return kind if kind in WIDGET_TYPES and not spec.config.get("forceInput") else None


def lay_out(node: Node, node_class: NodeClass, specs: list[InputSpec]) -> None:
    """Give a node the inputs, widgets and outputs of its class, with their defaults."""
    node.node_class = node_class
    for spec in specs:
        _add_socket(node, spec)
    for spec in specs:
        _add_widget(node, spec)
    if node_class.class_type == "WebcamCapture":
        node.widgets.append(Widget("waiting for camera...", "editor", None, in_prompt=False))
    if node_class.class_type == CUSTOM_COMBO:
        node.widgets.append(Widget("index", "control", 0, in_prompt=False))
        add_option(node)
    node.outputs = [_output_type(declared) for declared in node_class.outputs]


def add_option(node: Node) -> None:
    """Add the next of the options that a CustomCombo lets its user write."""
    node.widgets.append(Widget(f"option{len(node.widgets) - 1}", "option", ""))


def _output_type(declared: Any) -> str:
    if not isinstance(declared, str):
        return "COMBO"
    return "*" if declared == MATCH_TYPE else declared


def add_input(node: Node, spec: InputSpec) -> None:
    """Add an input of its own: the link's end where it is none but that, and the widget where it has one."""
    _add_socket(node, spec)
    _add_widget(node, spec)


def _add_socket(node: Node, spec: InputSpec) -> None:
    if widget_type(spec) is not None:
        return
    if spec.type == AUTOGROW and (group := _autogrow(spec)) is not None:
        if node.autogrow is None:
            node.autogrow = {}
        node.autogrow[spec.name] = group
        for ordinal in range(max(1, group.low + 1)):
            grow(node, spec.name, ordinal)
    elif spec.type == MATCH_TYPE:
        template = _mapping(spec.config.get("template"))
        allowed, group_id = template.get("allowed_types"), template.get("template_id")
        add_input(node, _retyped(spec, allowed if isinstance(allowed, str) else "*"))
        if isinstance(group_id, str) and node.node_class is not None:
            _match(node, group_id, spec.name)
    else:
        node.inputs.append(Input(spec.name, spec.type))


def _match(node: Node, group_id: str, input_name: str) -> None:
    """Remember that the outputs of a match group have the type of what is linked to its inputs."""
    matched = node.node_class.output_matchtypes if node.node_class is not None else ()
    for slot, named in enumerate(matched):
        if named == group_id:
            if node.match_outputs is None:
                node.match_outputs = {}
            node.match_outputs.setdefault(slot, []).append(input_name)


def _retyped(spec: InputSpec, type_name: str) -> InputSpec:
    return InputSpec(spec.name, type_name, spec.required, config=spec.config)


def _add_widget(node: Node, spec: InputSpec) -> None:
    kind = widget_type(spec)
    if kind is None:
        return
    built = _widgets(spec, kind)
    node.widgets += built
    if kind not in ("AUDIO_UI", "IMAGECOMPARE", "RESOLUTION_PREVIEW"):
        node.inputs.append(Input(spec.name, spec.type, spec.name))
    if kind == DYNAMIC_COMBO:
        choose(node, built[0], built[0].value)


def _widgets(spec: InputSpec, kind: str) -> list[Widget]:
    config = spec.config
    if kind in _NUMBERS:
        default = config.get("default")
        number = Widget(spec.name, "number", 0 if default is None else default, spec)
        return [number, *_controls(spec, in_default=kind == "INT" and spec.name in ("seed", "noise_seed"))]
    if kind == "BOOLEAN":
        default = config.get("default")
        return [Widget(spec.name, "toggle", False if default is None else default, spec)]
    if kind in ("STRING", "MARKDOWN"):
        return [_text(spec, multiline=kind == "MARKDOWN" or bool(config.get("multiline")))]
    if kind == "COMBO":
        return _combo(spec)
    if kind == DYNAMIC_COMBO:
        return [Widget(spec.name, "dynamic_combo", next(iter(_options(spec)), None), spec)]
    if kind == "IMAGECOMPARE":
        return [Widget(spec.name, "other", ["", ""], spec, in_file=False)]
    if kind == "BOUNDING_BOX":
        box = config.get("default") or {"x": 0, "y": 0, "width": 512, "height": 512}
        sides = [Widget(side, "control", None, in_prompt=False) for side in ("x", "y", "width", "height")]
        return [Widget(spec.name, "other", copy.deepcopy(box), spec), *sides]
    if kind in _EDITOR_WIDGETS:
        return [
            Widget(name or spec.name, "editor", None, spec, in_file=in_file, in_prompt=in_prompt)
            for name, in_file, in_prompt in _EDITOR_WIDGETS[kind]
        ]
    default = config.get("default")
    value = copy.deepcopy(_PLAIN[kind] if default is None else default)
    return [Widget(spec.name, "curve" if kind == "CURVE" else "other", value, spec)]


def _text(spec: InputSpec, *, multiline: bool) -> Widget:
    default = spec.config.get("default")
    widget = Widget(spec.name, "multiline" if multiline else "text", "", spec)
    widget.put("" if default is None else default)
    return widget


def _combo(spec: InputSpec) -> list[Widget]:
    """A combo, and the widgets that come with one whose options are fetched or that counts through them."""
    config = spec.config
    if config.get("multi_select"):
        return [Widget(spec.name, "other", [], spec), *_controls(spec, filtered=True)]
    default: Any = config.get("default") or next(iter(spec.options or ()), None)
    remote = config.get("remote")
    if remote and not default:
        default = "Loading..."
    built = [Widget(spec.name, "combo", default, spec)]
    if remote:
        built.append(Widget("Auto-refresh after generation", "control", None, in_prompt=False))
        if isinstance(remote, Mapping) and remote.get("refresh_button"):
            built.append(Widget("refresh", "control", "refresh", in_prompt=False))
    return built + _controls(spec, filtered=True)


def _controls(spec: InputSpec, *, in_default: bool = False, filtered: bool = False) -> list[Widget]:
    """The widgets beside a value that changes after each run; they take places in widgets_values."""
    wanted = spec.config.get("control_after_generate")
    if not (in_default if wanted is None else wanted):
        return []
    mode = wanted if isinstance(wanted, str) and wanted in CONTROLS else "randomize"
    built = [Widget("control_after_generate", "control", mode, in_prompt=False)]
    if filtered:
        built.append(Widget("control_filter_list", "control", "", in_prompt=False))
    return built


# -- dynamic combos: the value decides which inputs follow


def choose(node: Node, combo: Widget, value: Any) -> None:
    """Set a dynamic combo, and put the inputs of that option in the place of the former one's."""
    combo.value = value
    prefix = f"{combo.name}."
    node.widgets = [widget for widget in node.widgets if not widget.name.startswith(prefix)]
    node.inputs = [slot for slot in node.inputs if not slot.name.startswith(prefix)]
    option = _options(combo.spec).get(value) if combo.spec is not None and isinstance(value, str) else None
    if option is None:
        return
    widgets, inputs = len(node.widgets), len(node.inputs)
    for group in ("required", "optional"):
        for name, raw in _mapping(option.get(group)).items():
            spec = parse_input(f"{combo.name}.{name}", raw, required=group == "required")
            if spec is not None:
                add_input(node, spec)
    added, new_inputs = node.widgets[widgets:], node.inputs[inputs:]
    del node.widgets[widgets:], node.inputs[inputs:]
    at = node.widgets.index(combo) + 1
    node.widgets[at:at] = added
    own = next((place for place, slot in enumerate(node.inputs) if slot.name == combo.name), len(node.inputs) - 1)
    node.inputs[own + 1 : own + 1] = new_inputs


def _options(spec: InputSpec | None) -> dict[str, Mapping[str, Any]]:
    listed = spec.config.get("options") if spec is not None else None
    return {
        option["key"]: _mapping(option.get("inputs"))
        for option in (listed if isinstance(listed, list) else ())
        if isinstance(option, dict) and isinstance(option.get("key"), str)
    }


# -- groups that grow with what is linked to them


def _autogrow(spec: InputSpec) -> Autogrow | None:
    template = _mapping(spec.config.get("template"))
    declared = _mapping(template.get("input"))
    specs = [
        parsed
        for group in ("required", "optional")
        for name, raw in _mapping(declared.get(group)).items()
        if (parsed := parse_input(name, raw, required=group == "required")) is not None
    ]
    if not specs:
        return None
    names = template.get("names")
    names = [str(name) for name in names] if isinstance(names, list) else None
    low, high = template.get("min", 1), template.get("max", 100)
    prefix = template.get("prefix")
    return Autogrow(
        specs,
        names,
        prefix if isinstance(prefix, str) else "",
        low if isinstance(low, int) else 1,
        len(names) if names else (high if isinstance(high, int) else 100),
    )


def grow(node: Node, group_name: str, ordinal: int) -> None:
    """Add the group's inputs of one number, unless they are there or the group is full."""
    group = (node.autogrow or {})[group_name]
    if ordinal >= min(group.high, 1000):
        return
    for spec in group.specs:
        if group.names:
            base = group.names[ordinal]
        else:
            base = (group.prefix if len(group.specs) == 1 else spec.name) + str(ordinal)
        name = f"{group_name}.{base}"
        if node.input(name) is None:
            add_input(node, InputSpec(name, spec.type, spec.required, spec.options, spec.legacy_combo, spec.config))


def grow_to(node: Node, name: str) -> bool:
    """Grow the group that an input belongs to by its name until it is there, and one more. False if it is in none."""
    for group_name, group in (node.autogrow or {}).items():
        if not name.startswith(f"{group_name}."):
            continue
        base = name[len(group_name) + 1 :]
        if group.names:
            ordinal = group.names.index(base) if base in group.names else None
        else:
            digits = re.search(r"\d{1,4}$", base)
            ordinal = int(digits[0]) if digits else None
        if ordinal is None:
            continue
        for number in range(min(ordinal, group.high) + 2):
            grow(node, group_name, number)
        return True
    return False


# -- numbers as the editor rounds them when it sets a widget from elsewhere


def rounded(spec: InputSpec | None, value: Any) -> Any:
    """A number put into a widget by a primitive: integers to their step, floats to their precision (onValueChange)."""
    if spec is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    kind, config = widget_type(spec), spec.config
    if kind == "INT":
        step = _positive(config.get("step"), 1)
        if step == 1:
            return value if isinstance(value, int) else math.floor(value + 0.5)
        low = config.get("min")
        offset = math.fmod(low, step) if isinstance(low, int | float) else 0
        result = math.floor((value - offset) / step + 0.5) * step + offset
        return int(result) if float(result).is_integer() else result
    if kind == "FLOAT":
        return _rounded_float(config, value)
    return value


def _rounded_float(config: Mapping[str, Any], value: float) -> float:
    precision = max(0, -math.floor(math.log10(_positive(config.get("step"), 0.5))))
    unit = config.get("round") or (10**-precision if precision else None)
    if not isinstance(unit, int | float) or isinstance(unit, bool) or unit <= 0:
        return value
    result = round(math.floor(value / unit + 0.5) * unit, precision)
    low, high = config.get("min", 0), config.get("max", 2048)
    low = low if isinstance(low, int | float) else -math.inf
    high = high if isinstance(high, int | float) else math.inf
    return min(max(result, low), high)


def _positive(value: Any, otherwise: float) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return value if usable else otherwise


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def control_values(kind: WidgetKind, value: Any) -> bool:
    """Whether a value may stand where control_after_generate stands."""
    return kind != "control" or value is None or isinstance(value, bool) or value in CONTROLS or value == ""
