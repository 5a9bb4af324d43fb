"""A node class in the few words that a search needs: what it is called, what it takes and gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from comfyui_api.dynamic_inputs import AUTOGROW, DYNAMIC_COMBO, DYNAMIC_SLOT, MATCH_TYPE

WIDGETS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})
ANY = "*"
_BETWEEN = "\x1f"
_NAME, _ABOUT, _TYPE, _LINES = 120, 240, 400, 2000  # letters of a name, a description, a type, and of all in a list
_DEPTH = 4  # of inputs that appear by what another one gives
_MOST = 60  # inputs that are looked at below one that brings others


class Card(NamedTuple):
    """One node class. All are texts, lists in them a line an item.

    `aliases` are what the server itself says that people search for. `links` are the inputs that other nodes fill, as
    "name:TYPE", with "?" after the name of those that may be left out; `widgets` the types of the inputs that have a
    value of their own, which a link may replace; `outputs` the types in order. `marks`: of "output", "deprecated",
    "experimental" and "partner", those that hold. Of `description` only the beginning.
    """

    class_type: str
    display_name: str
    category: str
    description: str
    aliases: str
    links: str
    widgets: str
    outputs: str
    marks: str
    python_module: str

    @property
    def is_core(self) -> bool:
        return not self.python_module.startswith("custom_nodes")

    def as_text(self) -> str:
        """Itself as one text, to be kept."""
        return _BETWEEN.join(self)

    @staticmethod
    def key(class_type: str) -> str:
        """How the text of a class begins, and no other's."""
        return class_type + _BETWEEN

    @staticmethod
    def name_in(text: str) -> str:
        """The class_type in such a text."""
        return text.partition(_BETWEEN)[0]

    @classmethod
    def of_text(cls, text: str) -> Card | None:
        """What was kept so; None for what is no such text."""
        parts = text.split(_BETWEEN)
        return cls(*parts) if len(parts) == len(cls._fields) else None

    def accepted(self) -> list[str]:
        """The types that can be linked to it, in order; unions as they are declared."""
        return [*(link.rpartition(":")[2] for link in self.links.splitlines()), *self.widgets.splitlines()]

    def given(self) -> list[str]:
        """The types of its outputs."""
        return self.outputs.splitlines()


def card_of(class_type: str, raw: dict[str, Any]) -> Card:
    """The card of one entry of /object_info. Nothing is raised: what has a wrong shape has nothing to say."""
    links: list[str] = []
    widgets: dict[str, None] = {}
    declared = raw.get("input")
    if isinstance(declared, dict):
        for name, kind in _inputs(declared, "", 0):
            if name:
                links.append(f"{name}:{kind}")
            else:
                widgets[kind] = None
    outputs = raw.get("output")
    types = [_type(kind) for kind in outputs[:_MOST]] if isinstance(outputs, list) else []
    if MATCH_TYPE in types:
        types = _matched(types, raw)
    aliases = raw.get("search_aliases")
    marks = [mark for mark, key in _MARKS.items() if raw.get(key)]
    return Card(
        class_type,
        _text(raw.get("display_name"), _NAME) or class_type,
        _text(raw.get("category"), _NAME),
        _text(raw.get("description"), _ABOUT),
        _lines([_text(alias, _NAME) for alias in aliases[:_MOST]]) if isinstance(aliases, list) else "",
        _lines(links),
        _lines(list(widgets)),
        _lines(types),
        "\n".join(marks),
        _text(raw.get("python_module"), _NAME),
    )


_MARKS = {
    "output": "output_node",
    "deprecated": "deprecated",
    "experimental": "experimental",
    "partner": "api_node",
}


def _inputs(declared: Any, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    """(name, type) of the inputs that other nodes fill, ("", type) of widgets; also of those that appear by what others
    give (dynamic_inputs has the rules)."""
    if not isinstance(declared, dict) or depth > _DEPTH:
        return
    for group, mark in (("required", ""), ("optional", "?")):
        specs = declared.get(group)
        if not isinstance(specs, dict):
            continue
        for name, spec in specs.items():
            if not isinstance(spec, list) or not spec:
                continue
            kind = spec[0]
            if not isinstance(kind, str):
                yield "", "COMBO"
            elif kind in WIDGETS and (len(spec) == 1 or not isinstance(spec[1], dict) or not spec[1].get("forceInput")):
                yield "", kind
            elif kind.startswith("COMFY_"):
                config = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
                yield from _dynamic(f"{prefix}{_text(name, _NAME)}", mark, kind, config, depth)
            else:
                yield f"{prefix}{_text(name, _NAME)}{mark}", _type(kind)


def _dynamic(name: str, mark: str, kind: str, config: dict[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    template = config.get("template")
    template = template if isinstance(template, dict) else {}
    if kind == MATCH_TYPE:
        yield f"{name}{mark}", _type(template.get("allowed_types") or ANY)
    elif kind == AUTOGROW:
        for inner, inner_kind in list(_inputs(template.get("input"), "", depth + 1))[:1]:
            yield (f"{name}.*{mark}" if inner else ""), inner_kind
    elif kind == DYNAMIC_COMBO:
        yield "", "COMBO"
        options = config.get("options")
        found: dict[tuple[str, str], None] = {}
        for option in options[:_MOST] if isinstance(options, list) else ():
            if isinstance(option, dict) and len(found) < _MOST:
                found |= dict.fromkeys(_inputs(option.get("inputs"), f"{name}.", depth + 1))
        # They are there with one of the options only.
        yield from ((f"{inner.removesuffix('?')}?" if inner else "", inner_kind) for inner, inner_kind in found)
    elif kind == DYNAMIC_SLOT:
        yield f"{name}{mark}", _type(config.get("slotType") or ANY)
        yield from _inputs(config.get("inputs"), f"{name}.", depth + 1)
    else:
        yield f"{name}{mark}", ANY


def _matched(types: list[str], raw: dict[str, Any]) -> list[str]:
    """The outputs' types, where those that are the same as an input's stand for all that this input takes."""
    matched = raw.get("output_matchtypes")
    matched = matched if isinstance(matched, list) else []
    groups = raw.get("input")
    taken: dict[Any, str] = {}
    for specs in groups.values() if isinstance(groups, dict) else ():
        for spec in specs.values() if isinstance(specs, dict) else ():
            config = spec[1] if isinstance(spec, list) and len(spec) > 1 else None
            template = config.get("template") if isinstance(config, dict) else None
            if isinstance(template, dict) and isinstance(template.get("template_id"), str):
                taken[template["template_id"]] = _type(template.get("allowed_types") or ANY)
    named = [name if isinstance(name, str) else None for name in matched[: len(types)]]
    named += [None] * (len(types) - len(named))
    return [taken.get(name, ANY) if kind == MATCH_TYPE else kind for kind, name in zip(types, named, strict=True)]


def _type(kind: Any) -> str:
    """A type's name; lists of options, which some packs give as an output's type, are combos."""
    return _text(kind, _TYPE) if isinstance(kind, str) else "COMBO"


def _lines(parts: list[str]) -> str:
    text = "\n".join(parts)
    return text if len(text) <= _LINES else text[:_LINES].rpartition("\n")[0]


def _text(value: Any, length: int) -> str:
    """A text on one line that can be kept as UTF-8; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    if len(value) <= length and value.isascii() and value.isprintable():
        return value
    # The line breaks and what stands between the parts of a card count as space.
    text = " ".join(value[:length].split())
    return text.encode("utf-8", "replace").decode()
