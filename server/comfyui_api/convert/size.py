"""How large a workflow may become: subgraphs in subgraphs, group nodes and inputs that grow multiply."""

from __future__ import annotations

from comfyui_api.errors import WorkflowUnreadable

LIMIT = 1_000_000  # a workflow of 10,000 ordinary nodes comes to a fifth of this


class Size:
    """Counts the nodes, inputs, outputs and widgets that a workflow expands to."""

    def __init__(self) -> None:
        self._left = LIMIT

    def grow(self, by: int) -> None:
        """Raises WorkflowUnreadable once there are too many."""
        self._left -= by
        if self._left < 0:
            raise WorkflowUnreadable(
                f"This workflow expands to more than {LIMIT:,} nodes, inputs and values.",
                "Give a workflow of a size that a server can run.",
            )
