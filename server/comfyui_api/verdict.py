"""The verdict on a workflow: the rules over what the server has installed, and what only the server itself can tell."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio.to_thread

from comfyui_api.errors import ComfySilent, ComfyUnreachable, FileProblem, ServerError, WorkflowUnreadable
from comfyui_api.findings import Finding, errors_in
from comfyui_api.graph import Prompt
from comfyui_api.inventory import Inventory, update_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.results import Validation
from comfyui_api.runs import FolderType
from comfyui_api.status import refresh_inventory
from comfyui_api.storage import stands
from comfyui_api.validate import uploads_to_look_up, validate_prompt
from comfyui_api.workflow_files import LoadedWorkflow, load_file, parse, recognise
from comfyui_api.workspace import Connection, Workspace

ASKED_SINGLY = 20  # for more classes than these the whole inventory is asked for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What was found, and what that rests on. `node_classes` is None where nothing is known of the server."""

    findings: list[Finding]
    checked: list[str]
    not_checked: list[str]
    node_classes: NodeClasses | None


def load_workflow(workspace: Workspace, workflow: str | dict[str, Any]) -> LoadedWorkflow:
    """A workflow given as a path, as JSON text, or as JSON already."""
    if isinstance(workflow, dict):
        return recognise(workflow)
    start = workflow.lstrip("\ufeff \t\r\n")[:1]
    if start in ("{", "") or "\n" in workflow:
        return parse(workflow)
    path = workspace.readable(workflow)
    # A list is no workflow, but its error is clearer than that of a missing file; a file may well be called so.
    return parse(workflow) if start == "[" and not stands(path) else load_file(path)


def as_prompt(loaded: LoadedWorkflow) -> Prompt:
    """The prompt in a loaded workflow. Raises WorkflowUnreadable for the editor's own format."""
    if loaded.format == "ui":
        raise WorkflowUnreadable(
            f"The workflow ({loaded.source}) is in the editor's UI format, which cannot be converted yet.",
            "In ComfyUI, use Workflow > Export (API) and give that file.",
        )
    return loaded.content


async def validate_workflow(workspace: Workspace, workflow: str | dict[str, Any], server: str | None) -> Validation:
    """The verdict on a workflow. Raises ComfyUnreachable where neither a server nor an inventory can tell anything."""
    loaded = load_workflow(workspace, workflow)
    prompt = as_prompt(loaded)
    connection = workspace.connect(server)
    verdict = await judge(workspace, connection, prompt)
    if verdict.node_classes is None:
        raise ComfyUnreachable(
            f"The workflow cannot be validated: {verdict.not_checked[0]}",
            "Once check_status has reached a server, validation works offline too.",
        )
    return Validation(
        valid=not errors_in(verdict.findings),
        format=loaded.format,
        source=loaded.source,
        findings=verdict.findings,
        checked=verdict.checked,
        not_checked=verdict.not_checked,
    )


async def judge(workspace: Workspace, connection: Connection, prompt: Prompt) -> Verdict:
    """Validate by the inventory, brought up to date first where that can be done.

    What the inventory finds wrong is asked of the server again before it counts: files and packs come and go.
    """
    known = await _what_is_known(workspace, connection)
    node_classes, trouble = known.node_classes, known.trouble
    if node_classes is None:
        return Verdict([], [], [f"nothing is known of the server. {trouble or ''}".strip()], None)
    try:
        findings = await anyio.to_thread.run_sync(validate_prompt, prompt, node_classes)
    except FileProblem:  # the cache is damaged: what the server says now takes its place
        known = _Known((await refresh_inventory(connection)).node_classes, connection.inventory, fresh=True)
        node_classes, trouble = known.node_classes, None
        assert node_classes is not None
        findings = await anyio.to_thread.run_sync(validate_prompt, prompt, node_classes)
    online = known.online
    try:
        if online and not known.fresh and errors_in(findings):
            node_classes = await _asked_again(connection, node_classes, findings)
            findings = await anyio.to_thread.run_sync(validate_prompt, prompt, node_classes)
        uploads = uploads_to_look_up(prompt, node_classes)
        if online and uploads:
            findings.extend(await _missing_files(connection, prompt, uploads))
            uploads = []
    except ServerError as exc:
        online, trouble = False, str(exc)
        uploads = uploads_to_look_up(prompt, node_classes)
    not_checked = [] if online else [f"whether this still holds on the server: {trouble}"]
    if online and trouble:
        not_checked.append(f"nothing was kept for working offline: {trouble}")
    not_checked.extend(f"whether the input file '{value}' exists (node {node})" for node, _, value in uploads)
    not_checked.extend(_own_rules(prompt, node_classes))
    return Verdict(findings, [_rests_on(connection, known.inventory, node_classes)], not_checked, node_classes)


