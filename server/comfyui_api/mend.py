"""Gather what mending rests on: the references, the workflow's own links, and what a running server tells besides."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import anyio
import anyio.to_thread

from comfyui_api.errors import ServerError
from comfyui_api.findings import Finding, Repair
from comfyui_api.graph import Prompt
from comfyui_api.import_failures import ImportFailure
from comfyui_api.knowledge import model_tables, node_packs
from comfyui_api.known import Known, classes_of
from comfyui_api.model_sources import ModelSources
from comfyui_api.node_packs import NodePacks
from comfyui_api.packs import ClaimingPack, NodeReplacement
from comfyui_api.repair.classes import PackKnowledge
from comfyui_api.repair.model_inputs import is_model_file
from comfyui_api.repair.plan import Knowledge, files_of_unknown_classes, mended
from comfyui_api.runs import Device
from comfyui_api.validate import output_nodes
from comfyui_api.workspace import Connection, Workspace


@dataclass
class _Told:
    """What a running server tells, as the answers come in."""

    replacements: dict[str, list[NodeReplacement]] = field(default_factory=dict)
    failures: tuple[ImportFailure, ...] = ()
    claims: dict[str, list[ClaimingPack]] = field(default_factory=dict)
    models: ModelSources = field(default_factory=ModelSources)
    devices: tuple[Device, ...] = ()


async def mend(
    workspace: Workspace, connection: Connection, known: Known, prompt: Prompt, ui: Any, findings: list[Finding]
) -> tuple[list[Finding], Repair]:
    """The findings with the fixes that all knowledge gives, warnings that only it gives, and the plan over them.

    Only what these findings need is read and asked for; what a server does not tell is done without.
    """
    classes = {str(finding.received) for finding in findings if finding.code == "missing_node_type"}
    files = {
        str(finding.received)
        for finding in findings
        if finding.code == "value_not_in_list" and is_model_file(finding.received)
    }
    files |= {file for _, file in files_of_unknown_classes(findings, prompt)}
    inventory = known.inventory
    # Loaders on Windows take "sub\\x"; workflows come from anywhere.
    installed = inventory.models if inventory is not None else {}
    models = {folder: {_plain(file): size for file, size in files.items()} for folder, files in installed.items()}
    packs = await anyio.to_thread.run_sync(node_packs) if classes else NodePacks.none()
    sources = ModelSources()
    if files:
        tables = await anyio.to_thread.run_sync(model_tables, workspace.home)
        sources = tables.merged(ModelSources.of_workflow(ui))
    told = _Told()
    if known.online:
        unclaimed = {name for name in classes if not packs.that_have(name)}
        unknown = any(not sources.find(file) for file in files)
        has_sizes = any(size for folder in models.values() for size in folder.values())
        await _ask(connection, told, classes=classes, unclaimed=unclaimed, models=unknown, devices=has_sizes)
    knowledge = Knowledge(
        packs=PackKnowledge(
            packs,
            inventory.custom_nodes if inventory is not None else {},
            told.failures,
            inventory.comfyui_version if inventory is not None else None,
            told.claims,
        ),
        sources=told.models.merged(sources),
        models=models,
        models_are_newer=inventory is not None and _later(inventory.models_updated, inventory.classes_updated),
        embeddings=frozenset(inventory.embeddings) if inventory is not None and known.online else None,
        replacements={old: new[0] for old, new in told.replacements.items() if new},
        devices=told.devices,
    )
    node_classes = classes_of(known)
    outputs = output_nodes(prompt, node_classes)

    def mend_all() -> tuple[list[Finding], Repair]:
        return mended(findings, prompt, outputs, node_classes, knowledge)

    told_findings, repair = await anyio.to_thread.run_sync(mend_all)
    if known.online and (failures := await _failures_of(connection, knowledge.packs, repair)):
        knowledge = replace(knowledge, packs=replace(knowledge.packs, failures=failures))
        told_findings, repair = await anyio.to_thread.run_sync(mend_all)
    return told_findings, repair


async def _failures_of(
    connection: Connection, packs: PackKnowledge, repair: Repair
) -> tuple[ImportFailure, ...] | None:
    """With the reasons that only the server's Manager still knows: packs that are there and do not give their classes.
    None where it knows none."""
    reasons = {failure.pack for failure in packs.failures if failure.exception is not None}
    silent = {pack.folder for pack in repair.packs if pack.state in ("outdated", "failed_to_import")} - reasons
    found = [
        failure
        for folder, pack in packs.installed.items()
        if folder in silent and (failure := await connection.client.manager_import_failure(folder, pack)) is not None
    ]
    return (*found, *packs.failures) if found else None


def _later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one > other


def _plain(file: str) -> str:
    return file.replace("\\", "/")


async def _ask(
    connection: Connection, told: _Told, *, classes: set[str], unclaimed: set[str], models: bool, devices: bool
) -> None:
    """Ask side by side; the client makes nothing of what a server does not know."""
    client = connection.client

    async def replacements() -> None:
        told.replacements = await client.node_replacements()

    async def failures() -> None:
        log = await client.startup_log()
        told.failures = log.failures if log is not None else ()

    async def claims() -> None:
        told.claims = await client.manager_packs(unclaimed) or {}

    async def listed_models() -> None:
        told.models = ModelSources(await client.manager_models() or ())

    async def free_memory() -> None:
        with suppress(ServerError):
            told.devices = (await client.system_stats()).devices

    questions: list[Callable[[], Coroutine[Any, Any, None]]] = []
    questions += [replacements, failures] if classes else []
    questions += [claims] if unclaimed else []
    questions += [listed_models] if models else []
    questions += [free_memory] if devices else []
    async with anyio.create_task_group() as tasks:
        for question in questions:
            tasks.start_soon(question)
