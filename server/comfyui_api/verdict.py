"""The verdict on a workflow: the rules over what the server has installed, and what only the server itself can tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfyui_api.dynamic_inputs import DYNAMIC_GROUP
from comfyui_api.errors import ComfyUnreachable, NotOffered, ServerError
from comfyui_api.findings import Finding, Repair, errors_in
from comfyui_api.graph import Prompt
from comfyui_api.known import Known, asked_again, classes_of, told_by_file, what_is_known, with_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.prepare import Prepared, load_workflow, overridable, prepare
from comfyui_api.quantities import count
from comfyui_api.results import Validation
from comfyui_api.validate import (
    PARTNER_NODE,
    LookedUp,
    dropped_outputs,
    files_to_look_up,
    output_nodes,
    validate_prompt,
)
from comfyui_api.validate.files import LoadValue
from comfyui_api.validate.links import wildcard_links
from comfyui_api.workflow_files import INLINE
from comfyui_api.workspace import Connection, Workspace

_SHOWN = 10


@dataclass(frozen=True)
class Verdict:
    """What was found, how to mend it, and what that rests on. `node_classes` is None where none are known."""

    findings: list[Finding]
    checked: list[str]
    not_checked: list[str]
    node_classes: NodeClasses | None
    repair: Repair = field(default_factory=Repair)
    unreachable: str | None = None
    """That nobody listens at the server's address, where it is so."""
    online: bool = True

    @property
    def plan(self) -> Repair | None:
        """What would make it run; None where nothing is to be installed or updated."""
        return self.repair if self.repair != Repair() else None


async def validate_workflow(
    workspace: Workspace, workflow: str | dict[str, Any], server: str | None, object_info: str | None = None
) -> Validation:
    """The verdict on a workflow; by a saved /object_info instead of a server where its path is given.

    Raises ComfyUnreachable where neither a server nor an inventory can tell anything, and NotOffered where the server
    is of a kind that does not.
    """
    validation, _ = await examine(workspace, workflow, server, object_info)
    return validation


async def examine(
    workspace: Workspace,
    workflow: str | dict[str, Any],
    server: str | None,
    object_info: str | None = None,
    given: Known | None = None,
) -> tuple[Validation, Verdict]:
    """The verdict as it is told, and what it rests on: by what is `given`, where it is. See validate_workflow."""
    connection = workspace.connect(server)
    loaded = await load_workflow(workspace, connection, workflow)
    if object_info is not None:
        given = told_by_file(workspace.readable(object_info))
    prepared = await prepare(workspace, connection, loaded, {}, given)
    known = prepared.known or given or await what_is_known(workspace, connection)
    prepared = replace(prepared, known=known)
    if prepared.prompt is None or known.node_classes is None:
        raise known.lacking(
            "The workflow cannot be validated",
            "Once check_status has reached a server, validation works offline too; so does it with a saved "
            "/object_info (comfyui-api inventory refresh --object-info FILE).",
        )
    verdict = await judge(workspace, connection, prepared.prompt, prepared)
    outputs = output_nodes(prepared.prompt, classes_of(known))
    dropped = dropped_outputs(prepared.prompt, verdict.findings, classes_of(known))
    inputs = await _inputs(connection, known, prepared)
    validation = Validation(
        valid=not errors_in(verdict.findings),
        format=loaded.format,
        source=loaded.source,
        findings=verdict.findings,
        dropped_outputs=dropped if dropped and dropped != outputs else None,
        repair=verdict.plan,
        notes=[note for note in prepared.notes if note.code != "unknown_class"] or None,  # the findings have them
        inputs=inputs or None,
        checked=verdict.checked,
        not_checked=verdict.not_checked,
    )
    return validation, verdict


async def _inputs(connection: Connection, known: Known, prepared: Prepared) -> dict[str, Any]:
    """What can be set in a workflow. Of a prompt that the caller wrote itself, nothing; of one in a file what matters,
    as its addresses are to be seen there."""
    loaded, prompt = prepared.loaded, prepared.prompt
    if prompt is None or (loaded.ui is None and loaded.source == INLINE):
        return {}
    only_main = loaded.ui is None
    _, inputs = await with_classes(connection, known, lambda classes: overridable(prompt, classes, only_main=only_main))
    return inputs


