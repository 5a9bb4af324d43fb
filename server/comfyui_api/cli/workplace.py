"""The workspace of the shell that the console was called from."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from comfyui_api.workspace import Workspace, open_workspace

Result = TypeVar("Result")


def do(operation: Callable[[Workspace], Coroutine[Any, Any, Result]]) -> Result:
    """Do an operation in the workspace of the environment."""

    async def in_workspace() -> Result:
        async with open_workspace(os.environ) as workspace:
            return await operation(workspace)

    return anyio.run(in_workspace)
