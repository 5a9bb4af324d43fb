"""Random workflows as the editor saves them: reroutes, primitives, mutes, bypasses and subgraphs in subgraphs."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import strategies as st

Workflow = dict[str, Any]

CLASSES = [
    "EmptyImage",
    "ImageInvert",
    "ImageBlend",
    "ImageScale",
    "ImageBatch",
    "KSampler",
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "LatentUpscale",
    "VAEDecode",
    "VAEEncode",
    "LoadImage",
    "ImageToMask",
    "MaskToImage",
    "InvertMask",
    "PreviewImage",
    "SaveImage",
    "PrimitiveInt",
    "PrimitiveFloat",
    "PrimitiveString",
    "StringConcatenate",
    "LoraLoader",
    "PreviewAny",
]
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
MODES = st.sampled_from([0, 0, 0, 0, 0, 2, 4, 4])


class _Builder:
    """One graph under construction: nodes by id, and what may be linked to what."""

    def __init__(self, draw: Any, object_info: dict[str, Any], ids: list[int], links: list[int]) -> None:
        self.draw = draw
        self.object_info = object_info
        self.ids = ids  # the next free id, shared by all graphs of a workflow unless ids are to collide
        self.last_link = links
        self.nodes: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []

    def add(self, type_name: str, inputs: list[Any], outputs: list[Any], values: Any, **more: Any) -> dict[str, Any]:
        self.ids[0] += 1
        node = {
            "id": self.ids[0],
            "type": type_name,
            "pos": [0, 0],
            "size": [200, 100],
            "flags": {},
            "order": len(self.nodes),
            "mode": self.draw(MODES),
            "inputs": inputs,
            "outputs": outputs,
            "properties": {},
            "widgets_values": values,
            **more,
        }
        self.nodes.append(node)
        return node

    def add_class(self, class_type: str) -> dict[str, Any]:
        sockets, widgets, values = [], [], []
        for name, spec in declared(self.object_info, class_type):
            kind = "COMBO" if isinstance(spec[0], list) else spec[0]
            config = spec[1] if len(spec) > 1 else {}
            if kind in WIDGETS and not config.get("forceInput"):
                widgets.append({"name": name, "type": kind, "widget": {"name": name}, "link": None})
                values += self.draw(_values(name, kind, spec, config))
            else:
                sockets.append({"name": name, "type": kind, "link": None})
        outputs: list[dict[str, Any]] = [
            {"name": str(kind), "type": "COMBO" if isinstance(kind, list) else kind, "links": []}
            for kind in self.object_info[class_type]["output"]
        ]
        cut = self.draw(st.sampled_from([None] * 8 + [0, 1, 3]))
        return self.add(class_type, sockets + widgets, outputs, values[:cut])

    def link(self, origin: Any, origin_slot: int, target: Any, target_slot: int, kind: str) -> int:
        self.last_link[0] += 1
        self.links.append(
            {
                "id": self.last_link[0],
                "origin_id": origin,
                "origin_slot": origin_slot,
                "target_id": target,
                "target_slot": target_slot,
                "type": kind,
            }
        )
        return self.last_link[0]

    def connect(self, origin: dict[str, Any], slot: int, target: dict[str, Any], place: int) -> None:
        number = self.link(origin["id"], slot, target["id"], place, origin["outputs"][slot]["type"])
        target["inputs"][place]["link"] = number
        origin["outputs"][slot]["links"].append(number)

    def connect_all(self) -> None:
        """Link some of the inputs to fitting outputs of earlier nodes, which keeps the graph free of circles."""
        for index, node in enumerate(self.nodes):
            for place, slot in enumerate(node["inputs"]):
                if slot["link"] is not None or self.draw(st.integers(0, 9)) < (3 if slot.get("widget") else 1):
                    continue
                if slot.get("widget") and self.draw(st.booleans()):
                    continue
                fitting = [
                    (origin, number)
                    for origin in self.nodes[:index]
                    for number, output in enumerate(origin["outputs"])
                    if fits(output["type"], wanted(node, slot)) and origin["type"] != "PrimitiveNode"
                ]
                if fitting:
                    origin, number = self.draw(st.sampled_from(fitting))
                    self.connect(origin, number, node, place)

    def add_reroute(self, kind: str) -> None:
        self.add(
            "Reroute", [{"name": "", "type": "*", "link": None}], [{"name": kind, "type": kind, "links": []}], None
        )

    def add_primitive(self) -> None:
        """A PrimitiveNode on one or two widgets of one type."""
        free = [
            (node, place)
            for node in self.nodes
            for place, slot in enumerate(node["inputs"])
            if slot.get("widget") and slot["link"] is None and node["type"] in self.object_info
        ]
        if not free:
            return
        node, place = self.draw(st.sampled_from(free))
        slot = node["inputs"][place]
        spec = dict(declared(self.object_info, node["type"]))[slot["name"]]
        config = spec[1] if len(spec) > 1 else {}
        value = self.draw(_values("value", slot["type"], spec, config))[:1]
        output = {"name": slot["type"], "type": slot["type"], "links": [], "widget": {"name": slot["name"]}}
        primitive = self.add("PrimitiveNode", [], [output], [*value, "fixed"])
        self.connect(primitive, 0, node, place)
        others = [
            (other, at)
            for other, at in free
            if other["inputs"][at]["type"] == slot["type"] == "INT" and other["inputs"][at]["link"] is None
        ]
        if others and self.draw(st.booleans()):
            self.connect(primitive, 0, *self.draw(st.sampled_from(others)))


def declared(object_info: dict[str, Any], class_type: str) -> list[tuple[str, Any]]:
    groups = object_info[class_type]["input"]
    return [*(groups.get("required") or {}).items(), *(groups.get("optional") or {}).items()]


def wanted(node: dict[str, Any], slot: dict[str, Any]) -> str:
    """An input's type; a reroute takes what it hands on, as the editor cuts links of other types."""
    kind: str = node["outputs"][0]["type"] if node["type"] == "Reroute" else slot["type"]
    return kind


