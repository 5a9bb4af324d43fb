"""Conversion: cases that a real frontend has judged, and what the notes say where it is not followed.

live/test_conversion.py lets the frontend itself judge generated workflows.
"""

from __future__ import annotations

import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from comfyui_api import Conversion, NodeClasses, convert_workflow
from comfyui_api.convert.texts import resolve_choices
from comfyui_api.errors import WorkflowUnreadable
from tests.oracle import differences
from tests.support import DATA

CASES = sorted((DATA / "ui_convert").glob("*.json"))
OBJECT_INFO = json.loads((DATA / "ui_convert_classes.json").read_text(encoding="utf-8"))
CLASSES = NodeClasses.from_object_info(OBJECT_INFO)

# What the frontend does wrong, or cannot do at all: (node, input) that differ, and why.
DEPARTURES: dict[str, tuple[set[tuple[str, str]], str]] = {
    "ksampler_noctrl": (
        {("1", name) for name in ("steps", "cfg", "sampler_name", "scheduler", "denoise")},
        "a list of values without the entry of control_after_generate: the frontend shifts them into wrong inputs",
    ),
    "v3node": ({("1", "rem")}, "the frontend takes the first of the options that it fetches from the server"),
    "missing_type": ({("2", "class_type")}, "the frontend sends an unknown class without its name"),
}


def node(node_id: Any, class_type: str, values: Any = None, inputs: Any = (), outputs: Any = (), **more: Any) -> Any:
    """A node as saved. `inputs` are (name, type, link) or (name, type, link, widget)."""
    slots = [
        {"name": slot[0], "type": slot[1], "link": slot[2], **({"widget": {"name": slot[3]}} if len(slot) > 3 else {})}
        for slot in inputs
    ]
    ends = [{"name": kind, "type": kind, "links": []} for kind in outputs]
    return {"id": node_id, "type": class_type, "inputs": slots, "outputs": ends, "widgets_values": values, **more}


def converted(*nodes: Any, links: Any = (), **more: Any) -> Conversion:
    return convert_workflow({"nodes": list(nodes), "links": list(links), **more}, CLASSES)


def codes(conversion: Conversion) -> list[tuple[str, str | None, str | None]]:
    return [(note.code, note.node_id, note.input) for note in conversion.notes]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_edge_cases_are_converted_as_the_frontend_does(case: Path) -> None:
    data = json.loads(case.read_text(encoding="utf-8"))
    conversion = convert_workflow(data["workflow"], CLASSES)
    if "__error__" in data["prompt"]:  # the frontend refuses to queue what can well be run
        assert case.stem == "sub_passthrough"
        assert conversion.prompt["4"]["inputs"] == {"images": ["1", 0]}
        return
    departed, _ = DEPARTURES.get(case.stem, (set(), ""))
    found = {(each.node, each.input) for each in differences(conversion.prompt, data["prompt"], OBJECT_INFO)}
    assert found == departed


def test_there_are_28_edge_cases() -> None:
    assert len(CASES) == 28


def test_a_list_without_control_entries_is_read_by_the_types_it_fits() -> None:
    conversion = converted(node(3, "KSampler", [123, 20, 7.5, "euler", "normal", 0.9]))
    inputs = conversion.prompt["3"]["inputs"]
    assert (inputs["seed"], inputs["steps"], inputs["cfg"], inputs["denoise"]) == (123, 20, 7.5, 0.9)
    assert codes(conversion) == [("shifted_values", "3", None)]


def test_values_that_fit_no_reading_stay_as_the_frontend_puts_them_and_are_reported() -> None:
    conversion = converted(node(3, "KSampler", ["a", "b", "c"]))
    assert conversion.prompt["3"]["inputs"]["seed"] == "a"
    assert ("shifted_values", "3", "seed") in codes(conversion)


def test_names_in_the_file_count_where_the_order_does_not_fit() -> None:
    named = {"seed": 5, "steps": 9, "cfg": 2, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}
    conversion = converted(node(3, "KSampler", ["x", 1, 2], widgets_values_named=named))
    assert conversion.prompt["3"]["inputs"] == named


def test_values_saved_as_an_object_go_by_their_names() -> None:
    conversion = converted(node(1, "EmptyImage", {"height": 32, "width": 48, "videopreview": {"hidden": True}}))
    assert conversion.prompt["1"]["inputs"] | {"width": 48, "height": 32} == conversion.prompt["1"]["inputs"]
    assert codes(conversion) == [("default_filled", "1", None)]
    assert "batch_size, color" in conversion.notes[0].message


