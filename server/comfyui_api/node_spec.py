"""One node class in full and in few words: a line an input, a line an output, and an example to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from comfyui_api.dynamic_inputs import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DYNAMIC_GROUP,
    DYNAMIC_SLOT,
    MATCH_TYPE,
    choices_of,
    declared_inputs,
    expanded,
)
from comfyui_api.node_card import Card, card_of
from comfyui_api.node_class import InputSpec, NodeClass, parse_node_class
from comfyui_api.quantities import count

OPTIONS_SHOWN = 8
_LINES_SHOWN = 80  # inputs of one class
_BELOW_SHOWN = 40  # inputs that appear below one that brings others
_OPTION, _TIP, _NAME, _DEFAULT = 160, 72, 80, 200  # letters shown
_LARGE = 2**31  # a limit beyond it is none that anybody comes near to
_IN_EXAMPLE = 60  # inputs that an example has
_ROUNDS = 6  # choices within choices that an example makes
_PLAIN: Mapping[str, Any] = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}


@dataclass(frozen=True)
class Spec:
    """A class as text. `options` are those of its inputs that list them: {input: values}."""

    node_class: NodeClass
    inputs: list[str]
    outputs: list[str]
    example: dict[str, Any]
    options: dict[str, tuple[Any, ...]]


def spec_of(class_type: str, raw: Mapping[str, Any]) -> Spec:
    """The spec of one entry of /object_info.

    Inputs in their order: "name: TYPE = default, limits  # tooltip", "?" after the name of those that may be left out;
    the values to choose from stand in place of the type. Outputs with their slots. The example is a node of a prompt:
    what is required, each value its default, each link ["<TYPE>", 0] for the id and the slot of the node to link.
    """
    node_class = parse_node_class(class_type, raw)
    specs = list(node_class.inputs.values())
    lines = [line.text for spec in specs for line in _bounded(spec)]
    if len(lines) > _LINES_SHOWN:
        lines = [*lines[:_LINES_SHOWN], f"… and {len(lines) - _LINES_SHOWN} more"]
    return Spec(
        node_class,
        lines,
        _output_lines(node_class, card_of(class_type, dict(raw)), raw.get("output_is_list")),
        {"class_type": class_type, "inputs": _example(specs)},
        {spec.name: spec.options for spec in specs if spec.options},
    )


class _Line(NamedTuple):
    """The line of an input. `condition`: the choices by which it is there."""

    label: str
    said: str
    condition: str = ""

    @property
    def text(self) -> str:
        return _printable(f"{self.label}{f' (with {self.condition})' if self.condition else ''}: {self.said}")


def _bounded(spec: InputSpec) -> list[_Line]:
    lines = _input_lines(spec, "")
    if len(lines) <= _BELOW_SHOWN + 1:
        return lines
    return [*lines[: _BELOW_SHOWN + 1], _Line(f"{lines[0].label}.…", f"{len(lines) - _BELOW_SHOWN - 1} more")]


def _input_lines(spec: InputSpec, prefix: str) -> list[_Line]:
    """The line of an input, and those of the inputs that it brings; what several choices bring alike comes once."""
    name = f"{prefix}{spec.name}"
    line = _Line(f"{_short(name, _NAME)}{'' if spec.required else '?'}", f"{_described(spec, name)}{_tip(spec)}")
    if name.count(".") >= _ROUNDS:
        return [line]
    if spec.type == DYNAMIC_SLOT:
        inner = [
            each for below in declared_inputs(spec.config.get("inputs")) for each in _input_lines(below, f"{name}.")
        ]
        return [line, *(each._replace(condition=each.condition or f"{name} linked") for each in inner)]
    if spec.type != DYNAMIC_COMBO:
        return [line]
    choices = choices_of(spec)
    brought: dict[_Line, list[str]] = {}
    for key, inputs in choices.items():
        for below in declared_inputs(inputs):
            for each in _input_lines(below, f"{name}."):
                brought.setdefault(each, []).append(key)
    return [line, *(_where(each, name, keys, len(choices)) for each, keys in brought.items())]


def _where(line: _Line, name: str, keys: list[str], choices: int) -> _Line:
    """A line with the choices that bring it, unless all do; one further below has a condition of its own."""
    if line.condition or len(keys) == choices:
        return line
    shown = " or ".join(_short(key, _OPTION) for key in keys[:OPTIONS_SHOWN])
    more = f" or {count(len(keys) - OPTIONS_SHOWN, 'other')}" if len(keys) > OPTIONS_SHOWN else ""
    return line._replace(condition=f"{_short(name, _NAME)}={shown}{more}")


def _described(spec: InputSpec, name: str) -> str:
    """What goes into an input: its type or the first of its options, the default, the limits."""
    config = spec.config
    if spec.type == DYNAMIC_COMBO:
        return _choices(tuple(choices_of(spec)), config.get("default"))
    if spec.is_combo:
        if spec.options is None:
            return "one of a list that only the editor asks for"
        if spec.is_upload and not spec.options:
            return "a file on the server, of which there is none yet: upload_image gives the value"
        said = _choices(spec.options, config.get("default"))
        return f"{said}; several, as a list" if config.get("multiselect") is True else said
    if spec.type == AUTOGROW:
        return _grown(config.get("template"), name)
    if spec.type == MATCH_TYPE:
        template = config.get("template")
        allowed = template.get("allowed_types") if isinstance(template, dict) else None
        return f"{_short(str(allowed or '*'), _NAME)}, which is the output's type too"
    if spec.type == DYNAMIC_GROUP:
        return "rows of inputs"
    if spec.type == DYNAMIC_SLOT:
        return _short(str(config.get("slotType") or "*"), _NAME)
    said = _short(spec.type, _NAME)
    if (default := config.get("default")) is not None and spec.type in _PLAIN:
        said += f" = {_short(_json(default), _DEFAULT)}"
    said += _limits(config) if spec.type in ("INT", "FLOAT") else ""
    return f"{said}, multiline" if config.get("multiline") is True else said


def _choices(options: tuple[Any, ...], default: Any) -> str:
    if not options:
        return "one of a list that is empty on this server"
    shown = [_option(option) for option in options[:OPTIONS_SHOWN]]
    more = f" | … ({len(options)} options)" if len(options) > len(shown) else ""
    first = f"; default {_option(default)}" if default is not None and default != options[0] else ""
    return " | ".join(shown) + more + first


def _option(option: Any) -> str:
    return _short(option if isinstance(option, str) else _json(option), _OPTION)


def _grown(template: Any, name: str) -> str:
    template = template if isinstance(template, dict) else {}
    first = next(iter(declared_inputs(template.get("input"))), None)
    kind = _described(first, name) if first is not None else "*"
    names = template.get("names")
    if isinstance(names, list) and names:
        called = [f"{name}.{_short(str(each), _NAME)}" for each in names]
        shown = called if len(called) <= 3 else [*called[:2], "…", called[-1]]
        return f"{kind}, as many as needed of {', '.join(shown)}"
    prefix = _short(str(template.get("prefix") or ""), _NAME)
    high = template.get("max")
    upto = f" up to {high}" if isinstance(high, int) else ""
    return f"{kind}, as many as needed{upto}: {name}.{prefix}0, {name}.{prefix}1, …"


def _limits(config: Mapping[str, Any]) -> str:
    low, high, step = (config.get(key) for key in ("min", "max", "step"))
    low = low if _is_limit(low) else None
    high = high if _is_limit(high) else None
    said = ""
    if low is not None and high is not None:
        said = f", {_number(low)}..{_number(high)}"
    elif low is not None:
        said = f", at least {_number(low)}"
    elif high is not None:
        said = f", at most {_number(high)}"
    return f"{said}, step {_number(step)}" if _is_limit(step) and step != 1 else said


def _number(value: Any) -> str:
    return _json(value).removesuffix(".0")


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGE


def _tip(spec: InputSpec) -> str:
    tip = spec.config.get("tooltip")
    return f"  # {_short(' '.join(tip[:1000].split()), _TIP)}" if isinstance(tip, str) and tip.strip() else ""


def _output_lines(node_class: NodeClass, card: Card, lists: Any) -> list[str]:
    lines = []
    same_as_input = card.outputs.splitlines()
    for slot, kind in enumerate(node_class.outputs[:_LINES_SHOWN]):
        if kind == MATCH_TYPE and slot < len(same_as_input):
            said = same_as_input[slot]
        else:
            said = _short(kind, _NAME) if isinstance(kind, str) else _choices(kind, None)
        name = node_class.output_names[slot] if slot < len(node_class.output_names) else ""
        called = f" {_short(name, _NAME)}" if name and name.casefold() != said.casefold() else ""
        is_list = isinstance(lists, list) and slot < len(lists) and lists[slot] is True
        lines.append(_printable(f"{slot}: {said}{called}{' (a list)' if is_list else ''}"))
    return lines


def _example(specs: list[InputSpec]) -> dict[str, Any]:
    """The inputs of a node that has only what it must."""
    given: dict[str, Any] = {}
    for _ in range(_ROUNDS):  # what was chosen may bring more
        new = {spec.name: _value(spec) for spec in expanded(specs, given) if spec.required and spec.name not in given}
        if not new:
            break
        given |= new
    return dict(islice(given.items(), _IN_EXAMPLE))


def _value(spec: InputSpec) -> Any:
    default = spec.config.get("default")
    if spec.type == DYNAMIC_COMBO:
        keys = list(choices_of(spec))
        return default if isinstance(default, str) and default in keys else keys[0] if keys else ""
    if spec.is_combo:
        if spec.config.get("multiselect") is True:
            return default if isinstance(default, list) else []
        if isinstance(default, str | int | float) and (spec.options is None or default in spec.options):
            return default
        if spec.options:
            return spec.options[0]
        return "<value of upload_image>" if spec.is_upload else "<one of its options>"
    if spec.type in _PLAIN and not spec.config.get("forceInput"):
        if isinstance(default, str | int | float):
            return default
        low = spec.config.get("min")
        return low if spec.type in ("INT", "FLOAT") and _is_limit(low) else _PLAIN[spec.type]
    kind = spec.type
    if kind == MATCH_TYPE:
        template = spec.config.get("template")
        kind = str((template.get("allowed_types") if isinstance(template, dict) else None) or "*")
    return [f"<{_short(kind, _NAME)}>", 0]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _printable(line: str) -> str:
    """Without line breaks and what would steer a terminal."""
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)
