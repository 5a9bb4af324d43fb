"""What differs between two inventories: models, packs, versions, node classes and their options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyui_api.errors import FileProblem
from comfyui_api.inventory import Inventory, read_head
from comfyui_api.inventory.head import pack_as_json
from comfyui_api.node_class import InputSpec, NodeClass, parse_node_class
from comfyui_api.workspace import Workspace

Pair = tuple[Any, Any]


@dataclass
class Difference:
    """What is only in one of two inventories, and what both have differently as (first, second)."""

    only_first: list[str] = field(default_factory=list)
    only_second: list[str] = field(default_factory=list)
    changed: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.only_first or self.only_second or self.changed)


@dataclass
class Comparison:
    """All differences between two inventories. Models are named "folder/file"; a class's changes are by input.

    `not_compared` says which parts one of them does not know.
    """

    first: str
    second: str
    comfyui_version: Pair | None = None
    models: Difference = field(default_factory=Difference)
    custom_nodes: Difference = field(default_factory=Difference)
    embeddings: Difference = field(default_factory=Difference)
    node_classes: Difference = field(default_factory=Difference)
    not_compared: list[str] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        parts = (self.comfyui_version, self.models, self.custom_nodes, self.embeddings, self.node_classes)
        return not any(parts) and not self.not_compared


def named_inventory(workspace: Workspace, name: str | None, file: Path | None = None) -> Inventory:
    """The inventory that stands in a file, else that of a server by its configured name or URL (None: the default).

    Raises FileProblem where there is none or it is broken; a file that is given stays as it is.
    """
    if file is not None:
        path, advice = file, "Give another file."
        inventory, trouble = read_head(file)
    else:
        connection = workspace.connect(name)
        path, advice = connection.inventory_path, "comfyui-api inventory refresh makes it."
        inventory, trouble = workspace.known_inventory(connection)
    if inventory is None:
        raise FileProblem(trouble or f"There is no inventory at {path} yet.", advice)
    return inventory


def compare(first: Inventory, second: Inventory) -> Comparison:
    """The differences between two inventories. Raises FileProblem where their node classes are damaged."""
    found = Comparison(_called(first), _called(second))
    if first.comfyui_version != second.comfyui_version:
        found.comfyui_version = (first.comfyui_version, second.comfyui_version)
    parts: list[tuple[str, Any, Any]] = [
        ("models", first.models_updated, second.models_updated),
        ("custom_nodes", first.custom_nodes or None, second.custom_nodes or None),
        ("node_classes", first.classes, second.classes),
    ]
    unknown = {what for what, *known in parts if any(part is None for part in known) and any(known)}
    found.not_compared = sorted(unknown)
    if "models" not in unknown:
        found.models = _models(first, second)
        found.embeddings = _names(set(first.embeddings), set(second.embeddings))
    if "custom_nodes" not in unknown:
        packs = [
            {name: pack_as_json(pack) for name, pack in inventory.custom_nodes.items()} for inventory in (first, second)
        ]
        found.custom_nodes = _entries(packs[0], packs[1])
    if "node_classes" not in unknown:
        found.node_classes = _classes(first, second)
    return found


def _called(inventory: Inventory) -> str:
    return f"{inventory.path.name} ({inventory.server or 'of no named server'})"


def _names(first: set[str], second: set[str]) -> Difference:
    return Difference(sorted(first - second), sorted(second - first))


def _models(first: Inventory, second: Inventory) -> Difference:
    sizes = [
        {f"{folder}/{file}": size for folder, files in inventory.models.items() for file, size in files.items()}
        for inventory in (first, second)
    ]
    found = _names(set(sizes[0]), set(sizes[1]))
    for name in sorted(sizes[0].keys() & sizes[1].keys()):
        if None not in (sizes[0][name], sizes[1][name]) and sizes[0][name] != sizes[1][name]:
            found.changed[name] = {"size": (sizes[0][name], sizes[1][name])}
    return found


def _entries(first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]) -> Difference:
    """By name, the fields that differ."""
    found = _names(set(first), set(second))
    for name in sorted(first.keys() & second.keys()):
        if changes := _fields(first[name], second[name]):
            found.changed[name] = changes
    return found


def _fields(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Pair]:
    names = sorted(first.keys() | second.keys())
    return {name: (first.get(name), second.get(name)) for name in names if not _same(first.get(name), second.get(name))}


def _same(first: Any, second: Any) -> bool:
    """Equal as JSON: a NaN is equal to itself."""
    return first == second or json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def _classes(first: Inventory, second: Inventory) -> Difference:
    if first.classes is None or second.classes is None:
        return Difference()
    names = (first.classes.names(), second.classes.names())
    found = _names(set(names[0]), set(names[1]))
    for name in sorted(names[0] & names[1]):
        descriptions = first.classes.read(name), second.classes.read(name)
        if _same(*descriptions) or not all(isinstance(description, dict) for description in descriptions):
            continue
        classes = [parse_node_class(name, description) for description in descriptions]
        if changes := dict(_class_changes(classes[0], classes[1])):
            found.changed[name] = changes
    return found


def _class_changes(first: NodeClass, second: NodeClass) -> Iterator[tuple[str, Any]]:
    inputs = _names(set(first.inputs), set(second.inputs))
    if inputs.only_first:
        yield "inputs_only_first", inputs.only_first
    if inputs.only_second:
        yield "inputs_only_second", inputs.only_second
    for name in first.inputs:
        if name in second.inputs and (changes := dict(_input_changes(first.inputs[name], second.inputs[name]))):
            yield name, changes
    for part in ("outputs", "python_module", "is_output_node", "is_deprecated"):
        if getattr(first, part) != getattr(second, part):
            yield part, (getattr(first, part), getattr(second, part))


def _input_changes(first: InputSpec, second: InputSpec) -> Iterator[tuple[str, Any]]:
    for part in ("type", "required"):
        if getattr(first, part) != getattr(second, part):
            yield part, (getattr(first, part), getattr(second, part))
    options = _names(_options(first), _options(second))
    if options:
        yield "options", {"only_first": options.only_first, "only_second": options.only_second}
    plain = [{key: value for key, value in spec.config.items() if key != "options"} for spec in (first, second)]
    yield from _fields(plain[0], plain[1]).items()


def _options(spec: InputSpec) -> set[str]:
    return {option if isinstance(option, str) else json.dumps(option) for option in spec.options or ()}
