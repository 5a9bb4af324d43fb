"""Which inputs and widgets the editor gives a node of a class, in its order.

Source of the rules: the web frontend 1.58.1, litegraphService (addInputs), its widget constructors, dynamicWidgets,
and the extensions of its own that add widgets to some classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from comfyui_api.convert.live import Autogrow, Input, Node, Widget
from comfyui_api.convert.numbers import is_number
from comfyui_api.convert.saved import text_of
from comfyui_api.convert.size import Size
from comfyui_api.dynamic_inputs import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DYNAMIC_GROUP,
    GROUP_LIMIT,
    MATCH_TYPE,
    choices_of,
    declared_inputs,
)
from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.node_class import InputSpec, NodeClass, NodeClasses

CONTROLS = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
CUSTOM_COMBO = "CustomCombo"  # its options are written into the node itself
_INPUTS_LIMIT = 2000  # inputs of a node that grows; groups in groups multiply

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
_BOX = {"x": 0, "y": 0, "width": 512, "height": 512}
_NUMBERS = ("INT", "FLOAT")
# Types whose widgets are buttons, views and recorders: (name, takes a place in widgets_values, is sent).
_EDITOR_WIDGETS: dict[str, list[tuple[str, bool, bool]]] = {
    "IMAGEUPLOAD": [("", True, False)],
    "AUDIOUPLOAD": [("", True, False)],
    "AUDIO_UI": [("", False, False)],
    "AUDIO_RECORD": [("", True, True), ("audiorecord", True, False)],
    "WEBCAM": [("", True, True)],
    "LOAD_3D": [("image", True, True)],
    "LOAD_3D_ADVANCED": [("viewport_state", True, True)],
    "PREVIEW_3D": [("image", True, False)],
    "CAMERA_INFO_STATE": [("camera_info_state", False, False)],
    "CAMERA_ANGLE_VIEW": [("camera_angle_view", True, False)],
    "RESOLUTION_PREVIEW": [("", False, False)],
}
WIDGET_TYPES = frozenset(
    {*_NUMBERS, "BOOLEAN", "STRING", "MARKDOWN", "COMBO", "BOUNDING_BOX", "IMAGECOMPARE", DYNAMIC_COMBO, DYNAMIC_GROUP}
    | set(_PLAIN)
    | set(_EDITOR_WIDGETS)
)

# Widgets that the editor's own extensions add to some classes: (class, input name, type), after all declared ones.
_AUDIO_PLAYERS = ("LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced")
_VIEWERS_3D = ("SaveGLB", "Preview3D")
# In these, what Load3D calls `image` is called so; and the buttons of those that have a model file to choose.
_VIEWPORTS = (
    "Preview3DAdvanced",
    "Save3DAdvanced",
    "PreviewGaussianSplat",
    "PreviewPointCloud",
    "SaveGaussianSplat",
    "SavePointCloud",
)
_MODEL_BUTTONS = ("upload 3d model", "upload extra resources", "clear")
_LOAD_3D_ADVANCED = InputSpec("viewport_state", "LOAD_3D_ADVANCED", required=True)


class Choices(NamedTuple):
    """The options of a combo, ready to be asked; there may be very many. `texts` tells whether any is a text."""

    texts: bool
    values: frozenset[str | float]


class Layouts:
    """The classes that a workflow is converted with, all that they declare read once; and the workflow's size."""

    def __init__(self, node_classes: NodeClasses) -> None:
        self.size = Size()
        self._node_classes = node_classes
        self._specs: dict[str, list[InputSpec]] = {}
        # By the identity of what was read, which is kept so that nothing else can have it.
        self._choices: dict[int, tuple[object, Choices]] = {}
        self._options: dict[int, tuple[object, dict[str, list[InputSpec]]]] = {}
        self._templates: dict[int, tuple[object, list[InputSpec]]] = {}

    def node_class(self, class_type: str) -> NodeClass | None:
        return self._node_classes.get(class_type)

    def specs(self, node_class: NodeClass) -> list[InputSpec]:
        """The inputs that the editor builds: those declared, then those that its extensions add."""
        known = self._specs.get(node_class.class_type)
        if known is None:
            replaced = {"viewport_state": _LOAD_3D_ADVANCED} if node_class.class_type == "Load3DAdvanced" else {}
            declared = list({**node_class.inputs, **replaced}.values())
            known = self._specs[node_class.class_type] = declared + list(_added_inputs(node_class))
        return known

    def choices(self, options: tuple[Any, ...]) -> Choices:
        known = self._choices.get(id(options))
        if known is None:
            values = frozenset(option for option in options if isinstance(option, str | int | float))
            known = options, Choices(any(isinstance(option, str) for option in options), values)
            self._choices[id(options)] = known
        return known[1]

    def options(self, spec: InputSpec) -> dict[str, list[InputSpec]]:
        """The options of a dynamic combo, and the inputs that each brings, under their own names."""
        known = self._options.get(id(spec.config))
        if known is None:
            brought = {key: declared_inputs(inputs) for key, inputs in choices_of(spec).items()}
            known = self._options[id(spec.config)] = spec.config, brought
        return known[1]

    def template(self, spec: InputSpec) -> list[InputSpec]:
        """The inputs that an autogrow group has of each number, under their own names."""
        known = self._templates.get(id(spec.config))
        if known is None:
            template = _mapping(spec.config.get("template"))
            known = self._templates[id(spec.config)] = spec.config, declared_inputs(template.get("input"))
        return known[1]


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


