"""The console on runs: queue, follow, fetch, feed and stop them."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from comfyui_api import control, submit, upload
from comfyui_api.cli.console import Server, do, here, show, workflow_given
from comfyui_api.collect import get_output
from comfyui_api.errors import InvalidArgument
from comfyui_api.follow import poll_result

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
    server: Server = None,
) -> None:
    """Validate a workflow and queue it; without a server, save it for loading by hand."""
    order = submit.Order(workflow_given(workflow), _overrides(inputs), project, name, front, allow_partial, force)
    result = do(lambda workspace: submit.queue_workflow(workspace, order, server))
    show(result)
    raise typer.Exit(1 if result.status == "refused" else 0)


@app.command()
def poll(
    prompt_id: str,
    wait: Annotated[float, typer.Option(min=0, help="Longest wait in seconds.")] = 50,
    server: Server = None,
) -> None:
    """Wait for a run and tell its state."""

    async def report(percent: float, _: float | None, sentence: str) -> None:
        sys.stderr.write(f"{percent:5.1f} %  {sentence}\n")

    result = do(lambda workspace: poll_result(workspace, prompt_id, server, wait_seconds=wait, report=report))
    show(result)
    raise typer.Exit(1 if result.state in ("failed", "gone", "unreachable") else 0)


@app.command()
def get(
    prompt_id: str,
    directory: Annotated[str | None, typer.Option(help="Folder to save to, default output/.")] = None,
    server: Server = None,
) -> None:
    """Save the files of a finished run."""
    folder = here(directory) if directory else None
    result = do(lambda workspace: get_output(workspace, prompt_id, server, directory=folder, previews=False))
    show(result)
    raise typer.Exit(1 if result.missing or result.state in ("gone", "queued", "running") else 0)


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
