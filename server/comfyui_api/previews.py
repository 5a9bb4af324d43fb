"""Small pictures of results, and sheets of several of them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as ImageFile

LONGEST_SIDE = 512
SIZE_LIMIT = 100_000
PIXEL_LIMIT = 200_000_000
# What Pillow's decoders raise over broken files; its documentation promises OSError only.
UNREADABLE = (OSError, ValueError, SyntaxError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """An encoded picture to be shown: `path` is the file that it shows."""

    content: bytes
    media_type: str
    path: Path


def preview(path: Path) -> Picture | None:
    """A picture file, no larger than 512 px and 100 KB; None for what is no picture that can be read here."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # first needed when a result is shown

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > PIXEL_LIMIT:
                return None
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            image = ImageOps.exif_transpose(opened)
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            flat = _on_grey(image)
    except (*UNREADABLE, Image.DecompressionBombError) as exc:
        log.info("no preview of %s: %s", path, exc)
        return None
    for quality in (85, 70, 50, 30):
        buffer = io.BytesIO()
        flat.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= SIZE_LIMIT:
            break
    return Picture(buffer.getvalue(), "image/jpeg", path)


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


def contact_sheet(pictures: Sequence[tuple[str, Path]], target: Path, side: int = 320) -> None:
    """Write one PNG that shows (caption, file) pairs, four in a row. Files that are no pictures are only named."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps  # noqa: PLC0415

    columns = min(4, max(1, len(pictures)))
    rows = -(-len(pictures) // columns)
    margin, caption_height = 16, 34
    cell_w, cell_h = side + margin, side + caption_height + margin
    sheet = Image.new("RGB", (columns * cell_w + margin, rows * cell_h + margin), (32, 34, 38))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=16)
    for index, (caption, path) in enumerate(pictures):
        left = margin + (index % columns) * cell_w
        top = margin + (index // columns) * cell_h
        draw.rectangle((left, top, left + side, top + side), fill=(48, 51, 57))
        if (small := preview(path)) is not None:
            with Image.open(io.BytesIO(small.content)) as image:
                fitted = ImageOps.contain(image, (side, side))
                sheet.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
        text = _cut(caption, lambda shown: draw.textlength(shown, font=font) <= side)
        draw.text((left, top + side + 8), text, font=font, fill=(230, 230, 230))
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, "PNG", optimize=True)


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    if fits(text):
        return text
    while text and not fits(text + "…"):
        text = text[:-1]
    return text + "…"


def dimensions(path: Path) -> tuple[int, int] | tuple[None, None]:
    """(width, height) of a picture file in pixels, from its header; nothing for what is none."""
    from PIL import Image  # noqa: PLC0415

    try:
        with Image.open(path) as image:
            return image.width, image.height
    except (*UNREADABLE, Image.DecompressionBombError):
        return None, None
