"""Where model files can be had: the tables of references/models.md, and what workflows and servers say of theirs."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

Origin: TypeAlias = Literal["workflow", "references", "working folder", "manager"]

# Other spellings of ComfyUI's folder words (folder_paths.py, map_legacy, has the first two), and the words themselves.
_FOLDERS = {
    "clip": "text_encoders",
    "unet": "diffusion_models",
    "t2i_adapter": "controlnet",
    "checkpoint": "checkpoints",
    "ckpt": "checkpoints",
    "controlnets": "controlnet",
    "diffusion_model": "diffusion_models",
    "embedding": "embeddings",
    "lora": "loras",
    "text_encoder": "text_encoders",
    "upscale_model": "upscale_models",
    "audio_encoders": "audio_encoders",
    "background_removal": "background_removal",
    "checkpoints": "checkpoints",
    "classifiers": "classifiers",
    "clip_vision": "clip_vision",
    "configs": "configs",
    "controlnet": "controlnet",
    "detection": "detection",
    "diffusers": "diffusers",
    "diffusion_models": "diffusion_models",
    "embeddings": "embeddings",
    "frame_interpolation": "frame_interpolation",
    "geometry_estimation": "geometry_estimation",
    "gligen": "gligen",
    "hypernetworks": "hypernetworks",
    "latent_upscale_models": "latent_upscale_models",
    "loras": "loras",
    "model_patches": "model_patches",
    "optical_flow": "optical_flow",
    "photomaker": "photomaker",
    "style_models": "style_models",
    "text_encoders": "text_encoders",
    "upscale_models": "upscale_models",
    "vae": "vae",
    "vae_approx": "vae_approx",
}
# What a Manager's "default" save_path means, by its type (ComfyUI-Manager, model lists).
_FOLDERS_OF_TYPES = {
    "checkpoint": "checkpoints",
    "unclip": "checkpoints",
    "clip": "text_encoders",
    "clip_vision": "clip_vision",
    "controlnet": "controlnet",
    "t2i-adapter": "controlnet",
    "t2i-style": "controlnet",
    "diffusion_model": "diffusion_models",
    "unet": "diffusion_models",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "gligen": "gligen",
    "lora": "loras",
    "upscale": "upscale_models",
    "vae": "vae",
}
_COLUMNS = {
    "file": "file",
    "file name": "file",
    "filename": "file",
    "model": "file",
    "model file": "file",
    "name": "file",
    "folder": "folder",
    "directory": "folder",
    "dir": "folder",
    "path": "folder",
    "save path": "folder",
    "save_path": "folder",
    "link": "link",
    "links": "link",
    "url": "link",
    "download": "link",
    "direct link": "link",
    "download link": "link",
    "source": "link",
    "page": "page",
    "website": "page",
    "reference": "page",
    "size": "size",
    "sha256": "sha256",
    "sha-256": "sha256",
    "sha 256": "sha256",
    "hash": "sha256",
    "licence": "licence",
    "license": "licence",
    "gated": "gated",
    "gate": "gated",
    "access": "gated",
    "account": "gated",
    "terms": "gated",
}
_OPEN = frozenset({"", "-", "–", "—", "no", "none", "open", "free", "false", "public"})
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_DELIMITERS = frozenset("|:- \t")
_QUOTED = re.compile(r"`+([^`]+)`+")
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\(\s*<?(https?://[^\s)>]+)>?[^)]*\)", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s<>|)\]\"'`\\^{}\x00-\x20\x7f]+", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\_*|`\[\]~<>#-])")
_SEGMENT = re.compile(r"[^\x00-\x1f\x7f<>:\"|?*\\/]+")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SIZE = re.compile(r"(\d{1,15})(?:([.,])(\d{1,9}))?\s*(?:([kmgt]?)(i?)b(?:ytes?)?)?", re.IGNORECASE | re.ASCII)
_SHA256 = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_ENDING = re.compile(r"\.(?!html?$|php$|md$|aspx?$)[A-Za-z0-9]{1,12}$", re.IGNORECASE)

_HUGGING_FACE_FILE = re.compile(r"((?:/datasets|/spaces)?/[^/]+/[^/]+)/(resolve|blob|raw)/([^/]+/.*[^/])")
_GITHUB_FILE = re.compile(r"(/[^/]+/[^/]+)/(raw|blob|releases/download)/([^/]+/.*[^/])")
_ASKS_FOR_FILE = re.compile(r"(?:^|&)(?:dl|download|raw)=")

_LONGEST_PATH = 400
_LONGEST_LINK = 2_000
_LONGEST_LINE = 4_000
_LARGEST = 10**15
_MOST_PROBLEMS = 100
_SHOWN_LETTERS = 80


@dataclass(frozen=True)
class ModelSource:
    """One model file and where it can be had.

    `folder` is the folder below models/ in ComfyUI's own word ("checkpoints", "text_encoders"), `file` the name that
    it has there, with "/" where it lies in a subfolder. `url` is a direct link to the file, `page` a page to read
    (a licence to accept, an account to have); at least one of them is given. `size` in bytes where known, as exact as
    the source has it. `gated`: an account or an accepted licence is needed to download it.
    """

    file: str
    folder: str
    url: str | None = None
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    licence: str | None = None
    gated: bool = False
    origin: Origin = "references"


class ModelSources:
    """Model files and where they can be had, the preferred source of each file first.

    `problems` says, a sentence each, what was passed over when they were read.
    """

    def __init__(self, sources: Iterable[ModelSource] = (), problems: Iterable[str] = ()) -> None:
        self.sources = tuple(sources)
        self.problems = tuple(problems)
        self._by_name: dict[str, list[ModelSource]] = {}
        for source in self.sources:
            self._by_name.setdefault(_last_part(source.file).casefold(), []).append(source)

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
        reader = _TableReader(origin)
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
        for entry in _model_entries(ui_graph):
            source = _of_entry(entry)
            if isinstance(source, str):
                problems.append(source)
            else:
                found[source] = None
        return cls(found, _first(problems))

    @classmethod
    def of_manager(cls, model_list: Any) -> ModelSources:
        """What ComfyUI-Manager lists: {"models": [{filename, save_path, type, url, reference, size}, …]}, as in its
        model-list.json and in its server's answer. Anything may be given, nothing is raised."""
        found: dict[ModelSource, None] = {}
        problems: list[str] = []
        entries = model_list.get("models") if isinstance(model_list, dict) else model_list
        for entry in entries if isinstance(entries, list) else ():
            source = _of_manager_entry(entry)
            if isinstance(source, str):
                problems.append(source)
            else:
                found[source] = None
        return cls(found, _first(problems))

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
        home = None if folder is None else _home_of(folder)

        def distance(source: ModelSource) -> tuple[bool, int]:
            if source.file == wanted:
                unlike = 0
            elif source.file.casefold() == wanted.casefold():
                unlike = 1
            elif _last_part(source.file) == _last_part(wanted):
                unlike = 2
            else:
                unlike = 3
            return home is not None and source.folder.casefold() != home, unlike

        return [(distance(source), source) for source in self._by_name.get(_last_part(wanted).casefold(), ())]

    def search(self, words: str, folder: str | None = None) -> list[ModelSource]:
        """All sources that have every word in their file's name, folder or link, those with all words in the name
        first. `folder` keeps to one folder. No words: all of them."""
        wanted = words.casefold().split()
        home = None if folder is None else _home_of(folder)
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


