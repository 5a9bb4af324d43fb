"""Anything Everywhere: against what the real editor sent with the pack's own logic loaded (tests/data/packs/ue_*)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyui_api import Conversion, NodeClasses, convert_workflow
from comfyui_api.convert.packs.everywhere import TYPES
from tests.oracle import differences
from tests.support import DATA

CAPTURES = sorted((DATA / "packs").glob("ue_*.json"))
OBJECT_INFO: dict[str, Any] = {}
for _path in CAPTURES:
    OBJECT_INFO.update(json.loads(_path.read_text(encoding="utf-8"))["object_info"])
OBJECT_INFO["Seed Everywhere"] = {"input": {"required": {"seed": ["INT", {"default": 0}]}}, "output": ["INT"]}
UNKNOWN = {name: entry for name, entry in OBJECT_INFO.items() if name not in TYPES}
KEPT = {"version": "7.8", "widget_ue_connectable": {}}  # of a node that was saved with the pack


def node(node_id: int, class_type: str, values: Any = (), inputs: Any = (), outputs: Any = (), **more: Any) -> Any:
    """A node as saved. `inputs` are (name, type, link, …widget); `ue` is what the pack keeps in it."""
    slots = [
        {"name": name, "type": kind, "link": link, **({"widget": {"name": name}} if widget else {})}
        for name, kind, link, *widget in inputs
    ]
    ends = [{"name": kind, "type": kind, "links": []} for kind in outputs]
    properties = {"ue_properties": KEPT | more.pop("ue", {})} | more.pop("properties", {})
    return {
        "id": node_id,
        "type": class_type,
        "inputs": slots,
        "outputs": ends,
        "widgets_values": list(values),
        "properties": properties,
        **more,
    }


def image(node_id: int) -> Any:
    return node(node_id, "EmptyImage", [64, 64, 1, 0], outputs=["IMAGE"])


def taker(node_id: int, title: str, **more: Any) -> Any:
    return node(node_id, "ImageInvert", inputs=[("image", "IMAGE", None)], outputs=["IMAGE"], title=title, **more)


def everywhere(node_id: int, *links: int, kind: str = "IMAGE", **more: Any) -> Any:
    inputs = [(f"anything{link}", kind, link) for link in links]
    return node(node_id, "Anything Everywhere", inputs=inputs, **more)


def converted(*nodes: Any, links: Any = (), classes: Any = OBJECT_INFO, **more: Any) -> Conversion:
    workflow = {"nodes": list(nodes), "links": list(links), **more}
    return convert_workflow(workflow, NodeClasses.from_object_info(classes))


def said(conversion: Conversion) -> list[tuple[str | None, str]]:
    return [(note.node_id, note.message) for note in conversion.notes if note.code == "frontend_node"]


def reaches(title: str, **ue: Any) -> bool:
    """Whether a broadcast with these settings reaches an input `image` of a node with that title."""
    conversion = converted(image(1), everywhere(2, 1, ue=ue), taker(3, title), links=[[1, 1, 0, 2, 0, "IMAGE"]])
    return bool(conversion.prompt["3"]["inputs"] == {"image": ["1", 0]})


def test_there_are_15_captures() -> None:
    assert len(CAPTURES) == 15


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_broadcasts_are_linked_as_the_pack_does(capture: Path) -> None:
    data = json.loads(capture.read_text(encoding="utf-8"))
    ours = convert_workflow(data["workflow"], NodeClasses.from_object_info(data["object_info"])).prompt
    assert differences(ours, data["prompt"], data["object_info"]) == []


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_broadcasters_that_the_server_does_not_know_broadcast_and_are_not_sent(capture: Path) -> None:
    data = json.loads(capture.read_text(encoding="utf-8"))
    classes = {name: entry for name, entry in data["object_info"].items() if name not in TYPES}
    sent = {key: entry for key, entry in data["prompt"].items() if entry["class_type"] not in TYPES}
    ours = convert_workflow(data["workflow"], NodeClasses.from_object_info(classes))
    assert differences(ours.prompt, sent, classes) == []
    assert "unknown_class" not in {note.code for note in ours.notes}


# -- old files


def seed_everywhere(**more: Any) -> Any:
    slot = ("seed", "INT", None, "widget")
    return node(1, "Seed Everywhere", [77, "fixed"], [slot], ["INT"], properties={"ue_properties": {}}, **more)


def sampler(node_id: int, link: int | None = None, **connectable: bool) -> Any:
    inputs = [("seed", "INT", link, "widget"), ("steps", "INT", None, "widget")]
    values = [5, "fixed", 20, 8, "euler", "normal", 1]
    return node(node_id, "KSampler", values, inputs, ["LATENT"], ue={"widget_ue_connectable": connectable})


def numbers(conversion: Conversion, node_id: str) -> tuple[Any, Any]:
    inputs = conversion.prompt[node_id]["inputs"]
    return inputs["seed"], inputs["steps"]


def test_an_old_seed_everywhere_feeds_connectable_seeds_and_nothing_else() -> None:
    conversion = converted(seed_everywhere(), sampler(2, seed=True, steps=True), sampler(3, steps=True))
    assert numbers(conversion, "2") == (["1", 0], 20)
    assert numbers(conversion, "3") == (5, 20)


def test_a_seed_everywhere_that_the_server_does_not_know_gives_its_value() -> None:
    nodes = [seed_everywhere(), sampler(2, seed=True, steps=True), sampler(3, link=1)]
    conversion = converted(*nodes, links=[[1, 1, 0, 3, 0, "INT"]], classes=UNKNOWN)
    assert conversion.prompt.keys() == {"2", "3"}
    assert numbers(conversion, "2") == (77, 20)
    assert numbers(conversion, "3") == (77, 20)
    assert said(conversion) == [("1", "Broadcasts to seed of 2, seed of 3.")]


@pytest.mark.parametrize("names", [("+ve", "-ve"), ("CONDITIONING", "CONDITIONING2"), ("positive", "negative")])
@pytest.mark.parametrize("classes", [OBJECT_INFO, UNKNOWN], ids=["known", "unknown"])
def test_the_inputs_of_prompts_everywhere_are_positive_and_negative_by_their_order(names: Any, classes: Any) -> None:
    texts = [node(place, "CLIPTextEncode", ["x"], outputs=["CONDITIONING"]) for place in (1, 2)]
    inputs = [(name, "*", place) for place, name in enumerate(names, 1)]
    old = node(3, "Prompts Everywhere", inputs=inputs, properties={"ue_properties": {}})
    links = [[1, 1, 0, 3, 0, "CONDITIONING"], [2, 2, 0, 3, 1, "CONDITIONING"]]
    inputs = converted(*texts, old, sampler(4), links=links, classes=classes).prompt["4"]["inputs"]
    assert (inputs["positive"], inputs["negative"]) == (["1", 0], ["2", 0])


def test_old_coordinates_and_collapsed_nodes_count_in_frames() -> None:
    frame = {"title": "G", "bounding": [0, 0, 300, 300]}
    place: dict[str, Any] = {"pos": {"0": 10, "1": 40}, "size": {"0": 200, "1": 100}}
    far: dict[str, Any] = {"pos": [250, 40], "size": [200, 100]}
    conversion = converted(
        image(1),
        everywhere(2, 1, ue={"group_restricted": 1}, **place),
        taker(3, "in", **place),
        taker(4, "out", **far),
        taker(5, "x", **far, flags={"collapsed": True}),
        links=[[1, 1, 0, 2, 0, "IMAGE"]],
        groups=[frame],
    )
    assert [conversion.prompt[key]["inputs"] for key in "345"] == [{"image": ["1", 0]}, {}, {"image": ["1", 0]}]


# -- what is said


def test_a_broadcast_names_what_it_feeds_and_a_tie_what_it_leaves() -> None:
    nodes = [image(1), everywhere(2, 1), *(taker(place, "T") for place in range(3, 9))]
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 0, 9, 0, "IMAGE"]]
    listed = "image of 3, image of 4, image of 5, image of 6 and 2 more"
    assert said(converted(*nodes, links=links)) == [("2", f"Broadcasts to {listed}.")]
    assert said(converted(*nodes, everywhere(9, 2), links=links)) == [
        ("2", "Broadcasts to nothing: no unlinked input takes it."),
        ("9", "Broadcasts to nothing: no unlinked input takes it."),
        ("2", f"Broadcasts of 2 and 9 tie: ComfyUI links nothing to {listed}."),
    ]


def test_a_broadcaster_without_a_source_is_reported() -> None:
    muted = image(1) | {"mode": 2}
    conversion = converted(muted, everywhere(2, 1), taker(3, "T"), links=[[1, 1, 0, 2, 0, "IMAGE"]])
    assert ("2", "Broadcasts to nothing: nothing that runs is linked to it.") in said(conversion)


def test_a_bypassed_circle_before_a_broadcaster_ends() -> None:
    circle = [
        node(place, "ImageInvert", inputs=[("image", "IMAGE", place)], outputs=["IMAGE"], mode=4) for place in (1, 2)
    ]
    links = [[1, 2, 0, 1, 0, "IMAGE"], [2, 1, 0, 2, 0, "IMAGE"], [3, 1, 0, 4, 0, "IMAGE"]]
    conversion = converted(*circle, everywhere(4, 3), taker(5, "T"), links=links)
    assert conversion.prompt["5"]["inputs"] == {}


# -- expressions


@pytest.mark.parametrize(
    ("expression", "title", "found"),
    [
        ("^Ape$", "Ape", True),
        ("^Ape$", "Ape\n", False),
        (r"\d", "٣", False),
        (r"^\Ape", "Ape", True),
        (r"^A[\w ]+\bone", "A big one", True),
        ("[[x]", "[", True),
        ("[a&&b||c~~]", "&", True),
        ("[--]", "-", True),
        ("a[]|[^]", "z", True),
        ("{x", "{x", True),
        ("a{,2}", "aa", False),
        ("^a{2}$", "aa", True),
        (r"(?<one>a)\k<one>", "aa", True),
        ("(?<!n)ape", "nape", False),
        ("Ape|Blend|Cat|Dog|Eel|Fox|Gnu|Hen|Ibis|Jay|Koi|Lark|Mole|Newt|Owl|Pig|Ram|Sow", "A Sow", True),
    ],
)
def test_expressions_mean_what_they_mean_in_javascript(expression: str, title: str, found: bool) -> None:
    assert reaches(title, title_regex=expression) is found
    assert reaches(title, title_regex=expression, title_regex_invert=True) is not found


@pytest.mark.parametrize("expression", ["(", "(?i)Cat", "(?P<x>Cat)", "Cat++", "*Cat", "[", "Cat)"])
def test_what_is_no_expression_restricts_nothing_and_is_reported(expression: str) -> None:
    conversion = converted(
        image(1),
        everywhere(2, 1, ue={"title_regex": expression}),
        taker(3, "Dog"),
        links=[[1, 1, 0, 2, 0, "IMAGE"]],
    )
    assert conversion.prompt["3"]["inputs"] == {"image": ["1", 0]}
    assert any(where == "2" and "is left out" in message for where, message in said(conversion))


@pytest.mark.parametrize(
    "expression",
    ["(a+)+$", "(a|aa)*$", "(a*){2,}b", "x" * 201, ".*" * 50 + "b", "a?" * 50 + "b", "(a|a)" * 40 + "b"],
)
def test_an_expression_that_could_be_searched_with_forever_feeds_nothing_and_is_reported(expression: str) -> None:
    title = "a" * 200
    nodes = [image(1), everywhere(2, 1, ue={"title_regex": expression}), taker(3, title)]
    conversion = converted(*nodes, links=[[1, 1, 0, 2, 0, "IMAGE"]])
    assert conversion.prompt["3"]["inputs"] == {}
    assert any("forever" in message or "too costly" in message for _, message in said(conversion))
    assert not reaches(title, title_regex=expression, title_regex_invert=True)


@pytest.mark.parametrize("nonsense", [None, 1, "x", [], ["x", {}], {"x": 1}, float("nan"), 10**400])
def test_settings_of_any_shape_are_read(nonsense: Any) -> None:
    names = ["version", "title_regex", "group_regex", "priority", "group_restricted", "color_restricted"]
    names += ["repeated_type_rule", "widget_ue_connectable", "input_ue_unconnectable", "string_to_combo"]
    bad = {"ue": dict.fromkeys(names, nonsense), "pos": nonsense, "size": nonsense, "flags": nonsense}
    frame = {"title": nonsense, "bounding": nonsense}
    nodes = [image(1), everywhere(2, 1, 2, **bad), taker(3, "T", **bad)]
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 0, 2, 1, "IMAGE"]]
    assert converted(*nodes, links=links, groups=[frame]).prompt.keys() == {"1", "2", "3"}
    own = node(4, "Anything Everywhere?", inputs=[("anything", "*", 1)], properties={"ue_properties": nonsense})
    own["widgets_values"] = nonsense
    assert converted(image(1), own, links=[[1, 1, 0, 4, 0, "IMAGE"]], classes=UNKNOWN).prompt.keys() == {"1"}
