"""The inputs that a person would change, and how they are told: by where they lead, by name, by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.main_inputs import MainInput, main_inputs
from comfyui_api.node_class import NodeClasses
from comfyui_api.verdict import validate_workflow
from comfyui_api.workspace import open_workspace
from tests.support import Prompt, environment_for


def described(inputs: dict[str, Any], outputs: list[str], **more: Any) -> dict[str, Any]:
    return {"input": {"required": inputs}, "output": outputs, **more}


TEXT = ["STRING", {"multiline": True}]
SEED = ["INT", {"control_after_generate": True}]
PAIR = {"positive": ["CONDITIONING"], "negative": ["CONDITIONING"]}
OBJECT_INFO = {
    "CheckpointLoaderSimple": described({"ckpt_name": [["sd.safetensors"]]}, ["MODEL", "CLIP", "VAE"]),
    "LoraLoader": described(
        {"model": ["MODEL"], "clip": ["CLIP"], "lora_name": [[]], "strength_model": ["FLOAT"]}, ["MODEL", "CLIP"]
    ),
    "CLIPTextEncode": described({"text": TEXT, "clip": ["CLIP"]}, ["CONDITIONING"]),
    "CLIPTextEncodeFlux": described({"clip_l": TEXT, "t5xxl": TEXT, "guidance": ["FLOAT"]}, ["CONDITIONING"]),
    "ConditioningZeroOut": described({"conditioning": ["CONDITIONING"]}, ["CONDITIONING"]),
    "ControlNetApplyAdvanced": described(
        PAIR | {"image": ["IMAGE"], "strength": ["FLOAT"]},
        ["CONDITIONING", "CONDITIONING"],
        output_name=["positive", "negative"],
    ),
    "EmptyLatentImage": described({"width": ["INT"], "height": ["INT"], "batch_size": ["INT"]}, ["LATENT"]),
    "LoadImage": described({"image": [["a.png"], {"image_upload": True}]}, ["IMAGE", "MASK"]),
    "KSampler": described(
        {"model": ["MODEL"], **PAIR, "latent_image": ["LATENT"], "seed": SEED, "steps": ["INT"], "cfg": ["FLOAT"]}
        | {"sampler_name": [["euler"]], "scheduler": [["normal"]], "denoise": ["FLOAT"]},
        ["LATENT"],
    ),
    "CFGGuider": described({"model": ["MODEL"], **PAIR, "cfg": ["FLOAT"]}, ["GUIDER"]),
    "BasicGuider": described({"model": ["MODEL"], "conditioning": ["CONDITIONING"]}, ["GUIDER"]),
    "RandomNoise": described({"noise_seed": SEED}, ["NOISE"]),
    "SamplerCustomAdvanced": described({"noise": ["NOISE"], "guider": ["GUIDER"]}, ["LATENT"]),
    "VAEDecode": described({"samples": ["LATENT"], "vae": ["VAE"]}, ["IMAGE"]),
    "SaveImage": described({"images": ["IMAGE"], "filename_prefix": ["STRING"]}, [], output_node=True),
    "PrimitiveInt": described({"value": ["INT", {"control_after_generate": "fixed"}]}, ["INT"]),
    "PrimitiveStringMultiline": described({"value": TEXT}, ["STRING"]),
    "StringConcatenate": described({"string_a": TEXT, "string_b": TEXT, "delimiter": ["STRING"]}, ["STRING"]),
    "PackEmbeds": described({"width": ["INT"], "num_frames": ["INT"]}, ["EMBEDS"], python_module="custom_nodes.pack"),
    "CLIPTextEncodeSDXL": described({"width": ["INT"], "text_g": TEXT}, ["CONDITIONING"]),
    "PackSampler": described(
        {"what": TEXT, "chance": ["INT", {"control_after_generate": True}], "speed": ["INT"]},
        ["IMAGE"],
        python_module="custom_nodes.pack",
    ),
}
CLASSES = NodeClasses.from_object_info(OBJECT_INFO)


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


def text_to_image(**changed: Any) -> Prompt:
    """ComfyUI's first workflow, with other nodes in place of some."""
    sampler: dict[str, Any] = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    settings: dict[str, Any] = {
        "seed": 7,
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    return {
        "3": node("KSampler", **sampler, **settings),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "6": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
        **changed,
    }


def kinds(prompt: Prompt, classes: NodeClasses | None = CLASSES) -> dict[str, str]:
    return {each.address: each.kind for each in main_inputs(prompt, classes)}


def found(prompt: Prompt, address: str) -> MainInput:
    return next(each for each in main_inputs(prompt, CLASSES) if each.address == address)


@pytest.mark.parametrize("classes", [CLASSES, None], ids=["with classes", "without"])
def test_the_first_workflow_of_everybody_is_told_in_full_and_in_order(classes: NodeClasses | None) -> None:
    assert list(kinds(text_to_image(), classes).items()) == [
        ("6.text", "prompt"),
        ("7.text", "negative_prompt"),
        ("3.seed", "seed"),
        ("5.width", "width"),
        ("5.height", "height"),
        ("3.steps", "steps"),
        ("3.cfg", "cfg"),
        ("3.denoise", "denoise"),
        ("5.batch_size", "batch_size"),
        ("4.ckpt_name", "model"),
        ("3.sampler_name", "sampler"),
        ("3.scheduler", "scheduler"),
        ("9.filename_prefix", "output"),
    ]


@pytest.mark.parametrize("classes", [CLASSES, None], ids=["with classes", "without"])
def test_wanted_and_unwanted_keep_apart_behind_a_node_that_changes_both(classes: NodeClasses | None) -> None:
    control = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], image=["2", 0], strength=0.5)
    prompt = text_to_image(**{"10": control, "2": node("LoadImage", image="pose.png")})
    prompt["3"]["inputs"] |= {"positive": ["10", 0], "negative": ["10", 1]}
    told = kinds(prompt, classes)
    assert told["6.text"] == "prompt"
    assert told["7.text"] == "negative_prompt"
    assert told["2.image"] == "image"
    assert told["10.strength"] == "strength"


