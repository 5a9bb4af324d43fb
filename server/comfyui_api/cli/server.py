"""The console on the server itself: is it there, and let it give memory back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from comfyui_api import control, status
from comfyui_api.cli.console import AsJson, Server, ago, do, facts, plain, show, size, table
from comfyui_api.cli.words import said
from comfyui_api.quantities import count
from comfyui_api.results import FreedMemory, InventoryInfo, OtherServer, Status
from comfyui_api.runs import Device

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()


@app.command("status")
def check(
    refresh: Annotated[bool, typer.Option(help="Write the inventory anew.")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Is the server there: version, devices, queue, inventory.

    Exit code 1: it is not there.
    """
    result = do(lambda workspace: status.check_status(workspace, server, refresh=refresh))
    show(result, _show_status, as_json=as_json)
    raise typer.Exit(0 if result.online else 1)


@app.command()
def free(
    unload_models: Annotated[bool, typer.Option(help="Unload models from VRAM.")] = True,
    free_memory: Annotated[bool, typer.Option(help="Also drop cached node results.")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Let ComfyUI give memory back."""
    result = do(lambda space: control.free_vram(space, server, unload_models=unload_models, free_memory=free_memory))
    show(result, _show_freed, as_json=as_json)


def _show_status(result: Status, console: Console) -> None:
    version = f"ComfyUI {plain(result.comfyui_version)}" if result.comfyui_version else "ComfyUI"
    standing = "[green]is there[/]" if result.online else "[red]is not there[/]"
    console.print(f"[bold]{version}[/] at {plain(result.server)} {standing}.")
    if result.offline_reason:
        console.print(said(result.offline_reason))
    python, torch = result.python_version, result.pytorch_version
    system = [result.os, python and f"Python {python.split()[0]}", torch and f"PyTorch {torch}"]
    queue = result.queue
    facts(
        console,
        ("system", plain(", ".join(filter(None, system)))),
        *_devices(result.devices),
        ("queue", f"{queue.running} running, {queue.pending} waiting" if queue is not None else None),
        *_inventory(result.inventory),
    )
    for line in result.still_works or ():
        console.print(f"Still works: {said(line)}.")
    for note in result.notes or ():
        console.print(f"[yellow]{said(note)}[/]")
    if result.servers:
        _show_others(result.servers, console)


def _show_others(servers: list[OtherServer], console: Console) -> None:
    """The other configured servers, a line each."""
    rows = table("Other servers", "", "")
    for other in servers:
        kind = {"local": "ComfyUI", "cloud": "Comfy Cloud", "v2": "API v2"}.get(other.kind, other.kind)
        queue = f"{other.queue.running} running, {other.queue.pending} waiting" if other.queue is not None else None
        version = other.comfyui_version if other.comfyui_version != "unknown" else None
        told = [" ".join(filter(None, (kind, version))), *(other.devices or ()), queue]
        state = "[green]is there[/]" if other.online else "[red]is not there[/]"
        about = plain("\n".join(filter(None, told))) if other.online else said(other.reason or kind)
        rows.add_row(f"{plain(other.server)}\n[dim]{plain(other.url)}[/]", state, about)
    console.print(rows)


def _inventory(inventory: InventoryInfo | None) -> list[tuple[str, str]]:
    if inventory is None:
        return [("inventory", "none yet")]
    what = f"{count(inventory.node_classes, 'node class', 'node classes')}, {count(inventory.models, 'model')}"
    stale = " [yellow](stale)[/]" if inventory.stale else ""
    return [("inventory", f"{what}, {ago(inventory.age_seconds)}{stale}"), ("", plain(inventory.path))]


def _devices(devices: Sequence[Device]) -> list[tuple[str, str]]:
    return [(plain(device.type), f"{plain(device.name)}, {_memory(device)} free") for device in devices]


def _memory(device: Device) -> str:
    return f"{size(device.vram_free)} of {size(device.vram_total)}"


def _show_freed(result: FreedMemory, console: Console) -> None:
    console.print(said(result.message))
    for before, after in zip(result.before, result.after, strict=False):
        console.print(f"{plain(after.name)}: {size(before.vram_free)} → {_memory(after)} free")
