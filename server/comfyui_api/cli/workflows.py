"""The console on workflows: validate, convert and save them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comfyui_api import fleet, saving, verdict
from comfyui_api.cli.console import (
    AsJson,
    Server,
    Servers,
    do,
    for_person,
    here,
    print_json,
    show,
    terminal,
    workflow_given,
)
from comfyui_api.cli.ordering import Project
from comfyui_api.cli.verdicts import show_findings, show_verdict
from comfyui_api.cli.words import said
from comfyui_api.errors import ComfyError, InvalidArgument
from comfyui_api.repair.names import printable
from comfyui_api.results import SavedWorkflow, Validation
from comfyui_api.results import as_json as as_plain
from comfyui_api.storage import write_new
from comfyui_api.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()
NOTE_SHOWN = 2000  # letters of one note


@app.command()
def validate(
    workflows: Annotated[list[str], typer.Argument(metavar="FILE...", help="Workflows in either format, or media.")],
    object_info: Annotated[str | None, typer.Option(help="A saved /object_info, in place of the server.")] = None,
    as_json: AsJson = False,
    server: Servers = None,
) -> None:
    """What ComfyUI would refuse in workflows, with the fixes; of several servers, which can run each.

    Exit codes: 0 all valid, of several servers on one of them; 1 errors were found; 2 one could not be checked.
    """
    classes = here(object_info) if object_info else None
    asked = _meant(server or [])
    if classes is not None and isinstance(asked, list):
        raise InvalidArgument("A saved /object_info stands for one server.", "Leave out --object-info, or name one.")
    one = asked if isinstance(asked, str) else None
    failed: list[tuple[str, ComfyError]] = []

    async def judged_by(space: Workspace, workflow: str) -> Validation:
        if classes is not None:
            return await verdict.validate_workflow(space, workflow, one, classes)
        return await fleet.validate_workflow(space, workflow, asked)

    async def judge(space: Workspace) -> list[tuple[str, Validation]]:
        judged = []
        for given in workflows:
            try:
                result = await judged_by(space, workflow_given(given))
            except ComfyError as exc:
                if len(workflows) == 1:
                    raise
                failed.append((given, exc))
                sys.stderr.write(f"{given[:200]}: {exc}\n")
            else:
                judged.append((given, result))
        return judged

    judged = do(judge)
    if not for_person(as_json=as_json):
        content = [as_plain(result) for _, result in judged]
        content += [{"source": given, "error": str(exc)} for given, exc in failed]
        print_json(content[0] if len(workflows) == 1 else content)
    else:
        console = terminal()
        for name, result in judged:
            show_verdict(name, result, console)
    raise typer.Exit(2 if failed else 0 if all(result.valid for _, result in judged) else 1)


def _meant(given: list[str]) -> str | list[str] | None:
    """The servers of all --server options: None for the default one, one name, or several."""
    names = [name.strip() for each in given for name in each.split(",") if name.strip()]
    if fleet.EVERY in names:
        return [fleet.EVERY]
    return names if len(names) > 1 else names[0] if names else None


@app.command()
def convert(
    workflow: str,
    object_info: Annotated[str | None, typer.Option(help="A saved /object_info, in place of the server.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="New file for the prompt.")] = None,
    server: Server = None,
) -> None:
    """The prompt (API format) that ComfyUI's editor would send for a workflow; remarks go to stderr."""
    from comfyui_api.export import export_prompt  # noqa: PLC0415  # slow to load, and for this command only

    classes = here(object_info) if object_info else None
    conversion = do(lambda space: export_prompt(space, workflow_given(workflow), server, classes))
    for note in conversion.notes:
        place = f"node {note.node_id}" + (f", {note.input}" if note.input else "") if note.node_id else "workflow"
        sys.stderr.write(f"{printable(f'{place}: {note.message}', NOTE_SHOWN)}\n")
    if output is None:
        print_json(conversion.prompt)
    else:
        write_new(Path(here(output)), json.dumps(conversion.prompt, indent=2) + "\n")


@app.command()
def save(
    workflow: Annotated[str, typer.Argument(metavar="FILE", help="A workflow in either format, media or server:NAME.")],
    project: Project = None,
    name: Annotated[str | None, typer.Option(help="What to call it; else as the file is called.")] = None,
    as_format: Annotated[
        saving.SaveFormat, typer.Option("--format", help="As it is, or converted to API format.")
    ] = "as_is",
    on_server: Annotated[
        bool, typer.Option("--on-server", help="Among the workflows of ComfyUI's editor, not in the project.")
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Save a workflow in the project, or in ComfyUI's editor; none is ever written over."""

    async def keep(space: Workspace) -> SavedWorkflow:
        given = workflow_given(workflow)
        return await saving.save_workflow(
            space, given, server, project=project, name=name, as_format=as_format, on_server=on_server
        )

    show(do(keep), _show_saved, as_json=as_json)


def _show_saved(result: SavedWorkflow, console: Console) -> None:
    show_findings([], None, result.notes, console)
    console.print(said(result.message))
