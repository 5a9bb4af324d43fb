"""The tables of a Markdown text in the shape of references/models.md."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from comfyui_api.model_sources.places import (
    LONGEST_PATH,
    SHA256,
    direct_link,
    folder_word,
    last_part,
    links_in,
    place_of,
    shown,
    size_of,
)
from comfyui_api.model_sources.source import ModelSource, Origin

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
_DELIMITERS = frozenset("|:- \t")
_QUOTED = re.compile(r"`+([^`]+)`+")
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\(\s*<?(https?://[^\s)>]+)>?[^)]*\)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\_*|`\[\]~<>#-])")
_LONGEST_LINE = 4_000
_MOST_PROBLEMS = 100


def first_of(problems: list[str]) -> list[str]:
    left_out = len(problems) - _MOST_PROBLEMS
    return problems if left_out <= 0 else [*problems[:_MOST_PROBLEMS], f"There are {left_out} more such problems."]


class TableReader:
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
        return first_of(self._problems)

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
        quoted = _QUOTED.search(text[:LONGEST_PATH])
        word = (quoted[1] if quoted else text.strip(" \t#:")).replace("\\_", "_")
        known = folder_word(word)
        if known is None and level > self._level > 0:
            # A heading inside a folder's section only orders its tables.
            return
        # A title is no folder, nor is a sentence.
        named = known or (level > 1 and (quoted or " " not in word) and isinstance(place_of(word, "x"), tuple))
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
        direct = {link: direct_link(link) for link in links_in(row.get("link", "")) + links}
        url = next(filter(None, direct.values()), None)
        pages = links_in(row.get("page", "")) + [link for link, itself in direct.items() if itself is None]
        gate = row.get("gated", "")
        pages += links_in(gate)
        if not file and url is not None:
            file = last_part(unquote(urlsplit(url).path))
        if not file:
            return "the row names no file."
        place = place_of(_plain(row["folder"]) if "folder" in row else self._folder, file)
        if isinstance(place, str):
            return f"“{shown(file)}” is passed over: {place}."
        if url is None and not pages:
            return f"“{shown(file)}” is passed over: no link to it is given that begins with http:// or https://."
        licence = _plain(row.get("licence", ""))
        digest = SHA256.search(row.get("sha256", ""))
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
    links = links_in(cell)
    name = _plain(cell)
    return ("" if "://" in name else name), links