async def judge(workspace: Workspace, connection: Connection, prompt: Prompt, prepared: Prepared) -> Verdict:
    """Validate by what is known of the server, asked for where the caller has not done so.

    What the inventory finds wrong is asked of the server again before it counts: files and packs come and go.
    """
    known = prepared.known or await what_is_known(workspace, connection)
    if known.node_classes is None:
        return Verdict([], [], [f"nothing is known of the server. {known.trouble or ''}".strip()], None)
    known, findings = await _validated(connection, known, prompt, {})
    files: dict[str, bool] = {}
    untold: dict[str, bool] = {}
    try:
        if known.online and not known.fresh and errors_in(findings):
            named = {finding.class_type for finding in errors_in(findings) if finding.class_type}
            known = await asked_again(connection, known, named)
            known, findings = await _validated(connection, known, prompt, {})
        if known.online:
            for place in files_to_look_up(prompt, classes_of(known)):
                try:
                    files[place.value] = files.get(place.value) or await _exists(connection, known, place)
                except NotOffered:
                    untold[place.value] = True  # it may be there: that is not found fault with, and said
    except ServerError as exc:
        nobody = isinstance(exc, ComfyUnreachable)
        known = replace(known, online=False, trouble=str(exc), unreachable=nobody)
    if files or untold:
        known, findings = await _validated(connection, known, prompt, files | untold)
    from comfyui_api.mend import mend  # noqa: PLC0415  # with all that it knows: the server starts without it

    ui = prepared.ui if prepared.ui is not None else prepared.loaded.content
    findings, repair = await mend(workspace, connection, known, prompt, ui, findings)
    findings = [_with_account(finding, has_key=connection.client.has_account_key) for finding in findings]
    return Verdict(
        findings,
        [_rests_on(connection, known)],
        _not_checked(known, prompt, files),
        known.node_classes,
        repair,
        known.trouble if known.unreachable else None,
        known.online,
    )


def _with_account(finding: Finding, *, has_key: bool) -> Finding:
    """A partner node's finding with whether its run will be paid for."""
    if finding.code != PARTNER_NODE:
        return finding
    if has_key:
        return replace(finding, message=f"{finding.message} The account's key will be sent along.")
    words = "No key of an account is set, so that it will fail: set COMFYUI_API_KEY to one of platform.comfy.org."
    return replace(finding, message=f"{finding.message} {words}")


async def _validated(
    connection: Connection, known: Known, prompt: Prompt, files: dict[str, bool]
) -> tuple[Known, list[Finding]]:
    return await with_classes(connection, known, lambda classes: validate_prompt(prompt, classes, files))


async def _exists(connection: Connection, known: Known, place: LookedUp) -> bool:
    named = LoadValue.of(place.value)
    if "\\" in place.value and not _is_windows(known):
        return False  # a letter of the name like any other there, which /view would take for a folder
    if ".." in named.filename:
        return True  # /view never gives such a name out, though the server may have it
    return bool(named.filename) and await connection.client.has_file(named.filename, named.subfolder, named.folder)


def _is_windows(known: Known) -> bool:
    """By what the server says of its system (os.name, or sys.platform in recent versions)."""
    system = known.inventory.system if known.inventory is not None else {}
    return str(system.get("os", "nt")).startswith(("nt", "win"))


def _rests_on(connection: Connection, known: Known) -> str:
    inventory = known.inventory
    against = (
        f"classes, required inputs, links, types, ranges and options against "
        f"{count(len(classes_of(known)), 'node class', 'node classes')}"
    )
    if known.source is not None:
        return f"{against} of {known.source}"
    if inventory is not None and inventory.mode == "offline":
        return (
            f"{against} of the inventory of {connection.url}, which was last read from files; classes of {_age(known)}"
        )
    told = connection.access.inventory
    if told is not None and told != connection.url:  # an API v2 has no node classes of its own
        where = told if "://" in told else Path(told).name
        return f"{against} of {where}, the inventory of {connection.url}, asked {_age(known)}"
    return f"{against} of {connection.url}, asked {_age(known)}"


def _age(known: Known) -> str:
    if known.inventory is None or known.fresh:
        return "just now"
    updated = known.inventory.classes_updated or known.inventory.last_updated
    minutes = int(max(0.0, (datetime.now(UTC) - updated).total_seconds()) // 60)
    if minutes < 120:
        return "just now" if minutes < 1 else f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def _not_checked(known: Known, prompt: Prompt, files: dict[str, bool]) -> list[str]:
    """What this verdict cannot tell, so that nobody takes it for more than it is."""
    notes = []
    if not known.online:
        notes.append(f"whether this still holds on the server: {known.trouble}")
    elif known.trouble:
        notes.append(f"nothing was kept for working offline: {known.trouble}")
    notes += [
        f"whether the input file '{place.value[:100]}' exists (node {place.node_id})"
        for place in files_to_look_up(prompt, classes_of(known))
        if place.value not in files
    ]
    own: set[str] = set()
    wild: set[str] = set()
    remote: set[str] = set()
    growing: set[str] = set()
    for node in prompt.values():
        node_class = classes_of(known).get(str(node.get("class_type"))) if isinstance(node, dict) else None
        if node_class is None:
            continue
        if not node_class.is_core:
            own.add(node_class.class_type)
        wild.update(wildcard_links(node, node_class, prompt, classes_of(known)))
        for spec in node_class.inputs.values():
            if spec.is_combo and spec.options is None and not spec.is_upload:
                remote.add(f"{node_class.class_type}.{spec.name}")
            if spec.type == DYNAMIC_GROUP:
                growing.add(f"{node_class.class_type}.{spec.name}")
    for what, names in (
        ("checks that node packs make themselves (VALIDATE_INPUTS)", own),
        ("links of packs' wildcard types, which older servers may refuse", wild),
        ("options that the server does not list (remote)", remote),
        ("inputs that appear in rows", growing),
    ):
        if names:
            notes.append(f"{what}: {', '.join(sorted(names)[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}")
    return notes
