"""Is the server there, what is it, and how fresh is what we know of it."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio

from comfyui_api.errors import ComfyUnreachable, FileProblem, InvalidArgument, NotOffered, ServerError
from comfyui_api.inventory import Inventory
from comfyui_api.others import ask_others
from comfyui_api.results import InventoryInfo, OtherServer, QueueCounts, Status
from comfyui_api.runs import QueueState
from comfyui_api.stocktake import refresh_inventory
from comfyui_api.workspace import Connection, Workspace


async def check_status(workspace: Workspace, server: str | None, *, refresh: bool) -> Status:
    """The state of a server; where none is named, of the default one, and in short of the other configured ones.

    An inventory is made where there is none of the server's own telling yet, or when `refresh` asks for it.
    """
    if server is not None:
        return await _status(workspace, server, refresh=refresh)
    workspace.connect()  # what is wrong with the setting itself is said before anything is asked
    others: list[OtherServer] = []
    notes: list[str] = []

    async def ask() -> None:
        try:
            others.extend(await ask_others(workspace))
        except (InvalidArgument, FileProblem) as exc:
            notes.append(str(exc))

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            status = await _status(workspace, None, refresh=refresh)
    except BaseExceptionGroup as group:  # as it was raised: the group is ours
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
    return status.model_copy(update={"servers": others or None, "notes": [*(status.notes or ()), *notes] or None})


async def _status(workspace: Workspace, server: str | None, *, refresh: bool) -> Status:
    connection = workspace.connect(server)
    inventory, trouble = workspace.known_inventory(connection)
    notes = [trouble] if trouble else []
    try:
        stats = await connection.client.system_stats()
        queue = await _queue(connection)
    except ServerError as exc:
        return Status(
            online=False,
            server=connection.url,
            inventory=_info(inventory),
            offline_reason=str(exc),
            still_works=_still_works(exc, inventory),
            notes=notes or None,
        )
    if refresh or inventory is None or inventory.mode == "offline" or inventory.classes is None:
        try:
            refreshed = await refresh_inventory(connection)
        except ServerError as exc:
            notes.append(f"What is installed could not be asked: {exc}")
        else:
            # One that could not be kept is none that could be told of later.
            inventory = refreshed.inventory if refreshed.trouble is None else None
            notes.extend([refreshed.trouble] if refreshed.trouble else [])
            notes.extend(refreshed.remarks)
    return Status(
        online=True,
        server=connection.url,
        comfyui_version=_told(stats.comfyui_version),
        os=_told(stats.os),
        python_version=_told(stats.python_version),
        pytorch_version=_told(stats.pytorch_version),
        devices=list(stats.devices),
        queue=QueueCounts(len(queue.running), len(queue.pending)) if queue is not None else None,
        inventory=_info(inventory),
        notes=notes or None,
    )


async def _queue(connection: Connection) -> QueueState | None:
    """What runs and waits; None where this kind of server does not tell."""
    try:
        return await connection.client.queue()
    except NotOffered:
        return None


def _told(words: str) -> str | None:
    return None if words == "unknown" else words


def _still_works(reason: ServerError, inventory: Inventory | None) -> list[str]:
    works = []
    if isinstance(reason, ComfyUnreachable):
        works.append("queue_workflow: saves the workflow for loading it into ComfyUI by hand")
    if inventory is not None and inventory.classes is not None:
        works.append("validate_workflow: against the inventory")
    return works


def _info(inventory: Inventory | None) -> InventoryInfo | None:
    if inventory is None:
        return None
    now = datetime.now(UTC)
    return InventoryInfo(
        path=str(inventory.path),
        age_seconds=round(inventory.age_seconds(now)),
        stale=inventory.is_stale(now),
        node_classes=inventory.class_count,
        models=inventory.model_count,
    )
