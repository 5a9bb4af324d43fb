"""Stop runs and free memory, and say truthfully what came of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Literal

import anyio

from comfyui_api.errors import InvalidArgument, NotOffered
from comfyui_api.follow import look
from comfyui_api.jobs import Job
from comfyui_api.quantities import count
from comfyui_api.results import FreedMemory, Interruption, StoppedRun
from comfyui_api.runs import FINAL_STATES, Device
from comfyui_api.workspace import Connection, Workspace

STOP_SECONDS = 5.0  # most steps are shorter; of a longer one the answer says so
FREE_SECONDS = 1.0
MOST_DOUBLES = 5
NOTICEABLE = 16 * 2**20  # bytes; less is what other programs on the device do meanwhile


async def interrupt(
    workspace: Workspace, prompt_id: str | None, server: str | None, *, everything: bool
) -> Interruption:
    """Stop one run wherever it stands, or everything on the server.

    Raises InvalidArgument where neither an id nor everything is asked for: a run of somebody else is never stopped by
    accident.
    """
    if prompt_id and everything:
        raise InvalidArgument("Both prompt_id and everything were given.", "Give one of them.")
    if not prompt_id and not everything:
        raise InvalidArgument(
            "Nothing was named to be stopped.", "Give the prompt_id of a run, or everything=true for all runs."
        )
    connection = workspace.connect(server, prompt_id=prompt_id)
    if not prompt_id:
        return await _stop_all(workspace, connection)
    # In turn: of two calls for the same run, the second one must see what the first one did.
    async with connection.stopping:
        job = workspace.jobs.find(prompt_id)
        if job is not None and job.stopped:
            return Interruption(stopped=[], state="interrupted", message=_NOTHING_TO_STOP["interrupted"])
        return await _stop_one(workspace, connection, prompt_id)


async def _stop_one(workspace: Workspace, connection: Connection, prompt_id: str) -> Interruption:
    before = await look(connection, prompt_id)
    if before.state in FINAL_STATES:
        return Interruption(stopped=[], state=before.state, message=_NOTHING_TO_STOP[before.state])
    if connection.client.names_runs:
        return await _cancel(workspace, connection, prompt_id, "pending" if before.state == "queued" else "running")
    if before.state == "queued":
        await connection.client.delete_pending([prompt_id])
        after = await look(connection, prompt_id)
        for _ in range(MOST_DOUBLES):
            if after.state == "queued":
                # The same id waits more than once, and one is taken out at a time.
                await connection.client.delete_pending([prompt_id])
                after = await look(connection, prompt_id)
        if after.state == "gone":
            await _note_stopped(workspace, connection, [prompt_id])
            stopped = [StoppedRun(prompt_id, "pending")]
            return Interruption(stopped=stopped, state="interrupted", message="It was taken out of the queue.")
        if after.state in FINAL_STATES:
            return Interruption(stopped=[], state=after.state, message=_NOTHING_TO_STOP[after.state])
    return await _stop_running(connection, prompt_id)


async def _stop_running(connection: Connection, prompt_id: str) -> Interruption:
    """Interrupt and watch until it has ended: ComfyUI stops between two steps, not within one."""
    deadline = time.monotonic() + STOP_SECONDS
    with connection.events.watch(prompt_id) as watch:
        await connection.client.interrupt(prompt_id)
        after = await look(connection, prompt_id)
        while after.state == "running" and (left := deadline - time.monotonic()) > 0:
            await watch.changed(min(1.0, left))
            after = await look(connection, prompt_id)
    if after.state == "interrupted":
        stopped = [StoppedRun(prompt_id, "running")]
        return Interruption(stopped=stopped, state="interrupted", message="It was running and is stopped.")
    if after.state == "running":
        message = "ComfyUI was told to stop it and will do so at its next step; poll_result tells when."
        return Interruption(stopped=[], state="running", message=message)
    return Interruption(stopped=[], state=after.state, message=_NOTHING_TO_STOP.get(after.state, "It is not running."))


async def _cancel(
    workspace: Workspace, connection: Connection, prompt_id: str, was: Literal["running", "pending"]
) -> Interruption:
    """Stop a run on a server that has one way for it, wherever the run stands, and watch until it has ended."""
    deadline = time.monotonic() + STOP_SECONDS
    with connection.events.watch(prompt_id) as watch:
        await connection.client.cancel(prompt_id)
        after = await look(connection, prompt_id)
        while after.state not in FINAL_STATES and (left := deadline - time.monotonic()) > 0:
            await watch.changed(min(1.0, left))
            after = await look(connection, prompt_id)
    if after.state == "gone":
        await _note_stopped(workspace, connection, [prompt_id])
    if after.state in ("interrupted", "gone"):
        words = "It was taken out before it began." if was == "pending" else "It was running and is stopped."
        return Interruption(stopped=[StoppedRun(prompt_id, was)], state="interrupted", message=words)
    if after.state not in FINAL_STATES:
        message = "The server was told to stop it and will do so at its next step; poll_result tells when."
        return Interruption(stopped=[], state=after.state, message=message)
    return Interruption(stopped=[], state=after.state, message=_NOTHING_TO_STOP[after.state])


async def _cancel_all(workspace: Workspace, connection: Connection) -> Interruption:
    """Stop all runs that such a server lists: those of the account, or what came through it."""
    try:
        queue = await connection.client.queue()
    except NotOffered as exc:
        raise NotOffered(
            f"{exc.message} So it cannot be told what runs there, and nothing was stopped.",
            "Stop each run by its prompt_id; list_jobs tells those that were queued from here.",
        ) from exc
    waiting = {item.prompt_id for item in queue.pending}
    stopped: list[StoppedRun] = []
    left: list[str] = []
    for item in (*queue.pending, *queue.running):  # none of the waiting ones is to begin meanwhile
        was: Literal["running", "pending"] = "pending" if item.prompt_id in waiting else "running"
        ended = await _cancel(workspace, connection, item.prompt_id, was)
        stopped.extend(ended.stopped)
        left.extend([item.prompt_id] if ended.state not in FINAL_STATES else [])
    if left:
        told = f"{', '.join(left)} was told to stop and will do so at its next step."
        return Interruption(stopped=stopped, state="running", message=f"{count(len(stopped), 'run')} stopped; {told}")
    if not stopped:
        return Interruption(stopped=[], state="gone", message="Nothing was running or waiting.")
    return Interruption(stopped=stopped, state="interrupted", message=f"{count(len(stopped), 'run')} stopped.")


async def _stop_all(workspace: Workspace, connection: Connection) -> Interruption:
    if connection.client.names_runs:
        return await _cancel_all(workspace, connection)
    queue = await connection.client.queue()
    stopped: list[StoppedRun] = []
    still_running: list[str] = []
    if queue.pending:
        # Pending ones first: none of them may move up when the running one ends.
        await connection.client.delete_pending([item.prompt_id for item in queue.pending])
        left = await connection.client.queue()
        taken_out = [item.prompt_id for item in queue.pending if left.find(item.prompt_id) is None]
        # The first ones may have run meanwhile: they go in order, so the first that did not ends the question.
        while taken_out and await connection.client.history(taken_out[0]) is not None:
            del taken_out[0]
        await _note_stopped(workspace, connection, taken_out)
        stopped.extend(StoppedRun(prompt_id, "pending") for prompt_id in taken_out)
    for item in (await connection.client.queue()).running:
        ended = await _stop_running(connection, item.prompt_id)
        stopped.extend(ended.stopped)
        if ended.state == "running":
            still_running.append(item.prompt_id)
    if still_running:
        told = f"{', '.join(still_running)} was told to stop and will do so at its next step."
        return Interruption(stopped=stopped, state="running", message=f"{count(len(stopped), 'run')} stopped; {told}")
    if not stopped:
        return Interruption(stopped=[], state="gone", message="Nothing was running or waiting.")
    return Interruption(stopped=stopped, state="interrupted", message=f"{count(len(stopped), 'run')} stopped.")


async def _note_stopped(workspace: Workspace, connection: Connection, prompt_ids: list[str]) -> None:
    """A run that is taken out of the queue leaves no trace on the server: we keep one."""
    known = workspace.jobs.all()
    jobs = [
        known.get(prompt_id) or Job(prompt_id, connection.url, time.time(), server_name=connection.name)
        for prompt_id in prompt_ids
    ]
    await workspace.jobs.add(*(replace(job, stopped=True) for job in jobs))


async def free_vram(workspace: Workspace, server: str | None, *, unload_models: bool, free_memory: bool) -> FreedMemory:
    """Let ComfyUI give memory back. It does so at once when idle, and after the current run when busy."""
    if not unload_models and not free_memory:
        raise InvalidArgument("Nothing was asked to be freed.", "Set unload_models or free_memory to true.")
    client = workspace.connect(server).client
    before = (await client.system_stats()).devices
    try:
        busy = bool((await client.queue()).running)
    except NotOffered:
        busy = False  # it will hardly free memory on demand, and says so below
    await client.free(unload_models=unload_models, free_memory=free_memory)
    after = (await client.system_stats()).devices
    if busy:
        message = "A run is using the models: they are unloaded when it ends."
        return FreedMemory(before=list(before), after=list(after), applied="after_current_run", message=message)
    # The server frees in another thread and does not say when: look until the figures move, for one second.
    deadline = time.monotonic() + FREE_SECONDS
    while _free(after) < _free(before) + NOTICEABLE and time.monotonic() < deadline:
        await anyio.sleep(0.1)
        after = (await client.system_stats()).devices
    gained = _free(after) - _free(before)
    words = (
        f"{gained / 2**20:,.0f} MB more are free." if gained >= NOTICEABLE else "No memory worth mentioning was held."
    )
    return FreedMemory(before=list(before), after=list(after), applied="now", message=words)


def _free(devices: tuple[Device, ...]) -> int:
    return sum(device.vram_free for device in devices)


_NOTHING_TO_STOP = {
    "completed": "It had already finished; nothing was stopped.",
    "failed": "It had already failed; nothing was stopped.",
    "interrupted": "It had already been interrupted.",
    "gone": "The server knows no such run; nothing was stopped.",
}
