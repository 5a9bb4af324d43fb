"""The console on sandboxes: a real ComfyUI on the CPU, to try things on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from comfyui_api import sandbox
from comfyui_api.cli.console import AsJson, copyable, for_person, plain, print_json, table, terminal
from comfyui_api.errors import InvalidArgument, UnknownName
from comfyui_api.workspace import read_settings

sandbox_app = typer.Typer(
    help=f"A real ComfyUI on the CPU, to try things on. {sandbox.LICENCE_NOTE}", no_args_is_help=True
)

Name = Annotated[str, typer.Option(help="Which sandbox.")]


@sandbox_app.command("start")
def sandbox_start(
    name: Name = "default",
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; a free one is taken otherwise.")] = None,
    frontend_root: Annotated[Path | None, typer.Option(help="Folder of another web frontend to serve.")] = None,
    custom_nodes: Annotated[list[Path], typer.Option(help="Folder of a node pack to add; may be repeated.")] = [],
    models: Annotated[list[str], typer.Option(help="FOLDER/NAME of a placeholder model; may be repeated.")] = [],
    tiny_upscaler: Annotated[bool, typer.Option(help="Add a small upscaling model that really works.")] = False,
    torch_index: Annotated[str, typer.Option(help="Package index with a CPU build of PyTorch.")] = "",
    yes: Annotated[bool, typer.Option(help="Do not ask before a large download.")] = False,
    as_json: AsJson = False,
) -> None:
    """Install ComfyUI for trying things on (once, about a minute) and start it."""
    settings = read_settings(os.environ)
    state = sandbox.start(
        sandbox.default_home(settings),
        name=name,
        port=port,
        frontend_root=frontend_root,
        custom_nodes=custom_nodes,
        models=models,
        tiny_upscaler=tiny_upscaler,
        torch_index=torch_index or settings.sandbox_torch_index,
        say=lambda text: typer.echo(text, err=True),
        confirm=lambda question: yes or (sys.stdin.isatty() and typer.confirm(question, err=True)),
    )
    _show_sandboxes([state], as_json=as_json)


@sandbox_app.command("status")
def sandbox_status(
    name: Annotated[str | None, typer.Option(help="Only this sandbox.")] = None, as_json: AsJson = False
) -> None:
    """Which sandboxes there are, and which of them run."""
    if name:
        _show_sandboxes([sandbox.status(_existing(name), name=name)], as_json=as_json)
    else:
        _show_sandboxes(sandbox.list_sandboxes(sandbox.default_home(read_settings(os.environ))), as_json=as_json)


@sandbox_app.command("stop")
def sandbox_stop(name: Name = "default", as_json: AsJson = False) -> None:
    """Stop a sandbox."""
    _show_sandboxes([sandbox.stop(_existing(name), name=name)], as_json=as_json)


@sandbox_app.command("remove")
def sandbox_remove(
    name: Annotated[str | None, typer.Option(help="This sandbox.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All sandboxes and the installation.")] = False,
) -> None:
    """Stop and delete a sandbox, or all of them with the installation."""
    if bool(name) == everything:
        raise InvalidArgument("Nothing was named to be removed.", "Give --name NAME, or --all.")
    sandbox.remove(sandbox.default_home(read_settings(os.environ)), name=name)


def _existing(name: str) -> Path:
    """The home of sandboxes, if there is one of that name."""
    home = sandbox.default_home(read_settings(os.environ))
    names = [state.name for state in sandbox.list_sandboxes(home)]
    if name not in names:
        raise UnknownName(f"There is no sandbox '{name}'.", f"These exist: {', '.join(names) or 'none'}.")
    return home


def _show_sandboxes(states: list[sandbox.SandboxState], *, as_json: bool) -> None:
    if not for_person(as_json=as_json):
        print_json([{key: str(value) for key, value in vars(state).items() if value is not None} for state in states])
        return
    console = terminal()
    if not states:
        console.print("There are no sandboxes.")
        return
    rows = table("Sandbox", "State", "URL", "ComfyUI")
    for state in states:
        colour = "green" if state.state == "running" else "yellow"
        rows.add_row(
            plain(state.name), f"[{colour}]{state.state}[/]", plain(state.url or ""), plain(state.comfyui_version or "")
        )
    console.print(rows)
    if len(states) == 1:
        copyable(console, f"Its log: {states[0].log_file}")
