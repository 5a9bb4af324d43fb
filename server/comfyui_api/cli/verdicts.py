"""Verdicts for people: what was found in each workflow, and what would make it run, as tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from comfyui_api.findings import Finding, Repair
from comfyui_api.repair.model_files import readable_size
from comfyui_api.results import Validation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MARKS = {"error": "[red]error[/]", "warning": "[yellow]warning[/]"}


def show_verdict(name: str, verdict: Validation, console: Console) -> None:
    """One workflow: the verdict in a line, the findings, then what is to be installed, downloaded and updated."""
    errors = sum(finding.severity == "error" for finding in verdict.findings)
    warnings = len(verdict.findings) - errors
    state = "[green]valid[/]" if verdict.valid else "[red]not valid[/]"
    console.print(f"[bold]{_plain(name)}[/]: {state} ({_count(errors, 'error')}, {_count(warnings, 'warning')})")
    if verdict.findings:
        console.print(_findings(verdict.findings))
    if verdict.repair is not None:
        _show_repair(verdict.repair, console)
    for note in verdict.notes or ():
        place = f"node {note.node_id}: " if note.node_id else ""
        console.print(f"[dim]Note: {_plain(place + note.message)}[/]")
    for line in verdict.checked:
        console.print(f"[dim]Checked: {_plain(line)}.[/]")
    for line in verdict.not_checked:
        console.print(f"[dim]Not checked: {_plain(line.rstrip('.'))}.[/]")
    console.print()


def terminal() -> Console:
    """The terminal, with colours where it has them."""
    from rich.console import Console  # noqa: PLC0415  # slow, and needed for people only

    return Console(file=sys.stdout, highlight=False, emoji=False)


def _findings(findings: list[Finding]) -> Table:
    table = _table("", "Where", "What", "How to mend it")
    for finding in findings:
        node = " ".join(part for part in (finding.node_id, finding.class_type) if part)
        place = f"{node}\n{finding.input}" if finding.input else node
        table.add_row(_MARKS[finding.severity], _plain(place), _plain(finding.message), _plain(finding.fix or ""))
    return table


def _show_repair(repair: Repair, console: Console) -> None:
    if repair.packs:
        table = _table("Node pack", "Classes", "What to do")
        for pack in repair.packs:
            todo = pack.command or pack.reason or pack.state.replace("_", " ")
            title = f"{pack.title}\n{pack.repository}" if pack.repository else pack.title
            table.add_row(_plain(title), _plain(", ".join(pack.class_types)), _plain(todo))
        console.print(table)
    if repair.models:
        table = _table("Model", "Folder", "Size", "Where it is")
        for model in repair.models:
            where = f"use {', '.join(model.use)}" if model.use else model.url or model.page or "no link is known"
            gate = " (account needed)" if model.gated else ""
            size = readable_size(model.size) or ""
            table.add_row(_plain(model.file), _plain(model.folder or ""), size, _plain(where + gate))
        console.print(table)
    if repair.updates:
        table = _table("Older than the workflow", "Installed", "Made with", "Update")
        for update in repair.updates:
            cells = (update.what, update.installed, update.wanted, update.command or "")
            table.add_row(*(_plain(cell) for cell in cells))
        console.print(table)
    if repair.afterwards:
        console.print(_plain(repair.afterwards))


def _table(*columns: str) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _plain(text: str) -> str:
    """Text of others as it is: no markup, no control of the terminal."""
    from rich.markup import escape  # noqa: PLC0415

    return escape("".join(char if char.isprintable() or char == "\n" else "�" for char in text))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
