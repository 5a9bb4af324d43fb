"""The console: the same operations as the tools, for people and scripts, and the sandbox. One file a topic.

Where its output goes to a program, or with --json, a command prints the JSON of the tool's result; at a terminal a view
of it. Exit codes: 0 done; 1 findings, a run that failed or is not there, or a file that could not be had; 2 an error,
told in a sentence on stderr; 130 ended by Ctrl-C. `validate`, `run` and others say in their help what they mean by 1.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from comfyui_api import __version__
from comfyui_api.cli import doctor, files, nodes, running, runs, server, serving, showing, templates, workflows
from comfyui_api.cli.console import harmless
from comfyui_api.cli.inventory import inventory_app
from comfyui_api.cli.model_files import models_app
from comfyui_api.cli.sandboxes import sandbox_app
from comfyui_api.cli.words import in_commands
from comfyui_api.errors import ComfyError

HELP = (
    "Operate ComfyUI. Without a command and without a terminal it is the MCP server.\n\n"
    "Results are tables at a terminal and JSON elsewhere, or with --json.\n\n"
    "Exit codes: 0 done; 1 findings, a run that failed or is not there, or a file that could not be had; 2 an error; "
    "130 ended by Ctrl-C."
)

app = typer.Typer(
    name="comfyui-api",
    help=HELP,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def run() -> None:
    """Run the console. A ComfyError is one sentence on stderr and exit code 2."""
    try:
        app(prog_name="comfyui-api")  # also as a module: completion goes by it
    except ComfyError as exc:
        sys.stderr.write(f"comfyui-api: {harmless(in_commands(str(exc)))}\n")
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        print(f"comfyui-api {__version__}")
        raise typer.Exit


app.add_typer(server.app)
app.add_typer(workflows.app)
app.add_typer(showing.app)
app.add_typer(running.app)
app.add_typer(runs.app)
app.add_typer(files.app)
app.add_typer(nodes.app)
app.add_typer(models_app, name="models")
app.add_typer(templates.app)
app.add_typer(inventory_app, name="inventory")
app.add_typer(doctor.app)
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(serving.app)
