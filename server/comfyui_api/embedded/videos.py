"""The texts in videos: MP4 and its kin, WEBM and Matroska."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from comfyui_api.embedded.section import Damaged, Section
from comfyui_api.embedded.texts import Tag, decoded, read_text

_BOXES_OF_BOXES = frozenset([b"moov", b"udta"])
_FIXED_NAMES = {b"\xa9cmt": "comment", b"\xa9des": "description", b"desc": "description"}
_KEY_LENGTH = 100  # of the keys that are read

_SEGMENT, _TAGS, _TAG, _SIMPLE_TAG = 0x18538067, 0x1254C367, 0x7373, 0x67C8
_TAG_NAME, _TAG_STRING = 0x45A3, 0x4487


def mp4(file: Section) -> Iterator[Tag]:
    """udta/meta with keys and ilst as SaveVideo has it written; iTunes' and QuickTime's comments."""
    keys: list[str] = []
    while file.left >= 8:  # QuickTime ends a list of user data with four zeros
        kind, box = _box(file)
        if kind in _BOXES_OF_BOXES:
            yield from mp4(box)
        elif kind == b"meta":
            if box.peek(8)[4:] != b"hdlr":
                box.skip(min(4, box.left))  # version and flags, which QuickTime leaves out
            yield from mp4(box)
        elif kind == b"keys":
            keys = _key_names(box)
        elif kind == b"ilst":
            yield from _items(box, keys)
        elif kind in _FIXED_NAMES and box.left > 4:
            box.skip(4)  # length and language; the length is cut to two bytes
            yield _FIXED_NAMES[kind], partial(read_text, box)
    file.expect_whole()


def _box(file: Section) -> tuple[bytes, Section]:
    head = file.take(8)
    size, kind = int.from_bytes(head[:4], "big"), head[4:]
    if size == 1:  # the length stands behind the kind, in eight bytes
        size = file.number(8) - 16
    elif size == 0:  # up to the end
        size = file.left
    else:
        size -= 8
    if size < 0:
        raise Damaged("a part of it has an impossible length")
    return kind, file.section(size)


def _key_names(box: Section) -> list[str]:
    box.skip(4)
    names = []
    for _ in range(box.number(4)):
        _, name = _box(box)
        # Apple's keys are like com.apple.quicktime.comment.
        names.append(decoded(name.peek(_KEY_LENGTH)).rpartition(".")[2])
    return names


def _items(box: Section, keys: list[str]) -> Iterator[Tag]:
    while box.left >= 8:
        kind, item = _box(box)
        number = int.from_bytes(kind, "big")
        name = keys[number - 1] if 0 < number <= len(keys) else _FIXED_NAMES.get(kind)
        if name is None or not item.left:
            continue
        inner, data = _box(item)
        if inner == b"data":
            data.skip(8)  # type and language
            yield name, partial(read_text, data)
    box.expect_whole()


def matroska(file: Section) -> Iterator[Tag]:
    """The tags of the whole file. Their names are in capitals where FFmpeg wrote them."""
    while file.left:
        identifier, element = _element(file)
        if element is None:  # of unknown length, as a live recording has them: what is in it comes next here
            continue
        if identifier in (_SEGMENT, _TAGS, _TAG):
            yield from matroska(element)
        elif identifier == _SIMPLE_TAG:
            yield from _simple_tag(element)
    file.expect_whole()


def _simple_tag(tag: Section) -> Iterator[Tag]:
    name, text = "", None
    while tag.left:
        identifier, element = _element(tag)
        if element is None:
            raise Damaged("a part of it has an impossible length")
        if identifier == _TAG_NAME:
            name = decoded(element.peek(_KEY_LENGTH))
        elif identifier == _TAG_STRING:
            text = element
    tag.expect_whole()
    if text is not None:
        yield name, partial(read_text, text)


def _element(file: Section) -> tuple[int, Section | None]:
    identifier = int.from_bytes(_variable_number(file, longest=4), "big")
    size = _variable_number(file, longest=8)
    all_bits = (1 << 7 * len(size)) - 1  # without the one that marks the length
    number = int.from_bytes(size, "big") & all_bits
    return identifier, None if number == all_bits else file.section(number)


def _variable_number(file: Section, longest: int) -> bytes:
    """The bytes of a number; the zeros that the first begins with tell how many there are."""
    start = file.peek(longest)
    length = 9 - start[0].bit_length() if start else 1
    if length > longest:
        raise Damaged("a part of it does not begin as it must")
    file.skip(length)
    return start[:length]
