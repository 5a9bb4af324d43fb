"""A sound as a picture: its waveform."""

from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from comfyui_api.previews.picture import LONGEST_SIDE, Picture, encoded
from comfyui_api.previews.videos import SAMPLE_RATE, clock, samples

HEIGHT = 160
READ_AT_ONCE = 8192  # samples looked at in one column; of longer ones the first
CHUNKS = 1000  # of a WAV file's parts; whoever writes more of them means harm
GROUND, LINE, TEXT = (32, 34, 38), (120, 190, 255), (235, 235, 235)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waveform:
    """The lowest and highest sample (-1 to 1) of each moment, from left to right, and how long it is in seconds."""

    ranges: list[tuple[float, float]]
    seconds: float


@dataclass(frozen=True)
class _Wav:
    """Where a WAV file's samples stand: `code` 1 for whole numbers, 3 for floats; `start` and `size` in bytes."""

    code: int
    channels: int
    rate: int
    width: int
    start: int
    size: int


def waveform(path: Path) -> Picture | None:
    """A sound file's waveform; None where it cannot be read. WAV needs nothing else, other kinds the extra `video`."""
    try:
        with path.open("rb") as file:
            form = _read_wav_header(file, path.stat().st_size)
            found = _of_wav(file, form) if form is not None else _of_samples(samples(path))
    except (OSError, ValueError) as exc:
        log.info("no waveform of %s: %s", path, exc)
        return None
    return _drawn(found, path) if found is not None else None


def _read_wav_header(file: BinaryIO, size: int) -> _Wav | None:
    """The form of a WAV file; None for other files, and for samples of a kind that is not read here."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    form = b""
    for _ in range(CHUNKS):
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if len(name) < 4:
            return None
        if name == b"data":
            break
        if name == b"fmt ":
            form = file.read(min(length, 40))
            file.seek(length - len(form) + length % 2, 1)
        else:
            file.seek(length + length % 2, 1)
    else:
        return None
    if len(form) < 16:
        return None
    numbers = [int.from_bytes(form[at : at + width], "little") for at, width in ((0, 2), (2, 2), (4, 4), (14, 2))]
    code, channels, rate, bits = numbers
    if code == 0xFFFE and len(form) >= 26:  # extensible: the kind itself stands further on
        code = int.from_bytes(form[24:26], "little")
    if (code, bits) not in ((1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)) or not 0 < channels < 256 or not rate:
        return None
    # What is written as a stream does not know its length, and says 0 or more than there is.
    left = size - file.tell()
    return _Wav(code, channels, rate, bits // 8, file.tell(), min(length, left) if length else left)


def _of_wav(file: BinaryIO, form: _Wav) -> Waveform | None:
    block = form.channels * form.width
    count = form.size // block
    if count == 0:
        return None
    columns = min(LONGEST_SIDE, count)
    ranges = []
    for column in range(columns):
        first, after = column * count // columns, (column + 1) * count // columns
        file.seek(form.start + first * block)
        taken = min(after - first, max(1, READ_AT_ONCE // form.channels))
        values = _values(file.read(taken * block), form)
        if not values:
            break
        scale = {8: 128.0, 16: 32768.0, 24: 32768.0, 32: 2147483648.0}[8 * form.width] if form.code == 1 else 1.0
        ranges.append((min(values) / scale, max(values) / scale))
    return Waveform(ranges, count / form.rate)


def _values(raw: bytes, form: _Wav) -> array[Any]:
    """The samples of all channels, one after the other, around 0."""
    if form.width == 1:  # the only ones without a sign
        return array("h", (value - 128 for value in raw))
    if form.width == 3:  # the lowest byte is not to be seen
        upper = bytearray(len(raw) // 3 * 2)
        upper[0::2], upper[1::2] = raw[1::3], raw[2::3]
        raw = bytes(upper)
    letter = {(1, 2): "h", (1, 3): "h", (1, 4): "i", (3, 4): "f", (3, 8): "d"}[form.code, form.width]
    values = array(letter)
    values.frombytes(raw[: len(raw) // values.itemsize * values.itemsize])
    if sys.byteorder == "big":
        values.byteswap()
    if form.code == 3:  # NaN would pass for the lowest and the highest
        return array("d", (value if -1e6 < value < 1e6 else 0.0 for value in values))
    return values


def _of_samples(pieces: Iterator[array[int]]) -> Waveform | None:
    found = [(min(piece), max(piece), len(piece)) for piece in pieces if piece]
    if not found:
        return None
    count = min(LONGEST_SIDE, len(found))
    groups = [found[index * len(found) // count : (index + 1) * len(found) // count] for index in range(count)]
    ranges = [(min(low for low, _, _ in group) / 32768, max(high for _, high, _ in group) / 32768) for group in groups]
    return Waveform(ranges, sum(length for _, _, length in found) / SAMPLE_RATE)


def _drawn(wave: Waveform, path: Path) -> Picture:
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  # first needed when a result is shown

    image = Image.new("RGB", (LONGEST_SIDE, HEIGHT), GROUND)
    draw = ImageDraw.Draw(image)
    middle, half = HEIGHT / 2, HEIGHT / 2 - 16
    wide = LONGEST_SIDE / len(wave.ranges)
    for index, (low, high) in enumerate(wave.ranges):
        top, bottom = middle - half * min(1.0, high) - 1, middle - half * max(-1.0, low) + 1  # silence is a line too
        draw.rectangle((index * wide, top, max(index * wide, (index + 1) * wide - 1), bottom), fill=LINE)
    loudest = max(max(abs(low), abs(high)) for low, high in wave.ranges)
    quiet = ", silent" if loudest < 0.0005 else ""
    draw.text((4, 2), f"{clock(wave.seconds)}{quiet}", font=ImageFont.load_default(size=12), fill=TEXT)
    return encoded(image, path)
