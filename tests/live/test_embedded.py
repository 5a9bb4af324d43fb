"""Files that a real ComfyUI saved, with the texts that it embeds in them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest

from comfyui_api.workflow_files import load_file
from tests.support import agent, environment_for

pytestmark = [pytest.mark.anyio, pytest.mark.live]

GRAPH: dict[str, Any] = {
    "id": "größe",
    "last_node_id": 1,
    "nodes": [{"id": 1, "type": "Note", "widgets_values": ['ünï 日本 😀 {a|b} "q" \\ ]]>', float("inf")]}],
    "links": [],
    "version": 0.4,
}
SAVERS: dict[str, dict[str, Any]] = {
    "SaveImage": {"images": ["1", 0]},
    "SaveAnimatedPNG": {"images": ["1", 0], "fps": 6.0, "compress_level": 4},
    "SaveAnimatedWEBP": {"images": ["1", 0], "fps": 6.0, "lossless": True, "quality": 80, "method": "default"},
    "SaveVideo": {"video": ["2", 0], "format": "auto", "codec": "auto"},
    "SaveWEBM": {"images": ["1", 0], "codec": "vp9", "fps": 8.0, "crf": 32.0},
    "SaveLatent": {"samples": ["3", 0]},
}


def prompt_with(savers: list[str], prefix: str) -> dict[str, Any]:
    prompt: dict[str, Any] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 0x336699},
            "_meta": {"title": "Größe 日本 😀"},
        },
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    }
    for saver in savers:
        prompt[saver] = {"class_type": saver, "inputs": {**SAVERS[saver], "filename_prefix": f"{prefix}/{saver}"}}
    return prompt


@pytest.mark.parametrize("graph", [GRAPH, None], ids=["with a UI graph", "prompt alone"])
@pytest.mark.parametrize("others", [{}, {"aaa": [1], "zzz": "x"}], ids=["nothing else", "other texts"])
async def test_what_made_a_file_is_read_back_from_it(
    comfyui: str, home: Path, graph: dict[str, Any] | None, others: dict[str, Any]
) -> None:
    prompt_id = str(uuid.uuid4())
    prompt = prompt_with(list(SAVERS), prefix=prompt_id)  # what was saved before would come from ComfyUI's cache
    texts = {**others, **({"workflow": graph} if graph else {})}
    async with httpx2.AsyncClient(base_url=comfyui, timeout=60, trust_env=False) as http:
        body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": "x", "extra_data": {"extra_pnginfo": texts}}
        (await http.post("/prompt", content=json.dumps(body))).raise_for_status()
    async with agent(environment_for(home, comfyui)) as user:
        done = await user.finish(prompt_id)
        assert done["state"] == "completed", done
        files = (await user.call("get_output", prompt_id=prompt_id, previews=False))["files"]
        assert {file["node_id"] for file in files} == set(SAVERS)
        for file in files:
            loaded = load_file(Path(file["path"]))
            assert (loaded.format, loaded.content, loaded.ui) == ("api", prompt, graph), file["path"]


async def test_a_picture_is_queued_again_as_it_is(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        first = await user.call("queue_workflow", workflow=prompt_with(["SaveImage"], prefix="embedded"))
        await user.finish(first["prompt_id"])
        file = (await user.call("get_output", prompt_id=first["prompt_id"]))["files"][0]
        again = await user.call("queue_workflow", workflow=file["path"], inputs={"1.color": 1})
        assert (await user.finish(again["prompt_id"]))["state"] == "completed"
        video = home / "video.mp4"
        video.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isommp41")
        assert "is an MP4 video without a workflow in it" in await user.fail("validate_workflow", workflow=str(video))
