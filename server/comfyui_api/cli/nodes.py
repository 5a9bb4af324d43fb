"""The console on node classes: search them, and show one in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from comfyui_api.cli.completing import class_types
from comfyui_api.cli.console import AsJson, Server, copyable, facts, plain, show, table
from comfyui_api.cli.words import said
from comfyui_api.cli.workplace import do
from comfyui_api.results import NodeInfo, NodeList, NodeSpec

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()


@app.command()
def nodes(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORDS]...", help='What it should do: "upscale image".')
    ] = None,
    class_type: Annotated[
        str | None,
        typer.Option(help="Show this one in full; words pick among its values.", autocompletion=class_types),
    ] = None,
    accepts: Annotated[str | None, typer.Option(help="With an input for this type, e.g. IMAGE.")] = None,
    gives: Annotated[str | None, typer.Option(help="With an output of this type.")] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 10,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Find node classes by words and types, or show one with its inputs, outputs and an example.

    Exit code 1: none was found.
    """
    from comfyui_api.explore.nodes import find_nodes  # noqa: PLC0415  # not for every command's start

    query = " ".join(words or ())
    result = do(lambda workspace: find_nodes(workspace, query, class_type, accepts, gives, limit, server))
    show(result, show_nodes, as_json=as_json)
    asked = query or class_type or accepts or gives
    raise typer.Exit(0 if result.nodes or result.node or not asked else 1)


def show_nodes(result: NodeList, console: Console) -> None:
    """Classes as a table, or one in full."""
    if result.node is not None:
        _show_node(result.node, console)
    if result.nodes:
        found = table("Class", "Takes", "Gives", "About")
        for node in result.nodes:
            name = f"[bold]{plain(node.class_type)}[/]" + (f"\n{plain(node.name)}" if node.name else "")
            found.add_row(name, plain(node.inputs or ""), plain(node.outputs or ""), _about(node))
        console.print(found)
    for note in result.notes or ():
        console.print(f"[dim]{said(note)}[/]")
    console.print(said(result.message))


def _about(node: NodeInfo) -> str:
    origin = ", ".join([*([node.category] if node.category else []), *([f"pack {node.pack}"] if node.pack else [])])
    marks = f" [yellow]{plain(', '.join(node.marks))}[/]" if node.marks else ""
    about = f"\n{plain(node.about)}" if node.about else ""
    return f"[dim]{plain(origin)}[/]{marks}{about}"


def _show_node(node: NodeSpec, console: Console) -> None:
    facts(
        console,
        ("class", f"[bold]{plain(node.class_type)}[/]"),
        ("name", plain(node.name or "")),
        ("category", plain(node.category or "")),
        ("pack", plain(node.pack or "")),
        ("marks", plain(", ".join(node.marks or ()))),
        ("about", plain(node.about or "")),
    )
    inputs = table("Input", "What goes in")
    for line in node.inputs:
        name, _, what = line.partition(": ")
        inputs.add_row(plain(name), plain(what))
    console.print(inputs)
    outputs = table("Slot", "What comes out")
    for line in node.outputs:
        slot, _, what = line.partition(": ")
        outputs.add_row(plain(slot), plain(what))
    console.print(outputs)
    for name, values in (node.matching or {}).items():
        console.print(f"[bold]{plain(name)}[/], values that fit:")
        for value in values:
            copyable(console, str(value), 2)
    copyable(console, json.dumps(node.example, ensure_ascii=False))
