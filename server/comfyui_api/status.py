"""Is the server there, what is it, and how fresh is what we know of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import anyio.to_thread

from comfyui_api.errors import ComfyUnreachable, FileProblem, ServerError
from comfyui_api.inventory import Inventory, write_inventory
from comfyui_api.node_class import NodeClasses
from comfyui_api.results import InventoryInfo, QueueCounts, Status
from comfyui_api.workspace import Connection, Workspace


@dataclass(frozen=True)
class Refreshed:
    """What a server said it has. `inventory` is None where it could not be kept, and `trouble` says why."""

    node_classes: NodeClasses
    inventory: Inventory | None = None
    trouble: str | None = None


async def check_status(workspace: Workspace, server: str | None, *, refresh: bool) -> Status:
    """The state of a server. An inventory is made where there is none yet, or when `refresh` asks for it."""
    connection = workspace.connect(server)
    inventory, trouble = workspace.known_inventory(connection)
    notes = [trouble] if trouble else []
    try:
        stats = await connection.client.system_stats()
        queue = await connection.client.queue()
    except ServerError as exc:
        return Status(
            online=False,
            server=connection.url,
            inventory=_info(inventory),
            offline_reason=str(exc),
            still_works=_still_works(exc, inventory),
            notes=notes or None,
        )
    if refresh or inventory is None:
        try:
            refreshed = await refresh_inventory(connection)
        except ServerError as exc:
            notes.append(f"What is installed could not be asked: {exc}")
        else:
            inventory = refreshed.inventory
            notes.extend([refreshed.trouble] if refreshed.trouble else [])
    return Status(
        online=True,
        server=connection.url,
        comfyui_version=stats.comfyui_version,
        os=stats.os,
        python_version=stats.python_version,
        pytorch_version=stats.pytorch_version,
        devices=list(stats.devices),
        queue=QueueCounts(len(queue.running), len(queue.pending)),
        inventory=_info(inventory),
        notes=notes or None,
    )


async def refresh_inventory(connection: Connection) -> Refreshed:
    """Ask the server for everything it has and write the inventory anew."""
    asked = connection.inventory
    async with connection.refreshing:
        if connection.inventory is not None and connection.inventory is not asked:
            # Another call did it while this one waited.
            return Refreshed(connection.inventory.node_classes(), connection.inventory)
        return await _refresh(connection)


async def _refresh(connection: Connection) -> Refreshed:
    client = connection.client
    stats = await client.system_stats()
    object_info = await client.object_info()
    models = await client.models()
    try:
        inventory = connection.inventory = await anyio.to_thread.run_sync(
            lambda: write_inventory(
                connection.inventory_path, server=connection.url, stats=stats, object_info=object_info, models=models
            )
        )
    except FileProblem as exc:
        return Refreshed(NodeClasses.from_object_info(object_info), trouble=str(exc))
    return Refreshed(inventory.node_classes(), inventory)


def _still_works(reason: ServerError, inventory: Inventory | None) -> list[str]:
    works = []
    if isinstance(reason, ComfyUnreachable):
        works.append("queue_workflow: saves the workflow for loading it into ComfyUI by hand")
    if inventory is not None:
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
