"""A workflow as the prompt that ComfyUI's editor would send, for scripts and other tools."""

from __future__ import annotations

from typing import Any

from comfyui_api.convert import Conversion
from comfyui_api.known import told_by_file
from comfyui_api.prepare import load_workflow, prepare
from comfyui_api.workspace import Workspace


async def export_prompt(
    workspace: Workspace, workflow: str | dict[str, Any], server: str | None, object_info: str | None = None
) -> Conversion:
    """The prompt in or of a workflow. `object_info` is a file with a server's /object_info, to convert without it.

    Raises ComfyUnreachable where a workflow has to be converted and no node classes are known.
    """
    connection = workspace.connect(server)
    loaded = await load_workflow(workspace, connection, workflow)
    known = told_by_file(workspace.readable(object_info)) if object_info is not None else None
    prepared = await prepare(workspace, connection, loaded, {}, known)
    if prepared.prompt is None:
        raise prepared.lacking(
            "The workflow cannot be converted",
            "Start the server once, or give a saved /object_info with --object-info.",
        )
    return Conversion(prepared.prompt, prepared.notes)
