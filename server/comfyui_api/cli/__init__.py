"""The console: the same operations as the tools, printed as JSON, and the sandbox. One file a topic.

Exit codes: 0 done; 1 findings, a run that failed or is not there, or a file that could not be had; 2 an error.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import anyio
import typer

from comfyui_api import __version__, status
from comfyui_api.cli import runs, workflows
from comfyui_api.cli.console import Server, do, show
from comfyui_api.cli.inventory import inventory_app
from comfyui_api.cli.model_files import models_app
from comfyui_api.cli.sandboxes import sandbox_app
from comfyui_api.errors import ComfyError

app = typer.Typer(
    name="comfyui-api",
    help="Operate ComfyUI. Without a command and without a terminal it is the MCP server.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def run() -> None:
    """Run the console. A ComfyError is one sentence on stderr and exit code 2."""
    try:
        app()
    except ComfyError as exc:
        sys.stderr.write(f"comfyui-api: {exc}\n")
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        print(f"comfyui-api {__version__}")
        raise typer.Exit


@app.command()
def serve() -> None:
    """Serve MCP over standard input and output."""
    from comfyui_api.app import serve_stdio  # noqa: PLC0415  # the console does without MCP otherwise

    anyio.run(serve_stdio, dict(os.environ))


@app.command("status")
def _status(
    refresh: Annotated[bool, typer.Option(help="Write the inventory anew.")] = False, server: Server = None
) -> None:
    """Is the server there: version, devices, queue, inventory."""
    result = do(lambda workspace: status.check_status(workspace, server, refresh=refresh))
    show(result)
    raise typer.Exit(0 if result.online else 1)


app.add_typer(workflows.app)
app.add_typer(runs.app)
app.add_typer(inventory_app, name="inventory")
app.add_typer(models_app, name="models")
app.add_typer(sandbox_app, name="sandbox")
