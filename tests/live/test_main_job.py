"""The main job through a real client over stdio, against a real ComfyUI, in both protocol eras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from comfyui_api.documents import schema
from comfyui_api.sandbox import TINY_UPSCALER
from tests.support import agent, environment_for, image_prompt, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]


def picture(path: Path, color: tuple[int, int, int] = (200, 40, 40)) -> Path:
    Image.new("RGB", (48, 32), color).save(path)
    return path


def conforms(tool: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result, checked against its schema in foundation/."""
    whole = schema("tool-results")
    Draft202012Validator({"$defs": whole["$defs"], "$ref": f"#/$defs/{tool}"}).validate(result)
    return result


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_from_status_to_pictures_on_disk(comfyui: str, home: Path, mode: str) -> None:
    async with stdio_agent(environment_for(home, comfyui), mode) as user:
        status = conforms("check_status", await user.call("check_status"))
        assert status["online"]
        assert status["comfyui_version"] == "0.3.75"
        assert status["devices"][0]["vram_total"] > 0
        assert status["inventory"]["node_classes"] > 500
        assert status["inventory"]["models"] >= 3

        source = picture(home / f"größe {mode}.png")
        uploaded = conforms("upload_image", await user.call("upload_image", path=str(source), subfolder="agent"))
        assert uploaded["value"].startswith("agent/größe")

        workflow = {
            "1": {"class_type": "LoadImage", "inputs": {"image": uploaded["value"]}},
            "2": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "tiny"}},
            "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": f"main-{mode}"}},
            "5": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
        verdict = conforms("validate_workflow", await user.call("validate_workflow", workflow=workflow))
        assert not verdict["valid"]
        finding = verdict["findings"][0]
        assert (finding["code"], finding["node_id"], finding["input"]) == ("value_not_in_list", "2", "model_name")
        assert TINY_UPSCALER in finding["fix"]
        refused = conforms("queue_workflow", await user.call("queue_workflow", workflow=workflow))
        assert refused["status"] == "refused"
        assert refused["findings"] == verdict["findings"]

        queued = await user.call("queue_workflow", workflow=workflow, inputs={"2.model_name": TINY_UPSCALER})
        conforms("queue_workflow", queued)
        assert queued["status"] == "queued", queued
        done = conforms("poll_result", await user.finish(queued["prompt_id"]))
        assert done["state"] == "completed", done
        assert {output["type"] for output in done["outputs"]} == {"output", "temp"}

        delivery = conforms("get_output", await user.call("get_output", prompt_id=queued["prompt_id"]))
        upscaled = next(file for file in delivery["files"] if file["node_id"] == "4")
        assert (upscaled["width"], upscaled["height"]) == (192, 128)
        with Image.open(upscaled["path"]) as image:
            assert image.size == (192, 128)
        assert Path(upscaled["path"]).parent == home / "output"

        going_on = {
            "1": {"class_type": "LoadImage", "inputs": {"image": upscaled["load_value"]}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "further"}},
        }
        second = await user.call("queue_workflow", workflow=going_on)
        assert (await user.finish(second["prompt_id"]))["state"] == "completed"

        assert conforms("interrupt", await user.call("interrupt", prompt_id=second["prompt_id"]))["stopped"] == []
        freed = conforms("free_vram", await user.call("free_vram"))
        assert freed["applied"] == "now"


async def test_a_prompt_id_is_enough_in_a_later_process(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt("later"))
    # Another default server: only the remembered one knows the run.
    async with agent(environment_for(home, "http://127.0.0.1:9")) as user:
        done = await user.finish(queued["prompt_id"])
        assert (done["state"], done["server"]) == ("completed", comfyui)
        assert len((await user.call("get_output", prompt_id=queued["prompt_id"]))["files"]) == 1