def test_a_guider_tells_wanted_from_unwanted() -> None:
    prompt = text_to_image(**{"3": node("SamplerCustomAdvanced", noise=["11", 0], guider=["12", 0])})
    prompt["11"] = node("RandomNoise", noise_seed=5)
    prompt["12"] = node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=1.0)
    told = kinds(prompt)
    assert (told["6.text"], told["7.text"]) == ("prompt", "negative_prompt")
    assert (told["11.noise_seed"], told["12.cfg"]) == ("seed", "cfg")


def test_a_text_whose_negative_half_is_zeroed_is_a_prompt() -> None:
    prompt = text_to_image(**{"7": node("ConditioningZeroOut", conditioning=["6", 0])})
    assert kinds(prompt)["6.text"] == "prompt"


def test_both_texts_of_a_flux_encoder_are_prompts() -> None:
    told = kinds(text_to_image(**{"6": node("CLIPTextEncodeFlux", clip_l="a cat", t5xxl="a cat", guidance=3.5)}))
    assert told["6.clip_l"] == told["6.t5xxl"] == "prompt"
    assert told["6.guidance"] == "cfg"


def test_a_value_from_a_primitive_is_listed_where_it_stands() -> None:
    prompt = text_to_image(**{"20": node("PrimitiveInt", value=1024)})
    prompt["5"]["inputs"] |= {"width": ["20", 0], "height": ["20", 0]}
    entry = found(prompt, "20.value")
    assert (entry.kind, entry.value, entry.note) == ("width", 1024, "goes to 5.width, 5.height")
    assert "5.width" not in kinds(prompt)


def test_a_title_says_what_a_primitive_is_for() -> None:
    prompt = text_to_image(**{"20": node("PrimitiveInt", "Duration in seconds", value=5)})
    prompt["3"]["inputs"]["steps"] = ["20", 0]
    assert found(prompt, "20.value").kind == "length"


def test_a_text_put_together_of_others_is_followed_to_its_parts() -> None:
    joined = node("StringConcatenate", string_a=["21", 0], string_b="in the snow", delimiter=", ")
    prompt = text_to_image(**{"20": joined, "21": node("PrimitiveStringMultiline", value="a cat")})
    prompt["7"]["inputs"]["text"] = ["20", 0]
    told = kinds(prompt)
    assert told["21.value"] == told["20.string_b"] == "negative_prompt"
    assert "20.delimiter" not in told


def test_instructions_for_a_language_model_and_data_are_no_prompt() -> None:
    for text in ("You are an expert writer of prompts.", '[{"x": 1, "y": 2}]'):
        prompt = text_to_image(**{"20": node("PrimitiveStringMultiline", value=text)})
        prompt["6"]["inputs"]["text"] = ["20", 0]
        assert found(prompt, "20.value").kind == "text"


def test_an_unknown_pack_is_read_by_the_form_of_its_inputs() -> None:
    told = kinds({"1": node("PackSampler", what="a cat", chance=3, speed=2), "2": node("SaveImage", images=["1", 0])})
    assert told == {"1.what": "prompt", "1.chance": "seed"}


