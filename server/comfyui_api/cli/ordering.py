"""What `queue` and `run` share: the options that make an order of a workflow, and how its answer is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comfyui_api.cli.completing import projects
from comfyui_api.cli.console import here, plain
from comfyui_api.cli.verdicts import show_findings
from comfyui_api.cli.words import said
from comfyui_api.errors import InvalidArgument
from comfyui_api.quantities import count
from comfyui_api.results import Submission

if TYPE_CHECKING:
    from rich.console import Console

Inputs = Annotated[list[str], typer.Option("--input", help="Override a value: 6.text=a cat (value as JSON or text).")]
Project = Annotated[
    str | None, typer.Option(help="Project whose server to use and to save under.", autocompletion=projects)
]
Named = Annotated[str | None, typer.Option(help="What to call the workflow if it is saved.")]
Front = Annotated[bool, typer.Option(help="Before all waiting runs.")]
AllowPartial = Annotated[bool, typer.Option(help="Run the sound outputs, leave faulty ones out.")]
Force = Annotated[bool, typer.Option(help="Let the server decide in spite of findings.")]
Variations = Annotated[
    str | None, typer.Option(help='One run for each set: \'[{"3.seed": 1}, {"3.seed": 2}]\', or @FILE with that.')
]


def overrides(entries: list[str]) -> dict[str, Any]:
    """The values of --input, by address."""
    found: dict[str, Any] = {}
    for entry in entries:
        address, sign, text = entry.partition("=")
        if not sign:
            raise InvalidArgument(f"--input {entry} has no value.", "Write --input '6.text=a cat'.")
        try:
            found[address] = json.loads(text)
        except ValueError:
            found[address] = text
    return found


def variation_sets(text: str | None) -> list[dict[str, Any]] | None:
    """Sets of overrides as JSON, or in the file that @ stands before."""
    if text is None:
        return None
    try:
        sets = json.loads(Path(here(text[1:])).read_text("utf-8-sig") if text.startswith("@") else text)
    except (OSError, ValueError) as exc:
        raise InvalidArgument(f"--variations cannot be read: {exc}.", "Give JSON, or @FILE with JSON.") from exc
    if not isinstance(sets, list) or not all(isinstance(each, dict) for each in sets):
        raise InvalidArgument("--variations is no list of objects.", 'Write \'[{"3.seed": 1}, {"3.seed": 2}]\'.')
    return sets


def show_seeds(result: Submission, console: Console) -> None:
    """The numbers that "random" became, for each run."""
    for seeds in filter(None, result.seeds or ()):
        console.print("[dim]random:[/]", ", ".join(f"{plain(address)} = {seed}" for address, seed in seeds.items()))


def show_left_out(result: Submission, console: Console) -> None:
    """What of an order does not run, though some of it does."""
    if result.status == "partly_queued":
        console.print(f"[yellow]Partly queued:[/] {said(result.message)}")
    if result.dropped_outputs:
        console.print(f"[yellow]Outputs left out:[/] {plain(', '.join(result.dropped_outputs))}")


def show_submission(result: Submission, console: Console) -> None:
    """What became of an order. The ids of runs stand alone, to be copied."""
    show_findings(result.findings, result.repair, result.notes, console)
    if result.status in ("refused", "saved_offline"):
        console.print(f"{'[red]Refused:[/] ' if result.status == 'refused' else ''}{said(result.message)}")
        return
    waiting = f", {result.queue_position} waiting before it" if result.queue_position else ""
    what = count(len(result.prompt_ids), "run") if result.prompt_ids else "One run"
    console.print(f"[green]{what} queued[/] on {plain(result.server)}{waiting}.")
    for prompt_id in result.prompt_ids or [result.prompt_id or ""]:
        console.print(f"  {plain(prompt_id)}", soft_wrap=True)
    show_seeds(result, console)
    show_left_out(result, console)
    if result.status == "queued":
        console.print(said(result.message))
