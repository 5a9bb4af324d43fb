"""Tools about runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from comfyui_api import control, follow, listing, series
from comfyui_api.results import Interruption, JobList, RunStatus
from comfyui_api.tools.server import Server
from comfyui_api.workspace import Workspace

OnePromptId = Annotated[str, Field(min_length=1, max_length=200)]


def _list_in_text(given: Any) -> Any:
    # Some clients send lists as JSON text; no prompt_id begins like one.
    if isinstance(given, str) and given.lstrip().startswith("["):
        try:
            return json.loads(given)
        except (ValueError, RecursionError):
            return given
    return given


PromptIds = Annotated[
    OnePromptId | Annotated[list[OnePromptId], Field(min_length=1, max_length=series.MOST_RUNS)],
    BeforeValidator(_list_in_text),
    Field(description="As returned by queue_workflow; or a list of up to 100"),
]


async def poll_result(
    workspace: Workspace,
    prompt_id: PromptIds,
    wait_seconds: Annotated[float, Field(description="Longest wait; 0 only looks", ge=0)] = 50,
    preview: Annotated[bool, Field(description="Show the latest picture of the run under way")] = False,
    server: Server = None,
    report: follow.Report | None = None,
) -> RunStatus:
    """Wait until a run ends and tell its state: queued, running, completed, failed, interrupted, gone or unreachable,
    with progress, outputs, or the error and its remedy; of several runs a summary. While queued or running call it
    again: waiting loses nothing. Then get_output saves the files."""
    if isinstance(prompt_id, list):
        return await series.poll_results(workspace, prompt_id, server, wait_seconds=wait_seconds, report=report)
    return await follow.poll_result(
        workspace, prompt_id, server, wait_seconds=wait_seconds, report=report, preview=preview
    )


async def list_jobs(
    workspace: Workspace,
    limit: Annotated[int, Field(description="Most waiting and most ended runs to show", ge=0, le=listing.MOST)] = 20,
    server: Server = None,
) -> JobList:
    """The server's runs: running, waiting in order, and lately ended, with state, duration, number of outputs and the
    beginning of the prompt; `ours` tells our own from other people's. Finds a prompt_id again."""
    return await listing.list_jobs(workspace, server, limit=limit)


async def interrupt(
    workspace: Workspace,
    prompt_id: Annotated[str | None, Field(description="The run to stop, running or waiting")] = None,
    everything: Annotated[bool, Field(description="Stop all runs on the server, also other people's")] = False,
    server: Server = None,
) -> Interruption:
    """Stop exactly one run, or everything only when the user asked for that. Confirmed by looking; the answer names
    what was stopped."""
    return await control.interrupt(workspace, prompt_id, server, everything=everything)
