"""Where a sandbox home keeps things, and how calls at the same time take turns."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from comfyui_api.errors import SandboxError

Say = Callable[[str], None]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True)
class SandboxFolder:
    """The folder of one sandbox."""

    name: str
    folder: Path

    @property
    def base_directory(self) -> Path:
        return self.folder / "base"

    @property
    def record_file(self) -> Path:
        return self.folder / "sandbox.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "comfyui.log"


@dataclass(frozen=True)
class Home:
    """The folder that holds the environment and all sandboxes. `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> Home:
        return cls(path.expanduser().absolute())

    @property
    def environment(self) -> Path:
        return self.root / "env"

    @property
    def sandboxes(self) -> Path:
        return self.root / "sandboxes"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def mark(self) -> Path:
        """Exists where `env` is ours: it tells our folder from one that stood there before."""
        return self.root / "comfyui-api-sandbox.txt"

    @property
    def install_log(self) -> Path:
        return self.root / "install.log"

    def sandbox(self, name: str) -> SandboxFolder:
        """The folder of the sandbox called `name`. Raises SandboxError for a name that is no plain file name."""
        if not _NAME.fullmatch(name):
            raise SandboxError(
                f"'{name}' cannot be the name of a sandbox.",
                "Use up to 64 letters, digits, dots, dashes and underscores, with a letter or digit at both ends.",
            )
        return SandboxFolder(name, self.sandboxes / name)

    def names(self) -> list[str]:
        """The sandboxes that exist, in alphabetical order: the folders with a record in them."""
        records = self.sandboxes.glob("*/sandbox.json")
        return sorted(record.parent.name for record in records if _NAME.fullmatch(record.parent.name))

    @contextmanager
    def turn_for_sandbox(self, name: str, say: Say | None = None) -> Iterator[None]:
        """Hold the right to start, stop or remove this sandbox."""
        with self._turn(self._lock_of(name), f"the sandbox '{name}'", say):
            yield

    def drop_lock(self, name: str) -> None:
        """Delete the lock file of a sandbox that is gone, in its turn. Those who wait for it make a new one."""
        with suppress(OSError):
            # Windows keeps an open file, and filelock deletes it there by itself.
            self._lock_of(name).unlink()

    def _lock_of(self, name: str) -> Path:
        return self.locks / f"sandbox-{self.sandbox(name).name}.lock"

    @contextmanager
    def turn_for_environment(self, say: Say | None = None) -> Iterator[None]:
        """Hold the right to build or remove the environment. Taken after `turn_for_sandbox`, never before it."""
        with self._turn(self.locks / "environment.lock", "the sandbox installation", say):
            yield

    @contextmanager
    def _turn(self, file: Path, what: str, say: Say | None) -> Iterator[None]:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if say is not None:
                say(f"Another process is busy with {what}: waiting for it.")
            # The system releases the lock when its holder ends, however it ends: this wait has an end too.
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextmanager
def file_trouble_told() -> Iterator[None]:
    """Turn a file that cannot be read or written into a SandboxError."""
    try:
        yield
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        raise SandboxError(
            f"The sandbox's files could not be read or written: {where}{exc.strerror or exc}.",
            "See to free space and permissions there, or choose another folder with COMFYUI_API_SANDBOX_HOME.",
        ) from exc


def remove_tree(path: Path) -> None:
    """Delete a folder, or what stands in its place. Links are removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new text, never a part."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
