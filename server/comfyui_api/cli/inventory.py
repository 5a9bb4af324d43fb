"""The console on inventories: bring one up to date, show it, and compare two."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyui_api.cli.console import AsJson, Server, ago, do, for_person, harmless, here, print_json, size
from comfyui_api.comparison import Comparison, Difference, compare, named_inventory
from comfyui_api.errors import FileProblem
from comfyui_api.inventory import Inventory
from comfyui_api.inventory.head import pack_as_json
from comfyui_api.prepare import some
from comfyui_api.stocktake import Refreshed, refresh_inventory, refresh_offline
from comfyui_api.storage import stands
from comfyui_api.workspace import Workspace

inventory_app = typer.Typer(help="What a ComfyUI has installed, kept in state/.", no_args_is_help=True)

SHOWN = 20  # names a line of the readable form


@inventory_app.command("refresh")
def refresh(
    object_info: Annotated[
        str | None, typer.Option(help="Read the node classes from a saved /object_info, without the server.")
    ] = None,
    comfyui_path: Annotated[
        str | None, typer.Option(help="Read models and node packs from ComfyUI's folder, without the server.")
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Write what is installed anew: asked of the server, or read from files where it does not run."""

    async def work(workspace: Workspace) -> Refreshed:
        if object_info is None and comfyui_path is None:
            return await refresh_inventory(workspace.connect(server))
        files = [
            workspace.readable(here(given)) if given is not None else None for given in (object_info, comfyui_path)
        ]
        return await refresh_offline(workspace, server, files[0], files[1])

    refreshed = do(work)
    for remark in (*([refreshed.trouble] if refreshed.trouble else []), *refreshed.remarks):
        sys.stderr.write(f"{remark}\n")
    _show_inventory(refreshed.inventory, as_json=as_json, whole=False)
    raise typer.Exit(1 if refreshed.trouble else 0)


