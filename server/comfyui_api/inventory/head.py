"""The head of an inventory: everything but the descriptions of the node classes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from comfyui_api.errors import FileProblem
from comfyui_api.inventory.classes import ClassFile, ClassStore, node_classes_of
from comfyui_api.node_class import NodeClasses
from comfyui_api.packs import InstalledPack
from comfyui_api.storage import STATE_LIMIT, content_of, safe_name, set_aside

Mode: TypeAlias = Literal["online", "offline"]
Models: TypeAlias = dict[str, dict[str, int | None]]

STALE_AFTER = 3600.0
CLOCKS_DIFFER = 60.0  # seconds by which another machine's clock may be ahead
FORMAT = 2
SIZE_LIMIT = 2**62
MESSAGE_SHOWN = 200

# ComfyUI's former words for two of its model folders, by which older files name them.
FOLDER_NOW = {"clip": "text_encoders", "unet": "diffusion_models"}


@dataclass(frozen=True)
class Inventory:
    """What was installed on a server at `last_updated`; each part has a time of its own where it is known.

    `mode`: whether a server was asked or files were read. `models` by ComfyUI's folder word, each {file: size in bytes
    or None}, the file named as a loader takes it, with its subfolder; `custom_nodes` by folder name; `embeddings` as
    prompts name them. `classes` is None where no node classes are known. `missing` says what the file lacks.
    """

    path: Path
    last_updated: datetime
    mode: Mode
    server: str | None = None
    comfyui_version: str | None = None
    system: Mapping[str, Any] = field(default_factory=dict)
    models: Models = field(default_factory=dict)
    custom_nodes: dict[str, InstalledPack] = field(default_factory=dict)
    embeddings: list[str] = field(default_factory=list)
    class_count: int = 0
    classes: ClassStore | None = None
    classes_updated: datetime | None = None
    models_updated: datetime | None = None
    custom_nodes_updated: datetime | None = None
    missing: tuple[str, ...] = ()
    refresh: str = ""
    """Id of the refresh that wrote the head and the classes."""
    stamp: tuple[int, ...] = ()
    """When and how large its files were: other processes write them too, also for another server."""

    def age_seconds(self, now: datetime) -> float:
        """How long ago it was brought up to date; its parts may be older."""
        return max(0.0, (now - self.last_updated).total_seconds())

    def is_stale(self, now: datetime) -> bool:
        ahead = (self.last_updated - now).total_seconds()
        return ahead > CLOCKS_DIFFER or self.age_seconds(now) > STALE_AFTER

    def is_current(self) -> bool:
        """Whether its files are still those that were read."""
        return self.stamp == stamp_of(self.path, self.classes)

    @property
    def model_count(self) -> int:
        return sum(len(files) for files in self.models.values())

    def node_classes(self) -> NodeClasses | None:
        """The node classes, read when they are needed; None where none are known.

        Asking for one then raises FileProblem where their file is damaged.
        """
        return node_classes_of(self.classes) if self.classes is not None else None


def inventory_path(state: Path, server: str, default_server: str) -> Path:
    """state/inventory.json for the default server, state/inventory-{server}.json for another."""
    if server == default_server:
        return state / "inventory.json"
    return state / f"inventory-{safe_name(server.split('://', 1)[-1])}.json"


def classes_path_of(path: Path) -> Path:
    """The file with the node classes of the inventory at `path`."""
    return path.with_suffix(".classes.sqlite")


def read_inventory(path: Path) -> tuple[Inventory | None, str | None]:
    """(inventory, trouble): no inventory where there is none, or where it is broken and was set aside.

    With an inventory, the trouble is what it lacks: in an older form, or where its node classes are damaged.
    """
    try:
        inventory = _read(path)
        if inventory is None or not isinstance(inventory.classes, ClassFile):
            return inventory, _lacking(inventory)
        inventory = _as_its_classes_know(inventory, inventory.classes)
    except Invalid as exc:
        return None, set_aside(path, f"no inventory ({exc})")
    except OSError as exc:
        return None, f"{path} could not be read: {exc.strerror or exc}."
    except FileProblem as exc:
        assert inventory is not None
        assert isinstance(inventory.classes, ClassFile)
        reason = exc.message.rstrip(".")
        is_damaged = not isinstance(exc.__cause__, sqlite3.OperationalError)  # else it only cannot be opened
        trouble = set_aside(inventory.classes.path, f"damaged ({reason})") if is_damaged else exc.message
        return _without_classes(inventory), f"The node classes are not known any more. {trouble}"
    return inventory, _lacking(inventory)


def read_head(path: Path) -> tuple[Inventory | None, str | None]:
    """As read_inventory, of a file that may be a copy: a broken one stays where it is, and classes are read only where
    they are still its own."""
    try:
        inventory = _read(path)
    except Invalid as exc:
        return None, f"{path.name} is no inventory ({exc})."
    except OSError as exc:
        return None, f"{path} could not be read: {exc.strerror or exc}."
    if inventory is not None and isinstance(inventory.classes, ClassFile):
        try:
            is_own = inventory.classes.refresh()[0] in (None, inventory.refresh)
        except FileProblem:
            is_own = False
        if not is_own:
            inventory = _without_classes(inventory)
    return inventory, _lacking(inventory)


def _without_classes(inventory: Inventory) -> Inventory:
    return replace(
        inventory,
        classes=None,
        class_count=0,
        classes_updated=None,
        missing=(*inventory.missing, "node classes"),
        refresh="",
        stamp=stamp_of(inventory.path, None),
    )


def _lacking(inventory: Inventory | None) -> str | None:
    if inventory is None or not inventory.missing:
        return None
    return f"{inventory.path.name} is without {', '.join(inventory.missing)}: refreshing the inventory brings them."


def _read(path: Path) -> Inventory | None:
    try:
        return parse_head(path, json.loads(content_of(path, STATE_LIMIT).decode("utf-8-sig")))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as exc:
        raise Invalid(f"not valid JSON: {exc}") from exc


def _as_its_classes_know(inventory: Inventory, classes: ClassFile) -> Inventory:
    """The inventory that its class file holds, where that is of a later refresh: the process that wrote it may have
    died before the head. Raises FileProblem where the file is damaged."""
    refresh, head = classes.refresh()
    if refresh is None or head is None or refresh == inventory.refresh:
        return inventory
    try:
        return parse_head(inventory.path, json.loads(head))
    except (Invalid, ValueError, RecursionError) as exc:
        raise FileProblem(f"{classes.path} has another head, which is broken: {exc}.", "") from exc


class Invalid(Exception):
    """The head file does not match its schema."""


def parse_head(path: Path, content: Any) -> Inventory:
    """The head of an inventory, of this or an older form. Raises Invalid for what is none."""
    _check(content)
    described = content.get("node_classes")
    classes = ClassFile(path.with_name(described["file"])) if described else None
    updated = _time(content.get("last_updated")) or _written(path)
    known_models = content.get("models", {})
    is_older = content.get("format") != FORMAT
    # In the older forms all parts were of one time.
    part = updated if is_older else None
    missing = []
    if is_older:
        lacking = {
            "node classes": classes is None,
            "the sizes of models": any(isinstance(files, list) for files in known_models.values()),
            "the versions of node packs": isinstance(content.get("custom_nodes", []), list),
        }
        missing = [what for what, lacks in lacking.items() if lacks]
    version = content.get("comfyui_version")
    return Inventory(
        path=path,
        last_updated=updated,
        mode="online" if content.get("mode") == "online" else "offline",
        server=content.get("server"),
        comfyui_version=version if version != "unknown" else None,
        system=_system(content.get("system") or {}),
        models=_models(known_models),
        custom_nodes=_packs(content.get("custom_nodes") or {}),
        embeddings=content.get("embeddings") or [],
        class_count=described["count"] if described else 0,
        classes=classes,
        classes_updated=_time(content.get("classes_updated")) or (part if classes else None),
        models_updated=_time(content.get("models_updated")) or part,
        custom_nodes_updated=_time(content.get("custom_nodes_updated")) or part,
        missing=tuple(missing),
        refresh=described.get("refresh", "") if described else "",
        stamp=stamp_of(path, classes),
    )


def head_of(inventory: Inventory) -> dict[str, Any]:
    """The inventory as JSON for the head file. What has nothing to say is left out."""
    times = {
        name: moment.isoformat(timespec="seconds")
        for name in ("classes_updated", "models_updated", "custom_nodes_updated")
        if (moment := getattr(inventory, name)) is not None
    }
    head: dict[str, Any] = {
        "format": FORMAT,
        "last_updated": inventory.last_updated.isoformat(timespec="seconds"),
        "mode": inventory.mode,
        "server": inventory.server,
        "comfyui_version": inventory.comfyui_version,
        "system": dict(inventory.system) or None,
        **times,
        "models": inventory.models,
        "custom_nodes": {name: pack_as_json(pack) for name, pack in sorted(inventory.custom_nodes.items())},
        "embeddings": inventory.embeddings,
    }
    if isinstance(inventory.classes, ClassFile):
        file, count = inventory.classes.path.name, inventory.class_count
        head["node_classes"] = {"file": file, "count": count, "refresh": inventory.refresh}
    return {name: value for name, value in head.items() if value is not None}


def pack_as_json(pack: InstalledPack) -> dict[str, Any]:
    plain = {"version": pack.version, "cnr_id": pack.cnr_id, "repository": pack.repository}
    return {name: value for name, value in plain.items() if value} | ({} if pack.enabled else {"enabled": False})


def stamp_of(path: Path, classes: ClassStore | None) -> tuple[int, ...]:
    stamp: list[int] = []
    for file in (path, *([classes.path] if isinstance(classes, ClassFile) else [])):
        try:
            status = file.stat()
        except OSError:
            return ()
        stamp += [status.st_mtime_ns, status.st_size, status.st_ino]
    return tuple(stamp)


def _check(content: Any) -> None:
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # first needed when an inventory is read

    from comfyui_api.documents import schema  # noqa: PLC0415

    outline = content
    if isinstance(content, dict) and isinstance(models := content.get("models"), dict):
        # Tens of thousands of files are checked here, a hundred times as fast, by the same rule; the schema sees the
        # folders, and those files that do not keep to it.
        outline = {**content, "models": {folder: _broken_ones(files) for folder, files in models.items()}}
    error = next(iter(Draft202012Validator(schema("inventory")).iter_errors(outline)), None)
    if error is not None:
        # What is wrong stands at the end, after the value itself.
        words = error.message if len(error.message) <= MESSAGE_SHOWN else f"…{error.message[-MESSAGE_SHOWN:]}"
        raise Invalid(f"{error.json_path}: {words}")


def _broken_ones(files: Any) -> Any:
    if isinstance(files, dict):
        return {file: size for file, size in files.items() if size is not None and size_of(size) is None}
    if isinstance(files, list):
        return [file for file in files if not isinstance(file, str)]
    return files


def size_of(value: Any) -> int | None:
    """A size in bytes, or None for what is none."""
    return value if type(value) is int and 0 <= value <= SIZE_LIMIT else None


def _system(known: Mapping[str, Any]) -> dict[str, Any]:
    """What is plain in it, which is all that is written."""
    devices = known.get("devices")
    plain: dict[str, Any] = {name: value for name, value in known.items() if isinstance(value, str | int | float)}
    if isinstance(devices, list):
        plain["devices"] = [
            _system(device) for device in devices if isinstance(device, dict) and "devices" not in device
        ]
    return plain


def _models(known: Mapping[str, Any]) -> Models:
    models: Models = {}
    for folder, files in known.items():
        named = files.items() if isinstance(files, dict) else dict.fromkeys(files).items()
        sizes = {file: size_of(size) for file, size in named}
        models.setdefault(FOLDER_NOW.get(folder, folder), {}).update(sizes)
    return models


def _packs(known: Any) -> dict[str, InstalledPack]:
    if isinstance(known, list):
        return {name: InstalledPack() for name in known}
    return {name: InstalledPack(**entry) for name, entry in known.items()}


def _time(text: Any) -> datetime | None:
    """A moment as ISO 8601 has it, in UTC where it names no zone; None for what is no moment."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment.replace(microsecond=0)
    except (TypeError, ValueError, OverflowError):
        return None


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
