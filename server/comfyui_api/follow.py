"""What has become of a run: by events while somebody waits, by queue and history for the truth."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import anyio

from comfyui_api.diagnose import in_one_line, known_cases, remedy_for
from comfyui_api.documents import reference
from comfyui_api.errors import ComfyError, ComfySilent, ComfyUnreachable, ServerError
from comfyui_api.results import OutputInfo, ProgressInfo, RunFailure, RunStatus
from comfyui_api.runs import FINAL_STATES, HistoryEntry, Progress, QueueItem, RunState
from comfyui_api.workspace import Connection, Workspace

Report: TypeAlias = Callable[[float, float | None, str], Awaitable[None]]
"""Takes how much is done, out of how much (None: not known), and a sentence."""

POLL_SECONDS = 5.0
LOOK_SECONDS = 10.0  # what one look may take where less than that is left to wait
LONGEST_WAIT = 86_400.0
WARNING_AFTER = 600.0
TEXT_SHOWN = 500


@dataclass(frozen=True)
class Look:
    """A run at one moment. `entry` is set once it has ended, `item` while it is in the queue."""

    state: RunState
    entry: HistoryEntry | None = None
    item: QueueItem | None = None
    position: int | None = None
    trouble: ComfyError | None = None


async def look(connection: Connection, prompt_id: str) -> Look:
    """Where a run stands now.

    /history is silent about pending, running and unknown runs alike, so: history, queue, history again. A run moves
    from the queue to the history under one lock (execution.py, task_done), so what neither has is gone.
    """
    client = connection.client
    if (entry := await client.history(prompt_id)) is not None:
        return Look(entry.state, entry)
    queue = await client.queue()
    if (position := queue.position(prompt_id)) is not None:
        return Look("queued", item=queue.find(prompt_id), position=position)
    if (item := queue.find(prompt_id)) is not None:
        return Look("running", item=item)
    if (entry := await client.history(prompt_id)) is not None:
        return Look(entry.state, entry)
    return Look("gone")


async def poll_result(
    workspace: Workspace, prompt_id: str, server: str | None, *, wait_seconds: float, report: Report | None
) -> RunStatus:
    """Wait until a run ends, at most `wait_seconds`; 0 looks once. A server that does not answer is asked again."""
    connection = workspace.connect(server, prompt_id=prompt_id)
    deadline = time.monotonic() + min(wait_seconds, LONGEST_WAIT)
    reporter = _Reporter(report)
    with connection.events.watch(prompt_id) as watch:
        while True:
            seen = await _look_in_time(connection, prompt_id, max(LOOK_SECONDS, deadline - time.monotonic()))
            seen = _with_what_we_know(workspace, connection, prompt_id, seen)
            left = deadline - time.monotonic()
            if seen.state in FINAL_STATES or left <= 0:
                return _status(workspace, connection, prompt_id, seen, watch.progress)
            prompt = seen.item.prompt if seen.item is not None else {}
            await reporter.say(seen, watch.progress, prompt)
            # Steps are many: only what may have ended the run, or five seconds of silence, makes us look again.
            until = time.monotonic() + min(POLL_SECONDS, left)
            while (rest := until - time.monotonic()) > 0:
                if not await watch.changed(rest):
                    break
                await reporter.say(seen, watch.progress, prompt)
                if watch.may_have_ended():
                    break


async def _look_in_time(connection: Connection, prompt_id: str, seconds: float) -> Look:
    """A look that neither a silent nor an absent server can hold up for longer than the caller waits.

    Raises the ServerErrors that asking again will not mend: no access, or no ComfyUI at that address.
    """
    trouble: ServerError = ComfySilent(f"ComfyUI at {connection.url} gave no answer within {seconds:.0f} s.")
    with anyio.move_on_after(seconds):
        try:
            return await look(connection, prompt_id)
        except (ComfyUnreachable, ComfySilent) as exc:
            trouble = exc
    return Look("unreachable", trouble=trouble)


def _with_what_we_know(workspace: Workspace, connection: Connection, prompt_id: str, seen: Look) -> Look:
    """A look with what the server does not tell: since when a run is running, and that we took it out ourselves."""
    if seen.state == "running":
        connection.running_since.setdefault(prompt_id, time.monotonic())
    elif seen.state in FINAL_STATES:
        connection.running_since.pop(prompt_id, None)
    job = workspace.jobs.find(prompt_id) if seen.state == "gone" else None
    return Look("interrupted") if job is not None and job.stopped else seen


class _Reporter:
    """Progress for the caller: strictly increasing, and at most four times a second."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._last = -1.0
        self._next_at = 0.0

    async def say(self, seen: Look, progress: Progress | None, prompt: Mapping[str, Any]) -> None:
        if self._report is None or time.monotonic() < self._next_at:
            return
        percent, sentence = _progress_words(seen, progress, prompt)
        # A heartbeat between two steps still has to increase.
        self._last = percent if percent > self._last else min(self._last + 0.01, (self._last + 100) / 2)
        self._next_at = time.monotonic() + 0.25
        await self._report(self._last, 100.0, sentence)


def _progress_words(seen: Look, progress: Progress | None, prompt: Mapping[str, Any]) -> tuple[float, str]:
    if seen.state == "queued":
        return 0.0, f"queued, {seen.position} waiting before it" if seen.position else "queued, next"
    if seen.state == "unreachable":
        return 0.0, "the server does not answer; asking again"
    if progress is None:
        return 0.0, "running"
    share = progress.value / progress.max if progress.max else 0.0
    done = (progress.finished_nodes or 0) + share
    percent = min(99.0, 100.0 * done / max(len(prompt), 1)) if prompt else 0.0
    name = _class_type(prompt, progress.node_id) or "node"
    return percent, f"{name} ({progress.node_id}) {progress.value:g}/{progress.max:g}"