def test_an_unknown_class_is_kept_with_its_links_and_reported() -> None:
    conversion = converted(
        node(1, "EmptyImage", [64, 64, 1, 0], outputs=["IMAGE"]),
        node(2, "NoSuch", ["a", 3], [("image", "IMAGE", 1)], ["IMAGE"]),
        node(3, "PreviewImage", [], [("images", "IMAGE", 2)]),
        links=[[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
    )
    assert conversion.prompt["2"] == {
        "class_type": "NoSuch",
        "inputs": {"image": ["1", 0]},
        "_meta": {"title": "NoSuch"},
    }
    assert conversion.prompt["3"]["inputs"] == {"images": ["2", 0]}
    assert codes(conversion) == [("unknown_class", "2", None)]
    assert "'a', 3" in conversion.notes[0].message


def test_values_of_an_unknown_class_go_by_the_names_that_the_file_has() -> None:
    listed = [("text", "STRING", None, "text"), ("seed", "INT", None, "seed")]
    by_slots = converted(node(2, "NoSuch", ["a", 3, "randomize"], listed))
    by_names = converted(node(2, "NoSuch", ["a", 3], widgets_values_named={"text": "a", "seed": 3}))
    assert by_slots.prompt["2"]["inputs"] == by_names.prompt["2"]["inputs"] == {"text": "a", "seed": 3}


def test_a_muted_unknown_class_is_not_worth_a_note() -> None:
    assert converted(node(2, "NoSuch", ["a"], mode=2)) == Conversion({}, [])


def test_a_link_that_is_in_no_list_is_dropped_and_reported() -> None:
    conversion = converted(node(4, "PreviewImage", [], [("images", "IMAGE", 55)]))
    assert conversion.prompt["4"]["inputs"] == {}
    assert codes(conversion) == [("dangling_link", "4", None)]


def test_a_link_from_a_muted_node_is_dropped_and_reported() -> None:
    conversion = converted(
        node(1, "EmptyImage", [64, 64, 1, 0], outputs=["IMAGE"], mode=2),
        node(4, "PreviewImage", [], [("images", "IMAGE", 1)]),
        links=[[1, 1, 0, 4, 0, "IMAGE"]],
    )
    assert conversion.prompt == {"4": {"class_type": "PreviewImage", "inputs": {}, "_meta": {"title": "Preview Image"}}}
    assert codes(conversion) == [("dropped_link", "4", "images")]


def test_links_may_be_objects_and_ids_texts() -> None:
    link = {"id": 1, "origin_id": "a", "origin_slot": 0, "target_id": "b", "target_slot": 0, "type": "IMAGE"}
    conversion = converted(
        node("a", "EmptyImage", [64, 64, 1, 0], outputs=["IMAGE"]),
        node("b", "PreviewImage", [], [("images", "IMAGE", 1)]),
        links=[link],
        version=1,
    )
    assert conversion.prompt["b"]["inputs"] == {"images": ["a", 0]}


def test_two_nodes_with_one_id_are_told_apart_and_reported() -> None:
    conversion = converted(node(1, "EmptyImage", [64, 64, 1, 0]), node(1, "EmptyImage", [32, 32, 1, 0]), last_node_id=7)
    assert {key: entry["inputs"]["width"] for key, entry in conversion.prompt.items()} == {"1": 64, "8": 32}
    assert codes(conversion) == [("renumbered", "8", None)]


def test_an_id_that_looks_like_the_path_to_another_node_is_reported() -> None:
    workflow = json.loads((DATA / "ui_convert" / "sub_simple.json").read_text(encoding="utf-8"))["workflow"]
    inner = next(key for key in convert_workflow(workflow, CLASSES).prompt if ":" in key)
    workflow["nodes"].append(node(inner, "EmptyImage", [8, 8, 1, 0]))
    conversion = convert_workflow(workflow, CLASSES)
    assert ("unreadable", inner, None) in codes(conversion)
    assert conversion.prompt[inner]["class_type"] == "ImageInvert"


def test_separators_of_the_other_system_are_put_right_where_the_file_is_known() -> None:
    classes = NodeClasses.from_object_info(
        {"Loader": {"input": {"required": {"name": [["sub/x.safetensors", "y.safetensors"]]}}, "output": []}}
    )
    workflow = {"nodes": [node(1, "Loader", ["sub\\x.safetensors"]), node(2, "Loader", ["sub\\z.safetensors"])]}
    conversion = convert_workflow(workflow, classes)
    assert conversion.prompt["1"]["inputs"] == {"name": "sub/x.safetensors"}
    assert conversion.prompt["2"]["inputs"] == {"name": "sub\\z.safetensors"}
    assert codes(conversion) == [("replaced_value", "1", "name")]


def test_array_values_are_wrapped() -> None:
    classes = NodeClasses.from_object_info(
        {"Many": {"input": {"required": {"names": ["COMBO", {"options": ["a"], "multi_select": {}}]}}, "output": []}}
    )
    conversion = convert_workflow({"nodes": [node(1, "Many", [["a", "b"]])]}, classes)
    assert conversion.prompt["1"]["inputs"] == {"names": {"__value__": ["a", "b"]}}


def test_large_seeds_keep_all_their_digits() -> None:
    """JavaScript would round them."""
    seed = 2**64 - 1
    assert (
        converted(node(3, "KSampler", [seed, "fixed", 20, 8, "euler", "normal", 1])).prompt["3"]["inputs"]["seed"]
        == seed
    )


def test_the_given_workflow_stays_as_it_is() -> None:
    for case in CASES:
        workflow = json.loads(case.read_text(encoding="utf-8"))["workflow"]
        before = copy.deepcopy(workflow)
        convert_workflow(workflow, CLASSES)
        assert workflow == before, case


@pytest.mark.parametrize("given", [{}, {"1": {"class_type": "A"}}, {"nodes": {}}, {"nodes": None}])
def test_what_is_no_ui_workflow_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(WorkflowUnreadable, match="no list of nodes"):
        convert_workflow(given, CLASSES)


@pytest.mark.parametrize(
    ("text", "choices", "expected"),
    [
        ("a {red|blue} cat", [1], "a blue cat"),
        ("{a|{b|c}}", [1, 0], "b"),
        ("{a}{|b}", [0, 0], "a"),
        (r"\{a\|b\}", [], "{a|b}"),
        ("one // gone\ntwo /* gone\ntoo */ three", [], "one \ntwo  three"),
        ("open {a|b", [1], "open b"),
        ("plain", [], "plain"),
    ],
)
def test_choices_are_made_by_the_given_source(text: str, choices: list[int], expected: str) -> None:
    left = iter(choices)
    assert resolve_choices(text, lambda count: min(next(left), count - 1)) == expected


def test_file_names_may_name_values_and_the_date() -> None:
    workflow = {
        "nodes": [
            node(1, "KSampler", [7, "fixed", 20, 8, "euler", "normal", 1], properties={"Node name for S&R": "Main"}),
            node(2, "Saver", ["%Main.seed%_%date:yyyy-MM-dd%_%Nobody.x%"], title="out"),
        ]
    }
    saver = {"input": {"required": {"filename_prefix": ["STRING", {}]}}, "output": [], "output_node": True}
    classes = NodeClasses.from_object_info({**OBJECT_INFO, "SaveImage": saver})
    workflow["nodes"][1]["type"] = "SaveImage"
    conversion = convert_workflow(workflow, classes, now=datetime(2026, 3, 4))
    assert conversion.prompt["2"]["inputs"]["filename_prefix"] == "7_2026-03-04_%Nobody.x%"
    assert ("resolved_text", "2", "filename_prefix") in codes(conversion)


def test_a_value_can_be_written_back_where_it_came_from() -> None:
    workflow = json.loads((DATA / "ui_convert" / "sub_widget_promoted_value.json").read_text(encoding="utf-8"))[
        "workflow"
    ]
    conversion = convert_workflow(workflow, CLASSES)
    assert conversion.prompt["12:5"]["inputs"]["width"] == 200
    assert conversion.write("12:5", "width", 96)
    assert conversion.write("12:5", "height", 97)
    again = convert_workflow(workflow, CLASSES).prompt["12:5"]["inputs"]
    assert (again["width"], again["height"]) == (96, 97)


def test_a_value_that_several_nodes_share_is_not_written_for_one_of_them() -> None:
    workflow = json.loads((DATA / "ui_convert" / "primitive.json").read_text(encoding="utf-8"))["workflow"]
    conversion = convert_workflow(workflow, CLASSES)
    assert not conversion.write("1", "width", 96)
    assert conversion.write("1", "batch_size", 2)


def test_links_and_filled_in_defaults_have_no_place_to_be_written_to() -> None:
    conversion = converted(node(1, "EmptyImage", [64]), node(2, "PreviewImage", [], [("images", "IMAGE", None)]))
    assert not conversion.write("1", "height", 5)
    assert not conversion.write("2", "images", 5)
    assert not conversion.write("9", "x", 5)
