"""references/workflows.md: its examples are prompts, its models have links, and it stays short enough to be read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from comfyui_api.documents import schema
from comfyui_api.findings import errors_in
from comfyui_api.knowledge import model_tables
from comfyui_api.node_class import NodeClasses
from comfyui_api.validate import validate_prompt
from tests.oracle import RECENT_FOLDER, recent_data
from tests.patterns import DOCUMENT, MODEL_ENDINGS, Family, Pattern, families, patterns

TABLES = model_tables(Path(os.devnull))
FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "model_name": "upscale_models",
}
WANTED = (
    "One checkpoint",
    "Image to image",
    "Inpainting",
    "ControlNet",
    "LoRA",
    "An upscale model",
    "Text to video",
    "Image to video",
    "Video to video",
    "Music and sound",
    "Image to 3D",
)
every_pattern = pytest.mark.parametrize("pattern", patterns(), ids=lambda pattern: pattern.heading)


def test_document_is_short_enough_to_be_read() -> None:
    assert len(DOCUMENT.encode()) < 40 * 1024
    sections = DOCUMENT.split("\n## ")
    assert max(len(section) for section in sections if "| family |" not in section) < 6000


def test_every_example_says_where_its_values_are_from() -> None:
    assert len(patterns()) == DOCUMENT.count("```json") > 10
    assert set(WANTED) <= {pattern.heading for pattern in patterns()}


@every_pattern
def test_example_is_a_prompt_of_which_every_node_is_used(pattern: Pattern) -> None:
    prompt = pattern.prompt
    Draft202012Validator(schema("api-workflow")).validate(prompt)
    linked = {value[0] for node in prompt.values() for value in node["inputs"].values() if isinstance(value, list)}
    assert [node_id for node_id in prompt if node_id not in linked] == [list(prompt)[-1]], "only the last one saves"
    assert linked <= set(prompt)


@every_pattern
def test_every_model_of_an_example_has_a_link_in_the_right_folder(pattern: Pattern) -> None:
    for node in pattern.prompt.values():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and value.endswith(MODEL_ENDINGS):
                known = {source.folder for source in TABLES.find(value, FOLDERS[name])}
                assert FOLDERS[name] in known, (value, known)


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_every_file_of_a_family_has_a_link(family: Family) -> None:
    for token in family.tokens:
        assert not token.endswith(MODEL_ENDINGS) or TABLES.find(token), token


def test_files_that_the_text_names_have_links() -> None:
    named = {word.strip("`()|,:;.") for word in DOCUMENT.split() if ".safetensors`" in word}
    assert len(named) > 50
    assert [name for name in named if not TABLES.find(name)] == []


@pytest.mark.skipif(RECENT_FOLDER not in os.environ, reason=f"{RECENT_FOLDER} is not set")
@every_pattern
def test_example_is_sound_for_a_recent_server(pattern: Pattern) -> None:
    """With the node classes of ComfyUI 0.33; only the files are missing there."""
    classes = NodeClasses.from_object_info(recent_data("object_info"))
    errors = errors_in(validate_prompt(pattern.prompt, classes))
    files = {"photo.png", "clip.mp4", *pattern.models()}
    unexpected = [each for each in errors if not any(repr(file)[1:-1] in each.message for file in files)]
    assert unexpected == [], json.dumps([each.message for each in unexpected])


@pytest.mark.skipif(RECENT_FOLDER not in os.environ, reason=f"{RECENT_FOLDER} is not set")
@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_classes_and_choices_of_a_family_exist_on_a_recent_server(family: Family) -> None:
    classes = recent_data("object_info")
    sampler = classes["KSampler"]["input"]["required"]
    types = [classes[loader]["input"]["required"]["type"][0] for loader in ("CLIPLoader", "DualCLIPLoader")]
    choices = {
        choice for choices in (*types, sampler["sampler_name"][0], sampler["scheduler"][0]) for choice in choices
    }
    for token in family.tokens:
        assert token in classes or token in choices or token.endswith(MODEL_ENDINGS), token


@pytest.mark.skipif(RECENT_FOLDER not in os.environ, reason=f"{RECENT_FOLDER} is not set")
def test_classes_that_the_text_names_exist_on_a_recent_server() -> None:
    named = {word for word in re.findall(r"`([A-Z][A-Za-z0-9_.]+)`", DOCUMENT) if not word.endswith(MODEL_ENDINGS)}
    assert len(named) > 60
    assert named <= set(recent_data("object_info")), named - set(recent_data("object_info"))
