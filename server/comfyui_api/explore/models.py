"""Which model files are installed and which loader takes them, and what can be downloaded."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

import anyio.to_thread

from comfyui_api.errors import ComfySilent, ComfyUnreachable, FileProblem, InvalidArgument, NotOffered, UnknownName
from comfyui_api.inventory.head import Models
from comfyui_api.knowledge import model_tables
from comfyui_api.known import Known, what_is_known
from comfyui_api.model_sources import ModelSource, ModelSources, folder_word
from comfyui_api.node_class import NodeClasses
from comfyui_api.quantities import count, first_shown
from comfyui_api.repair import closest
from comfyui_api.repair.model_inputs import is_model_file, model_folder
from comfyui_api.repair.names import listed
from comfyui_api.results import ModelInfo, ModelList
from comfyui_api.search import Item, Ranking, rank
from comfyui_api.workspace import Connection, Workspace

EMBEDDINGS = "embeddings"
MOST_SHOWN = 200
NAMES_SHOWN = 5
SAID_FROM = 5  # minutes that the inventory is old
FOLDERS_SHOWN = 60
LOADERS_SHOWN = 3
LOOKED_AT = 40  # classes whose name says that they load from a folder

# Of each folder the classes that load from it, the usual one first: ComfyUI's own, and those of ComfyUI-GGUF.
LOADERS = (
    *("CheckpointLoaderSimple", "ImageOnlyCheckpointLoader", "UNETLoader", "CLIPLoader", "DualCLIPLoader"),
    *("TripleCLIPLoader", "QuadrupleCLIPLoader", "VAELoader", "LoraLoader", "LoraLoaderModelOnly"),
    *("ControlNetLoader", "DiffControlNetLoader", "CLIPVisionLoader", "StyleModelLoader", "UpscaleModelLoader"),
    *("LatentUpscaleModelLoader", "GLIGENLoader", "HypernetworkLoader", "PhotoMakerLoader", "ModelPatchLoader"),
    *("AudioEncoderLoader", "LoadBackgroundRemovalModel", "FrameInterpolationModelLoader", "OpticalFlowLoader"),
    *("LoadMoGeModel", "LoadDA3Model", "DiffusersLoader", "CheckpointLoader"),
    *("UnetLoaderGGUF", "CLIPLoaderGGUF", "DualCLIPLoaderGGUF"),
)


@dataclass(frozen=True)
class _Stock:
    """What is installed as far as known: `files` by folder; none where nothing is known."""

    files: Models
    known: Known | None = None
    remark: str | None = None


async def find_models(
    workspace: Workspace, query: str, folder: str | None, *, installed: bool, limit: int, server: str | None
) -> ModelList:
    """The installed model files, or those that can be downloaded, that have the words of the query in their names.

    Raises UnknownName for a folder that does not exist, and ComfyUnreachable where nothing is known of the server.
    """
    if limit < 1:
        raise InvalidArgument(f"limit is {limit}.", "Give a number of at least 1.")
    connection = workspace.connect(server)
    stock = await _stock(workspace, connection, needed=installed)
    sources = await anyio.to_thread.run_sync(model_tables, workspace.home)
    limit, folder = min(limit, MOST_SHOWN), folder or None
    if installed:
        found = await anyio.to_thread.run_sync(lambda: _installed(stock, sources, query, folder, limit))
    else:
        found = _downloadable(stock, sources, query, folder, limit)
    if stock.remark is not None:
        found.message = f"{stock.remark} {found.message}"
    if sources.problems:
        found.message += f" In the lists of what can be downloaded: {sources.problems[0]}"
    return found


async def _stock(workspace: Workspace, connection: Connection, *, needed: bool) -> _Stock:
    """What is installed. Raises ComfyUnreachable where that is `needed` and nothing is known."""
    try:
        known = await what_is_known(workspace, connection)
    except ComfySilent as exc:
        if needed:
            raise
        return _Stock({}, remark=f"What is installed is not known: {exc}")
    inventory = known.inventory
    if inventory is None:
        if needed and known.untold is not None:
            raise NotOffered(
                f"What is installed is not known: {known.untold.message}",
                f"{known.untold.next_step} What can be downloaded is found without it (installed=false, on the console "
                "--available).",
            )
        if needed:
            raise ComfyUnreachable(
                f"What is installed is not known. {known.trouble or ''}".strip(),
                "Start ComfyUI and call check_status. What can be downloaded is found without it (installed=false, on "
                "the console --available).",
            )
        return _Stock({}, remark=f"What is installed is not known. {known.trouble or ''}".strip())
    files = dict(inventory.models)
    if inventory.embeddings and not files.get(EMBEDDINGS):
        files[EMBEDDINGS] = dict.fromkeys(inventory.embeddings)
    if not inventory.model_count and known.node_classes is not None:
        files |= await anyio.to_thread.run_sync(_offered, known.node_classes)
    remark = None
    if not known.fresh:
        minutes = int(inventory.age_seconds(datetime.now(UTC)) // 60)
        trouble = "" if known.online else f" ({known.trouble})"
        if minutes >= SAID_FROM or trouble:
            remark = f"As of {minutes} minutes ago{trouble}: check_status(refresh_inventory=true) looks again."
    return _Stock(files, known, remark)


def _offered(node_classes: NodeClasses) -> Models:
    """The files that the loaders offer, for an inventory that was made of a saved /object_info only."""
    found: Models = {}
    for class_type in LOADERS:
        node_class = node_classes.get(class_type)
        for spec in node_class.inputs.values() if node_class is not None else ():
            word = model_folder(class_type, spec, {})
            for option in (spec.options or ()) if word is not None else ():
                if is_model_file(option):
                    found.setdefault(str(word), {}).setdefault(option, None)
    return found


# --- installed ones


def _installed(stock: _Stock, sources: ModelSources, query: str, folder: str | None, limit: int) -> ModelList:
    places = _in_folder(stock.files, folder)
    everything = {(word, file): size for word, files in places.items() for file, size in files.items()}
    total = len(everything)
    counts = None
    if not query.strip():
        matches = _some_of_each(places)
        if folder is None:
            counts = {word: len(files) for word, files in places.items() if files}
            message = _counted(counts, len(stock.files) - len(counts))
        else:
            message = f"{total} in models/{next(iter(places))}."
    else:
        ranking = rank(query, (_item(word, file) for word, file in everything))
        matches = [_unkeyed(found.key) for found in ranking.found]
        total = len(matches)
        message = _message(query, ranking, total, [file for _, file in everything])
        if not matches:
            others = rank(query, _items(_of_folder(sources, folder)))
            if others.found:
                names = {found.key for found in others.found}
                message += f" {len(names)} can be downloaded: find_models(query, installed=false)."
    shown = matches[:limit]
    if total > len(shown) and counts is None:
        message += f" {first_shown(len(shown)).capitalize()}: give more words, a folder or a higher limit."
    models = [ModelInfo(file=_value(word, file), folder=word, size=everything[word, file]) for word, file in shown]
    return ModelList(
        models=models,
        folders=dict(list(counts.items())[:FOLDERS_SHOWN]) if counts is not None else None,
        loaders=_loaders(stock, {word for word, _ in shown}) or None,
        message=message,
    )


def _in_folder(files: Models, folder: str | None) -> Models:
    """The files of one folder, or below a subfolder of it ("loras/sdxl"); all of them where none is asked for."""
    if folder is None:
        return files
    name, _, below = _place(folder)
    word = next((word for word in files if word.casefold() == name.casefold()), None) or folder_word(name)
    if word is None or word not in files:
        raise _no_such_folder(folder, files, "ComfyUI has")
    prefix = f"{below}/" if below else ""
    return {word: {file: size for file, size in files[word].items() if _plain(file).startswith(prefix)}}


def _place(folder: str) -> tuple[str, str, str]:
    return _plain(folder).strip("/ ").removeprefix("models/").partition("/")


def _plain(file: str) -> str:
    return file.replace("\\", "/")


def _some_of_each(places: Models) -> list[tuple[str, str]]:
    """All files, the first of each folder first, then the second of each."""
    columns = [[(word, file) for file in files] for word, files in places.items()]
    return [entry for row in zip_longest(*columns) for entry in row if entry is not None]


def _counted(counts: Mapping[str, int], empty: int) -> str:
    if not counts:
        return "No model files are installed. find_models(query, installed=false) finds what can be downloaded."
    also = f"; {count(empty, 'folder is', 'folders are')} empty" if empty else ""
    return (
        f"{count(sum(counts.values()), 'model file')} in {count(len(counts), 'folder')}{also}. Some of each are shown: "
        "search by words or give a folder."
    )


def _item(word: str, file: str, link: str | None = None) -> Item:
    # The folder's name as well: "lora" finds what lies in loras; and the link's, as not all names tell the family.
    stem = file.rsplit(".", 1)[0] if is_model_file(file) else file
    return Item(json.dumps([word, file]), (stem,), ((word, 0.5), ((link or "").partition("://")[2], 0.3)))


def _items(sources: Iterable[ModelSource]) -> Iterator[Item]:
    return (_item(source.folder, source.file, source.url or source.page) for source in sources)


def _unkeyed(key: str) -> tuple[str, str]:
    word, file = json.loads(key)
    return word, file


def _message(query: str, ranking: Ranking, total: int, names: Iterable[str]) -> str:
    if not ranking.found:
        near = closest(query, names, NAMES_SHOWN)
        return f"No installed model has '{query[:100]}' in its name.{f' Closest: {listed(near)}.' if near else ''}"
    message = f"{count(total, 'file matches', 'files match')}."
    for word, meant in ranking.read_as.items():
        message += f" '{word}' was read as '{meant}'."
    if ranking.missing:
        message += f" None has {listed(ranking.missing)}."
    return message


def _value(word: str, file: str) -> str:
    """What a prompt takes: the option of the loader as it is; an embedding is named in the text."""
    if word != EMBEDDINGS:
        return file
    return f"embedding:{file.rsplit('.', 1)[0] if is_model_file(file) else file}"


def _loaders(stock: _Stock, words: set[str]) -> dict[str, list[str]]:
    """By folder, the inputs that take its files, as "CheckpointLoaderSimple.ckpt_name"; the usual one first."""
    found: dict[str, list[str]] = {EMBEDDINGS: ["in the text of a prompt"]} if EMBEDDINGS in words else {}
    classes = stock.known.node_classes if stock.known is not None else None
    wanted = words - {EMBEDDINGS}
    if classes is None:
        return found
    try:
        for class_type in (*LOADERS, *_named_like(classes, wanted)):
            node_class = classes.get(class_type)
            if node_class is None or node_class.is_deprecated:
                continue
            for spec in node_class.inputs.values():
                word = model_folder(class_type, spec, stock.files)
                if word in wanted and len(found.setdefault(word, [])) < LOADERS_SHOWN:
                    address = f"{class_type}.{spec.name}"
                    if address not in found[word]:
                        found[word].append(address)
    except FileProblem:
        return found  # what is known of the classes cannot be read: the files are what was asked for
    return found


def _named_like(classes: NodeClasses, words: set[str]) -> list[str]:
    """Classes of packs whose name says that they load from a folder that ComfyUI's own do not load from."""
    own = {"checkpoints", "diffusion_models", "text_encoders", "vae", "loras", "controlnet", "upscale_models"}
    if not (words := words - own):
        return []
    loading = [name for name in classes if "load" in name.casefold()]
    found: dict[str, None] = {}
    for word in words:
        ranking = rank(f"{word} loader", (Item(name, (name,)) for name in loading), limit=LOOKED_AT // 4)
        found |= dict.fromkeys(hit.key for hit in ranking.found)
    return list(found)[:LOOKED_AT]


# --- those that can be downloaded


def _downloadable(stock: _Stock, sources: ModelSources, query: str, folder: str | None, limit: int) -> ModelList:
    in_folder = _of_folder(sources, folder)
    if folder is not None and not in_folder:
        raise _no_such_folder(folder, sorted({source.folder for source in sources}), "The lists have")
    there = {(word, _plain(file)) for word, files in stock.files.items() for file in files}
    distinct: dict[tuple[str, str], ModelSource] = {}
    for source in in_folder:
        distinct.setdefault((source.folder, source.file), source)
    counts: dict[str, int] | None = None
    if query.strip():
        ranking = rank(query, _items(distinct.values()))
        matches = [distinct[_unkeyed(found.key)] for found in ranking.found]
        message = _message(query, ranking, len(matches), (file for _, file in distinct))
        message = message.replace("No installed model has", "No model in the lists has")
    else:
        matches = list(distinct.values())
        message = f"{len(matches)} can be downloaded."
        if folder is None:
            counts = {}
            for source in matches:
                counts[source.folder] = counts.get(source.folder, 0) + 1
            matches = [distinct[entry] for entry in _some_of_each(_by_folder(distinct))]
    shown = matches[:limit]
    if len(matches) > len(shown):
        message += f" {first_shown(len(shown)).capitalize()}: give more words, a folder or a higher limit."
    models = [_offer(source, is_there=(source.folder, source.file) in there) for source in shown]
    if to_get := next((model for model in models if not model.installed and model.url), None):
        command = f"comfyui-api models get {shlex.quote(to_get.file)} --folder {shlex.quote(to_get.folder)}"
        message += f" To propose to the user, for the machine of ComfyUI: {command}"
    return ModelList(
        models=models,
        folders=dict(list(counts.items())[:FOLDERS_SHOWN]) if counts is not None else None,
        message=message,
    )


def _by_folder(distinct: Iterable[tuple[str, str]]) -> Models:
    places: Models = {}
    for word, file in distinct:
        places.setdefault(word, {})[file] = None
    return places


def _of_folder(sources: ModelSources, folder: str | None) -> list[ModelSource]:
    if folder is None:
        return list(sources)
    name, _, _ = _place(folder)
    words = {source.folder for source in sources}
    word = next((word for word in words if word.casefold() == name.casefold()), None) or folder_word(name)
    return [source for source in sources if source.folder == word]


def _no_such_folder(folder: str, words: Iterable[str], whose: str) -> UnknownName:
    there = list(words)
    near = closest(_place(folder)[0], there)
    return UnknownName(
        f"{whose} no model folder '{folder[:100]}'.{f' Did you mean {listed(near)}?' if near else ''}",
        f"The folders are: {', '.join(there[:FOLDERS_SHOWN])}.",
    )


def _offer(source: ModelSource, *, is_there: bool) -> ModelInfo:
    return ModelInfo(
        file=source.file,
        folder=source.folder,
        size=source.size,
        installed=is_there or None,
        url=source.url,
        page=source.page if source.url is None or source.gated else None,
        licence=source.licence,
        gated=source.gated or None,
    )
