"""`comfyui-api models` and `comfyui-api templates`, as scripts and people use them, without a server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from comfyui_api.stocktake import refresh_offline
from comfyui_api.workspace import open_workspace
from tests.support import environment_for
from tests.terminal import NOBODY, on_a_terminal
from tests.test_cli import console
from tests.test_explore_models import classes, installed


@pytest.fixture
async def stocked(home: Path) -> Path:
    """A working folder whose inventory was read from files."""
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        await refresh_offline(workspace, None, classes(home), installed(home))
    return home


@pytest.mark.anyio
async def test_models_alone_counts_them_by_folder(stocked: Path) -> None:
    done = console(stocked, "models", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folders"]["checkpoints"] == 3


@pytest.mark.anyio
async def test_models_are_found_by_words_and_folder(stocked: Path) -> None:
    done = console(stocked, "models", "find", "sd", "xl", "base", "--folder", "checkpoints")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["file"] == f"sub{os.sep}sd_xl_base_1.0.safetensors"
    assert console(stocked, "models", "list", "qqqqzzzz").returncode == 1
    wrong = console(stocked, "models", "find", "--folder", "checkpoint_files")
    assert wrong.returncode == 2
    assert "Did you mean 'checkpoints'" in wrong.stderr


@pytest.mark.parametrize("option", ["--available", "--all"])
def test_what_can_be_downloaded_is_shown_without_a_server(home: Path, option: str) -> None:
    done = console(home, "models", "find", "z_image", option)
    assert done.returncode == 0, done.stderr
    assert any(model["url"] for model in json.loads(done.stdout)["models"])


def test_templates_are_found_without_a_server(home: Path) -> None:
    done = console(home, "templates", "turn", "a", "photo", "into", "a", "video", "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["templates"]) == 3
    assert console(home, "templates", "qqqqzzzz").returncode == 1
    wrong = console(home, "templates", "--name", "image_z_image_turb")
    assert wrong.returncode == 2
    assert "Did you mean 'image_z_image_turbo'" in wrong.stderr


@pytest.mark.anyio
async def test_a_person_gets_tables(stocked: Path) -> None:
    for arguments, wanted in (
        (("models",), "checkpoints"),
        (("models", "find", "refiner"), "CheckpointLoaderSimple.ckpt_name"),
        (("models", "find", "sdxl", "--all"), "comfyui-api models get"),
        (("templates", "text", "to", "music", "api"), "partner, costs credits"),
    ):
        code, shown = on_a_terminal(stocked, *arguments, columns=120)
        assert code == 0, shown
        assert wanted in shown
        assert not shown.lstrip().startswith("{")
