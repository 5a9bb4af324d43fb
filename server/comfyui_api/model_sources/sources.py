"""Many model files and where they can be had, looked up by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from comfyui_api.model_sources.places import home_of, last_part
from comfyui_api.model_sources.source import ModelSource, Origin
from comfyui_api.model_sources.tables import TableReader, first_of
from comfyui_api.model_sources.told import model_entries, of_entry, of_manager_entry


class ModelSources:
    """Model files and where they can be had, the preferred source of each file first.

    `problems` says, a sentence each, what was passed over when they were read.
    """

    def __init__(self, sources: Iterable[ModelSource] = (), problems: Iterable[str] = ()) -> None:
        self.sources = tuple(sources)
        self.problems = tuple(problems)
        self._by_name: dict[str, list[ModelSource]] = {}
        for source in self.sources:
            self._by_name.setdefault(last_part(source.file).casefold(), []).append(source)

    def __iter__(self) -> Iterator[ModelSource]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    @classmethod
    def parse(cls, text: str, origin: Origin = "references") -> ModelSources:
        """The rows of all tables of a Markdown text in the shape of references/models.md. Nothing is raised.

        A table stands below a heading that is its folder, or has a column of folders. Columns go by their names, in
        any order; all but the file or the link may be missing. What cannot be used is passed over, see `problems`.
        """
        reader = TableReader(origin)
        reader.read(text)
        return cls(dict.fromkeys(reader.sources), reader.problems)

    @classmethod
    def of_workflow(cls, ui_graph: Any) -> ModelSources:
        """What a UI workflow says of its models: `properties.models` of its nodes, also of those inside subgraphs and
        group nodes, and its own `models`. Anything may be given, nothing is raised.

        An entry is {name, url, directory, hash?, hash_type?} (ComfyUI_frontend, workflow schema).
        """
        found: dict[ModelSource, None] = {}
        problems: list[str] = []
        for entry in model_entries(ui_graph):
            source = of_entry(entry)
            if isinstance(source, str):
                problems.append(source)
            else:
                found[source] = None
        return cls(found, first_of(problems))

    @classmethod
    def of_manager(cls, model_list: Any) -> ModelSources:
        """What ComfyUI-Manager lists: {"models": [{filename, save_path, type, url, reference, size}, …]}, as in its
        model-list.json and in its server's answer. Anything may be given, nothing is raised."""
        found: dict[ModelSource, None] = {}
        problems: list[str] = []
        entries = model_list.get("models") if isinstance(model_list, dict) else model_list
        for entry in entries if isinstance(entries, list) else ():
            source = of_manager_entry(entry)
            if isinstance(source, str):
                problems.append(source)
            else:
                found[source] = None
        return cls(found, first_of(problems))

    def merged(self, other: ModelSources) -> ModelSources:
        """Both; where they know the same file, what `other` says comes first.

        The same link of the same file stands once, and what `other` leaves out of it (size, hash, licence, page) is
        taken from here.
        """
        ours = {_key(source): source for source in reversed(self.sources)}
        taken = {_key(source) for source in other.sources}
        theirs = [_completed(source, ours.get(_key(source))) for source in other.sources]
        rest = [source for source in self.sources if _key(source) not in taken]
        return ModelSources([*theirs, *rest], [*self.problems, *other.problems])

    def find(self, file: str, folder: str | None = None) -> list[ModelSource]:
        """All sources of files of that name, the best fitting first; none where no file is called so.

        `file` is a name as workflows have it: with or without subfolders, with "/" or "\\", in any case. What lies in
        `folder` and is called exactly so comes first, then what lies in `folder`, then the rest: files of the same
        name in another folder or subfolder may be different files.
        """
        measured = self._measured(file, folder)
        return [source for _, source in sorted(measured, key=lambda each: each[0])]

    def find_one(self, file: str, folder: str | None = None) -> ModelSource | None:
        """The first of `find`, where it is certain that this file is meant.

        None where there is none, where only other folders have a file of that name, or where several that fit equally
        well lie in different places (20 models are called diffusion_pytorch_model.safetensors).
        """
        measured = self._measured(file, folder)
        if not measured:
            return None
        nearest = min(distance for distance, _ in measured)
        fitting = [source for distance, source in measured if distance == nearest]
        places = {(source.folder.casefold(), source.file.casefold()) for source in fitting}
        return fitting[0] if len(places) == 1 and not nearest[0] else None

    def _measured(self, file: str, folder: str | None) -> list[tuple[tuple[bool, int], ModelSource]]:
        """All that have the name, in their order, each with how far it is from what is asked for: whether it lies in
        another folder, and how unlike its name is."""
        wanted = file.replace("\\", "/").strip("/ ")
        home = None if folder is None else home_of(folder)

        def distance(source: ModelSource) -> tuple[bool, int]:
            if source.file == wanted:
                unlike = 0
            elif source.file.casefold() == wanted.casefold():
                unlike = 1
            elif last_part(source.file) == last_part(wanted):
                unlike = 2
            else:
                unlike = 3
            return home is not None and source.folder.casefold() != home, unlike

        return [(distance(source), source) for source in self._by_name.get(last_part(wanted).casefold(), ())]

    def search(self, words: str, folder: str | None = None) -> list[ModelSource]:
        """All sources that have every word in their file's name, folder or link, those with all words in the name
        first. `folder` keeps to one folder. No words: all of them."""
        wanted = words.casefold().split()
        home = None if folder is None else home_of(folder)
        in_name, elsewhere = [], []
        for source in self.sources:
            if home is not None and source.folder.casefold() != home:
                continue
            name = source.file.casefold()
            everything = f"{name} {source.folder} {source.url or source.page}".casefold()
            if all(word in name for word in wanted):
                in_name.append(source)
            elif all(word in everything for word in wanted):
                elsewhere.append(source)
        return in_name + elsewhere


def _key(source: ModelSource) -> tuple[str, str, str | None]:
    return source.folder, source.file, source.url or source.page


def _completed(source: ModelSource, known: ModelSource | None) -> ModelSource:
    if known is None:
        return source
    return replace(
        source,
        page=source.page or known.page,
        size=source.size or known.size,
        sha256=source.sha256 or known.sha256,
        licence=source.licence or known.licence,
        gated=source.gated or known.gated,
    )
