"""Conversion judged by the real web frontend: generated workflows, and workflows on their whole way to a picture."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from comfyui_api import NodeClasses, convert_workflow
from comfyui_api.workflow_files import load_file
from tests.graphs import workflows
from tests.oracle import Frontend, FrontendError, ObjectInfo, differences
from tests.support import agent, environment_for

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"

GENERATED = 120  # workflows of each kind

# A subgraph with a picture inside, its width shown outside, and a reroute on the way to the saver.
PART = "11111111-2222-4333-8444-555555555555"
WORKFLOW: dict[str, Any] = {
    "last_node_id": 6,
    "last_link_id": 3,
    "nodes": [
        {
            "id": 1,
            "type": PART,
            "mode": 0,
            "inputs": [{"name": "width", "type": "INT", "link": None, "widget": {"name": "width"}}],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "properties": {},
            "widgets_values": [48],
        },
        {
            "id": 2,
            "type": "Reroute",
            "mode": 0,
            "inputs": [{"name": "", "type": "*", "link": 1}],
            "outputs": [{"name": "", "type": "IMAGE", "links": [2]}],
            "properties": {},
        },
        {
            "id": 3,
            "type": "SaveImage",
            "mode": 0,
            "inputs": [{"name": "images", "type": "IMAGE", "link": 2}],
            "outputs": [],
            "properties": {},
            "widgets_values": ["drawn"],
        },
        {"id": 4, "type": "Note", "mode": 0, "inputs": [], "outputs": [], "widgets_values": ["for people"]},
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
    "definitions": {
        "subgraphs": [
            {
                "id": PART,
                "name": "Part",
                "inputs": [{"id": "a", "name": "width", "type": "INT", "linkIds": [1]}],
                "outputs": [{"id": "b", "name": "IMAGE", "type": "IMAGE", "linkIds": [2]}],
                "nodes": [
                    {
                        "id": 5,
                        "type": "EmptyImage",
                        "mode": 0,
                        "inputs": [{"name": "width", "type": "INT", "link": 1, "widget": {"name": "width"}}],
                        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2]}],
                        "properties": {},
                        "widgets_values": [64, 40, 1, 255],
                    }
                ],
                "links": [
                    {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "INT"},
                    {"id": 2, "origin_id": 5, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
                ],
            }
        ]
    },
}


@pytest.mark.parametrize("colliding", [False, True], ids=["unique ids", "colliding ids"])
def test_generated_workflows_are_converted_as_the_frontend_does(
    frontend: Frontend, frontend_classes: ObjectInfo, colliding: bool
) -> None:
    classes = NodeClasses.from_object_info(frontend_classes)
    drawn: list[dict[str, Any]] = []

    @settings(
        max_examples=GENERATED,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(workflows(frontend_classes, colliding=colliding))
    def draw(workflow: dict[str, Any]) -> None:
        drawn.append(json.loads(json.dumps(workflow)))

    draw()
    judged = 0
    for workflow in drawn:
        ours = convert_workflow(workflow, classes)
        try:
            theirs = frontend.convert(workflow, random=0.0)
        except FrontendError as exc:
            # It gives up on a bypassed node without inputs, where the link can only be dropped.
            assert "No input found for flattened id" in str(exc), json.dumps(workflow)
            continue
        found = differences(ours.prompt, theirs, frontend_classes)
        assert not found, f"{found[:5]}\n{json.dumps(workflow)}"
        judged += 1
    assert judged > GENERATED * 0.9


@pytest.mark.parametrize("values", [[None, "fixed"], [None], [], ["", "fixed"], ["zzz", "fixed"]], ids=str)
@pytest.mark.parametrize("class_type", ["LoraLoaderModelOnly", "CheckpointLoaderSimple"])
def test_a_primitive_without_a_value_sends_what_the_frontend_sends(
    frontend: Frontend, frontend_classes: ObjectInfo, class_type: str, values: list[Any]
) -> None:
    (name,) = [each for each in frontend_classes[class_type]["input"]["required"] if each.endswith("_name")]
    slot = {"name": name, "type": "COMBO", "link": 1, "widget": {"name": name}}
    output = {"name": "COMBO", "type": "COMBO", "links": [1], "widget": {"name": name}}
    workflow: dict[str, Any] = {
        "nodes": [
            {"id": 1, "type": class_type, "mode": 0, "inputs": [slot], "outputs": [], "widgets_values": []},
            {"id": 2, "type": "PrimitiveNode", "mode": 0, "inputs": [], "outputs": [output], "widgets_values": values},
        ],
        "links": [[1, 2, 0, 1, 0, "COMBO"]],
        "version": 0.4,
    }
    ours = convert_workflow(workflow, NodeClasses.from_object_info(frontend_classes))
    assert not differences(ours.prompt, frontend.convert(workflow, random=0.0), frontend_classes)


async def test_a_ui_workflow_runs_and_its_picture_holds_the_workflow(comfyui: str, home: Path) -> None:
    """Saved as a file, queued with overrides, fetched: the picture opens in the editor as what was run."""
    (home / "drawing.json").write_text(json.dumps(WORKFLOW), encoding="utf-8")
    async with agent(environment_for(home, comfyui)) as user:
        checked = await user.call("validate_workflow", workflow="drawing.json")
        assert (checked["valid"], checked["format"]) == (True, "ui")
        queued = await user.call(
            "queue_workflow",
            workflow="drawing.json",
            inputs={"1:5.width": 96, "1:5.height": 32, "3.filename_prefix": "x"},
        )
        assert queued["status"] == "queued", queued
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
        files = (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"]
    assert [(file["width"], file["height"]) for file in files] == [(96, 32)]
    loaded = load_file(Path(files[0]["path"]))
    assert loaded.format == "api"
    assert loaded.content["1:5"]["inputs"]["width"] == 96
    assert loaded.ui is not None
    instance = next(node for node in loaded.ui["nodes"] if node["id"] == 1)
    assert instance["widgets_values"] == [96]
    assert loaded.ui["definitions"]["subgraphs"][0]["nodes"][0]["widgets_values"] == [64, 32, 1, 255]


async def test_a_picture_is_queued_again_with_other_values(comfyui: str, home: Path) -> None:
    """The prompt in the picture is what runs; the graph beside it is kept up to date."""
    async with agent(environment_for(home, comfyui)) as user:
        first = await user.call("queue_workflow", workflow=WORKFLOW, inputs={"1:5.color": 77})
        await user.finish(first["prompt_id"])
        picture = (await user.call("get_output", prompt_id=first["prompt_id"]))["files"][0]["path"]
        again = await user.call("queue_workflow", workflow=picture, inputs={"1:5.width": 112})
        assert (await user.finish(again["prompt_id"]))["state"] == "completed"
        file = (await user.call("get_output", prompt_id=again["prompt_id"]))["files"][0]
    assert (file["width"], file["height"]) == (112, 40)
    loaded = load_file(Path(file["path"]))
    assert loaded.content["1:5"]["inputs"]["color"] == 77
    assert loaded.ui is not None
    assert next(node for node in loaded.ui["nodes"] if node["id"] == 1)["widgets_values"] == [112]


async def test_what_was_dropped_or_filled_in_is_told(comfyui: str, home: Path) -> None:
    workflow = json.loads(json.dumps(WORKFLOW))
    workflow["definitions"]["subgraphs"][0]["nodes"][0]["widgets_values"] = [64]
    workflow["nodes"].append({"id": 9, "type": "NoSuchNode", "inputs": [], "outputs": [], "widgets_values": [1]})
    async with agent(environment_for(home, comfyui)) as user:
        checked = await user.call("validate_workflow", workflow=workflow)
    notes = {(note["code"], note["node_id"]) for note in checked["notes"]}
    assert notes == {("default_filled", "5")}
    # What is missing is told by the finding, with its fix, and not once more by a note.
    assert {finding["node_id"] for finding in checked["findings"] if finding["code"] == "missing_node_type"} == {"9"}


async def test_a_class_that_came_since_the_inventory_was_made_is_asked_for(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        await user.call("check_status")
    with closing(sqlite3.connect(home / "state" / "inventory.classes.sqlite")) as database, database:
        assert database.execute("DELETE FROM node_class WHERE class_type = 'EmptyImage'").rowcount == 1
    async with agent(environment_for(home, comfyui)) as user:
        checked = await user.call("validate_workflow", workflow=WORKFLOW)
    assert checked["valid"]
    assert "notes" not in checked
    assert checked["inputs"]["1:5.width"] == 48


async def test_offline_a_ui_workflow_is_converted_by_the_inventory_and_saved_with_its_overrides(
    comfyui: str, home: Path
) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        await user.call("check_status")
    inventory = home / "state" / "inventory.json"
    inventory.write_text(inventory.read_text(encoding="utf-8").replace(comfyui, NOBODY), encoding="utf-8")
    async with agent(environment_for(home, NOBODY)) as user:
        saved = await user.call(
            "queue_workflow", workflow=WORKFLOW, inputs={"1:5.width": 80, "3.filename_prefix": "later"}, name="mine"
        )
    assert saved["status"] == "saved_offline"
    assert "UI format" in saved["message"]
    content = json.loads(Path(saved["saved_path"]).read_text(encoding="utf-8"))
    assert content["nodes"][0]["widgets_values"] == [80]
    assert content["nodes"][2]["widgets_values"] == ["later"]


async def test_offline_and_without_an_inventory_a_ui_workflow_is_saved_as_it_is(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        saved = await user.call("queue_workflow", workflow=WORKFLOW)
        assert saved["status"] == "saved_offline"
        assert "neither validated nor converted" in saved["message"]
        assert json.loads(Path(saved["saved_path"]).read_text(encoding="utf-8")) == WORKFLOW
        refused = await user.fail("queue_workflow", workflow=WORKFLOW, inputs={"1:5.width": 80})
        assert "Inputs cannot be put into a UI workflow: nothing is known of the server" in refused


async def test_an_override_that_the_graph_has_no_place_for_is_told(comfyui: str, home: Path) -> None:
    """It runs with it all the same; only the workflow inside the picture shows the former value."""
    workflow = json.loads(json.dumps(WORKFLOW))
    workflow["definitions"]["subgraphs"][0]["nodes"][0]["widgets_values"] = [64]
    async with agent(environment_for(home, comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=workflow, inputs={"1:5.height": 24})
        assert "does not show the new 1:5.height" in queued["message"]
        await user.finish(queued["prompt_id"])
        file = (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"][0]
    assert file["height"] == 24


def test_the_console_converts(comfyui: str, home: Path) -> None:
    (home / "drawing.json").write_text(json.dumps(WORKFLOW), encoding="utf-8")
    environment = {**os.environ, **environment_for(home, comfyui)}
    command = [sys.executable, "-m", "comfyui_api", "convert", "drawing.json"]
    shown = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["3"]["inputs"]["images"] == ["1:5", 0]
    command += ["-o", "prompt.json"]
    subprocess.run(command, cwd=home, env=environment, check=True)
    assert json.loads((home / "prompt.json").read_text(encoding="utf-8")) == json.loads(shown.stdout)
    again = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "exists already" in again.stderr
