"""From the editor's graph to the prompt (graphToPrompt): every node that is sent, with its values and links."""

from __future__ import annotations

from typing import Any

from comfyui_api.convert.following import Path, Source, Value, Ways, execution_id, note_lost
from comfyui_api.convert.layout import CUSTOM_COMBO
from comfyui_api.convert.live import Graph, Node, Widget
from comfyui_api.convert.notes import Homes, Notes, shown
from comfyui_api.convert.packs import virtual_source
from comfyui_api.convert.size import Size
from comfyui_api.convert.texts import SAVERS, Choose, Names, resolve_choices
from comfyui_api.graph import Prompt

_PACK_KEYS = ("cnr_id", "aux_id", "ver")


class Sender:
    """Writes one prompt. `names` replaces %names% in a file name, `choose` picks among the options of {a|b}."""

    def __init__(self, notes: Notes, names: Names, choose: Choose) -> None:
        self._notes = notes
        self._names = names
        self._choose = choose
        self._ways = Ways(virtual_source)
        self.homes: dict[tuple[str, str], Homes] = {}

    def prompt(self, root: Graph) -> Prompt:
        places = self._places(root)
        prompt: Prompt = {}
        for path, node in places:
            if not node.virtual and not node.skipped:
                node_id = execution_id(path, node)
                if node_id in prompt:  # a text id may look like the path to a node in a subgraph
                    self._notes.add("unreadable", f"A second node, a {node.type}, has this id: left out.", node_id)
                    continue
                prompt[node_id] = self._entry(path, node, node_id)
        for node_id, entry in prompt.items():
            inputs = entry["inputs"]
            gone = [name for name, value in inputs.items() if isinstance(value, list) and value[0] not in prompt]
            for name in gone:
                del inputs[name]
                self._notes.add("dropped_link", "Its link comes from a node that is not sent.", node_id, name)
        return prompt

    def _places(self, root: Graph) -> list[tuple[Path, Node]]:
        """Every node by the instances it stands in; those of muted and bypassed instances of the root are left out."""
        found: list[tuple[Path, Node]] = []
        todo: list[tuple[Path, Node]] = [((), node) for node in reversed(root.nodes.values())]
        size = Size()
        while todo:
            path, node = todo.pop()
            size.grow(1 + len(path) + len(node.inputs) + len(node.widgets))
            if node.subgraph is None:
                found.append((path, node))
            elif path or not node.skipped:
                if node.skipped:
                    self._notes.add(
                        "frontend_node",
                        "This subgraph is muted or bypassed inside of another: ComfyUI's editor sends its nodes all "
                        "the same. Mute the nodes in it to keep them out.",
                        execution_id(path, node),
                    )
                inner = (*path, node)
                todo += [(inner, child) for child in reversed(node.subgraph.nodes.values())]
        return found

    def _entry(self, path: Path, node: Node, node_id: str) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for widget in node.widgets:
            if widget.in_prompt and widget.name:
                self._send(inputs, node, node_id, widget)
        for place, slot in enumerate(node.inputs):
            if slot.link is None:
                continue
            found = self._ways.follow(path, node, place)
            if isinstance(found, Source):
                inputs[slot.name] = [found.node_id, found.slot]
                self.homes.pop((node_id, slot.name), None)
            elif isinstance(found, Value):
                if found.widget.value is None and not found.widget.restored:
                    inputs.pop(slot.name, None)  # nothing chosen, and nothing to choose from
                    continue
                inputs[slot.name] = _wrapped(found.widget.value)
                self.homes[node_id, slot.name] = found.widget.homes
            else:
                note_lost(found, self._notes, node_id, slot.name)
        if node.type == CUSTOM_COMBO and node.node_class is not None:
            inputs["index"] = _chosen(node, inputs)
        meta: dict[str, Any] = {"title": node.title}
        for key in _PACK_KEYS:
            if isinstance(text := node.properties.get(key), str) and text:
                meta[key] = text
        return {"class_type": node.type, "inputs": inputs, "_meta": meta}

    def _send(self, inputs: dict[str, Any], node: Node, node_id: str, widget: Widget) -> None:
        value = widget.value
        if widget.kind == "editor" and value in (None, ""):
            linked = next((slot for slot in node.inputs if slot.widget == widget.name and slot.link), None)
            declared = node.node_class.inputs if node.node_class is not None else ()
            if linked is None and widget.spec is not None and widget.spec.name in declared:
                self._notes.add(
                    "frontend_value",
                    f"Only ComfyUI's editor in a browser can make the value of '{widget.name}'.",
                    node_id,
                    widget.name,
                )
            if value is None:
                return
        if value is None and not widget.restored:
            return  # nothing chosen, and nothing to choose from
        if isinstance(value, str) and widget.spec is not None:
            value = self._text(node, node_id, widget, value)
        self.homes[node_id, widget.name] = widget.homes
        if widget.kind == "curve" and value is not None:
            inputs[widget.name] = {"__type__": "CURVE", "__value__": value}
        else:
            inputs[widget.name] = _wrapped(value)

    def _text(self, node: Node, node_id: str, widget: Widget, text: str) -> str:
        if widget.spec is not None and widget.spec.config.get("dynamicPrompts") is True:
            resolved = resolve_choices(text, self._choose)
        elif widget.name == "filename_prefix" and node.type in SAVERS:
            resolved = self._names.replace(text)
        else:
            return text
        if resolved != text:
            self._notes.add("resolved_text", f"Sent as {shown(resolved)}.", node_id, widget.name)
        return resolved


def _chosen(node: Node, inputs: dict[str, Any]) -> int:
    """The place of a CustomCombo's choice among its options, -1 for none of them."""
    options = [widget.value for widget in node.widgets if widget.kind == "option"]
    choice = inputs.get("choice")
    return options.index(choice) if choice in options else -1


def _wrapped(value: Any) -> Any:
    """A value as the prompt holds it: a plain list would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value
