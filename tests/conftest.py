"""Fixtures: the real ComfyUI that the live tests run against."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyui_api import sandbox
from comfyui_api.workspace import read_settings
from tests.support import DATA

PLACEHOLDERS = ["checkpoints/sd15.safetensors", "checkpoints/sub/sdxl.safetensors", "vae/vae.safetensors"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def comfyui() -> Iterator[str]:
    """The URL of a real ComfyUI with the test nodes: a sandbox of this run's own."""
    settings = read_settings(os.environ)
    home = sandbox.default_home(settings)
    name = f"tests-{os.getpid()}"
    state = sandbox.start(
        home,
        name=name,
        custom_nodes=[DATA / "test_nodes"],
        models=PLACEHOLDERS,
        tiny_upscaler=True,
        torch_index=settings.sandbox_torch_index,
        say=lambda text: logging.getLogger("sandbox").warning(text),
        confirm=lambda _: False,
    )
    assert state.url is not None
    try:
        yield state.url
    finally:
        sandbox.stop(home, name=name)
        sandbox.remove(home, name=name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's working folder, with a name that needs care."""
    folder = tmp_path / "wörk dir"
    folder.mkdir()
    return folder
