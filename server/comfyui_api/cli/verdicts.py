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
    """Commands and links stand on lines of their own, which no column folds: they are there to be copied."""

    def line(text: str, indent: int = 0) -> None:
        console.print(" " * indent + text, soft_wrap=True)

    for pack in repair.packs:
        line(f"[bold]Node pack {_plain(pack.title)}[/] ({_plain(pack.state.replace('_', ' '))})")
        line(_plain(f"for {', '.join(pack.class_types)}"), 2)
        for text in (pack.repository, pack.reason, pack.command):
            if text:
                line(_plain(text), 2)
        for other in pack.others or ():
            line(_plain(f"or {other.title}: {other.install or other.repository}"), 2)
    for model in repair.models:
        facts = [model.folder, readable_size(model.size), model.licence, "account needed" if model.gated else None]
        line(f"[bold]Model {_plain(model.file)}[/] ({_plain(', '.join(fact for fact in facts if fact))})")
        if model.use:
            line(_plain(f"installed: {', '.join(model.use)}"), 2)
        for text in (model.url, model.page, model.command):
            if text:
                line(_plain(text), 2)
        if not (model.use or model.url or model.page):
            line("no link is known", 2)
    for update in repair.updates:
        line(f"[bold]{_plain(update.what)}[/] {_plain(update.installed)}, made with {_plain(update.wanted)}")
        if update.command:
            line(_plain(update.command), 2)
    if repair.afterwards:
        line(_plain(repair.afterwards))


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
