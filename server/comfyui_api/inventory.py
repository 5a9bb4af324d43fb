"""state/inventory.json: what a server has installed, kept so that validation works without it.

The head file is small and readable; the node classes stand beside it in an SQLite file, read class by class, since a
server with many packs describes itself in 100 MB.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfyui_api.errors import FileProblem
from comfyui_api.node_class import NodeClasses
from comfyui_api.runs import SystemStats
from comfyui_api.storage import cannot_write, read_state, safe_name, set_aside, temporary_beside, write_atomic

STALE_AFTER = 3600.0
FORMAT = 1


@dataclass(frozen=True)
class Inventory:
    """What was installed on a server at `last_updated`. `classes_path` is the SQLite file with the node classes."""

    path: Path
    last_updated: datetime
    mode: str
    server: str
    comfyui_version: str | None
    models: dict[str, list[str]]
    custom_nodes: list[str]
    class_count: int
    classes_path: Path
    stamp: tuple[int, ...]
    """When and how large the two files were: other processes write them too, also for another server."""

    def age_seconds(self, now: datetime) -> float:
        return max(0.0, (now - self.last_updated).total_seconds())

    def is_stale(self, now: datetime) -> bool:
        return self.age_seconds(now) > STALE_AFTER

    def is_current(self) -> bool:
        """Whether its files are still those that were read."""
        return self.stamp == _stamp(self.path, self.classes_path)

    @property
    def model_count(self) -> int:
        return sum(len(files) for files in self.models.values())

    def node_classes(self) -> NodeClasses:
        """The node classes, each read from the file when it is needed."""
        try:
            with closing(_open(self.classes_path)) as database:
                names = frozenset(row[0] for row in database.execute("SELECT class_type FROM node_class"))
        except sqlite3.Error as exc:
            raise _unreadable(self.classes_path, exc) from exc
        return NodeClasses(names, self._read_class)

    def _read_class(self, class_type: str) -> Any:
        try:
            with closing(_open(self.classes_path)) as database:
                query = "SELECT description FROM node_class WHERE class_type = ?"
                row = database.execute(query, (class_type,)).fetchone()
            return json.loads(row[0]) if row else None
        except (sqlite3.Error, ValueError) as exc:  # ValueError: damaged text, or a name that is no text
            raise _unreadable(self.classes_path, exc) from exc


def inventory_path(state: Path, server: str, default_server: str) -> Path:
    """state/inventory.json for the default server, state/inventory-{server}.json for another."""
    if server == default_server:
        return state / "inventory.json"
    return state / f"inventory-{safe_name(server.split('://', 1)[-1])}.json"


def read_inventory(path: Path) -> tuple[Inventory | None, str | None]:
    """(inventory, trouble): None where there is none, or where the file is broken and was set aside."""
    content, trouble = read_state(path)
    if content is None:
        return None, trouble
    try:
        _check_head(content)
        head = Inventory(
            path=path,
            last_updated=datetime.fromisoformat(content["last_updated"]),
            mode=content["mode"],
            server=content["server"],
            comfyui_version=content.get("comfyui_version"),
            models=content.get("models", {}),
            custom_nodes=content.get("custom_nodes", []),
            class_count=content["node_classes"]["count"],
            classes_path=(classes_path := path.with_name(content["node_classes"]["file"])),
            stamp=_stamp(path, classes_path),
        )
    except (_Invalid, ValueError) as exc:
        return None, set_aside(path, f"no inventory ({exc})")
    try:
        head.node_classes()
    except FileProblem as exc:
        return None, set_aside(path, f"without its node classes ({exc.message.rstrip('.')})")
    return head, None


def write_inventory(
    path: Path,
    *,
    server: str,
    stats: SystemStats,
    object_info: dict[str, Any],
    models: dict[str, list[str]],
    now: datetime | None = None,
) -> Inventory:
    """Write what a server has: the classes and then the head, each in one step."""
    classes_path = path.with_suffix(".classes.sqlite")
    with temporary_beside(classes_path) as temporary:
        _write_classes(temporary, object_info)
        temporary.replace(classes_path)
    packs = {
        module.split(".")[1]
        for entry in object_info.values()
        if isinstance(entry, dict)
        and isinstance(module := entry.get("python_module"), str)
        and module.startswith("custom_nodes.")
    }
    head = {
        "format": FORMAT,
        "last_updated": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "mode": "online",
        "server": server,
        "comfyui_version": stats.comfyui_version,
        "system": {"os": stats.os, "python_version": stats.python_version, "pytorch_version": stats.pytorch_version},
        "models": models,
        "custom_nodes": sorted(packs),
        "node_classes": {"file": classes_path.name, "count": len(object_info)},
    }
    # Escaped, as names from a server's disk need not be valid text.
    write_atomic(path, json.dumps(head, indent=1))
    inventory, trouble = read_inventory(path)
    if inventory is None:
        raise FileProblem(f"{path} could not be read back: {trouble}", "Check the disk.")
    return inventory


def update_classes(inventory: Inventory, entries: dict[str, dict[str, Any] | None]) -> Inventory:
    """Replace single classes by what the server says now; None takes a class out. Returns the inventory as it is then.

    Raises FileProblem where it cannot be written or is no longer the one that was read.
    """
    if not inventory.is_current():
        raise FileProblem(f"{inventory.path} was written by another process meanwhile.", "Ask again.")
    try:
        with closing(_open(inventory.classes_path, write=True)) as database, database:
            for class_type, entry in entries.items():
                if entry is None:
                    database.execute("DELETE FROM node_class WHERE class_type = ?", (class_type,))
                else:
                    database.execute("INSERT OR REPLACE INTO node_class VALUES (?, ?)", (class_type, _compact(entry)))
    except (sqlite3.Error, UnicodeEncodeError) as exc:
        raise cannot_write(inventory.classes_path, OSError(str(exc))) from exc
    return replace(inventory, stamp=_stamp(inventory.path, inventory.classes_path))


def _stamp(*paths: Path) -> tuple[int, ...]:
    stamp: list[int] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            return ()
        stamp += [status.st_mtime_ns, status.st_size, status.st_ino]
    return tuple(stamp)


class _Invalid(Exception):
    """The head file does not match its schema."""


def _check_head(content: Any) -> None:
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # first needed when an inventory is read

    from comfyui_api.documents import schema  # noqa: PLC0415

    error = next(iter(Draft202012Validator(schema("inventory")).iter_errors(content)), None)
    if error is not None:
        raise _Invalid(f"{error.json_path}: {error.message[:200]}")


def _write_classes(path: Path, object_info: dict[str, Any]) -> None:
    try:
        with closing(_open(path, write=True)) as database, database:
            database.execute(
                "CREATE TABLE node_class (class_type TEXT PRIMARY KEY, description TEXT NOT NULL) WITHOUT ROWID"
            )
            database.executemany(
                "INSERT INTO node_class VALUES (?, ?)",
                (
                    (class_type, _compact(entry))
                    for class_type, entry in object_info.items()
                    if class_type.isprintable()  # a lone surrogate in a name would sink all the others
                ),
            )
    except sqlite3.Error as exc:
        raise cannot_write(path, OSError(str(exc))) from exc
    for journal in ("-journal", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + journal).unlink(missing_ok=True)


def _unreadable(path: Path, exc: Exception) -> FileProblem:
    return FileProblem(f"{path} could not be read: {exc}.", "check_status(refresh_inventory=true) writes it anew.")


def _open(path: Path, *, write: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={'rwc' if write else 'ro'}", uri=True)


def _compact(entry: Any) -> str:
    return json.dumps(entry, separators=(",", ":"))
