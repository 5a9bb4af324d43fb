"""From a workflow to a run in the queue: load, override, validate, submit once; or save it where there is no server."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio

from comfyui_api.errors import (
    ComfyBusy,
    ComfySilent,
    ComfyUnreachable,
    InvalidArgument,
    PromptRejected,
    ServerError,
    UnknownName,
)
from comfyui_api.findings import Finding, errors_in, findings_of
from comfyui_api.graph import Prompt, upstream
from comfyui_api.jobs import Job
from comfyui_api.known import Known, doubt
from comfyui_api.node_class import NodeClasses
from comfyui_api.offline import WorkflowOnDisk, save_for_later
from comfyui_api.once import submit_once, take_out_double, watch_for_double
from comfyui_api.prepare import Prepared, load_workflow, place_of, prepare, some
from comfyui_api.quantities import count
from comfyui_api.repair import with_fixes
from comfyui_api.results import Submission
from comfyui_api.runs import QueuedPrompt
from comfyui_api.validate import dropped_outputs, output_nodes, partner_nodes, stops_the_server
from comfyui_api.validate.own_checks import PREFIX, is_file, is_free
from comfyui_api.verdict import Verdict, judge
from comfyui_api.workflow_files import LoadedWorkflow
from comfyui_api.workspace import Connection, Workspace

MOST_VARIATIONS = 100
# A run that starts after the socket is open is seen from its first step; without one, polling sees it later.
SOCKET_SECONDS = 0.5
POSITION_SECONDS = 3.0


@dataclass(frozen=True)
class Order:
    """What a caller wants queued. `inputs` overrides values by address, e.g. {"6.text": "a cat"}; where there are
    `variations`, one run is queued for each of these sets of overrides on top of `inputs`."""

    workflow: str | dict[str, Any]
    inputs: dict[str, Any]
    project: str | None = None
    name: str | None = None
    front: bool = False
    allow_partial: bool = False
    force: bool = False
    variations: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class _Ready:
    """A prompt that may be sent: `sending` is the part of it that will run."""

    prepared: Prepared
    verdict: Verdict
    sending: Prompt
    dropped: list[str]


@dataclass(frozen=True)
class _Sent:
    """A run that is in the queue."""

    job: Job
    receipt: QueuedPrompt
    ready: _Ready


async def queue_workflow(workspace: Workspace, order: Order, server: str | None) -> Submission:
    """Queue a workflow, refuse it with its findings, or save it because no server answers.

    Raises ComfySilent, with the run's id, where it cannot be told whether the server took it.
    """
    connection = workspace.connect(server, project=order.project)
    loaded = await load_workflow(workspace, connection, order.workflow)
    if order.variations is not None:
        return await _queue_series(workspace, connection, loaded, order)
    prepared = await prepare(workspace, connection, loaded, order.inputs)
    ready = await _made_ready(workspace, connection, loaded, order, prepared, None)
    if isinstance(ready, Submission):
        return ready
    await connection.events.connected(SOCKET_SECONDS)
    try:
        sent = await _send(workspace, connection, order, loaded, ready)
    except ComfyUnreachable as exc:
        project, name = _place_of(workspace, order, loaded)
        saved = save_for_later(workspace, ready.prepared, project=project, name=name)
        return _saved(connection, exc.message, saved, ready.prepared, ready.verdict)
    except PromptRejected as exc:
        return _rejected(connection, ready, exc)
    # A server may have given it an id of its own.
    trouble = await workspace.jobs.add(sent.job)
    return await _queued(workspace, connection, sent, trouble)


async def _made_ready(
    workspace: Workspace,
    connection: Connection,
    loaded: LoadedWorkflow,
    order: Order,
    prepared: Prepared,
    verdict: Verdict | None,
) -> _Ready | Submission:
    """Judge a prepared workflow, but for a `verdict` that is known already; the answer where it is not to be sent."""
    prompt = prepared.prompt
    if prompt is None:
        project, name = _place_of(workspace, order, loaded)
        saved = save_for_later(workspace, prepared, project=project, name=name)
        return _unconverted(connection, prepared.trouble, saved)
    verdict = verdict or await judge(workspace, connection, prompt, prepared)
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
    if deadly := stops_the_server(sending, verdict.node_classes):
        raise InvalidArgument(
            f"ComfyUI would stop working over these nodes, until it is restarted: {some(deadly)}.",
            "They have no inputs object, or an input of theirs that their class does not have is linked to a node that "
            "does not exist: mend that. This cannot be forced.",
        )
    return _Ready(prepared, verdict, sending, dropped)


async def _send(
    workspace: Workspace, connection: Connection, order: Order, loaded: LoadedWorkflow, ready: _Ready
) -> _Sent:
    """Submit once. The id is ours: noted before it is sent, so that it finds its server also where the answer is lost.

    Raises what submit_once does; a run whose arrival cannot be told is noted before.
    """
    project, name = _place_of(workspace, order, loaded)
    job = Job(str(uuid.uuid4()), connection.url, time.time(), project, name, server_name=connection.name)
    workspace.jobs.expect(job)
    try:
        receipt = await submit_once(
            workspace,
            connection,
            ready.sending,
            job,
            front=order.front,
            ui=ready.prepared.ui,
            spends_credits=bool(partner_nodes(ready.sending, ready.verdict.node_classes)),
        )
    except ComfyBusy:
        workspace.jobs.forget(job.prompt_id)  # the server did not take it
        raise
    except ComfySilent:
        await workspace.jobs.add(replace(job, unsure=True))  # it may have arrived: a later process must find it too
        raise
    noted = replace(job, prompt_id=receipt.prompt_id, number=receipt.number)
    if receipt.prompt_id != job.prompt_id:  # the server names its runs itself
        workspace.jobs.forget(job.prompt_id)
        workspace.jobs.expect(noted)
    return _Sent(noted, receipt, ready)


def _place_of(workspace: Workspace, order: Order, loaded: LoadedWorkflow) -> tuple[str | None, str]:
    """(project, name) under which a workflow is saved and noted."""
    return order.project or workspace.settings.project or None, order.name or loaded.name


async def _queue_series(
    workspace: Workspace, connection: Connection, loaded: LoadedWorkflow, order: Order
) -> Submission:
    """One run for each set of overrides. All of them are judged before the first is sent; the first that fails ends
    the series, and the answer says what was queued and what was not."""
    variations = order.variations or []
    if not 0 < len(variations) <= MOST_VARIATIONS:
        raise InvalidArgument(
            f"variations has {len(variations)} sets of overrides.", f"Give 1 to {MOST_VARIATIONS}, e.g. [{{}}, {{}}]."
        )
    series: list[_Ready] = []
    verdicts: dict[tuple[Any, ...], Verdict] = {}
    known: Known | None = None
    for index, variation in enumerate(variations):
        inputs = order.inputs | variation
        try:
            prepared = await prepare(workspace, connection, loaded, inputs, known)
        except UnknownName as exc:
            raise UnknownName(f"variations[{index}]: {exc.message} Nothing was queued.", exc.next_step) from exc
        known = prepared.known
        kind = _what_counts(prepared, inputs, series[0].verdict.node_classes) if series else ()
        ready = await _made_ready(workspace, connection, loaded, order, prepared, verdicts.get(kind))
        if isinstance(ready, Submission):
            which = f"variations[{index}] of {len(variations)}: " if ready.status == "refused" else ""
            return ready.model_copy(update={"message": which + ready.message})
        verdicts[kind or _what_counts(prepared, inputs, ready.verdict.node_classes)] = ready.verdict
        series.append(ready)
    await connection.events.connected(SOCKET_SECONDS)
    sent: list[_Sent] = []
    trouble: ServerError | None = None
    noted: str | None = None
    try:
        for ready in series:
            sent.append(await _send(workspace, connection, order, loaded, ready))
    except PromptRejected as exc:
        if not sent:
            return _rejected(connection, series[0], exc)
        reasons = " ".join(finding.message for finding in findings_of(exc.faults)[:3])
        trouble = ServerError(f"{exc.message} {reasons}", exc.next_step)
    except ComfyUnreachable as exc:
        if not sent:
            return _all_saved(workspace, connection, loaded, order, series, exc)
        trouble = exc
    except ServerError as exc:
        if not sent:
            raise type(exc)(f"variations[0] of {len(series)}: {exc.message} No other was sent.", exc.next_step) from exc
        trouble = exc
    finally:
        # Also where the caller has given up in the middle: what is queued stays known.
        with anyio.CancelScope(shield=True):
            noted = await workspace.jobs.add(*(each.job for each in sent)) if sent else None
    return await _series_queued(workspace, connection, series, sent, trouble, noted)


def _what_counts(prepared: Prepared, inputs: dict[str, Any], classes: NodeClasses | None) -> tuple[Any, ...]:
    """What a verdict depends on in these overrides: sets that are alike in it share one.

    Another number within an input's range, another text or truth value changes nothing that is checked; any other
    value stands for itself. Texts that name embeddings do too, as these are looked for.
    """
    return tuple((address, _kind(prepared, address, value, classes)) for address, value in sorted(inputs.items()))


def _kind(prepared: Prepared, address: str, value: Any, classes: NodeClasses | None) -> str:
    if address in prepared.seeds:
        return "INT"
    place = place_of(prepared.prompt or {}, address)
    if place is None or classes is None:
        return repr(value)
    class_type = str((prepared.prompt or {})[place[0]].get("class_type"))
    node_class = classes.get(class_type)
    spec = node_class.inputs.get(place[1]) if node_class is not None else None
    if spec is None or is_free(class_type, spec.name) or is_file(class_type, spec.name):
        return repr(value)
    if spec.type == "STRING" and isinstance(value, str) and "embedding" not in value and spec.name != PREFIX:
        return "STRING"
    if spec.type == "BOOLEAN" and isinstance(value, bool):
        return "BOOLEAN"
    if (spec.type == "INT" and type(value) is int) or (spec.type == "FLOAT" and type(value) in (int, float)):
        low, high = (spec.config.get(end) for end in ("min", "max"))
        if (low is None or low <= value) and (high is None or value <= high):
            return spec.type
    return repr(value)


async def _series_queued(
    workspace: Workspace,
    connection: Connection,
    series: list[_Ready],
    sent: list[_Sent],
    trouble: ServerError | None,
    noted: str | None,
) -> Submission:
    first = await _queued(workspace, connection, sent[0], noted)
    findings = {
        (found.code, found.node_id, found.input, found.message): found
        for each in sent
        for found in (*each.ready.verdict.findings, *findings_of(each.receipt.faults))
    }
    seeds = [each.ready.prepared.seeds for each in sent]
    part: dict[str, Any] = {}
    words = f"{count(len(sent), 'run')} queued."
    if trouble is not None:
        missing = list(range(len(sent), len(series)))
        part = {"status": "partly_queued", "not_queued": missing}
        unsent = f" variations {missing[1]} to {missing[-1]} were not sent." if missing[1:] else ""
        words = f"Only {len(sent)} of {len(series)} runs queued. variations[{missing[0]}] failed: {trouble}{unsent}"
    return first.model_copy(
        update={
            "prompt_id": None,
            "prompt_ids": [each.receipt.prompt_id for each in sent],
            "seeds": seeds if any(seeds) else None,
            "findings": list(findings.values()),
            "dropped_outputs": list(dict.fromkeys(node for each in sent for node in _dropped(each))),
            "message": f"{words} {_not_validated(sent[0].ready.verdict)}Follow them with poll_result(prompt_ids).",
            **part,
        }
    )


def _all_saved(
    workspace: Workspace,
    connection: Connection,
    loaded: LoadedWorkflow,
    order: Order,
    series: list[_Ready],
    reason: ComfyUnreachable,
) -> Submission:
    project, name = _place_of(workspace, order, loaded)
    saved = [save_for_later(workspace, ready.prepared, project=project, name=name) for ready in series]
    answer = _saved(connection, reason.message, saved[0], series[0].prepared, series[0].verdict)
    more = f" All {len(saved)} variations are saved; the last is {saved[-1].path}." if saved[1:] else ""
    return answer.model_copy(update={"message": answer.message + more})


async def _queued(workspace: Workspace, connection: Connection, sent: _Sent, trouble: str | None) -> Submission:
    receipt, prepared, verdict = sent.receipt, sent.ready.prepared, sent.ready.verdict
    dropped = _dropped(sent)
    position, doubled, looked = None, False, False
    with anyio.move_on_after(POSITION_SECONDS), suppress(ServerError):
        # It is queued all the same: where, poll_result tells too.
        position, doubled = await _position(workspace, connection, receipt.prompt_id)
        looked = True
    if not looked:
        watch_for_double(workspace, connection, receipt.prompt_id)
    lost = f" These outputs are left out: {some(dropped)}." if dropped else ""
    twice = " It arrived twice; the second was taken out." if doubled else ""
    stale = ""
    if prepared.ui is not None and not connection.client.keeps_ui_graph:
        stale = " This kind of server takes no UI graph along: keep the workflow's file, as the outputs do not have it."
    elif prepared.ui is not None and prepared.unwritten:
        stale = f" The workflow in the files' metadata does not show the new {some(prepared.unwritten)}."
    unnoted = f" {trouble}: name the server when you follow it from another process." if trouble else ""
    return Submission(
        status="queued",
        prompt_id=receipt.prompt_id,
        number=receipt.number,
        queue_position=position,
        seeds=[prepared.seeds] if prepared.seeds else None,
        server=connection.url,
        findings=[*verdict.findings, *findings_of(receipt.faults)],
        notes=prepared.notes or None,
        dropped_outputs=dropped,
        message=f"Queued.{twice}{lost}{stale}{unnoted} {_not_validated(verdict)}"
        f"Follow it with poll_result('{receipt.prompt_id}').",
    )


async def _position(workspace: Workspace, connection: Connection, prompt_id: str) -> tuple[int | None, bool]:
    """(how many runs wait before this one, whether a second one of it was taken out)."""
    client = connection.client
    if client.names_runs:
        return (await client.look(prompt_id)).position, False
    if client.has_large_queue:
        # Only how many there are: all of it would take the server seconds to tell. One of them is running.
        remaining = await client.queue_remaining()
        return max(0, remaining - 2), False
    queue = await client.queue()
    return queue.position(prompt_id), await take_out_double(workspace, connection, queue, prompt_id)


def _dropped(sent: _Sent) -> list[str]:
    faults = (node for fault in sent.receipt.faults for node in fault.dependent_outputs)
    return list(dict.fromkeys([*sent.ready.dropped, *faults]))


def _rejected(connection: Connection, ready: _Ready, exc: PromptRejected) -> Submission:
    """The server itself refused what was found to be sound, or was to be tried in spite of the findings."""
    if ready.verdict.node_classes is not None and not errors_in(ready.verdict.findings):
        doubt(connection)
    found = _with_known_fixes(findings_of(exc.faults), ready.prepared.prompt or {}, ready.verdict)
    return _refused(connection, ready.prepared, replace(ready.verdict, findings=found), [], [])


def _with_known_fixes(findings: list[Finding], prompt: Prompt, verdict: Verdict) -> list[Finding]:
    return with_fixes(findings, prompt, verdict.node_classes) if verdict.node_classes is not None else findings


def _saved(
    connection: Connection, reason: str, saved: WorkflowOnDisk, prepared: Prepared, verdict: Verdict
) -> Submission:
    """Kept for later, with what is wrong with it by what is known."""
    faulty = "It has findings: mend them before it is run. " if errors_in(verdict.findings) else ""
    return Submission(
        status="saved_offline",
        server=connection.url,
        findings=verdict.findings,
        repair=verdict.plan,
        notes=prepared.notes or None,
        saved_path=str(saved.path),
        message=f"{reason} {_not_validated(verdict)}{faulty}{saved.how_to_load()}",
    )


def _unconverted(connection: Connection, reason: str, saved: WorkflowOnDisk) -> Submission:
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
    offline = ""
    if verdict.unreachable is not None:
        rests_on = "; ".join(verdict.checked)
        offline = f" {verdict.unreachable} The verdict rests on {rests_on}. force=true saves the workflow as it is."
    return Submission(
        status="refused",
        server=connection.url,
        findings=verdict.findings,
        repair=verdict.plan,
        notes=prepared.notes or None,
        dropped_outputs=dropped,
        message=f"Nothing was queued: mend the findings and queue again.{partly}{offline}",
    )


def _not_validated(verdict: Verdict) -> str:
    return "" if verdict.node_classes is not None else "It was not validated, as no inventory is known. "
