"""What the topics of the console share: options, working in the workspace, paths as the shell means them, printing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import typer

from comfyui_api.errors import FileProblem, InvalidArgument
from comfyui_api.results import ToolResult, as_json
from comfyui_api.storage import stands
from comfyui_api.workspace import Workspace, open_workspace

Result = TypeVar("Result")

Server = Annotated[str | None, typer.Option(help="Another server: configured name or URL.")]


def do(operation: Callable[[Workspace], Coroutine[Any, Any, Result]]) -> Result:
    """Do an operation in the workspace of the environment."""

    async def in_workspace() -> Result:
        async with open_workspace(os.environ) as workspace:
            return await operation(workspace)

    return anyio.run(in_workspace)


def here(path: str) -> str:
    """A path as the shell means it: from its own folder, which need not be the working folder."""
    if not path:
        raise InvalidArgument("The path is empty.", "Give the path of a file.")
    try:
        return str(Path.cwd() / path)
    except OSError as exc:
        raise FileProblem(f"The shell's folder is not there any more: {exc.strerror}.", "Go to another one.") from exc


def workflow_given(given: str) -> str:
    """A workflow's path as the shell means it, or its JSON as it is."""
    is_json = given.lstrip()[:1] in ("{", "[") and not stands(Path(given))
    return given if is_json or not given.strip() else here(given)


def show(result: ToolResult) -> None:
    print_json(as_json(result))


def print_json(content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # a console that does not speak UTF-8
        text = json.dumps(content, indent=2)
    print(text)
