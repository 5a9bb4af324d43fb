"""What is known of a server's node classes: its inventory, brought up to date first where that can be done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import anyio.to_thread

from comfyui_api.errors import ComfySilent, FileProblem, ServerError
from comfyui_api.inventory import Inventory, update_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.status import refresh_inventory
from comfyui_api.workspace import Connection, Workspace

ASKED_SINGLY = 20  # for more classes than these the whole inventory is asked for

Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What a conversion and a verdict can rest on; no `node_classes` where nothing is known.

    `fresh`: just asked; `online`: the server was not found missing; `trouble`: what is to be said about it.
    """

    node_classes: NodeClasses | None
    inventory: Inventory | None = None
    fresh: bool = False
    online: bool = True
    trouble: str | None = None


def classes_of(known: Known) -> NodeClasses:
    """The node classes where something is known; asking for them elsewhere is a mistake."""
    assert known.node_classes is not None
    return known.node_classes


async def what_is_known(workspace: Workspace, connection: Connection) -> Known:
    """The node classes of the inventory; asked of the server where it is stale, missing or damaged.

    Raises ComfySilent where a server is there and silent, and nothing was known of it before.
    """
    inventory, _ = workspace.known_inventory(connection)
    if inventory is not None and not inventory.is_stale(datetime.now(UTC)):
        try:
            return Known(inventory.node_classes(), inventory)
        except FileProblem:
            inventory = None  # the file was broken meanwhile: the server tells anew
    try:
        return await _refreshed(connection)
    except ComfySilent:
        if inventory is None:
            raise  # a server that is there and silent will not take a prompt either
        return Known(inventory.node_classes(), inventory, online=False, trouble="it gives no answer")
    except ServerError as exc:
        classes = inventory.node_classes() if inventory is not None else None
        return Known(classes, inventory, online=False, trouble=str(exc))


async def _refreshed(connection: Connection) -> Known:
    refreshed = await refresh_inventory(connection)
    return Known(refreshed.node_classes, refreshed.inventory, fresh=True, trouble=refreshed.trouble)


async def with_classes(
    connection: Connection, known: Known, work: Callable[[NodeClasses], Result]
) -> tuple[Known, Result]:
    """Do some work over the node classes, in a thread of its own; what is known afterwards, and the result.

    Classes are read from the cache one by one: where that turns out to be damaged, the server's answer takes its place.
    """
    try:
        return known, await anyio.to_thread.run_sync(work, classes_of(known))
    except FileProblem:
        known = await _refreshed(connection)
    return known, await anyio.to_thread.run_sync(work, classes_of(known))


async def asked_again(connection: Connection, known: Known, names: set[str]) -> Known:
    """What is known after asking the server again for these classes: packs and files come and go."""
    if len(names) > ASKED_SINGLY or known.node_classes is None:
        return await _refreshed(connection)
    entries = {name: await connection.client.object_info_of(name) for name in sorted(names)}
    if connection.inventory is not None:
        try:
            connection.inventory = await anyio.to_thread.run_sync(update_classes, connection.inventory, entries)
        except FileProblem as exc:
            log.warning("%s", exc)  # for this verdict the answers themselves do
    return replace(known, node_classes=known.node_classes.updated(entries))
