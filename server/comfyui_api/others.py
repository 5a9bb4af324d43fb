"""The configured servers besides the default one: are they there, what are they, how busy."""

from __future__ import annotations

from dataclasses import replace

import anyio

from comfyui_api.errors import AccessDenied, ComfyError, NotOffered
from comfyui_api.results import OtherServer, QueueCounts
from comfyui_api.runs import Device
from comfyui_api.servers import usable_url
from comfyui_api.settings import ServerEntry
from comfyui_api.workspace import Workspace

OTHERS_SECONDS = 4.0
REASON_SHOWN = 300


async def ask_others(workspace: Workspace) -> list[OtherServer]:
    """All of them side by side, in the order of their entries. Whatever is wrong with one is said in its place.

    Answers within OTHERS_SECONDS. Raises InvalidArgument and FileProblem for a servers.toml that cannot be read.
    """
    entries = workspace.servers.others()
    found: dict[str, OtherServer] = {}

    async def ask(entry: ServerEntry) -> None:
        found[entry.name] = await _ask(workspace, entry)

    async with anyio.create_task_group() as tasks:
        for entry in entries:
            tasks.start_soon(ask, entry)
    return [found[entry.name] for entry in entries]


async def _ask(workspace: Workspace, entry: ServerEntry) -> OtherServer:
    told = OtherServer(entry.name, usable_url(entry.url) or "no address", entry.kind, online=False)
    reason = f"It gave no answer within {OTHERS_SECONDS:g} s."
    with anyio.move_on_after(OTHERS_SECONDS):
        try:
            client = workspace.connect(entry.name).client
            stats = await client.system_stats()
            devices = [_in_short(device) for device in stats.devices]
            told = replace(told, online=True, comfyui_version=stats.comfyui_version, devices=devices or None)
            queue = await client.queue()
            return replace(told, queue=QueueCounts(len(queue.running), len(queue.pending)))
        except NotOffered:
            return told
        except AccessDenied as exc:
            # What it tells everybody says nothing of whether we may use it.
            return replace(told, online=False, reason=shortened(str(exc)))
        except ComfyError as exc:
            reason = str(exc)
    return replace(told, reason=shortened(reason))


def shortened(reason: str) -> str:
    """A reason as long as one of many may be."""
    return reason if len(reason) <= REASON_SHOWN else f"{reason[:REASON_SHOWN]}…"


def _in_short(device: Device) -> str:
    """E.g. "cuda:0 NVIDIA GeForce RTX 4090 (20.1 of 24.0 GB free)"."""
    if not device.vram_total:
        return device.name
    return f"{device.name} ({device.vram_free / 2**30:.1f} of {device.vram_total / 2**30:.1f} GB free)"
