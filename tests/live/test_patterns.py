"""references/workflows.md against the real thing: a real server takes every example, and the values are the official
templates'."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from PIL import Image

from comfyui_api import sandbox
from comfyui_api.convert import convert_workflow
from comfyui_api.knowledge import model_tables
from comfyui_api.node_class import NodeClasses
from tests.oracle import RECENT_FOLDER, recent_data
from tests.patterns import (
    DOCUMENT,
    Family,
    Pattern,
    families,
    holds,
    is_fixed,
    nodes_of,
    official_templates,
    oldest_servers,
    patterns,
    values_of,
)
from tests.sandboxes import sandboxed
from tests.support import Prompt

pytestmark = pytest.mark.live
every_pattern = pytest.mark.parametrize("pattern", patterns(), ids=lambda pattern: pattern.heading)
every_family = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)


@pytest.fixture(scope="module")
def server() -> Iterator[httpx2.Client]:
    """A ComfyUI that has every model of the examples, where references/models.md says that it lies, and their files."""
    tables = model_tables(Path(os.devnull))
    wanted = set(re.findall(r"`([^`\s]+\.safetensors)`", DOCUMENT))
    wanted |= {model for pattern in patterns() for model in pattern.models()}
    models = sorted({f"{source.folder}/{model}" for model in wanted for source in tables.find(model)[:1]})
    with (
        sandboxed("patterns", models=models, tiny_upscaler=True) as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        for file, content in (("photo.png", picture()), ("clip.mp4", b"-"), ("song.mp3", b"-")):
            client.post("/upload/image", files={"image": (file, content)}).raise_for_status()
        yield client


def picture() -> bytes:
    written = BytesIO()
    Image.new("RGB", (16, 16), "teal").save(written, "PNG")
    return written.getvalue()


def queue(server: httpx2.Client, prompt: Prompt) -> str:
    """The id of a run of this prompt, all of it; any complaint fails the test."""
    prompt_id = str(uuid4())
    body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": prompt_id}
    answer = server.post("/prompt", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["node_errors"] == {}
    return prompt_id


def ended(server: httpx2.Client, prompt_id: str) -> dict[str, Any]:
    """The run's history entry, once it has one."""
    deadline = monotonic() + 60
    while not (entry := server.get(f"/history/{prompt_id}").json()):
        assert monotonic() < deadline, server.get("/queue").text
    found: dict[str, Any] = entry[prompt_id]
    return found


@every_pattern
def test_real_server_takes_the_example(server: httpx2.Client, pattern: Pattern) -> None:
    assert queue(server, pattern.prompt)
    server.post("/queue", json={"clear": True})
    server.post("/interrupt")


