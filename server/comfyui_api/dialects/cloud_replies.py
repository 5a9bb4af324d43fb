"""Comfy Cloud's replies as JSON, parsed into the words of `runs`. A reply of another shape raises KeyError, TypeError
or ValueError, which the connection translates.

Shapes: openapi-cloud.yaml of Comfy's documents. /api/jobs is that of ComfyUI 0.30 and later too.
"""

from __future__ import annotations

import json
from typing import Any

from comfyui_api.comfy_server import Look
from comfyui_api.dialects.job_states import job_state, milliseconds
from comfyui_api.prompt_text import first_text
from comfyui_api.replies import execution_error, history_entry, json_object, list_of
from comfyui_api.runs import ExecutionError, HistoryEntry, QueueItem, QueueState

MARK = "comfyui_api_run"
"""In the extra_data of a prompt: our own id of the run, by which it can be found where the answer was lost."""
_DEEPEST = 6


def look(prompt_id: str, raw: Any, kept: Any) -> Look:
    """/api/jobs/{id} as a look at the run. `kept`: its entry of /api/history_v2, where that was asked for."""
    job = json_object(raw)
    match job_state(job.get("status")):
        case "queued":
            return Look("queued", item=_item(prompt_id, job))
        case "running":
            return Look("running", item=_item(prompt_id, job))
        case "expired":
            return Look("gone", expired=True)
        case "completed" | "failed" | "interrupted":
            entry = _entry(prompt_id, job, kept)
            return Look(entry.state, entry)


def lacks_outputs(raw: Any) -> bool:
    """Whether a job has ended, and its outputs are told elsewhere."""
    job = json_object(raw)
    ended = job_state(job.get("status")) in ("completed", "failed", "interrupted")
    return ended and not isinstance(job.get("outputs"), dict) and job.get("outputs_count") != 0


def queue_state(raw: Any) -> QueueState:
    """/api/jobs of those that have not ended, in the order in which they were submitted."""
    running, pending = list[QueueItem](), list[QueueItem]()
    for job in _jobs(raw):
        state = job_state(job.get("status"))
        if state in ("queued", "running"):
            (pending if state == "queued" else running).append(_item(str(job["id"]), job))
    return QueueState(_by_age(running), _by_age(pending))


def ended(raw: Any) -> list[HistoryEntry]:
    """/api/jobs of those that have ended, in the order of their end."""
    entries = [
        _entry(str(job["id"]), job, None)
        for job in _jobs(raw)
        if job_state(job.get("status")) in ("completed", "failed", "interrupted")
    ]
    return sorted(entries, key=lambda entry: entry.ended_ms or entry.created_ms or 0)


def candidates(raw: Any, since: float) -> list[str]:
    """The ids of those in /api/jobs that were submitted after `since`, in seconds since 1970, or do not tell when."""
    found = []
    for job in _jobs(raw):
        created = milliseconds(job.get("create_time"))
        if isinstance(job.get("id"), str) and (created is None or created / 1000 >= since):
            found.append(job["id"])
    return found


def has_mark(raw: Any, mark: str, depth: int = _DEEPEST) -> bool:
    """Whether our own id of a run stands in what the server tells of it, wherever it keeps the extra_data."""
    if isinstance(raw, list):
        return depth > 0 and any(has_mark(item, mark, depth - 1) for item in raw)
    if not isinstance(raw, dict):
        return False
    return raw.get(MARK) == mark or (depth > 0 and any(has_mark(item, mark, depth - 1) for item in raw.values()))


def model_folders(raw: Any) -> list[str]:
    """/api/experiment/models."""
    return [item["name"] for item in list_of(raw) if isinstance(item, dict) and isinstance(item.get("name"), str)]


def model_files(raw: Any) -> dict[str, int | None]:
    """/api/experiment/models/{folder} as {file: size in bytes, None where it is not told}."""
    found: dict[str, int | None] = {}
    for item in list_of(raw):
        if isinstance(item, dict) and isinstance(name := item.get("name"), str):
            size = item.get("size")
            found.setdefault(name, size if type(size) is int and 0 <= size < 2**62 else None)
    return found


