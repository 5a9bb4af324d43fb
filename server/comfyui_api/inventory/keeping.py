"""Writing an inventory: what a source told, with what only earlier ones could tell, in one step for all readers."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfyui_api.errors import FileProblem
from comfyui_api.inventory.classes import ClassesInMemory, ClassFile, ClassWriter
from comfyui_api.inventory.head import Inventory, Mode, Models, classes_path_of, head_of, read_inventory, stamp_of
from comfyui_api.packs import InstalledPack
from comfyui_api.storage import temporary_beside, write_atomic

LOCK_SECONDS = 20
LEFT_BEHIND = 3600.0  # seconds without a byte, after which nobody is writing a temporary file any more


@dataclass(frozen=True)
class Stock:
    """What one source told of an installation. None: it could not tell.

    `custom_nodes` names all the packs there are; `registered_packs` those that a Manager knows, which are not all.
    """

    comfyui_version: str | None = None
    system: Mapping[str, Any] | None = None
    models: Models | None = None
    custom_nodes: Mapping[str, InstalledPack] | None = None
    registered_packs: Mapping[str, InstalledPack] | None = None
    embeddings: list[str] | None = None


@contextmanager
def temporary_classes(path: Path) -> Iterator[ClassWriter]:
    """A writer of node classes for the inventory at `path`, to be handed to `keep`; else nothing of it remains."""
    target = classes_path_of(path)
    with temporary_beside(target) as temporary, ClassWriter(temporary, target) as writer:
        yield writer


def keep(
    path: Path, server: str, mode: Mode, stock: Stock, classes: ClassWriter | None, now: datetime | None = None
) -> Inventory:
    """Write the inventory of a server: what the stock tells, and of the rest what was known before.

    What a server tells without its classes is no whole refresh: the inventory keeps its age. Processes that write at
    the same time wait for each other, and head and classes are always of one refresh. Raises FileProblem where it
    cannot be written.
    """
    with _locked(path):
        _clear_up(path.parent)
        before, _ = read_inventory(path)
        if before is None or before.server not in (None, server):
            before = None
        inventory = _merged(
            before or _empty(path), server, mode, stock, classes, (now or datetime.now(UTC)).replace(microsecond=0)
        )
        if classes is not None and classes.path is not None:
            target = ClassFile(classes_path_of(path))
            inventory = replace(
                inventory, classes=target, class_count=classes.count(), refresh=uuid.uuid4().hex, missing=()
            )
            head = _written_out(inventory)
            classes.finish(inventory.refresh, head)
            target.settle()
            classes.path.replace(target.path)
            write_atomic(path, head)
        else:
            inventory = replace(inventory, missing=())
            write_atomic(path, _written_out(inventory))
        return replace(inventory, stamp=stamp_of(path, inventory.classes))


def _written_out(inventory: Inventory) -> str:
    # Escaped, as names from a server's disk need not be valid text.
    return json.dumps(head_of(inventory), indent=1)


def unkept(path: Path, server: str, mode: Mode, stock: Stock, classes: ClassWriter) -> Inventory:
    """The inventory of classes that were written into memory, where no file can be."""
    classes.finish()
    inventory = _merged(_empty(path), server, mode, stock, classes, datetime.now(UTC))
    return replace(inventory, classes=ClassesInMemory(classes.database), class_count=classes.count())


def update_classes(inventory: Inventory, entries: Mapping[str, dict[str, Any] | None]) -> Inventory:
    """Replace single classes by what the server says now; None takes a class out. Returns the inventory as it is then.

    Raises FileProblem where it cannot be written or is no longer the one that was read.
    """
    if not isinstance(inventory.classes, ClassFile):
        return inventory
    with _locked(inventory.path):
        if not inventory.is_current():
            raise FileProblem(f"{inventory.path} was written by another process meanwhile.", "Ask again.")
        inventory.classes.update(entries)
        return replace(inventory, stamp=stamp_of(inventory.path, inventory.classes))


def _merged(
    before: Inventory, server: str, mode: Mode, stock: Stock, classes: ClassWriter | None, now: datetime
) -> Inventory:
    models = stock.models
    has_listed_packs = stock.custom_nodes is not None or stock.registered_packs is not None
    whole = classes is not None or mode == "offline"
    return replace(
        before,
        last_updated=now if whole else before.last_updated,
        mode=mode if whole else before.mode,
        server=server,
        comfyui_version=stock.comfyui_version or before.comfyui_version,
        system=stock.system if stock.system is not None else before.system,
        models=_models(before.models, models, mode) if models is not None else before.models,
        models_updated=now if models is not None else before.models_updated,
        custom_nodes=_packs(before.custom_nodes, stock, classes),
        custom_nodes_updated=now if has_listed_packs else before.custom_nodes_updated,
        embeddings=stock.embeddings if stock.embeddings is not None else before.embeddings,
        classes_updated=now if classes is not None else before.classes_updated,
    )


def _models(before: Models, now: Models, mode: Mode) -> Models:
    merged = {
        folder: {
            file: size if size is not None else before.get(folder, {}).get(file) for file, size in sorted(files.items())
        }
        for folder, files in now.items()
    }
    if mode == "offline":
        # Packs declare folders of their own, anywhere: only a running server tells of them.
        merged |= {folder: files for folder, files in before.items() if folder not in now}
    return merged


def _packs(before: Mapping[str, InstalledPack], stock: Stock, classes: ClassWriter | None) -> dict[str, InstalledPack]:
    has_classes, with_classes = classes is not None, classes.packs if classes is not None else set()
    told = stock.custom_nodes if stock.custom_nodes is not None else stock.registered_packs or {}
    # Gone is a pack that a scan does not find, or that has no classes any more and that the Manager does not list.
    listed = stock.custom_nodes is not None or (has_classes and stock.registered_packs is not None)
    names = {*with_classes, *told, *(() if listed else before)}
    return {name: _filled(told.get(name), before.get(name), loaded=name in with_classes) for name in sorted(names)}


def _filled(pack: InstalledPack | None, before: InstalledPack | None, *, loaded: bool) -> InstalledPack:
    """What is told of a pack, and what was known of it before where that says nothing."""
    if pack is None:
        pack = before or InstalledPack()
    elif before is not None:
        pack = replace(
            pack,
            version=pack.version or before.version,
            cnr_id=pack.cnr_id or before.cnr_id,
            repository=pack.repository or before.repository,
        )
    return replace(pack, enabled=True) if loaded else pack


def _empty(path: Path) -> Inventory:
    return Inventory(path, datetime.now(UTC), "offline")


def _clear_up(folder: Path) -> None:
    """Remove what processes left that died while they wrote: it may be large."""
    with suppress(OSError):
        for path in folder.glob(".*.part"):
            if time.time() - path.stat().st_mtime > LEFT_BEHIND:
                path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415  # first needed when an inventory is written

    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_SECONDS):
            yield
    except Timeout as exc:
        raise FileProblem(
            f"{path} is being written by another process for {LOCK_SECONDS} s already.", "Try again, or end that one."
        ) from exc
    except (OSError, NotImplementedError, sqlite3.Error) as exc:
        reason = str(getattr(exc, "strerror", None) or exc).rstrip(".")
        raise FileProblem(f"{path} could not be written: {reason}.", "Check the folder and its permissions.") from exc