# --- folders, links, paths, sizes


def folder_word(text: str) -> str | None:
    """ComfyUI's word for a folder that somebody writes in another way ("Text encoders", "clip"); None for others."""
    return _FOLDERS.get(text.strip().casefold().replace(" ", "_"))


def direct_link(link: str) -> str | None:
    """The link from which a browser gets the file itself, or None where it leads to a page, or is no http(s) link.

    Hugging Face's and GitHub's pages of one file become the links to the file.
    """
    parts = _split_link(link)
    if parts is None:
        return None
    host, path, query = parts.netloc.lower().removeprefix("www."), parts.path, parts.query
    if host in ("huggingface.co", "hf.co"):
        found = _HUGGING_FACE_FILE.fullmatch(path)
        if found is None:
            return None
        # "?download=true" only tells a browser not to show it.
        return f"https://huggingface.co{found[1]}/{found[2].replace('blob', 'resolve')}/{found[3]}"
    if host == "github.com":
        found = _GITHUB_FILE.fullmatch(path)
        return f"https://github.com{found[1]}/{found[2].replace('blob', 'raw')}/{found[3]}" if found else None
    if host in ("civitai.com", "civitai.red"):
        return link if path.startswith("/api/download/") else None
    if "/resolve/" in path or _ENDING.search(path) or _ASKS_FOR_FILE.search(query):
        return link
    return None


