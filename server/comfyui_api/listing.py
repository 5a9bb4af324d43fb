"""What a server runs, what waits there and what it has lately run, ours and other people's."""

from __future__ import annotations

import time
from collections.abc import Mapping

from comfyui_api.errors import NotOffered, UnexpectedReply
from comfyui_api.follow import outputs_of
from comfyui_api.jobs import Job
from comfyui_api.results import JobInfo, JobList, QueueCounts
from comfyui_api.runs import HistoryEntry, QueueItem, RunState
from comfyui_api.workspace import Connection, Workspace

MOST = 100
ERROR_SHOWN = 150


async def list_jobs(workspace: Workspace, server: str | None, *, limit: int) -> JobList:
    """The queue and the newest `limit` runs of the history; the runs that were queued from here, where a server does
    not list its runs. Raises the ServerErrors of asking."""
    connection = workspace.connect(server)
    limit = min(limit, MOST)
    try:
        queue = await connection.client.queue()
    except NotOffered as exc:
        return await _only_ours(workspace, connection, limit, exc)
    ended = await _recent(connection, limit) if limit else []
    ours = workspace.jobs.all()
    counts = QueueCounts(len(queue.running), len(queue.pending))
    more = len(queue.pending) - limit
    unshown = f" ({more} more than shown)" if more > 0 else ""
    return JobList(
        server=connection.url,
        counts=counts,
        running=[_waiting(connection, item, ours, None) for item in queue.running],
        pending=[_waiting(connection, item, ours, at) for at, item in enumerate(queue.pending[:limit])],
        recent=[_ended(connection, entry, ours) for entry in reversed(ended)],
        message=f"{counts.running} running, {counts.pending} waiting{unshown}, {len(ended)} of those that ended.",
    )


async def _only_ours(workspace: Workspace, connection: Connection, limit: int, reason: NotOffered) -> JobList:
    """The newest runs that were queued from here, each asked for by its id."""
    ours = {prompt_id: job for prompt_id, job in workspace.jobs.all().items() if job.server == connection.url}
    ids = [prompt_id for prompt_id, job in ours.items() if not job.unsure][-limit:] if limit else []
    looks = await connection.client.looks(ids[::-1])
    running = [seen.item for seen in looks.values() if seen.state == "running" and seen.item is not None]
    pending = [seen.item for seen in looks.values() if seen.state == "queued" and seen.item is not None]
    ended = [seen.entry for prompt_id in ids[::-1] if (seen := looks[prompt_id]).entry is not None]
    counts = QueueCounts(len(running), len(pending))
    return JobList(
        server=connection.url,
        counts=counts,
        running=[_waiting(connection, item, ours, None, state="running") for item in running],
        pending=[_waiting(connection, item, ours, looks[item.prompt_id].position, state="queued") for item in pending],
        recent=[_ended(connection, entry, ours) for entry in ended if entry is not None],
        message=f"{reason.message} Of the {len(ids)} newest that were queued from here {counts.running} are running, "
        f"{counts.pending} waiting, and {len(ended)} have ended.",
    )


async def _recent(connection: Connection, limit: int) -> list[HistoryEntry]:
    """The newest runs that have ended. Of a history too large to be read the newest few."""
    try:
        return await connection.client.history_page(limit)
    except UnexpectedReply:
        return await connection.client.history_page(min(limit, 3))


def _waiting(
    connection: Connection,
    item: QueueItem,
    ours: Mapping[str, Job],
    position: int | None,
    state: RunState | None = None,
) -> JobInfo:
    job = ours.get(item.prompt_id)
    since = job.queued_at if job is not None else item.created_ms / 1000 if item.created_ms is not None else None
    return JobInfo(
        prompt_id=item.prompt_id,
        state=state or ("running" if position is None else "queued"),
        ours=job is not None or item.client_id == connection.client.client_id,
        queue_position=position,
        seconds=round(max(0.0, time.time() - since), 1) if since is not None else None,
        text=item.text,
        name=job.name if job is not None else None,
    )


def _ended(connection: Connection, entry: HistoryEntry, ours: Mapping[str, Job]) -> JobInfo:
    job = ours.get(entry.prompt_id)
    timed = entry.started_ms is not None and entry.ended_ms is not None
    error = entry.error
    return JobInfo(
        prompt_id=entry.prompt_id,
        state=entry.state,
        ours=job is not None or entry.client_id == connection.client.client_id,
        seconds=round(((entry.ended_ms or 0) - (entry.started_ms or 0)) / 1000, 3) if timed else None,
        outputs=entry.output_count if entry.output_count is not None else len(outputs_of(entry)),
        text=entry.text,
        name=job.name if job is not None else None,
        error=f"{error.class_type}: {error.exception_message}"[:ERROR_SHOWN] if error is not None else None,
    )
