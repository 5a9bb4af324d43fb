"""A workflow as a drawing: a tree from its outputs, or a flowchart in Mermaid's words."""

from comfyui_api.drawing.mermaid import MOST_NODES, Flowchart, flowchart
from comfyui_api.drawing.names import title_of
from comfyui_api.drawing.tree import Branch, tree

__all__ = ["MOST_NODES", "Branch", "Flowchart", "flowchart", "title_of", "tree"]
