"""Several pictures on one sheet."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comfyui_api.previews.picture import LONGEST_SIDE, Picture, encoded

if TYPE_CHECKING:
    from PIL.Image import Image as ImageFile

FRAMES = 9
GAP = 4
GROUND = (32, 34, 38)


def sheet(images: Sequence[ImageFile], captions: Sequence[str]) -> ImageFile:
    """At least one image side by side in a square of at most 512 px, each with its caption in a corner."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps  # noqa: PLC0415  # first needed when a result is shown

    columns = next(count for count in range(1, len(images) + 1) if count * count >= len(images))
    rows = -(-len(images) // columns)
    cell = (LONGEST_SIDE - GAP * (columns + 1)) // columns
    small = [ImageOps.contain(image, (cell, cell)) for image in images]
    width, height = (max(image.size[side] for image in small) for side in (0, 1))
    whole = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), GROUND)
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=12)
    for index, (image, caption) in enumerate(zip(small, captions, strict=True)):
        left, top = GAP + index % columns * (width + GAP), GAP + index // columns * (height + GAP)
        whole.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
        text = _cut(caption, lambda shown: draw.textlength(shown, font=font) <= width - 6)
        box = draw.textbbox((left + 3, top + 1), text, font=font)
        draw.rectangle((left, top, box[2] + 3, box[3] + 2), fill=GROUND)
        draw.text((left + 3, top + 1), text, font=font, fill=(235, 235, 235))
    return whole


def overview(pictures: Sequence[tuple[str, Picture]]) -> Picture:
    """One picture that shows (caption, picture) pairs."""
    from PIL import Image  # noqa: PLC0415

    images = [Image.open(io.BytesIO(picture.content)) for _, picture in pictures]
    return encoded(sheet(images, [caption for caption, _ in pictures]), pictures[0][1].path)


def contact_sheet(pictures: Sequence[tuple[str, Path]], target: Path, side: int = 320) -> None:
    """Write one PNG that shows (caption, file) pairs, four in a row. Files that are no pictures are only named."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps  # noqa: PLC0415

    from comfyui_api.previews.images import preview  # noqa: PLC0415  # which puts frames on sheets itself

    columns = min(4, max(1, len(pictures)))
    rows = -(-len(pictures) // columns)
    margin, caption_height = 16, 34
    cell_w, cell_h = side + margin, side + caption_height + margin
    whole = Image.new("RGB", (columns * cell_w + margin, rows * cell_h + margin), GROUND)
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=16)
    for index, (caption, path) in enumerate(pictures):
        left = margin + (index % columns) * cell_w
        top = margin + (index // columns) * cell_h
        draw.rectangle((left, top, left + side, top + side), fill=(48, 51, 57))
        if (small := preview(path)) is not None:
            with Image.open(io.BytesIO(small.content)) as image:
                fitted = ImageOps.contain(image, (side, side))
                whole.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
        text = _cut(caption, lambda shown: draw.textlength(shown, font=font) <= side)
        draw.text((left, top + side + 8), text, font=font, fill=(230, 230, 230))
    target.parent.mkdir(parents=True, exist_ok=True)
    whole.save(target, "PNG", optimize=True)


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    if fits(text):
        return text
    while text and not fits(text + "…"):
        text = text[:-1]
    return text + "…"