def node(class_type: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def outpainting(prompt: Prompt) -> None:
    borders = {"left": 400, "top": 0, "right": 400, "bottom": 400}
    prompt["border"] = node("ImagePadForOutpaint", image=["4", 0], feathering=24, **borders)
    prompt["8"]["inputs"] |= {"pixels": ["border", 0], "mask": ["border", 1], "noise_mask": False}


def flux_dev(prompt: Prompt) -> None:
    del prompt["4"]
    prompt["1"]["inputs"]["unet_name"] = "flux1-dev.safetensors"
    files = {"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp16.safetensors"}
    prompt["2"] = node("DualCLIPLoader", type="flux", **files)
    prompt["guidance"] = node("FluxGuidance", conditioning=["5", 0], guidance=3.5)
    prompt["8"]["inputs"] |= {"model": ["1", 0], "positive": ["guidance", 0], "scheduler": "simple"}


def flux_klein(prompt: Prompt) -> None:
    del prompt["5"]
    prompt["1"]["inputs"]["unet_name"] = "flux-2-klein-base-4b.safetensors"
    prompt["2"]["inputs"]["clip_name"] = "qwen_3_4b.safetensors"
    prompt["3"]["inputs"]["vae_name"] = "flux2-vae.safetensors"
    prompt["negative"] = node("CLIPTextEncode", text="", clip=["2", 0])
    prompt["6"] = node("CFGGuider", model=["1", 0], positive=["4", 0], negative=["negative", 0], cfg=5)


def soft_mask(prompt: Prompt) -> None:
    prompt["latent"] = node("VAEEncode", pixels=["4", 0], vae=["3", 0])
    prompt["8"] = node("SetLatentNoiseMask", samples=["latent", 0], mask=["4", 1])
    prompt["10"]["inputs"] |= {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["8", 0], "denoise": 0.6}


def two_pictures(prompt: Prompt) -> None:
    spacing = {"spacing_width": 0, "spacing_color": "white"}
    pictures = {"image1": ["4", 0], "image2": ["4", 0], "match_image_size": True}
    prompt["both"] = node("ImageStitch", direction="right", **pictures, **spacing)
    prompt["5"]["inputs"]["image"] = ["both", 0]


def four_steps(prompt: Prompt) -> None:
    lora = "Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors"
    prompt["lora"] = node("LoraLoaderModelOnly", model=["1", 0], lora_name=lora, strength_model=1)
    prompt["6"]["inputs"]["model"] = ["lora", 0]
    prompt["11"]["inputs"] |= {"steps": 4, "cfg": 1}


def factor(prompt: Prompt) -> None:
    prompt["6"] = node("LatentUpscaleBy", samples=["5", 0], upscale_method="nearest-exact", scale_by=1.5)
    prompt["8"] = node(
        "VAEDecodeTiled",
        samples=["7", 0],
        vae=["1", 2],
        tile_size=512,
        overlap=64,
        temporal_size=64,
        temporal_overlap=8,
    )


def first_frame(prompt: Prompt) -> None:
    prompt["start"] = node("LoadImage", image="photo.png")
    prompt["6"]["inputs"]["start_image"] = ["start", 0]


def first_and_last_frame(prompt: Prompt) -> None:
    prompt["9"]["class_type"] = "WanFirstLastFrameToVideo"
    prompt["9"]["inputs"]["end_image"] = ["10", 0]


def another_piece(prompt: Prompt) -> None:
    prompt["piece"] = node("LoadAudio", audio="song.mp3")
    prompt["5"] = node("VAEEncodeAudio", audio=["piece", 0], vae=["1", 2])
    prompt["8"]["inputs"]["denoise"] = 0.3


def cut_out(prompt: Prompt) -> None:
    prompt["5"] = node("JoinImageWithAlpha", image=["2", 0], alpha=["4", 0])


@pytest.mark.parametrize(
    ("heading", "change"),
    [
        ("Inpainting", outpainting),
        ("Inpainting", soft_mask),
        ("Three files", flux_dev),
        ("Guider and sampler apart", flux_klein),
        ("FLUX.1 Kontext", two_pictures),
        ("Qwen-Image-Edit", four_steps),
        ("A second pass", factor),
        ("Text to video", first_frame),
        ("Image to video", first_and_last_frame),
        ("Music and sound", another_piece),
        ("Masks and backgrounds", cut_out),
    ],
)
def test_real_server_takes_what_the_text_makes_of_an_example(
    server: httpx2.Client, heading: str, change: Callable[[Prompt], None]
) -> None:
    (pattern,) = [each for each in patterns() if each.heading == heading]
    prompt = pattern.prompt
    change(prompt)
    assert queue(server, prompt)
    server.post("/queue", json={"clear": True})
    server.post("/interrupt")


@every_pattern
def test_values_of_the_example_are_the_templates(pattern: Pattern) -> None:
    nodes = nodes_of(official_templates()[pattern.template])
    # Values may come to a node from primitives.
    primitives = values_of([node for node in nodes if node["type"].startswith("Primitive")])
    for node_id, node in pattern.prompt.items():
        alike = [each for each in nodes if each["type"] == node["class_type"]]
        if node["class_type"].startswith("Save") or node["class_type"] == "LoadImage":
            continue  # newer templates save by classes that older servers lack; where a picture comes from is free
        assert alike, f"{pattern.template} has no {node['class_type']}"
        values = values_of(alike) + primitives
        for name, value in node["inputs"].items():
            if not isinstance(value, list) and is_fixed(name):
                assert holds(values, value), f"{node_id}.{name}: {value} is not in {pattern.template}"


@pytest.mark.skipif(RECENT_FOLDER not in os.environ, reason=f"{RECENT_FOLDER} is not set")
@every_pattern
def test_wiring_of_the_example_is_the_templates(pattern: Pattern) -> None:
    """What it links, the template links as well: by classes, slots and inputs."""
    classes = NodeClasses.from_object_info(recent_data("object_info"))
    theirs = links_of(convert_workflow(official_templates()[pattern.template], classes).prompt)
    departures = {
        ("LoadImage", 0, "FluxKontextImageScale", "image"),  # there, two pictures are stitched before
        ("LoadImage", 0, "ImageUpscaleWithModel", "image"),  # there, the picture is made first
        ("SolidMask", 0, "FeatherMask", "mask"),  # there, two masks are put together before
    }
    ours = {link for link in links_of(pattern.prompt) if not link[2].startswith("Save")}
    assert ours - theirs <= departures


def links_of(prompt: Prompt) -> set[tuple[str, int, str, str]]:
    """Links as (class, slot, class, input); the template's switches and LoRAs can be left out."""
    return {
        (*source, node["class_type"], name)
        for node in prompt.values()
        for name, value in node["inputs"].items()
        for source in sources_of(prompt, value)
    }


def sources_of(prompt: Prompt, value: object) -> Iterator[tuple[str, int]]:
    if not (isinstance(value, list) and value[0] in prompt):
        return
    node = prompt[value[0]]
    yield node["class_type"], value[1]
    passed_on = {"ComfySwitchNode": ("on_false", "on_true"), "LoraLoaderModelOnly": ("model",)}
    for name in passed_on.get(node["class_type"], ()):
        yield from sources_of(prompt, node["inputs"].get(name))


@every_family
def test_files_classes_and_figures_of_a_family_are_the_templates(family: Family) -> None:
    nodes = nodes_of(official_templates()[family.template])
    types, values = {node["type"] for node in nodes}, values_of(nodes)
    for token in family.tokens:
        assert token in types or holds(values, token), f"{token} is not in {family.template}"
    for number in family.numbers:
        assert holds(values, number), f"{number} is not in {family.template}"


def test_versions_are_those_of_the_templates_index() -> None:
    oldest = oldest_servers()
    said = {each.template: each.since for each in patterns()} | {each.template: each.since for each in families()}
    assert said == {template: oldest.get(template, "old") for template in said}


def test_templates_that_the_text_names_exist_and_are_as_old_as_it_says() -> None:
    oldest = oldest_servers()
    # "(templates `a`, `b`)" and "(0.20.0, template `a`)"
    named = re.findall(r"(?:\(|(\d+\.\d+\.\d+), )templates?\s+(`[^`)]+`(?:,\s+`[^`)]+`)*)", DOCUMENT)
    assert len(named) > 8
    for since, names in named:
        for name in re.findall(r"`([^`]+)`", names):
            assert name in official_templates()
            assert since in ("", oldest.get(name))


def test_example_without_models_runs(server: httpx2.Client) -> None:
    free = [pattern for pattern in patterns() if not list(pattern.models())]
    assert free
    for pattern in free:
        entry = ended(server, queue(server, pattern.prompt))
        assert entry["status"]["status_str"] == "success"
        assert list(entry["outputs"]) == [list(pattern.prompt)[-1]]


def test_example_of_an_upscale_model_runs_with_a_real_one(server: httpx2.Client) -> None:
    (pattern,) = [each for each in patterns() if each.heading == "An upscale model"]
    prompt = pattern.prompt
    prompt["2"]["inputs"]["model_name"] = sandbox.TINY_UPSCALER
    entry = ended(server, queue(server, prompt))
    assert entry["status"]["status_str"] == "success", entry
    assert list(entry["outputs"]) == [list(prompt)[-1]]


def test_example_of_video_to_video_runs_with_a_real_video(server: httpx2.Client) -> None:
    frames = {"width": 32, "height": 32, "batch_size": 4, "color": 255}
    saved = {"filename_prefix": "patterns/clip", "format": "auto", "codec": "auto"}
    made = {
        "1": node("EmptyImage", **frames),
        "2": node("CreateVideo", images=["1", 0], fps=8),
        "3": node("SaveVideo", video=["2", 0], **saved),
    }
    (video,) = ended(server, queue(server, made))["outputs"]["3"]["images"]
    (pattern,) = [each for each in patterns() if each.heading == "Video to video"]
    prompt = pattern.prompt
    prompt["1"]["inputs"]["file"] = f"{video['subfolder']}/{video['filename']} [output]"
    prompt["3"]["inputs"]["model_name"] = sandbox.TINY_UPSCALER
    entry = ended(server, queue(server, prompt))
    assert entry["status"]["status_str"] == "success", entry
    assert list(entry["outputs"]) == [list(prompt)[-1]]
