"""From a workflow to a run in the queue: load, override, validate, submit once; or save it where there is no server."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio

from comfyui_api.errors import (
    ComfyFailed,
    ComfySilent,
    ComfyUnreachable,
    InvalidArgument,
    PromptRejected,
    ServerError,
    UnexpectedReply,
)
from comfyui_api.findings import Finding, errors_in, findings_of
from comfyui_api.graph import Prompt, upstream
from comfyui_api.jobs import Job
from comfyui_api.known import doubt
from comfyui_api.offline import SavedWorkflow, save_for_later
from comfyui_api.prepare import Prepared, load_workflow, prepare, some
from comfyui_api.repair import with_fixes
from comfyui_api.results import Submission
from comfyui_api.runs import QueuedPrompt
from comfyui_api.validate import dropped_outputs, output_nodes, stops_the_server
from comfyui_api.verdict import Verdict, judge
from comfyui_api.workspace import Connection, Workspace

LOOK_UP_SECONDS = 20.0
POSITION_SECONDS = 3.0


@dataclass(frozen=True)
class Order:
    """What a caller wants queued. `inputs` overrides values by address, e.g. {"6.text": "a cat"}."""

    workflow: str | dict[str, Any]
    inputs: dict[str, Any]
    project: str | None = None
    name: str | None = None
    front: bool = False
    allow_partial: bool = False
    force: bool = False


async def queue_workflow(workspace: Workspace, order: Order, server: str | None) -> Submission:
    """Queue a workflow, refuse it with its findings, or save it because no server answers.

    Raises ComfySilent, with the run's id, where it cannot be told whether the server took it.
    """
    loaded = load_workflow(workspace, order.workflow)
    connection = workspace.connect(server, project=order.project)
    prepared = await prepare(workspace, connection, loaded, order.inputs)
    project, name = order.project or workspace.settings.project or None, order.name or loaded.name
    prompt = prepared.prompt
    if prompt is None:
        saved = save_for_later(workspace, prepared, project=project, name=name)
        return _unconverted(connection, prepared.trouble, saved)
    verdict = await judge(workspace, connection, prompt, prepared)
    sending, dropped = prompt, list[str]()
    if errors_in(verdict.findings) and verdict.node_classes is not None and not order.force:
        dropped = dropped_outputs(prompt, verdict.findings, verdict.node_classes)
        lost = set(dropped)
        sound = [node for node in output_nodes(prompt, verdict.node_classes) if node not in lost]
        if not order.allow_partial or not sound:
            return _refused(connection, prepared, verdict, dropped, sound)
        # Only what the sound outputs need is sent: a node class that is not installed would sink them too.
        needed = upstream(prompt, sound)
        sending = {node_id: node for node_id, node in prompt.items() if node_id in needed}
    if deadly := stops_the_server(sending):
        raise InvalidArgument(
            f"These nodes have no inputs object, and ComfyUI would stop working over them: {some(deadly)}.",
            'Give each "inputs": {…}, empty if it has none. This cannot be forced.',
        )
    # The id is ours: noted before it is sent, so that it finds its server also where the answer is lost.
    job = Job(str(uuid.uuid4()), connection.url, time.time(), project, name)
    workspace.jobs.expect(job)
    try:
        receipt = await _submit_once(connection, sending, job.prompt_id, front=order.front, ui=prepared.ui)
    except ComfyUnreachable as exc:
        saved = save_for_later(workspace, prepared, project=project, name=name)
        return _saved(connection, exc, saved, prepared, verdict)
    except PromptRejected as exc:
        if verdict.node_classes is not None and not errors_in(verdict.findings):
            doubt(connection)
        found = _with_known_fixes(findings_of(exc.faults), prompt, verdict)
        return _refused(connection, prepared, replace(verdict, findings=found), [], [])
    except ComfySilent:
        await workspace.jobs.add(job)  # it may have arrived: a later process must find it too
        raise
    # A server may have given it an id of its own.
    trouble = await workspace.jobs.add(replace(job, prompt_id=receipt.prompt_id))
    return await _queued(connection, receipt, prepared, verdict, dropped, trouble)


async def _submit_once(
    connection: Connection, prompt: Prompt, prompt_id: str, *, front: bool, ui: dict[str, Any] | None
) -> QueuedPrompt:
    """Send a prompt so that it runs once, also where the answer is lost or cannot be read.

    The id is ours, so that the queue and the history tell whether it arrived; only if not is it sent once more.
    """
    client = connection.client
    # A run that starts after the socket is open is seen from its first step; without one, polling sees it later.
    await connection.events.connected(seconds=0.5)
    try:
        return await client.queue_prompt(prompt, prompt_id=prompt_id, front=front, workflow=ui)
    except (ComfySilent, ComfyFailed, UnexpectedReply) as exc:
        first = exc
    try:
        if await _has_arrived(connection, prompt_id):
            return QueuedPrompt(prompt_id, None)
    except ServerError as exc:
        raise _unknown_outcome(first, prompt_id, exc) from exc
    if not isinstance(first, ComfySilent):
        raise first  # the server did answer, and did not take it
    try:
        return await client.queue_prompt(prompt, prompt_id=prompt_id, front=front, workflow=ui)
    except PromptRejected:
        raise
    except ServerError as exc:
        raise _unknown_outcome(first, prompt_id, exc) from exc


def _unknown_outcome(first: ServerError, prompt_id: str, then: ServerError) -> ComfySilent:
    return ComfySilent(
        f"{first.message} Whether the run {prompt_id} was queued cannot be told: {then.message}",
        f"{then.next_step} Do not queue it again yet: call poll_result('{prompt_id}') once the server answers.",
    )


async def _has_arrived(connection: Connection, prompt_id: str) -> bool:
    """Whether the server has this run. Raises ComfySilent where it does not say so in time."""
    client = connection.client
    with anyio.move_on_after(LOOK_UP_SECONDS):
        if (await client.queue()).find(prompt_id) is not None:
            return True
        return await client.history(prompt_id) is not None
    raise ComfySilent(f"It did not answer within {LOOK_UP_SECONDS:g} s.", "Wait a little.")


async def _queued(
    connection: Connection,
    receipt: QueuedPrompt,
    prepared: Prepared,
    verdict: Verdict,
    dropped: list[str],
    trouble: str | None,
) -> Submission:
    findings = list(verdict.findings)
    findings.extend(findings_of(receipt.faults))
    dropped = list(dict.fromkeys([*dropped, *(node for fault in receipt.faults for node in fault.dependent_outputs)]))
    position = None
    with anyio.move_on_after(POSITION_SECONDS), suppress(ServerError):
        # It is queued all the same: where, poll_result tells too.
        position = (await connection.client.queue()).position(receipt.prompt_id)
    lost = f" These outputs are left out: {some(dropped)}." if dropped else ""
    stale = ""
    if prepared.ui is not None and prepared.unwritten:
        stale = f" The workflow in the files' metadata does not show the new {some(prepared.unwritten)}."
    unnoted = f" {trouble}: name the server when you follow it from another process." if trouble else ""
    return Submission(
        status="queued",
        prompt_id=receipt.prompt_id,
        number=receipt.number,
        queue_position=position,
        server=connection.url,
        findings=findings,
        notes=prepared.notes or None,
        dropped_outputs=dropped,
        message=f"Queued.{lost}{stale}{unnoted} {_not_validated(verdict)}"
        f"Follow it with poll_result('{receipt.prompt_id}').",
    )


def _with_known_fixes(findings: list[Finding], prompt: Prompt, verdict: Verdict) -> list[Finding]:
    return with_fixes(findings, prompt, verdict.node_classes) if verdict.node_classes is not None else findings


def _saved(
    connection: Connection, reason: ComfyUnreachable, saved: SavedWorkflow, prepared: Prepared, verdict: Verdict
) -> Submission:
    return Submission(
        status="saved_offline",
        server=connection.url,
        findings=verdict.findings,
        repair=verdict.plan,
        notes=prepared.notes or None,
        saved_path=str(saved.path),
        message=f"{reason.message} {_not_validated(verdict)}{saved.how_to_load()}",
    )


def _unconverted(connection: Connection, reason: str, saved: SavedWorkflow) -> Submission:
    """A UI workflow, and neither a server nor an inventory to convert it with."""
    return Submission(
        status="saved_offline",
        server=connection.url,
        saved_path=str(saved.path),
        message=f"{reason} Nothing is known of the server, so that it was neither validated nor converted. "
        f"{saved.how_to_load()}".strip(),
    )


def _refused(
    connection: Connection, prepared: Prepared, verdict: Verdict, dropped: list[str], sound: list[str]
) -> Submission:
    partly = f" allow_partial=true would run the sound outputs {some(sound)}." if sound else ""
    return Submission(
        status="refused",
        server=connection.url,
        findings=verdict.findings,
        repair=verdict.plan,
        notes=prepared.notes or None,
        dropped_outputs=dropped,
        message=f"Nothing was queued: mend the findings and queue again.{partly}",
    )


def _not_validated(verdict: Verdict) -> str:
    return "" if verdict.node_classes is not None else "It was not validated, as no inventory is known. "
