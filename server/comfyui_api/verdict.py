"""The verdict on a workflow: the rules over what the server has installed, and what only the server itself can tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comfyui_api.errors import ComfyUnreachable, ServerError, WorkflowUnreadable
from comfyui_api.findings import Finding, errors_in
from comfyui_api.graph import Prompt
from comfyui_api.inventory import Inventory, update_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.results import Validation
from comfyui_api.runs import FolderType
from comfyui_api.status import refresh_inventory
from comfyui_api.validate import uploads_to_look_up, validate_prompt
from comfyui_api.workflow_files import LoadedWorkflow, load_file, parse, recognise
from comfyui_api.workspace import Connection, Workspace


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
    if workflow.lstrip()[:1] in ("{", "[", "") or "\n" in workflow:
        return parse(workflow)
    return load_file(workspace.readable(workflow))


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
    inventory, trouble = workspace.known_inventory(connection)
    online, fresh = True, False
    if inventory is None or inventory.is_stale(datetime.now(UTC)):
        try:
            inventory, fresh = await refresh_inventory(connection), True
        except ServerError as exc:
            online, trouble = False, str(exc)
    if inventory is None:
        return Verdict([], [], [f"nothing is known of the server. {trouble or ''}".strip()], None)
    node_classes = inventory.node_classes()
    findings = validate_prompt(prompt, node_classes)
    if online and not fresh and errors_in(findings):
        try:
            update_classes(inventory, await _ask_again(connection, findings))
            node_classes = inventory.node_classes()
            findings = validate_prompt(prompt, node_classes)
        except ServerError as exc:
            online, trouble = False, str(exc)
    uploads = uploads_to_look_up(prompt, node_classes)
    if online and uploads:
        try:
            findings.extend(await _missing_files(connection, prompt, uploads))
            uploads = []
        except ServerError as exc:
            online, trouble = False, str(exc)
    not_checked = [] if online else [f"whether this still holds on the server: {trouble}"]
    not_checked.extend(f"whether the input file '{value}' exists (node {node})" for node, _, value in uploads)
    return Verdict(
        findings, [_rests_on(inventory, node_classes)], not_checked + _own_rules(prompt, node_classes), node_classes
    )


async def _ask_again(connection: Connection, findings: list[Finding]) -> dict[str, dict[str, Any] | None]:
    names = {finding.class_type for finding in errors_in(findings) if finding.class_type}
    return {name: await connection.client.object_info_of(name) for name in sorted(names)}


async def _missing_files(connection: Connection, prompt: Prompt, uploads: list[tuple[str, str, str]]) -> list[Finding]:
    missing = []
    for node_id, name, value in uploads:
        filename, subfolder, folder = split_load_value(value)
        if ".." in value or value.startswith("/"):
            reason, fix = "leads out of the input folder", "Use upload_image and the value that it returns."
        elif await connection.client.has_file(filename, subfolder, folder):
            continue
        else:
            reason, fix = "is not on the server", "Bring it with upload_image and use the value that it returns."
        missing.append(
            Finding(
                "error",
                "custom_validation_failed",
                f"The file '{value}' of '{name}' {reason}.",
                node_id,
                str(prompt[node_id]["class_type"]),
                name,
                value,
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


def _rests_on(inventory: Inventory, node_classes: NodeClasses) -> str:
    minutes = int(inventory.age_seconds(datetime.now(UTC)) // 60)
    age = "just now" if minutes < 1 else f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
    return (
        f"classes, required inputs, links, types, ranges and options against {len(node_classes)} node classes of "
        f"{inventory.server}, asked {age}"
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
