"""The texts in files with a JSON header: latents and other safetensors files, GLB models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from comfyui_api.embedded.section import Damaged, Section
from comfyui_api.embedded.texts import Tag, member, members, read_text


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins with the length of a JSON header, eight bytes with zeros as no text has them."""
    return start[4:9] == b"\0\0\0\0{"


def safetensors(file: Section) -> Iterator[Tag]:
    header = read_text(file.section(file.number(8, "little")))
    yield from _tags(member(header, "__metadata__"))


def glb(file: Section) -> Iterator[Tag]:
    file.skip(12)
    header = file.section(file.number(4, "little") + 4)
    if header.take(4) != b"JSON":
        raise Damaged("it does not begin with its description")
    asset = member(read_text(header), "asset")
    yield from _tags(member(asset, "extras") if asset is not None else None)


def _tags(texts: str | None) -> Iterator[Tag]:
    if texts is not None:
        for key, text in members(texts):
            yield key, partial(str, text)
