"""A picture small enough to be shown in an answer."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as ImageFile

LONGEST_SIDE = 512
SIZE_LIMIT = 100_000
# What Pillow's decoders raise over broken files; its documentation promises OSError only.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)


@dataclass(frozen=True)
class Picture:
    """An encoded picture to be shown: `path` is the file that it shows, of a sheet the first."""

    content: bytes
    media_type: str
    path: Path


def encoded(image: ImageFile, path: Path) -> Picture:
    """An RGB image as a JPEG of at most 512 px and 100 KB; `image` is made smaller where it has to be."""
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    while True:
        for quality in (85, 70, 50, 30):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= SIZE_LIMIT:
                return Picture(buffer.getvalue(), "image/jpeg", path)
        image.thumbnail((image.width // 2, image.height // 2))
