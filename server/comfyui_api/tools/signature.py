"""A tool's signature as schema: the arguments it takes, checked in our own words, and the fields it gives."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from comfyui_api.errors import InvalidArgument, UnknownName
from comfyui_api.repair import did_you_mean
from comfyui_api.results import RESULTS, ToolResult

# The workspace and the progress callable come from the door, not from the agent.
_INJECTED = ("workspace", "report")


@dataclass(frozen=True)
class Tool:
    """One tool: a typed function whose docstring is its description, and what calling it does to the world.

    `reads_only`: changes nothing. `destroys`: may end or remove something. `repeats`: twice is like once.
    """

    run: Callable[..., Awaitable[ToolResult]]
    title: str
    reads_only: bool
    destroys: bool
    repeats: bool

    @property
    def name(self) -> str:
        return self.run.__name__

    @cached_property
    def description(self) -> str:
        return " ".join((self.run.__doc__ or "").split())

    @cached_property
    def takes_report(self) -> bool:
        return "report" in inspect.signature(self.run).parameters

    @cached_property
    def arguments(self) -> type[BaseModel]:
        hints = get_type_hints(self.run, include_extras=True)
        fields: dict[str, Any] = {
            name: (hints[name], ... if parameter.default is inspect.Parameter.empty else parameter.default)
            for name, parameter in inspect.signature(self.run).parameters.items()
            if name not in _INJECTED
        }
        return create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        return _slim(self.arguments.model_json_schema())

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """The result's own fields, one level deep: the full schemas, thrice the tokens, stand in foundation/."""
        model = RESULTS[self.name]
        schema = _slim(model.model_json_schema(mode="serialization"))
        properties = {
            name: _one_level(schema["properties"][name])
            for name, field in model.model_fields.items()
            if not field.exclude and name not in ToolResult.model_fields
        }
        required = [
            name
            for name, field in model.model_fields.items()
            if not field.exclude and not _may_be_absent(field.annotation)
        ]
        return {"type": "object", "properties": properties, "required": required}

    def parse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them. Raises InvalidArgument, naming the field and what is expected."""
        known = self.arguments.model_fields
        if unknown := [name for name in arguments if name not in known]:
            raise UnknownName(
                f"{self.name} has no argument '{unknown[0]}'.{did_you_mean(unknown[0], known)}",
                f"It takes: {', '.join(known) or 'none'}.",
            )
        # Models write null for what they leave out; where there is a default, that is what it means.
        given = {name: value for name, value in arguments.items() if value is not None or known[name].is_required()}
        decoded = {name: self._decoded(name, value) for name, value in given.items()}
        try:
            model = self.arguments.model_validate(decoded)
        except ValidationError as exc:
            raise InvalidArgument(*self._in_words(exc)) from exc
        return {name: getattr(model, name) for name in known}

    def _decoded(self, name: str, value: Any) -> Any:
        # Some clients send objects and lists as JSON text.
        schema = self.input_schema["properties"].get(name, {})
        if isinstance(value, str) and schema.get("type") in ("object", "array"):
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return value
        return value

    def _in_words(self, exc: ValidationError) -> tuple[str, str]:
        problems, expected = [], []
        for error in exc.errors(include_url=False, include_context=False):
            name = str(error["loc"][0]) if error["loc"] else self.name
            if error["type"] == "missing":
                problems.append(f"{self.name} needs the argument '{name}'")
            else:
                shown = repr(error.get("input"))
                shown = shown if len(shown) <= 80 else shown[:80] + "…"
                problems.append(f"{name} is {shown}")
            expected.append(f"{name}: {_expected(self.input_schema['properties'].get(name, {}))}")
        return "; ".join(dict.fromkeys(problems)) + ".", f"Expected: {'; '.join(dict.fromkeys(expected))}."


def _expected(schema: dict[str, Any]) -> str:
    text = " or ".join(map(_kind, schema.get("anyOf", [schema])))
    if "minimum" in schema:
        text += f" of at least {schema['minimum']:g}"
    return f"{text} ({schema['description']})" if "description" in schema else text


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(json.dumps, schema["enum"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    words = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
    kind = schema.get("type", "value")
    return words.get(kind, f"an {kind}")


def _slim(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without titles and without null: what is optional is simply left out."""
    properties = {name: _slim_property(value) for name, value in schema.get("properties", {}).items()}
    slim: dict[str, Any] = {"type": "object", "properties": properties}
    if required := schema.get("required"):
        slim["required"] = required
    if schema.get("additionalProperties") is False:
        slim["additionalProperties"] = False
    return slim


def _slim_property(schema: dict[str, Any]) -> dict[str, Any]:
    slim = {key: value for key, value in schema.items() if key != "title"}
    if "anyOf" in slim:
        options = [option for option in slim["anyOf"] if option.get("type") != "null"]
        del slim["anyOf"]
        slim = {**(options[0] if len(options) == 1 else {"anyOf": [_plain(option) for option in options]}), **slim}
    if slim.get("default", ...) is None:
        del slim["default"]
    if slim.get("type") == "object" and slim.get("additionalProperties") is True:
        del slim["additionalProperties"]
    return slim


def _plain(option: dict[str, Any]) -> dict[str, Any]:
    if "type" not in option:
        return option
    # What a list is of stays: some providers of models refuse tools without it.
    of = option.get("items")
    return {"type": option["type"], **({"items": {"type": of.get("type", "object")}} if isinstance(of, dict) else {})}


def _one_level(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"type": "object"}
    return {"type": schema["type"]} if "type" in schema else {}


def _may_be_absent(annotation: Any) -> bool:
    return type(None) in get_args(annotation) if get_origin(annotation) is not None else annotation is type(None)