async def test_previews_are_small_and_files_are_linked(comfyui: str, home: Path) -> None:
    prompt = image_prompt("preview", size=1500)
    prompt["1"]["inputs"]["batch_size"] = 6
    async with agent(environment_for(home, comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=prompt)
        await user.finish(queued["prompt_id"])
        answer = await user.client.call_tool("get_output", {"prompt_id": queued["prompt_id"]})
        kinds = [block.type for block in answer.content]
        assert kinds == ["text", *["image"] * 5, *["resource_link"] * 6]
        plain = await user.client.call_tool("get_output", {"prompt_id": queued["prompt_id"], "previews": False})
        assert "image" not in [block.type for block in plain.content]


async def test_same_result_is_not_saved_twice_and_nothing_is_overwritten(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt("twice"))
        await user.finish(queued["prompt_id"])
        first = (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"][0]["path"]
        assert (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"][0]["path"] == first
        Path(first).write_bytes(b"somebody's own file")
        other = (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"][0]["path"]
        assert Path(other).stem == Path(first).stem + "-2"
        assert Path(first).read_bytes() == b"somebody's own file"


async def test_upload_tells_the_name_that_the_server_chose(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        source = picture(home / "name.png", (1, 2, 3))
        assert (await user.call("upload_image", path="name.png"))["value"] == "name.png"
        assert (await user.call("upload_image", path="name.png"))["value"] == "name.png"
        picture(source, (9, 9, 9))
        assert (await user.call("upload_image", path="name.png"))["value"] == "name (1).png"
        assert (await user.call("upload_image", path="name.png", overwrite=True))["value"] == "name.png"


async def test_only_media_is_uploaded(comfyui: str, home: Path) -> None:
    (home / "evil.png").write_text("#!/bin/sh\nrm -rf /\n")
    (home / "empty.png").touch()
    picture(home / "big.png")
    async with agent(environment_for(home, comfyui, COMFYUI_API_MAX_UPLOAD_MB="0.00001")) as user:
        assert "the limit is" in await user.fail("upload_image", path="big.png")
    async with agent(environment_for(home, comfyui)) as user:
        assert "by its content" in await user.fail("upload_image", path="evil.png")
        assert "is empty" in await user.fail("upload_image", path="empty.png")
        assert "plain folder" in await user.fail("upload_image", path="big.png", subfolder="../up")


async def test_run_that_another_process_queued_is_followed_to_its_end(comfyui: str, home: Path, tmp_path: Path) -> None:
    other_home = tmp_path / "other"
    other_home.mkdir()
    prompt = sleeping_prompt(seconds=1.5, color=8)
    prompt["4"] = {"class_type": "PreviewAny", "inputs": {"source": "hällo"}}
    async with agent(environment_for(home, comfyui)) as one, agent(environment_for(other_home, comfyui)) as two:
        queued = await one.call("queue_workflow", workflow=prompt)
        done = await two.finish(queued["prompt_id"])
        assert done["state"] == "completed"
        assert [(output["node_id"], output["text"]) for output in done["outputs"] if output["kind"] == "text"] == [
            ("4", "hällo")
        ]
        assert (await two.call("get_output", prompt_id=queued["prompt_id"]))["texts"] == [
            {"node_id": "4", "text": "hällo"}
        ]


def sleeping_prompt(seconds: float, color: int = 7, steps: int = 10) -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": seconds, "steps": steps}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


async def test_prompts_from_pictures_do_not_bring_the_old_image_back(comfyui: str, home: Path) -> None:
    """ComfyUI saves prompts with the `is_changed` of their loaders; sent back, it would take the picture of then."""
    prompt: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "changing.png"}, "is_changed": ["of then"]},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "changing"}},
    }
    async with agent(environment_for(home, comfyui)) as user:
        for color in ((200, 40, 40), (40, 200, 40)):
            picture(home / "changing.png", color)
            await user.call("upload_image", path="changing.png", overwrite=True)
            queued = await user.call("queue_workflow", workflow=prompt)
            await user.finish(queued["prompt_id"])
            (file,) = (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"]
            with Image.open(file["path"]) as image:
                assert image.convert("RGB").getpixel((5, 5)) == color


async def test_workflow_may_be_a_file_or_json_text(comfyui: str, home: Path) -> None:
    (home / "cat.json").write_text(json.dumps(image_prompt("file")), encoding="utf-8")
    async with agent(environment_for(home, comfyui)) as user:
        for workflow in ("cat.json", str(home / "cat.json"), json.dumps(image_prompt("text"), indent=1)):
            assert (await user.call("validate_workflow", workflow=workflow))["valid"]
