"""Is the server there, what is it, and how fresh is what we know of it."""

from __future__ import annotations

from datetime import UTC, datetime

from comfyui_api.errors import ComfyUnreachable, ServerError
from comfyui_api.inventory import Inventory
from comfyui_api.results import InventoryInfo, QueueCounts, Status
from comfyui_api.stocktake import refresh_inventory
from comfyui_api.workspace import Workspace


async def check_status(workspace: Workspace, server: str | None, *, refresh: bool) -> Status:
    """The state of a server. An inventory is made where there is none of the server's own telling yet, or when
    `refresh` asks for it."""
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
        comfyui_version=stats.comfyui_version,
        os=stats.os,
        python_version=stats.python_version,
        pytorch_version=stats.pytorch_version,
        devices=list(stats.devices),
        queue=QueueCounts(len(queue.running), len(queue.pending)),
        inventory=_info(inventory),
        notes=notes or None,
    )


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
