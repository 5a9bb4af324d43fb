"""Failures of real nodes on a real server, and what an agent is told of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator

from comfyui_api import sandbox
from comfyui_api.documents import schema
from comfyui_api.workspace import read_settings
from tests.live.test_main_job import sleeping_prompt
from tests.support import Agent, agent, environment_for, image_prompt, proxy

pytestmark = [pytest.mark.anyio, pytest.mark.live]

ON_LINUX = {"disk_full"}  # needs a device that Linux has
# By the way that tests/data/test_nodes/failures.py fails in: the case, and a text that stands among what is seen.
WAYS = {
    "text_encoder": ("Text encoder and model", "The model expects 768: the text encoder of SD 1.5 (CLIP-L)."),
    "channels": ("Latent and VAE", "Given were 16 channels"),
    "state_dict": ("An adapter", None),
    "add": ("Sizes do not fit", "EmptyImage (1): size 64 × 64, batch size 1."),
    "cat": ("Sizes do not fit", None),
    "stack": ("Sizes do not fit", None),
    "broadcast": ("Sizes do not fit", None),
    "view": ("Sizes do not fit", None),
    "linear_dtype": ("Wrong number format", None),
    "conv_dtype": ("Wrong number format", None),
    "float8": ("Wrong number format", None),
    "cuda": ("This PyTorch has no support", None),
    "main_memory": ("Out of main memory", "EmptyImage (1)"),
    "array_memory": ("Out of main memory", None),
    "html_safetensors": ("A model file is broken", None),
    "empty_safetensors": ("A model file is broken", None),
    "cut_safetensors": ("A model file is broken", None),
    "html_pickle": ("A model file is broken", None),
    "cut_pickle": ("A model file is broken", None),
    "text_picture": ("A picture or video", "broken.png"),
    "cut_picture": ("A picture or video", None),
    "missing_file": ("A file is missing", "/nowhere/at/all.png"),
    "missing_program": ("A program is missing", None),
    "missing_package": ("A Python package", "insightface_of_nobody"),
    "disk_full": ("The disk is full", " done before it and stay in ComfyUI's cache"),
    "folder": ("ComfyUI may not use", "The file is "),
    "not_logged_in": ("Partner node without account", None),
    "no_credits": ("Partner node without credits", None),
    "too_often": ("A partner service", None),
    "nothing": ("A node got nothing", None),
    "out_of_memory": ("Out of memory", "Measured after the failure"),
    "wrong_arguments": ("Node and workflow", None),
}


def failing(way: str, steps: int = 0) -> dict[str, Any]:
    """A picture that is saved, and a branch that fails in a way."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 77}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "3": {"class_type": "TestFailReally", "inputs": {"image": ["1", 0], "way": way, "steps": steps}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }


async def run(user: Agent, prompt: dict[str, Any]) -> dict[str, Any]:
    """The status of a run that has ended, as its schema says."""
    queued = await user.call("queue_workflow", workflow=prompt)
    assert queued["status"] == "queued", queued
    status = await user.finish(queued["prompt_id"])
    whole = schema("tool-results")
    Draft202012Validator({"$defs": whole["$defs"], "$ref": "#/$defs/poll_result"}).validate(status)
    return status


async def failure(user: Agent, prompt: dict[str, Any]) -> dict[str, Any]:
    status = await run(user, prompt)
    assert status["state"] == "failed", status
    assert len(json.dumps(status["error"])) < 6000
    error: dict[str, Any] = status["error"]
    return error


def base_directory() -> Path:
    """The folder of the running sandbox, with its models, input and output."""
    state = sandbox.status(sandbox.default_home(read_settings(os.environ)), name=f"tests-{os.getpid()}")
    return Path(state.base_directory)


