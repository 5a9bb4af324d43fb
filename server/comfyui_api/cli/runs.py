"""The console on runs: queue, follow, fetch, feed and stop them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyui_api import control, submit, upload
from comfyui_api.cli.console import Server, do, here, show, workflow_given
from comfyui_api.collect import get_output
from comfyui_api.errors import InvalidArgument
from comfyui_api.follow import poll_result
from comfyui_api.listing import MOST, list_jobs
from comfyui_api.series import poll_results

app = typer.Typer()


@app.command()
def queue(
    workflow: str,
    inputs: Annotated[
        list[str], typer.Option("--input", help="Override a value: 6.text=a cat (value as JSON or text).")
    ] = [],
    project: Annotated[str | None, typer.Option(help="Project whose server to use and to save under.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the workflow if it is saved.")] = None,
    front: Annotated[bool, typer.Option(help="Before all waiting runs.")] = False,
    allow_partial: Annotated[bool, typer.Option(help="Run the sound outputs, leave faulty ones out.")] = False,
    force: Annotated[bool, typer.Option(help="Let the server decide in spite of findings.")] = False,
    variations: Annotated[
        str | None, typer.Option(help='One run for each set: \'[{"3.seed": 1}, {"3.seed": 2}]\', or @FILE with that.')
    ] = None,
    server: Server = None,
) -> None:
    """Validate a workflow and queue it; without a server, save it for loading by hand."""
    given = workflow_given(workflow)
    sets = _variations(variations) if variations is not None else None
    order = submit.Order(given, _overrides(inputs), project, name, front, allow_partial, force, sets)
    result = do(lambda workspace: submit.queue_workflow(workspace, order, server))
    show(result)
    raise typer.Exit(1 if result.status in ("refused", "partly_queued") else 0)


@app.command()
def poll(
    prompt_ids: Annotated[list[str], typer.Argument(metavar="PROMPT_ID...", help="One run, or several.")],
    wait: Annotated[float, typer.Option(min=0, help="Longest wait in seconds.")] = 50,
    server: Server = None,
) -> None:
    """Wait for runs and tell their state."""

    async def report(percent: float, _: float | None, sentence: str) -> None:
        sys.stderr.write(f"{percent:5.1f} %  {sentence}\n")

    if len(prompt_ids) == 1:
        result = do(lambda space: poll_result(space, prompt_ids[0], server, wait_seconds=wait, report=report))
    else:
        result = do(lambda space: poll_results(space, prompt_ids, server, wait_seconds=wait, report=report))
    show(result)
    bad = ("failed", "gone", "unreachable")
    raise typer.Exit(1 if result.state in bad or any(run.state in bad for run in result.runs or []) else 0)


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(min=0, max=MOST, help="Most waiting and most ended runs to show.")] = 20,
    server: Server = None,
) -> None:
    """List what the server runs, what waits there, and what it has lately run."""
    show(do(lambda workspace: list_jobs(workspace, server, limit=limit)))


@app.command()
def get(
    prompt_ids: Annotated[list[str], typer.Argument(metavar="PROMPT_ID...", help="One run, or several.")],
    directory: Annotated[str | None, typer.Option(help="Folder to save to, default output/.")] = None,
    sidecar: Annotated[bool, typer.Option(help="Write FILE.json beside each: what it was made with.")] = False,
    server: Server = None,
) -> None:
    """Save the files of finished runs."""
    folder = here(directory) if directory else None
    which = prompt_ids[0] if len(prompt_ids) == 1 else prompt_ids
    result = do(
        lambda workspace: get_output(workspace, which, server, directory=folder, previews=False, sidecar=sidecar)
    )
    show(result)
    unfinished = ("gone", "queued", "running", "unreachable")
    all_there = not result.missing and result.state not in unfinished
    raise typer.Exit(0 if all_there and not any(run.state in unfinished for run in result.runs or []) else 1)


@app.command("upload")
def _upload(
    path: str,
    subfolder: Annotated[str | None, typer.Option(help="Folder below ComfyUI's input folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file of the same name.")] = False,
    server: Server = None,
) -> None:
    """Bring a file to ComfyUI's input folder."""
    show(do(lambda space: upload.upload_image(space, here(path), server, subfolder=subfolder, overwrite=overwrite)))


@app.command()
def interrupt(
    prompt_id: Annotated[str | None, typer.Argument(help="The run to stop.")] = None,
    everything: Annotated[bool, typer.Option(help="Stop all runs on the server.")] = False,
    server: Server = None,
) -> None:
    """Stop a run."""
    result = do(lambda workspace: control.interrupt(workspace, prompt_id, server, everything=everything))
    show(result)
    raise typer.Exit(1 if result.state == "running" or (prompt_id and result.state == "gone") else 0)


@app.command()
def free(
    unload_models: Annotated[bool, typer.Option(help="Unload models from VRAM.")] = True,
    free_memory: Annotated[bool, typer.Option(help="Also drop cached node results.")] = False,
    server: Server = None,
) -> None:
    """Let ComfyUI give memory back."""
    show(do(lambda space: control.free_vram(space, server, unload_models=unload_models, free_memory=free_memory)))


def _variations(text: str) -> list[dict[str, Any]]:
    """Sets of overrides as JSON, or in the file that @ stands before."""
    try:
        sets = json.loads(Path(here(text[1:])).read_text("utf-8-sig") if text.startswith("@") else text)
    except (OSError, ValueError) as exc:
        raise InvalidArgument(f"--variations cannot be read: {exc}.", "Give JSON, or @FILE with JSON.") from exc
    if not isinstance(sets, list) or not all(isinstance(each, dict) for each in sets):
        raise InvalidArgument("--variations is no list of objects.", 'Write \'[{"3.seed": 1}, {"3.seed": 2}]\'.')
    return sets


def _overrides(entries: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        address, sign, text = entry.partition("=")
        if not sign:
            raise InvalidArgument(f"--input {entry} has no value.", "Write --input '6.text=a cat'.")
        try:
            found[address] = json.loads(text)
        except ValueError:
            found[address] = text
    return found
