"""One submission is one run, whatever the network does to it.

The id is ours, so the queue and the history tell whether it arrived; ComfyUI does not refuse an id that it has already,
and would run it twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio

from comfyui_api.errors import (
    AlreadySent,
    ComfyBusy,
    ComfyFailed,
    ComfySilent,
    ComfyUnreachable,
    ServerError,
    UnexpectedReply,
)
from comfyui_api.exchange import Refused
from comfyui_api.graph import Prompt
from comfyui_api.jobs import Job
from comfyui_api.runs import QueuedPrompt, QueueState
from comfyui_api.workspace import Connection, Workspace

LOOK_UP_SECONDS = 20.0
SENDS = 6
LAST_SEND_AFTER = 60.0  # seconds; a caller who has waited for longer decides for himself
# Looked again after these pauses before it is sent again: what was held up on its way may still arrive.
PAUSES = (0.0, 0.3, 1.0)
TRIES = 3  # of one look-up that fails at once
GUARD_SECONDS = 300.0
FIRST_GLANCE, LONGEST_GLANCE = 1.0, 10.0
GLANCE_PAUSE = 0.2  # a busy queue changes often


async def submit_once(
    workspace: Workspace,
    connection: Connection,
    prompt: Prompt,
    job: Job,
    *,
    front: bool,
    ui: dict[str, Any] | None,
    spends_credits: bool = False,
) -> QueuedPrompt:
    """Send a prompt so that it runs once, also where the answer is lost, late or cannot be read.

    Raises ComfyUnreachable where it certainly was not sent, PromptRejected where the server refused it, and ComfySilent
    with its id where it cannot be told whether it arrived. `spends_credits`: it has partner nodes.
    """
    if connection.client.names_runs:
        return await _submit_unnamed(
            workspace, connection, prompt, job, front=front, ui=ui, spends_credits=spends_credits
        )
    client, prompt_id = connection.client, job.prompt_id
    began, heard = time.monotonic(), connection.events.heard
    for attempt in range(1, SENDS + 1):
        try:
            receipt = await client.queue_prompt(
                prompt, prompt_id=prompt_id, front=front, workflow=ui, spends_credits=spends_credits
            )
        except (ComfySilent, ComfyFailed, UnexpectedReply) as exc:
            trouble: ServerError = exc
        except ComfyUnreachable as exc:
            if attempt == 1:
                raise
            trouble = exc
        else:
            connection.events.expect_news(heard)
            if attempt > 1:
                watch_for_double(workspace, connection, prompt_id)
            return receipt
        try:
            # Who answered has read all of it; of anything else a part may still be on its way.
            answered = not isinstance(trouble, ComfySilent | ComfyUnreachable)
            if await _has_arrived(connection, prompt_id, PAUSES[:1] if answered else PAUSES):
                watch_for_double(workspace, connection, prompt_id)
                return QueuedPrompt(prompt_id, None)
        except ServerError as exc:
            raise _unknown_outcome(trouble, prompt_id, exc) from exc
        if attempt == 1 and not isinstance(trouble, ComfySilent):
            raise trouble  # the server did answer, and did not take it
        if time.monotonic() - began > LAST_SEND_AFTER:
            break
    raise ComfySilent(
        f"{trouble.message} The run {prompt_id} was sent and is not in the server's queue.",
        f"{trouble.next_step} It may still arrive: ask poll_result('{prompt_id}') before you queue it again.",
    ) from trouble


async def _submit_unnamed(
    workspace: Workspace,
    connection: Connection,
    prompt: Prompt,
    job: Job,
    *,
    front: bool,
    ui: dict[str, Any] | None,
    spends_credits: bool,
) -> QueuedPrompt:
    """Submit to a server that names its runs itself, so that a lost answer leaves no id to ask for.

    Where the server counts a submission only once, it is sent again; where not, never. Then its runs are searched for
    what was sent.
    """
    client, mark = connection.client, job.prompt_id
    trouble: ServerError | None = None
    for pause in PAUSES:
        await anyio.sleep(pause)
        try:
            return await client.queue_prompt(
                prompt, prompt_id=mark, front=front, workflow=ui, spends_credits=spends_credits
            )
        except AlreadySent as exc:
            trouble = trouble or exc
            break
        except (ComfySilent, ComfyFailed, UnexpectedReply) as exc:
            # Who is too busy for a key that counts once has not taken it, and who refuses it neither.
            if (isinstance(exc, ComfyBusy) and client.counts_once) or isinstance(exc, Refused):
                raise
            trouble = exc
        except ComfyUnreachable:
            if trouble is None:
                raise
        if not client.counts_once:
            break
    assert trouble is not None
    others = set(workspace.jobs.all()) - {mark}
    try:
        with anyio.fail_after(LOOK_UP_SECONDS):
            found = await client.find_sent(mark, prompt, job.queued_at, others)
    except TimeoutError:
        raise _unknown_run(trouble, "Its runs could not be searched in time.") from trouble
    except ServerError as exc:
        raise _unknown_run(trouble, exc.message) from exc
    if found is None:
        if isinstance(trouble, ComfyBusy):
            raise trouble
        raise _unknown_run(trouble, "Among its newest runs there is none that is known to be this one.")
    return QueuedPrompt(found, None)


def _unknown_run(trouble: ServerError, searched: str) -> ComfySilent:
    sent = "The server has had it" if isinstance(trouble, AlreadySent) else "It was sent"
    return ComfySilent(
        f"{trouble.message} {sent}, and whether it was queued cannot be told: {searched}",
        "Do not queue it again yet: look for a run of this moment there (list_jobs, or the server's own page), as a "
        "second one would be paid for too.",
    )


def _unknown_outcome(first: ServerError, prompt_id: str, then: ServerError) -> ComfySilent:
    return ComfySilent(
        f"{first.message} Whether the run {prompt_id} was queued cannot be told: {then.message}",
        f"{then.next_step} Do not queue it again yet: call poll_result('{prompt_id}') once the server answers.",
    )


async def _has_arrived(connection: Connection, prompt_id: str, pauses: Sequence[float]) -> bool:
    """Whether the server has this run, or gets it within the next moments.

    Raises ServerError where it does not say so in time.
    """
    with anyio.move_on_after(LOOK_UP_SECONDS):
        for pause in pauses:
            await anyio.sleep(pause)
            if await _stands(connection, prompt_id):
                return True
        return False
    raise ComfySilent(f"It did not answer within {LOOK_UP_SECONDS:g} s.", "Wait a little.")


async def found_again(workspace: Workspace, connection: Connection, job: Job) -> str | None:
    """The server's own id of a run whose answer was lost, where its runs show now which it is. It is noted."""
    found: str | None = None
    with anyio.move_on_after(LOOK_UP_SECONDS), suppress(ServerError):
        others = set(workspace.jobs.all()) - {job.prompt_id}
        found = await connection.client.find_sent(job.prompt_id, {}, job.queued_at, others)
    if found is not None:
        await workspace.jobs.add(replace(job, prompt_id=found, unsure=False))
    return found