def fits(output: str, wanted: str) -> bool:
    return output == wanted or "*" in (output, wanted)


def _values(name: str, kind: str, spec: Any, config: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    """What a widget has in the file: its value, and the entry of control_after_generate behind some."""
    value: st.SearchStrategy[Any]
    if kind == "INT":
        value = st.integers(max(config.get("min", 0), -(2**40)), min(config.get("max", 2048), 2**40))
    elif kind == "FLOAT":
        low, high = max(config.get("min", 0.0), -1000.0), min(config.get("max", 100.0), 1000.0)
        value = st.integers(0, 100).map(lambda part: round(low + (high - low) * part / 100, 2))
    elif kind == "BOOLEAN":
        value = st.booleans()
    elif kind == "COMBO":
        options = spec[0] if isinstance(spec[0], list) else config.get("options") or []
        value = st.sampled_from([*options[:5], "not installed.safetensors", None])
    else:
        value = st.sampled_from(["", "a cat", "a {red|red} cat // no dog", "line\nbreak", "\\{x\\}", "%date%"])
    control = config.get("control_after_generate", name in ("seed", "noise_seed") and kind == "INT")
    return st.tuples(value, st.just("fixed")).map(list) if control else value.map(lambda one: [one])


def _uuid(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


@st.composite
def workflows(draw: Any, object_info: dict[str, Any], *, colliding: bool = False) -> Workflow:
    """A workflow of up to a dozen nodes and three subgraphs. `colliding` lets ids occur in several graphs."""
    ids, links = [0], [0]
    definitions: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 3))):
        inner_ids = [draw(st.integers(0, 5))] if colliding else ids
        definitions.append(draw(_definitions(object_info, definitions, inner_ids, [0])))
    builder = _Builder(draw, object_info, ids, links)
    _fill(builder, definitions, draw(st.integers(2, 9)))
    workflow: Workflow = {
        "last_node_id": ids[0],
        "last_link_id": links[0],
        "nodes": builder.nodes,
        "links": [list(link.values()) for link in builder.links],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }
    if definitions:
        workflow["definitions"] = {"subgraphs": definitions}
    return workflow


