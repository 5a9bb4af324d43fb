"""Tools that take a workflow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from comfyui_api import fleet, submit
from comfyui_api.results import Submission, Validation
from comfyui_api.tools.server import Server
from comfyui_api.workspace import Workspace

Workflow = Annotated[
    str | dict[str, Any],
    Field(
        description="Path of a JSON file (UI or API format) or of a picture or video that ComfyUI saved, or the JSON"
    ),
]

Servers = Annotated[
    str | list[str] | None,
    Field(description='Another server: configured name or URL; a list of them, or "all": which can run it'),
]


async def validate_workflow(workspace: Workspace, workflow: Workflow, server: Servers = None) -> Validation:
    """Tell what ComfyUI would refuse and what would fail, without running anything: node classes, required inputs,
    links, options, ranges, input files; each finding with its fix, and `repair`: node packs to install, models to
    download, updates, with commands and links to propose to the user. Works offline from the inventory. queue_workflow
    validates by itself; use this to check before, or while building a workflow."""
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
