"""All inputs of a workflow worth changing, the most important first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfyui_api.graph import Prompt
from comfyui_api.main_inputs.kinds import NUMBERS, ORDER, TEXTS, Kind, kind_by_title, kind_of
from comfyui_api.main_inputs.polarity import Polarity
from comfyui_api.main_inputs.wiring import Wiring
from comfyui_api.node_class import NodeClasses

VALUE_SHOWN = 80
_TITLE_SHOWN = 60
_ADDRESS_LIMIT = 300  # nobody changes an input with a longer name
_FED_SHOWN = 3
_LEVELS, _VISITED = 12, 200  # nodes for values between a primitive and what uses it
_DECIDES = frozenset(["switch", "select", "index", "boolean", "condition", "enable", "enabled", "bypass"])
_FREE = frozenset(
    [
        "value",
        "string",
        "string_a",
        "string_b",
        "text",
        "int",
        "float",
        "number",
        "choice",
        "on_true",
        "on_false",
        "input",
        "any",
        "bool",
    ]
)
# How instructions for a language model begin that is to write the prompt.
_FOR_A_MODEL = ("you are ", "# role", "## role", "system:", "<|im_start|>system", "[system")


@dataclass(frozen=True)
class MainInput:
    """One input worth changing.

    `address` is what queue_workflow's `inputs` takes: "node id.input name". `value`: what it has, a text cut at
    VALUE_SHOWN characters. `title`: what a person called the node, else empty. `note`: which inputs a primitive's value
    goes to, and that the same text stands elsewhere.
    """

    address: str
    kind: Kind
    value: str | int | float | bool
    class_type: str
    title: str = ""
    note: str = ""


def main_inputs(prompt: Prompt, node_classes: NodeClasses | None) -> list[MainInput]:
    """What a person would change in a prompt, the most important first: only of what runs, only plain values.

    A value that comes from a primitive is listed at the primitive, under the kind of the input that it goes to. Without
    node classes the names and values have to tell; fewer inputs of unusual packs are found then. Raises FileProblem
    where the node classes are read from a damaged cache (known.with_classes helps).
    """
    wiring = Wiring(prompt, node_classes)
    polarity = Polarity(wiring)
    ranked: list[tuple[int, MainInput]] = []
    texts: dict[str, str] = {}
    for node_id in wiring.nodes:
        for name, value in wiring.literals(node_id):
            address = f"{node_id}.{name}"
            kind = _kind(wiring, polarity, node_id, name, value) if len(address) <= _ADDRESS_LIMIT else None
            if kind is None:
                continue
            note = _goes_to(wiring, node_id) if wiring.hands_on_values(node_id) else ""
            if isinstance(value, str) and kind in TEXTS and value.strip():
                first = texts.setdefault(value, address)
                note = note if first == address else f"{note}; same text as {first}".removeprefix("; ")
            title = wiring.title(node_id)[:_TITLE_SHOWN]
            entry = MainInput(address, kind, _cut(value), wiring.class_type(node_id), title, note)
            # The seed of a language model in the way is not the one that a person means.
            ranked.append((ORDER[kind] + (len(ORDER) if "." in name and kind == "seed" else 0), entry))
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _cut(value: Any) -> Any:
    return value[:VALUE_SHOWN] + "…" if isinstance(value, str) and len(value) > VALUE_SHOWN else value


def _kind(wiring: Wiring, polarity: Polarity, node_id: str, name: str, value: Any) -> Kind | None:
    own = kind_of(wiring.node_class(node_id), wiring.class_type(node_id), wiring.spec(node_id, name), name, value)
    if wiring.hands_on_values(node_id):
        own = _of_value(wiring, node_id, name, value, own)
    return _of_text(wiring, polarity, node_id, own, value) if own in TEXTS and isinstance(value, str) else own


def _of_value(wiring: Wiring, node_id: str, name: str, value: Any, own: Kind | None) -> Kind | None:
    """The kind of a value that other nodes use."""
    if not _is_free(name):
        return own if not isinstance(value, bool) else None
    if isinstance(value, bool):
        return "switch"
    if (by_title := kind_by_title(wiring.title(node_id), value)) is not None:
        return by_title
    for kind in _reached(wiring, node_id):
        if isinstance(value, str) != (kind in NUMBERS):
            return kind
    if not isinstance(value, str):
        return "number"
    if name.rpartition(".")[2] == "choice":
        return "choice"
    return "text" if own in TEXTS or value.strip() else None


def _is_free(name: str) -> bool:
    """Whether the name of an input of a node for values says nothing of what it is for."""
    last = name.rpartition(".")[2].casefold()
    return len(last) == 1 or last in _FREE or last.rstrip("0123456789_") in _FREE


def _reached(wiring: Wiring, node_id: str) -> list[Kind]:
    """The kinds of the inputs that a node's values go to, through other nodes for values: the nearest such inputs'
    only, none where these are for nothing that a person would change."""
    seen, level = {node_id}, [node_id]
    for _ in range(_LEVELS):
        found: list[Kind] = []
        following: list[str] = []
        ends = False
        for taker in (taker for each in level for taker in wiring.takers.get(each, ())):
            if taker.input.rpartition(".")[2].casefold() in _DECIDES:
                found.append("switch")
            elif wiring.hands_on_values(taker.node_id) and _is_free(taker.input):
                following.append(taker.node_id)
            else:
                ends = True
                kind = _taken_as(wiring, taker.node_id, taker.input)
                found += [kind] if kind is not None else []
        if found or ends or len(seen) > _VISITED:
            return found
        level = [each for each in dict.fromkeys(following) if each not in seen]
        seen.update(level)
    return []


def _taken_as(wiring: Wiring, node_id: str, name: str) -> Kind | None:
    return kind_of(wiring.node_class(node_id), wiring.class_type(node_id), wiring.spec(node_id, name), name, None)


def _of_text(wiring: Wiring, polarity: Polarity, node_id: str, own: Kind, value: str) -> Kind:
    """Whether a text is wanted, unwanted, or says something else."""
    title = wiring.title(node_id).casefold()
    if value.lstrip().casefold().startswith(_FOR_A_MODEL) or "system" in title or _is_data(value):
        return "text"
    if own == "negative_prompt":
        return own
    if node_id in polarity.wanted:
        return "prompt"
    return "negative_prompt" if node_id in polarity.unwanted or "negative" in title else own


def _is_data(value: str) -> bool:
    """Whether a text is JSON, e.g. the points of a track: also lyrics begin with a bracket."""
    stripped = value.strip()
    return stripped[:1] in ("{", "[") and stripped[-1:] in ("}", "]") and '":' in stripped.replace('" :', '":')


def _goes_to(wiring: Wiring, node_id: str) -> str:
    """The inputs that take a value, in words."""
    takers = wiring.takers.get(node_id, [])
    shown = ", ".join(f"{taker.node_id}.{taker.input}"[:VALUE_SHOWN] for taker in takers[:_FED_SHOWN])
    more = f" and {len(takers) - _FED_SHOWN} more" if len(takers) > _FED_SHOWN else ""
    return f"goes to {shown}{more}" if takers else ""
