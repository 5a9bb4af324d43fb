"""Tools about runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from comfyui_api import control, follow
from comfyui_api.results import Interruption, RunStatus
from comfyui_api.tools.server import Server
from comfyui_api.workspace import Workspace

PromptId = Annotated[str, Field(description="As returned by queue_workflow", min_length=1, max_length=200)]


async def poll_result(
    workspace: Workspace,
    prompt_id: PromptId,
    wait_seconds: Annotated[float, Field(description="Longest wait; 0 only looks", ge=0)] = 50,
    server: Server = None,
    report: follow.Report | None = None,
) -> RunStatus:
    """Wait until a run ends and tell its state: queued, running, completed, failed, interrupted, gone or unreachable,
    with progress, outputs, or the error and its remedy. While queued or running call it again: waiting loses nothing.
    Then get_output saves the files."""
    return await follow.poll_result(workspace, prompt_id, server, wait_seconds=wait_seconds, report=report)


async def interrupt(
    workspace: Workspace,
    prompt_id: Annotated[str | None, Field(description="The run to stop, running or waiting")] = None,
    everything: Annotated[bool, Field(description="Stop all runs on the server, also other people's")] = False,
    server: Server = None,
) -> Interruption:
    """Stop exactly one run, or everything only when the user asked for that. Confirmed by looking; the answer names
    what was stopped."""
    return await control.interrupt(workspace, prompt_id, server, everything=everything)
