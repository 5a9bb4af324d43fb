"""Ids that occur twice: one of the nodes is given another, as the editor gives it (subgraphDeduplication).

All definitions share one space of ids with the root graph, so that an id path names one node.
"""

from __future__ import annotations

from typing import Any

from comfyui_api.convert.notes import Notes
from comfyui_api.convert.saved import SavedGraph, SavedLink, SavedWorkflow, number_of, shown_widgets


def renumber(workflow: SavedWorkflow, notes: Notes) -> None:
    """Make every node id of a workflow unique, in place; links and references to the nodes follow."""
    ids = _Ids(workflow)
    changed: dict[str, dict[str, str]] = {}
    for definition in workflow.subgraphs:
        mapping = {}
        for node in definition.graph.nodes:
            if node.id in ids.taken:
                new = ids.new()
                mapping[node.id] = new
                node.id = new
            ids.take(node.id)
        if mapping:
            changed[definition.id] = mapping
            _relink(definition.graph, mapping)
            listed = ", ".join(f"{old} is {new}" for old, new in mapping.items())
            notes.add("renumbered", f"Node ids of the subgraph '{definition.name}' occur elsewhere too: now {listed}.")
    graphs = [workflow.graph, *(definition.graph for definition in workflow.subgraphs)]
    for node in (node for graph in graphs for node in graph.nodes):
        if node.type in changed:
            node.properties = _with_new_references(node.properties, changed[node.type])
    _renumber_root(workflow, ids, notes)
    workflow.last_node_id = ids.last


class _Ids:
    """The ids in use, and the last that was given."""

    def __init__(self, workflow: SavedWorkflow) -> None:
        self.taken = {node.id for node in workflow.graph.nodes}
        self.last = workflow.last_node_id

    def take(self, node_id: str) -> None:
        self.taken.add(node_id)
        self.last = max(self.last, number_of(node_id) or 0)

    def new(self) -> str:
        self.last += 1
        while str(self.last) in self.taken:
            self.last += 1
        return str(self.last)


def _renumber_root(workflow: SavedWorkflow, ids: _Ids, notes: Notes) -> None:
    """Two nodes of the root graph with one id: the first keeps it, and with it the links."""
    seen: set[str] = set()
    for node in workflow.graph.nodes:
        if node.id in seen:
            new = ids.new()
            ids.take(new)
            notes.add("renumbered", f"Two nodes have the id {node.id}: the second, a {node.type}, is now {new}.", new)
            node.id = new
            node.inputs = [slot._replace(link=None) for slot in node.inputs]
        seen.add(node.id)


def _relink(graph: SavedGraph, mapping: dict[str, str]) -> None:
    graph.links = {
        link.id: SavedLink(
            link.id,
            mapping.get(link.origin_id, link.origin_id),
            link.origin_slot,
            mapping.get(link.target_id, link.target_id),
            link.target_slot,
            link.type,
        )
        for link in graph.links.values()
    }


def _with_new_references(properties: dict[str, Any], mapping: dict[str, str]) -> dict[str, Any]:
    listed = shown_widgets(properties)
    if not listed:
        return properties
    return {**properties, "proxyWidgets": [[mapping.get(node_id, node_id), *rest] for node_id, *rest in listed]}
