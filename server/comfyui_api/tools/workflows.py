"""Tools that take a workflow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from comfyui_api import fleet, saving, submit
from comfyui_api.results import SavedWorkflow, Submission, Validation
from comfyui_api.tools.server import Server
from comfyui_api.workspace import Workspace

Workflow = Annotated[
    str | dict[str, Any],
    Field(
        description="Path of a JSON file (UI or API format) or of a picture or video that ComfyUI saved; "
        "server:NAME; or the JSON"
    ),
]

Servers = Annotated[
    str | list[str] | None,
    Field(description='Also a list, or "all": which of them can run it'),
]


async def validate_workflow(workspace: Workspace, workflow: Workflow, server: Servers = None) -> Validation:
    """Tell what ComfyUI would refuse and what would fail, without running anything: each finding with its fix, and
    `repair`: packs to install, models to download, updates, with commands and links to propose to the user. Works
    offline too. queue_workflow validates by itself; use this before, or while building a workflow."""
    return await fleet.validate_workflow(workspace, workflow, server)


async def queue_workflow(
    workspace: Workspace,
    workflow: Workflow,
    inputs: Annotated[
        dict[str, Any],
        Field(
            description='Values to override, by "node id.input": {"6.text": "a cat", "3.seed": 7}; "random": new seed'
        ),
    ] = {},  # noqa: B006  # never changed; the schema shows it as the default
    variations: Annotated[
        list[dict[str, Any]] | None,
        Field(description="One run for each of these sets of overrides (up to 100), on top of inputs"),
    ] = None,
    project: Annotated[str | None, Field(description="Project whose server to use and to save under")] = None,
    name: Annotated[str | None, Field(description="What to call the workflow if it is saved")] = None,
    front: Annotated[bool, Field(description="Before all waiting runs")] = False,
    allow_partial: Annotated[bool, Field(description="Run the sound outputs, leave faulty ones out")] = False,
    force: Annotated[bool, Field(description="Let the server decide in spite of findings")] = False,
    server: Server = None,
) -> Submission:
    """Validate a workflow and queue it once. status: queued (go on with poll_result), refused (mend the findings), or
    saved_offline (no server: saved with how to load it by hand); with variations also partly_queued. `seeds` tells the
    random ones used. Never queue again because a run is slow."""
    order = submit.Order(workflow, inputs, project, name, front, allow_partial, force, variations)
    return await submit.queue_workflow(workspace, order, server)


async def save_workflow(
    workspace: Workspace,
    workflow: Annotated[str | dict[str, Any], Field(description="As for queue_workflow")],
    project: Annotated[str | None, Field(description="Project to save it in")] = None,
    name: Annotated[str | None, Field(description="What to call it")] = None,
    format: Annotated[saving.SaveFormat, Field(description="api: converted")] = "as_is",  # noqa: A002  # as agents call it
    on_server: Annotated[bool, Field(description="To ComfyUI's own list instead")] = False,
    server: Server = None,
) -> SavedWorkflow:
    """Keep a workflow as a new file in the project, or with on_server in ComfyUI's editor."""
    return await saving.save_workflow(
        workspace, workflow, server, project=project, name=name, as_format=format, on_server=on_server
    )
