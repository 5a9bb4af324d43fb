"""What has become of a run: by events while somebody waits, by queue and history for the truth."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import anyio

from comfyui_api.comfy_server import Look
from comfyui_api.documents import reference
from comfyui_api.errors import ComfyBusy, ComfySilent, ComfyUnreachable, ServerError
from comfyui_api.gone import GoneReason, meant, why_gone
from comfyui_api.once import found_again, take_out_double
from comfyui_api.quantities import count
from comfyui_api.results import OutputInfo, ProgressInfo, RunFailure, RunStatus
from comfyui_api.runs import FINAL_STATES, HistoryEntry, LivePreview, Progress
from comfyui_api.workspace import Connection, Workspace

if TYPE_CHECKING:
    from comfyui_api.diagnose import AskedAfter
    from comfyui_api.previews import Picture

T = TypeVar("T")
Report: TypeAlias = Callable[[float, float | None, str], Awaitable[None]]
"""Takes how much is done, out of how much (None: not known), and a sentence."""

POLL_SECONDS = 5.0
QUICK_LOOK = 0.5  # seconds
LOOK_SECONDS = 10.0  # what one look may take where less than that is left to wait
LONGEST_WAIT = 86_400.0
ASKING_SECONDS = 3.0  # what asking for more after a failure may take
WARNING_AFTER = 600.0
TEXT_SHOWN = 500


async def look(connection: Connection, prompt_id: str) -> Look:
    """Where a run stands now."""
    return await connection.client.look(prompt_id)


async def poll_result(
    workspace: Workspace,
    prompt_id: str,
    server: str | None,
    *,
    wait_seconds: float,
    report: Report | None,
    preview: bool = False,
) -> RunStatus:
    """Wait until a run ends, at most `wait_seconds`; 0 looks once. A server that does not answer is asked again.

    `preview` adds the latest picture that the run has shown, where there is one.
    """
    connection = workspace.connect(server, prompt_id=prompt_id)
    deadline = time.monotonic() + min(wait_seconds, LONGEST_WAIT)
    reporter = _Reporter(report)
    before: Look | None = None
    heard = connection.events.heard
    with connection.events.watch(prompt_id) as watch:
        while True:
            began, heard_now = time.monotonic(), connection.events.heard
            patience = max(LOOK_SECONDS, deadline - began)
            seen = await in_time(connection, patience, lambda: look(connection, prompt_id))
            if before is not None and seen.state not in ("unreachable", before.state):
                connection.events.expect_news(heard)  # whatever moves in the queue is told to everybody
            before, heard = seen, heard_now
            seen = with_what_we_know(workspace, connection, prompt_id, seen)
            if seen.double and workspace.jobs.find(prompt_id) is not None:
                with suppress(ServerError):
                    await take_out_double(workspace, connection, await connection.client.queue(), prompt_id)
            took = time.monotonic() - began
            left = deadline - time.monotonic()
            if seen.state in FINAL_STATES or left <= 0:
                asked = await _ask_after(connection, seen.entry)
                status = _status(workspace, connection, prompt_id, seen, watch.progress or seen.progress, asked)
                if seen.state == "gone":
                    status.gone_reason = "expired" if seen.expired else await why_gone(workspace, connection, prompt_id)
                    status.message = _GONE[status.gone_reason] + _perhaps(workspace, prompt_id, status.gone_reason)
                    job = workspace.jobs.find(prompt_id)
                    if status.gone_reason == "uncertain" and job is not None:
                        found = await found_again(workspace, connection, job)
                        status.message = _FOUND.format(found) if found is not None else status.message
                if preview and (shown := connection.events.preview(prompt_id)) is not None:
                    picture = await anyio.to_thread.run_sync(_shown, shown)
                    status.pictures = (picture,) if picture is not None else ()
                if preview and not status.pictures and seen.state == "running":
                    status.message += _NO_PICTURE
                return status
            prompt = seen.item.prompt if seen.item is not None else {}
            await reporter.say(seen, watch.progress or seen.progress, prompt)
            # Where a look takes long, as with a thousand large runs in the queue, it is not taken at every event.
            if took > QUICK_LOOK:
                await anyio.sleep(min(took, POLL_SECONDS, left))
            # Steps are many: only what may have ended the run, or five seconds of silence, makes us look again.
            until = time.monotonic() + min(POLL_SECONDS, deadline - time.monotonic())
            while (rest := until - time.monotonic()) > 0:
                if not await watch.changed(rest):
                    break
                await reporter.say(seen, watch.progress, prompt)
                if watch.may_have_ended():
                    break


async def in_time(connection: Connection, seconds: float, ask: Callable[[], Awaitable[T]]) -> T | Look:
    """A look that neither a silent nor an absent server can hold up for longer than the caller waits; where it does
    not answer, that it is unreachable.

    Raises the ServerErrors that asking again will not mend: no access, or no ComfyUI at that address.
    """
    trouble: ServerError = ComfySilent(
        f"The server at {connection.url} gave no answer within {seconds:.0f} s.", "Wait a little and ask again."
    )
    with anyio.move_on_after(seconds):
        try:
            return await ask()
        except (ComfyUnreachable, ComfySilent) as exc:
            trouble = exc
    return Look("unreachable", trouble=trouble)


def with_what_we_know(workspace: Workspace, connection: Connection, prompt_id: str, seen: Look) -> Look:
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
    if seen.state == "queued" and seen.position is None:
        return 0.0, "queued"
    if seen.state == "queued":
        return 0.0, f"queued, {seen.position} waiting before it" if seen.position else "queued, next"
    if seen.state == "unreachable":
        is_busy = isinstance(seen.trouble, ComfyBusy)
        return 0.0, f"the server {'is too busy to tell' if is_busy else 'does not answer'}; asking again"
    if progress is None:
        return 0.0, "running"
    name = progress.class_type or _class_type(prompt, progress.node_id) or "node"
    left = progress.seconds_left
    estimate = f", about {_duration(left)} left for this node" if left is not None else ""
    return _percent(progress, prompt), f"{name} ({progress.node_id}) {progress.value:g}/{progress.max:g}{estimate}"


def _percent(progress: Progress, prompt: Mapping[str, Any]) -> float:
    """How much of the whole graph is done: as the server tells it, or else every node counting alike, as it is not
    known which of them takes long."""
    if progress.share is not None:
        return max(0.0, min(99.0, 100.0 * progress.share))
    share = min(1.0, progress.value / progress.max) if progress.max > 0 else 0.0
    done = (progress.finished_nodes or 0) + share
    return max(0.0, min(99.0, 100.0 * done / len(prompt))) if prompt else 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _status(
    workspace: Workspace,
    connection: Connection,
    prompt_id: str,
    seen: Look,
    progress: Progress | None,
    asked: AskedAfter | None = None,
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
            status.error = failure_of(seen.entry, progress, asked)
        if seen.state == "completed" and not status.outputs:
            status.no_outputs_reason = why_no_outputs(seen.entry)
    elif seen.state == "running":
        if progress is not None:
            status.progress = _progress_info(progress, seen.item.prompt if seen.item is not None else {})
        status.warning = long_running(
            time.monotonic() - connection.running_since.get(prompt_id, time.monotonic()), elapsed
        )
    elif seen.trouble is not None:
        status.error = RunFailure(seen.trouble.message, seen.trouble.next_step)
    status.message = _message(workspace, connection, prompt_id, seen, status)
    return status


def outputs_of(entry: HistoryEntry) -> list[OutputInfo]:
    """Files first, then texts, as the server reported them."""
    files = [OutputInfo(file.node_id, file.kind, file.filename, file.subfolder, file.type) for file in entry.files]
    texts = [OutputInfo(text.node_id, "text", text=shorten(text.text, TEXT_SHOWN)) for text in entry.texts]
    return files + texts


def failure_of(
    entry: HistoryEntry, progress: Progress | None = None, asked: AskedAfter | None = None
) -> RunFailure | None:
    """The failure of a run in words, with its remedy. `progress` is what was last heard of the run, `asked` what the
    server said after it."""
    error = entry.error
    if error is None:
        return None
    from comfyui_api import diagnose  # noqa: PLC0415  (most runs do not fail)

    run = diagnose.FailedRun(error, entry.prompt, entry.cached_nodes, progress, asked or diagnose.AskedAfter())
    found = diagnose.diagnose(run, diagnose.known_cases(reference("troubleshooting.md")))
    return RunFailure(
        message=found.message,
        remedy=found.remedy,
        node_id=error.node_id,
        class_type=error.class_type,
        exception_type=error.exception_type,
        cause=found.cause,
        doing=found.doing,
        seen=found.seen or None,
        inputs=found.inputs or None,
        traceback=found.traceback or None,
        pack=found.pack,
    )


async def _ask_after(connection: Connection, entry: HistoryEntry | None) -> AskedAfter | None:
    """Ask what a failure's diagnosis needs besides: the pack of the node's class, and the devices' memory after a run
    that had too little of it. Where the server does not say it soon, the diagnosis does without."""
    if entry is None or entry.error is None:
        return None
    from comfyui_api import diagnose  # noqa: PLC0415  (most runs do not fail)

    asked = diagnose.AskedAfter()
    case = diagnose.known_case(entry.error, (), diagnose.known_cases(reference("troubleshooting.md")))
    with anyio.move_on_after(ASKING_SECONDS), suppress(ServerError):
        if case is not None and "memory" in case.shows:
            asked = replace(asked, devices=(await connection.client.system_stats()).devices)
        described = await connection.client.object_info_of(entry.error.class_type)
        if described is not None and isinstance(module := described.get("python_module"), str):
            asked = replace(asked, python_module=module)
    return asked


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


def _message(workspace: Workspace, connection: Connection, prompt_id: str, seen: Look, status: RunStatus) -> str:
    job = workspace.jobs.find(prompt_id)
    twice = " It had arrived twice; the second was taken out of the queue." if job is not None and job.doubled else ""
    match seen.state:
        case "queued" if seen.position is None:
            return f"Waiting in the server's queue. Call poll_result again.{twice}"
        case "queued":
            before = f"{seen.position} waiting before it" if seen.position else "next in the queue"
            return f"Waiting: {before}. Call poll_result again.{twice}"
        case "running":
            return f"Running. Call poll_result again.{twice}"
        case "completed" if status.no_outputs_reason is not None:
            return _NO_OUTPUTS[status.no_outputs_reason]
        case "completed":
            made, them = count(len(status.outputs), "output"), "it" if len(status.outputs) == 1 else "them"
            return f"Done: {made}. get_output('{prompt_id}') saves {them}.{twice}"
        case "failed":
            made = " What was made before is there: get_output saves it." if status.outputs else ""
            return f"The run failed; error says where and what helps.{made}"
        case "interrupted":
            return "The run was interrupted." if seen.entry is not None else "It was taken out before it began."
        case "unreachable":
            if isinstance(seen.trouble, ComfyBusy):
                after = seen.trouble.retry_after
                when = f"in {after:.0f} s" if after else "in a little while"
                return f"The server is too busy to tell; the run is not touched by that. Call poll_result again {when}."
            if isinstance(seen.trouble, ComfyUnreachable) and connection.access.kind != "local":
                return (
                    "Nobody answers at the server's address. The run may go on there: call poll_result again when the "
                    "server can be reached."
                )
            if isinstance(seen.trouble, ComfyUnreachable):
                return (
                    "Nobody answers at the server's address. If only the way to it is broken, the run goes on: call "
                    "poll_result again. If ComfyUI itself has stopped, the run is lost, as its queue is in memory only."
                )
            return "The server does not answer in time; the run may go on there. Call poll_result again."
    return _GONE[None]


_NO_PICTURE = " It has shown no picture yet: samplers do so where ComfyUI runs with --preview-method auto."

_FOUND = "It was queued; the server calls it {0}. Call poll_result('{0}')."

_GONE: dict[GoneReason | None, str] = {
    "deleted": "It was queued from here, but somebody deleted it from the server's queue or history since.",
    "restarted": "It was queued from here, but ComfyUI restarted since, and its queue and history are lost: queue "
    "it again.",
    "uncertain": "It was sent from here, and whether it was queued cannot be told, as the server names its runs "
    "itself. Look there for a run of that time before you queue it again (list_jobs, or the server's own page).",
    "expired": "It was queued from here, but the server no longer has it: it keeps runs for some time only, or it was "
    "deleted there.",
    "not_arrived": "It was sent from here, but the server does not have it: it was lost on its way. Queue it again.",
    "unknown_id": "The server knows no such run, and it was not queued from here: the id is wrong, the run was "
    "deleted, or ComfyUI restarted since.",
    None: "It was queued from here, but the server no longer knows it: ComfyUI restarted, or it was deleted.",
}


def _perhaps(workspace: Workspace, prompt_id: str, reason: GoneReason | None) -> str:
    known = meant(prompt_id, workspace.jobs.all()) if reason == "unknown_id" else None
    return f" Did you mean '{known}'?" if known is not None else ""


def long_running(running: float, elapsed: float | None) -> str | None:
    """A word on a run that takes long, from ten minutes on: `running` seconds as this process has seen it, `elapsed`
    since it was queued, which is all that a new process knows."""
    if running >= WARNING_AFTER:
        words = f"Running for {running / 60:.0f} minutes."
    elif elapsed is not None and elapsed >= WARNING_AFTER:
        words = f"Queued {elapsed / 60:.0f} minutes ago and running now."
    else:
        return None
    return (
        f"{words} Usual are seconds to a few minutes for pictures and 15 to 30 minutes for video; there is no limit. "
        "interrupt stops it if that is not to be expected."
    )


def _progress_info(progress: Progress, prompt: Mapping[str, Any]) -> ProgressInfo:
    left = progress.seconds_left
    return ProgressInfo(
        progress.value,
        progress.max,
        progress.node_id,
        progress.class_type or _class_type(prompt, progress.node_id),
        percent=round(_percent(progress, prompt), 1) if prompt or progress.share is not None else None,
        node_seconds_left=round(left, 1) if left is not None else None,
    )


def _shown(shown: LivePreview) -> Picture | None:
    """A live picture as small as all previews are."""
    from comfyui_api.previews import preview  # noqa: PLC0415  # first needed when one is asked for

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "running"
        path.write_bytes(shown.content)
        return preview(path)


def _elapsed(workspace: Workspace, prompt_id: str, seen: Look) -> float | None:
    entry = seen.entry
    if entry is not None and entry.started_ms is not None and entry.ended_ms is not None:
        return round((entry.ended_ms - entry.started_ms) / 1000, 3)
    if entry is not None or seen.state in ("gone", "unreachable"):
        return None  # a server that does not tell when it ended: the moment of asking says nothing
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
