"""Fixtures: the real ComfyUI that the live tests run against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandboxes import sandboxed
from tests.support import DATA

PLACEHOLDERS = ["checkpoints/sd15.safetensors", "checkpoints/sub/sdxl.safetensors", "vae/vae.safetensors"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def comfyui() -> Iterator[str]:
    """The URL of a real ComfyUI with the test nodes: a sandbox of this run's own."""
    with sandboxed("tests", custom_nodes=[DATA / "test_nodes"], models=PLACEHOLDERS, tiny_upscaler=True) as url:
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's working folder, with a name that needs care."""
    folder = tmp_path / "wörk dir"
    folder.mkdir()
    return folder
