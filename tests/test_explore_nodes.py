"""find_nodes: the class that is meant, what it takes and gives, and an example that holds; without a server."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from comfyui_api.app.answers import TEXT_LIMIT, fitted
from comfyui_api.cli.nodes import show_nodes
from comfyui_api.errors import ComfyError, ComfyUnreachable, InvalidArgument, UnknownName
from comfyui_api.explore.nodes import class_names, find_nodes, node_spec
from comfyui_api.inventory import ClassWriter, update_classes
from comfyui_api.inventory.classes import MOST_CARDS, ClassesInMemory
from comfyui_api.node_card import Card, card_of
from comfyui_api.node_class import NodeClasses
from comfyui_api.node_spec import spec_of
from comfyui_api.object_info import Entry
from comfyui_api.results import NodeInfo, NodeList, NodeSpec, as_json
from comfyui_api.stocktake import refresh_offline
from comfyui_api.validate import validate_prompt
from comfyui_api.workspace import Workspace, open_workspace
from tests.support import DATA, environment_for

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
SOME = json.loads((DATA / "object_info_0.3.75_some.json").read_text("utf-8"))
LORAS = [f"style/pixel-art-{number:04d}.safetensors" for number in range(3000)] + ["detail tweaker xl.safetensors"]


def node(required: Mapping[str, Any] | None = None, output: list[str] | None = None, **more: Any) -> dict[str, Any]:
    groups = {"required": dict(required or {}), "optional": more.pop("optional", {})}
    return {"input": groups, "output": output or [], "python_module": "nodes", **more}


GROWING = {"template": {"input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 1, "max": 50}}
SIZES = [
    {"key": "exact", "inputs": {"required": {"width": ["INT", {"default": 512, "min": 0, "max": 16384}]}}},
    {"key": "like another", "inputs": {"required": {"match": ["IMAGE", {}]}}},
]
CLASSES: dict[str, Any] = {
    "LoadImage": node({"image": [["a.png"], {"image_upload": True}]}, ["IMAGE", "MASK"], display_name="Load Image"),
    "SaveImage": node({"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}, output_node=True),
    "VAEEncode": node({"pixels": ["IMAGE"], "vae": ["VAE"]}, ["LATENT"], display_name="VAE Encode"),
    "KSampler": node(
        {
            "model": ["MODEL", {"tooltip": "The model."}],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}],
            "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1}],
            "sampler_name": [[f"sampler_{number}" for number in range(44)]],
            "latent_image": ["LATENT"],
        },
        ["LATENT"],
        description="Denoises the latent image.",
    ),
    "LoraLoader": node(
        {"model": ["MODEL"], "lora_name": [LORAS], "strength_model": ["FLOAT", {"default": 1.0}]}, ["MODEL"]
    ),
    "BatchImagesNode": node({"images": ["COMFY_AUTOGROW_V3", GROWING]}, ["IMAGE"], display_name="Batch Images"),
    "Resize": node(
        {
            "input": ["COMFY_MATCHTYPE_V3", {"template": {"template_id": "t", "allowed_types": "IMAGE,MASK"}}],
            "size": ["COMFY_DYNAMICCOMBO_V3", {"options": SIZES}],
        },
        ["COMFY_MATCHTYPE_V3"],
        output_matchtypes=["t"],
        output_name=["resized"],
        api_node=False,
    ),
    "PreviewAny": node({"source": ["*"]}, display_name="Preview as Text", output_node=True),
    "MathOf": node(optional={"value": ["INT,FLOAT", {"forceInput": True}]}, output=["FLOAT"]),
    "ControlNetApply": node({"image": ["IMAGE"]}, ["CONDITIONING"], deprecated=True, display_name="Apply ControlNet"),
    "ControlNetApplyAdvanced": node({"image": ["IMAGE"]}, ["CONDITIONING"], display_name="Apply ControlNet"),
    "BananaImage": node(
        {"prompt": ["STRING", {"multiline": True}]},
        ["IMAGE"],
        api_node=True,
        python_module="comfy_api_nodes.x",
        display_name="Banana (Paid Image)",
    ),
    "FancyUpscale": node(
        {"image": ["IMAGE"]}, ["IMAGE"], python_module="custom_nodes.fancy-pack", search_aliases=["hires thing"]
    ),
}


@pytest.fixture
async def workspace(home: Path) -> AsyncIterator[Workspace]:
    async with open_workspace(environment_for(home, NOBODY)) as opened:
        yield opened


@pytest.fixture
async def stocked(workspace: Workspace, home: Path) -> Workspace:
    """A workspace whose inventory was read from files, with a pack of version 1.2.3."""
    return await stock(workspace, home, CLASSES)


async def stock(workspace: Workspace, home: Path, object_info: Mapping[str, Any]) -> Workspace:
    saved = home / "object_info.json"
    saved.write_text(json.dumps(object_info))
    pack = home.parent / "ComfyUI" / "custom_nodes" / "fancy-pack"
    (home.parent / "ComfyUI" / "models").mkdir(parents=True, exist_ok=True)
    pack.mkdir(parents=True, exist_ok=True)
    (pack / "pyproject.toml").write_text('[project]\nname = "fancy-pack"\nversion = "1.2.3"\n')
    (pack / "__init__.py").write_text("")
    await refresh_offline(workspace, None, saved, home.parent / "ComfyUI")
    return workspace


async def hits(workspace: Workspace, query: str = "", **more: Any) -> list[NodeInfo]:
    return (await find_nodes(workspace, query, **more)).nodes or []


async def names(workspace: Workspace, query: str = "", **more: Any) -> list[str]:
    return [each.class_type for each in await hits(workspace, query, **more)]


# --- searching


async def test_what_is_meant_comes_first_with_what_it_takes_and_gives(stocked: Workspace) -> None:
    first, *_ = await hits(stocked, "vae encode")
    assert (first.class_type, first.name) == ("VAEEncode", "VAE Encode")
    assert (first.inputs, first.outputs) == ("pixels:IMAGE, vae:VAE", "LATENT")


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("img2img", "VAEEncode"),
        ("open a picture", "LoadImage"),
        ("seed", "KSampler"),
        ("hires thing", "FancyUpscale"),
        ("fancy-pack", "FancyUpscale"),
        ("lora", "LoraLoader"),
        ("apply controlnet", "ControlNetApplyAdvanced"),
        ("image batch", "BatchImagesNode"),
        ("baanana", "BananaImage"),
    ],
)
async def test_aliases_and_words_of_the_trade_find_their_class(stocked: Workspace, query: str, first: str) -> None:
    assert (await names(stocked, query))[0] == first


async def test_marks_and_packs_are_said(stocked: Workspace) -> None:
    (fancy,) = await hits(stocked, "fancy")
    assert fancy.pack == "fancy-pack 1.2.3"
    shown = {each.class_type: each.marks for each in await hits(stocked, "controlnet apply")}
    assert shown == {"ControlNetApplyAdvanced": None, "ControlNetApply": ["deprecated"]}
    (banana,) = await hits(stocked, "banana")
    assert banana.marks == ["partner"]


async def test_types_are_matched_as_the_server_does(stocked: Workspace) -> None:
    assert await names(stocked, accepts="IMAGE", gives="LATENT") == ["VAEEncode"]
    assert await names(stocked, accepts="image", gives="latent") == ["VAEEncode"]
    taking_masks = await names(stocked, accepts="MASK")
    assert taking_masks == ["Resize", "PreviewAny"]  # a union, and last what takes anything
    assert "MathOf" in await names(stocked, accepts="FLOAT")  # one of a union, optional
    assert "LoraLoader" in await names(stocked, accepts="FLOAT")  # a widget may be linked as well
    assert "BatchImagesNode" in await names(stocked, accepts="IMAGE")
    assert set(await names(stocked, gives="MASK")) == {"LoadImage", "Resize"}
    assert "Resize" in await names(stocked, gives="IMAGE,MASK")


async def test_words_and_types_go_together(stocked: Workspace) -> None:
    assert (await names(stocked, "upscale", accepts="IMAGE"))[0] == "FancyUpscale"
    result = await find_nodes(stocked, "upscale", gives="LATENT")
    assert result.nodes == []
    assert result.notes is not None
    assert "No class with these types has 'upscale'." in result.notes


async def test_a_type_that_nothing_has_is_said_with_those_like_it(stocked: Workspace) -> None:
    result = await find_nodes(stocked, accepts="IMAGES")
    assert result.notes is not None
    assert any("'IMAGES'" in note and "'IMAGE'" in note for note in result.notes)


async def test_a_class_that_only_a_pack_has_is_found_there(stocked: Workspace) -> None:
    result = await find_nodes(stocked, "face detailer")
    assert result.nodes == []
    assert result.notes is not None
    assert any("FaceDetailer" in note and "comfy node install comfyui-impact-pack" in note for note in result.notes)


async def test_asking_for_nothing_tells_what_there_is(stocked: Workspace) -> None:
    result = await find_nodes(stocked)
    assert result.nodes == []
    assert f"{len(CLASSES)} node classes" in result.message


async def test_the_limit_holds_and_is_said(stocked: Workspace) -> None:
    result = await find_nodes(stocked, "image", limit=2)
    assert len(result.nodes or ()) == 2
    assert "the first 2 are shown" in result.message
    with pytest.raises(InvalidArgument, match="at least 1"):
        await find_nodes(stocked, "image", limit=0)


async def test_a_class_name_of_blanks_is_none(stocked: Workspace) -> None:
    assert await names(stocked, "load image", class_type="   ") == await names(stocked, "load image")


def test_an_input_without_files_yet_tells_how_to_bring_one() -> None:
    spec = spec_of("LoadImage", node({"image": [[], {"image_upload": True}]}, ["IMAGE", "MASK"]))
    assert spec.inputs == ["image: a file on the server, of which there is none yet: upload_image gives the value"]
    assert spec.example["inputs"] == {"image": "<value of upload_image>"}
    others = spec_of("Loader", node({"model": [[]]}))
    assert "empty on this server" in others.inputs[0]


async def test_turning_something_into_another_thing_rotates_nothing(workspace: Workspace, home: Path) -> None:
    classes = {
        "ImageRotate": node({"image": ["IMAGE"]}, ["IMAGE"], display_name="Image Rotate"),
        "GetVideoComponents": node({"video": ["VIDEO"]}, ["IMAGE"], display_name="Get Video Components"),
    }
    stocked = await stock(workspace, home, classes)
    assert (await names(stocked, "how do I turn a video into frames"))[0] == "GetVideoComponents"
    assert await names(stocked, "turn an image") == ["ImageRotate"]


async def test_one_class_is_counted_as_one(workspace: Workspace, home: Path) -> None:
    stocked = await stock(workspace, home, {"LoadImage": CLASSES["LoadImage"]})
    assert (await find_nodes(stocked)).message.startswith("1 node class, by category")
    assert (await find_nodes(stocked, "load image")).message.startswith("1 of 1 node class fits.")


async def test_by_an_inventory_alone_that_is_said(stocked: Workspace) -> None:
    for result in (await find_nodes(stocked, "image"), await find_nodes(stocked, class_type="LoadImage")):
        assert result.notes is not None
        assert "by the inventory alone" in result.notes[-1]


async def test_where_nothing_is_known_the_error_says_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(ComfyUnreachable, match="inventory refresh --object-info"):
        await find_nodes(workspace, "image")


# --- one class


async def test_a_class_is_told_in_full_and_in_few_words(stocked: Workspace) -> None:
    spec = await node_spec(stocked, "KSampler")
    assert spec.inputs == [
        "model: MODEL  # The model.",
        "seed: INT = 0, at least 0",
        "cfg: FLOAT = 8.0, 0..100, step 0.1",
        f"sampler_name: {' | '.join(f'sampler_{number}' for number in range(8))} | … (44 options)",
        "latent_image: LATENT",
    ]
    assert spec.outputs == ["0: LATENT"]
    assert spec.example == {
        "class_type": "KSampler",
        "inputs": {
            "model": ["<MODEL>", 0],
            "seed": 0,
            "cfg": 8.0,
            "sampler_name": "sampler_0",
            "latent_image": ["<LATENT>", 0],
        },
    }


async def test_inputs_that_come_and_go_are_told_in_words(stocked: Workspace) -> None:
    batch, resize = await node_spec(stocked, "BatchImagesNode"), await node_spec(stocked, "Resize")
    assert batch.inputs == ["images: IMAGE, as many as needed up to 50: images.image0, images.image1, …"]
    assert batch.example["inputs"] == {"images.image0": ["<IMAGE>", 0]}
    assert resize.inputs == [
        "input: IMAGE,MASK, which is the output's type too",
        "size: exact | like another",
        "size.width (with size=exact): INT = 512, 0..16384",
        "size.match (with size=like another): IMAGE",
    ]
    assert resize.outputs == ["0: IMAGE,MASK resized"]
    assert resize.example["inputs"] == {"input": ["<IMAGE,MASK>", 0], "size": "exact", "size.width": 512}


async def test_a_query_picks_among_the_values_of_an_input(stocked: Workspace) -> None:
    result = await find_nodes(stocked, "detail xl", class_type="LoraLoader")
    assert result.node is not None
    assert result.node.matching == {"lora_name": ["detail tweaker xl.safetensors"]}
    many = await find_nodes(stocked, "pixel", class_type="LoraLoader")
    assert many.node is not None
    assert many.node.matching is not None
    assert 0 < len(many.node.matching["lora_name"]) <= 30
    none = await find_nodes(stocked, "zzzzz", class_type="LoraLoader")
    assert none.notes is not None
    assert none.notes[0] == "No value of its inputs fits 'zzzzz'."


async def test_a_name_that_differs_in_case_or_is_the_shown_one_is_understood(stocked: Workspace) -> None:
    for said in ("ksampler", " KSAMPLER "):
        assert (await node_spec(stocked, said)).class_type == "KSampler"
    result = await find_nodes(stocked, class_type="Batch Images")
    assert result.node is not None
    assert result.node.class_type == "BatchImagesNode"
    assert result.notes is not None
    assert "no class 'Batch Images'" in result.notes[0]
    with pytest.raises(UnknownName):  # two are called so
        await find_nodes(stocked, class_type="Apply ControlNet")


async def test_a_wrong_name_gets_the_closest_ones(stocked: Workspace) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'LoraLoader'"):
        await find_nodes(stocked, class_type="LoadLora")


@pytest.mark.parametrize("name", ["\ud800", "a\x00b", "x" * 100_000, "%", "'"])
async def test_what_can_be_no_name_is_an_unknown_one(stocked: Workspace, name: str) -> None:
    with pytest.raises(UnknownName) as caught:
        await find_nodes(stocked, class_type=name)
    assert len(str(caught.value)) < 1000
    str(caught.value).encode()


async def test_a_class_of_a_known_pack_comes_with_its_install_command(stocked: Workspace) -> None:
    with pytest.raises(UnknownName, match=r"comfy node install comfyui-impact-pack") as caught:
        await find_nodes(stocked, class_type="FaceDetailer")
    assert "Did you mean" not in str(caught.value)


async def test_costs_and_age_of_a_class_are_said(stocked: Workspace) -> None:
    banana = await find_nodes(stocked, class_type="BananaImage")
    assert banana.notes is not None
    assert "spends its credits" in banana.notes[0]
    old = await find_nodes(stocked, class_type="ControlNetApply")
    assert old.notes is not None
    assert old.notes[0].startswith("Deprecated")


@pytest.mark.parametrize("class_type", sorted(SOME))
def test_an_example_is_accepted_but_for_its_links(class_type: str) -> None:
    example = spec_of(class_type, SOME[class_type]).example
    inputs = {name: ["2", 0] if isinstance(value, list) else value for name, value in example["inputs"].items()}
    prompt = {
        "1": {"class_type": class_type, "inputs": inputs},
        "2": {"class_type": "Any", "inputs": {}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    classes = NodeClasses.from_object_info(SOME | {"PreviewAny": CLASSES["PreviewAny"], "Any": node(output=["*"])})
    wanting = {finding.input for finding in validate_prompt(prompt, classes, {}) if finding.node_id == "1"}
    to_fill = ("<one of its options>", "<value of upload_image>")
    assert wanting <= {name for name, value in inputs.items() if value in to_fill}


async def test_answers_stay_small_whatever_a_class_has(workspace: Workspace, home: Path) -> None:
    large = {f"file{at}": [[f"{'long name ' * 20}{number}" for number in range(3000)]] for at in range(80)}
    texts = {f"text{at}": ["STRING", {"default": "word " * 2000, "tooltip": "tip " * 500}] for at in range(200)}
    object_info = {
        f"Large{number}{'x' * 200}": node(large | texts, ["IMAGE"] * 300, description="much " * 1000)
        for number in range(3)
    }
    await stock(workspace, home, object_info)
    first = next(iter(object_info))
    for result in (
        await find_nodes(workspace, "large", limit=50),
        await find_nodes(workspace, class_type=first),
        await find_nodes(workspace, "long", class_type=first),
    ):
        assert len(json.dumps(fitted(as_json(result), TEXT_LIMIT), ensure_ascii=False)) <= TEXT_LIMIT * 1.1


# --- the console


def console(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comfyui_api", "nodes", *arguments],
        env={**os.environ, **environment_for(home, NOBODY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


async def test_the_console_gives_the_same_to_a_program(stocked: Workspace, home: Path) -> None:
    found = console(home, "vae", "encode", "--limit", "1")
    assert found.returncode == 0, found.stderr
    assert [each["class_type"] for each in json.loads(found.stdout)["nodes"]] == ["VAEEncode"]
    described = console(home, "--class-type", "LoraLoader", "detail", "--json")
    assert json.loads(described.stdout)["node"]["matching"]["lora_name"] == ["detail tweaker xl.safetensors"]
    typed = console(home, "--accepts", "IMAGE", "--gives", "LATENT")
    assert [each["class_type"] for each in json.loads(typed.stdout)["nodes"]] == ["VAEEncode"]


async def test_the_exit_code_tells_whether_any_was_found(stocked: Workspace, home: Path) -> None:
    assert console(home, "zzzzz").returncode == 1
    wrong = console(home, "--class-type", "LoadLora")
    assert wrong.returncode == 2
    assert "Did you mean 'LoraLoader'" in wrong.stderr


def test_a_person_sees_a_table_and_nothing_steers_the_terminal() -> None:
    screen = Console(file=StringIO(), width=100, force_terminal=False)
    spec = NodeSpec("A", ["a: INT = 1"], ["0: IMAGE"], {"class_type": "A", "inputs": {}}, {"a": ["\x1b[2J"]}, "[red]A")
    show_nodes(NodeList(nodes=[NodeInfo("B", "\x1b[31m[bold]B")], node=spec, notes=["a note"], message="done"), screen)
    assert isinstance(screen.file, StringIO)
    shown = screen.file.getvalue()
    assert "\x1b" not in shown
    assert "[red]A" in shown
    assert "[bold]B" in shown
    assert "a note" in shown


# --- the cards


def test_a_card_is_kept_as_it_is() -> None:
    for name, entry in (SOME | CLASSES).items():
        card = card_of(name, entry)
        assert Card.of_text(card.as_text()) == card


async def test_a_file_without_cards_is_searched_all_the_same(stocked: Workspace) -> None:
    inventory, _ = stocked.known_inventory(stocked.connect())
    assert inventory is not None
    with closing(sqlite3.connect(inventory.path.with_suffix(".classes.sqlite"))) as database, database:
        database.execute("DROP TABLE card")
    assert (await names(stocked, "vae encode"))[0] == "VAEEncode"
    assert await names(stocked, accepts="IMAGE", gives="LATENT") == ["VAEEncode"]


async def test_a_class_that_changed_is_found_by_what_it_is_now(stocked: Workspace) -> None:
    inventory, _ = stocked.known_inventory(stocked.connect())
    assert inventory is not None
    changed = node({"sound": ["AUDIO"]}, ["AUDIO"], display_name="Whisper")
    stocked.connect().inventory = update_classes(inventory, {"VAEEncode": changed, "KSampler": None, "New": changed})
    assert set(await names(stocked, "whisper")) == {"VAEEncode", "New"}
    assert await names(stocked, accepts="IMAGE", gives="LATENT") == []
    assert "KSampler" not in await names(stocked, "sampler")


async def test_a_damaged_file_is_an_error_that_says_so(stocked: Workspace) -> None:
    inventory, _ = stocked.known_inventory(stocked.connect())
    assert inventory is not None
    inventory.path.with_suffix(".classes.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(ComfyError, match=r"no node classes|could not be read"):
        await find_nodes(stocked, "image")


async def test_names_are_told_as_they_begin(stocked: Workspace) -> None:
    assert class_names(stocked, "load") == ["LoadImage", "LoraLoader"]
    assert class_names(stocked, "control", limit=1) == ["ControlNetApply"]
    assert class_names(stocked, "nothing") == []


async def test_without_an_inventory_there_are_no_names(workspace: Workspace) -> None:
    assert class_names(workspace, "load") == []


def test_of_very_many_classes_those_are_read_that_have_the_words() -> None:
    with ClassWriter(None) as writer:
        many = (Entry(f"Thing{number}", json.dumps(node({"a": ["INT"]})), "nodes") for number in range(MOST_CARDS * 2))
        writer.add([*many, Entry("LoadImage", json.dumps(CLASSES["LoadImage"]), "nodes")])
        writer.finish()
        cards = ClassesInMemory(writer.database).cards(["load", "imag"])
    assert [card.class_type for card in cards] == ["LoadImage"]


# --- what others wrote

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud800\x1f\n")
dynamic = ["AUTOGROW", "MATCHTYPE", "DYNAMICCOMBO", "DYNAMICSLOT", "DYNAMICGROUP", "NEW"]
kinds = st.sampled_from(["IMAGE", "INT", "FLOAT", "COMBO", "*", "A,B", *(f"COMFY_{kind}_V3" for kind in dynamic)])
known_keys = (
    "required optional options template inputs input key default min max step names prefix tooltip allowed_types "
    "template_id slotType multiselect remote forceInput"
)
keys = st.sampled_from(known_keys.split())
anything = st.recursive(
    scalars | kinds,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
specs = st.dictionaries(st.text(max_size=10), st.lists(kinds | anything, max_size=3) | anything, max_size=4)
groups = st.dictionaries(st.sampled_from(["required", "optional", "hidden"]), specs | anything, max_size=3)
others = (
    "output output_name output_is_list output_matchtypes display_name description category search_aliases deprecated "
    "api_node python_module"
)
entries = st.fixed_dictionaries({"input": groups | anything}, optional=dict.fromkeys(others.split(), anything))


@given(entries)
def test_any_entry_has_a_card_and_a_spec(entry: dict[str, Any]) -> None:
    card = card_of("Some", entry)
    assert Card.of_text(card.as_text()) == card
    card.as_text().encode()
    spec = spec_of("Some", entry)
    assert spec.example["class_type"] == "Some"
    assert all(line.isprintable() for line in (*spec.inputs, *spec.outputs))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(max_size=12), entries, min_size=1, max_size=4), st.text(max_size=40), st.text(max_size=10)
)
async def test_any_inventory_and_any_question_give_an_answer_or_our_error(
    workspace: Workspace, home: Path, object_info: dict[str, Any], query: str, kind: str
) -> None:
    try:
        await stock(workspace, home, object_info)
    except ComfyError:
        return  # nothing of it is a node class
    for name in (*object_info, query):
        questions: list[dict[str, Any]] = [
            {"query": query, "accepts": kind},
            {"query": name},
            {"gives": kind},
            {"class_type": name},
        ]
        for question in questions:
            try:
                json.dumps(as_json(await find_nodes(workspace, **question))).encode()
            except ComfyError:
                continue
