"""The part of a file that has come: kept beside the place of the whole, with what is needed to go on from there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from comfyui_api.errors import DownloadFailed, FileProblem
from comfyui_api.storage import cannot_write, move_if_free, write_atomic


def part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _notes_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def kept_so_far(target: Path) -> int:
    """How many bytes of this file have come already, in bytes; 0 where none have."""
    try:
        return part_path(target).stat().st_size
    except OSError:
        return 0


@contextmanager
def only_here(target: Path) -> Iterator[None]:
    """Let one process alone fetch this file. Raises DownloadFailed where another one is at it."""
    path = target.with_name(f"{target.name}.part.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout as exc:
        raise DownloadFailed(f"Another process is fetching {target.name} right now.", "Wait until it is done.") from exc
    except OSError as exc:
        raise cannot_write(target, exc) from exc
    try:
        yield
    finally:
        # Removed while it is held: who opens it now finds that it is no longer the file of that name, and tries again.
        with suppress(OSError):
            path.unlink()
        lock.release()


class Part:
    """The part of `target` that came from `url`. Every method works on the disk, so each is called in a thread.

    The notes are written before the first byte: a part without them is somebody else's and is left alone.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.path = part_path(target)
        self._notes = _notes_path(target)
        # Only to be recognised by: a link may carry somebody's token.
        self._link = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()
        self._file: FileIO | None = None
        self.sha256: Any = None
        """The running hash of what has come, where all of it came through this process."""
        self.size = 0
        self.validator: str | None = None
        """What the server called this content (ETag or date), to be given with If-Range."""
        self.expected: str | None = None
        """The SHA-256 that the hub named for it."""

    def open(self) -> None:
        """Open the part for going on, or an empty one. Raises FileProblem where it is not ours or cannot be written."""
        notes = self._read_notes()
        try:
            if notes is None and (self.path.exists() or self.path.is_symlink()):
                raise FileProblem(
                    f"{self.path} is in the way, and did not come from here.",
                    "Let the program that writes it finish, or remove it.",
                )
            if self.target.exists() and self.path.exists() and self.path.samefile(self.target):
                self.path.unlink()  # ended between moving it into place and clearing up
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            if notes is None:
                self._write_notes()
            self._file = FileIO(os.open(self.path, flags, 0o666), "r+")
        except OSError as exc:
            raise cannot_write(self.path, exc) from exc
        if notes is not None and notes.get("link") == self._link:
            self.size = self._file.seek(0, os.SEEK_END)
            self.validator, self.expected = _text(notes.get("validator")), _text(notes.get("expected"))
        if self.size == 0:
            self.sha256 = hashlib.sha256()

    def start_over(self, validator: str | None = None, expected: str | None = None) -> None:
        """Forget what has come; what comes now is this content."""
        file = self._opened()
        try:
            file.seek(0)
            file.truncate()
            self.size, self.sha256 = 0, hashlib.sha256()
            self.validator, self.expected = validator, expected
            self._write_notes()
        except OSError as exc:
            raise cannot_write(self.path, exc) from exc

    def write(self, content: bytes | bytearray) -> None:
        """Append. Raises FileProblem; what was written before stays for going on."""
        file = self._opened()
        try:
            file.seek(self.size)
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as exc:
            with suppress(OSError):
                file.truncate(self.size)
            raise cannot_write(self.path, exc) from exc
        self.size += len(content)
        if self.sha256 is not None:
            self.sha256.update(content)

    def close(self) -> None:
        """Leave what has come for another time, or nothing where nothing has."""
        if self._file is None:
            return
        empty = False
        with suppress(OSError):
            empty = os.fstat(self._file.fileno()).st_size == 0
            self._file.close()
        self._file = None
        if empty:
            self.discard()

    def discard(self) -> None:
        """Remove what has come."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        for path in (self.path, self._notes):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Move the whole file to its name, in one step. Raises FileProblem where something stands there by now."""
        file = self._opened()
        try:
            os.fsync(file.fileno())
            file.close()
            self._file = None
            move_if_free(self.path, self.target)
        except FileExistsError as exc:
            raise FileProblem(
                f"{self.target} appeared meanwhile, and is not written over.", "Remove one of the two files."
            ) from exc
        except OSError as exc:
            raise cannot_write(self.target, exc) from exc
        self.discard()

    def _opened(self) -> FileIO:
        assert self._file is not None
        return self._file

    def _read_notes(self) -> dict[str, Any] | None:
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return notes if isinstance(notes, dict) else None

    def _write_notes(self) -> None:
        notes = {"link": self._link, "validator": self.validator, "expected": self.expected}
        write_atomic(self._notes, json.dumps(notes))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isprintable() and value.isascii() else None
