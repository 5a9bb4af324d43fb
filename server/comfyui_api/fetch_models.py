"""Which model files to fetch, into which folders of a local installation, and in which order: for the console only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import anyio

from comfyui_api.errors import (
    ComfyError,
    ComfyUnreachable,
    DownloadFailed,
    FileProblem,
    InvalidArgument,
    ServerError,
    UnknownName,
)
from comfyui_api.findings import MissingModel
from comfyui_api.installation import Places, comfyui_folder, read_places
from comfyui_api.knowledge import model_tables
from comfyui_api.model_downloads import (
    Hosts,
    Offer,
    Remote,
    as_expected,
    digest_of,
    fetch,
    fits,
    folder_word,
    free_space,
    kept_so_far,
    place_of,
    shown,
    sizes_agree,
    tokens_of,
)
from comfyui_api.model_downloads.remote import Broken, Unreachable
from comfyui_api.model_sources import ModelSource, ModelSources
from comfyui_api.prepare import load_workflow
from comfyui_api.repair import closest
from comfyui_api.repair.model_files import installed_as
from comfyui_api.stocktake import refresh_inventory, refresh_offline
from comfyui_api.storage import cannot_write
from comfyui_api.transport import is_loopback
from comfyui_api.verdict import validate_workflow
from comfyui_api.workspace import Workspace

State: TypeAlias = Literal["missing", "there", "refused", "downloaded", "failed", "stopped"]
Progress: TypeAlias = Callable[["ModelFile", int, int | None, str], None]
"""Called with (file, bytes done, bytes in all where known, and "fetching", "waiting" or "checking")."""

LOOKS = 4  # how many servers are asked at once what they have
LISTED = 12


@dataclass(frozen=True)
class ModelFile:
    """One file, where it is to stand, and what became of it.

    `missing`: to be fetched; `there`: it stands there already; `refused`: not fetched, and `error` says why;
    `downloaded`, `failed` and `stopped` (by the user, to be gone on with) are how fetching it ended. `size` in bytes,
    exact where the server told it; `kept` of them came in an earlier try. `path` is None where the name has no place.
    """

    source: ModelSource
    path: Path | None
    state: State
    size: int | None = None
    kept: int = 0
    sha256: str | None = None
    error: ComfyError | None = None


@dataclass
class Plan:
    """What is to be done, and while it is done, how far it has come."""

    installation: Path
    files: list[ModelFile]

    @property
    def to_fetch(self) -> list[ModelFile]:
        return [file for file in self.files if file.state == "missing"]

    @property
    def complete(self) -> bool:
        return all(file.state in ("there", "downloaded") for file in self.files)


def choose(sources: ModelSources, names: Iterable[str], folder: str | None = None) -> list[ModelSource]:
    """The source of each name. Where several links lead to the same file of a folder, the first is taken.

    Raises UnknownName with the closest names, and InvalidArgument with the choice where a name means several files.
    """
    return [_choose(sources, name, folder) for name in names]


def _choose(sources: ModelSources, name: str, folder: str | None) -> ModelSource:
    found = sources.find(name, folder)
    if folder is not None:
        in_folder = set(sources.search("", folder))
        found = [source for source in found if source in in_folder]
    if not found:
        known = sorted({source.file for source in sources} | {source.file.split("/")[-1] for source in sources})
        near = closest(name.replace("\\", "/").split("/")[-1], known)
        where = f" in {shown(folder, 60)}" if folder else ""
        raise UnknownName(
            f"No list has a model file '{shown(name, 120)}'{where}.",
            (f"Close to it: {', '.join(near)}. " if near else "")
            + "Add a row to references/models.md in the working folder for another one."
            + "".join(f" In the lists: {problem}" for problem in sources.problems[:3]),
        )
    kinds: dict[tuple[str, str], list[ModelSource]] = {}
    for source in found:
        kinds.setdefault((source.folder, source.file), []).append(source)
    files = [_preferred(links) for links in kinds.values()]
    exact = [source for source in files if source.file == name.replace("\\", "/")] or files
    if len(exact) > 1:
        choice = ", ".join(f"{source.folder}: {source.file}" for source in exact[:LISTED])
        more = f" and {len(exact) - LISTED} more" if len(exact) > LISTED else ""
        raise InvalidArgument(
            f"'{shown(name, 120)}' can mean {len(exact)} files: {choice}{more}.",
            "Give its folder by --folder, or the whole name with its subfolder.",
        )
    return exact[0]


def _preferred(links: list[ModelSource]) -> ModelSource:
    """The first that leads to the file itself, else the first."""
    return next((source for source in links if source.url is not None), links[0])


async def missing_models(workspace: Workspace, workflow: str, server: str | None) -> list[ModelSource]:
    """Where to have the model files that validation finds missing; where nothing is known of the server, those that
    the workflow itself has links for."""
    try:
        repair = (await validate_workflow(workspace, workflow, server)).repair
    except ComfyUnreachable:
        return await _linked(workspace, workflow, server)
    missing = repair.models if repair is not None else ()
    return [_source(model) for model in missing if not installed_as(model)]


def _source(model: MissingModel) -> ModelSource:
    return ModelSource(
        file=model.file.replace("\\", "/"),
        folder=model.folder or "",
        url=model.url,
        page=model.page,
        size=model.size,
        sha256=model.sha256,
        licence=model.licence,
        gated=bool(model.gated),
        origin="workflow" if model.from_workflow else "references",
    )


async def _linked(workspace: Workspace, workflow: str, server: str | None) -> list[ModelSource]:
    ui = (await load_workflow(workspace, workspace.connect(server), workflow)).ui
    if ui is None:
        raise InvalidArgument(
            "This workflow is in API format, which does not say where its models are from, and nothing is known of the "
            "server that it is for.",
            "Start ComfyUI, or give the names of the files in place of the workflow.",
        )
    own = ModelSources.of_workflow(ui)
    if not own.sources:
        raise InvalidArgument(
            "It cannot be told which models this workflow lacks: it has no links of its own, and nothing is known of "
            "the node classes of its server.",
            "Start ComfyUI, or give the names of the files in place of the workflow.",
        )
    known = model_tables(workspace.home).merged(own)
    named = dict.fromkeys((source.folder, source.file) for source in own)
    # What lies in another folder is another file, whatever it is called.
    here = ([source for source in known if (source.folder, source.file) == place] for place in named)
    return [_preferred(links) for links in here]


def installation_of(workspace: Workspace, given: str | None) -> Path:
    """The ComfyUI installation to download to. Raises InvalidArgument where none is named or it is none."""
    named = given or workspace.settings.comfyui_path
    if not named:
        raise InvalidArgument(
            "It is not known where ComfyUI is installed on this machine.",
            "Give its folder by --comfyui-path, or set COMFYUI_API_COMFYUI_PATH.",
        )
    try:
        return comfyui_folder(Path(named).expanduser().absolute())
    except RuntimeError as exc:
        raise InvalidArgument(f"{named} names a user that is not there.", "Give another path.") from exc


def folders_of(installation: Path, places: Places, folder: str) -> list[Path]:
    """Where models of this folder word go, and after that where else ComfyUI looks for them.

    That is models/{word}, or the folder of an extra_model_paths.yaml that says is_default. The former names clip and
    unet are looked into but never written to. Raises NotPermitted for a word that is no folder of models.
    """
    own = installation / "models" / folder_word(folder)
    searched = places.models.get(folder, [])
    is_own = not searched or searched[0].parent == own.parent
    return list(dict.fromkeys([own if is_own else searched[0], *searched, own]))


def remote_of(workspace: Workspace, environment: Mapping[str, str]) -> Remote:
    """The way to the hosts that the settings allow, with the tokens of the environment."""
    settings = workspace.settings
    return Remote(Hosts.of(settings.download_hosts), tokens_of(environment), timeout=settings.timeout)


async def make_plan(remote: Remote, sources: Iterable[ModelSource], installation: Path, progress: Progress) -> Plan:
    """Look what is there and what is offered. Raises FileProblem where it will not fit on the disk."""
    wanted: dict[tuple[str, str], ModelSource] = {}
    for source in sources:
        wanted.setdefault((source.folder, source.file), source)
    files: dict[tuple[str, str], ModelFile] = {}
    limiter = anyio.CapacityLimiter(LOOKS)
    places = read_places(installation)

    async def look(key: tuple[str, str], source: ModelSource) -> None:
        async with limiter:
            files[key] = await _looked_at(remote, source, installation, places, progress)

    async with anyio.create_task_group() as tasks:
        for key, source in wanted.items():
            tasks.start_soon(look, key, source)
    plan = Plan(installation, [files[key] for key in wanted])
    _fits(plan)
    return plan


async def _looked_at(
    remote: Remote, source: ModelSource, installation: Path, places: Places, progress: Progress
) -> ModelFile:
    try:
        if source.url is None:
            raise DownloadFailed(
                f"No direct link to {shown(source.file, 120)} is known.",
                f"Look at {shown(source.page or 'the place that it is from')}.",
            )
        paths = [place_of(folder, source.file) for folder in folders_of(installation, places, source.folder)]
    except ComfyError as exc:
        return ModelFile(source, None, "refused", source.size, error=exc)
    file, offer = ModelFile(source, paths[0], "missing", source.size, kept_so_far(paths[0])), Offer()
    try:
        offer = await remote.look(source)
        as_expected(source, offer)
    except ComfyError as exc:
        # What is only broken may go better when it is fetched, which is tried more than once.
        if not isinstance(exc, Broken) or isinstance(exc, Unreachable):
            file = replace(file, state="refused", error=exc)
    try:
        # The first of that name is the one that ComfyUI takes.
        if standing := next((path for path in paths if path.exists() or path.is_symlink()), None):
            return await _standing(replace(file, path=standing), standing, offer, progress)
    except ComfyError as exc:
        return replace(file, state="refused", error=exc)
    except OSError as exc:  # a folder that may not be looked into
        return replace(file, state="refused", error=cannot_write(paths[0], exc))
    return replace(file, size=offer.size or source.size)


async def _standing(file: ModelFile, path: Path, offer: Offer, progress: Progress) -> ModelFile:
    """The state of a file that stands there: the one that is wanted, or another one that is left alone."""
    if not path.is_file():
        raise FileProblem(f"{path} is no file.", "Remove it, or give the model another name.")
    size, source = path.stat().st_size, file.source
    sha256 = source.sha256 or offer.sha256
    wanted = offer.size if offer.size is not None and not source.sha256 else None
    same = wanted in (None, size)
    if same and sha256:
        found = await digest_of(path, lambda done, size, what: progress(file, done, size, what))
        same = found == sha256.lower()
    elif same and wanted is None and source.size:
        same = sizes_agree(source.size, size)
    if not same:
        raise FileProblem(
            f"{path} exists with other content ({size:,} bytes), and is not written over.",
            "Move it away to fetch the listed file, or keep it under another name.",
        )
    return replace(file, state="there", size=size, sha256=sha256, error=None)


def _fits(plan: Plan) -> None:
    """Raise FileProblem where the files would not fit on the disk that they go to."""
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}
    for file in plan.to_fetch:
        if file.path is not None and file.size is not None:
            place = next(folder for folder in file.path.parents if folder.exists())
            disk = place.stat().st_dev
            places[disk] = place
            needed[disk] = needed.get(disk, 0) + max(0, file.size - file.kept)
    for disk, place in places.items():
        free = free_space(place)
        if not fits(needed[disk], free):
            raise FileProblem(
                f"{needed[disk] / 1e9:,.2f} GB are to be fetched, but {place} has {free / 1e9:,.2f} GB free.",
                "Free some space, fetch less, or choose another disk by extra_model_paths.yaml.",
            )


async def carry_out(remote: Remote, plan: Plan, progress: Progress) -> None:
    """Fetch what is missing, one file after the other; `plan` says how it went, also where this is cancelled."""
    for index, file in enumerate(plan.files):
        if file.state != "missing" or file.path is None:
            continue

        def report(done: int, size: int | None, what: str, file: ModelFile = file) -> None:
            progress(file, done, size, what)

        plan.files[index] = replace(file, state="stopped")
        try:
            sha256 = await fetch(remote, file.source, file.path, report)
        except ComfyError as exc:
            plan.files[index] = replace(file, state="failed", kept=kept_so_far(file.path), error=exc)
        else:
            size = file.path.stat().st_size
            plan.files[index] = replace(file, state="downloaded", size=size, kept=0, sha256=sha256)
        finally:
            if plan.files[index].state == "stopped":
                plan.files[index] = replace(plan.files[index], kept=kept_so_far(file.path))


async def refresh_after(workspace: Workspace, server: str | None, installation: Path) -> str:
    """Let the inventory know of the new files: by its server, or else by reading the installation.

    Returns what became of it, in a sentence.
    """
    connection = workspace.connect(server)
    try:
        refreshed = await refresh_inventory(connection)
    except ServerError:
        if not is_loopback(urlsplit(connection.url).hostname or ""):
            return f"The inventory of {connection.url} is as it was, since it does not answer."
        try:
            refreshed = await refresh_offline(workspace, server, None, installation)
        except ComfyError as exc:
            return f"The inventory is as it was: {exc}"
    return refreshed.trouble or "The inventory knows of the new files."
