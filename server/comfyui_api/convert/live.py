"""The graph as the editor holds it in memory: nodes with their slots and widgets, linked within one graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from comfyui_api.convert.notes import Homes
from comfyui_api.convert.saved import BYPASS, NEVER, SavedLink
from comfyui_api.node_class import InputSpec, NodeClass

if TYPE_CHECKING:  # layouts are made for these nodes
    from comfyui_api.convert.layout import Layouts

WidgetKind: TypeAlias = Literal[
    "number",
    "toggle",
    "text",
    "multiline",  # keeps texts only: whatever else is put into it becomes text
    "combo",
    "curve",
    "control",  # control_after_generate and its kin: never sent
    "dynamic_combo",  # its value decides which further inputs there are
    "rows",  # its value decides how many rows of further inputs there are
    "option",  # one of the options that are written into the node: there is always one more
    "editor",  # what only the editor in a browser can fill
    "other",
]


class Link(NamedTuple):
    """Where an input gets its value: an output of a node beside it, or (INPUT_NODE) an input of the subgraph."""

    id: int
    origin_id: str
    origin_slot: int
    type: str = "*"

    @classmethod
    def of(cls, saved: SavedLink) -> Link:
        return cls(saved.id, saved.origin_id, saved.origin_slot, saved.type)


class Widget:
    """A value of a node. `in_file` tells whether it takes a place in widgets_values, `in_prompt` whether it is sent.

    `homes` are the places in the file that the value was read from.
    """

    __slots__ = ("homes", "in_file", "in_prompt", "kind", "name", "restored", "spec", "value")

    def __init__(
        self,
        name: str,
        kind: WidgetKind,
        value: Any,
        spec: InputSpec | None = None,
        *,
        in_file: bool = True,
        in_prompt: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.value = value
        self.spec = spec
        self.in_file = in_file
        self.in_prompt = in_prompt
        self.restored = False
        self.homes: Homes = ()

    def put(self, value: Any) -> None:
        """Give the widget a value as the editor does on loading: multiline texts can hold nothing but text."""
        self.value = as_text(value) if self.kind == "multiline" and not isinstance(value, str) else value

    def copy(self) -> Widget:
        return Widget(self.name, self.kind, self.value, self.spec, in_file=self.in_file, in_prompt=self.in_prompt)


class Input:
    """An input slot. `widget` is the name of the widget that it feeds; `promoted` an instance's own value for it."""

    __slots__ = ("link", "name", "promoted", "type", "widget")

    def __init__(self, name: str, type_name: str, widget: str | None = None) -> None:
        self.name = name
        self.type = type_name
        self.widget = widget
        self.link: Link | None = None
        self.promoted: Widget | None = None


class Target(NamedTuple):
    """The end of a link: an input of a node."""

    node: Node
    input: Input


class Port:
    """An input or output of a subgraph. `targets` are the inputs inside that an input feeds, in the file's order;
    `source` is what an output gets its value from."""

    __slots__ = ("name", "source", "targets", "type")

    def __init__(self, name: str, type_name: str) -> None:
        self.name = name
        self.type = type_name
        self.targets: list[Target] = []
        self.source: Link | None = None


class Node:
    """A node in a graph. `subgraph` is set on instances of one, `node_class` where the class is known.

    `virtual` nodes act in the editor only: reroutes, notes, primitives, and those of packs.
    """

    __slots__ = (
        "autogrow",
        "graph",
        "id",
        "inputs",
        "layouts",
        "match_outputs",
        "mode",
        "node_class",
        "outputs",
        "properties",
        "raw",
        "saved_outputs",
        "subgraph",
        "title",
        "type",
        "virtual",
        "widgets",
    )

    def __init__(self, graph: Graph, node_id: str, type_name: str, title: str, mode: int) -> None:
        self.graph = graph
        self.id = node_id
        self.type = type_name
        self.title = title
        self.mode = mode
        self.inputs: list[Input] = []
        self.outputs: list[str] = []
        self.saved_outputs: list[str] = []
        self.widgets: list[Widget] = []
        self.properties: dict[str, Any] = {}
        self.raw: dict[str, Any] = {}
        self.node_class: NodeClass | None = None
        self.layouts: Layouts | None = None
        self.subgraph: Subgraph | None = None
        self.virtual = False
        self.autogrow: dict[str, Autogrow] | None = None
        self.match_outputs: dict[int, list[str]] | None = None

    @property
    def skipped(self) -> bool:
        return self.mode in (NEVER, BYPASS)

    def input(self, name: str) -> Input | None:
        return next((slot for slot in self.inputs if slot.name == name), None)

    def widget(self, name: str | None) -> Widget | None:
        return next((widget for widget in self.widgets if widget.name == name), None) if name else None

    def widget_of(self, slot: Input) -> Widget | None:
        """The value that an input stands for where nothing is linked to it."""
        return slot.promoted if self.subgraph is not None else self.widget(slot.widget)


@dataclass(slots=True)
class Autogrow:
    """A group of inputs of which there is always one more than are linked (COMFY_AUTOGROW_V3).

    `specs` are the inputs that come with each number below `high`, `grown` is how many numbers there are by now, and
    `bases` are their names after the group's.
    """

    specs: list[InputSpec]
    names: list[str] | None
    prefix: str
    low: int
    high: int
    grown: int = 0
    bases: set[str] = field(default_factory=set)

    def ordinal(self, base: str) -> int | None:
        """The number in an input's name after the group's."""
        if self.names is not None:
            return self.names.index(base) if base in self.names else None
        digits = base[len(base.rstrip("0123456789")) :]
        return (int(digits) if len(digits) < 9 else self.high) if digits else None


class Graph:
    """The nodes of one graph, and the frames drawn around them.

    `outgoing` finds the inputs that a node's output feeds, in the order of link ids.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.frames: list[dict[str, Any]] = []
        self._outgoing: dict[tuple[str, int], list[tuple[int, Target]]] | None = None

    def linked(self) -> None:
        """Say that links have changed."""
        self._outgoing = None

    def outgoing(self, node: Node, slot: int) -> list[Target]:
        if self._outgoing is None:
            self._outgoing = {}
            for target in self.nodes.values():
                for slot_in in target.inputs:
                    if (link := slot_in.link) is not None:
                        ends = self._outgoing.setdefault((link.origin_id, link.origin_slot), [])
                        ends.append((link.id, Target(target, slot_in)))
            for ends in self._outgoing.values():
                ends.sort(key=lambda end: end[0])
        return [target for _, target in self._outgoing.get((node.id, slot), [])]


class Subgraph(Graph):
    """A subgraph's definition, shared by all its instances."""

    def __init__(self, subgraph_id: str, name: str) -> None:
        super().__init__()
        self.id = subgraph_id
        self.name = name
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.instances: list[Node] = []


def every_node(root: Graph) -> Iterator[Node]:
    """All nodes of a workflow, each definition that is in use once."""
    seen: set[int] = set()
    todo: list[Graph] = [root]
    while todo:
        graph = todo.pop()
        if id(graph) in seen:
            continue
        seen.add(id(graph))
        for node in graph.nodes.values():
            yield node
            if node.subgraph is not None:
                todo.append(node.subgraph)


def as_text(value: Any) -> str:
    """A value as JavaScript writes it in a text field."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return "[object Object]" if isinstance(value, dict) else str(value)