def test_sizes_are_those_of_what_is_made() -> None:
    told = kinds({"1": node("PackEmbeds", width=512, num_frames=81), "2": node("CLIPTextEncodeSDXL", width=512)})
    assert told == {"1.width": "width", "1.num_frames": "length"}


def test_files_are_told_by_their_ending_where_the_class_is_unknown() -> None:
    told = kinds(
        {"1": node("Loader", path="x/clip.mp4", sound="a.wav [input]", mesh="m.glb", other="a.b", tags="v.png")}
    )
    assert told == {"1.path": "video", "1.sound": "audio", "1.mesh": "3d", "1.tags": "image"}


def test_what_does_not_run_is_not_listed() -> None:
    prompt = text_to_image(**{"30": node("CLIPTextEncode", text="left over", clip=["4", 1])})
    assert "30.text" not in kinds(prompt)


def test_addresses_within_subgraphs_are_those_that_inputs_take() -> None:
    assert "12:8:6.text" in kinds({"12:8:6": node("CLIPTextEncode", text="a cat")})


def test_long_texts_are_cut_and_the_same_text_twice_is_said() -> None:
    text = "a cat " * 50
    prompt = text_to_image(**{"6": node("CLIPTextEncodeFlux", clip_l=text, t5xxl=text)})
    first, second = found(prompt, "6.clip_l"), found(prompt, "6.t5xxl")
    assert isinstance(first.value, str)
    assert len(first.value) == 81
    assert (first.note, second.note) == ("", "same text as 6.clip_l")


@pytest.mark.anyio
async def test_the_verdict_on_a_file_lists_them_before_others_are_cut(home: Path) -> None:
    (home / "classes.json").write_text(json.dumps(OBJECT_INFO), encoding="utf-8")
    many = {f"x{each}": node("EmptyLatentImage", width=64, height=64, batch_size=1, o=each) for each in range(40)}
    batch = {f"y{each}": node("PackTwo", samples=[f"x{each}", 0], seed_of_no_kind=1) for each in range(40)}
    prompt = many | text_to_image() | batch
    (home / "cat.json").write_text(json.dumps(prompt), encoding="utf-8")
    async with open_workspace(environment_for(home, "http://127.0.0.1:9")) as workspace:
        result = await validate_workflow(workspace, "cat.json", None, str(home / "classes.json"))
        assert result.inputs is not None
        assert list(result.inputs)[:3] == ["6.text", "7.text", "3.seed"]
        assert not any(address.startswith("x") for address in result.inputs)  # they do not run
        inline = await validate_workflow(workspace, prompt, None, str(home / "classes.json"))
        assert inline.inputs is None  # who wrote it knows it


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)
links = st.tuples(st.sampled_from(["1", "2", "3", "9"]), st.integers(-2, 3) | st.floats()).map(list)
names = st.sampled_from(["text", "positive", "negative", "seed", "value", "a.b", "image", "conditioning", "cond2"])
nodes = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(["KSampler", "CLIPTextEncode", "PrimitiveInt", "StringConcatenate", "Pack"])
        | anything,
        "inputs": st.dictionaries(names | st.text(max_size=8), links | anything, max_size=5) | anything,
    },
    optional={"_meta": st.fixed_dictionaries({"title": anything}) | anything},
)


@given(st.dictionaries(st.sampled_from(["1", "2", "3", "4"]), nodes | anything, max_size=4), st.booleans())
def test_a_prompt_of_any_shape_gives_addresses_that_exist(prompt: Prompt, known: bool) -> None:
    for each in main_inputs(prompt, CLASSES if known else None):
        node_id, _, name = each.address.partition(".")
        assert name in prompt[node_id]["inputs"]


@given(anything, anything)
def test_classes_of_any_shape_are_taken(entry: Any, other: Any) -> None:
    classes = NodeClasses.from_object_info({"KSampler": entry, "SaveImage": {"input": {"required": other}}})
    main_inputs(text_to_image(), classes)


def test_a_large_workflow_takes_no_long_time_and_a_circle_ends() -> None:
    prompt = {str(each): node("PrimitiveInt", value=[str(each + 1), 0], a=1) for each in range(3000)}
    prompt["3000"] = node("StringConcatenate", string_a=["0", 0], string_b="x")
    prompt["save"] = node("SaveImage", filename_prefix=["1500", 0])
    assert len(main_inputs(prompt, CLASSES)) == 3001
