"""foundation/: the schemas are sound and tell right from wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from comfyui_api.documents import schema
from tests.support import image_prompt

FOUNDATION = Path(__file__).resolve().parent.parent / "foundation"


def conforms(name: str, value: Any) -> bool:
    return bool(Draft202012Validator(schema(name)).is_valid(value))


def prompt_with(value: Any) -> dict[str, Any]:
    """The smallest prompt, with one input changed."""
    prompt = image_prompt()
    prompt["2"]["inputs"]["images"] = value
    return prompt


@pytest.mark.parametrize("path", sorted(FOUNDATION.glob("*.schema.json")), ids=lambda path: str(path.name))
def test_every_schema_is_sound_and_says_which_draft_it_is(path: Path) -> None:
    found = json.loads(path.read_text("utf-8"))
    assert found["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(found)


def test_smallest_prompt_is_a_prompt() -> None:
    assert conforms("api-workflow", image_prompt())


def test_titles_and_what_comes_out_of_pictures_may_stand_beside_a_node() -> None:
    prompt = image_prompt()
    prompt["1"] |= {"_meta": {"title": "Empty"}, "is_changed": ["a"]}
    assert conforms("api-workflow", prompt)


@pytest.mark.parametrize(
    "value", [["1", 0], ["12:8:6", 3], "text", 1.5, True, None, {"__value__": []}, {"__value__": ["", ""]}, {"x": [1]}]
)
def test_links_values_and_literal_lists_are_inputs(value: Any) -> None:
    assert conforms("api-workflow", prompt_with(value))


@pytest.mark.parametrize(
    "value", [[1, 0], ["1"], ["1", 0, 0], ["1", "0"], ["1", 0.5], ["1", -1], [], {"__value__": "text"}]
)
def test_lists_that_are_no_links_are_not_inputs(value: Any) -> None:
    assert not conforms("api-workflow", prompt_with(value))


@pytest.mark.parametrize(
    "node",
    [
        {"inputs": {}},
        {"class_type": "EmptyImage"},
        {"class_type": "EmptyImage", "inputs": None},
        {"class_type": "EmptyImage", "inputs": []},
        {"class_type": 1, "inputs": {}},
        [],
    ],
)
def test_node_needs_its_class_and_an_object_of_inputs(node: Any) -> None:
    assert not conforms("api-workflow", {**image_prompt(), "3": node})


def test_ui_workflow_and_an_empty_object_are_no_prompts() -> None:
    workflow = {"last_node_id": 1, "nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}
    assert not conforms("api-workflow", workflow)
    assert not conforms("api-workflow", {"nodes": [], "links": []})
    assert not conforms("api-workflow", {})


@pytest.mark.parametrize(
    ("manifest", "sound"),
    [
        ("comfyui_url: http://127.0.0.1:8188", True),
        ("comfyui_url: https://gpu.example/comfy\ntitle: Posters", True),
        ("comfyui_url: gpu", True),
        ("title: Posters", True),
        ("comfyui_url: 127.0.0.1:8188", False),
        ("comfyui_url: ftp://gpu.example", False),
        ("comfyui_url: 8188", False),
        ("- comfyui_url", False),
    ],
)
def test_manifest_names_a_server_or_none(manifest: str, *, sound: bool) -> None:
    assert conforms("project-manifest", yaml.safe_load(manifest)) is sound


SMALLEST = {
    "format": 2,
    "last_updated": "2026-01-01T00:00:00+00:00",
    "mode": "offline",
    "models": {"vae": {"a.pt": 5, "b.pt": None}},
    "custom_nodes": {"Pack": {"version": "1.0", "enabled": False}, "single": {}},
    "embeddings": ["neg"],
}


@pytest.mark.parametrize("part", ["last_updated", "mode", "models", "custom_nodes", "embeddings"])
def test_inventory_has_all_its_parts(part: str) -> None:
    assert conforms("inventory", SMALLEST)
    assert not conforms("inventory", {key: value for key, value in SMALLEST.items() if key != part})


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"models": {"vae": ["a.pt"]}},
        {"models": {"vae": {"a.pt": -1}}},
        {"models": {"vae": {"a.pt": "5 GB"}}},
        {"custom_nodes": ["Pack"]},
        {"custom_nodes": {"Pack": {"version": 1}}},
        {"node_classes": {"file": "../other.sqlite", "count": 1}},
        {"classes_updated": "yesterday"},
    ],
)
def test_inventory_of_this_form_keeps_to_it(change: dict[str, Any]) -> None:
    assert not conforms("inventory", {**SMALLEST, **change})


def test_inventory_of_the_older_form_has_lists_of_names() -> None:
    assert conforms("inventory", {"models": {"vae": ["a.pt"]}, "custom_nodes": ["Pack"]})
    assert conforms("inventory", {"custom_nodes": ["Pack"], "system": {"gpu": "RTX"}})
    assert not conforms("inventory", {"models": {"vae": {"a.pt": 5}}})
    assert not conforms("inventory", {"last_updated": "2026-01-01T00:00:00Z"})
