"""Results of a real ComfyUI brought home: every kind, with sidecars that make them again, and what a restart loses."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from mcp_types import CallToolResult, ImageContent, TextContent

from comfyui_api import sandbox
from comfyui_api.sandbox import SandboxState
from comfyui_api.workflow_files import load_file
from comfyui_api.workspace import read_settings
from tests.live.test_embedded import prompt_with
from tests.support import DATA, Agent, agent, environment_for, image_prompt

pytestmark = [pytest.mark.anyio, pytest.mark.live]

GRAPH: dict[str, Any] = {
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [
        {
            "id": 1,
            "type": "EmptyImage",
            "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "widgets_values": [32, 32, 1, 255],
        },
        {
            "id": 2,
            "type": "SaveImage",
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "widgets_values": ["graph"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "version": 0.4,
}


def begin(port: int | None = None) -> SandboxState:
    settings = read_settings(os.environ)
    return sandbox.start(
        sandbox.default_home(settings),
        name=f"outputs-{os.getpid()}",
        port=port,
        custom_nodes=[DATA / "output_nodes"],
        torch_index=settings.sandbox_torch_index,
        say=logging.getLogger("sandbox").warning,
        confirm=lambda _: False,
    )


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxState]:
    """A sandbox of this module's own, whose folders are looked into and which is restarted."""
    home = sandbox.default_home(read_settings(os.environ))
    started = begin()
    try:
        yield started
    finally:
        sandbox.stop(home, name=started.name)
        sandbox.remove(home, name=started.name)


def environment(home: Path, server: SandboxState) -> dict[str, str]:
    assert server.url is not None
    return environment_for(home, server.url)


async def run(user: Agent, workflow: Any) -> str:
    queued = await user.call("queue_workflow", workflow=workflow)
    assert queued["status"] == "queued", queued
    assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
    return str(queued["prompt_id"])


async def test_every_kind_of_output_comes_home_as_it_is(server: SandboxState, home: Path) -> None:
    savers = ["SaveImage", "SaveAnimatedPNG", "SaveAnimatedWEBP", "SaveVideo", "SaveWEBM", "SaveLatent"]
    prompt = prompt_with(savers, prefix="kinds")
    prompt["many"] = {"class_type": "TestOutputs", "inputs": {"prefix": "kinds", "seed": 7}}
    prompt["look"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    async with agent(environment(home, server)) as user:
        given = await user.client.call_tool("get_output", {"prompt_id": await run(user, prompt)})
    assert isinstance(given, CallToolResult)
    assert isinstance(given.content[0], TextContent)
    assert len(given.content[0].text) <= 10_000
    delivery = given.structured_content
    assert delivery is not None
    assert not delivery["missing"]
    kinds = [file["kind"] for file in delivery["files"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "image": 2 + 1 + 1 + 2 + 1,  # SaveImage, APNG, WEBP, PreviewImage, the GIF
        "video": 2,
        "latent": 1,
        "audio": 1,
        "3d": 1,
        "text": 2,
    }
    for file in delivery["files"]:
        if "load_value" not in file:
            continue
        place, _, folder = file["load_value"].rpartition(" ")
        there = server.base_directory / folder.strip("[]") / place
        assert Path(file["path"]).read_bytes() == there.read_bytes(), file
    caption, told = sorted(delivery["texts"], key=lambda text: len(text["text"]))
    assert caption["text"] == "ein Kätzchen"
    assert Path(told["path"]).read_text(encoding="utf-8") == "Ein Kätzchen auf einem Dach. " * 200
    assert sum(isinstance(block, ImageContent) for block in given.content) == 5
    assert "3D files (1 GLB) are not shown" in delivery["message"]


async def test_sidecar_makes_the_same_again(server: SandboxState, home: Path) -> None:
    async with agent(environment(home, server)) as user:
        first = await run(user, GRAPH)
        (file,) = (await user.call("get_output", prompt_id=first, sidecar=True))["files"]
        record = json.loads(Path(file["sidecar"]).read_text(encoding="utf-8"))
        assert record["versions"]["comfyui"] == "0.3.75"
        assert record["prompt_id"] == first
        assert [node["id"] for node in record["workflow"]["nodes"]] == [1, 2]
        assert (await user.call("validate_workflow", workflow=file["sidecar"]))["valid"]
        second = await run(user, file["sidecar"])
        (again,) = (await user.call("get_output", prompt_id=second, sidecar=True))["files"]
        assert json.loads(Path(again["sidecar"]).read_text(encoding="utf-8"))["prompt"] == record["prompt"]
        assert load_file(Path(again["path"])).ui is not None


async def test_series_of_runs_comes_home_in_one_call(server: SandboxState, home: Path) -> None:
    async with agent(environment(home, server)) as user:
        ids = [await run(user, image_prompt("series", color=number * 1000)) for number in range(8)]
        delivery = await user.call("get_output", prompt_id=ids, directory="series")
    assert delivery["message"].startswith("8 runs: 8 completed. 8 files saved.")
    assert len({Path(file["path"]).read_bytes() for file in delivery["files"]}) == 8
    assert [file["prompt_id"] for file in delivery["files"]] == ids


async def test_lost_temporary_files_are_said_to_be_lost(server: SandboxState, home: Path) -> None:
    prompt = image_prompt("kept", color=4711)
    prompt["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    async with agent(environment(home, server)) as user:
        done = await run(user, prompt)
        fetched = await user.call("get_output", prompt_id=done)
        assert sorted(file["load_value"].rpartition(" ")[2] for file in fetched["files"]) == ["[output]", "[temp]"]
        for path in (server.base_directory / "temp").iterdir():
            path.unlink()
        later = await user.call("get_output", prompt_id=done)
        assert [file["node_id"] for file in later["files"]] == ["2"]
        (missing,) = later["missing"]
        assert missing["node_id"] == "3"
        assert "in its temp folder any more" in missing["reason"]


async def test_after_a_restart_it_is_said_what_is_lost(server: SandboxState, home: Path) -> None:
    prompt = image_prompt("restart", color=815)
    prompt["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    async with agent(environment(home, server)) as user:
        ours = await run(user, prompt)
        root = sandbox.default_home(read_settings(os.environ))
        await anyio.to_thread.run_sync(lambda: sandbox.stop(root, name=server.name))
        assert "No ComfyUI answers" in await user.fail("get_output", prompt_id=ours)
        restarted = await anyio.to_thread.run_sync(begin, server.port)
        assert restarted.url == server.url
        delivery = await user.call("get_output", prompt_id=ours)
        assert (delivery["state"], delivery["files"]) == ("gone", [])
        assert "temporary pictures (PreviewImage) are lost" in delivery["message"]
        assert list((server.base_directory / "output").glob("restart*"))  # what the message promises
        foreign = await user.call("get_output", prompt_id="00000000-0000-4000-8000-000000000000")
        assert "knows no such run" in foreign["message"]
