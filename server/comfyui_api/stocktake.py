"""What is installed: asked of a server, or read from files where none runs, and kept as its inventory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from comfyui_api.comfy_server import ComfyServer
from comfyui_api.errors import ComfySilent, FileProblem, InvalidArgument, NotOffered, ServerError
from comfyui_api.exchange import RETRY_SECONDS
from comfyui_api.inventory import ClassWriter, Inventory, Stock, keep, temporary_classes, unkept
from comfyui_api.inventory.saved import write_saved_classes
from comfyui_api.runs import SystemStats
from comfyui_api.workspace import Connection, Workspace

T = TypeVar("T")


@dataclass(frozen=True)
class Refreshed:
    """What is known after asking. `trouble` says why it could not be kept; `remarks`, what could not be told."""

    inventory: Inventory
    trouble: str | None = None
    remarks: tuple[str, ...] = ()


async def refresh_inventory(connection: Connection) -> Refreshed:
    """Ask the server for everything it has and write the inventory anew.

    Raises the ServerError of a server that does not tell its node classes.
    """
    asked = connection.inventory.classes_updated if connection.inventory is not None else None
    async with connection.refreshing:
        now = connection.inventory
        if now is not None and now.mode == "online" and now.classes_updated not in (None, asked):
            return Refreshed(now)  # another call did it while this one waited
        refreshed = await _refresh(connection)
        connection.inventory_doubted = False
        return refreshed


async def refresh_files(connection: Connection) -> None:
    """Ask the server again for its files and packs, where an answer of it contradicted the inventory."""
    async with connection.refreshing:
        stock, _ = await _stock(connection.client, None)
        path, url = connection.inventory_path, connection.url
        connection.inventory = await anyio.to_thread.run_sync(lambda: keep(path, url, "online", stock, None))


async def _refresh(connection: Connection) -> Refreshed:
    client, path = connection.client, connection.inventory_path
    stats = await client.system_stats()
    try:
        with temporary_classes(path) as classes:
            await _write_classes(client, classes)
            stock, remarks = await _stock(client, stats)
            connection.inventory = await anyio.to_thread.run_sync(
                lambda: keep(path, connection.url, "online", stock, classes)
            )
    except FileProblem as exc:
        with ClassWriter(None) as classes:
            await _write_classes(client, classes)
            stock, remarks = await _stock(client, stats)
            return Refreshed(unkept(path, connection.url, "online", stock, classes), str(exc), remarks)
    return Refreshed(connection.inventory, remarks=remarks)


async def _write_classes(client: ComfyServer, classes: ClassWriter) -> None:
    async def write() -> None:
        async with aclosing(client.object_info()) as pieces:
            async for entries in pieces:
                await anyio.to_thread.run_sync(classes.add, entries)

    try:
        await write()
    except ComfySilent:
        # Once more, as with every read; but not for another whole time limit.
        with anyio.move_on_after(RETRY_SECONDS):
            return await write()
        raise


async def _stock(client: ComfyServer, stats: SystemStats | None) -> tuple[Stock, tuple[str, ...]]:
    """What a server has beside its node classes, and which parts of it could not be asked."""
    remarks: list[str] = []

    async def told(what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await ask()
        except NotOffered:
            return None
        except ServerError as exc:
            remarks.append(f"{what} could not be asked: {exc}")
            return None

    stock = Stock(
        comfyui_version=stats.comfyui_version if stats is not None and stats.comfyui_version != "unknown" else None,
        system=_system(stats) if stats is not None else None,
        models=await told("The model files", client.models),
        registered_packs=await client.installed_packs(),
        embeddings=await told("The embeddings", client.embeddings),
    )
    return stock, tuple(remarks)


def _system(stats: SystemStats) -> dict[str, object]:
    devices = [{"name": device.name, "type": device.type, "vram_total": device.vram_total} for device in stats.devices]
    return {
        "os": stats.os,
        "python_version": stats.python_version,
        "pytorch_version": stats.pytorch_version,
        "devices": devices,
    }


async def refresh_offline(
    workspace: Workspace, server: str | None, object_info: Path | None, comfyui: Path | None
) -> Refreshed:
    """Bring a server's inventory up to date without it: from a saved /object_info, from its folder, or both.

    What neither tells stays as it was known before. Raises InvalidArgument where `comfyui` is no installation, and
    FileProblem where something cannot be read or written.
    """
    connection = workspace.connect(server)
    if object_info is None and comfyui is None:
        raise InvalidArgument("There is nothing to read.", "Give a saved /object_info, the folder of ComfyUI, or both.")

    def read() -> Refreshed:
        from comfyui_api.installation import scan  # noqa: PLC0415  # not for a server's start

        installation = scan(comfyui) if comfyui is not None else None
        remarks = installation.troubles if installation is not None else ()
        stock = Stock()
        if installation is not None:
            stock = Stock(
                comfyui_version=installation.comfyui_version,
                models=installation.models,
                custom_nodes=installation.custom_nodes,
                embeddings=installation.embeddings,
            )
        path = connection.inventory_path
        with ExitStack() as open_until_kept:
            classes = None
            if object_info is not None:
                classes = open_until_kept.enter_context(temporary_classes(path))
                if passed_over := write_saved_classes(object_info, classes):
                    remarks = (*remarks, f"{passed_over} entries of {object_info.name} are no node classes.")
            return Refreshed(keep(path, connection.url, "offline", stock, classes), remarks=remarks)

    async with connection.refreshing:
        refreshed = await anyio.to_thread.run_sync(read)
        connection.inventory = refreshed.inventory
    return refreshed