@inventory_app.command("show")
def show(
    name: Annotated[
        str | None, typer.Argument(help="Inventory file or server; the default server's otherwise.")
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """What is known to be installed, and how old that is."""

    async def work(workspace: Workspace) -> Inventory:
        return _named(workspace, name or server)

    inventory = do(work)
    if inventory.missing:
        sys.stderr.write(f"It is without {', '.join(inventory.missing)}.\n")
    _show_inventory(inventory, as_json=as_json, whole=True)


@inventory_app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(help="Server or inventory file.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """What two of them have differently; exit code 1 where something differs."""

    async def work(workspace: Workspace) -> Comparison:
        return compare(_named(workspace, first), _named(workspace, second))

    found = do(work)
    if for_person(as_json=as_json):
        _print_lines(_difference_lines(found))
    else:
        print_json(asdict(found))
    raise typer.Exit(0 if found.is_same else 1)


def _named(workspace: Workspace, name: str | None) -> Inventory:
    """The inventory in a file of this name, else of the server of this name."""
    file = Path(here(name)) if name else None
    if name and name.endswith(".json") and file is not None and not stands(file):
        raise FileProblem(f"{file} is not there.", "The default server's inventory is state/inventory.json.")
    return named_inventory(workspace, name, workspace.readable(str(file)) if file and stands(file) else None)


def _show_inventory(inventory: Inventory, *, as_json: bool, whole: bool) -> None:
    if for_person(as_json=as_json):
        _print_lines(_lines(inventory))
    else:
        print_json(_as_json(inventory, whole=whole))


def _as_json(inventory: Inventory, *, whole: bool) -> dict[str, Any]:
    models: Any = inventory.models
    packs: Any = {name: pack_as_json(pack) for name, pack in inventory.custom_nodes.items()}
    plain = {
        "path": str(inventory.path),
        "server": inventory.server,
        "mode": inventory.mode,
        "last_updated": inventory.last_updated.isoformat(),
        "age_seconds": round(inventory.age_seconds(datetime.now(UTC))),
        "comfyui_version": inventory.comfyui_version,
        "system": dict(inventory.system) or None,
        "classes_updated": inventory.classes_updated and inventory.classes_updated.isoformat(),
        "models_updated": inventory.models_updated and inventory.models_updated.isoformat(),
        "custom_nodes_updated": inventory.custom_nodes_updated and inventory.custom_nodes_updated.isoformat(),
        "node_classes": inventory.class_count if inventory.classes is not None else None,
        "models": models if whole else inventory.model_count,
        "custom_nodes": packs if whole else len(packs),
        "embeddings": inventory.embeddings if whole else len(inventory.embeddings),
    }
    return {name: value for name, value in plain.items() if value is not None}


def _lines(inventory: Inventory) -> list[str]:
    """The readable form."""
    asked = "asked of the server" if inventory.mode == "online" else "read from files"
    rows = [
        ("server", inventory.server or "not named"),
        ("file", str(inventory.path)),
        ("updated", f"{_ago(inventory.last_updated)}, {asked}"),
        ("ComfyUI", inventory.comfyui_version or "version not known"),
        (
            "node classes",
            f"{inventory.class_count}, {_ago(inventory.classes_updated)}" if inventory.classes else "none",
        ),
        ("embeddings", some(inventory.embeddings, SHOWN) or "none"),
        ("models", f"{inventory.model_count}, {_ago(inventory.models_updated)}"),
    ]
    lines = [f"{name:<14} {value}" for name, value in rows]
    for folder, files in sorted(inventory.models.items()):
        if files:
            sizes = [known for known in files.values() if known is not None]
            all_of_it = size(sum(sizes)) if sizes else "sizes not known"
            lines.append(f"  {folder:<22} {len(files):>5}  {all_of_it}")
    listed = inventory.custom_nodes_updated or inventory.classes_updated
    lines.append(f"{'node packs':<14} {len(inventory.custom_nodes)}, {_ago(listed)}")
    for name, pack in sorted(inventory.custom_nodes.items()):
        lines.append(f"  {name[:60]:<40} {(pack.version or '')[:12]:<12} {'' if pack.enabled else 'disabled'}".rstrip())
    return lines


def _difference_lines(found: Comparison) -> list[str]:
    if found.is_same:
        return ["Nothing differs."]
    lines = [f"- {found.first}", f"+ {found.second}"]
    if found.comfyui_version:
        lines.append(f"ComfyUI: {found.comfyui_version[0]} → {found.comfyui_version[1]}")
    parts: dict[str, Difference] = {
        "models": found.models,
        "node packs": found.custom_nodes,
        "embeddings": found.embeddings,
        "node classes": found.node_classes,
    }
    for what, part in parts.items():
        if part:
            lines.append(
                f"{what}: {len(part.only_first)} only in the first, {len(part.only_second)} only in the second"
            )
            lines += [f"  - {name}" for name in part.only_first] + [f"  + {name}" for name in part.only_second]
            lines += [f"  ~ {name}: {_change(change)}" for name, change in part.changed.items()]
    lines += [f"not compared: {what}, which one of them does not know" for what in found.not_compared]
    return lines


def _change(change: dict[str, Any]) -> str:
    """What became of one pack, file, class or input, in a line: a pair's values, or the changes below it."""
    parts = []
    for name, value in change.items():
        if isinstance(value, dict) and value.keys() == {"only_first", "only_second"}:
            signs = (("-", value["only_first"]), ("+", value["only_second"]))
            text = " ".join(f"{sign} {some(names, 5)}" for sign, names in signs if names)
        elif isinstance(value, dict):
            text = f"({_change(value)})"
        elif isinstance(value, tuple):
            text = " → ".join(str(side)[:80] for side in value)
        else:
            text = some(value) if isinstance(value, list) else str(value)[:80]
        parts.append(f"{name} {text}")
    return ", ".join(parts)


def _ago(moment: datetime | None) -> str:
    return ago((datetime.now(UTC) - moment).total_seconds()) if moment is not None else "never listed"


def _print_lines(lines: list[str]) -> None:
    """Names come from elsewhere: without what would steer the terminal, or what it cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(harmless(line).encode(encoding, "replace").decode(encoding))
