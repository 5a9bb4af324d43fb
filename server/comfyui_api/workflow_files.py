"""A workflow from wherever it is: a file, a picture or video that ComfyUI saved, or the JSON itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from comfyui_api.embedded import SIZE_LIMIT, WHAT_TO_GIVE, Embedded, read_embedded
from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.graph import WorkflowFormat, workflow_format

INLINE = "inline"  # where a workflow is from that was given as JSON
DEPTH_LIMIT = 100  # levels of JSON; real workflows have about ten


@dataclass(frozen=True)
class LoadedWorkflow:
    """A workflow as it was given. `source` is the file's path, or INLINE; `name` what to call a copy of it.

    `ui` is the UI graph that goes with it, where there is one; a workflow in UI format is its own.
    """

    content: dict[str, Any]
    format: WorkflowFormat
    source: str
    name: str
    ui: dict[str, Any] | None = None


def load_file(path: Path) -> LoadedWorkflow:
    """The workflow in a JSON file, or in a media file that ComfyUI saved.

    Raises WorkflowUnreadable with what is wrong with the file.
    """
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "no ordinary file"
            raise WorkflowUnreadable(f"{path} is {what}.", "Give the path of a workflow file.")
        with path.open("rb") as file:
            size = path.stat().st_size
            embedded = read_embedded(file, size, str(path))
            text = b"" if embedded else _whole(file, size, path)
    except FileNotFoundError as exc:
        raise WorkflowUnreadable(f"There is no file {path}.", "Give the path of a workflow file, or its JSON.") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        reason = getattr(exc, "strerror", None) or exc
        raise WorkflowUnreadable(f"{path} could not be read: {reason}.", "Give a file that can be read.") from exc
    if embedded is not None:
        return _of_media(embedded, path)
    return parse(text, source=str(path), name=path.stem)


def _whole(file: BinaryIO, size: int, path: Path) -> bytes:
    if size > SIZE_LIMIT:
        raise WorkflowUnreadable(f"{path} has {size:,} bytes, more than any workflow.", "Give a workflow file.")
    file.seek(0)
    return file.read(SIZE_LIMIT)


def _of_media(embedded: Embedded, path: Path) -> LoadedWorkflow:
    """The prompt that ran, with the UI graph that it came from; the UI graph alone where there is no prompt."""
    read: list[LoadedWorkflow] = []
    faults: list[WorkflowUnreadable] = []
    for key, text in (("prompt", embedded.prompt), ("workflow", embedded.workflow)):
        if text is not None:
            try:
                read.append(parse(text, source=f"{path}, its text '{key}'", name=path.stem))
            except WorkflowUnreadable as exc:
                faults.append(exc)
    if read:
        # Whatever the texts are called: what ran is the one in API format.
        first = next((loaded for loaded in read if loaded.format == "api"), read[0])
        ui = next((loaded.ui for loaded in read if loaded.ui is not None), None)
        return LoadedWorkflow(first.content, first.format, str(path), path.stem, ui)
    if faults:
        raise WorkflowUnreadable(faults[0].message, WHAT_TO_GIVE)
    if "parameters" in embedded.others:
        raise WorkflowUnreadable(
            f"{path} is {embedded.kind} without a workflow in it, only with the settings ('parameters') that Stable "
            "Diffusion WebUI and its kin write, which are none.",
            "Give a file that ComfyUI saved, or the workflow's JSON.",
        )
    raise WorkflowUnreadable(f"{path} is {embedded.kind} without a workflow in it.", WHAT_TO_GIVE)


def parse(text: str | bytes, *, source: str = INLINE, name: str = "workflow") -> LoadedWorkflow:
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


def recognise(data: Any, *, source: str = INLINE, name: str = "workflow") -> LoadedWorkflow:
    """A workflow that is JSON already. An object with a prompt or a UI workflow in it, such as the body of a /prompt
    call, is taken for these."""
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
    content, form, ui = _parts(data)
    if form is None:
        keys = ", ".join(list(content)[:8])
        raise WorkflowUnreadable(
            f"The workflow ({source}) is JSON, but no ComfyUI workflow: it has the keys {keys}.",
            "A prompt has {class_type, inputs} under each node id; a saved workflow has nodes and links.",
        )
    return LoadedWorkflow(content, form, source, name, ui)


def _parts(data: dict[str, Any]) -> tuple[dict[str, Any], WorkflowFormat | None, dict[str, Any] | None]:
    """(the workflow in a JSON object, its format, the UI graph that goes with it)."""
    form = workflow_format(data)
    if form is not None:
        return data, form, data if form == "ui" else None
    beside, inner = _ui_graph(data), data.get("prompt")
    if not isinstance(inner, dict):
        inner = data
    form = workflow_format(inner)
    if form is None and beside is not None:
        return beside, "ui", beside
    return inner, form, inner if form == "ui" else beside


def _ui_graph(data: dict[str, Any]) -> dict[str, Any] | None:
    """The UI graph beside a prompt: under `workflow`, or where the body of a /prompt call has it."""
    for place in (("workflow",), ("extra_data", "extra_pnginfo", "workflow")):
        found: Any = data
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict) and workflow_format(found) == "ui":
            return found
    return None


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
