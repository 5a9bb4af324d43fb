"""The text that a prompt is about, to tell runs apart at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LENGTH = 100
VISITED = 50  # nodes before a sampler; texts stand close to it
# Names that inputs for texts have in ComfyUI's own nodes and the usual packs, the likeliest first.
_TEXTS = ("text", "prompt", "positive", "positive_prompt", "text_g", "t5xxl", "clip_l", "caption", "tags", "string")
_LEADS_TO_TEXT = ("positive", "conditioning", "guider", *_TEXTS)


def first_text(prompt: Mapping[str, Any]) -> str | None:
    """The first words of the positive text, or of any text, at most LENGTH characters; None where there is none."""
    for node in prompt.values():
        inputs = _inputs(node)
        for name in ("positive", "conditioning", "guider"):
            if (text := _found(prompt, inputs.get(name))) is not None:
                return text
    return next((text for node in prompt.values() if (text := _own_text(_inputs(node))) is not None), None)


def _found(prompt: Mapping[str, Any], start: Any) -> str | None:
    """The nearest text before a link."""
    waiting, visited = [start], set[str]()
    while waiting and len(visited) < VISITED:
        link = waiting.pop(0)
        node_id = link[0] if isinstance(link, list) and len(link) == 2 else None
        if not isinstance(node_id, str) or node_id in visited:
            continue
        visited.add(node_id)
        inputs = _inputs(prompt.get(node_id))
        if (text := _own_text(inputs)) is not None:
            return text
        waiting += [inputs[name] for name in _LEADS_TO_TEXT if name in inputs]
    return None


def _own_text(inputs: Mapping[str, Any]) -> str | None:
    for name in _TEXTS:
        value = inputs.get(name)
        if isinstance(value, str) and value.strip():
            words = " ".join(value[: 4 * LENGTH].split())
            return words if len(words) <= LENGTH else f"{words[:LENGTH]}…"
    return None


def _inputs(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}