def widget_type(spec: InputSpec) -> str | None:
    """The type of the widget that an input is shown as; None for one that only takes links."""
    named = spec.config.get("widgetType")
    kind = named if isinstance(named, str) else spec.type
    return kind if kind in WIDGET_TYPES and not spec.config.get("forceInput") else None


def lay_out(node: Node, node_class: NodeClass, layouts: Layouts) -> None:
    """Give a node the inputs, widgets and outputs of its class, with their defaults."""
    node.node_class, node.layouts = node_class, layouts
    specs = layouts.specs(node_class)
    layouts.size.grow(1 + len(specs) + len(node_class.outputs))
    kinds = [widget_type(spec) for spec in specs]
    for spec, kind in zip(specs, kinds, strict=True):
        if kind is None:
            _add_socket(node, spec)
    for spec, kind in zip(specs, kinds, strict=True):
        if kind is not None:
            _add_widget(node, spec, kind)
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
    if node.layouts is not None:
        node.layouts.size.grow(1)
    if len(node.inputs) > _INPUTS_LIMIT:
        raise WorkflowUnreadable(f"The inputs of a {node.type} grow beyond {_INPUTS_LIMIT:,}.", "Leave the node out.")
    kind = widget_type(spec)
    if kind is None:
        _add_socket(node, spec)
    else:
        _add_widget(node, spec, kind)


def _add_socket(node: Node, spec: InputSpec) -> None:
    if spec.type == AUTOGROW and (group := _autogrow(node, spec)) is not None:
        if node.autogrow is None:
            node.autogrow = {}
        node.autogrow[spec.name] = group
        _grow(node, spec.name, group, max(1, group.low + 1))
    elif spec.type == MATCH_TYPE:
        template = _mapping(spec.config.get("template"))
        allowed, group_id = template.get("allowed_types"), template.get("template_id")
        add_input(node, replace(spec, type=allowed if isinstance(allowed, str) else "*"))
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


