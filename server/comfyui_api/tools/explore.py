"""Tools that tell what there is to work with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from comfyui_api.results import ModelList, NodeList, TemplateList
from comfyui_api.tools.server import Server
from comfyui_api.workspace import Workspace


async def find_nodes(
    workspace: Workspace,
    query: Annotated[str, Field(description="What it does, in plain words")] = "",
    class_type: Annotated[str | None, Field(description="Exact name: tell all of this one")] = None,
    accepts: Annotated[str | None, Field(description="Type of an input, e.g. IMAGE")] = None,
    gives: Annotated[str | None, Field(description="Type of an output")] = None,
    limit: int = 10,
    server: Server = None,
) -> NodeList:
    """Find node classes by words or types; with class_type one in full: inputs, options (query filters them), outputs,
    an example to paste."""
    from comfyui_api.explore import nodes  # noqa: PLC0415  # the server starts without it

    return await nodes.find_nodes(workspace, query, class_type, accepts, gives, limit, server)


async def find_models(
    workspace: Workspace,
    query: Annotated[str, Field(description="Words of the file's name")] = "",
    folder: Annotated[str | None, Field(description="e.g. loras")] = None,
    installed: Annotated[bool, Field(description="false: what can be downloaded")] = True,
    limit: int = 20,
    server: Server = None,
) -> ModelList:
    """Find model files: installed ones with the value that their loader takes, or links to download others."""
    from comfyui_api.explore import models  # noqa: PLC0415  # the server starts without it

    return await models.find_models(workspace, query, folder, installed=installed, limit=limit, server=server)


async def find_templates(
    workspace: Workspace,
    query: Annotated[str, Field(description="What to make, in plain words")] = "",
    name: Annotated[str | None, Field(description="Save this one")] = None,
    project: Annotated[str | None, Field(description="Project to save it in")] = None,
    limit: int = 10,
    server: Server = None,
) -> TemplateList:
    """Find workflows to start from, and what each lacks here. With name one is saved, and its inputs worth changing are
    listed for queue_workflow."""
    from comfyui_api.explore import templates  # noqa: PLC0415

    return await templates.find_templates(workspace, query, name, project, limit, server)
