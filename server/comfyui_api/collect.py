"""Bring a run's results home: files to disk, small pictures of them into the answer."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from comfyui_api.client import ComfyClient
from comfyui_api.errors import ComfySilent, FileGone, ServerError
from comfyui_api.follow import look, shorten
from comfyui_api.media import HEAD_BYTES, media_type
from comfyui_api.previews import Picture, dimensions, preview
from comfyui_api.results import Delivery, Link, MissingFile, SavedFile, ShownText
from comfyui_api.runs import OutputFile
from comfyui_api.storage import put_in_place, safe_name, temporary_beside
from comfyui_api.workspace import Workspace

PREVIEWS = 4
TEXT_SHOWN = 2000


async def get_output(
    workspace: Workspace, prompt_id: str, server: str | None, *, directory: str | None, previews: bool
) -> Delivery:
    """Save all files of a run that has ended, also of a failed one that made some before.

    A file that the server no longer has is named in `missing`; the others are saved all the same. Nothing is ever
    written over: another file of the same name gets a number, the same file is not saved twice.
    """
    folder = workspace.writable_folder(directory or "output")
    connection = workspace.connect(server, prompt_id=prompt_id)
    seen = await look(connection, prompt_id)
    if seen.entry is None:
        return Delivery(state=seen.state, prompt_id=prompt_id, files=[], message=_NOTHING_YET[seen.state])
    saved: list[SavedFile] = []
    missing: list[MissingFile] = []
    for file in seen.entry.files:
        try:
            path = await fetch(connection.client, file, folder)
        except ServerError as exc:
            missing.append(MissingFile(file.node_id, file.filename, str(exc)))
            continue
        saved.append(await anyio.to_thread.run_sync(_described, path, file))
    pictures = await anyio.to_thread.run_sync(_pictures, saved) if previews else ()
    links = await anyio.to_thread.run_sync(lambda: tuple(_link(file) for file in saved))
    texts = [ShownText(text.node_id, shorten(text.text, TEXT_SHOWN)) for text in seen.entry.texts]
    return Delivery(
        state=seen.state,
        prompt_id=prompt_id,
        files=saved,
        texts=texts,
        missing=missing,
        message=_message(saved, texts, missing, len(pictures)),
        pictures=pictures,
        links=links,
    )


async def fetch(client: ComfyClient, file: OutputFile, folder: Path) -> Path:
    """Stream one file of the server into a folder. Returns where it stands.

    Raises FileGone where the server does not have it or gave fewer bytes than announced, FileProblem where it cannot be
    written here.
    """
    target = folder / safe_name(file.filename.replace("\\", "/").rpartition("/")[2])
    with temporary_beside(target) as temporary:
        try:
            return await _download(client, file, temporary, target)
        except ComfySilent:  # reading changes nothing, so it may be tried again
            return await _download(client, file, temporary, target)


async def _download(client: ComfyClient, file: OutputFile, temporary: Path, target: Path) -> Path:
    async with client.view(file.filename, file.subfolder, file.type) as response:
        received = 0
        with temporary.open("wb") as sink:
            async for chunk in response.aiter_bytes(1 << 20):
                sink.write(chunk)
                received += len(chunk)
        announced = response.headers.get("content-length")
        if announced is not None and "content-encoding" not in response.headers and int(announced) != received:
            raise FileGone(f"Of {file.filename} only {received} of {announced} bytes came.", "Call get_output again.")
    return await anyio.to_thread.run_sync(put_in_place, temporary, target)


def _described(path: Path, file: OutputFile) -> SavedFile:
    width, height = dimensions(path) if file.kind == "image" else (None, None)
    return SavedFile(str(path), file.kind, path.stat().st_size, file.node_id, load_value(file), width, height)


def load_value(file: OutputFile) -> str:
    """What a loader node takes to go on from an output on the same server (folder_paths.py, annotated paths)."""
    path = f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
    return f"{path} [{file.type}]"


def _pictures(saved: list[SavedFile]) -> tuple[Picture, ...]:
    images = [Path(file.path) for file in saved if file.kind == "image"]
    return tuple(picture for path in images[:PREVIEWS] if (picture := preview(path)) is not None)


def _link(file: SavedFile) -> Link:
    path = Path(file.path)
    with path.open("rb") as source:
        kind = media_type(source.read(HEAD_BYTES)) or "application/octet-stream"
    return Link(str(path), kind, file.bytes)


def _message(saved: list[SavedFile], texts: list[ShownText], missing: list[MissingFile], shown: int) -> str:
    if not (saved or texts or missing):
        return "The run has no outputs; poll_result tells why."
    parts = [f"{len(saved)} files saved."]
    images = sum(file.kind == "image" for file in saved)
    if shown and shown < images:
        parts.append(f"The first {shown} of {images} pictures are shown.")
    if missing:
        parts.append(f"{len(missing)} could not be fetched: see missing.")
    return " ".join(parts)


_NOTHING_YET = {
    "queued": "The run has not begun: wait with poll_result.",
    "running": "The run is not finished: wait with poll_result.",
    "gone": "The server knows no such run: poll_result tells more.",
}
