"""Verdicts for people: what was found in each workflow, and what would make it run, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfyui_api.cli.console import copyable, plain, table
from comfyui_api.cli.words import said
from comfyui_api.findings import Finding, Note, Repair
from comfyui_api.quantities import count
from comfyui_api.repair.model_files import readable_size
from comfyui_api.results import ServerVerdict, Validation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MARKS = {"error": "[red]error[/]", "warning": "[yellow]warning[/]"}


def show_verdict(name: str, verdict: Validation, console: Console) -> None:
    """One workflow: the verdict in a line, the findings, then what is to be installed, downloaded and updated; of
    several servers first how it fares on each, and the rest of the best one."""
    errors = sum(finding.severity == "error" for finding in verdict.findings)
    warnings = len(verdict.findings) - errors
    state = "[green]valid[/]" if verdict.valid else "[red]not valid[/]"
    best = f" on {plain(verdict.servers[0].server)}" if verdict.servers else ""
    console.print(f"[bold]{plain(name)}[/]: {state}{best} ({count(errors, 'error')}, {count(warnings, 'warning')})")
    if verdict.servers:
        console.print(_servers(verdict.servers))
    show_findings(verdict.findings, verdict.repair, verdict.notes, console)
    for line in verdict.checked:
        console.print(f"[dim]Checked: {said(line)}.[/]")
    for line in verdict.not_checked:
        console.print(f"[dim]Not checked: {said(line.rstrip('.'))}.[/]")
    console.print()


def show_findings(findings: list[Finding], repair: Repair | None, notes: list[Note] | None, console: Console) -> None:
    """What was found, as a table; what is to be installed, downloaded and updated; what the conversion remarked."""
    if findings:
        console.print(_findings(findings))
    if repair is not None:
        _show_repair(repair, console)
    for note in notes or ():
        place = f"node {note.node_id}: " if note.node_id else ""
        console.print(f"[dim]Note: {plain(place)}{said(note.message)}[/]")


def _servers(rows: list[ServerVerdict]) -> Table:
    """The servers, the best first: whether each can run it, and what it lacks."""
    found = table("Server", "Runs it", "Lacks", "Remarks")
    for row in rows:
        runs = "[dim]not known[/]" if row.valid is None else "[green]yes[/]" if row.valid else "[red]no[/]"
        lacks = [f"node class {name}" for name in row.node_classes or ()]
        lacks += [f"node pack {title}" for title in row.packs or ()]
        lacks += [f"model {file}" for file in row.models or ()]
        lacks += [f"{code} ({number})" for code, number in (row.other or {}).items()]
        waiting = f"{count(row.waiting, 'run')} waiting" if row.waiting else ""
        remarks = [waiting, "" if row.online else "is not there now", said(row.reason or "")]
        found.add_row(plain(row.server), runs, plain("\n".join(lacks)), "\n".join(filter(None, remarks)))
    return found


def _findings(findings: list[Finding]) -> Table:
    found = table("", "Where", "What", "How to mend it")
    for finding in findings:
        node = " ".join(part for part in (finding.node_id, finding.class_type) if part)
        place = f"{node}\n{finding.input}" if finding.input else node
        found.add_row(_MARKS[finding.severity], plain(place), said(finding.message), said(finding.fix or ""))
    return found


def _show_repair(repair: Repair, console: Console) -> None:
    """Commands and links stand on lines of their own, which no column folds: they are there to be copied."""
    for pack in repair.packs:
        console.print(f"[bold]Node pack {plain(pack.title)}[/] ({plain(pack.state.replace('_', ' '))})")
        copyable(console, f"for {', '.join(pack.class_types)}", 2)
        for text in (pack.repository, pack.reason, pack.command):
            if text:
                copyable(console, text, 2)
        for other in pack.others or ():
            copyable(console, f"or {other.title}: {other.install or other.repository}", 2)
    for model in repair.models:
        about = [model.folder, readable_size(model.size), model.licence, "account needed" if model.gated else None]
        console.print(f"[bold]Model {plain(model.file)}[/] ({plain(', '.join(fact for fact in about if fact))})")
        if model.use:
            copyable(console, f"installed: {', '.join(model.use)}", 2)
        for text in (model.url, model.page, model.command):
            if text:
                copyable(console, text, 2)
        if not (model.use or model.url or model.page):
            console.print("  no link is known")
    for update in repair.updates:
        console.print(f"[bold]{plain(update.what)}[/] {plain(update.installed)}, made with {plain(update.wanted)}")
        if update.command:
            copyable(console, update.command, 2)
    if repair.afterwards:
        copyable(console, repair.afterwards)