async def _stands(connection: Connection, prompt_id: str) -> bool:
    client = connection.client
    for tried in range(1, TRIES + 1):
        try:
            # In this order: a run goes from the queue to the history, never back.
            return (await client.queue()).find(prompt_id) is not None or await client.history(prompt_id) is not None
        except (ComfySilent, ComfyUnreachable):
            if tried == TRIES:
                raise
            await anyio.sleep(0.2 * tried)
    raise AssertionError("unreachable")


async def take_out_double(
    workspace: Workspace, connection: Connection, queue: QueueState, prompt_id: str, *, ran: bool = False
) -> bool:
    """Take the second of two equal runs out of the queue while it waits, and note that. Whether that was done.

    `ran`: the first is no longer in the queue. Only ever called for runs of our own.
    """
    if queue.position(prompt_id) is None or (queue.times(prompt_id) < 2 and not ran):
        return False
    # In turn, and looked at anew: two of these at once would take both out.
    async with connection.stopping:
        queue = await connection.client.queue()
        waits = queue.position(prompt_id) is not None
        if not waits or (queue.times(prompt_id) < 2 and await connection.client.history(prompt_id) is None):
            return False
        await connection.client.delete_pending([prompt_id])  # takes out one of them (execution.py, delete_queue_item)
    job = workspace.jobs.find(prompt_id) or Job(prompt_id, connection.url, time.time(), server_name=connection.name)
    await workspace.jobs.add(replace(job, doubled=True))
    return True


def watch_for_double(workspace: Workspace, connection: Connection, prompt_id: str) -> None:
    """From now on look for some time whether a run that may have been sent twice arrives once more."""
    uncertain = connection.client.maybe_sent_twice
    guarded = bool(uncertain)
    uncertain[prompt_id] = time.monotonic() + GUARD_SECONDS
    if not guarded:
        workspace.tasks.start_soon(_guard, workspace, connection)


async def _guard(workspace: Workspace, connection: Connection) -> None:
    """One watch over all runs of a server that may have been sent twice, until each has been watched long enough."""
    uncertain, glance = connection.client.maybe_sent_twice, FIRST_GLANCE
    ran: set[str] = set()
    while uncertain:
        known = set(uncertain)
        with connection.events.watch(*known) as watch:
            await watch.changed(glance)
        glance = FIRST_GLANCE if set(uncertain) - known else min(2 * glance, LONGEST_GLANCE)
        for prompt_id in [each for each, until in uncertain.items() if until < time.monotonic()]:
            del uncertain[prompt_id]
        with suppress(ServerError):
            queue = await connection.client.queue()
            waiting = {item.prompt_id for item in queue.pending}
            for prompt_id in waiting & set(uncertain):
                await take_out_double(workspace, connection, queue, prompt_id, ran=prompt_id in ran)
            ran |= set(uncertain) - waiting - {item.prompt_id for item in queue.running}
        await anyio.sleep(GLANCE_PAUSE)
