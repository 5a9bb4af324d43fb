"""A prompt as a flowchart in Mermaid's words, which forges and agents' pages draw.

Mermaid gives up over more than 50,000 characters or 500 links (maxTextSize and maxEdges of its configuration), and
nobody reads that much: of a large workflow the inner nodes of each subgraph are drawn as one, and then those nearest to
findings and outputs are drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from comfyui_api.drawing.names import class_of, title_of
from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt, sources, upstream
from comfyui_api.node_class import NodeClasses
from comfyui_api.quantities import count

MOST_NODES = 150
_MOST_LINKS = 450
_FINDINGS_SHOWN = 2
_WORD_SHOWN = 40
_STYLES = {
    "error": "fill:#ffd7d5,stroke:#cf222e,stroke-width:2px,color:#1f2328",
    "warning": "fill:#fff3c4,stroke:#9a6700,stroke-width:2px,color:#1f2328",
    "output": "stroke-width:3px",
    "idle": "stroke-dasharray:4 3",
}
# What Mermaid leaves alone inside of quotes; anything else of ASCII may begin a tag, an entity, a directive or a
# formula.
_HARMLESS = frozenset(" .,()/_'=?!-+|@")
_MARKS = (("ﬂ°", "fl°"), ("¶ß", "¶ ß"))  # what Mermaid itself writes for entities in between
_LIST_BEGINS = re.compile(r"\d+[.)]|[-+]")  # Mermaid takes these for lists, which it cannot draw


class Flowchart(NamedTuple):
    """The text of a flowchart, how many nodes it leaves out, and how many it draws as parts of subgraphs' nodes."""

    text: str
    left_out: int
    folded: int


class _Box(NamedTuple):
    """One node of the drawing: a node of the prompt, or all the inner ones of a subgraph."""

    label: str
    members: tuple[str, ...]


def flowchart(
    prompt: Prompt,
    node_classes: NodeClasses | None,
    outputs: Sequence[str],
    findings: Sequence[Finding] = (),
    most: int = MOST_NODES,
) -> Flowchart:
    """Draw a prompt from left to right, with the nodes that have findings marked and coloured.

    `outputs` are its output nodes; what they do not need is dashed, as it never runs.
    """
    boxes = _boxes(prompt, node_classes, fold=len(prompt) > most)
    place = {member: box_id for box_id, box in boxes.items() for member in box.members}
    found = {
        box_id: [finding for finding in findings if finding.node_id in box.members] for box_id, box in boxes.items()
    }
    kept = _nearest(prompt, boxes, place, found, outputs, most)
    names = {box_id: f"n{number}" for number, box_id in enumerate(kept)}
    needed = {place[node_id] for node_id in upstream(prompt, list(outputs))} if outputs else set(kept)
    lines = ["flowchart LR"]
    marked: dict[str, list[str]] = {style: [] for style in _STYLES}
    for box_id in kept:
        lines.append(f'  {names[box_id]}["{_label(boxes[box_id].label, found[box_id])}"]')
        for style in _styles(boxes[box_id], found[box_id], outputs, needed=box_id in needed):
            marked[style].append(names[box_id])
    lines += _links(prompt, node_classes, place, names)
    left_out = sum(len(box.members) for box_id, box in boxes.items() if box_id not in names)
    if left_out:
        lines.append(f'  rest(["… and {left_out} more nodes"])')
    for style, members in marked.items():
        if members:
            lines += [f"  classDef {style} {_STYLES[style]}", f"  class {','.join(members)} {style}"]
    folded = sum(len(box.members) for box_id, box in boxes.items() if box_id in names and len(box.members) > 1)
    return Flowchart("\n".join(lines) + "\n", left_out, folded)


def _boxes(prompt: Prompt, node_classes: NodeClasses | None, *, fold: bool) -> dict[str, _Box]:
    """The nodes by their ids; with `fold` the inner nodes of subgraphs, `instance:inner`, by their instance's."""
    members: dict[str, list[str]] = {}
    for node_id in prompt:
        members.setdefault(node_id.partition(":")[0] + ":" if fold and ":" in node_id else node_id, []).append(node_id)
    return {
        box_id: _Box(
            f"{title_of(prompt[inner[0]], node_classes)} ({_shown(inner[0])})"
            if len(inner) == 1
            else f"Subgraph {_shown(box_id[:-1])}: {count(len(inner), 'node')}",
            tuple(inner),
        )
        for box_id, inner in members.items()
    }


