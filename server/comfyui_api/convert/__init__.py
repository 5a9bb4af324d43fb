"""UI workflow to API prompt, as ComfyUI's own web editor makes it when it queues (frontend 1.58.1).

The file is read (saved), given unique ids (numbering) and loaded into the editor's graph (loading, live): nodes with
the slots and widgets of their classes (layout, nodes), subgraphs with their instances' values (subgraphs, proxies),
group nodes (groups). Then primitives write their values into widgets (primitives), and every node that is sent gets
its widgets' values (texts) and the real sources of its links (following). Packs with JavaScript of their own: packs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from comfyui_api.convert import packs
from comfyui_api.convert.layout import Layouts
from comfyui_api.convert.live import every_node
from comfyui_api.convert.loading import load
from comfyui_api.convert.nodes import mend
from comfyui_api.convert.notes import Conversion, Notes
from comfyui_api.convert.numbering import renumber
from comfyui_api.convert.packs import everywhere
from comfyui_api.convert.primitives import spread
from comfyui_api.convert.saved import read_workflow
from comfyui_api.convert.sending import Sender
from comfyui_api.convert.texts import Choose, Names
from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.node_class import NodeClasses

__all__ = ["Conversion", "convert_workflow"]


def convert_workflow(
    workflow: dict[str, Any],
    node_classes: NodeClasses | Mapping[str, Any],
    *,
    choose: Choose = lambda _: 0,
    now: datetime | None = None,
) -> Conversion:
    """The prompt that ComfyUI's editor would send for a saved workflow, and what there is to say about it.

    `node_classes` are the classes of the server, or its /object_info as it comes. `choose` gives an index below a
    number, for the options of {a|b} in prompts: `random.randrange`, or the first one each time. `now` is the time for
    %date:…% in file names, which stays as it is without one. Values are never guessed: what cannot be known is noted.
    Raises WorkflowUnreadable for what is no UI workflow.
    """
    if not isinstance(workflow, dict) or not isinstance(workflow.get("nodes"), list):
        raise WorkflowUnreadable(
            "This is no workflow as ComfyUI's editor saves it: it has no list of nodes.",
            "Give the file that Workflow > Save or Export writes.",
        )
    try:
        return _converted(workflow, NodeClasses.of(node_classes), choose, now)
    except RecursionError as exc:
        raise WorkflowUnreadable("The workflow, or what the server says of its classes, is nested too deeply.") from exc


def _converted(workflow: dict[str, Any], node_classes: NodeClasses, choose: Choose, now: datetime | None) -> Conversion:
    notes = Notes()
    saved = read_workflow(workflow, notes)
    renumber(saved, notes)
    layouts = Layouts(node_classes)
    root = load(saved, layouts, notes)
    nodes = list(every_node(root))
    for node in nodes:
        mend(node, layouts, notes)
    names = Names(nodes, now)
    for graph in {id(node.graph): node.graph for node in nodes}.values():
        packs.act(graph, choose, notes)
        spread(graph, names, notes)
    everywhere.connect(root, notes)
    sender = Sender(notes, names, choose)
    prompt = sender.prompt(root)
    return Conversion(prompt, notes.all(), sender.homes)