async def test_real_errors_are_told_with_cause_and_remedy(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        for way, (case, fact) in WAYS.items():
            if way in ON_LINUX and sys.platform != "linux":
                continue
            error = await failure(user, failing(way))
            assert error["remedy"].startswith(case), (way, error)
            assert (error["node_id"], error["class_type"], error["pack"]) == ("3", "TestFailReally", "test_nodes")
            assert error["cause"] and "traceback" not in error
            assert "\n" not in error["message"]
            assert error["inputs"] == {"image": "tensor 1 × ? × ? × 3", "way": way, "steps": 0}, way
            if fact is not None:
                assert any(fact in seen for seen in error["seen"]), (way, error["seen"])


async def test_unknown_error_has_the_line_of_the_pack(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        error = await failure(user, failing("unknown"))
        assert "cause" not in error
        assert error["message"] == "KeyError: 'a key of nobody'"
        assert error["traceback"][-1].startswith("custom_nodes/test_nodes/failures.py, line ")
        assert "a key of nobody" in error["traceback"][-1]


async def test_step_at_which_it_failed_is_told(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        error = await failure(user, failing("text_encoder", steps=8))
        assert error["doing"] == "running, after step 8 of 10"


@pytest.mark.parametrize("fault", ["hold", "lose_reply"])
async def test_memory_that_is_not_told_does_not_hold_up_the_diagnosis(comfyui: str, home: Path, fault: str) -> None:
    async with proxy(comfyui) as between, agent(environment_for(home, between.url)) as user:
        queued = await user.call("queue_workflow", workflow=failing("out_of_memory"))
        between.fault = lambda head: fault if b"/system_stats" in head or b"/object_info" in head else None
        with anyio.fail_after(20):
            status = await user.finish(queued["prompt_id"])
        assert status["error"]["remedy"].startswith("Out of memory")
        assert status["error"]["pack"] == "test_nodes"
        assert not any("Measured" in seen for seen in status["error"]["seen"])


async def test_node_that_stops_the_run_makes_it_interrupted(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        status = await run(user, failing("stopped"))
        assert status["state"] == "interrupted"
        assert "error" not in status


async def test_missing_text_encoder_and_vae_are_told_by_the_core_nodes(comfyui: str, home: Path) -> None:
    nothing = {"class_type": "TestNothing", "inputs": {"seed": 1}}
    encode = {
        "1": nothing,
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
        "3": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["2", 0]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["3", 0],
                "latent_image": ["4", 0],
                "seed": 1,
                "steps": 1,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "simple",
                "denoise": 1.0,
            },
        },
        "6": {"class_type": "SaveLatent", "inputs": {"samples": ["5", 0], "filename_prefix": "x"}},
    }
    decode = {
        "1": nothing,
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    async with agent(environment_for(home, comfyui)) as user:
        for prompt in (encode, decode):
            error = await failure(user, prompt)
            assert error["remedy"].startswith("A part is missing from the checkpoint"), error
            assert "pack" not in error


def sampled(width: int, channels: int) -> dict[str, Any]:
    """Two steps of a tiny model of SD 1.5's kind, with conditioning of a width; then a latent of so many channels is
    decoded: the sampled one with 4."""
    latent = "EmptyLatentImage" if channels == 4 else "EmptySD3LatentImage"
    sampler = {"seed": 1, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    conditions = {"model": ["1", 0], "positive": ["1", 2], "negative": ["1", 2]}
    return {
        "1": {"class_type": "TestTinyModel", "inputs": {"width": width}},
        "2": {"class_type": latent, "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {"class_type": "KSampler", "inputs": {**sampler, **conditions, "latent_image": ["2", 0]}},
        "4": {"class_type": "VAEDecode", "inputs": {"samples": ["3" if channels == 4 else "2", 0], "vae": ["1", 1]}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
    }


async def test_sampler_and_decoder_tell_what_they_were_doing_when_families_differ(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        assert (await run(user, sampled(width=768, channels=4)))["state"] == "completed"
        error = await failure(user, sampled(width=2048, channels=4))
        assert (error["class_type"], error["doing"].partition(",")[0]) == ("KSampler", "sampling")
        assert error["remedy"].startswith("Text encoder and model")
        assert error["seen"][0].startswith("Given was the width 2048: the text encoders of SDXL")
        error = await failure(user, sampled(width=768, channels=16))
        assert (error["class_type"], error["doing"]) == ("VAEDecode", "decoding latents")
        assert error["remedy"].startswith("Latent and VAE")
        assert error["seen"][0].startswith("Given were 16 channels")
        assert error["inputs"]["vae"] == "VAE"
        assert error["inputs"]["samples"] == "{'samples': tensor 1 × ? × ? × ?}"


async def test_empty_checkpoint_is_a_broken_file_and_named(comfyui: str, home: Path) -> None:
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    async with agent(environment_for(home, comfyui)) as user:
        error = await failure(user, prompt)
        assert error["remedy"].startswith("A model file is broken")
        assert "CheckpointLoaderSimple (1) was told ckpt_name = sd15.safetensors." in error["seen"]
        assert error["doing"] == "reading a model file"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.safetensors", b"<!DOCTYPE html><html>not found</html>"),
        ("cut.safetensors", (2000).to_bytes(8, "little") + b'{"w":'),
        ("page.pth", b"<!DOCTYPE html><html>not found</html>"),
        ("empty.pth", b""),
    ],
)
async def test_broken_model_files_are_named(comfyui: str, home: Path, name: str, content: bytes) -> None:
    file = base_directory() / "models" / "upscale_models" / name
    file.write_bytes(content)
    try:
        prompt = image_prompt(color=91)
        prompt["3"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": name}}
        prompt["4"] = {
            "class_type": "ImageUpscaleWithModel",
            "inputs": {"upscale_model": ["3", 0], "image": ["1", 0]},
        }
        prompt["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
        async with agent(environment_for(home, comfyui)) as user:
            error = await failure(user, prompt)
            assert error["remedy"].startswith("A model file is broken"), error
            assert f"UpscaleModelLoader (3) was told model_name = {name}." in error["seen"]
            assert error["doing"] == "reading a model file"
    finally:
        file.unlink()


async def test_files_that_vanish_between_queue_and_run_are_named(comfyui: str, home: Path) -> None:
    base = base_directory()
    model = base / "models" / "upscale_models" / "vanishing.pth"
    picture = base / "input" / "vanishing.png"
    model.write_bytes(b"x")
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(b"x")
    upscale = image_prompt(color=92)
    upscale["3"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": model.name}}
    upscale["4"] = {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["3", 0], "image": ["1", 0]}}
    upscale["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
    load = {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture.name}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    async with agent(environment_for(home, comfyui)) as user:
        before = await user.call("queue_workflow", workflow=sleeping_prompt(20, color=93, steps=200))
        waiting = [await user.call("queue_workflow", workflow=prompt) for prompt in (upscale, load)]
        assert [queued["status"] for queued in waiting] == ["queued", "queued"]
        model.unlink()
        picture.unlink()
        await user.call("interrupt", prompt_id=before["prompt_id"])
        errors = [(await user.finish(queued["prompt_id"]))["error"] for queued in waiting]
    assert errors[0]["remedy"].startswith("A model is not installed")
    assert "UpscaleModelLoader (3) was told model_name = vanishing.pth." in errors[0]["seen"]
    assert errors[0]["doing"] == "looking for a file"
    assert errors[1]["remedy"].startswith("A file is missing")
    assert "LoadImage (1) was told image = vanishing.png." in errors[1]["seen"]


async def test_what_was_made_before_the_failure_is_offered(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        status = await run(user, failing("channels"))
        assert [output["node_id"] for output in status["outputs"]] == ["2"]
        with anyio.fail_after(30):
            delivery = await user.call("get_output", prompt_id=status["prompt_id"])
        assert [file["node_id"] for file in delivery["files"]] == ["2"]
