"""The console on workflows: validate and convert them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from comfyui_api import verdict
from comfyui_api.cli.console import Server, do, here, print_json, workflow_given
from comfyui_api.cli.verdicts import show_verdict, terminal
from comfyui_api.errors import ComfyError
from comfyui_api.export import export_prompt
from comfyui_api.repair.names import printable
from comfyui_api.results import Validation
from comfyui_api.results import as_json as as_plain
from comfyui_api.storage import write_new
from comfyui_api.workspace import Workspace

app = typer.Typer()
NOTE_SHOWN = 2000  # letters of one note


@app.command()
def validate(
    workflows: Annotated[list[str], typer.Argument(metavar="FILE...", help="Workflows in either format, or media.")],
    object_info: Annotated[str | None, typer.Option(help="A saved /object_info, in place of the server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON also on a terminal.")] = False,
    server: Server = None,
) -> None:
    """What ComfyUI would refuse in workflows, with the fixes. Exit code 0: all valid, 1: findings, 2: could not
    check."""
    classes = here(object_info) if object_info else None
    failed: list[tuple[str, ComfyError]] = []

    async def judge(space: Workspace) -> list[tuple[str, Validation]]:
        judged = []
        for given in workflows:
            try:
                result = await verdict.validate_workflow(space, workflow_given(given), server, classes)
            except ComfyError as exc:
                if len(workflows) == 1:
                    raise
                failed.append((given, exc))
                sys.stderr.write(f"{given[:200]}: {exc}\n")
            else:
                judged.append((given, result))
        return judged

    judged = do(judge)
    if as_json or not sys.stdout.isatty():
        content = [as_plain(result) for _, result in judged]
        content += [{"source": given, "error": str(exc)} for given, exc in failed]
        print_json(content[0] if len(workflows) == 1 else content)
    else:
        console = terminal()
        for name, result in judged:
            show_verdict(name, result, console)
    raise typer.Exit(2 if failed else 0 if all(result.valid for _, result in judged) else 1)


@app.command()
def convert(
    workflow: str,
    object_info: Annotated[str | None, typer.Option(help="A saved /object_info, in place of the server.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="New file for the prompt.")] = None,
    server: Server = None,
) -> None:
    """The prompt (API format) that ComfyUI's editor would send for a workflow; remarks go to stderr."""
    classes = here(object_info) if object_info else None
    conversion = do(lambda space: export_prompt(space, workflow_given(workflow), server, classes))
    for note in conversion.notes:
        place = f"node {note.node_id}" + (f", {note.input}" if note.input else "") if note.node_id else "workflow"
        sys.stderr.write(f"{printable(f'{place}: {note.message}', NOTE_SHOWN)}\n")
    if output is None:
        print_json(conversion.prompt)
    else:
        write_new(Path(here(output)), json.dumps(conversion.prompt, indent=2) + "\n")
