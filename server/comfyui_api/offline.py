"""What to do without a server: keep the workflow where a person can drop it into ComfyUI."""

from __future__ import annotations

from pathlib import Path

from comfyui_api.graph import Prompt
from comfyui_api.projects import DEFAULT_PROJECT, save_workflow
from comfyui_api.workspace import Workspace


def save_for_later(workspace: Workspace, prompt: Prompt, *, project: str | None, name: str) -> Path:
    """Save a prompt in API format into the project. Returns the new file; none is ever written over."""
    return save_workflow(workspace.home, project or DEFAULT_PROJECT, name, prompt)


def how_to_load(path: Path) -> str:
    """How a person gets a saved workflow into ComfyUI."""
    return (
        f"Saved in API format as {path}. To run it: start ComfyUI, open it in the browser, drop this file onto the "
        "canvas (or Workflow > Open), and press Run; or call queue_workflow with this path once the server is up."
    )
