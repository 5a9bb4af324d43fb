"""Pictures of picture files; of animations, several frames."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comfyui_api.previews.picture import LONGEST_SIDE, UNREADABLE, Picture, encoded
from comfyui_api.previews.sheets import FRAMES, sheet

if TYPE_CHECKING:
    from PIL.Image import Image as ImageFile

PIXEL_LIMIT = 100_000_000  # decoded whole: 400 MB at most
ANIMATION_PIXELS = 200_000_000  # over all frames, which can only be decoded one after the other

log = logging.getLogger(__name__)


def preview(path: Path, frames: int = FRAMES) -> Picture | None:
    """A picture file, no larger than 512 px and 100 KB, of an animation a sheet of so many frames; None for what is no
    picture that can be read here."""
    with _opened(path) as image:
        if image is None:
            return None
        try:
            moments = _moments(image, frames)
            if len(moments) > 1:
                return encoded(sheet(_frames(image, moments), [f"frame {number + 1}" for number in moments]), path)
            return encoded(_small(image), path)
        except UNREADABLE as exc:
            log.info("no preview of %s: %s", path, exc)
            return None


def dimensions(path: Path) -> tuple[int, int] | tuple[None, None]:
    """(width, height) of a picture file in pixels, from its header; nothing for what is none."""
    with _opened(path, pixels=None) as image:
        return (None, None) if image is None else (image.width, image.height)


@contextmanager
def _opened(path: Path, pixels: int | None = PIXEL_LIMIT) -> Iterator[ImageFile | None]:
    """A picture file, not decoded yet; None for what is none, or has more pixels than this."""
    from PIL import Image  # noqa: PLC0415  # first needed when a result is shown

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, and of odd metadata: neither is anybody's next step
            opened = Image.open(path)
    except (*UNREADABLE, Image.DecompressionBombError) as exc:
        log.info("%s cannot be read as a picture: %s", path, exc)
        yield None
        return
    with opened:
        if pixels is not None:
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG need not be decoded in full size
        yield None if pixels is not None and opened.width * opened.height > pixels else opened


def _moments(image: ImageFile, wanted: int) -> list[int]:
    """The numbers of the frames to show, from the first on, evenly spread."""
    if wanted < 2 or not getattr(image, "is_animated", False):
        return [0]
    reachable = max(1, min(getattr(image, "n_frames", 1), ANIMATION_PIXELS // (image.width * image.height)))
    count = min(wanted, reachable)
    return [index * reachable // count for index in range(count)]


def _frames(image: ImageFile, moments: list[int]) -> list[ImageFile]:
    frames = []
    for number in range(moments[-1] + 1):
        image.seek(number)
        if number in moments:
            frames.append(_small(image.copy()))
    return frames


def _small(image: ImageFile) -> ImageFile:
    """The image made small in its place, as a large one is not to be held twice; upright, and without transparency."""
    from PIL import ImageOps  # noqa: PLC0415

    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return _on_grey(ImageOps.exif_transpose(image))


def _on_grey(image: ImageFile) -> ImageFile:
    from PIL import Image  # noqa: PLC0415

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    if image.mode in ("I;16", "I", "F"):
        # Whatever range the numbers have, from black to white.
        numbers = image.convert("F")
        low, high = (float(end) for end in numbers.getextrema())  # type: ignore[arg-type]  # one band: two numbers
        scale = 255 / (high - low) if high > low else 1.0
        return numbers.point(lambda value: value * scale - low * scale).convert("L").convert("RGB")
    return image.convert("RGB")
