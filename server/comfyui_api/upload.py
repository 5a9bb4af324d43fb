"""Bring a file to the server, so that a loader node can take it."""

from __future__ import annotations

import anyio.to_thread

from comfyui_api.errors import FileProblem, InvalidArgument
from comfyui_api.media import HEAD_BYTES, media_type
from comfyui_api.results import Upload
from comfyui_api.storage import safe_name
from comfyui_api.workspace import Workspace


async def upload_image(
    workspace: Workspace, path: str, server: str | None, *, subfolder: str | None, overwrite: bool
) -> Upload:
    """Upload a picture, video, sound or 3D file into the server's input folder.

    The server picks another name where a different file has this one, so what counts is the `value` in the answer.
    Raises FileProblem for a file that cannot be read, is too large, or is no media by its bytes.
    """
    source = workspace.readable(path)
    limit = int(workspace.settings.max_upload_mb * 2**20)
    try:
        if not source.is_file():
            what = "is a folder" if source.is_dir() else "is no ordinary file" if source.exists() else "does not exist"
            raise FileProblem(f"{source} {what}.", "Give the path of a picture, video, sound or 3D file.")
        size = source.stat().st_size
        if size > limit:
            raise FileProblem(
                f"{source} has {size / 2**20:.3g} MB; the limit is {limit / 2**20:.3g} MB.",
                "Make it smaller, or raise COMFYUI_API_MAX_UPLOAD_MB (and ComfyUI's --max-upload-size).",
            )
        content = await anyio.to_thread.run_sync(source.read_bytes)
    except OSError as exc:
        raise FileProblem(f"{source} could not be read: {exc.strerror or exc}.", "Check its permissions.") from exc
    kind = media_type(content[:HEAD_BYTES])
    if kind is None:
        what = "is empty" if not content else "is no picture, video, sound or 3D file by its content"
        raise FileProblem(
            f"{source} {what}.", "PNG, JPEG, WEBP, GIF, MP4, WEBM, WAV, MP3, FLAC, GLB, PLY, FBX and others work."
        )
    connection = workspace.connect(server)
    uploaded = await connection.client.upload(
        _upload_name(source.name), content, kind, subfolder=_checked(subfolder), overwrite=overwrite
    )
    return Upload(
        name=uploaded.name,
        subfolder=uploaded.subfolder,
        type=uploaded.type,
        value=uploaded.value,
        server=connection.url,
    )


def _upload_name(name: str) -> str:
    """A safe name that no loader reads as another folder: "x.png [output]" would be looked for among the outputs."""
    name = safe_name(name)
    return name.replace("[", "(").replace("]", ")") if name.endswith("]") else name


def _checked(subfolder: str | None) -> str | None:
    """A subfolder below the input folder, with forward slashes; None for none."""
    parts = [part for part in (subfolder or "").replace("\\", "/").split("/") if part]
    if any(part == ".." or safe_name(part) != part for part in parts) or (subfolder or "").startswith("/"):
        raise InvalidArgument(
            f"subfolder: '{subfolder}' is no plain folder below ComfyUI's input folder.", "Give a name such as 'agent'."
        )
    return "/".join(parts) or None
