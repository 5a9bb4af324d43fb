"""One workflow and several servers: which can run it as it is, and what each of them lacks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import anyio

from comfyui_api.errors import (
    AccessDenied,
    ComfyError,
    ComfySilent,
    ComfyUnreachable,
    InvalidArgument,
    NotOffered,
    ServerError,
    WorkflowUnreadable,
)
from comfyui_api.findings import errors_in
from comfyui_api.known import Known, known_before
from comfyui_api.others import OTHERS_SECONDS, shortened
from comfyui_api.results import ServerVerdict, Validation
from comfyui_api.saved_workflows import is_on_server
from comfyui_api.servers import usable_url
from comfyui_api.verdict import Verdict, examine
from comfyui_api.verdict import validate_workflow as validate_on_one
from comfyui_api.workspace import Workspace

EVERY = "all"
SERVERS_LIMIT = 50
EXAMINED_AT_ONCE = 16  # of those that answer: each may have 100 MB of node classes to tell
SERVER_SECONDS = 60.0  # for one of several, which may have to tell all its node classes first
NAMES_SHOWN = 20


@dataclass(frozen=True)
class _Told:
    row: ServerVerdict
    validation: Validation | None = None


async def validate_workflow(
    workspace: Workspace, workflow: str | dict[str, Any], server: str | list[str] | None
) -> Validation:
    """The verdict on a workflow: of one server, of several, or of every configured one for "all".

    Of several it is that of the best one, with a row for each in `servers`. Raises ComfyUnreachable where nothing is
    known of any.
    """
    if isinstance(server, str) and server.lstrip().startswith("["):  # some clients send lists as JSON text
        server = _from_json(server)
    if server is None or (isinstance(server, str) and server != EVERY):
        return await validate_on_one(workspace, workflow, server)
    names = _named(workspace, server)
    told: dict[str | None, _Told] = {}
    unreadable: list[ComfyError] = []
    at_once = anyio.CapacityLimiter(EXAMINED_AT_ONCE)

    async def ask(name: str | None) -> None:
        try:
            told[name] = await _ask(workspace, workflow, name, at_once)
        except WorkflowUnreadable as exc:  # it is so for every server
            unreadable.append(exc)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
    if unreadable:
        raise unreadable[0]
    ranked = sorted((told[name] for name in names), key=_rank)
    rows = [each.row for each in ranked]
    best = ranked[0].validation
    if best is None:
        reasons = " ".join(f"{row.server}: {row.reason}" for row in rows[:5])
        raise ComfyUnreachable(
            f"The workflow cannot be validated by any of these servers. {reasons}", "check_status asks them again."
        )
    return best.model_copy(update={"servers": rows})


def _from_json(text: str) -> list[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidArgument("`server` is no list of names.", 'Write e.g. ["gpu", "http://127.0.0.1:8188"].')
    return names


def _named(workspace: Workspace, server: str | list[str]) -> list[str | None]:
    """The servers that are meant, each once; None is the default one."""
    if isinstance(server, str) or EVERY in server:
        return [None, *(entry.name for entry in workspace.servers.others())]
    names = list(dict.fromkeys(name.strip() for name in server))
    if not names or not all(names):
        raise InvalidArgument("The list of servers is empty.", 'Name them, or give "all" for every configured one.')
    if len(names) > SERVERS_LIMIT:
        raise InvalidArgument(f"{len(names)} servers are too many.", f"Name up to {SERVERS_LIMIT}.")
    return [*names]


async def _ask(
    workspace: Workspace, workflow: str | dict[str, Any], name: str | None, at_once: anyio.CapacityLimiter
) -> _Told:
    """The verdict of one server. All are looked for side by side: one that is away keeps no other waiting."""
    row = ServerVerdict(_called(workspace, name), online=False)
    try:
        row, known = await _reached(workspace, name, row)
        if known is not None and isinstance(workflow, str) and is_on_server(workflow):
            return _Told(replace(row, reason=shortened(known.trouble or "")))  # it is there, so nothing can be told
        async with at_once:
            with anyio.move_on_after(SERVER_SECONDS):
                validation, verdict = await examine(workspace, workflow, name, given=known)
                return _Told(_judged(row, validation, verdict), validation)
    except WorkflowUnreadable:
        raise
    except ComfyError as exc:
        return _Told(replace(row, reason=shortened(str(exc))))
    return _Told(replace(row, online=False, reason=f"It gave no answer within {SERVER_SECONDS:g} s."))


def _called(workspace: Workspace, name: str | None) -> str:
    """How a server is named in its row: without the password or token that its address may hold."""
    if name is None:
        return workspace.servers.default.name or workspace.servers.default.url
    if "://" in name and (url := usable_url(name)) is not None:
        return url
    return "an address of this form" if set(name) & set("@?#") else name[:200]


async def _reached(workspace: Workspace, name: str | None, row: ServerVerdict) -> tuple[ServerVerdict, Known | None]:
    """Whether the server is there now, which a fresh inventory does not tell, and how busy it is; of one that does not
    answer also what was last known, so that it is not waited for once more."""
    connection = workspace.connect(name)
    missing: ServerError = ComfySilent(f"It gave no answer within {OTHERS_SECONDS:g} s.")
    with anyio.move_on_after(OTHERS_SECONDS):
        try:
            await connection.client.system_stats()
            row = replace(row, online=True)
            # Comfy Cloud tells its system to everybody, and its queue by the right key only.
            return replace(row, waiting=await connection.client.queue_remaining()), None
        except NotOffered:
            return row, None
        except (ComfyUnreachable, ComfySilent) as exc:
            missing = exc
        except AccessDenied as exc:
            return replace(row, online=False, reason=shortened(str(exc))), None
        except ServerError as exc:
            return row if row.online else replace(row, reason=shortened(str(exc))), None
    if row.online:
        return row, None
    row = replace(row, reason=shortened(f"By what was last known of it: {missing}"))
    return row, known_before(workspace, connection, missing)


def _judged(row: ServerVerdict, validation: Validation, verdict: Verdict) -> ServerVerdict:
    """The row of a server with what it lacks. What is missing by name is not counted again."""
    errors = errors_in(validation.findings)
    packs = [pack.title for pack in verdict.repair.packs]
    models = [f"{model.folder}/{model.file}" if model.folder else model.file for model in verdict.repair.models]
    files = {model.file for model in verdict.repair.models}
    classes = {str(finding.received) for finding in errors if finding.code == "missing_node_type"}
    other = Counter(
        finding.code
        for finding in errors
        if finding.code != "missing_node_type" and not (isinstance(finding.received, str) and finding.received in files)
    )
    return replace(
        row,
        valid=validation.valid,
        errors=len(errors),
        node_classes=sorted(classes)[:NAMES_SHOWN] or None,
        packs=packs[:NAMES_SHOWN] or None,
        models=models[:NAMES_SHOWN] or None,
        other=dict(other) or None,
    )


def _rank(told: _Told) -> tuple[bool, bool, bool, int, int]:
    """The best first: those that can run it, of them those that answer, those that lack the least, and the idle."""
    row = told.row
    return row.valid is None, not row.valid, not row.online, row.errors or 0, row.waiting or 0
