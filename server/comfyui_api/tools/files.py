"""Tools that move files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from comfyui_api import collect, upload
from comfyui_api.follow import Report
from comfyui_api.results import Delivery, Upload
from comfyui_api.tools.runs import PromptIds
from comfyui_api.tools.server import Server
from comfyui_api.workspace import Workspace


async def get_output(
    workspace: Workspace,
    prompt_id: PromptIds,
    directory: Annotated[str | None, Field(description="Folder to save to, default output/")] = None,
    previews: Annotated[bool, Field(description="Show small pictures, and texts of files")] = True,
    sidecar: Annotated[
        bool, Field(description="Also write {file}.json beside each: prompt, seeds, versions; queue_workflow takes it")
    ] = False,
    server: Server = None,
    report: Report | None = None,
) -> Delivery:
    """Save all files of finished runs (pictures, video, sound, 3D, texts, also what a failed run made before) and show
    small previews. Nothing is overwritten. load_value is what a loader node takes to go on from a file without an
    upload."""
    return await collect.get_output(
        workspace, prompt_id, server, directory=directory, previews=previews, sidecar=sidecar, report=report
    )


async def upload_image(
    workspace: Workspace,
    path: Annotated[
        str, Field(description="Local picture, mask, video, sound or 3D file (GLB, PLY, FBX)", min_length=1)
    ],
    subfolder: Annotated[str | None, Field(description="Folder below ComfyUI's input folder")] = None,
    overwrite: Annotated[bool, Field(description="Replace a file of the same name")] = False,
    server: Server = None,
) -> Upload:
    """Bring a file to ComfyUI's input folder. Put the returned `value` into the loader node (LoadImage.image etc.): the
    server may have changed the name."""
    return await upload.upload_image(workspace, path, server, subfolder=subfolder, overwrite=overwrite)
