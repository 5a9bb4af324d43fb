"""Which of the saved files are shown in the answer, and how."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comfyui_api.media import HEAD_BYTES, media_type_of
from comfyui_api.previews import Picture, can_decode, overview, preview, video_preview, waveform
from comfyui_api.results import Link, SavedFile

SHOWN = 4  # files with a picture of their own
ON_SHEET = 25  # … and on one sheet after them
SECONDS = 20.0  # after these no more pictures are begun
HOW_TO_GET_PYAV = (
    "To see frames of videos and the waveforms of sounds other than WAV, install PyAV: `pip install av` in "
    "comfyui-api's environment, or comfyui-api with its extra `video`."
)
_KINDS = ("image", "video", "audio")


@dataclass(frozen=True)
class Shown:
    """Pictures of files, and a sentence on each thing that they do not tell by themselves."""

    pictures: tuple[Picture, ...] = ()
    remarks: tuple[str, ...] = ()


def show(files: Sequence[SavedFile]) -> Shown:
    """Pictures of the first files, one each, and a sheet of the next ones, by their numbers in the list."""
    until = time.monotonic() + SECONDS
    own: list[tuple[str, Picture]] = []
    small: list[tuple[str, Picture]] = []
    unseen: list[SavedFile] = []
    visible = [(number, file) for number, file in enumerate(files, 1) if file.kind in _KINDS]
    tried = 0
    for number, file in visible:
        if len(small) >= ON_SHEET or time.monotonic() > until:
            break
        tried += 1
        found = _picture(file, frames=None if len(own) < SHOWN else 1)
        if found is None:
            unseen.append(file)
        elif len(own) < SHOWN:
            own.append((str(number), found))
        else:
            small.append((str(number), found))
    pictures = tuple(picture for _, picture in own)
    remarks = []
    if small:
        pictures = (*pictures, overview(small))
        remarks.append(
            f"The first {len(own)} pictures are shown, and {len(small)} more on a sheet, by their number in files."
        )
    elif len(own) > 1 and [caption for caption, _ in own] != [str(number) for number in range(1, len(own) + 1)]:
        remarks.append(f"Shown are the files {', '.join(caption for caption, _ in own)}.")
    if tried < len(visible):
        remarks.append(f"{len(visible) - tried} more are not shown.")
    remarks.extend(_of_unseen(unseen, [file for file in files if file.kind == "3d"]))
    return Shown(pictures, tuple(remarks))


def link(file: SavedFile) -> Link:
    path = Path(file.path)
    with path.open("rb") as source:
        return Link(str(path), media_type_of(source.read(HEAD_BYTES), path.name), file.bytes)


def _picture(file: SavedFile, frames: int | None) -> Picture | None:
    path = Path(file.path)
    number = {} if frames is None else {"frames": frames}
    match file.kind:
        case "image":
            return preview(path, **number)
        case "video":
            return video_preview(path, **number) or preview(path, **number)
        case _:
            return waveform(path)


def _of_unseen(unseen: list[SavedFile], solids: list[SavedFile]) -> list[str]:
    remarks = []
    if unseen and not can_decode() and any(file.kind in ("video", "audio") for file in unseen):
        remarks.append(HOW_TO_GET_PYAV)
    elif unseen:
        names = ", ".join(Path(file.path).name[:80] for file in unseen[:3])
        more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
        remarks.append(f"No picture could be made of {names}{more}: too large, damaged, or of another kind.")
    if solids:
        endings = Counter(Path(file.path).suffix.removeprefix(".").upper() for file in solids)
        kinds = ", ".join(f"{count} {ending}" for ending, count in endings.items())
        remarks.append(f"3D files ({kinds}) are not shown: open them in a viewer.")
    return remarks