def _nearest(
    prompt: Prompt,
    boxes: Mapping[str, _Box],
    place: Mapping[str, str],
    found: Mapping[str, Sequence[Finding]],
    outputs: Sequence[str],
    most: int,
) -> list[str]:
    """The boxes to draw, in the prompt's order: those with findings, the outputs, and what is nearest to both."""
    if len(boxes) <= most:
        return list(boxes)
    around: dict[str, list[str]] = {box_id: [] for box_id in boxes}
    for node_id, node in prompt.items():
        for source in sources(node):
            if source in place and place[source] != place[node_id]:
                around[place[node_id]].append(place[source])
                around[place[source]].append(place[node_id])
    starts = [box_id for box_id in boxes if found[box_id]] + [place[node_id] for node_id in outputs if node_id in place]
    reached = dict.fromkeys(starts)
    waiting = list(reached)
    for box_id in waiting:
        if len(reached) >= most:
            break
        fresh = [near for near in dict.fromkeys(around[box_id]) if near not in reached]
        reached.update(dict.fromkeys(fresh))
        waiting += fresh
    chosen = set(list(dict.fromkeys([*reached, *boxes]))[:most])
    return [box_id for box_id in boxes if box_id in chosen]


def _links(
    prompt: Prompt, node_classes: NodeClasses | None, place: Mapping[str, str], names: Mapping[str, str]
) -> list[str]:
    """A line for each pair of linked boxes; what goes along is written on it where the one before gives several
    things. A link to a node that does not exist comes from a box of its own."""
    along: dict[tuple[str, str], list[str]] = {}
    lost: dict[str, str] = {}
    for node_id, node in prompt.items():
        if (target := names.get(place[node_id])) is None:
            continue
        for source, slot in _linked(node):
            if source not in prompt:
                start = lost.setdefault(source, f"lost{len(lost)}")
            elif (start := names.get(place[source], "")) in ("", target):
                continue
            kind = _kind(prompt.get(source), slot, node_classes)
            kinds = along.setdefault((start, target), [])
            if kind and kind not in kinds:
                kinds.append(kind)
    lines = [f'  {name}["{_encoded(f"missing ({_shown(source)})")}"]:::error' for source, name in lost.items()]
    if lost:
        lines.append(f"  classDef error {_STYLES['error']}")
    for (start, target), kinds in list(along.items())[:_MOST_LINKS]:
        text = f'|"{_encoded(", ".join(kinds[:3]))}"|' if kinds else ""
        lines.append(f"  {start} -->{text} {target}")
    return lines


def _linked(node: object) -> list[tuple[str, object]]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    values = inputs.values() if isinstance(inputs, dict) else ()
    return [(v[0], v[1]) for v in values if isinstance(v, list) and len(v) == 2 and isinstance(v[0], str)]


def _kind(source: object, slot: object, node_classes: NodeClasses | None) -> str:
    """The type of an output, where a node has several."""
    node_class = node_classes.get(class_of(source)) if node_classes is not None else None
    if node_class is None or len(node_class.outputs) < 2 or not isinstance(slot, int):
        return ""
    kind = node_class.outputs[slot] if 0 <= slot < len(node_class.outputs) else ""
    return _shown(kind) if isinstance(kind, str) else "COMBO"


def _styles(box: _Box, found: Sequence[Finding], outputs: Sequence[str], *, needed: bool) -> list[str]:
    styles = ["output"] if any(node_id in box.members for node_id in outputs) else []
    severities = {finding.severity for finding in found}
    if severities:
        styles.append("error" if "error" in severities else "warning")
    return styles if needed else [*styles, "idle"]


def _label(title: str, found: Sequence[Finding]) -> str:
    lines = [title]
    for finding in found[:_FINDINGS_SHOWN]:
        sign = "✗" if finding.severity == "error" else "⚠"
        place = f" {_shown(finding.input)}" if finding.input else ""
        lines.append(f"{sign}{place} {finding.code.replace('_', ' ')}")
    if found[_FINDINGS_SHOWN:]:
        lines.append(f"and {len(found) - _FINDINGS_SHOWN} more")
    return "<br/>".join(map(_encoded, lines))


def _shown(text: str) -> str:
    return text if len(text) <= _WORD_SHOWN else f"{text[: _WORD_SHOWN - 1]}…"


def _encoded(text: str) -> str:
    """A text as a label: whatever may mean something to Mermaid or to a browser by its number."""
    text = "".join(char for char in text if char.isprintable())
    for mark, harmless in _MARKS:
        text = text.replace(mark, harmless)
    begins = _LIST_BEGINS.match(text)
    of_list = begins.end() - 1 if begins is not None else -1
    return "".join(char if _is_safe(char) and index != of_list else f"#{ord(char)};" for index, char in enumerate(text))


def _is_safe(char: str) -> bool:
    return char.isalnum() or char in _HARMLESS or ord(char) > 127
