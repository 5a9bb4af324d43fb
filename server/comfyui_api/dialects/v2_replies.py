"""API v2's replies as JSON, parsed into the words of `runs`. A reply of another shape raises KeyError, TypeError or
ValueError, which the connection translates.

Shapes: openapi-v2.yaml of Comfy's documents, and comfy-api-proxy, which has a list of jobs besides.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from comfyui_api.comfy_server import Look
from comfyui_api.dialects.job_states import job_state, milliseconds
from comfyui_api.graph import Prompt
from comfyui_api.prompt_text import first_text
from comfyui_api.replies import WORDS_KEPT, json_object, kind_of, list_of, node_faults
from comfyui_api.runs import (
    ASSET,
    ExecutionError,
    HistoryEntry,
    LivePreview,
    NodeFault,
    OutputFile,
    Progress,
    QueuedPrompt,
    QueueItem,
    QueueState,
    UploadedFile,
)

REFERENCE = "core/ASSET"
PREVIEW_LIMIT = 8 * 2**20  # bytes
MOST_FAULTS = 200
COUNTED = 1e12  # steps beyond this are no steps


def with_references(prompt: Prompt) -> Prompt:
    """A copy of a prompt in which the files that the server keeps under an id stand in its form."""
    return {node_id: _with_references(node) if isinstance(node, dict) else node for node_id, node in prompt.items()}


def _with_references(node: dict[str, Any]) -> dict[str, Any]:
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        return node
    return {**node, "inputs": {name: _reference(value) for name, value in inputs.items()}}


def _reference(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(ASSET) and (asset := value.removeprefix(ASSET).strip()):
        return {"__type": REFERENCE, "info": {"id": asset}}
    return value


def is_same_prompt(sent: Prompt, told: Any) -> bool:
    """Whether a server's graph of a run is the prompt that was sent, but for files, which it gives names of its own."""
    if not isinstance(told, dict) or set(told) != set(sent):
        return False
    for node_id, node in sent.items():
        other = told[node_id]
        if not isinstance(node, dict) or not isinstance(other, dict):
            return False
        inputs, others = node.get("inputs"), other.get("inputs")
        if node.get("class_type") != other.get("class_type") or not isinstance(inputs, dict):
            return False
        if not isinstance(others, dict) or set(inputs) != set(others):
            return False
        if any(others[name] != value for name, value in inputs.items() if _reference(value) is value):
            return False
    return True


def look(prompt_id: str, raw: Any, prompt: Any = None) -> Look:
    """A job as a look at the run; `prompt` is its graph, where that was asked for."""
    job = json_object(raw)
    state = job_state(job.get("status"))
    if state == "expired":
        return Look("gone", expired=True)
    if state in ("completed", "failed", "interrupted"):
        entry = _entry(prompt_id, job, prompt if isinstance(prompt, dict) else {})
        return Look(entry.state, entry)
    position = job.get("queue_position")
    before = position - 1 if type(position) is int and 0 < position < 2**31 else None
    item = QueueItem(0.0, prompt_id, {}, milliseconds(job.get("created_at")))
    if state == "queued":
        return Look("queued", item=item, position=before)
    return Look("running", item=item, progress=progress(job.get("progress")))


def has_ended(raw: Any) -> bool:
    return job_state(json_object(raw).get("status")) in ("completed", "failed", "interrupted")


def progress(raw: Any) -> Progress | None:
    """A progress snapshot. The server counts the whole run itself."""
    if not isinstance(raw, dict) or not _is_number(share := raw.get("value")):
        return None
    step, steps, node = raw.get("step"), raw.get("steps"), raw.get("current_node")
    done_steps, all_steps = (step, steps) if _is_number(step) and _is_number(steps) and steps > 0 else (0, 1)
    if node is None and not share:
        return None  # it has begun, and nothing more is known
    done, class_type = raw.get("nodes_done"), raw.get("current_node_class")
    return Progress(
        node_id="" if node is None else str(node)[:WORDS_KEPT],
        value=float(done_steps),
        max=float(all_steps),
        finished_nodes=done if type(done) is int and 0 <= done < 2**31 else None,
        share=min(1.0, max(0.0, float(share))),
        class_type=class_type[:WORDS_KEPT] if isinstance(class_type, str) else None,
    )


def preview(raw: Any) -> LivePreview | None:
    """A preview event's picture; None for what is none."""
    if not isinstance(raw, dict) or not isinstance(data := raw.get("data_base64"), str):
        return None
    if len(data) > PREVIEW_LIMIT * 4 // 3:
        return None
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    node_id = raw.get("node_id")
    return LivePreview(content, str(raw.get("content_type") or ""), str(node_id) if node_id else None)


def queue_state(raw: Any) -> QueueState:
    """The jobs that have not ended, of those that the server lists."""
    running, pending = list[QueueItem](), list[QueueItem]()
    for job in _jobs(raw):
        seen = look(str(job["id"]), job)
        if seen.item is not None:
            (pending if seen.state == "queued" else running).append(
                replace(seen.item, number=float(seen.position or 0))
            )
    pending.sort(key=lambda item: (item.number, item.created_ms or 0))
    return QueueState(tuple(running), tuple(pending))


