"""Files that are never half written, never written over, and never outside of where they belong."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from comfyui_api.errors import FileProblem

ASIDE_LIMIT = 20
STATE_LIMIT = 256 * 2**20  # bytes; the inventory of a server with a hundred thousand files has 10 MB
TEXT_LIMIT = 16 * 2**20  # bytes of a text that people or projects put there
NAME_LIMIT = 120  # characters; leaves room for endings and numbers below the usual 255 bytes


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# mkstemp makes files private; those we hand over get the rights that the user's own files have. It can only be read by
# setting it, which threads that write at the same time would notice: so it is read once.
UMASK = _umask()

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)


def safe_name(name: str, fallback: str = "file") -> str:
    """A file name that is harmless on every platform: no folders, device names, control characters or great length.

    The ending is kept. A name that is safe already comes back unchanged.
    """
    if len(name) > 10 * NAME_LIMIT:
        name = name[: 5 * NAME_LIMIT] + name[-5 * NAME_LIMIT :]
    name = unicodedata.normalize("NFC", name)
    # Lone surrogates cannot be encoded; bidirectional marks could disguise an ending.
    name = "".join("_" if unicodedata.category(char) in ("Cs", "Cf", "Cc") else char for char in name)
    name = _FORBIDDEN.sub("_", name).strip(" .") or fallback
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 12:
        stem, ending = name, ""
    if stem.split(".")[0].casefold() in _DEVICES:
        stem = f"_{stem}"
    while len(f"{stem}.{ending}".encode()) > NAME_LIMIT * 2 or len(stem) > NAME_LIMIT:
        stem = stem[:-1]
    return f"{stem}.{ending}" if ending else stem


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A new empty file in the target's folder, for content that is moved into place when it is whole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    except OSError as exc:
        raise cannot_write(target, exc) from exc
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    except OSError as exc:
        raise cannot_write(target, exc) from exc
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(target: Path, content: str) -> None:
    """Replace a file of our own (state) in one step."""
    with temporary_beside(target) as temporary:
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(target)


def write_new(target: Path, content: str) -> None:
    """Write a file that must not exist yet."""
    with temporary_beside(target) as temporary:
        temporary.write_text(content, encoding="utf-8")
        try:
            move_if_free(temporary, target)
        except FileExistsError as exc:
            raise FileProblem(f"{target} exists already.", "Give another name, or remove it first.") from exc


def put_in_place(temporary: Path, target: Path) -> Path:
    """Move a finished file to `target`, or to `name-2`, `name-3` … where other content stands there already.

    Returns where it stands; a file with the same content is taken as it is. Never replaces a file, also not one that
    appears at the same moment.
    """
    candidate, number = target, 1
    while True:
        try:
            move_if_free(temporary, candidate)
            return candidate
        except FileExistsError:
            if candidate.is_file() and _same_content(temporary, candidate):
                return candidate
        number += 1
        candidate = target.with_name(f"{target.stem}-{number}{target.suffix}")


def move_if_free(temporary: Path, target: Path) -> None:
    """Give a finished file its name, in one step. Raises FileExistsError where the name is taken.

    `temporary` may still be there afterwards, as another name of the same file.
    """
    temporary.chmod(0o666 & ~UMASK)
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: claim the name first, then move over the claim.
        target.touch(exist_ok=False)
        temporary.replace(target)


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        while chunk := a.read(1 << 20):
            if chunk != b.read(1 << 20):
                return False
    return True


def stands(path: Path) -> bool:
    """Whether something is there; a path that no file can have is not."""
    try:
        return path.exists()
    except OSError:  # e.g. a name of more letters than the system takes
        return False


def content_of(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """The content of a file that may come with somebody's project: a link to a device or a pipe would be read for ever.

    Raises OSError, in words in its `strerror` where it is no ordinary file or has more than `limit` bytes.
    """
    # A pipe is opened at once by this flag, where reading it would wait for a writer; Windows has no such files.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no ordinary file"
            raise OSError(errno.EINVAL, f"it is {what}", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit // 2**20} MB", str(path))
    return content


def text_of(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The text of such a file, as some editors on Windows save it too.

    Raises OSError as `content_of`, also for what is no text in UTF-8.
    """
    try:
        return content_of(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise OSError(errno.EILSEQ, f"it is no text in UTF-8 (byte {exc.start})", str(path)) from exc


def read_state(path: Path) -> tuple[Any, str | None]:
    """(content, trouble) of a JSON file of our own: content is None where there is none.

    A file that is no JSON is set aside as `{name}.corrupt`, and `trouble` says so.
    """
    try:
        return json.loads(content_of(path, STATE_LIMIT).decode()), None
    except FileNotFoundError:
        return None, None
    except (ValueError, RecursionError) as exc:
        return None, set_aside(path, f"no valid JSON ({exc})")
    except OSError as exc:
        return None, f"{path} could not be read: {exc.strerror or exc}."


def read_secret(path: Path) -> str:
    """The one word in a file: a token or key. Raises FileProblem where it cannot be read or is not one word."""
    try:
        words = content_of(path).decode().split()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise FileProblem(
            f"{path} could not be read: {reason}.", "Put the token or key into it, and nothing else."
        ) from None
    if len(words) != 1:
        raise FileProblem(
            f"{path} should hold one token or key, and has {len(words)} words.", "Put it there, and nothing else."
        )
    return words[0]


def set_aside(path: Path, why: str) -> str:
    """Move a broken state file out of the way, over no other one. Returns the sentence that says so."""
    names = (f"{path.name}.corrupt{number}" for number in ("", *(f"-{n}" for n in range(2, ASIDE_LIMIT))))
    aside = next((path.with_name(name) for name in names if not stands(path.with_name(name))), None)
    if aside is None:  # something breaks it again and again: the last ones tell enough
        aside = path.with_name(f"{path.name}.corrupt")
    with suppress(OSError):
        path.replace(aside)
    return f"{path.name} was {why}; it is set aside as {aside.name}."


def cannot_write(target: Path, exc: OSError) -> FileProblem:
    reason = (exc.strerror or str(exc)).rstrip(".")
    advice = (
        "Free some space." if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "Check the folder and its permissions."
    )
    return FileProblem(f"{target} could not be written: {reason}.", advice)