def _status(
    workspace: Workspace, connection: Connection, prompt_id: str, seen: Look, progress: Progress | None
) -> RunStatus:
    elapsed = _elapsed(workspace, prompt_id, seen)
    status = RunStatus(
        state=seen.state,
        prompt_id=prompt_id,
        server=connection.url,
        queue_position=seen.position,
        elapsed_seconds=elapsed,
        message="",
    )
    if seen.entry is not None:
        status.outputs = outputs_of(seen.entry)
        if seen.entry.error is not None:
            status.error = failure_of(seen.entry)
        if seen.state == "completed" and not status.outputs:
            status.no_outputs_reason = why_no_outputs(seen.entry)
    elif seen.state == "running":
        if progress is not None:
            class_type = _class_type(seen.item.prompt, progress.node_id) if seen.item is not None else None
            status.progress = ProgressInfo(progress.value, progress.max, progress.node_id, class_type)
        running = time.monotonic() - connection.running_since.get(prompt_id, time.monotonic())
        if running >= WARNING_AFTER:
            status.warning = (
                f"Running for {running / 60:.0f} minutes. Video models can take 15 to 30; "
                "interrupt stops it if that is not to be expected."
            )
    elif seen.trouble is not None:
        status.error = RunFailure(seen.trouble.message, seen.trouble.next_step)
    status.message = _message(workspace, prompt_id, seen, status)
    return status


def outputs_of(entry: HistoryEntry) -> list[OutputInfo]:
    """Files first, then texts, as the server reported them."""
    files = [OutputInfo(file.node_id, file.kind, file.filename, file.subfolder, file.type) for file in entry.files]
    texts = [OutputInfo(text.node_id, "text", text=shorten(text.text, TEXT_SHOWN)) for text in entry.texts]
    return files + texts


def failure_of(entry: HistoryEntry) -> RunFailure | None:
    """The failure of a run in words, with its remedy."""
    error = entry.error
    if error is None:
        return None
    return RunFailure(
        message=in_one_line(error),
        remedy=remedy_for(error, known_cases(reference("troubleshooting.md"))),
        node_id=error.node_id,
        class_type=error.class_type,
        exception_type=error.exception_type,
    )


def why_no_outputs(entry: HistoryEntry) -> Literal["blocked", "cached", "websocket_only"]:
    """Why a run succeeded without outputs: its results went over a WebSocket only, all of it was cached and so left out
    of the history (0.3.75, for runs queued without a client id), or else its branches were blocked."""
    classes = {str(node.get("class_type")) for node in entry.prompt.values() if isinstance(node, dict)}
    if "SaveImageWebsocket" in classes:
        return "websocket_only"
    if entry.prompt and entry.cached_nodes >= set(entry.prompt):
        return "cached"
    return "blocked"


_NO_OUTPUTS = {
    "blocked": "It ended well but gave nothing: a switch or condition in the workflow blocked the outputs.",
    "cached": "It ended at once, as everything was in the cache; change a seed or call free_vram(free_memory=true).",
    "websocket_only": "It ended well; its pictures went over the WebSocket only. Use SaveImage to get files.",
}


def _message(workspace: Workspace, prompt_id: str, seen: Look, status: RunStatus) -> str:
    match seen.state:
        case "queued":
            before = f"{seen.position} waiting before it" if seen.position else "next in the queue"
            return f"Waiting: {before}. Call poll_result again."
        case "running":
            return "Running. Call poll_result again."
        case "completed" if status.no_outputs_reason is not None:
            return _NO_OUTPUTS[status.no_outputs_reason]
        case "completed":
            return f"Done: {len(status.outputs)} outputs. get_output('{prompt_id}') saves them."
        case "failed":
            made = " What was made before is there: get_output saves it." if status.outputs else ""
            return f"The run failed; error says where and what helps.{made}"
        case "interrupted":
            return "The run was interrupted." if seen.entry is not None else "It was taken out before it began."
        case "unreachable":
            if isinstance(seen.trouble, ComfyUnreachable):
                return (
                    "Nobody answers at the server's address. If only the way to it is broken, the run goes on: call "
                    "poll_result again. If ComfyUI itself has stopped, the run is lost, as its queue is in memory only."
                )
            return "The server does not answer in time; the run may go on there. Call poll_result again."
    if workspace.jobs.find(prompt_id) is not None:
        return "It was queued from here, but the server no longer knows it: ComfyUI restarted, or it was deleted."
    return "The server knows no such run: the id is wrong, the run was deleted, or ComfyUI restarted since."


def _elapsed(workspace: Workspace, prompt_id: str, seen: Look) -> float | None:
    entry = seen.entry
    if entry is not None and entry.started_ms is not None and entry.ended_ms is not None:
        return round((entry.ended_ms - entry.started_ms) / 1000, 3)
    if seen.state in ("gone", "unreachable"):
        return None
    # Our own clock where we queued it; the server's otherwise, which may differ a little from ours.
    if (job := workspace.jobs.find(prompt_id)) is not None:
        return round(max(0.0, time.time() - job.queued_at), 1)
    if seen.item is not None and seen.item.created_ms is not None:
        return round(max(0.0, time.time() - seen.item.created_ms / 1000), 1)
    return None


def _class_type(prompt: Mapping[str, Any], node_id: str) -> str | None:
    node = prompt.get(node_id)
    class_type = node.get("class_type") if isinstance(node, dict) else None
    return class_type if isinstance(class_type, str) else None


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters in all)"
