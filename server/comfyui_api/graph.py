"""The two forms of a workflow, in ComfyUI's words: the UI *workflow* and the API *prompt*."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

Prompt: TypeAlias = dict[str, Any]
"""API format: {node id: {"class_type": str, "inputs": {name: value or link}, "_meta": {"title": str}}}."""

WorkflowFormat: TypeAlias = Literal["api", "ui"]


def is_link(value: Any) -> bool:
    """Whether an input's value is a link [node id, output slot]. The server takes every list for one."""
    return isinstance(value, list)


def is_followed(value: Any) -> bool:
    """Whether a run takes a value for a link (graph_utils.py, is_link): [text, number]. For an input that the class
    does not declare, nothing else does."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


def workflow_format(data: dict[str, Any]) -> WorkflowFormat | None:
    """Which form a JSON object has, or None for neither.

    The editor saves {"nodes": [...], "links": [...]}; a prompt has an object with a class_type under each key.
    """
    if isinstance(data.get("nodes"), list):
        return "ui"
    if any(isinstance(node, dict) and "class_type" in node for node in data.values()):
        return "api"
    return None


def sendable(prompt: Prompt) -> Prompt:
    """A copy that may be changed and sent.

    Prompts read from pictures carry `is_changed` on loader nodes: sent back, the server would take the old file from
    its cache.
    """
    copied = copy.deepcopy(prompt)
    for node in copied.values():
        if isinstance(node, dict):
            node.pop("is_changed", None)
    return copied


def links_of(node: Any) -> Iterator[tuple[str, list[Any]]]:
    """The linked inputs of a prompt's node: (input name, link). Nothing for a node that is malformed."""
    inputs = node.get("inputs") if isinstance(node, dict) else None
    if isinstance(inputs, dict):
        for name, value in inputs.items():
            if is_link(value):
                yield name, value


def upstream(prompt: Prompt, starts: list[str]) -> set[str]:
    """The ids of `starts` and of all nodes that they depend on. Links to nodes that do not exist are passed over."""
    return reached_by(starts, lambda node_id: sources(prompt[node_id]), prompt)


def downstream(prompt: Prompt, starts: Iterable[str | None]) -> set[str]:
    """The ids of `starts` and of all nodes that depend on them."""
    takers: dict[str, list[str]] = {}
    for node_id, node in prompt.items():
        for source in sources(node):
            takers.setdefault(source, []).append(node_id)
    return reached_by([start for start in starts if start is not None], lambda node_id: takers.get(node_id, ()), prompt)


def sources(node: Any) -> Iterator[str]:
    """The node ids that a node's inputs are linked to, well-formed links only."""
    return (link[0] for _, link in links_of(node) if len(link) == 2 and isinstance(link[0], str))


def reached_by(starts: list[str], neighbours: Callable[[str], Iterable[str]], prompt: Prompt) -> set[str]:
    """The ids of `starts` and of all that are met by going on to neighbours; none that do not exist."""
    seen: set[str] = set()
    todo = list(starts)
    while todo:
        node_id = todo.pop()
        if node_id not in seen and node_id in prompt:
            seen.add(node_id)
            todo.extend(neighbours(node_id))
    return seen
