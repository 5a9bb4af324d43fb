"""The console on workflow templates: find one, and save one into the project."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from comfyui_api.cli.console import AsJson, Server, copyable, do, plain, show, size, table
from comfyui_api.cli.verdicts import show_findings
from comfyui_api.cli.words import in_commands
from comfyui_api.quantities import count
from comfyui_api.results import TemplateInfo, TemplateList

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()
NEXT = " Then queue_workflow"  # what comes after it is for agents


@app.command()
def templates(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORDS]...", help='What it should make: "photo to video".')
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "--get", help="Save this one into the project.")] = None,
    project: Annotated[str | None, typer.Option(help="Project to save into.")] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 10,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Find official workflows to start from, with what they lack here; with --name save one and list its inputs.

    Exit code 1: none was found.
    """
    from comfyui_api.explore.templates import find_templates  # noqa: PLC0415  # not for every command's start

    query = " ".join(words or ())
    result = do(lambda workspace: find_templates(workspace, query, name, project, limit, server))
    show(result, _show_templates, as_json=as_json)
    raise typer.Exit(0 if result.templates else 1)


def _show_templates(result: TemplateList, console: Console) -> None:
    if result.templates:
        found = table("Name", "Title", "Media", "Here")
        for template in result.templates:
            found.add_row(plain(template.name), plain(template.title), plain(template.media or ""), _standing(template))
        console.print(found)
    if result.inputs:
        inputs = table("Input", "What", "Value", "Node")
        for entry in result.inputs:
            about = ", ".join(filter(None, [entry.title, entry.note]))
            inputs.add_row(plain(entry.address), plain(entry.kind), plain(str(entry.value)), plain(about))
        console.print(inputs)
    if result.repair is not None:
        show_findings([], result.repair, None, console)
    message, then, _ = result.message.partition(NEXT)
    copyable(console, in_commands(message))
    if then and result.workflow:
        prompt = next((entry.address for entry in result.inputs or () if entry.kind == "prompt"), None)
        changed = f" --input {shlex.quote(f'{prompt}=…')}" if prompt else ""
        copyable(console, f"Then: comfyui-api run {shlex.quote(result.workflow)}{changed}")


def _standing(template: TemplateInfo) -> str:
    """Whether it runs here, and what it lacks."""
    lacks = []
    if template.missing_models:
        of_all = "" if template.models or template.size is None else f" ({size(template.size)})"
        lacks.append(f"{count(len(template.missing_models), 'model')} missing{of_all}")
    if template.missing_nodes:
        lacks.append(f"{count(len(template.missing_nodes), 'node')} missing")
    if template.needs_comfyui:
        lacks.append(f"made for ComfyUI {plain(template.needs_comfyui)}")
    if not lacks and template.runs_here is None and template.size is not None:
        lacks.append(f"models: {size(template.size)}")
    standing = ", ".join(lacks) or ("[green]runs here[/]" if template.runs_here else "")
    return f"{standing}{', ' if standing else ''}[yellow]partner, costs credits[/]" if template.partner else standing
