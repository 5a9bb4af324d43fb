"""find_models: what is installed by folder, with its loaders, and what can be downloaded; without a server."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfyui_api.app.answers import TEXT_LIMIT, fitted
from comfyui_api.errors import ComfyUnreachable, InvalidArgument, UnknownName
from comfyui_api.explore.models import find_models
from comfyui_api.results import ModelList, as_json
from comfyui_api.stocktake import refresh_offline
from comfyui_api.workspace import Workspace, open_workspace
from tests.support import environment_for

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"

FILES = {
    "checkpoints": ["sd15.safetensors", "sub/sd_xl_base_1.0.safetensors", "sub/sd_xl_refiner_1.0.safetensors"],
    "loras": ["wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors", "pixel-art-xl.safetensors"],
    "diffusion_models": [
        "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
        "wan2.2_t2v_low_noise_14B_fp16.safetensors",
    ],
    "embeddings": ["EasyNegative.safetensors"],
    "ipadapter": ["ip-adapter_sdxl.safetensors"],
}


def loader(name: str, options: list[str], **more: Any) -> dict[str, Any]:
    return {"input": {"required": {name: [options]}}, "output": ["MODEL"], "python_module": "nodes", **more}


def installed(home: Path, files: Mapping[str, list[str]] = FILES) -> Path:
    """An installation with these files, in words of ten bytes each."""
    comfyui = home.parent / "ComfyUI"
    for folder, names in files.items():
        for name in names:
            path = comfyui / "models" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"0123456789")
    (comfyui / "custom_nodes").mkdir(parents=True, exist_ok=True)
    return comfyui


def classes(home: Path) -> Path:
    """A saved /object_info with some loaders of these files."""
    here = {folder: [name.replace("/", os.sep) for name in names] for folder, names in FILES.items()}
    entries = {
        "CheckpointLoaderSimple": loader("ckpt_name", here["checkpoints"]),
        "UNETLoader": loader("unet_name", here["diffusion_models"]),
        "LoraLoader": loader("lora_name", here["loras"]),
        "LoraLoaderModelOnly": loader("lora_name", here["loras"]),
        "IPAdapterModelLoader": loader("ipadapter_file", here["ipadapter"], python_module="custom_nodes.ipadapter"),
        "KSampler": {"input": {"required": {"seed": ["INT", {}]}}, "output": ["LATENT"], "python_module": "nodes"},
    }
    path = home / "object_info.json"
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
async def workspace(home: Path) -> AsyncIterator[Workspace]:
    async with open_workspace(environment_for(home, NOBODY)) as opened:
        yield opened


@pytest.fixture
async def stocked(workspace: Workspace, home: Path) -> Workspace:
    """A workspace whose inventory was read from files."""
    await refresh_offline(workspace, None, classes(home), installed(home))
    return workspace


async def found(
    workspace: Workspace, query: str = "", folder: str | None = None, *, installed: bool = True, limit: int = 20
) -> ModelList:
    return await find_models(workspace, query, folder, installed=installed, limit=limit, server=None)


def names(result: ModelList) -> list[str]:
    return [model.file.replace(os.sep, "/") for model in result.models]


async def test_without_words_every_folder_is_counted_and_shows_some(stocked: Workspace) -> None:
    result = await found(stocked)
    assert result.folders == {folder: len(files) for folder, files in FILES.items()}
    assert {model.folder for model in result.models[: len(FILES)]} == set(FILES)
    assert "9 model files in 5 folders" in result.message


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("sdxl base", "sub/sd_xl_base_1.0.safetensors"),
        ("wan2.2 i2v fp8", "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors"),
        ("wan 2.2 t2v", "wan2.2_t2v_low_noise_14B_fp16.safetensors"),
        ("lightx2v", "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"),
        ("pixel art", "pixel-art-xl.safetensors"),
        ("SD15.safetensors", "sd15.safetensors"),
        ("ip adapter", "ip-adapter_sdxl.safetensors"),
    ],
)
async def test_words_find_a_file_by_its_name(stocked: Workspace, query: str, first: str) -> None:
    assert names(await found(stocked, query))[0] == first


async def test_a_hit_is_the_exact_value_with_its_loader_and_size(stocked: Workspace) -> None:
    result = await found(stocked, "refiner")
    assert result.models[0].file == f"sub{os.sep}sd_xl_refiner_1.0.safetensors"
    assert result.models[0].size == 10
    assert result.loaders == {"checkpoints": ["CheckpointLoaderSimple.ckpt_name"]}


async def test_a_packs_loader_is_found_by_its_name(stocked: Workspace) -> None:
    assert (await found(stocked, folder="ipadapter")).loaders == {"ipadapter": ["IPAdapterModelLoader.ipadapter_file"]}


async def test_an_embedding_is_named_as_a_text_names_it(stocked: Workspace) -> None:
    assert names(await found(stocked, "easy negative")) == ["embedding:EasyNegative"]


@pytest.mark.parametrize("folder", ["loras", "lora", "models/loras", "LORAS", "loras/"])
async def test_a_folder_is_known_under_its_usual_spellings(stocked: Workspace, folder: str) -> None:
    assert {model.folder for model in (await found(stocked, folder=folder)).models} == {"loras"}


async def test_a_subfolder_keeps_to_what_lies_in_it(stocked: Workspace) -> None:
    assert len((await found(stocked, folder="checkpoints/sub")).models) == 2


async def test_a_folder_that_does_not_exist_brings_the_closest(stocked: Workspace) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'checkpoints'"):
        await found(stocked, folder="checkpoint_files")
    with pytest.raises(UnknownName, match="The folders are"):
        await found(stocked, folder="../../etc", installed=False)


async def test_nothing_installed_says_how_many_can_be_downloaded(stocked: Workspace) -> None:
    result = await found(stocked, "hidream")
    assert result.models == []
    assert "can be downloaded: find_models(query, installed=false)" in result.message
    assert "can be downloaded" not in (await found(stocked, "qqqqzzzz")).message
    assert "can be downloaded" not in (await found(stocked, "qqqqzzzz", "ipadapter")).message


async def test_what_can_be_downloaded_has_link_folder_size_and_command(stocked: Workspace) -> None:
    result = await found(stocked, "sd xl base", installed=False, folder="checkpoints")
    model = result.models[0]
    assert (model.file, model.folder) == ("sd_xl_base_1.0.safetensors", "checkpoints")
    assert model.url is not None
    assert model.url.endswith("/sd_xl_base_1.0.safetensors")
    assert model.size is not None
    assert model.licence == "CreativeML Open RAIL++-M"
    assert "comfyui-api models get sd_xl_base_1.0.safetensors --folder checkpoints" in result.message


async def test_of_what_can_be_downloaded_the_installed_ones_are_marked(stocked: Workspace) -> None:
    result = await found(stocked, "wan2.2 i2v high noise 14B fp8 scaled", installed=False)
    assert [model.installed for model in result.models if model.file == FILES["diffusion_models"][0]] == [True]
    assert not any(model.installed for model in result.models if model.file not in str(FILES))


async def test_own_tables_count_as_well(stocked: Workspace, home: Path) -> None:
    own = home / "references" / "models.md"
    own.parent.mkdir()
    own.write_text(
        "## loras\n| File | Link |\n|---|---|\n| qqzz.safetensors | https://example.com/qqzz.safetensors |\n"
    )
    result = await found(stocked, "qqzz", installed=False)
    assert [model.url for model in result.models] == ["https://example.com/qqzz.safetensors"]


async def test_without_any_inventory_the_installed_ones_are_not_known(workspace: Workspace) -> None:
    with pytest.raises(ComfyUnreachable, match="installed=false"):
        await found(workspace, "sdxl")
    result = await found(workspace, "sdxl", installed=False)
    assert result.models
    assert "What is installed is not known" in result.message


async def test_an_inventory_of_node_classes_only_tells_what_the_loaders_offer(workspace: Workspace, home: Path) -> None:
    await refresh_offline(workspace, None, classes(home), None)
    result = await found(workspace, "refiner")
    assert names(result) == ["sub/sd_xl_refiner_1.0.safetensors"]
    assert result.loaders == {"checkpoints": ["CheckpointLoaderSimple.ckpt_name"]}


async def test_damaged_classes_do_not_hide_the_files(stocked: Workspace, home: Path) -> None:
    await found(stocked, "refiner")
    (damaged,) = (home / "state").glob("*.classes.sqlite")
    damaged.write_bytes(b"nothing of the kind" * 1000)
    result = await found(stocked, "refiner")
    assert names(result) == ["sub/sd_xl_refiner_1.0.safetensors"]


async def test_a_limit_below_one_is_refused(stocked: Workspace) -> None:
    with pytest.raises(InvalidArgument, match="at least 1"):
        await found(stocked, limit=0)


async def test_hundreds_of_files_in_many_folders_stay_a_short_answer(workspace: Workspace, home: Path) -> None:
    files = {
        f"folder_{number:02}": [f"sub/{'x' * 60}_{number}_{each}.safetensors" for each in range(12)]
        for number in range(50)
    }
    await refresh_offline(workspace, None, classes(home), installed(home, files))
    for result in (
        await found(workspace),
        await found(workspace, limit=1000),
        await found(workspace, "xxx", limit=1000),
        await found(workspace, "fp8", installed=False, limit=1000),
        await found(workspace, installed=False, limit=1000),
    ):
        cut = fitted(as_json(result), TEXT_LIMIT)
        assert len(json.dumps(cut, ensure_ascii=False, separators=(",", ":"))) <= TEXT_LIMIT
    usual = as_json(await found(workspace))
    assert "cut" not in fitted(usual, TEXT_LIMIT)
    assert len(usual["folders"]) == 50


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=80), folder=st.none() | st.text(max_size=40), here=st.booleans())
async def test_any_words_are_answered_or_refused_in_words(
    stocked: Workspace, query: str, folder: str | None, here: bool
) -> None:
    try:
        result = await found(stocked, query, folder, installed=here)
    except UnknownName:
        return
    assert result.message


async def test_a_folder_or_file_whose_name_has_several_lines_is_found_like_others(
    workspace: Workspace, home: Path
) -> None:
    files = {"lo\nras": ["a\nmodel.safetensors"], "vae": ["model.safetensors"]}
    await refresh_offline(workspace, None, None, installed(home, files))
    result = await found(workspace, "model")
    assert {(model.folder, model.file) for model in result.models} == {
        ("lo\nras", "a\nmodel.safetensors"),
        ("vae", "model.safetensors"),
    }