@dataclass(frozen=True)
class _Known:
    """What a verdict can rest on. `fresh`: just asked; `online`: the server was not found missing."""

    node_classes: NodeClasses | None
    inventory: Inventory | None = None
    fresh: bool = False
    online: bool = True
    trouble: str | None = None


async def _what_is_known(workspace: Workspace, connection: Connection) -> _Known:
    inventory, _ = workspace.known_inventory(connection)
    if inventory is not None and not inventory.is_stale(datetime.now(UTC)):
        try:
            return _Known(inventory.node_classes(), inventory)
        except FileProblem:
            inventory = None  # the file was broken meanwhile: the server tells anew
    try:
        refreshed = await refresh_inventory(connection)
    except ComfySilent:
        if inventory is None:
            raise  # a server that is there and silent will not take a prompt either
        return _Known(inventory.node_classes(), inventory, online=False, trouble="it gives no answer")
    except ServerError as exc:
        classes = inventory.node_classes() if inventory is not None else None
        return _Known(classes, inventory, online=False, trouble=str(exc))
    return _Known(refreshed.node_classes, refreshed.inventory, fresh=True, trouble=refreshed.trouble)


async def _asked_again(connection: Connection, node_classes: NodeClasses, findings: list[Finding]) -> NodeClasses:
    """The node classes after asking the server again for those that have errors."""
    names = {finding.class_type for finding in errors_in(findings) if finding.class_type}
    if len(names) > ASKED_SINGLY:
        return (await refresh_inventory(connection)).node_classes
    entries = {name: await connection.client.object_info_of(name) for name in sorted(names)}
    if connection.inventory is not None:
        try:
            connection.inventory = await anyio.to_thread.run_sync(update_classes, connection.inventory, entries)
        except FileProblem as exc:
            log.warning("%s", exc)  # for this verdict the answers themselves do
    return node_classes.updated(entries)


async def _missing_files(connection: Connection, prompt: Prompt, uploads: list[tuple[str, str, str]]) -> list[Finding]:
    missing = []
    for node_id, name, value in uploads:
        filename, subfolder, folder = split_load_value(value)
        if ".." in filename:
            continue  # /view never gives such a name out, though the server may have it
        if ".." in subfolder.split("/") or value.startswith(("/", "\\")):
            reason, fix = "leads out of the input folder", "Use upload_image and the value that it returns."
        elif await connection.client.has_file(filename, subfolder, folder):
            continue
        else:
            reason, fix = "is not on the server", "Bring it with upload_image and use the value that it returns."
        missing.append(
            Finding(
                "error",
                "custom_validation_failed",
                f"The file '{value[:200]}' of '{name}' {reason}.",
                node_id,
                str(prompt[node_id]["class_type"]),
                name,
                value[:200],
                fix,
            )
        )
    return missing


def split_load_value(value: str) -> tuple[str, str, FolderType]:
    """(file name, subfolder, folder) of a loader's value such as "sub/x.png [output]"."""
    folder: FolderType = "input"
    for name in ("input", "output", "temp"):
        if value.endswith(f" [{name}]"):
            folder, value = name, value.removesuffix(f" [{name}]")
            break
    subfolder, _, filename = value.replace("\\", "/").rpartition("/")
    return filename, subfolder, folder


def _rests_on(connection: Connection, inventory: Inventory | None, node_classes: NodeClasses) -> str:
    minutes = int(inventory.age_seconds(datetime.now(UTC)) // 60) if inventory is not None else 0
    age = "just now" if minutes < 1 else f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
    return (
        f"classes, required inputs, links, types, ranges and options against {len(node_classes)} node classes of "
        f"{connection.url}, asked {age}"
    )


def _own_rules(prompt: Prompt, node_classes: NodeClasses) -> list[str]:
    """What /object_info does not show of the classes in this prompt."""
    own: set[str] = set()
    dynamic: set[str] = set()
    for node in prompt.values():
        node_class = node_classes.get(str(node.get("class_type"))) if isinstance(node, dict) else None
        if node_class is None:
            continue
        if not node_class.is_core:
            own.add(node_class.class_type)
        dynamic.update(f"{node_class.class_type}.{spec.name}" for spec in node_class.inputs.values() if spec.is_dynamic)
    notes = []
    if own:
        notes.append(f"checks that node packs make themselves (VALIDATE_INPUTS): {', '.join(sorted(own)[:10])}")
    if dynamic:
        notes.append(f"inputs that appear by choice: {', '.join(sorted(dynamic)[:10])}")
    return notes
