"""The console's `show`: a workflow as a tree, with the inputs worth changing, its models and what is wrong with it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comfyui_api.cli.console import (
    AsJson,
    Server,
    do,
    for_person,
    here,
    plain,
    print_json,
    table,
    terminal,
    workflow_given,
)
from comfyui_api.cli.words import said
from comfyui_api.drawing import Branch, flowchart, title_of, tree
from comfyui_api.findings import errors_in
from comfyui_api.portrait import Portrait, portray
from comfyui_api.quantities import count

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

app = typer.Typer()

VALUE_SHOWN = 60
_GOES_ON = {"again": "see above", "below": "goes on below", "lost": "there is no such node"}


@app.command("show")
def show_workflow(
    workflow: str,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a flowchart in Mermaid's words.")] = False,
    object_info: Annotated[str | None, typer.Option(help="A saved /object_info, in place of the server.")] = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """A workflow's nodes as a tree, the inputs worth changing, its models and findings.

    With --mermaid a flowchart that forges and agents' pages draw, the findings marked in it. Works offline too.
    """
    classes = here(object_info) if object_info else None
    portrait = do(lambda space: portray(space, workflow_given(workflow), server, classes))
    if mermaid:
        _print_flowchart(portrait)
    elif not for_person(as_json=as_json):
        print_json(_as_json(portrait))
    else:
        _show(portrait, terminal())


def _print_flowchart(portrait: Portrait) -> None:
    drawn = flowchart(portrait.prompt, portrait.node_classes, portrait.outputs, portrait.findings)
    if drawn.folded:
        sys.stderr.write(f"Drawn as one for each subgraph: {count(drawn.folded, 'inner node')}.\n")
    if drawn.left_out:
        sys.stderr.write(f"Left out: {count(drawn.left_out, 'node')}, those far from findings and outputs.\n")
    if portrait.remark:
        sys.stderr.write(f"{portrait.remark}\n")
    sys.stdout.buffer.write(drawn.text.encode())  # pages are UTF-8, whatever the terminal speaks


def _as_json(portrait: Portrait) -> dict[str, Any]:
    nodes = {
        branch.node_id: {
            "class_type": _node(portrait, branch.node_id).get("class_type"),
            "title": title_of(_node(portrait, branch.node_id), portrait.node_classes),
            "runs": not branch.idle,
            "inputs": _node(portrait, branch.node_id).get("inputs"),
        }
        for branch in tree(portrait.prompt, portrait.outputs)
        if branch.kind == "first"
    }
    plain_form = {
        "source": portrait.source,
        "format": portrait.format,
        "valid": not errors_in(portrait.findings) if portrait.node_classes is not None else None,
        "outputs": portrait.outputs,
        "nodes": nodes,
        "main_inputs": [_without_empty(asdict(each)) for each in portrait.inputs],
        "models": [
            {"file": each.value, "input": each.address, "found": not portrait.found_at(each.address)}
            for each in portrait.models
        ],
        "findings": [_without_empty(asdict(each)) for each in portrait.findings],
        "notes": [_without_empty(asdict(each)) for each in portrait.notes] or None,
        "remark": portrait.remark,
    }
    return {key: value for key, value in plain_form.items() if value is not None}


def _without_empty(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None and value != ""}


def _node(portrait: Portrait, node_id: str) -> dict[str, Any]:
    node = portrait.prompt.get(node_id)
    return node if isinstance(node, dict) else {}


def _show(portrait: Portrait, console: Console) -> None:
    console.print(f"[bold]{plain(portrait.source)}[/]: {_in_short(portrait)}")
    for root in _trees(portrait):
        console.print(root)
    if portrait.inputs:
        rows = table("Worth changing", "", "Value", "Node")
        for each in portrait.inputs:
            value = str(each.value).replace("\n", " ")
            node = f"{each.title} ({each.class_type})" if each.title else each.class_type
            rows.add_row(plain(each.address), f"[dim]{each.kind.replace('_', ' ')}[/]", plain(value), plain(node))
        console.print(rows)
    for finding in portrait.findings:
        place = " ".join(filter(None, (finding.node_id, finding.class_type, finding.input))) or "workflow"
        mark = "[red]error[/]" if finding.severity == "error" else "[yellow]warning[/]"
        console.print(f"{mark} {plain(place)}: {said(finding.message)}")
    if portrait.findings:
        console.print("[dim]comfyui-api validate tells how to mend it.[/]")
    if portrait.remark:
        console.print(f"[yellow]{said(portrait.remark)}[/]")


def _in_short(portrait: Portrait) -> str:
    parts = [count(len(portrait.prompt), "node"), count(len(portrait.outputs), "output")]
    if missing := [each for each in portrait.models if portrait.found_at(each.address)]:
        parts.append(f"[red]{len(missing)} of {count(len(portrait.models), 'model')} missing[/]")
    elif portrait.models:
        parts.append(count(len(portrait.models), "model"))
    if portrait.node_classes is not None:
        severities = Counter(finding.severity for finding in portrait.findings)
        parts += [f"[red]{count(severities['error'], 'error')}[/]" if severities["error"] else "[green]valid[/]"]
        parts += [f"[yellow]{count(severities['warning'], 'warning')}[/]"] if severities["warning"] else []
    return ", ".join(parts)


def _trees(portrait: Portrait) -> list[Tree]:
    """The trees of the workflow's outputs, and of what never runs."""
    from rich.tree import Tree  # noqa: PLC0415  # for people only

    roots: list[Tree] = []
    above: list[Tree] = []
    for branch in tree(portrait.prompt, portrait.outputs):
        del above[branch.depth :]
        line = _line(portrait, branch)
        grown = above[-1].add(line) if above else Tree(line)
        if not above:
            roots.append(grown)
        above.append(grown)
    return roots


def _line(portrait: Portrait, branch: Branch) -> str:
    node = _node(portrait, branch.node_id)
    title, class_type = title_of(node, portrait.node_classes), str(node.get("class_type"))
    taken_by = f"[dim]{plain(', '.join(branch.inputs))}:[/] " if branch.inputs else ""
    if branch.kind == "lost":
        return f"{taken_by}[red]{plain(branch.node_id)} [dim]{_GOES_ON[branch.kind]}[/][/]"
    severities = {finding.severity for finding in portrait.findings if finding.node_id == branch.node_id}
    colour = "red" if "error" in severities else "yellow" if severities else "default"
    name = f"[{colour}]{plain(title)}[/] ({plain(branch.node_id)})"
    if branch.kind != "first":
        return f"{taken_by}{name} [dim]{_GOES_ON[branch.kind]}[/]"
    own = f" [dim]{plain(class_type)}[/]" if class_type != title else ""
    never = " [dim]never runs[/]" if branch.idle and branch.depth == 0 else ""
    return f"{taken_by}{name}{own}{never}"
