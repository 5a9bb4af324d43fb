"""Bring the results of runs home: files to disk, small pictures of them and their texts into the answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio.to_thread

from comfyui_api.collect.fetching import Tell, fetch
from comfyui_api.collect.showing import Shown, link, show
from comfyui_api.collect.sidecars import run_record, workflow_in, write_sidecar
from comfyui_api.collect.texts import Shelf, keep_texts, show_file
from comfyui_api.errors import ComfySilent, ComfyUnreachable, FileProblem, InvalidArgument, ServerError
from comfyui_api.follow import Report, look, shorten
from comfyui_api.gone import why_gone
from comfyui_api.previews import dimensions
from comfyui_api.quantities import count
from comfyui_api.results import Delivery, Link, MissingFile, RunDelivery, SavedFile
from comfyui_api.runs import ATTENTION, HistoryEntry, OutputFile, RunState, SystemStats, asset_value
from comfyui_api.workspace import Connection, Workspace

__all__ = ["fetch", "get_output", "load_value"]

MOST_RUNS = 100
NAME_SHOWN = 200
SILENCES = 3  # files on which a server that otherwise answers may fall silent before it is left in peace
LINKS = 20
LINKS_BUDGET = 6000  # characters of all paths together
# Characters of JSON for texts: with the least, none is cut again by the door, which cuts the longest list first.
TEXTS_LEAST, TEXTS_MOST, ANSWER = 2000, 4500, 9000


@dataclass
class _Progress:
    """What the caller is told while large files come: strictly increasing, at most twice a second."""

    report: Report | None
    runs: int
    done: int = 0
    """Runs that are collected."""
    last: float = 0.0
    next_at: float = 0.0

    def of_file(self, file: OutputFile, index: int, files: int) -> Tell | None:
        """What to call as the file with this index comes, out of so many of its run."""
        if self.report is None:
            return None
        report = self.report

        async def tell(received: int, length: int | None) -> None:
            share = received / length if length else 0.0
            percent = min(99.9, 100 * (self.done + (index + share) / files) / self.runs)
            if percent > self.last and time.monotonic() >= self.next_at:
                self.last, self.next_at = percent, time.monotonic() + 0.5
                of_all = f" of {length / 2**20:,.0f}" if length else ""
                name = shorten(file.filename, NAME_SHOWN)
                await report(percent, 100.0, f"{name}: {received / 2**20:,.0f}{of_all} MB")

        return tell


@dataclass
class _Basket:
    """What has been collected so far."""

    folder: Path
    sidecar: bool
    several: bool
    progress: _Progress
    files: list[SavedFile] = field(default_factory=list)
    missing: list[MissingFile] = field(default_factory=list)
    runs: list[RunDelivery] = field(default_factory=list)
    shelf: Shelf = field(default_factory=lambda: Shelf(TEXTS_LEAST))
    problem: FileProblem | None = None
    remarks: list[str] = field(default_factory=list)
    dead: dict[str, ServerError] = field(default_factory=dict)
    """Servers that stopped answering, by their address: they are not asked for each further file again."""
    silences: Counter[str] = field(default_factory=Counter)
    stats: dict[str, SystemStats | None] = field(default_factory=dict)

    def mark(self, prompt_id: str) -> str | None:
        """What tells the runs of one answer apart."""
        return prompt_id if self.several else None


async def get_output(
    workspace: Workspace,
    prompt_id: str | Sequence[str],
    server: str | None,
    *,
    directory: str | None,
    previews: bool,
    sidecar: bool = False,
    report: Report | None = None,
) -> Delivery:
    """Save all files of one run or of several that have ended, also of failed ones that made some before.

    A file that the server no longer has is named in `missing`; the others are saved all the same. Nothing is ever
    written over: another file of the same name gets a number, the same file is not saved twice. `sidecar`: beside each
    file `{file}.json` with what it was made with. `report` is told of large files while they come.
    """
    ids = [prompt_id] if isinstance(prompt_id, str) else list(dict.fromkeys(prompt_id))
    if not 0 < len(ids) <= MOST_RUNS:
        raise InvalidArgument(f"prompt_id: {len(ids)} runs were given.", f"Give 1 to {MOST_RUNS} at a time.")
    folder = workspace.writable_folder(directory or "output")
    basket = _Basket(folder, sidecar, not isinstance(prompt_id, str), _Progress(report, len(ids)))
    for done, one in enumerate(ids):
        basket.progress.done = done
        await _collect(basket, workspace, workspace.connect(server, prompt_id=one), one)
    if basket.problem is not None and not basket.files:
        raise basket.problem
    shown, links = await anyio.to_thread.run_sync(_shown, basket, previews)
    counted = Counter(run.state for run in basket.runs)
    return Delivery(
        state=next(state for state in ATTENTION if counted[state]),
        prompt_id=None if basket.several else ids[0],
        states={str(state): count for state, count in counted.items()} if basket.several else None,
        runs=_worth_telling(basket.runs) if basket.several else None,
        files=basket.files,
        texts=basket.shelf.shown,
        missing=basket.missing,
        message=_message(basket, shown),
        pictures=shown.pictures,
        links=links,
    )


async def _collect(basket: _Basket, workspace: Workspace, connection: Connection, prompt_id: str) -> None:
    """Put what one run made into the basket. Raises ServerErrors only where it is the only run."""
    try:
        if (dead := basket.dead.get(connection.url)) is not None:
            raise dead
        seen = await look(connection, prompt_id)
    except ServerError as exc:
        if not basket.several:
            raise
        if isinstance(exc, ComfyUnreachable | ComfySilent):
            basket.dead[connection.url] = exc
        basket.runs.append(RunDelivery(prompt_id, "unreachable", str(exc)))
        return
    if seen.entry is None:
        why = await _nothing(workspace, connection, prompt_id, seen.state)
        basket.runs.append(RunDelivery(prompt_id, seen.state, why))
        return
    before = len(basket.files), len(basket.missing)
    await _save_files(basket, connection, seen.entry)
    saved, missing = len(basket.files) - before[0], len(basket.missing) - before[1]
    said = f"{missing} could not be fetched." if missing else ""
    if not (saved or missing or seen.entry.texts):
        said = "The run has no outputs; poll_result tells why."
    basket.runs.append(RunDelivery(prompt_id, seen.state, said))


async def _save_files(basket: _Basket, connection: Connection, entry: HistoryEntry) -> None:
    saved: list[SavedFile] = []
    mark = basket.mark(entry.prompt_id)
    files = _each_once(entry.files)
    for index, file in enumerate(files):
        tell = basket.progress.of_file(file, index, len(files))
        try:
            if (dead := basket.dead.get(connection.url)) is not None:
                raise dead
            path = await fetch(connection.client, file, basket.folder, tell=tell)
            saved.append(await anyio.to_thread.run_sync(_described, path, file, mark))
        except (ServerError, FileProblem) as exc:
            if isinstance(exc, FileProblem):
                basket.problem = basket.problem or exc
            await _note_silence(basket, connection, exc)
            name = shorten(file.filename, NAME_SHOWN)
            basket.missing.append(MissingFile(file.node_id, name, shorten(str(exc), 3 * NAME_SHOWN), mark))
    several = basket.several
    if not several:
        taken = sum(len(repr(told)) for told in (*saved, *basket.missing))
        basket.shelf.left = max(TEXTS_LEAST, min(TEXTS_MOST, ANSWER - taken))
    try:
        saved += await anyio.to_thread.run_sync(
            lambda: keep_texts(entry.texts, basket.folder, basket.shelf, entry.prompt_id, marked=several)
        )
        if basket.sidecar and saved:
            saved = await _with_sidecars(basket, connection, entry, saved)
    except FileProblem as exc:  # what was saved before is there
        basket.problem = basket.problem or exc
        basket.remarks.append(str(exc))
    basket.files.extend(saved)


async def _with_sidecars(
    basket: _Basket, connection: Connection, entry: HistoryEntry, files: list[SavedFile]
) -> list[SavedFile]:
    if connection.url not in basket.stats:
        basket.stats[connection.url] = None
        with suppress(ServerError):
            basket.stats[connection.url] = await connection.client.system_stats()
    stats = basket.stats[connection.url]

    def write() -> list[SavedFile]:
        record: dict[str, Any] = run_record(entry, connection.url, stats, entry.workflow or workflow_in(files))
        return [replace(file, sidecar=str(write_sidecar(file, record))) for file in files]

    return await anyio.to_thread.run_sync(write)


def _each_once(files: Iterable[OutputFile]) -> list[OutputFile]:
    """The files without those that are named again: a node that shows what another one saved names the same file."""
    found: dict[tuple[str, str, str, str | None], OutputFile] = {}
    for file in files:
        found.setdefault((file.filename, file.subfolder, file.type, file.asset), file)
    return list(found.values())


async def _note_silence(basket: _Basket, connection: Connection, exc: Exception) -> None:
    """Where a file did not come: find out whether it is the file or the server, which then is asked for no more."""
    if connection.url in basket.dead or not isinstance(exc, ComfyUnreachable | ComfySilent):
        return
    basket.silences[connection.url] += 1
    try:
        await connection.client.system_stats()
    except (ComfyUnreachable, ComfySilent) as gone:
        basket.dead[connection.url] = gone
    except ServerError:
        pass  # it answers
    if basket.silences[connection.url] >= SILENCES:
        basket.dead.setdefault(connection.url, exc)


def _described(path: Path, file: OutputFile, prompt_id: str | None) -> SavedFile:
    width, height = dimensions(path) if file.kind == "image" else (None, None)
    return SavedFile(
        str(path), file.kind, path.stat().st_size, file.node_id, load_value(file), width, height, prompt_id
    )


def load_value(file: OutputFile) -> str:
    """What a loader node takes to go on from an output on the same server (folder_paths.py, annotated paths)."""
    if file.asset is not None:
        return asset_value(file.asset)
    path = f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
    return f"{path} [{file.type}]"


def _shown(basket: _Basket, previews: bool) -> tuple[Shown, tuple[Link, ...]]:
    texts = {text.path for text in basket.shelf.shown}
    if previews:
        for file in basket.files:
            if file.kind == "text" and file.path not in texts:
                with suppress(OSError):
                    show_file(file, basket.shelf)
    links, left = [], LINKS_BUDGET
    for file in basket.files[:LINKS]:
        left -= 2 * len(file.path)
        if left < 0:
            break
        with suppress(OSError):  # somebody else may have moved it already
            links.append(link(file))
    return show(basket.files) if previews else Shown(), tuple(links)


def _worth_telling(runs: list[RunDelivery]) -> list[RunDelivery]:
    """Of several runs those that are not simply done, each with why."""
    return [run for run in runs if run.message or run.state != "completed"]


def _message(basket: _Basket, shown: Shown) -> str:
    if not basket.several and not (basket.files or basket.shelf.shown or basket.missing):
        return basket.runs[0].message
    parts = [f"{count(len(basket.files), 'file')} saved."]
    if basket.several:
        counts = Counter(run.state for run in basket.runs)
        states = ", ".join(f"{number} {state}" for state, number in counts.items())
        parts.insert(0, f"{count(len(basket.runs), 'run')}: {states}.")
    parts.extend((*shown.remarks, *dict.fromkeys(basket.remarks)))
    if basket.missing:
        parts.append(f"{len(basket.missing)} could not be fetched: see missing.")
    if any(text.path for text in basket.shelf.shown):
        parts.append("Texts that are cut here stand whole in their `path`.")
    if basket.sidecar and basket.files:
        parts.append("Each sidecar can be given to queue_workflow as the workflow.")
    return " ".join(parts)


async def _nothing(workspace: Workspace, connection: Connection, prompt_id: str, state: RunState) -> str:
    if state == "gone" and workspace.jobs.find(prompt_id) is not None:
        why = await why_gone(workspace, connection, prompt_id)
        return _KEPT_NO_LONGER if connection.client.names_runs else f"{_WHY_GONE[why]} {_LOST}"
    return _NOTHING_YET.get(state, "The run has no outputs; poll_result tells why.")


_WHY_GONE = {
    "deleted": "The run was deleted on the server.",
    "restarted": "ComfyUI restarted since, and no longer knows this run.",
    "unknown_id": "The server no longer knows this run.",
    "expired": "The server no longer has this run: it keeps runs for some time only, or it was deleted there.",
    None: "The server no longer knows this run: ComfyUI restarted, or the run was deleted there.",
}
_KEPT_NO_LONGER = (
    "The server no longer has this run: it keeps runs for some time only, or it was deleted there. Queue the workflow "
    "again to get the files."
)
_LOST = (
    "Its temporary pictures (PreviewImage) are lost; what it saved before is still in ComfyUI's output folder. Queue "
    "the workflow again to get the files."
)
_NOTHING_YET: dict[RunState, str] = {
    "queued": "The run has not begun: wait with poll_result.",
    "running": "The run is not finished: wait with poll_result.",
    "gone": "The server knows no such run: poll_result tells more.",
}