def _split_link(link: str) -> SplitResult | None:
    """The parts of an http(s) link; None where it is none."""
    if len(link) > _LONGEST_LINK or not _LINK.fullmatch(link):
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        # A bracket without its partner, or an address that is none.
        return None
    # A link that carries a password is nobody's public source.
    return parts if parts.hostname and "@" not in parts.netloc else None


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _place(folder: str, file: str) -> tuple[str, str] | str:
    """The folder below models/ in ComfyUI's word and the file in it, with its subfolders; or what is wrong with them.

    Only plain relative paths pass: a place is where something may be downloaded to.
    """
    where = folder.replace("\\", "/").strip().removeprefix("./")
    for front in ("ComfyUI/", "models/"):
        where = where[len(front) :] if where.casefold().startswith(front.casefold()) else where
    home, _, below = where.rstrip("/").partition("/")
    file = file.replace("\\", "/").strip()
    if below and not file.startswith(f"{below}/"):
        file = f"{below}/{file}"
    if not where:
        return "no folder is given for it"
    home = _FOLDERS.get(home.casefold(), home)
    if not _FOLDER.fullmatch(home):
        return f"“{_shown(folder)}” is no folder below models/"
    if len(file) > _LONGEST_PATH or not all(map(_is_plain, file.split("/"))):
        return "its name is no plain path of a file"
    return home, file


def _is_plain(segment: str) -> bool:
    return bool(_SEGMENT.fullmatch(segment)) and segment.strip(" .") == segment


def _home_of(folder: str) -> str:
    """The folder that a caller means, to compare with."""
    place = _place(folder, "x")
    return (folder if isinstance(place, str) else place[0]).casefold()


def size_of(text: str, *, binary: bool = False) -> int | None:
    """Bytes of "6.94 GB" or "6.46 GiB". `binary`: whoever wrote it counts 1024 of each for the next unit."""
    found = _SIZE.search(text)
    if found is None:
        return None
    whole, mark, fraction, unit, i = found.groups()
    if fraction and mark == "," and len(fraction) == 3:
        whole, fraction = whole + fraction, None
    if unit is None and len(whole) < 4:
        # "6.5" alone is rather 6.5 GB than 6 bytes: nobody can tell.
        return None
    base = 1024 if i or binary else 1000
    size = round(float(f"{whole}.{fraction or 0}") * base ** _UNITS[(unit or "").lower()])
    return size if 0 < size <= _LARGEST else None


def _shown(text: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN_LETTERS + 1])
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"


def _first(problems: list[str]) -> list[str]:
    left_out = len(problems) - _MOST_PROBLEMS
    return problems if left_out <= 0 else [*problems[:_MOST_PROBLEMS], f"There are {left_out} more such problems."]


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


# --- tables


