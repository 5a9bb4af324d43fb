"""The tools as agents see them: size, schemas, annotations, and wrong arguments in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from scripts.schemas import result_schemas

from comfyui_api.app import build_server
from comfyui_api.app.answers import fitted
from comfyui_api.documents import schema
from comfyui_api.tools import INSTRUCTIONS, TOOLS
from tests.support import agent, environment_for

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there

NAMES = [
    "check_status",
    "find_templates",
    "find_nodes",
    "find_models",
    "validate_workflow",
    "queue_workflow",
    "poll_result",
    "list_jobs",
    "get_output",
    "upload_image",
    "save_workflow",
    "interrupt",
    "free_vram",
]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_tools_and_instructions_stay_small(home: Path, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with Client(build_server(environment_for(home, NOBODY)), mode=mode) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == NAMES
    listed = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    size = len(json.dumps(listed, ensure_ascii=False, separators=(",", ":"))) + len(INSTRUCTIONS)
    with capsys.disabled():
        sys.stdout.write(f"\n  tools/list and instructions: {size} characters ")
    assert size <= 16_000
    assert len(INSTRUCTIONS) <= 2048


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_sound_and_all_annotations_are_set(name: str) -> None:
    tool = TOOLS[name]
    for published in (tool.input_schema, tool.output_schema):
        Draft202012Validator.check_schema(published)
        assert '"null"' not in json.dumps(published)
        assert "$ref" not in json.dumps(published)
    assert tool.input_schema["additionalProperties"] is False
    # The instructions explain `server` for all tools; `limit` needs no words.
    own = {name: entry for name, entry in tool.input_schema["properties"].items() if name not in ("server", "limit")}
    assert all("description" in entry for entry in own.values())
    assert "`server`" in INSTRUCTIONS
    assert 40 < len(tool.description) < 500


def test_full_result_schemas_are_those_of_the_models() -> None:
    assert schema("tool-results") == result_schemas(), "run `make schemas`"


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("queue_workflow", {"workfow": {}}, ["no argument 'workfow'", "Did you mean 'workflow'", "inputs, variations"]),
        ("queue_workflow", {}, ["needs the argument 'workflow'", "a text or an object"]),
        ("queue_workflow", {"workflow": 3}, ["workflow is 3", "a text or an object"]),
        ("queue_workflow", {"workflow": {}, "inputs": [1]}, ["inputs is [1]", "an object"]),
        ("queue_workflow", {"workflow": {}, "front": "perhaps"}, ["front is 'perhaps'", "true or false"]),
        ("validate_workflow", {"workflow": "nothing.json"}, ["There is no file", "nothing.json"]),
        ("validate_workflow", {"workflow": "{'"}, ["not valid JSON", "line 1"]),
        ("validate_workflow", {"workflow": ""}, ["is empty"]),
        ("validate_workflow", {"workflow": {"nodes": [], "links": []}}, ["nothing is known", "check_status"]),
        ("poll_result", {"prompt_id": ""}, ["prompt_id is ''"]),
        ("poll_result", {"prompt_id": "x", "wait_seconds": -1}, ["wait_seconds is -1", "at least 0"]),
        ("get_output", {"prompt_id": "x", "directory": "/"}, ["may be written to", "COMFYUI_API_WRITE_FOLDERS"]),
        ("upload_image", {"path": "nothing.png"}, ["does not exist"]),
        ("upload_image", {"path": "."}, ["is a folder"]),
        ("interrupt", {}, ["prompt_id", "everything=true"]),
        ("interrupt", {"prompt_id": "x", "everything": True}, ["Give one of them"]),
        ("free_vram", {"unload_models": False}, ["Nothing was asked"]),
        ("save_workflow", {"workflow": {}, "format": "API"}, ["format is 'API'", '"as_is" or "api"']),
        ("check_status", {"server": "gpu"}, ["No server is configured under the name 'gpu'"]),
        ("check_status", {"server": "http://example.com"}, ["COMFYUI_API_ALLOWED_HOSTS"]),
        ("check_status", {"server": "http://u:p@127.0.0.1"}, ["carries credentials"]),
        ("check_stats", {}, ["no tool 'check_stats'", "Did you mean 'check_status'"]),
    ],
)
async def test_wrong_arguments_are_told_in_words(
    home: Path, tool: str, arguments: dict[str, object], says: list[str]
) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        text = await user.fail(tool, **arguments)
    for words in says:
        assert words in text
    assert "pydantic" not in text


async def test_json_text_is_taken_where_an_object_is_meant(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        result = await user.call(
            "queue_workflow", workflow='{"1": {"class_type": "A", "inputs": {"x": 1}}}', inputs="{}"
        )
    assert result["status"] == "saved_offline"


def test_long_lists_are_cut_and_it_is_said() -> None:
    result = {"findings": [{"text": "x" * 90}] * 500, "b": [1, 2], "message": "m"}
    short = fitted(result, 10_000)
    assert len(json.dumps(short, separators=(",", ":"))) <= 10_000
    assert short["cut"]["findings"].endswith("of 500; mend these and validate again")
    assert short["b"] == [1, 2]
    assert fitted({"b": [1]}, 10_000) == {"b": [1]}


@pytest.mark.parametrize(
    "result",
    [
        {"findings": [{"message": "x" * 30_000, "received": "y" * 30_000}], "message": "why"},
        {"message": "z" * 30_000, "findings": [{"message": "the reason"}]},
        {"findings": [{"message": f"{n}" * 3000} for n in range(50)], "message": "z" * 9000},
    ],
)
def test_reason_is_never_cut_away_whole(result: dict[str, Any]) -> None:
    short = fitted(result, 10_000)
    assert len(json.dumps(short, ensure_ascii=False, separators=(",", ":"))) <= 10_000
    assert short["findings"][0]["message"]


async def test_null_means_the_default_where_there_is_one(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        assert (await user.call("check_status", refresh_inventory=None, server=None))["online"] is False
        assert "workflow is None" in await user.fail("queue_workflow", workflow=None)


def test_lists_inside_a_plan_are_cut_as_well() -> None:
    plan = {"models": ["x" * 100] * 400, "packs": ["p"], "afterwards": "wait"}
    result: dict[str, Any] = {"findings": [1, 2], "repair": plan}
    short = fitted(result, 10_000)
    assert len(json.dumps(short)) < 11_000
    assert short["findings"] == [1, 2]
    assert short["repair"]["packs"] == ["p"]
    assert short["repair"]["afterwards"] == "wait"
    assert short["cut"]["repair.models"].startswith(f"the first {len(short['repair']['models'])} of 400;")
    assert len(result["repair"]["models"]) == 400
