"""The console on files: bring results home, and files to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from comfyui_api import upload
from comfyui_api.cli.console import AsJson, PromptIds, Server, do, here, plain, show, size
from comfyui_api.cli.following import follower
from comfyui_api.cli.words import said
from comfyui_api.collect import get_output
from comfyui_api.results import Delivery, Upload
from comfyui_api.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()
TEXT_SHOWN = 2000  # letters of a text that a node showed
UNFINISHED = ("gone", "queued", "running", "unreachable")

Directory = Annotated[str | None, typer.Option(help="Folder to save to, default output/.")]
Sidecar = Annotated[bool, typer.Option(help="Write FILE.json beside each: what it was made with.")]


@app.command()
def get(
    prompt_ids: PromptIds,
    directory: Directory = None,
    sidecar: Sidecar = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Save the files of finished runs.

    Exit code 1: some are not there, or not yet.
    """
    folder = here(directory) if directory else None
    which = prompt_ids[0] if len(prompt_ids) == 1 else prompt_ids

    async def save(workspace: Workspace) -> Delivery:
        with follower() as following:
            return await get_output(
                workspace, which, server, directory=folder, previews=False, sidecar=sidecar, report=following.report
            )

    result = do(save)
    show(result, show_delivery, as_json=as_json)
    raise typer.Exit(0 if all_there(result) else 1)


@app.command("upload")
def upload_file(
    path: str,
    subfolder: Annotated[str | None, typer.Option(help="Folder below ComfyUI's input folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file of the same name.")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Bring a file to ComfyUI's input folder."""
    result = do(lambda space: upload.upload_image(space, here(path), server, subfolder=subfolder, overwrite=overwrite))
    show(result, _show_upload, as_json=as_json)


def all_there(result: Delivery) -> bool:
    """Whether everything that was asked for is saved."""
    states = [result.state, *(run.state for run in result.runs or [])]
    return not result.missing and not any(state in UNFINISHED for state in states)


def show_delivery(result: Delivery, console: Console) -> None:
    """The saved files, a path a line, what could not be had, and texts that were shown."""
    for file in result.files:
        sides = f"{file.width} × {file.height}, " if file.width and file.height else ""
        console.print(f"{plain(file.path)} [dim]({sides}{size(file.bytes)})[/]", soft_wrap=True)
    for text in result.texts:
        more = " …" if len(text.text) > TEXT_SHOWN else ""
        console.print(f"[dim]Node {plain(text.node_id)} shows:[/] {plain(text.text[:TEXT_SHOWN])}{more}")
    for missing in result.missing:
        console.print(f"[red]{plain(missing.filename)}[/] (node {plain(missing.node_id)}): {said(missing.reason)}")
    for run in result.runs or ():
        console.print(f"{plain(run.prompt_id)} {run.state}: {said(run.message)}")
    console.print(said(result.message))


def _show_upload(result: Upload, console: Console) -> None:
    console.print(f"It is in the {plain(result.type)} folder of {plain(result.server)}.")
    console.print("The value for the loader node:", plain(result.value), soft_wrap=True)
