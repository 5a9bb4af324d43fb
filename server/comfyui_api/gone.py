"""Why a server does not know a run: it was deleted, the server restarted, it never arrived, or the id is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import anyio

from comfyui_api.errors import ServerError
from comfyui_api.jobs import Job
from comfyui_api.repair import closest
from comfyui_api.runs import HistoryEntry
from comfyui_api.workspace import Connection, Workspace

GoneReason: TypeAlias = Literal["deleted", "restarted", "not_arrived", "unknown_id", "uncertain", "expired"]
CLOCKS_APART = 30.0  # seconds by which the server's clock may differ from ours
ASK_SECONDS = 3.0
SHORTEST_START = 4  # characters of an id that may stand for it


async def why_gone(workspace: Workspace, connection: Connection, prompt_id: str) -> GoneReason | None:
    """The reason, where what is known here and on the server tells it."""
    job = workspace.jobs.find(prompt_id)
    if job is None:
        return "unknown_id"
    if job.unsure:
        return "uncertain" if connection.client.names_runs else "not_arrived"
    if connection.client.names_runs:
        return "expired"
    events = connection.events
    if events.unbroken_since is not None and events.unbroken_since < job.queued_at:
        return "deleted"  # a restart would have ended the socket
    known: list[HistoryEntry] = []
    with anyio.move_on_after(ASK_SECONDS):
        try:
            known = await connection.client.history_page(1, oldest=True)
        except ServerError:
            return None
    if (reason := by_history(job, known)) is not None:
        return reason
    return "restarted" if events.broken_at is not None and events.broken_at > job.queued_at else None


def by_history(job: Job, known: Sequence[HistoryEntry]) -> Literal["deleted", "restarted"] | None:
    """What the runs that the server still knows say: it counts its prompts from its start on, and forgets all runs."""
    for entry in known:
        moment = entry.created_ms or entry.started_ms
        if moment is None:
            continue
        later = moment / 1000 - job.queued_at
        if later < -CLOCKS_APART:
            return "deleted"  # it knows what came before
        if later > CLOCKS_APART and job.number is not None and entry.number is not None:
            return "restarted" if abs(entry.number) <= abs(job.number) else None
    return None


def meant(prompt_id: str, known: Iterable[str]) -> str | None:
    """The one known run that an id may stand for: a cut or mistyped one."""
    ids = list(known)
    if len(prompt_id) >= SHORTEST_START:
        starting = [each for each in ids if each.startswith(prompt_id)]
        if len(starting) == 1:
            return starting[0]
    return next(iter(closest(prompt_id, ids)), None)
