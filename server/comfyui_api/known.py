"""What is known of a server's node classes: its inventory, brought up to date first where that can be done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from comfyui_api.errors import ComfySilent, ComfyUnreachable, FileProblem, NotOffered, ServerError
from comfyui_api.inventory import Inventory, update_classes
from comfyui_api.inventory.saved import saved_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.stocktake import refresh_files, refresh_inventory
from comfyui_api.workspace import Connection, Workspace

ASKED_SINGLY = 20  # for more classes than these the whole inventory is asked for

Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What a conversion and a verdict can rest on; no `node_classes` where none are known.

    `inventory` has the models and packs; it may be there without node classes. `fresh`: just asked; `online`: the
    server was not found missing; `trouble`: what is to be said about it; `source`: the file that told it, in place of
    a server; `unreachable`: nobody listens at the server's address; `untold`: the server is of a kind that does not
    tell its node classes.
    """

    node_classes: NodeClasses | None
    inventory: Inventory | None = None
    fresh: bool = False
    online: bool = True
    trouble: str | None = None
    source: str | None = None
    unreachable: bool = False
    untold: NotOffered | None = None

    def lacking(self, words: str, next_step: str) -> ServerError:
        """The error for what cannot be done, in `words` without a full stop, as no node classes are known; with
        `next_step` where the server is missing."""
        if self.untold is not None:
            return NotOffered(f"{words}: {self.untold.message}", self.untold.next_step)
        what = "nothing is known of the server" if self.inventory is None else "the inventory has no node classes"
        return ComfyUnreachable(f"{words}: {what}. {self.trouble or ''}".strip(), next_step)


def told_by_file(path: Path) -> Known:
    """What a saved reply of /object_info tells, in place of a server: its node classes, and nothing else.

    Each class stays text until it is asked for, as there may be 100 MB of them. Raises FileProblem.
    """
    trouble = f"it was not asked, as {path.name} was given"
    return Known(saved_classes(path), online=False, trouble=trouble, source=path.name)


def classes_of(known: Known) -> NodeClasses:
    """The node classes where something is known; asking for them elsewhere is a mistake."""
    assert known.node_classes is not None
    return known.node_classes


async def what_is_known(workspace: Workspace, connection: Connection) -> Known:
    """The node classes of the inventory; asked of the server where it is stale, missing or damaged, or was never told
    by the server itself.

    Raises ComfySilent where a server is there and silent, and nothing was known of it before.
    """
    inventory, lost = workspace.known_inventory(connection)
    classes = inventory.node_classes() if inventory is not None else None
    if inventory is not None and classes is not None and _holds(inventory) and not connection.inventory_doubted:
        return Known(classes, inventory)
    try:
        return await _refreshed(connection)
    except ComfySilent:
        if classes is None:
            raise  # a server that is there and silent will not take a prompt either
        return Known(classes, inventory, online=False, trouble="it gives no answer")
    except NotOffered as exc:
        return Known(classes, inventory, online=False, trouble=str(exc), untold=exc)
    except ServerError as exc:
        nobody = isinstance(exc, ComfyUnreachable)
        trouble = f"{exc} {lost}" if lost and classes is None else str(exc)
        return Known(classes, inventory, online=False, trouble=trouble, unreachable=nobody)


def known_before(workspace: Workspace, connection: Connection, missing: ServerError) -> Known:
    """What the saved inventory tells of a server that was just found to be `missing`: it is not asked again."""
    inventory, lost = workspace.known_inventory(connection)
    classes = inventory.node_classes() if inventory is not None else None
    trouble = f"{missing} {lost}" if lost and classes is None else str(missing)
    nobody = isinstance(missing, ComfyUnreachable)
    return Known(classes, inventory, online=False, trouble=trouble, unreachable=nobody)


def class_names_known(workspace: Workspace, server: str | None = None) -> frozenset[str]:
    """The names of a server's node classes, by what is known already, without asking; none where nothing is known.

    Raises FileProblem where the inventory is damaged.
    """
    inventory, _ = workspace.known_inventory(workspace.connect(server))
    return inventory.classes.names() if inventory is not None and inventory.classes is not None else frozenset()


def _holds(inventory: Inventory) -> bool:
    """Whether the server need not be asked: what was read from files is only for when it is not there."""
    return inventory.mode == "online" and not inventory.is_stale(datetime.now(UTC))


def doubt(connection: Connection) -> None:
    """The server decided otherwise than its inventory says: ask it for everything before the inventory counts again."""
    connection.inventory_doubted = True


async def _refreshed(connection: Connection) -> Known:
    refreshed = await refresh_inventory(connection)
    return Known(refreshed.inventory.node_classes(), refreshed.inventory, fresh=True, trouble=refreshed.trouble)


async def with_classes(
    connection: Connection, known: Known, work: Callable[[NodeClasses], Result]
) -> tuple[Known, Result]:
    """Do some work over the node classes, in a thread of its own; what is known afterwards, and the result.

    Classes are read from the cache one by one: where that turns out to be damaged, the server's answer takes its
    place. Raises FileProblem where the server gives none.
    """
    try:
        return known, await anyio.to_thread.run_sync(work, classes_of(known))
    except FileProblem as damage:
        try:
            known = await _refreshed(connection)
        except ServerError:
            raise damage from None
    return known, await anyio.to_thread.run_sync(work, classes_of(known))


async def asked_again(connection: Connection, known: Known, names: set[str]) -> Known:
    """What is known after asking the server again for these classes: packs and files come and go.

    Where its answers contradict the inventory, its files and packs are asked for again too.
    """
    if len(names) > ASKED_SINGLY or known.node_classes is None:
        return await _refreshed(connection)
    try:
        entries = {name: await connection.client.object_info_of(name) for name in sorted(names)}
    except NotOffered:
        return known  # it tells all of its classes or none; what is known is not old
    inventory = known.inventory
    try:
        if connection.inventory is not None and await anyio.to_thread.run_sync(
            _contradict, connection.inventory, entries
        ):
            connection.inventory = await anyio.to_thread.run_sync(update_classes, connection.inventory, entries)
            await refresh_files(connection)
            inventory = connection.inventory
    except FileProblem as exc:
        log.warning("%s", exc)  # for this verdict the answers themselves do
    try:
        classes = await anyio.to_thread.run_sync(known.node_classes.updated, entries)
    except FileProblem:
        return await _refreshed(connection)
    return replace(known, inventory=inventory, node_classes=classes)


def _contradict(inventory: Inventory, entries: Mapping[str, Any]) -> bool:
    return inventory.classes is not None and any(
        inventory.classes.read(name) != entry for name, entry in entries.items()
    )