def _fill(builder: _Builder, definitions: list[dict[str, Any]], count: int) -> None:
    draw = builder.draw
    for _ in range(count):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            builder.add_reroute(draw(st.sampled_from(["IMAGE", "MODEL", "CONDITIONING", "INT"])))
        elif kind in (1, 2, 3) and definitions:
            _add_instance(builder, draw(st.sampled_from(definitions)))
        else:
            builder.add_class(draw(st.sampled_from(CLASSES)))
    builder.connect_all()
    if draw(st.booleans()):
        builder.add_primitive()


def _add_instance(builder: _Builder, definition: dict[str, Any]) -> None:
    draw = builder.draw
    inputs = [{"name": port["name"], "type": port["type"], "link": None} for port in definition["inputs"]]
    shown = [place for place, port in enumerate(definition["inputs"]) if port["type"] in WIDGETS]
    for place in shown:
        inputs[place]["widget"] = {"name": inputs[place]["name"]}
    values = [draw(st.sampled_from([7, 64, "text", True, 0.5])) for _ in shown]
    outputs = [{"name": port["name"], "type": port["type"], "links": []} for port in definition["outputs"]]
    node = builder.add(definition["id"], inputs, outputs, values)
    if draw(st.integers(0, 3)) == 0:
        named = [
            [str(inner["id"]), slot["name"]]
            for inner in definition["nodes"]
            for slot in inner["inputs"]
            if slot.get("widget")
        ]
        if named:
            listed = draw(st.lists(st.sampled_from(named), max_size=3, unique_by=tuple))
            node["properties"]["proxyWidgets"] = listed
            node["widgets_values"] = [draw(st.sampled_from([7, 64, "text", True, 0.5])) for _ in listed]


@st.composite
def _definitions(
    draw: Any, object_info: dict[str, Any], known: list[dict[str, Any]], ids: list[int], links: list[int]
) -> dict[str, Any]:
    """A definition that may hold instances of those before it."""
    builder = _Builder(draw, object_info, ids, links)
    _fill(builder, known, draw(st.integers(2, 5)))
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    free = [
        (node, place) for node in builder.nodes for place, slot in enumerate(node["inputs"]) if slot["link"] is None
    ]
    for node, place in draw(
        st.lists(st.sampled_from(free), max_size=4, unique_by=lambda end: (end[0]["id"], end[1]))
        if free
        else st.just([])
    ):
        slot = node["inputs"][place]
        kind = wanted(node, slot)
        shared = [port for port in inputs if port["type"] == kind]
        if shared and draw(st.booleans()):
            port = draw(st.sampled_from(shared))
        else:
            taken = {known_port["name"] for known_port in inputs}
            name = next(
                f"{slot['name']}{mark}" for mark in ("", "_1", "_2", "_3", "_4") if slot["name"] + mark not in taken
            )
            port = {
                "id": _uuid(links[0] * 100 + len(inputs) + len(outputs)),
                "name": name,
                "type": kind,
                "linkIds": [],
            }
            inputs.append(port)
        number = builder.link(-10, inputs.index(port), node["id"], place, kind)
        slot["link"] = number
        port["linkIds"].append(number)
    sources = [
        (node, number)
        for node in builder.nodes
        for number in range(len(node["outputs"]))
        if node["type"] != "PrimitiveNode"
    ]
    for node, number in draw(
        st.lists(st.sampled_from(sources), max_size=3, unique_by=lambda end: (end[0]["id"], end[1]))
        if sources
        else st.just([])
    ):
        kind = node["outputs"][number]["type"]
        link = builder.link(node["id"], number, -20, len(outputs), kind)
        node["outputs"][number]["links"].append(link)
        outputs.append(
            {
                "id": _uuid(links[0] * 100 + len(inputs) + len(outputs)),
                "name": f"{kind}{len(outputs)}",
                "type": kind,
                "linkIds": [link],
            }
        )
    identity = _uuid(2**100 + len(known))
    return {
        "id": identity,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": ids[0], "lastLinkId": links[0], "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": "Part",
        "inputNode": {"id": -10, "bounding": [0, 0, 10, 10]},
        "outputNode": {"id": -20, "bounding": [0, 0, 10, 10]},
        "inputs": inputs,
        "outputs": outputs,
        "widgets": [],
        "nodes": builder.nodes,
        "groups": [],
        "links": builder.links,
        "extra": {},
    }
