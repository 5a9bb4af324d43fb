"""The console's `doctor`: what is configured, reachable and missing, a line each, with how to mend it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import typer

from comfyui_api.cli.console import AsJson, for_person, plain, print_json, table, terminal
from comfyui_api.cli.words import said
from comfyui_api.quantities import count

if TYPE_CHECKING:
    from rich.console import Console

    from comfyui_api.doctor import Check

app = typer.Typer()
_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "problem": "[red]problem[/]"}


@app.command("doctor")
def doctor(as_json: AsJson = False) -> None:
    """What is configured, reachable and missing, and how to mend it; it changes nothing.

    Exit codes: 0 nothing is wrong, 1 there are problems.
    """
    from comfyui_api.doctor import examine  # noqa: PLC0415  # it looks into many rooms

    checks = anyio.run(examine, dict(os.environ), Path.home(), sys.argv[0])
    if not for_person(as_json=as_json):
        print_json([{key: value for key, value in asdict(check).items() if value is not None} for check in checks])
    else:
        _show(checks, terminal())
    raise typer.Exit(1 if any(check.state == "problem" for check in checks) else 0)


def _show(checks: list[Check], console: Console) -> None:
    rows = table("", "About", "Found")
    for check in checks:
        mend = f"\n[dim]→[/] {said(check.mend)}" if check.mend else ""
        rows.add_row(_MARKS[check.state], plain(check.about), f"{said(check.found)}{mend}")
    console.print(rows)
    states = Counter(check.state for check in checks)
    console.print(f"{count(states['problem'], 'problem')}, {count(states['warn'], 'warning')}.")
