"""Node classes as /object_info describes them, parsed one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

OutputType: TypeAlias = str | tuple[Any, ...]
"""A type name; some packs give a list of options instead, which fits only a combo with the same list."""

UPLOAD_FLAGS = ("image_upload", "video_upload", "audio_upload", "file_upload")


@dataclass(frozen=True)
class InputSpec:
    """One declared input.

    `type` is ComfyUI's type name; combos are "COMBO" with their `options`, whichever way they are declared.
    `legacy_combo` tells the older form [[options], {...}], the only one whose values every server checks.
    `options` is None where the server keeps them to itself (remote combos).
    """

    name: str
    type: str
    required: bool
    options: tuple[Any, ...] | None = None
    legacy_combo: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_combo(self) -> bool:
        return self.type == "COMBO"

    @property
    def is_upload(self) -> bool:
        """Whether the value names a file that may have been uploaded: such classes validate it themselves."""
        return any(self.config.get(flag) for flag in UPLOAD_FLAGS)

    @property
    def is_dynamic(self) -> bool:
        """Whether further inputs appear below this one, with dotted names (COMFY_DYNAMICCOMBO_V3 and its kin)."""
        return self.type.startswith("COMFY_") and self.type.endswith("_V3")


@dataclass(frozen=True)
class NodeClass:
    """One node class: its inputs in declared order, and the types of its outputs."""

    class_type: str
    display_name: str
    inputs: Mapping[str, InputSpec]
    outputs: tuple[OutputType, ...]
    output_names: tuple[str, ...]
    is_output_node: bool
    python_module: str
    is_deprecated: bool = False
    is_partner_node: bool = False
    output_matchtypes: tuple[str | None, ...] = ()
    is_v3: bool = False

    @property
    def is_core(self) -> bool:
        return not self.python_module.startswith("custom_nodes")

    @cached_property
    def has_dynamic_inputs(self) -> bool:
        """Whether what a node gives decides which inputs it has."""
        return any(spec.is_dynamic for spec in self.inputs.values())


class NodeClasses:
    """All node classes of one server, by class_type.

    `read` gives the raw /object_info entry of a class, or None; each class is parsed once, when first needed, so that
    a server with thousands of classes costs only what a workflow uses.
    """

    def __init__(self, names: Mapping[str, Any] | frozenset[str], read: Callable[[str], Any]) -> None:
        self._names = names
        self._read = read
        self._parsed: dict[str, NodeClass | None] = {}

    @classmethod
    def from_object_info(cls, object_info: Mapping[str, Any]) -> NodeClasses:
        """From the JSON of /object_info: {class_type: description}."""
        return cls(object_info, object_info.get)

    @classmethod
    def of(cls, node_classes: NodeClasses | Mapping[str, Any]) -> NodeClasses:
        """Node classes as they are, or from the JSON of /object_info."""
        return node_classes if isinstance(node_classes, NodeClasses) else cls.from_object_info(node_classes)

    def updated(self, entries: Mapping[str, Any]) -> NodeClasses:
        """The same classes with some replaced by newer descriptions; None takes a class out."""
        names = (frozenset(self._names) | {name for name, entry in entries.items() if entry is not None}) - {
            name for name, entry in entries.items() if entry is None
        }
        return NodeClasses(names, lambda name: entries[name] if name in entries else self._read(name))

    def __contains__(self, class_type: object) -> bool:
        return isinstance(class_type, str) and class_type in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def get(self, class_type: str) -> NodeClass | None:
        if class_type not in self._parsed:
            raw = self._read(class_type) if class_type in self._names else None
            self._parsed[class_type] = parse_node_class(class_type, raw) if isinstance(raw, dict) else None
        return self._parsed[class_type]


def parse_node_class(class_type: str, raw: Mapping[str, Any]) -> NodeClass:
    """One entry of /object_info. What a pack declares wrongly is passed over rather than failing all the others."""
    declared = raw.get("input")
    inputs: dict[str, InputSpec] = {}
    if isinstance(declared, dict):
        for group in ("required", "optional"):
            specs = declared.get(group)
            if isinstance(specs, dict):
                for name, spec in specs.items():
                    if (parsed := parse_input(name, spec, required=group == "required")) is not None:
                        inputs.setdefault(name, parsed)
    outputs = raw.get("output")
    names = raw.get("output_name")
    types = tuple(_output_type(item) for item in outputs) if isinstance(outputs, list | tuple) else ()
    return NodeClass(
        class_type=class_type,
        display_name=str(raw.get("display_name") or class_type),
        inputs=inputs,
        outputs=types,
        output_names=tuple(str(name) for name in names) if isinstance(names, list | tuple) else (),
        is_output_node=raw.get("output_node") is True,
        python_module=str(raw.get("python_module") or ""),
        is_deprecated=bool(raw.get("deprecated")),
        is_partner_node=bool(raw.get("api_node")),
        is_v3="api_node" in raw,  # V1 classes have no such key
        output_matchtypes=tuple(matched) if isinstance(matched := raw.get("output_matchtypes"), list) else (),
    )


def parse_input(name: str, spec: Any, *, required: bool) -> InputSpec | None:
    """One input as /object_info describes it: [type or options, {config}]. None for what is no such description."""
    if not isinstance(spec, list | tuple) or not spec:
        return None
    kind = spec[0]
    config = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    if isinstance(kind, list | tuple):
        return InputSpec(name, "COMBO", required, tuple(kind), legacy_combo=True, config=config)
    if kind == "COMBO":
        options = config.get("options")
        listed = tuple(options) if isinstance(options, list) and not config.get("remote") else None
        return InputSpec(name, "COMBO", required, listed, config=config)
    return InputSpec(name, str(kind), required, config=config)


def types_match(received: OutputType, spec: InputSpec) -> bool:
    """Whether an output may be linked to an input (comfy_execution/validation.py): unions like "INT,FLOAT" match by
    what they have in common. Wildcards and V3 match types count as fitting, since /object_info does not show how
    their classes compare."""
    if spec.legacy_combo:
        return received in (spec.options, "*")
    if not isinstance(received, str):
        return spec.type in ("*", "COMBO")
    if received == spec.type or received.startswith("COMFY_") or spec.type.startswith("COMFY_"):
        return True
    given = {part.strip() for part in received.split(",")}
    taken = {part.strip() for part in spec.type.split(",")}
    return "*" in given | taken or not given.isdisjoint(taken)


def _output_type(declared: Any) -> OutputType:
    return tuple(declared) if isinstance(declared, list) else str(declared)
