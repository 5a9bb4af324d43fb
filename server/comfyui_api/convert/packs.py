"""Node packs whose own JavaScript changes what the editor sends."""

from __future__ import annotations

from comfyui_api.convert.following import Path
from comfyui_api.convert.live import Node

VIRTUAL_TYPES: frozenset[str] = frozenset()


def virtual_source(path: Path, node: Node, slot: int) -> tuple[Path, Node, int] | None:
    """The input that feeds an output of a virtual node: its own of the same place, for reroutes of every kind."""
    return (path, node, slot) if 0 <= slot < len(node.inputs) else None