class _TableReader:
    """Reads the tables of a Markdown text, line by line."""

    def __init__(self, origin: Origin) -> None:
        self.sources: list[ModelSource] = []
        self._problems: list[str] = []
        self._origin: Origin = origin
        self._folder = ""
        self._level = 0
        self._columns: list[str | None] | None = None

    @property
    def problems(self) -> list[str]:
        return _first(self._problems)

    def read(self, text: str) -> None:
        before = ""
        fenced = False
        for number, line in enumerate(text.splitlines(), 1):
            if line.lstrip().startswith(("```", "~~~")):
                fenced = not fenced
                self._columns = None
            elif fenced:
                continue
            elif line.startswith("#"):
                self._heading(line)
            elif "|" not in line:
                self._columns = None
            elif len(line) > _LONGEST_LINE:
                self._problems.append(f"Line {number} is passed over: it has more than {_LONGEST_LINE} letters.")
            elif "-" in line and _DELIMITERS.issuperset(line):
                self._columns = self._header(before, number)
            elif self._columns:
                self._row(self._columns, _cells(line), number)
            before = line

    def _heading(self, line: str) -> None:
        text = line.lstrip("#")
        level = len(line) - len(text)
        self._columns = None
        quoted = _QUOTED.search(text[:_LONGEST_PATH])
        word = (quoted[1] if quoted else text.strip(" \t#:")).replace("\\_", "_")
        known = folder_word(word)
        if known is None and level > self._level > 0:
            # A heading inside a folder's section only orders its tables.
            return
        # A title is no folder, nor is a sentence.
        named = known or (level > 1 and (quoted or " " not in word) and isinstance(_place(word, "x"), tuple))
        self._folder = (known or word) if named else ""
        self._level = level if named else 0

    def _header(self, line: str, number: int) -> list[str | None] | None:
        columns = [_COLUMNS.get(_plain(cell).casefold().strip("* ")) for cell in _cells(line)]
        if "file" in columns or "link" in columns:
            return columns
        self._problems.append(f"Line {number}: the table has neither a column File nor a column Link.")
        return None

    def _row(self, columns: list[str | None], cells: list[str], number: int) -> None:
        row: dict[str, str] = {}
        for column, cell in zip(columns, cells, strict=False):
            if column is not None and cell:
                row.setdefault(column, cell)
        if not row:
            return
        source = self._source(row)
        if isinstance(source, str):
            self._problems.append(f"Line {number}: {source}")
        else:
            self.sources.append(source)

    def _source(self, row: dict[str, str]) -> ModelSource | str:
        file, links = _name_and_links(row.get("file", ""))
        direct = {link: direct_link(link) for link in _links(row.get("link", "")) + links}
        url = next(filter(None, direct.values()), None)
        pages = _links(row.get("page", "")) + [link for link, itself in direct.items() if itself is None]
        gate = row.get("gated", "")
        pages += _links(gate)
        if not file and url is not None:
            file = _last_part(unquote(urlsplit(url).path))
        if not file:
            return "the row names no file."
        place = _place(_plain(row["folder"]) if "folder" in row else self._folder, file)
        if isinstance(place, str):
            return f"“{_shown(file)}” is passed over: {place}."
        if url is None and not pages:
            return f"“{_shown(file)}” is passed over: no link to it is given that begins with http:// or https://."
        licence = _plain(row.get("licence", ""))
        digest = _SHA256.search(row.get("sha256", ""))
        return ModelSource(
            file=place[1],
            folder=place[0],
            url=url,
            page=pages[0] if pages else None,
            size=size_of(row["size"]) if "size" in row else None,
            sha256=digest[0].lower() if digest else None,
            licence=licence if licence.casefold() not in _OPEN or licence.casefold() == "public" else None,
            gated=gate.casefold().strip("` *") not in _OPEN or "gated" in licence.casefold().split(),
            origin=self._origin,
        )


def _cells(line: str) -> list[str]:
    line = line.strip().removeprefix("|")
    line = line[:-1] if line.endswith("|") and not line.endswith("\\|") else line
    if "\\|" not in line:
        return [cell.strip() for cell in line.split("|")]
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)]


def _plain(cell: str) -> str:
    """A cell's text without its marks: `x`, [x](link) and x\\_y are x, x and x_y."""
    if cell.startswith("`"):
        return cell.strip("` ")
    cell = _MARKDOWN_LINK.sub(r"\1", cell)
    return _ESCAPED.sub(r"\1", cell).strip("`* ") if "\\" in cell else cell.strip("`* ")


