"""The editor's graph from a saved workflow: definitions innermost first, then the root, each with its values."""

from __future__ import annotations

from comfyui_api.convert import groups, packs
from comfyui_api.convert.following import cut_misfits
from comfyui_api.convert.layout import Layouts
from comfyui_api.convert.live import Graph, Node, Subgraph
from comfyui_api.convert.nodes import attach, drop_foreign_links, link_targets, make_node
from comfyui_api.convert.notes import Notes
from comfyui_api.convert.packs import everywhere
from comfyui_api.convert.proxies import migrate
from comfyui_api.convert.saved import SavedGraph, SavedNode, SavedSubgraph, SavedWorkflow
from comfyui_api.convert.subgraphs import add_ports, make_instance


def load(workflow: SavedWorkflow, layouts: Layouts, notes: Notes) -> Graph:
    """The root graph, with all definitions that it uses behind its instances."""
    loader = _Loader(workflow, layouts, notes)
    for definition in _inner_first(workflow.subgraphs):
        loader.load_definition(definition)
    root = Graph()
    loader.fill(root, workflow.graph, 0)
    groups.unpack(root, workflow, layouts, notes, loader.virtual)
    return root


class _Loader:
    def __init__(self, workflow: SavedWorkflow, layouts: Layouts, notes: Notes) -> None:
        self._layouts = layouts
        self._notes = notes
        self._definitions = {saved.id for saved in workflow.subgraphs}
        self._subgraphs: dict[str, Subgraph] = {}
        self.virtual = packs.VIRTUAL_TYPES | everywhere.TYPES | groups.types_of(workflow)

    def load_definition(self, saved: SavedSubgraph) -> None:
        subgraph = Subgraph(saved.id, saved.name)
        pairs = self._nodes(subgraph, saved.graph, len(saved.inputs))
        add_ports(subgraph, saved)
        self._migrate(pairs)
        self._subgraphs[saved.id] = subgraph

    def fill(self, graph: Graph, saved: SavedGraph, ports: int) -> None:
        self._migrate(self._nodes(graph, saved, ports))

    def _nodes(self, graph: Graph, saved: SavedGraph, ports: int) -> list[tuple[Node, SavedNode]]:
        by_target = link_targets(saved)
        graph.frames = saved.frames
        pairs = []
        for saved_node in saved.nodes:
            subgraph = self._subgraphs.get(saved_node.type)
            if subgraph is None and saved_node.type in self._definitions:
                self._notes.add("cycle", "This subgraph contains itself: left out.", saved_node.id)
                continue
            if subgraph is not None:
                node = Node(graph, saved_node.id, saved_node.type, saved_node.title, saved_node.mode)
                node.properties, node.raw = saved_node.properties, saved_node.raw
                make_instance(node, subgraph, saved_node, self._layouts.size)
            else:
                node = make_node(graph, saved_node, self._layouts, self._notes, self.virtual)
            graph.nodes[node.id] = node
            pairs.append((node, saved_node))
            for link_id in attach(node, saved_node, saved, by_target):
                self._notes.add("dangling_link", f"Its link {link_id} is not in the file's list of links.", node.id)
        drop_foreign_links(graph, ports, self._notes)
        packs.put_right(graph)
        cut_misfits(graph, self._notes)
        return pairs

    def _migrate(self, pairs: list[tuple[Node, SavedNode]]) -> None:
        for node, saved_node in pairs:
            if node.subgraph is not None and "proxyWidgets" in node.properties:
                migrate(node, saved_node, self._layouts.size, self._notes)


def _inner_first(definitions: list[SavedSubgraph]) -> list[SavedSubgraph]:
    """Definitions after all those that they contain, but for the one that closes a circle."""
    by_id = {definition.id: definition for definition in definitions}
    ordered: dict[str, SavedSubgraph] = {}
    entered: set[str] = set()
    todo = [(definition, False) for definition in reversed(definitions)]
    while todo:
        definition, done = todo.pop()
        if done:
            ordered.setdefault(definition.id, definition)
        elif definition.id not in entered:
            entered.add(definition.id)
            todo.append((definition, True))
            todo += [(by_id[node.type], False) for node in definition.graph.nodes if node.type in by_id]
    return list(ordered.values())
