"""One file of the server onto the disk: streamed, checked, and put in its place when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeAlias

import anyio.to_thread

from comfyui_api.comfy_server import ComfyServer
from comfyui_api.errors import ComfySilent, FileGone, FileProblem, UnexpectedReply
from comfyui_api.media import intruder
from comfyui_api.runs import OutputFile
from comfyui_api.storage import put_in_place, safe_name, temporary_beside

Tell: TypeAlias = Callable[[int, int | None], Awaitable[None]]
"""Takes how many bytes have come, out of how many (None: not known)."""

PIECE = 1 << 20
HEAD = 512
NAME_LIMIT = 2000  # characters; no file system has names that long, and no server takes them in an address
UNANNOUNCED_LIMIT = 8 * 2**30
"""Bytes of a file whose length the server does not tell. ComfyUI always tells it; proxies that compress do not."""


async def fetch(
    client: ComfyServer, file: OutputFile, folder: Path, *, limit: int = UNANNOUNCED_LIMIT, tell: Tell | None = None
) -> Path:
    """Stream one file of the server into a folder. Returns where it stands: never over another file.

    Memory stays at a few megabytes, whatever comes. Raises FileGone where the server does not have it or gave fewer
    bytes than announced, UnexpectedReply where something else came in its place or there is no end of it, FileProblem
    where it cannot be written here.
    """
    name = file.filename.replace("\\", "/").rpartition("/")[2]
    if not askable(file):
        raise FileGone("The name that the server gives for this file is none that it could be asked for by.")
    target = folder / safe_name(name)
    with temporary_beside(target) as temporary:
        try:
            await _download(client, file, temporary, limit, tell)
        except ComfySilent:  # reading changes nothing, so it may be tried again
            await _download(client, file, temporary, limit, tell)
        return await anyio.to_thread.run_sync(put_in_place, temporary, target)


def askable(file: OutputFile) -> bool:
    """Whether a request can carry the names of a file at all."""
    place = f"{file.subfolder}/{file.filename}"
    try:
        place.encode()
    except UnicodeEncodeError:  # lone surrogates
        return False
    return bool(file.filename) and len(place) <= NAME_LIMIT


async def _download(client: ComfyServer, file: OutputFile, temporary: Path, limit: int, tell: Tell | None) -> None:
    async with client.view(file.filename, file.subfolder, file.type, file.asset) as response:
        announced = response.headers.get("content-length")
        # The length of a compressed answer is that of what travels.
        length = int(announced) if announced is not None and "content-encoding" not in response.headers else None
        free = shutil.disk_usage(temporary.parent).free
        if length is not None and length > free:
            raise FileProblem(
                f"{file.filename} has {length:,} bytes, and {temporary.parent} has only {free:,} free.",
                "Free some space, or choose another directory.",
            )
        received, head = 0, b""
        with temporary.open("wb") as sink:
            async for chunk in response.aiter_bytes(PIECE):
                if received < HEAD:
                    head = (head + chunk)[:HEAD]
                received += len(chunk)
                if length is None and received > limit:
                    raise UnexpectedReply(
                        f"The answer to {file.filename} is longer than {limit:,} bytes and tells no length; it was not "
                        "read further.",
                        "Check what stands between here and ComfyUI, which always tells it.",
                    )
                await _write(sink, chunk)
                if tell is not None and len(chunk) == PIECE:
                    await tell(received, length)
        if what := intruder(head, response.headers.get("content-type", ""), file.filename):
            raise UnexpectedReply(
                f"In place of {file.filename} the server gave {what}.",
                "A proxy or login page may stand before ComfyUI: open its address in a browser.",
            )
        if length is not None and length != received:
            raise FileGone(f"Of {file.filename} only {received} of {length} bytes came.", "Call get_output again.")


async def _write(sink: BinaryIO, chunk: bytes) -> None:
    if len(chunk) < PIECE:
        sink.write(chunk)
    else:  # a slow disk is not to hold up the event loop
        await anyio.to_thread.run_sync(sink.write, chunk)
