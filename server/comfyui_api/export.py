"""A workflow as the prompt that ComfyUI's editor would send, for scripts and other tools."""

from __future__ import annotations

import json
from typing import Any

from comfyui_api.convert import Conversion
from comfyui_api.errors import ComfyUnreachable, FileProblem
from comfyui_api.node_class import NodeClasses
from comfyui_api.prepare import converted, load_workflow, prepare
from comfyui_api.workspace import Workspace


async def export_prompt(
    workspace: Workspace, workflow: str | dict[str, Any], server: str | None, object_info: str | None = None
) -> Conversion:
    """The prompt in or of a workflow. `object_info` is a file with a server's /object_info, to convert without it.

    Raises ComfyUnreachable where a workflow has to be converted and no node classes are known.
    """
    loaded = load_workflow(workspace, workflow)
    if object_info is not None and loaded.format == "ui":
        classes = NodeClasses.from_object_info(_read_object_info(workspace, object_info))
        return converted(loaded.content, classes)
    prepared = await prepare(workspace, workspace.connect(server), loaded, {})
    if prepared.prompt is None:
        raise ComfyUnreachable(
            f"The workflow cannot be converted: nothing is known of the server. {prepared.trouble}".strip(),
            "Start the server once, or give a saved /object_info with --object-info.",
        )
    return Conversion(prepared.prompt, prepared.notes)


def _read_object_info(workspace: Workspace, path: str) -> dict[str, Any]:
    file = workspace.readable(path)
    try:
        content = json.loads(file.read_bytes())
    except OSError as exc:
        raise FileProblem(f"{file} could not be read: {exc.strerror}.", "Give a saved reply of /object_info.") from exc
    except (ValueError, RecursionError) as exc:
        raise FileProblem(f"{file} is not valid JSON: {exc}.", "Give a saved reply of /object_info.") from exc
    if not isinstance(content, dict) or not any(
        isinstance(entry, dict) and "input" in entry for entry in content.values()
    ):
        raise FileProblem(f"{file} holds no node classes.", "Give a saved reply of /object_info.")
    return content
