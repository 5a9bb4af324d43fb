"""A stretch of a file that is read by seeking, with bounds on what a whole file may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

SIZE_LIMIT = 64 * 2**20  # bytes of one text
BYTE_LIMIT = 4 * SIZE_LIMIT  # … and of everything that is read of one file
READ_LIMIT = 400_000  # single reads; a PNG of 1 GB has about 30,000 chunks, two reads each
DEPTH_LIMIT = 16  # sections within sections; real files have about six

CUT_OFF = "it is damaged or cut off: it ends in the middle of something"


class Damaged(Exception):
    """The file is not what its format says. The text says how, as the end of a sentence."""


@dataclass
class Allowance:
    """What the reading of one file may still cost; all its sections share it."""

    bytes: int = BYTE_LIMIT
    reads: int = READ_LIMIT

    def spend(self, count: int) -> None:
        self.bytes -= count
        self.reads -= 1
        if self.reads < 0 or self.bytes < 0:
            raise Damaged("it has more parts than any file that ComfyUI saves")


class Section:
    """A part of a file, and the place up to which it has been read. Who asks for more than is there gets Damaged.

    A section that is longer than what there is of the file is cut: what stands before the cut can be read.
    """

    def __init__(
        self, file: BinaryIO, start: int, end: int, allowance: Allowance | None = None, depth: int = 0
    ) -> None:
        if depth > DEPTH_LIMIT:
            raise Damaged("its parts are nested deeper than in any file that ComfyUI saves")
        self.file, self.start, self.end = file, start, end
        self.place = start
        self.is_cut = False
        self.allowance = allowance or Allowance()
        self.depth = depth

    @property
    def left(self) -> int:
        """How many bytes there still are."""
        return self.end - self.place

    def take(self, count: int) -> bytes:
        """The next bytes."""
        data = self.peek(count)
        if len(data) < count:
            raise Damaged(CUT_OFF)
        self.place += count
        return data

    def peek(self, count: int) -> bytes:
        """The next bytes, or as many as there are, without moving on."""
        count = min(count, self.left)
        if count > SIZE_LIMIT:
            raise Damaged(f"a text in it has {count:,} bytes, more than any workflow")
        self.allowance.spend(count)
        self.file.seek(self.place)
        return self.file.read(count)

    def rest(self) -> bytes:
        """All that is left."""
        self.expect_whole()
        return self.take(self.left)

    def number(self, size: int, order: Literal["big", "little"] = "big") -> int:
        """The next `size` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), order)

    def skip(self, count: int) -> None:
        if count > self.left:
            raise Damaged(CUT_OFF)
        self.place += count

    def section(self, count: int) -> Section:
        """The next bytes as a section of their own, which is cut where there are fewer, as this one then is."""
        start, is_cut = self.place, count > self.left
        self.place += min(count, self.left)
        part = Section(self.file, start, self.place, self.allowance, self.depth + 1)
        part.is_cut = is_cut
        self.is_cut = self.is_cut or is_cut
        return part

    def from_offset(self, offset: int) -> Section:
        """What stands from `offset` on, counted from where this section starts."""
        start = min(self.start + offset, self.end)
        return Section(self.file, start, self.end, self.allowance, self.depth + 1)

    def expect_whole(self) -> None:
        """Raise Damaged where a part is missing, whoever has come to the end of what is there."""
        if self.is_cut:
            raise Damaged(CUT_OFF)
