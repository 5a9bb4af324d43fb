"""The node classes of an inventory: an SQLite file, written entry by entry and read class by class.

A server with many packs describes itself in 100 MB. Beside the descriptions stands a card of each class, so that a
search reads a hundredth of that. The file also holds the head of the refresh that wrote it: should a process die
between the two files, head and classes still belong together.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from comfyui_api.errors import FileProblem
from comfyui_api.node_card import Card, card_of
from comfyui_api.node_class import NodeClasses
from comfyui_api.object_info import Entry
from comfyui_api.storage import cannot_write

CUSTOM_NODES = "custom_nodes."

# The names have an index of their own: listing them does not read the descriptions.
_TABLES = """
CREATE TABLE node_class (class_type TEXT PRIMARY KEY, description TEXT NOT NULL);
CREATE TABLE refresh (id TEXT NOT NULL, head TEXT NOT NULL);
CREATE TABLE card (said TEXT NOT NULL);
"""
MOST_CARDS = 10_000  # that are gone through in a search; of more classes those that have most of what is looked for
_MOST_TEXTS = 12  # that cards are put in order by
_CARD = "INSERT INTO card VALUES (?)"


class ClassStore(Protocol):
    """Where node classes are read from. Every method raises FileProblem where that is damaged."""

    def names(self) -> frozenset[str]: ...

    def count(self) -> int: ...

    def has(self, class_type: str) -> bool: ...

    def read(self, class_type: str) -> Any:
        """The description of a class as in /object_info, or None."""

    def cards(self, having: Sequence[str] = (), always: Container[str] = ()) -> list[Card]:
        """The cards of all classes; with `having` of those that have one of these texts (in small letters, without
        spaces) in them, and of the classes that are named by `always`.

        Not more than MOST_CARDS are gone through: of more those that have most of the texts.
        """


@dataclass(frozen=True)
class ClassFile:
    """The SQLite file with node classes."""

    path: Path

    def names(self) -> frozenset[str]:
        with self._reading() as database:
            return _names(database)

    def count(self) -> int:
        with self._reading() as database:
            return _count(database)

    def has(self, class_type: str) -> bool:
        with self._reading() as database:
            return _has(database, class_type)

    def read(self, class_type: str) -> Any:
        with self._reading() as database:
            return _read(database, class_type)

    def cards(self, having: Sequence[str] = (), always: Container[str] = ()) -> list[Card]:
        with self._reading() as database:
            return _cards(database, having, always)

    def refresh(self) -> tuple[str | None, str | None]:
        """(id, head) of the refresh that wrote it; None in a file of an older form."""
        with self._reading() as database:
            database.execute("SELECT 1 FROM node_class LIMIT 1")
            if database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'refresh'").fetchone() is None:
                return None, None
            row = database.execute("SELECT id, head FROM refresh").fetchone()
            return (str(row[0]), str(row[1])) if row else (None, None)

    def update(self, entries: Mapping[str, Any]) -> None:
        """Replace single classes by newer descriptions; None takes a class out."""
        try:
            with closing(_open(self.path)) as database, database:
                has_cards = _has_cards(database)
                for class_type, entry in entries.items():
                    database.execute("DELETE FROM node_class WHERE class_type = ?", (class_type,))
                    if has_cards:
                        key = Card.key(class_type)
                        database.execute("DELETE FROM card WHERE substr(said, 1, ?) = ?", (len(key), key))
                    if entry is not None:
                        database.execute("INSERT INTO node_class VALUES (?, ?)", (class_type, json.dumps(entry)))
                        if has_cards:
                            database.execute(_CARD, (card_of(class_type, entry).as_text(),))
        except (sqlite3.Error, UnicodeEncodeError) as exc:
            raise cannot_write(self.path, OSError(str(exc))) from exc

    def settle(self) -> None:
        """Let SQLite clear up after a process that died while it wrote, before other content takes this place."""
        with suppress(sqlite3.Error), closing(_open(self.path)) as database:
            database.execute("SELECT 1 FROM sqlite_schema").fetchone()
        for journal in ("-journal", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + journal).unlink(missing_ok=True)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(_open(self.path)) as database:
                yield database
        except (sqlite3.Error, ValueError) as exc:  # ValueError: damaged text, or a name that is no text
            raise FileProblem(
                f"{self.path} could not be read: {exc}.", "check_status(refresh_inventory=true) writes it anew."
            ) from exc


@dataclass(frozen=True, eq=False)
class ClassesInMemory:
    """Node classes that could not be kept in a file."""

    database: sqlite3.Connection

    def names(self) -> frozenset[str]:
        return _names(self.database)

    def count(self) -> int:
        return _count(self.database)

    def has(self, class_type: str) -> bool:
        return _has(self.database, class_type)

    def read(self, class_type: str) -> Any:
        return _read(self.database, class_type)

    def cards(self, having: Sequence[str] = (), always: Container[str] = ()) -> list[Card]:
        return _cards(self.database, having, always)


@dataclass
class ClassWriter:
    """Node classes on their way into a new SQLite file at `path`, which will be `target`, or into memory where that is
    None.

    `packs` are the folders below custom_nodes that gave classes, as far as they have come. Used as a context; the
    methods may be called from several threads, one after the other.
    """

    path: Path | None
    target: Path | None = None
    packs: set[str] = field(default_factory=set)
    _database: sqlite3.Connection | None = None

    def __enter__(self) -> ClassWriter:
        with self._writing():
            self._database = sqlite3.connect(self.path or ":memory:", check_same_thread=False, isolation_level=None)
            # A file of its own until it is whole: no journal is needed.
            self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES + "BEGIN;")
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None and self.path is not None:
            self._database.close()

    @property
    def database(self) -> sqlite3.Connection:
        assert self._database is not None, "a writer is used as a context"
        return self._database

    def add(self, entries: Iterable[Entry]) -> None:
        """Write some classes. Raises FileProblem where the disk does not take them."""
        rows, cards = [], []
        for entry in entries:
            rows.append((entry.class_type, entry.description))
            card = entry.card or card_of(entry.class_type, json.loads(entry.description))
            cards.append((card.as_text(),))
            if entry.python_module.startswith(CUSTOM_NODES):
                self.packs.add(entry.python_module.removeprefix(CUSTOM_NODES))
        with self._writing():
            self.database.executemany("INSERT OR REPLACE INTO node_class VALUES (?, ?)", rows)
            self.database.executemany(_CARD, cards)

    def count(self) -> int:
        return _count(self.database)

    def finish(self, refresh_id: str = "", head: str = "") -> None:
        """Make it whole, with the head of its refresh. A file is closed with it."""
        with self._writing():
            self.database.execute("INSERT INTO refresh VALUES (?, ?)", (refresh_id, head))
            self.database.execute("COMMIT")
            if self.path is not None:
                self.database.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            if (path := self.target or self.path) is not None:
                raise cannot_write(path, OSError(str(exc))) from exc
            raise FileProblem(f"The node classes could not be kept in memory: {exc}.", "Free some memory.") from exc


def node_classes_of(store: ClassStore) -> NodeClasses:
    """The node classes of a store, each read when it is needed."""
    return NodeClasses(_Names(store), store.read)


class _Names(Mapping[str, None]):
    """The names in a store: a workflow asks for a few of them, so that all are read only when all are wanted."""

    def __init__(self, store: ClassStore) -> None:
        self._store = store
        self._asked: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name.isprintable():  # such a name is never kept
            return False
        if name not in self._asked:
            self._asked[name] = self._store.has(name)
        return self._asked[name]

    def __getitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.names())

    def __len__(self) -> int:
        return self._store.count()


def _names(database: sqlite3.Connection) -> frozenset[str]:
    return frozenset(row[0] for row in database.execute("SELECT class_type FROM node_class"))


def _count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT COUNT(*) FROM node_class").fetchone()[0])


def _has(database: sqlite3.Connection, class_type: str) -> bool:
    return database.execute("SELECT 1 FROM node_class WHERE class_type = ?", (class_type,)).fetchone() is not None


def _read(database: sqlite3.Connection, class_type: str) -> Any:
    row = database.execute("SELECT description FROM node_class WHERE class_type = ?", (class_type,)).fetchone()
    return json.loads(row[0]) if row else None


def _has_cards(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'card'").fetchone() is not None


def _cards(database: sqlite3.Connection, having: Sequence[str], always: Container[str]) -> list[Card]:
    from comfyui_api.search.words import squeezed  # noqa: PLC0415  # the server starts without it

    texts = _card_texts(database, having) if _has_cards(database) else _card_texts_of_older(database)
    cards = {}
    for text in texts:
        name = Card.name_in(text)
        if having and name not in always and not any(part in squeezed(text) for part in having):
            continue
        # A name may come twice in one /object_info: the last one counts, as with the descriptions.
        if (card := Card.of_text(text)) is not None:
            cards[name] = card
    return list(cards.values())


def _card_texts(database: sqlite3.Connection, having: Sequence[str]) -> Iterator[str]:
    order, given = "", list[str]()
    if having and _count(database) > MOST_CARDS:
        given = sorted(having, key=len)[-_MOST_TEXTS:]
        order = f"ORDER BY {' + '.join(['(instr(lower(said), ?) > 0)'] * len(given))} DESC"
    for (text,) in database.execute(f"SELECT said FROM card {order} LIMIT ?", (*given, MOST_CARDS)):
        if isinstance(text, str):
            yield text


def _card_texts_of_older(database: sqlite3.Connection) -> Iterator[str]:
    """The cards of a file that was written without them, made of the descriptions."""
    for name, text in database.execute("SELECT class_type, description FROM node_class LIMIT ?", (MOST_CARDS,)):
        description = json.loads(text)
        if isinstance(description, dict):
            yield card_of(name, description).as_text()


def _open(path: Path) -> sqlite3.Connection:
    # To be written, so that SQLite may take back what a process that died left half done; never to be made.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