def _add_widget(node: Node, spec: InputSpec, kind: str) -> None:
    built = _widgets(spec, kind)
    if kind == "LOAD_3D":
        built[0].name = "viewport_state" if node.type in _VIEWPORTS else "image"
        if node.widget("model_file") is not None:
            built[:0] = [Widget(button, "editor", None, in_prompt=False) for button in _MODEL_BUTTONS]
    node.widgets += built
    if kind not in ("AUDIO_UI", "IMAGECOMPARE", "RESOLUTION_PREVIEW", DYNAMIC_GROUP):
        node.inputs.append(Input(spec.name, spec.type, spec.name))
    if kind == DYNAMIC_COMBO:
        built[0].value = next(iter(_options(node, built[0])), None)
        _add_chosen(node, built[0])
    elif kind == DYNAMIC_GROUP:
        set_rows(node, built[0], 0)


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
        return [Widget(spec.name, "dynamic_combo", None, spec)]
    if kind == DYNAMIC_GROUP:
        return [Widget(spec.name, "rows", 0, spec, in_prompt=False)]
    if kind == "IMAGECOMPARE":
        return [Widget(spec.name, "other", ["", ""], spec, in_file=False)]
    if kind == "BOUNDING_BOX":
        box = config.get("default") or dict(_BOX)
        sides = [Widget(side, "control", None, in_prompt=False) for side in ("x", "y", "width", "height")]
        return [Widget(spec.name, "other", box, spec), *sides]
    if kind in _EDITOR_WIDGETS:
        return [
            Widget(name or spec.name, "editor", None, spec, in_file=in_file, in_prompt=in_prompt)
            for name, in_file, in_prompt in _EDITOR_WIDGETS[kind]
        ]
    default = config.get("default")
    value = copy.deepcopy(_PLAIN[kind]) if default is None else default
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
    # Also where it stays as it is: the editor builds all anew, and leaves the control of a seed beside its successor.
    if node.layouts is not None:
        node.layouts.size.grow(len(node.widgets) // 50)  # each choice goes through them all
    prefix = f"{combo.name}."
    kept = {widget.name: widget for widget in node.widgets if widget.name.startswith(prefix) and value == combo.value}
    combo.value = value
    links = {slot.name: slot.link for slot in node.inputs if slot.name.startswith(prefix)}
    node.widgets = [widget for widget in node.widgets if not widget.name.startswith(prefix)]
    node.inputs = [slot for slot in node.inputs if not slot.name.startswith(prefix)]
    for group_name in [name for name in node.autogrow or () if name.startswith(prefix)]:
        (node.autogrow or {}).pop(group_name)
    widgets, inputs = len(node.widgets), len(node.inputs)
    _add_chosen(node, combo)
    added, new_inputs = node.widgets[widgets:], node.inputs[inputs:]
    del node.widgets[widgets:], node.inputs[inputs:]
    at = node.widgets.index(combo) + 1
    node.widgets[at:at] = added
    own = next((place for place, slot in enumerate(node.inputs) if slot.name == combo.name), len(node.inputs) - 1)
    node.inputs[own + 1 : own + 1] = new_inputs
    for slot in new_inputs:
        slot.link = links.get(slot.name, slot.link)
    for name, former in kept.items():
        widget = node.widget(name)
        if widget is None or widget.kind != former.kind or not former.restored:
            continue
        if widget.kind == "dynamic_combo":
            choose(node, widget, former.value)
        widget.value, widget.homes, widget.restored = former.value, former.homes, True


def _add_chosen(node: Node, combo: Widget) -> None:
    """Add the inputs of a dynamic combo's option, after all others."""
    value = combo.value
    for spec in _options(node, combo).get(value, ()) if isinstance(value, str) else ():
        add_input(node, replace(spec, name=f"{combo.name}.{spec.name}"))


def first_option(node: Node, combo: Widget) -> str | None:
    return next(iter(_options(node, combo)), None)


def is_left_out(node: Node, name: str) -> bool:
    """Whether an input stands below a dynamic combo whose option, a known one, does not have it."""
    return any(
        widget.kind == "dynamic_combo"
        and name.startswith(f"{widget.name}.")
        and isinstance(widget.value, str)
        and widget.value in _options(node, widget)
        for widget in node.widgets
    )


def _options(node: Node, combo: Widget) -> dict[str, list[InputSpec]]:
    return node.layouts.options(combo.spec) if node.layouts is not None and combo.spec is not None else {}


# -- groups that grow with what is linked to them


def _autogrow(node: Node, spec: InputSpec) -> Autogrow | None:
    specs = node.layouts.template(spec) if node.layouts is not None else []
    if not specs:
        return None
    template = _mapping(spec.config.get("template"))
    names = template.get("names")
    names = [text_of(name) for name in names] if isinstance(names, list) else None
    low, high = template.get("min", 1), template.get("max", 100)
    prefix = template.get("prefix")
    return Autogrow(
        specs,
        names,
        prefix if isinstance(prefix, str) else "",
        low if isinstance(low, int) else 1,
        len(names) if names is not None else (high if isinstance(high, int) else 100),
    )


def _grow(node: Node, group_name: str, group: Autogrow, count: int) -> None:
    """Add a group's inputs until there are `count` of each, or the group is full."""
    for ordinal in range(group.grown, min(count, group.high, GROUP_LIMIT)):
        group.grown, place = ordinal + 1, len(node.inputs)
        for spec in group.specs:
            base = _base(group, spec, ordinal)
            if base not in group.bases:
                group.bases.add(base)
                add_input(node, replace(spec, name=f"{group_name}.{base}"))
        _move_behind(node, place, f"{group_name}.{_base(group, group.specs[-1], ordinal - 1)}")


def _base(group: Autogrow, spec: InputSpec, ordinal: int) -> str:
    """The name of a group's input of one number; below the first there is none that an input could begin with."""
    if ordinal < 0:
        return "\0"
    if group.names is not None:
        return group.names[ordinal]
    return (group.prefix if len(group.specs) == 1 else spec.name) + str(ordinal)


def _move_behind(node: Node, place: int, name: str) -> None:
    """Put the inputs from `place` on behind the last one before them whose name begins so."""
    at = next((number for number in range(place - 1, -1, -1) if node.inputs[number].name.startswith(name)), place - 1)
    added = node.inputs[place:]
    del node.inputs[place:]
    node.inputs[at + 1 : at + 1] = added


def grow_to(node: Node, name: str) -> bool:
    """Grow the group that an input belongs to by its name until it is there, and one more. False if it is in none."""
    for group_name, group in (node.autogrow or {}).items():
        if name.startswith(f"{group_name}.") and (ordinal := group.ordinal(name[len(group_name) + 1 :])) is not None:
            _grow(node, group_name, group, ordinal + 2)
            return True
    return False


# -- rows: a number in the file says how often a group of inputs is there


def set_rows(node: Node, rows: Widget, value: Any) -> None:
    """Give a dynamic group its number of rows: as many as the file says, and as the class wants at least."""
    if not is_number(value) or rows.spec is None or node.layouts is None:
        return
    low = rows.spec.config.get("min")
    count = min(max(low if isinstance(low, int) else 0, int(value)), GROUP_LIMIT)
    for number in range(count, rows.value):
        prefix = f"{rows.name}.{number}."
        node.widgets = [widget for widget in node.widgets if not widget.name.startswith(prefix)]
        node.inputs = [slot for slot in node.inputs if not slot.name.startswith(prefix)]
    before = len(node.widgets)
    for number in range(rows.value, count):
        for spec in declared_inputs(rows.spec.config.get("template")):
            name = f"{rows.name}.{number}.{spec.name}"
            place = len(node.widgets)
            add_input(node, replace(spec, name=name))
            for control, widget in enumerate(node.widgets[place + 1 :]):
                widget.name = f"{name}.{control}"
    rows.value = count
    added = node.widgets[before:]
    del node.widgets[before:]
    own = [at for at, widget in enumerate(node.widgets) if widget is rows or widget.name.startswith(f"{rows.name}.")]
    node.widgets[own[-1] + 1 : own[-1] + 1] = added


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
