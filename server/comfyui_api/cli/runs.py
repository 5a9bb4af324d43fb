"""The console on runs: queue, follow, list and stop them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from comfyui_api import control, submit
from comfyui_api.cli import completing
from comfyui_api.cli.console import AsJson, PromptIds, Server, do, plain, show, table, workflow_given
from comfyui_api.cli.following import follower
from comfyui_api.cli.ordering import (
    AllowPartial,
    Force,
    Front,
    Inputs,
    Named,
    Project,
    Variations,
    overrides,
    show_submission,
    variation_sets,
)
from comfyui_api.cli.words import said
from comfyui_api.follow import poll_result
from comfyui_api.listing import MOST, list_jobs
from comfyui_api.quantities import count
from comfyui_api.results import Interruption, JobInfo, JobList, RunFailure, RunStatus
from comfyui_api.series import poll_results
from comfyui_api.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()
NARROW = 100  # columns: below, a table leaves its texts no room beside the ids
COLOURS = {
    "completed": "green",
    "running": "cyan",
    "queued": "blue",
    "failed": "red",
    "gone": "red",
    "unreachable": "red",
    "interrupted": "yellow",
}


@app.command()
def queue(
    workflow: str,
    inputs: Inputs = [],
    project: Project = None,
    name: Named = None,
    front: Front = False,
    allow_partial: AllowPartial = False,
    force: Force = False,
    variations: Variations = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Validate a workflow and queue it; without a server, save it for loading by hand.

    Exit codes: 0 queued or saved, 1 refused or only partly queued.
    """
    sets = variation_sets(variations)
    order = submit.Order(workflow_given(workflow), overrides(inputs), project, name, front, allow_partial, force, sets)
    result = do(lambda workspace: submit.queue_workflow(workspace, order, server))
    show(result, show_submission, as_json=as_json)
    raise typer.Exit(1 if result.status in ("refused", "partly_queued") else 0)


@app.command()
def poll(
    prompt_ids: PromptIds,
    wait: Annotated[float, typer.Option(min=0, help="Longest wait in seconds.")] = 50,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Wait for runs and tell their state.

    Exit codes: 0 ended well, still going or interrupted, 1 failed, gone or the server is not reachable.
    """

    async def wait_for(space: Workspace) -> RunStatus:
        with follower() as following:
            report = following.report
            if len(prompt_ids) == 1:
                return await poll_result(space, prompt_ids[0], server, wait_seconds=wait, report=report)
            return await poll_results(space, prompt_ids, server, wait_seconds=wait, report=report)

    result = do(wait_for)
    show(result, show_run, as_json=as_json)
    bad = ("failed", "gone", "unreachable")
    raise typer.Exit(1 if result.state in bad or any(run.state in bad for run in result.runs or []) else 0)


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(min=0, max=MOST, help="Most waiting and most ended runs to show.")] = 20,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """List what the server runs, what waits there, and what it has lately run."""
    show(do(lambda workspace: list_jobs(workspace, server, limit=limit)), _show_jobs, as_json=as_json)


@app.command()
def interrupt(
    prompt_id: Annotated[
        str | None, typer.Argument(help="The run to stop.", autocompletion=completing.prompt_ids)
    ] = None,
    everything: Annotated[bool, typer.Option(help="Stop all runs on the server.")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Stop a run, running or waiting.

    Exit code 1: it still runs, or there is none.
    """
    result = do(lambda workspace: control.interrupt(workspace, prompt_id, server, everything=everything))
    show(result, _show_interruption, as_json=as_json)
    raise typer.Exit(1 if result.state == "running" or (prompt_id and result.state == "gone") else 0)


def state_words(state: str) -> str:
    """A run's state with its colour."""
    return f"[{COLOURS.get(state, 'default')}]{state}[/]"


def show_run(result: RunStatus, console: Console) -> None:
    """Where a run stands, or several: states, outputs, and what went wrong with its remedy."""
    took = f" ({result.elapsed_seconds:g} s)" if result.elapsed_seconds is not None else ""
    console.print(f"{state_words(result.state)}{took} {said(result.message)}".rstrip())
    if result.progress is not None:
        progress = result.progress
        percent = f", {progress.percent:g} % of all" if progress.percent is not None else ""
        node = plain(f"{progress.class_type or 'node'} ({progress.node_id})")
        console.print(f"{node}: {progress.value:g} of {progress.max:g}{percent}")
    if result.runs:
        rows = table("Run", "State", "", "")
        for run in result.runs:
            outputs = count(run.outputs, "output") if run.outputs is not None else ""
            rows.add_row(plain(run.prompt_id), state_words(run.state), outputs, said(run.error or ""))
        console.print(rows)
    for output in result.outputs:
        what = output.filename if output.filename is not None else output.text
        console.print(f"  node {plain(output.node_id)}: {plain(what or '')} [dim]({plain(output.kind)})[/]")
    if result.error is not None:
        _show_failure(result.error, console)
    if result.warning:
        console.print(f"[yellow]{said(result.warning)}[/]")


def _show_failure(error: RunFailure, console: Console) -> None:
    node = " ".join(part for part in (error.node_id, error.class_type) if part)
    place = f"Node {plain(node)}: " if node else ""
    console.print(f"[red]{place}{said(error.message)}[/]")
    for line in (error.cause, error.doing, *(error.seen or ())):
        if line:
            console.print(said(line))
    for frame in error.traceback or ():
        console.print(f"[dim]{plain(frame)}[/]")
    console.print(f"[bold]What helps:[/] {said(error.remedy)}")


def _show_jobs(result: JobList, console: Console) -> None:
    console.print(f"{plain(result.server)}: {said(result.message)}")
    runs = [*result.running, *result.pending, *result.recent]
    if not runs:
        return
    if console.width < NARROW:
        for run in runs:
            console.print(" ".join(filter(None, (state_words(run.state), plain(run.prompt_id), *_facts(run)))))
            for text in _about(run):
                console.print(f"  {text}", soft_wrap=False, no_wrap=True, overflow="ellipsis")
        return
    rows = table("State", "Run", "Time", "", "What")
    rows.columns[1].no_wrap = True
    for run in runs:
        time, whose = _facts(run)
        rows.add_row(state_words(run.state), plain(run.prompt_id), time, whose, "\n".join(_about(run)))
    console.print(rows)


def _facts(run: JobInfo) -> tuple[str, str]:
    return f"{run.seconds:,.1f} s" if run.seconds is not None else "", "ours" if run.ours else ""


def _about(run: JobInfo) -> Iterator[str]:
    """What a run is, in at most three lines: its name, its text, its error."""
    words = ": ".join(plain(" ".join(part.split())) for part in (run.name, run.text) if part)
    outputs = f"[dim]({count(run.outputs, 'output')})[/]" if run.outputs is not None else ""
    if words or outputs:
        yield f"{words} {outputs}".strip()
    if run.error:
        yield f"[red]{plain(' '.join(run.error.split()))}[/]"


def _show_interruption(result: Interruption, console: Console) -> None:
    console.print(said(result.message))
    for run in result.stopped:
        console.print(f"  {plain(run.prompt_id)} [dim](was {run.was})[/]", soft_wrap=True)
