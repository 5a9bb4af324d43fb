"""The verdict on a workflow: the rules over what the server has installed, and what only the server itself can tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comfyui_api.errors import ComfyUnreachable, ServerError
from comfyui_api.findings import Finding, errors_in
from comfyui_api.graph import Prompt
from comfyui_api.known import Known, asked_again, classes_of, what_is_known, with_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.prepare import load_workflow, overridable, prepare
from comfyui_api.results import Validation
from comfyui_api.runs import FolderType
from comfyui_api.validate import uploads_to_look_up, validate_prompt
from comfyui_api.workspace import Connection, Workspace


@dataclass(frozen=True)
class Verdict:
    """What was found, and what that rests on. `node_classes` is None where nothing is known of the server."""

    findings: list[Finding]
    checked: list[str]
    not_checked: list[str]
    node_classes: NodeClasses | None


async def validate_workflow(workspace: Workspace, workflow: str | dict[str, Any], server: str | None) -> Validation:
    """The verdict on a workflow. Raises ComfyUnreachable where neither a server nor an inventory can tell anything."""
    loaded = load_workflow(workspace, workflow)
    connection = workspace.connect(server)
    prepared = await prepare(workspace, connection, loaded, {})
    known = prepared.known or await what_is_known(workspace, connection)
    if prepared.prompt is None or known.node_classes is None:
        raise ComfyUnreachable(
            f"The workflow cannot be validated: nothing is known of the server. {known.trouble or ''}".strip(),
            "Once check_status has reached a server, validation works offline too.",
        )
    verdict = await judge(workspace, connection, prepared.prompt, known)
    return Validation(
        valid=not errors_in(verdict.findings),
        format=loaded.format,
        source=loaded.source,
        findings=verdict.findings,
        notes=prepared.notes or None,
        inputs=overridable(prepared.prompt) if loaded.ui is not None else None,
        checked=verdict.checked,
        not_checked=verdict.not_checked,
    )


async def judge(workspace: Workspace, connection: Connection, prompt: Prompt, known: Known | None = None) -> Verdict:
    """Validate by what is known of the server, asked for where the caller has not done so.

    What the inventory finds wrong is asked of the server again before it counts: files and packs come and go.
    """
    known = known or await what_is_known(workspace, connection)
    if known.node_classes is None:
        return Verdict([], [], [f"nothing is known of the server. {known.trouble or ''}".strip()], None)

    def validate(node_classes: NodeClasses) -> list[Finding]:
        return validate_prompt(prompt, node_classes)

    known, findings = await with_classes(connection, known, validate)
    online, trouble = known.online, known.trouble
    try:
        if online and not known.fresh and errors_in(findings):
            named = {finding.class_type for finding in errors_in(findings) if finding.class_type}
            known = await asked_again(connection, known, named)
            known, findings = await with_classes(connection, known, validate)
        uploads = uploads_to_look_up(prompt, classes_of(known))
        if online and uploads:
            findings.extend(await _missing_files(connection, prompt, uploads))
            uploads = []
    except ServerError as exc:
        online, trouble = False, str(exc)
        uploads = uploads_to_look_up(prompt, classes_of(known))
    not_checked = [] if online else [f"whether this still holds on the server: {trouble}"]
    if online and trouble:
        not_checked.append(f"nothing was kept for working offline: {trouble}")
    not_checked.extend(f"whether the input file '{value}' exists (node {node})" for node, _, value in uploads)
    not_checked.extend(_own_rules(prompt, classes_of(known)))
    return Verdict(findings, [_rests_on(connection, known)], not_checked, known.node_classes)


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


def _rests_on(connection: Connection, known: Known) -> str:
    inventory = known.inventory
    minutes = int(inventory.age_seconds(datetime.now(UTC)) // 60) if inventory is not None else 0
    age = "just now" if minutes < 1 else f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
    return (
        f"classes, required inputs, links, types, ranges and options against {len(classes_of(known))} node classes of "
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