def _name_and_links(cell: str) -> tuple[str, list[str]]:
    """The file's name in a cell, and the links that stand with it."""
    if "://" not in cell:
        return _plain(cell), []
    links = _links(cell)
    name = _plain(cell)
    return ("" if "://" in name else name), links


def _links(cell: str) -> list[str]:
    if "://" not in cell:
        return []
    return [link for link in _LINK.findall(cell) if _split_link(link)]


# --- workflows and Managers


def _model_entries(ui_graph: Any) -> Iterator[Any]:
    """Every entry of a list of models in a UI workflow, in the order in which they stand there."""
    if not isinstance(ui_graph, dict):
        return
    yield from _list(ui_graph.get("models"))
    waiting: deque[Any] = deque([ui_graph])
    while waiting:
        graph = waiting.popleft()
        if not isinstance(graph, dict):
            continue
        for node in _list(graph.get("nodes")):
            properties = node.get("properties") if isinstance(node, dict) else None
            yield from _list(properties.get("models") if isinstance(properties, dict) else None)
        definitions, extra = graph.get("definitions"), graph.get("extra")
        if isinstance(definitions, dict):
            waiting += _list(definitions.get("subgraphs"))
        groups = extra.get("groupNodes") if isinstance(extra, dict) else None
        if isinstance(groups, dict):
            waiting += groups.values()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _of_entry(entry: Any) -> ModelSource | str:
    """One entry of `properties.models`, or what is wrong with it."""
    said = _texts(entry, "name", "directory", "url", "hash", "hash_type")
    if not said["name"]:
        return "An entry of the workflow's models has no name."
    place = _place(said["directory"], said["name"])
    if isinstance(place, str):
        return f"The workflow's model “{_shown(said['name'])}” is passed over: {place}."
    links = _links(said["url"])
    if not links:
        return f"The workflow gives no link for its model “{_shown(said['name'])}” that can be used."
    url = direct_link(links[0])
    is_sha256 = said["hash_type"].casefold().replace("-", "") == "sha256"
    digest = _SHA256.fullmatch(said["hash"].strip()) if is_sha256 else None
    return ModelSource(
        file=place[1],
        folder=place[0],
        url=url,
        page=links[0] if url is None else None,
        sha256=digest[0].lower() if digest else None,
        origin="workflow",
    )


def _of_manager_entry(entry: Any) -> ModelSource | str:
    """One entry of a Manager's list of models, or what is wrong with it."""
    said = _texts(entry, "filename", "save_path", "type", "url", "reference", "size")
    file, folder = said["filename"], said["save_path"]
    if folder == "default":
        folder = _FOLDERS_OF_TYPES.get(said["type"].casefold(), "")
    if file == "<huggingface>":
        # A whole repository, fetched into a folder of its name.
        file = _last_part(said["url"])
        said["url"] = ""
    place = _place(folder, file)
    if isinstance(place, str):
        return f"The Manager's model “{_shown(file)}” is passed over: {place}."
    links = _links(said["url"])
    url = direct_link(links[0]) if links else None
    pages = _links(said["reference"]) or [link for link in links if url is None]
    if url is None and not pages:
        return f"The Manager gives no link for its model “{_shown(file)}” that can be used."
    return ModelSource(
        file=place[1],
        folder=place[0],
        url=url,
        page=pages[0] if pages else None,
        # Its sizes are copied from the pages: Hugging Face counts thousands, GitHub 1,024s.
        size=size_of(said["size"], binary=bool(url and url.startswith("https://github.com/"))),
        origin="manager",
    )


def _texts(entry: Any, *names: str) -> dict[str, str]:
    """The texts of those names; "" for what is missing or no text."""
    values = ((name, entry.get(name) if isinstance(entry, dict) else None) for name in names)
    return {name: value.strip() if isinstance(value, str) else "" for name, value in values}
