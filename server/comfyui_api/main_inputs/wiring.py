"""What runs of a prompt, and how its nodes are wired, as far as others' prompts are well formed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from comfyui_api.dynamic_inputs import expanded
from comfyui_api.graph import Prompt, is_followed, is_link, sources, upstream
from comfyui_api.node_class import InputSpec, NodeClass, NodeClasses

# Types of plain values: a node that gives nothing else only hands on or reckons with what it is given.
_VALUES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "BOOL", "NUMBER", "COMBO"})
_MOST_SLOTS = 10_000
_ANY = ("*", "COMFY_MATCHTYPE_V3")
# Where the class is not known: ComfyUI's own and the usual packs' nodes for values are called so.
_VALUE_NODES = (
    "Primitive",
    "String",
    "Text Multiline",
    "ComfyMath",
    "SimpleMath",
    "easy int",
    "easy float",
    "JWInteger",
)


class Taker(NamedTuple):
    """An input that is linked to an output of some node."""

    node_id: str
    input: str


class Wiring:
    """A prompt's nodes that take part in a run: the output nodes and what they depend on.

    Without node classes, or without an output node among them, every node counts that nothing else takes from.
    """

    def __init__(self, prompt: Prompt, node_classes: NodeClasses | None) -> None:
        self._classes = node_classes
        self._specs: dict[str, dict[str, InputSpec]] = {}
        sound = {
            node_id: node
            for node_id, node in prompt.items()
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        }
        running = upstream(sound, self._outputs(sound))
        self.nodes: dict[str, dict[str, Any]] = {each: node for each, node in sound.items() if each in running}
        self.takers: dict[str, list[Taker]] = {}
        for node_id in self.nodes:
            for name, source, _ in self.links(node_id):
                self.takers.setdefault(source, []).append(Taker(node_id, name))

    def _outputs(self, nodes: Prompt) -> list[str]:
        found = [
            node_id
            for node_id, node in nodes.items()
            if (node_class := self._class(node)) is not None and node_class.is_output_node
        ]
        taken = {source for node in nodes.values() for source in sources(node)}
        return found or [node_id for node_id in nodes if node_id not in taken]

    def _class(self, node: dict[str, Any]) -> NodeClass | None:
        return self._classes.get(str(node.get("class_type"))) if self._classes is not None else None

    def class_type(self, node_id: str) -> str:
        return str(self.nodes[node_id].get("class_type"))

    def node_class(self, node_id: str) -> NodeClass | None:
        return self._class(self.nodes[node_id])

    def title(self, node_id: str) -> str:
        """The title that a person gave the node; empty where it has none."""
        meta = self.nodes[node_id].get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        node_class = self.node_class(node_id)
        own = (self.class_type(node_id), node_class.display_name if node_class is not None else "")
        return title if isinstance(title, str) and title not in own else ""

    def given(self, node_id: str) -> dict[str, Any]:
        inputs: dict[str, Any] = self.nodes[node_id]["inputs"]
        return inputs

    def literals(self, node_id: str) -> Iterator[tuple[str, Any]]:
        """The inputs that hold a value, and no link: (name, value)."""
        return (
            (name, value)
            for name, value in self.given(node_id).items()
            if not is_link(value) and isinstance(value, str | int | float)
        )

    def spec(self, node_id: str, name: str) -> InputSpec | None:
        """What the class declares of an input, those with dotted names included."""
        if node_id not in self._specs:
            node_class = self.node_class(node_id)
            inputs = node_class.inputs.values() if node_class is not None else ()
            self._specs[node_id] = {each.name: each for each in expanded(inputs, self.given(node_id))}
        return self._specs[node_id].get(name)

    def linked_type(self, node_id: str, name: str) -> str | None:
        """The type of what comes in at a linked input, by either end; None where neither class tells."""
        _, source_id, slot = next(each for each in self.links(node_id) if each[0] == name)
        source = self.node_class(source_id)
        given = source.outputs[slot] if source is not None and slot < len(source.outputs) else None
        if isinstance(given, str) and given not in _ANY:
            return given
        spec = self.spec(node_id, name)
        return spec.type if spec is not None and spec.type not in _ANY else None

    def links(self, node_id: str) -> Iterator[tuple[str, str, int]]:
        """The inputs that are linked to nodes: (name, node id, slot)."""
        for name, value in self.given(node_id).items():
            if is_followed(value) and value[0] in self.nodes and 0 <= value[1] < _MOST_SLOTS:
                yield name, value[0], int(value[1])

    def hands_on_values(self, node_id: str) -> bool:
        """Whether a node is there for plain values only: primitives, texts put together, arithmetic, switches."""
        node_class = self.node_class(node_id)
        if node_class is None:
            return self.class_type(node_id).startswith(_VALUE_NODES)
        kinds = [each if isinstance(each, str) else "COMBO" for each in node_class.outputs]
        return bool(kinds) and all(kind in _VALUES or kind in _ANY or "INT" in kind.split(",") for kind in kinds)
