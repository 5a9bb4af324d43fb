"""From the server to the disk: resumed, bounded in memory and in tries, checked, and then moved to its name."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio.to_thread import run_sync

from comfyui_api.errors import DownloadFailed, FileProblem
from comfyui_api.model_downloads.names import shown
from comfyui_api.model_downloads.part import Part, only_here
from comfyui_api.model_downloads.remote import Broken, Offer, RangeRefused, Remote, web_page
from comfyui_api.model_sources import ModelSource

Report: TypeAlias = Callable[[int, int | None, str], None]
"""Called with (bytes done, bytes in all where known, "fetching", "waiting" before another try, or "checking")."""

CHUNK = 4 * 2**20
RESERVE = 256 * 2**20
"""Bytes that stay free beside a large file: a full disk harms more than this download."""
PAUSES = (0.5, 2.0, 5.0, 15.0)
"""Seconds before each new try; after a try that brought much, the count begins anew."""
MUCH = 16 * 2**20
NEW_VERSIONS = 2  # how often a file may change on the server during one download
HEAD = 512  # bytes by which a file is told from a page


async def fetch(
    remote: Remote, source: ModelSource, target: Path, report: Report, *, pauses: Sequence[float] = PAUSES
) -> str:
    """Fetch the file to `target`. Returns its SHA-256, which was checked where the source or the hub names one.

    What has come stays as `{name}.part` when it breaks off, also when this is cancelled, and the next call goes on
    from there. Raises DownloadFailed, NotPermitted (hosts) and FileProblem (disk, or `target` exists).
    """
    with only_here(target):
        if target.exists() or target.is_symlink():
            raise FileProblem(f"{target} exists already, and is not written over.", "Remove it to fetch it anew.")
        part = Part(target, source.url or "")
        await run_sync(part.open)
        try:
            sha256 = await _whole(remote, source, part, report, pauses)
            await run_sync(part.finish)
        finally:
            part.close()
    return sha256


async def _whole(remote: Remote, source: ModelSource, part: Part, report: Report, pauses: Sequence[float]) -> str:
    """Bring the part to its end, and check it. Returns the SHA-256."""
    failures = versions = 0
    furthest, resumed = part.size, part.size > 0
    while True:
        try:
            offer = await _try(remote, source, part, report)
            sha256 = await _checked(source, offer, part, report)
        except _Changed as changed:
            # The file is another one than before, or the two halves of it do not fit together.
            versions += 1
            if versions > NEW_VERSIONS:
                raise DownloadFailed(
                    f"{shown(source.file, 120)} keeps changing on the server.", "Try again later."
                ) from changed
            await run_sync(part.start_over)
        except _Wrong as wrong:
            await run_sync(part.start_over)
            if not resumed:
                raise DownloadFailed(wrong.message, wrong.next_step) from wrong
            resumed = False  # it may be the part from before that was wrong: once more from the start
        except Broken as exc:
            failures = 0 if part.size - furthest >= MUCH else failures + 1
            if failures > len(pauses):
                raise
            furthest, resumed = max(furthest, part.size), part.size > 0
            report(part.size, None, "waiting")
            await anyio.sleep(max(exc.wait, pauses[max(failures - 1, 0)]))
        else:
            return sha256


class _Changed(Exception):
    """The server has another file now than the one that the part is of."""


class _Wrong(DownloadFailed):
    """All of it came, and it is not the file that it should be."""


async def _try(remote: Remote, source: ModelSource, part: Part, report: Report) -> Offer:
    """Bring what is missing, in one request. Returns what was offered. Raises Broken where it breaks off."""
    headers = {}
    if part.size and (part.validator or part.expected or source.sha256):
        headers["Range"] = f"bytes={part.size}-"
        # Where the hub names the hash, that tells: the storages behind it may call the same content differently.
        if part.validator and not part.expected:
            headers["If-Range"] = part.validator
    try:
        async with remote.opened(source, headers) as (offer, content):
            if part.size and (offer.offset != part.size or _other_version(part, offer)):
                if offer.offset:
                    raise _Changed
                # It gives the whole: it cannot do parts, or it has another file now.
                await run_sync(part.start_over, offer.validator, offer.sha256)
            elif part.size == 0:
                if offer.offset:
                    raise Broken("The server gave a part of the file that was not asked for.")
                await run_sync(part.start_over, offer.validator, offer.sha256)
            as_expected(source, offer)
            _room_for(part, offer.size)
            await _receive(content, source, part, offer, report)
            return offer
    except RangeRefused as refused:
        offer = refused.offer
        if part.size and (offer.size == part.size or (offer.size is None and source.sha256)):
            return offer  # it had all come, and was not yet moved
        raise _Changed from refused


def _other_version(part: Part, offer: Offer) -> bool:
    if part.expected and offer.sha256:
        return part.expected != offer.sha256
    return part.validator is not None and offer.validator is not None and part.validator != offer.validator


async def _receive(
    content: AsyncIterator[bytes], source: ModelSource, part: Part, offer: Offer, report: Report
) -> None:
    waiting, ended = bytearray(), False
    report(part.size, offer.size, "fetching")
    try:
        async for chunk in content:
            waiting += chunk
            if offer.size is not None and part.size + len(waiting) > offer.size:
                raise DownloadFailed(
                    f"More of {shown(source.file, 120)} comes than the {offer.size:,} bytes that were announced.",
                    "Look for another link to it.",
                )
            if len(waiting) >= CHUNK or (part.size == 0 and len(waiting) >= HEAD):
                whole_piece, waiting = waiting, bytearray()
                await _keep(whole_piece, source, part, offer)
            report(part.size + len(waiting), offer.size, "fetching")
        ended = True
    finally:
        # What came before it broke off is kept, also when this is cancelled; a few bytes cannot be told from a page.
        if waiting and (ended or part.size or len(waiting) >= HEAD):
            with anyio.CancelScope(shield=True):
                await _keep(waiting, source, part, offer)
    if offer.size is not None and part.size < offer.size:
        raise Broken(f"The download broke off after {part.size:,} of {offer.size:,} bytes.")


async def _keep(waiting: bytearray, source: ModelSource, part: Part, offer: Offer) -> None:
    if part.size == 0:
        _is_a_model(bytes(waiting[:HEAD]), source)
    if offer.size is None and part.size % (64 * CHUNK) < len(waiting):
        _room_for(part, part.size + 64 * CHUNK)  # nobody said how long it is: so look as it grows
    await run_sync(part.write, waiting)


def as_expected(source: ModelSource, offer: Offer) -> None:
    """Raise DownloadFailed where what is offered is clearly another file than the one that was meant."""
    name = shown(source.file, 120)
    step = (
        "The file was replaced, or the list is wrong: compare with its page. If it is the right one, give a row with "
        "what is true of it to references/models.md in the working folder."
    )
    if source.sha256 and offer.sha256 and source.sha256.lower() != offer.sha256:
        raise DownloadFailed(
            f"The server has another {name} than the list says: SHA-256 {offer.sha256}, not {source.sha256.lower()}.",
            step,
        )
    if not source.sha256 and source.size and offer.size is not None and not sizes_agree(source.size, offer.size):
        raise DownloadFailed(
            f"The server has another {name} than the list says: {offer.size:,} bytes, not about {source.size:,}.", step
        )


def sizes_agree(listed: int, real: int) -> bool:
    """Whether a size from a list, in bytes, can mean this one: lists round, and some count 1,024 bytes to the KB."""
    return abs(listed - real) <= max(listed // 10, 2**16)


def _is_a_model(head: bytes, source: ModelSource) -> None:
    """Raise DownloadFailed where the first bytes are a page, a pointer to a file, or not what the ending says.

    safetensors: 8 bytes with the length of the JSON that follows; GGUF: its name.
    """
    start, ending = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower(), source.file.rpartition(".")[2].casefold()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        raise web_page("The server", source)
    name = shown(source.file, 120)
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        raise DownloadFailed(
            f"What comes is not {name} but a note of Git LFS on where it is kept.",
            "Use the link of its download button (/resolve/ on Hugging Face, media.githubusercontent.com for GitHub).",
        )
    if (ending in ("safetensors", "sft") and head[8:9] != b"{") or (ending == "gguf" and not head.startswith(b"GGUF")):
        raise DownloadFailed(
            f"What comes is no {ending} file: it begins with {shown(repr(head[:12]))}.",
            "Open the link in a browser to see what it gives, and look for another one.",
        )


async def _checked(source: ModelSource, offer: Offer, part: Part, report: Report) -> str:
    """The SHA-256 of the whole. Raises _Wrong where it is not the one that it should be."""
    if offer.size is not None and part.size != offer.size:
        raise _Wrong(f"{part.size:,} bytes came in place of {offer.size:,}.", "Try again.")
    if offer.size is None and source.size and not source.sha256 and not sizes_agree(source.size, part.size):
        raise Broken(f"The download ended after {part.size:,} of about {source.size:,} bytes.")
    if part.size == 0:
        raise DownloadFailed(f"The server gives {shown(source.file, 120)} as an empty file.", "Look for another link.")
    if part.sha256 is not None:
        found = str(part.sha256.hexdigest())
    else:
        found = await digest_of(part.path, report)
    expected = (source.sha256 or offer.sha256 or found).lower()
    if found != expected:
        raise _Wrong(
            f"{shown(source.file, 120)} came with wrong content: SHA-256 {found}, not {expected}. It was thrown away.",
            "Try again; if it stays so, the file was replaced: compare with its page.",
        )
    return found


async def digest_of(path: Path, report: Report) -> str:
    """The SHA-256 of a file, read in pieces so that it can be cancelled. Raises FileProblem."""
    sha256 = hashlib.sha256()
    try:
        size, done = path.stat().st_size, 0
        with path.open("rb") as file:
            while piece := await run_sync(_next_piece, file, sha256):
                done += piece
                report(done, size, "checking")
    except OSError as exc:
        raise FileProblem(f"{path} could not be read: {exc.strerror}.", "Check the file and its permissions.") from exc
    return sha256.hexdigest()


def _next_piece(file: Any, sha256: Any) -> int:
    content = file.read(4 * CHUNK)
    sha256.update(content)
    return len(content)


def free_space(place: Path) -> int:
    """Bytes free where this path is or will be. Raises FileProblem."""
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError as exc:
        raise FileProblem(f"{place} cannot be looked at: {exc.strerror}.", "Check the disk.") from exc


def fits(needed: int, free: int) -> bool:
    return needed <= 0 or needed + min(needed, RESERVE) <= free


def _room_for(part: Part, size: int | None) -> None:
    needed, free = (size or 0) - part.size, free_space(part.path)
    if not fits(needed, free):
        raise FileProblem(
            f"{part.target.parent} has {free / 1e9:,.1f} GB free, and {needed / 1e9:,.1f} GB more would come.",
            "Free some space, or choose another disk by extra_model_paths.yaml.",
        )
