"""The two texts that ComfyUI embeds in what it saves: the prompt that ran, and the UI workflow it came from.

    PNG          text chunks; animated ones: chunks of ComfyUI's own, `comf`
    WEBP, JPEG   EXIF: texts that begin with `prompt:` and `workflow:`
    SVG          JSON with both in <metadata>
    MP4, MOV     keys in the movie's metadata; with Video Helper Suite JSON with both as its comment
    WEBM, MKV    tags, likewise
    FLAC, Ogg    comments
    MP3          ID3 texts
    .latent      the header's __metadata__
    GLB          the asset's extras

Files are recognised by their content and read by seeking: never the pictures in them, and only as much as the limits in
`section` allow. The readers (`pictures`, `videos`, `sounds`, `headers`) yield what texts there are; `texts` chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from comfyui_api.embedded.headers import glb, is_safetensors, safetensors
from comfyui_api.embedded.pictures import jpeg, png, svg, tiff, webp
from comfyui_api.embedded.section import SIZE_LIMIT, Damaged, Section
from comfyui_api.embedded.sounds import flac, mp3, ogg
from comfyui_api.embedded.texts import Tag, Texts
from comfyui_api.embedded.videos import matroska, mp4
from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.media import HEAD_BYTES, media_type

__all__ = ["SIZE_LIMIT", "WHAT_TO_GIVE", "Embedded", "read_embedded"]

WHAT_TO_GIVE = (
    "Many sites and editors strip the workflow from what they save: give the file as ComfyUI wrote it, or the "
    "workflow's JSON."
)

Reader: TypeAlias = Callable[[Section], Iterator[Tag]]

_READERS: dict[str, tuple[str, Reader]] = {
    "image/png": ("a PNG picture", png),
    "image/webp": ("a WEBP picture", webp),
    "image/jpeg": ("a JPEG picture", jpeg),
    "image/tiff": ("a TIFF picture", tiff),
    "video/mp4": ("an MP4 video", mp4),
    "video/quicktime": ("a QuickTime video", mp4),
    "audio/mp4": ("an M4A sound", mp4),
    "video/webm": ("a WEBM or Matroska video", matroska),
    "audio/flac": ("a FLAC sound", flac),
    "audio/ogg": ("an Ogg sound", ogg),
    "audio/mpeg": ("an MP3 sound", mp3),
    "model/gltf-binary": ("a GLB model", glb),
}
_SVG_HEAD_BYTES = 1024


@dataclass(frozen=True)
class Embedded:
    """The texts in a file, as they stand there. `kind` is what it is, with its article: "a PNG picture"; `others` are
    the keys of some texts that are no workflow's."""

    prompt: str | None
    workflow: str | None
    kind: str
    others: tuple[str, ...] = ()


def read_embedded(file: BinaryIO, size: int, source: str) -> Embedded | None:
    """The texts in a media file of `size` bytes, called `source` in errors; None for a file of no such kind.

    Raises WorkflowUnreadable where the file is damaged before any text, or of a kind that no workflow is read from.
    """
    start = file.read(_SVG_HEAD_BYTES)
    recognised = _recognised(start)
    if recognised is None:
        kind = media_type(start[:HEAD_BYTES])
        if kind is None:
            return None
        raise WorkflowUnreadable(f"{source} is of the type {kind}, which no workflow is read from.", WHAT_TO_GIVE)
    kind, read = recognised
    texts = Texts()
    try:
        for tag in read(Section(file, 0, size)):
            texts.add(tag)
            if texts.complete:
                break
    except Damaged as exc:
        if not texts.found:
            raise WorkflowUnreadable(
                f"{source} is {kind}, and no workflow can be read from it: {exc}.", WHAT_TO_GIVE
            ) from exc
    return Embedded(texts.found.get("prompt"), texts.found.get("workflow"), kind, tuple(texts.others))


def _recognised(start: bytes) -> tuple[str, Reader] | None:
    known = _READERS.get(media_type(start[:HEAD_BYTES]) or "")
    if known is not None:
        return known
    if is_safetensors(start):
        return "a latent or another safetensors file", safetensors
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") and b"<svg" in start:
        return "an SVG picture", svg
    return None
