"""Workflows in the editor of a real server: saved there, loaded as server:NAME by every tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from comfyui_api import saving
from comfyui_api.export import export_prompt
from comfyui_api.saved_workflows import server_workflows
from comfyui_api.workspace import open_workspace
from tests.live.test_main_job import conforms
from tests.support import agent, environment_for, image_prompt, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]


def ui_workflow(color: int = 7) -> dict[str, Any]:
    """A picture of one color, as the editor saves it."""
    made = {"id": 1, "type": "EmptyImage", "mode": 0, "inputs": [], "widgets_values": [64, 64, 1, color]}
    saved = {"id": 2, "type": "SaveImage", "mode": 0, "widgets_values": ["from the editor"]}
    made["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]
    saved["inputs"] = [{"name": "images", "type": "IMAGE", "link": 1}]
    return {"nodes": [made, saved], "links": [[1, 1, 0, 2, 0, "IMAGE"]], "version": 0.4}


def as_the_editor_saves(url: str, name: str, content: str) -> None:
    """With its own call: the path as one segment, written over."""
    path = f"workflows/{name}".replace("/", "%2F").replace(" ", "%20")
    httpx2.post(f"{url}/userdata/{path}?overwrite=true&full_info=true", content=content).raise_for_status()


async def test_what_the_editor_saved_is_validated_and_run_by_its_name(comfyui: str, home: Path) -> None:
    as_the_editor_saves(comfyui, "Mein Ordner/größe 1.json", json.dumps(ui_workflow()))
    async with stdio_agent(environment_for(home, comfyui)) as user:
        verdict = await user.call("validate_workflow", workflow="server:Mein Ordner/größe 1")
        assert verdict["valid"]
        assert verdict["format"] == "ui"
        assert verdict["source"] == "server:Mein Ordner/größe 1.json"
        assert list(verdict["inputs"])[:2] == ["1.width", "1.height"]
        queued = await user.call(
            "queue_workflow", workflow="server:Mein Ordner/größe 1.json", inputs={"1.width": 32}, variations=[{}, {}]
        )
        for prompt_id in queued["prompt_ids"]:
            done = await user.finish(prompt_id)
            assert done["outputs"][0]["filename"].startswith("from the editor")


async def test_a_wrong_name_lists_what_there_is(comfyui: str, home: Path) -> None:
    as_the_editor_saves(comfyui, "cats/white cat.json", json.dumps(ui_workflow()))
    as_the_editor_saves(comfyui, "cats/.index.json", "{}")
    async with agent(environment_for(home, comfyui)) as user:
        assert "Did you mean 'server:cats/white cat'" in await user.fail(
            "queue_workflow", workflow="server:cats/White-Cat"
        )
        folder = await user.fail("validate_workflow", workflow="server:cats")
        assert "'cats' is a folder there. In it: 'server:cats/white cat'." in folder
        everything = await user.fail("validate_workflow", workflow="server:")
        assert "'server:cats/white cat'" in everything
        assert ".index" not in everything
        for hostile in ("../../comfy.settings", "/etc/passwd", "x" * 4000, "a\0b", "%2e%2e/x", "..\\x"):
            refused = await user.fail("validate_workflow", workflow=f"server:{hostile}")
            assert "is saved on" in refused
            assert len(refused) < 3000


async def test_a_broken_file_in_the_editor_is_told_as_any_other(comfyui: str, home: Path) -> None:
    as_the_editor_saves(comfyui, "broken.json", '{"nodes": [')
    as_the_editor_saves(comfyui, "no workflow.json", '{"a": 1}')
    async with agent(environment_for(home, comfyui)) as user:
        assert "server:broken.json) is not valid JSON" in await user.fail("validate_workflow", workflow="server:broken")
        told = await user.fail("validate_workflow", workflow="server:no workflow")
        assert "server:no workflow.json) is JSON, but no ComfyUI workflow" in told


async def test_saving_on_the_server_writes_nothing_over_and_reads_back_the_same(comfyui: str, home: Path) -> None:
    async with open_workspace(environment_for(home, comfyui)) as workspace:
        for name in ("plain", "50%20off %2e%2e", "größe #1 ?&+", "dots..in it.v2"):
            saved = await saving.save_workflow(workspace, ui_workflow(), None, name=name, on_server=True)
            assert saved.format == "ui"
            kept = await saving.save_workflow(workspace, saved.workflow, None, name="back")
            assert json.loads(Path(kept.workflow).read_text("utf-8")) == ui_workflow()
        listed = {file.name: file for file in await server_workflows(workspace.connect())}
        assert {"plain.json", "50%20off %2e%2e.json", "größe #1 _&+.json", "dots..in it.v2.json"} <= set(listed)
        plain = listed["plain.json"]
        assert plain.size
        assert plain.modified
        assert plain.modified > 1.7e9
        from_api = await export_prompt(workspace, "server:plain", None)
        assert from_api.prompt["1"]["inputs"]["color"] == 7


async def test_save_workflow_keeps_converts_and_refuses(comfyui: str, home: Path) -> None:
    (home / "mine.json").write_text(json.dumps(ui_workflow()), encoding="utf-8")
    async with agent(environment_for(home, comfyui)) as user:
        kept = conforms("save_workflow", await user.call("save_workflow", workflow="mine.json", project="film"))
        assert kept["workflow"] == str(home / "projects" / "film" / "workflows" / "mine.json")
        assert (kept["format"], "drop this file onto the canvas" in kept["message"]) == ("ui", True)
        again = await user.call("save_workflow", workflow=ui_workflow(8), project="film", name="mine.json")
        assert Path(again["workflow"]).name == "mine-2.json"
        assert "Another workflow has the name mine." in again["message"]
        prompt = await user.call("save_workflow", workflow="mine.json", format="api", name="prompt")
        assert json.loads(Path(prompt["workflow"]).read_text("utf-8"))["2"]["class_type"] == "SaveImage"

        there = await user.call("save_workflow", workflow="mine.json", name="refused twice", on_server=True)
        assert there["workflow"] == "server:refused twice"
        twice = await user.fail("save_workflow", workflow=ui_workflow(9), name="refused twice", on_server=True)
        assert "'refused twice.json' is saved" in twice
        assert "not written over" in twice
        api = await user.call("save_workflow", workflow=image_prompt(), name="as prompt", on_server=True)
        assert "opens only UI format" in api["message"]
        assert (await user.call("validate_workflow", workflow="server:as prompt"))["valid"]