def kept_entry(prompt_id: str, raw: Any) -> Any:
    """The entry of a run in /api/history_v2/{id}; None where it has none."""
    return json_object(raw).get(prompt_id)


def _jobs(raw: Any) -> list[dict[str, Any]]:
    return [job for job in list_of(json_object(raw)["jobs"]) if isinstance(job, dict)]


def _by_age(items: list[QueueItem]) -> tuple[QueueItem, ...]:
    return tuple(sorted(items, key=lambda item: (item.created_ms or 2**60, item.number)))


def _item(prompt_id: str, job: dict[str, Any]) -> QueueItem:
    prompt, priority = _prompt(job), job.get("priority")
    number = float(priority) if isinstance(priority, int | float) and abs(priority) < 2**53 else 0.0
    return QueueItem(number, prompt_id, prompt, milliseconds(job.get("create_time")), text=first_text(prompt))


def _prompt(job: dict[str, Any]) -> dict[str, Any]:
    """The prompt of a job, which stands in its workflow together with the extra_data, or is the workflow."""
    workflow = job.get("workflow")
    if not isinstance(workflow, dict):
        return {}
    inner = workflow.get("prompt")
    if isinstance(inner, dict):
        # /api/history_v2 wraps it once more.
        return inner["prompt"] if isinstance(inner.get("prompt"), dict) else inner
    return workflow if any(isinstance(node, dict) and "class_type" in node for node in workflow.values()) else {}


def _entry(prompt_id: str, job: dict[str, Any], kept: Any) -> HistoryEntry:
    """A job that has ended, as the history entry of a ComfyUI: the parts are the same, in other places."""
    kept = kept if isinstance(kept, dict) else {}
    status = _dict(job.get("execution_status")) or _dict(kept.get("status"))
    prompt = _prompt(job) or _prompt({"workflow": kept})
    extra = _dict(_dict(job.get("workflow")).get("extra_data")) or _dict(_dict(kept.get("prompt")).get("extra_data"))
    state = job_state(job.get("status"))
    messages = status.get("messages") if isinstance(status.get("messages"), list) else []
    sound = [item for item in messages or [] if isinstance(item, list) and len(item) == 2 and isinstance(item[1], dict)]
    raw = {
        "outputs": _dict(job.get("outputs")) or _dict(kept.get("outputs")),
        "status": {"status_str": "success", "messages": sound},
        "prompt": [0, prompt_id, prompt, extra],
    }
    entry = history_entry(prompt_id, raw)
    error = None
    if state == "failed":
        told = next((data for kind, data in sound if kind == "execution_error"), None)
        error = _error(job.get("execution_error") or told or job.get("error_message"), job.get("status"))
    begun = milliseconds(job.get("execution_start_time")) or entry.started_ms
    over = milliseconds(job.get("execution_end_time")) or entry.ended_ms or milliseconds(job.get("update_time"))
    count = job.get("outputs_count")
    return HistoryEntry(
        prompt_id=prompt_id,
        state=state,  # type: ignore[arg-type]  # called for the three that a run can end in
        files=entry.files,
        texts=entry.texts,
        prompt=entry.prompt,
        cached_nodes=entry.cached_nodes,
        error=error,
        started_ms=begun,
        ended_ms=over,
        client_id=entry.client_id,
        created_ms=milliseconds(job.get("create_time")) or entry.created_ms,
        text=entry.text,
        workflow=entry.workflow,
        output_count=count if type(count) is int and 0 <= count < 2**31 and "outputs" not in job else None,
    )


def _error(told: Any, status: Any) -> ExecutionError:
    """Why a run failed: an object, the same as JSON in a text, or words."""
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            told = {"exception_message": told}
    if not isinstance(told, dict) or not told:
        words = (
            "The server lost this run before it had finished." if status == "lost" else "The server does not say why."
        )
        told = {"exception_message": words}
    trace = told.get("traceback")
    return execution_error({**told, "traceback": [trace] if isinstance(trace, str) else trace})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
