"""Is the server there, what is it, and how fresh is what we know of it."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio.to_thread

from comfyui_api.errors import ServerError
from comfyui_api.inventory import Inventory, write_inventory
from comfyui_api.results import InventoryInfo, QueueCounts, Status
from comfyui_api.workspace import Connection, Workspace

STILL_WORKS = [
    "queue_workflow: saves the workflow for loading it into ComfyUI by hand",
    "validate_workflow: against the inventory, if there is one",
]


async def check_status(workspace: Workspace, server: str | None, *, refresh: bool) -> Status:
    """The state of a server. An inventory is made where there is none yet, or when `refresh` asks for it."""
    connection = workspace.connect(server)
    inventory, trouble = workspace.known_inventory(connection)
    notes = [trouble] if trouble else []
    try:
        stats = await connection.client.system_stats()
        queue = await connection.client.queue()
        if refresh or inventory is None:
            inventory = await refresh_inventory(connection)
    except ServerError as exc:
        works = STILL_WORKS if inventory else STILL_WORKS[:1]
        return Status(
            online=False,
            server=connection.url,
            inventory=_info(inventory),
            offline_reason=str(exc),
            still_works=works,
            notes=notes or None,
        )
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


async def refresh_inventory(connection: Connection) -> Inventory:
    """Ask the server for everything it has and write the inventory anew."""
    client = connection.client
    stats = await client.system_stats()
    object_info = await client.object_info()
    models = await client.models()
    connection.inventory = await anyio.to_thread.run_sync(
        lambda: write_inventory(
            connection.inventory_path, server=connection.url, stats=stats, object_info=object_info, models=models
        )
    )
    return connection.inventory


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
