"""A workflow from wherever it is: a file, or the JSON itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.graph import WorkflowFormat, workflow_format

SIZE_LIMIT = 64 * 2**20
DEPTH_LIMIT = 100  # levels of JSON; real workflows have about ten


@dataclass(frozen=True)
class LoadedWorkflow:
    """A workflow as it was given. `source` is the file's path, or "inline"; `name` what to call a copy of it."""

    content: dict[str, Any]
    format: WorkflowFormat
    source: str
    name: str


def load_file(path: Path) -> LoadedWorkflow:
    """The workflow in a JSON file. Raises WorkflowUnreadable with what is wrong with the file."""
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "no ordinary file"
            raise WorkflowUnreadable(f"{path} is {what}.", "Give the path of a workflow file.")
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise WorkflowUnreadable(f"{path} has {size:,} bytes, more than any workflow.", "Give a workflow file.")
        text = path.read_bytes()
    except FileNotFoundError as exc:
        raise WorkflowUnreadable(f"There is no file {path}.", "Give the path of a workflow file, or its JSON.") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        reason = getattr(exc, "strerror", None) or exc
        raise WorkflowUnreadable(f"{path} could not be read: {reason}.", "Give a file that can be read.") from exc
    return parse(text, source=str(path), name=path.stem)


def parse(text: str | bytes, *, source: str = "inline", name: str = "workflow") -> LoadedWorkflow:
    """The workflow in a JSON text."""
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")
    if not text.strip():
        raise WorkflowUnreadable(f"The workflow ({source}) is empty.", "Give a ComfyUI workflow in JSON.")
    try:
        data = json.loads(text)
    except UnicodeDecodeError as exc:
        raise WorkflowUnreadable(f"The workflow ({source}) is no text.", "Give a ComfyUI workflow in JSON.") from exc
    except json.JSONDecodeError as exc:
        raise WorkflowUnreadable(
            f"The workflow ({source}) is not valid JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}.",
            "Correct it there, or export the workflow again from ComfyUI.",
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise WorkflowUnreadable(f"The workflow ({source}) cannot be read as JSON: {exc}.", "Export it again.") from exc
    return recognise(data, source=source, name=name)


def recognise(data: Any, *, source: str = "inline", name: str = "workflow") -> LoadedWorkflow:
    """A workflow that is JSON already. The body of a /prompt call is taken for the prompt in it."""
    if not isinstance(data, dict):
        raise WorkflowUnreadable(
            f"The workflow ({source}) is a JSON {type(data).__name__}, not an object.",
            "Give a prompt {id: {class_type, inputs}} or a workflow saved by ComfyUI.",
        )
    if _depth_exceeds(data, DEPTH_LIMIT):
        raise WorkflowUnreadable(
            f"The workflow ({source}) is nested more than {DEPTH_LIMIT} levels deep.", "Give a ComfyUI workflow."
        )
    if not data:
        raise WorkflowUnreadable(f"The workflow ({source}) is empty.", "Give a workflow with at least one node.")
    form = workflow_format(data)
    if form is None and isinstance(data.get("prompt"), dict):
        data = data["prompt"]
        form = workflow_format(data)
    if form is None:
        raise WorkflowUnreadable(
            f"The workflow ({source}) is JSON, but no ComfyUI workflow: it has the keys {', '.join(list(data)[:8])}.",
            "A prompt has {class_type, inputs} under each node id; a saved workflow has nodes and links.",
        )
    return LoadedWorkflow(data, form, source, name)


def _depth_exceeds(data: Any, limit: int) -> bool:
    level = [data]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
