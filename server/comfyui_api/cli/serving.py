"""The console as MCP server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import anyio
import typer

from comfyui_api.cli.console import here
from comfyui_api.storage import read_secret

app = typer.Typer()


@app.command()
def serve(
    http: Annotated[bool, typer.Option("--http", help="Over HTTP, for agents on another machine.")] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond this machine only with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 9188,
    token_file: Annotated[
        str | None, typer.Option(help="File with the bearer token that agents send; else COMFYUI_API_HTTP_TOKEN.")
    ] = None,
    known_as: Annotated[list[str], typer.Option(help="Another host name that agents reach it by.")] = [],
) -> None:
    """Serve MCP over standard input and output, or over HTTP."""
    if not http:
        from comfyui_api.app import serve_stdio  # noqa: PLC0415  # the console does without MCP otherwise

        anyio.run(serve_stdio, dict(os.environ))
        return
    from comfyui_api.app.over_http import serve_http  # noqa: PLC0415

    token = read_secret(Path(here(token_file))) if token_file else os.environ.get("COMFYUI_API_HTTP_TOKEN") or None
    anyio.run(serve_http, dict(os.environ), host, port, token, known_as)
