"""The texts in pictures: PNG, WEBP, JPEG, TIFF and SVG."""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Literal

from comfyui_api.embedded.section import CUT_OFF, SIZE_LIMIT, Allowance, Damaged, Section
from comfyui_api.embedded.texts import KEYS, Tag, decoded, read_text

# `comf` is ComfyUI's own, in animated PNGs: a key, a zero and the text, as in tEXt.
_PNG_TEXTS = frozenset([b"tEXt", b"zTXt", b"iTXt", b"comf"])
_PNG_KEY_LENGTH = 79

_EXIF_START = b"Exif\0\0"
_EXIF_DIRECTORY, _USER_COMMENT = 0x8769, 0x9286
_TYPES_OF_BYTES = frozenset([1, 2, 7, 129])  # BYTE, ASCII, UNDEFINED, UTF-8
_CHARSET_LENGTH = 8  # of the name before a UserComment
_APP1, _COMMENT, _END, _SCAN = 0xE1, 0xFE, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD8)])

_SVG_METADATA = re.compile(r"<metadata>\s*<!\[CDATA\[", re.IGNORECASE)

Order = Literal["big", "little"]


def png(file: Section) -> Iterator[Tag]:
    file.skip(8)
    while True:
        head = file.take(8)
        kind, content = head[4:], file.section(int.from_bytes(head[:4], "big"))
        if kind == b"IEND":
            return
        checksum = file.number(4)
        if kind in _PNG_TEXTS:
            key, zero, _ = content.peek(_PNG_KEY_LENGTH + 1).partition(b"\0")
            if zero:
                yield decoded(key), partial(_png_text, kind, content, len(key) + 1, checksum)


def _png_text(kind: bytes, chunk: Section, start: int, checksum: int) -> str:
    content = chunk.rest()
    if zlib.crc32(content, zlib.crc32(kind)) != checksum:
        raise Damaged("a text in it is damaged: its checksum is wrong")
    if kind == b"zTXt":
        return decoded(_inflated(memoryview(content)[start + 1 :], chunk.allowance))
    if kind == b"iTXt":
        compressed = content[start : start + 1] == b"\x01"
        language_end = content.find(b"\0", start + 2)
        start = content.find(b"\0", language_end + 1) + 1  # behind the translated key
        if language_end < 0 or not start:
            raise Damaged(CUT_OFF)
        if compressed:
            return decoded(_inflated(memoryview(content)[start:], chunk.allowance))
    return decoded(memoryview(content)[start:])


def _inflated(data: memoryview, allowance: Allowance) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, SIZE_LIMIT + 1)
    except zlib.error as exc:
        raise Damaged("a compressed text in it is damaged") from exc
    if len(inflated) > SIZE_LIMIT:
        raise Damaged(f"a compressed text in it has more than {SIZE_LIMIT:,} bytes, more than any workflow")
    if not stream.eof:
        raise Damaged(CUT_OFF)
    allowance.spend(len(inflated))
    return inflated


def webp(file: Section) -> Iterator[Tag]:
    head = file.take(12)
    file.is_cut = file.left < int.from_bytes(head[4:8], "little") - 4
    while file.left:
        head = file.take(8)
        chunk = file.section(size := int.from_bytes(head[4:], "little"))
        file.skip(min(size % 2, file.left))
        if head[:4] == b"EXIF":
            if chunk.peek(len(_EXIF_START)) == _EXIF_START:  # as Pillow writes it, and other programs do not
                chunk.skip(len(_EXIF_START))
            yield from tiff(chunk.section(chunk.left))
    file.expect_whole()


def jpeg(file: Section) -> Iterator[Tag]:
    file.skip(2)
    while True:
        if file.take(1) != b"\xff":
            raise Damaged("a part of it does not begin as it must")
        while (marker := file.number(1)) == 0xFF:
            pass  # as many of them as one likes may stand before a part
        if marker in (_SCAN, _END):
            return
        if marker in _WITHOUT_LENGTH:
            continue
        segment = file.section(max(file.number(2) - 2, 0))
        if marker == _APP1 and segment.peek(len(_EXIF_START)) == _EXIF_START:
            segment.skip(len(_EXIF_START))
            yield from tiff(segment.section(segment.left))
        elif marker == _COMMENT:
            yield "comment", partial(read_text, segment)


def tiff(file: Section) -> Iterator[Tag]:
    """The texts of EXIF data, or of a TIFF file, which is built alike."""
    start = file.take(4)
    order: Order = "little" if start[:2] == b"II" else "big"
    if start not in (b"II*\0", b"MM\0*"):
        raise Damaged("its EXIF data does not begin as it must")
    yield from _directory(file, file.number(4, order), order)
    file.expect_whole()


def _directory(file: Section, offset: int, order: Order, *, within: bool = False) -> Iterator[Tag]:
    entries = file.from_offset(offset)
    for _ in range(entries.number(2, order)):
        entry = entries.take(12)
        tag, kind, count, value = (int.from_bytes(entry[a:b], order) for a, b in ((0, 2), (2, 4), (4, 8), (8, 12)))
        if tag == _EXIF_DIRECTORY and not within:
            yield from _directory(file, value, order, within=True)
        elif kind in _TYPES_OF_BYTES and count > 4:  # four bytes and less stand in the entry itself
            text = file.from_offset(value).section(count)
            file.is_cut |= text.is_cut
            yield from _exif_text(tag, text)


def _exif_text(tag: int, value: Section) -> Iterator[Tag]:
    """ComfyUI counts the tags down from 0x0110, so that which one it is means nothing; the texts begin with the key."""
    if tag == _USER_COMMENT:
        yield "comment", partial(_user_comment, value)
        return
    start = value.peek(len("workflow:"))
    key, colon, _ = decoded(start).partition(":")
    if colon and key.casefold() in KEYS:
        value.skip(len(key) + 1)
        yield key, partial(read_text, value)
    elif start.startswith(b"{"):
        yield "comment", partial(read_text, value)


def _user_comment(value: Section) -> str:
    charset, text = value.take(min(_CHARSET_LENGTH, value.left)), value.rest()
    if charset == b"UNICODE\0":
        # Nothing prescribes the order of the bytes: a mark at the start may tell it, or the zero of a Latin letter.
        return text.decode("utf-16-be" if text.startswith(b"\0") else "utf-16", "replace")
    return decoded(text if charset in (b"ASCII\0\0\0", bytes(_CHARSET_LENGTH)) else charset + text)


def svg(file: Section) -> Iterator[Tag]:
    text = read_text(file)
    if data := _SVG_METADATA.search(text):
        # Up to where the JSON ends: `]]>` may stand in a text of it.
        yield "comment", partial(text.__getitem__, slice(data.end(), None))
    end = text.rfind("</desc>")  # where the drawings of ComfyUI-Custom-Scripts have the UI graph
    start = text.rfind("<desc>", 0, max(end, 0))
    if start >= 0:
        yield "workflow", partial(html.unescape, text[start + len("<desc>") : end])
