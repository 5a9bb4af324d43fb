"""Tools about the server itself."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from comfyui_api import control, status
from comfyui_api.results import FreedMemory, Status
from comfyui_api.workspace import Workspace

# What it means, the instructions say once for all tools.
Server: TypeAlias = str | None


async def check_status(
    workspace: Workspace,
    refresh_inventory: Annotated[
        bool, Field(description="Ask the server anew what is installed, e.g. after installing nodes or models")
    ] = False,
    server: Server = None,
) -> Status:
    """Is ComfyUI reachable: version, devices and free VRAM (bytes), queue, age of the inventory. Call it first. Offline
    it says why and what still works."""
    return await status.check_status(workspace, server, refresh=refresh_inventory)


async def free_vram(
    workspace: Workspace,
    unload_models: Annotated[bool, Field(description="Unload models from VRAM")] = True,
    free_memory: Annotated[bool, Field(description="Also drop cached node results")] = False,
    server: Server = None,
) -> FreedMemory:
    """Let ComfyUI give memory back, e.g. after an out-of-memory failure; device figures before and after. While a run
    is under way it takes effect when that ends."""
    return await control.free_vram(workspace, server, unload_models=unload_models, free_memory=free_memory)
