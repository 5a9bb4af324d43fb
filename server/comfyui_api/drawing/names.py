"""What a node is called in a drawing."""

from __future__ import annotations

from typing import Any

from comfyui_api.node_class import NodeClasses

TITLE_SHOWN = 60


def title_of(node: Any, node_classes: NodeClasses | None) -> str:
    """The title that a person gave a node, else its class's, on one line."""
    meta = node.get("_meta") if isinstance(node, dict) else None
    title = meta.get("title") if isinstance(meta, dict) else None
    class_type = class_of(node)
    if not isinstance(title, str) or not title.strip():
        node_class = node_classes.get(class_type) if node_classes is not None else None
        title = node_class.display_name if node_class is not None else class_type
    line = " ".join(title[: 4 * TITLE_SHOWN].split())
    return line if len(line) <= TITLE_SHOWN else f"{line[: TITLE_SHOWN - 1]}…"


def class_of(node: Any) -> str:
    """The class of a node as it is written; a question mark where there is none."""
    class_type = node.get("class_type") if isinstance(node, dict) else None
    return class_type if isinstance(class_type, str) and class_type else "?"