def ended(raw: Any) -> list[HistoryEntry]:
    """The jobs that have ended, of those that the server lists, in the order of their end."""
    entries = [seen.entry for job in _jobs(raw) if (seen := look(str(job["id"]), job)).entry is not None]
    sound = [entry for entry in entries if entry is not None]
    return sorted(sound, key=lambda entry: entry.ended_ms or entry.created_ms or 0)


def candidates(raw: Any, since: float) -> list[str]:
    """The ids of those that were submitted after `since`, in seconds since 1970, or do not tell when."""
    found = []
    for job in _jobs(raw):
        created = milliseconds(job.get("created_at"))
        if created is None or created / 1000 >= since:
            found.append(str(job["id"]))
    return found


def receipt(raw: Any) -> QueuedPrompt:
    """A job that was just submitted. Raises KeyError and TypeError where it has no id."""
    if not isinstance(job_id := json_object(raw)["id"], str) or not job_id:
        raise TypeError("the receipt names no job")
    return QueuedPrompt(job_id, None)


def uploaded(name: str, raw: Any) -> UploadedFile:
    """An asset that was just uploaded under this name."""
    asset = json_object(raw)
    if not isinstance(asset_id := asset["id"], str) or not asset_id:
        raise TypeError("the asset has no id")
    path = asset.get("file_path")
    return UploadedFile(path if isinstance(path, str) and path else name, "", "input", asset_id)


def graph(raw: Any) -> Any:
    """The executed graph of /jobs/{id}/workflow; None where it is the one of the editor."""
    told = json_object(raw)
    return told.get("workflow") if told.get("format", "api") == "api" else None


def error_code(raw: Any) -> tuple[str, str, Mapping[str, Any]]:
    """(code, message, details) of an error's envelope. Raises KeyError and TypeError for what is none."""
    error = json_object(json_object(raw)["error"])
    details = error.get("details")
    return str(error["code"]), str(error.get("message") or ""), details if isinstance(details, dict) else {}


def faults(code: str, message: str, details: Mapping[str, Any]) -> tuple[NodeFault, ...]:
    """Why a workflow was refused: by node where that is told, in ComfyUI's own form or in the contract's."""
    raw = details.get("node_errors")
    if found := node_faults(raw):
        return found
    told: list[NodeFault] = []
    for node_id, reasons in raw.items() if isinstance(raw, dict) else ():
        for reason in reasons if isinstance(reasons, list) else [reasons]:
            about = reason if isinstance(reason, dict) else {"reason": reason}
            words = str(about.get("message") or about.get("reason") or message)
            field = about.get("field")
            told.append(
                NodeFault(
                    code=str(about.get("reason") or code)[:WORDS_KEPT],
                    message=words[:WORDS_KEPT],
                    node_id=str(node_id),
                    input=field if isinstance(field, str) else None,
                )
            )
    if told:
        return tuple(told[:MOST_FAULTS])
    missing = details.get("missing_ids")
    ids = ", ".join(str(each) for each in missing[:10]) if isinstance(missing, list) else ""
    return (NodeFault(code, f"{message} {ids}".strip()[:WORDS_KEPT]),)


def _jobs(raw: Any) -> list[dict[str, Any]]:
    told = [job for job in list_of(json_object(raw)["jobs"]) if isinstance(job, dict)]
    return [job for job in told if isinstance(job.get("id"), str)]


def _entry(prompt_id: str, job: dict[str, Any], prompt: dict[str, Any]) -> HistoryEntry:
    state = job_state(job.get("status"))
    outputs = job.get("outputs")
    created, over = milliseconds(job.get("created_at")), milliseconds(job.get("completed_at"))
    return HistoryEntry(
        prompt_id=prompt_id,
        state=state,  # type: ignore[arg-type]  # called for the three that a run can end in
        files=tuple(_files(outputs if isinstance(outputs, list) else [])),
        texts=(),
        prompt=prompt,
        error=_error(job.get("error")) if state == "failed" else None,
        started_ms=milliseconds(job.get("started_at")),
        ended_ms=over,
        created_ms=created,
        text=first_text(prompt),
    )


def _files(outputs: list[Any]) -> list[OutputFile]:
    found: dict[str, OutputFile] = {}
    for output in outputs:
        if not isinstance(output, dict) or not isinstance(asset := output.get("id"), str) or not asset:
            continue
        name = output.get("name")
        filename = name.replace("\\", "/").rpartition("/")[2] if isinstance(name, str) else ""
        kind, told = kind_of(filename), output.get("type")
        if kind == "file" and isinstance(told, str) and told in _KINDS:
            kind = told
        found.setdefault(
            asset, OutputFile(str(output.get("node_id") or ""), kind, filename or asset, "", "output", asset)
        )
    return list(found.values())


def _error(raw: Any) -> ExecutionError:
    told = raw if isinstance(raw, dict) else {}
    message = str(told.get("message") or "").strip() or "The server does not say why."
    trace = told.get("traceback")
    return ExecutionError(
        node_id=str(told.get("node_id") or "")[:WORDS_KEPT],
        class_type=str(told.get("class_type") or "")[:WORDS_KEPT],
        exception_type="",
        exception_message=message,
        traceback=(trace,) if isinstance(trace, str) else (),
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < COUNTED
    )


_KINDS = frozenset({"image", "video", "audio", "3d", "latent", "text", "file"})
