"""From a workflow to a run in the queue: load, override, validate, submit once; or save it where there is no server."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
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
    UnknownName,
)
from comfyui_api.findings import Finding, errors_in, findings_of
from comfyui_api.graph import Prompt, sendable, upstream
from comfyui_api.jobs import Job
from comfyui_api.offline import how_to_load, save_for_later
from comfyui_api.repair import closest, with_fixes
from comfyui_api.results import Submission
from comfyui_api.runs import QueuedPrompt
from comfyui_api.validate import dropped_outputs, output_nodes, stops_the_server
from comfyui_api.verdict import Verdict, as_prompt, judge, load_workflow
from comfyui_api.workspace import Connection, Workspace

ADDRESSES_SHOWN = 40
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
    prompt = sendable(as_prompt(loaded))
    connection = workspace.connect(server, project=order.project)
    apply_inputs(prompt, order.inputs)
    verdict = await judge(workspace, connection, prompt)
    sending, dropped = prompt, list[str]()
    if errors_in(verdict.findings) and verdict.node_classes is not None and not order.force:
        dropped = dropped_outputs(prompt, verdict.findings, verdict.node_classes)
        lost = set(dropped)
        sound = [node for node in output_nodes(prompt, verdict.node_classes) if node not in lost]
        if not order.allow_partial or not sound:
            return _refused(connection, verdict.findings, dropped, sound)
        # Only what the sound outputs need is sent: a node class that is not installed would sink them too.
        needed = upstream(prompt, sound)
        sending = {node_id: node for node_id, node in prompt.items() if node_id in needed}
    if deadly := stops_the_server(sending):
        raise InvalidArgument(
            f"These nodes have no inputs object, and ComfyUI would stop working over them: {some(deadly)}.",
            'Give each "inputs": {…}, empty if it has none. This cannot be forced.',
        )
    # The id is ours: noted before it is sent, so that it finds its server also where the answer is lost.
    project, name = order.project or workspace.settings.project or None, order.name or loaded.name
    job = Job(str(uuid.uuid4()), connection.url, time.time(), project, name)
    workspace.jobs.expect(job)
    try:
        receipt = await _submit_once(connection, sending, job.prompt_id, front=order.front)
    except ComfyUnreachable as exc:
        saved = save_for_later(workspace, prompt, project=project, name=name)
        return _saved(connection, exc, saved, verdict)
    except PromptRejected as exc:
        return _refused(connection, _with_known_fixes(findings_of(exc.faults), prompt, verdict), [], [])
    except ComfySilent:
        await workspace.jobs.add(job)  # it may have arrived: a later process must find it too
        raise
    # A server may have given it an id of its own.
    trouble = await workspace.jobs.add(replace(job, prompt_id=receipt.prompt_id))
    return await _queued(connection, receipt, verdict, dropped, trouble)


def apply_inputs(prompt: Prompt, inputs: dict[str, Any]) -> None:
    """Set single values of a prompt by address "node id.input name", in place.

    The address is split at its first dot, as input names may have more; at a later one where only that names a node.
    Raises UnknownName with the valid addresses.
    """
    for address, value in inputs.items():
        parts = address.split(".")
        for cut in range(1, len(parts)):
            node = prompt.get(".".join(parts[:cut]))
            values = node.get("inputs") if isinstance(node, dict) else None
            if isinstance(values, dict) and (input_name := ".".join(parts[cut:])) in values:
                values[input_name] = value
                break
        else:
            raise _unknown_address(address, prompt)


def _unknown_address(address: str, prompt: Prompt) -> UnknownName:
    valid = [
        f"{node_id}.{input_name}"
        for node_id, node in prompt.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        for input_name in node["inputs"]
    ]
    node = address.partition(".")[0]
    of_node = [entry for entry in valid if entry.startswith(f"{node}.")]
    near = of_node or closest(address, valid) or valid
    return UnknownName(
        f"inputs: the workflow has no input '{address[:200]}'.",
        f"Write it as 'node id.input name'. Valid here: {some(near, ADDRESSES_SHOWN)}.",
    )


async def _submit_once(connection: Connection, prompt: Prompt, prompt_id: str, *, front: bool) -> QueuedPrompt:
    """Send a prompt so that it runs once, also where the answer is lost or cannot be read.

    The id is ours, so that the queue and the history tell whether it arrived; only if not is it sent once more.
    """
    client = connection.client
    # A run that starts after the socket is open is seen from its first step; without one, polling sees it later.
    await connection.events.connected(seconds=0.5)
    try:
        return await client.queue_prompt(prompt, prompt_id=prompt_id, front=front, workflow=None)
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
        return await client.queue_prompt(prompt, prompt_id=prompt_id, front=front, workflow=None)
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
    connection: Connection, receipt: QueuedPrompt, verdict: Verdict, dropped: list[str], trouble: str | None
) -> Submission:
    findings = list(verdict.findings)
    findings.extend(findings_of(receipt.faults))
    dropped = list(dict.fromkeys([*dropped, *(node for fault in receipt.faults for node in fault.dependent_outputs)]))
    position = None
    with anyio.move_on_after(POSITION_SECONDS), suppress(ServerError):
        # It is queued all the same: where, poll_result tells too.
        position = (await connection.client.queue()).position(receipt.prompt_id)
    lost = f" These outputs are left out: {some(dropped)}." if dropped else ""
    unnoted = f" {trouble}: name the server when you follow it from another process." if trouble else ""
    return Submission(
        status="queued",
        prompt_id=receipt.prompt_id,
        number=receipt.number,
        queue_position=position,
        server=connection.url,
        findings=findings,
        dropped_outputs=dropped,
        message=f"Queued.{lost}{unnoted} {_not_validated(verdict)}Follow it with poll_result('{receipt.prompt_id}').",
    )


def _with_known_fixes(findings: list[Finding], prompt: Prompt, verdict: Verdict) -> list[Finding]:
    return with_fixes(findings, prompt, verdict.node_classes) if verdict.node_classes is not None else findings


def _saved(connection: Connection, reason: ComfyUnreachable, saved: Path, verdict: Verdict) -> Submission:
    return Submission(
        status="saved_offline",
        server=connection.url,
        findings=verdict.findings,
        saved_path=str(saved),
        message=f"{reason.message} {_not_validated(verdict)}{how_to_load(saved)}",
    )


def _refused(connection: Connection, findings: list[Finding], dropped: list[str], sound: list[str]) -> Submission:
    partly = f" allow_partial=true would run the sound outputs {some(sound)}." if sound else ""
    return Submission(
        status="refused",
        server=connection.url,
        findings=findings,
        dropped_outputs=dropped,
        message=f"Nothing was queued: mend the findings and queue again.{partly}",
    )


def some(names: list[str], shown: int = 10) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(name[:80] for name in names[:shown]) + more


def _not_validated(verdict: Verdict) -> str:
    return "" if verdict.node_classes is not None else "It was not validated, as no inventory is known. "
