"""What to do without a server: keep the workflow where a person can drop it into ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comfyui_api.graph import WorkflowFormat
from comfyui_api.prepare import Prepared
from comfyui_api.projects import DEFAULT_PROJECT, save_workflow
from comfyui_api.storage import safe_name
from comfyui_api.workspace import Workspace

ENDING = ".json"


@dataclass(frozen=True)
class WorkflowOnDisk:
    path: Path
    format: WorkflowFormat

    def how_to_load(self) -> str:
        """How a person gets it into ComfyUI."""
        return (
            f"Saved in {self.format.upper()} format as {self.path}. To run it: start ComfyUI, open it in the browser, "
            "drop this file onto the canvas (or Workflow > Open), and press Run; or call queue_workflow with this path "
            "once the server is up."
        )


def file_name(name: str) -> str:
    """The name under which a workflow is saved, without its ending: safe on every platform."""
    stem = name[: -len(ENDING)] if name.casefold().endswith(ENDING) else name
    return safe_name(stem, "workflow")


def save_for_later(workspace: Workspace, prepared: Prepared, *, project: str | None, name: str) -> WorkflowOnDisk:
    """Save a workflow into the project, as a new file; none is ever written over.

    In UI format where there is one that shows all the overrides, as a person can go on with that; else in API format.
    """
    content, form = prepared.prompt, prepared.loaded.format
    if prepared.ui is not None and not prepared.unwritten:
        content, form = prepared.ui, "ui"
    elif content is not None:
        form = "api"
    assert content is not None  # without a prompt there is the UI graph, and nothing was overridden
    return WorkflowOnDisk(save_workflow(workspace.home, project or DEFAULT_PROJECT, file_name(name), content), form)
