"""The texts in sounds: FLAC, Ogg and MP3."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

from comfyui_api.embedded.section import CUT_OFF, SIZE_LIMIT, Damaged, Section
from comfyui_api.embedded.texts import Tag, decoded, read_text

_VORBIS_COMMENT = 4  # among FLAC's blocks
_KEY_LENGTH = 100  # of the keys that are read
_COMMENT_STARTS = (b"OpusTags", b"\x03vorbis", b"\x81theora")
_ID3_LATIN, _ID3_UTF8 = 0, 3


def flac(file: Section) -> Iterator[Tag]:
    file.skip(4)
    is_last = False
    while not is_last:
        head = file.number(4)
        is_last, kind = bool(head >> 31), head >> 24 & 0x7F
        block = file.section(head & 0xFFFFFF)
        if kind == _VORBIS_COMMENT:
            yield from _vorbis_comments(block)
    file.expect_whole()


def _vorbis_comments(block: Section) -> Iterator[Tag]:
    block.skip(block.number(4, "little"))  # who wrote it
    for _ in range(block.number(4, "little")):
        comment = block.section(block.number(4, "little"))
        key, equals, _ = comment.peek(_KEY_LENGTH).partition(b"=")
        if equals:
            comment.skip(len(key) + 1)
            yield decoded(key), partial(read_text, comment)


def ogg(file: Section) -> Iterator[Tag]:
    packet = _second_packet(file)
    # In Ogg, FLAC's block keeps its own head of four bytes.
    start = next((len(start) for start in _COMMENT_STARTS if packet.startswith(start)), 4)
    comments = Section(io.BytesIO(packet), min(start, len(packet)), len(packet), file.allowance)
    yield from _vorbis_comments(comments)


def _second_packet(file: Section) -> bytes:
    """The packet with the comments. It may lie across many pages, and other streams' pages between them."""
    stream, number, parts, size = b"", 0, list[bytes](), 0
    while True:
        head = file.take(27)
        if head[:4] != b"OggS":
            raise Damaged("a part of it does not begin as it must")
        lengths = file.take(head[26])
        page = file.section(sum(lengths))
        stream = stream or head[14:18]
        if head[14:18] != stream:
            continue
        for length in lengths:
            if number == 1:
                parts.append(page.take(length))
                size += length
            else:
                page.skip(length)
            if length < 255:  # shorter ones end a packet
                if number == 1:
                    return b"".join(parts)
                number += 1
        if size > SIZE_LIMIT:
            raise Damaged(f"the comments in it have more than {SIZE_LIMIT:,} bytes, more than any workflow")


def mp3(file: Section) -> Iterator[Tag]:
    head = file.peek(10)
    if not head.startswith(b"ID3") or head[3:4] < b"\x03":
        return
    file.skip(10)
    version, flags = head[3], head[5]
    tags = file.section(_seven_bits(head[6:]))
    if flags & 0x40:
        extended = tags.take(4)
        tags.skip(_seven_bits(extended) - 4 if version > 3 else int.from_bytes(extended, "big"))
    while tags.left >= 10:
        frame_head = tags.take(10)
        if frame_head[:1] == b"\0":
            return  # padding
        size = frame_head[4:8]
        frame = tags.section(_seven_bits(size) if version > 3 else int.from_bytes(size, "big"))
        if frame_head[:4] == b"TXXX":
            yield from _user_text(frame)
    tags.expect_whole()


def _user_text(frame: Section) -> Iterator[Tag]:
    start = frame.peek(_KEY_LENGTH)
    key, zero, _ = start[1:].partition(b"\0")
    if zero and start[0] in (_ID3_LATIN, _ID3_UTF8):
        frame.skip(len(key) + 2)
        yield decoded(key), partial(read_text, frame)


def _seven_bits(number: bytes) -> int:
    """A number in the lower seven bits of each byte."""
    if len(number) < 4 or any(byte > 0x7F for byte in number):
        raise Damaged(CUT_OFF)
    return number[0] << 21 | number[1] << 14 | number[2] << 7 | number[3]
