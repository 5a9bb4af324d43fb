"""Real ComfyUIs for the tests: sandboxes of this run's own, which leave nothing behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfyui_api import sandbox
from comfyui_api.sandbox.folders import Home
from comfyui_api.workspace import read_settings


@dataclass
class OwnSandbox:
    """One sandbox, which may be started again with other contents; `name` is told apart from other runs' by the
    process's number."""

    name: str

    def __post_init__(self) -> None:
        self._settings = read_settings(os.environ)
        self._home = sandbox.default_home(self._settings)
        self.name = f"{self.name}-{os.getpid()}"

    @property
    def base_directory(self) -> Path:
        return Home.at(self._home).sandbox(self.name).base_directory

    def start(
        self, *, custom_nodes: Sequence[Path] = (), models: Sequence[str] = (), tiny_upscaler: bool = False
    ) -> str:
        """Start it and return its URL."""
        state = sandbox.start(
            self._home,
            name=self.name,
            custom_nodes=custom_nodes,
            models=models,
            tiny_upscaler=tiny_upscaler,
            torch_index=self._settings.sandbox_torch_index,
            say=logging.getLogger("sandbox").info,
            confirm=lambda _: False,
        )
        assert state.url is not None
        return state.url

    def stop(self) -> None:
        sandbox.stop(self._home, name=self.name)

    def remove(self) -> None:
        sandbox.remove(self._home, name=self.name)


@contextmanager
def sandboxed(
    name: str, *, custom_nodes: Sequence[Path] = (), models: Sequence[str] = (), tiny_upscaler: bool = False
) -> Iterator[str]:
    """The URL of a real ComfyUI that stands while this lasts."""
    own = OwnSandbox(name)
    try:
        yield own.start(custom_nodes=custom_nodes, models=models, tiny_upscaler=tiny_upscaler)
    finally:
        own.remove()
