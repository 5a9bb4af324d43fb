"""A file beside each result that holds all that is needed to make it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from comfyui_api import __version__
from comfyui_api.errors import FileProblem, WorkflowUnreadable
from comfyui_api.graph import Prompt, is_link
from comfyui_api.results import SavedFile
from comfyui_api.runs import HistoryEntry, SystemStats
from comfyui_api.storage import put_in_place, temporary_beside
from comfyui_api.workflow_files import load_file

LOOKED_INTO = 8  # files of a run, for the UI workflow that ComfyUI put into them
WITH_WORKFLOW = ("image", "video", "audio", "latent", "3d")


def run_record(
    entry: HistoryEntry, server: str, stats: SystemStats | None, workflow: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is the same for all files of a run. `prompt` and `workflow` are what `workflow_files` takes for one."""
    record: dict[str, Any] = {
        "prompt_id": entry.prompt_id,
        "state": entry.state,
        "server": server,
        "seeds": dict(seeds(entry.prompt)),
        "versions": {"comfyui_api": __version__},
    }
    if stats is not None:
        record["versions"] |= {
            "comfyui": stats.comfyui_version,
            "python": stats.python_version,
            "pytorch": stats.pytorch_version,
        }
        record["devices"] = [device.name for device in stats.devices]
    if entry.started_ms is not None and entry.ended_ms is not None:
        record["started_ms"] = entry.started_ms
        record["duration_seconds"] = round((entry.ended_ms - entry.started_ms) / 1000, 3)
    record["prompt"] = dict(entry.prompt)
    if workflow is not None:
        record["workflow"] = workflow
    return record


def write_sidecar(file: SavedFile, record: dict[str, Any]) -> Path:
    """Write `{file}.json`. Returns where it stands: never over another file. Raises FileProblem where it cannot be."""
    path = Path(file.path)
    own = {"file": path.name, "node_id": file.node_id, "kind": file.kind, "bytes": file.bytes, "sha256": _sha256(path)}
    try:
        content = json.dumps({**own, **record}, ensure_ascii=False, indent=1).encode()
    except UnicodeEncodeError:  # lone surrogates, which ComfyUI keeps as they came
        content = json.dumps({**own, **record}, indent=1).encode()
    target = path.with_name(f"{path.name}.json")
    with temporary_beside(target) as temporary:
        temporary.write_bytes(content)
        return put_in_place(temporary, target)


def workflow_in(files: Iterable[SavedFile]) -> dict[str, Any] | None:
    """The UI workflow that the run was queued with, from the first file that carries it."""
    for file in [file for file in files if file.kind in WITH_WORKFLOW][:LOOKED_INTO]:
        with suppress(WorkflowUnreadable):
            if (found := load_file(Path(file.path)).ui) is not None:
                return found
    return None


def seeds(prompt: Prompt | Any) -> Iterator[tuple[str, int]]:
    """(address, value) of every seed in a prompt; of one that is linked in, the number at the other end."""
    for node_id, node in prompt.items():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            if "seed" not in name.lower():
                continue
            if type(value) is int:
                yield f"{node_id}.{name}", value
            elif is_link(value) and value:
                yield from _numbers_at(prompt, value[0])


def _numbers_at(prompt: Any, node_id: Any) -> Iterator[tuple[str, int]]:
    node = prompt.get(node_id) if isinstance(node_id, str) else None
    inputs = node.get("inputs") if isinstance(node, dict) else None
    for name, value in inputs.items() if isinstance(inputs, dict) else ():
        if type(value) is int and name in ("value", "int", "number"):
            yield f"{node_id}.{name}", value


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise FileProblem(f"{path} could not be read: {exc.strerror or exc}.", "Call get_output again.") from exc
