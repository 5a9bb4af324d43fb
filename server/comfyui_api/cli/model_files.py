"""The console on model files: find them, and fetch them into a local installation when a person asks for it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from comfyui_api import fetch_models
from comfyui_api.cli.console import (
    AsJson,
    Server,
    copyable,
    do,
    here,
    plain,
    print_json,
    show,
    table,
    workflow_given,
)
from comfyui_api.cli.console import size as size_of
from comfyui_api.cli.words import in_commands
from comfyui_api.errors import InvalidArgument
from comfyui_api.fetch_models import ModelFile, Plan, Progress
from comfyui_api.knowledge import model_tables
from comfyui_api.model_downloads import shown
from comfyui_api.model_sources import ModelSource
from comfyui_api.quantities import count
from comfyui_api.results import ModelList
from comfyui_api.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

models_app = typer.Typer(help="Model files: what is installed, what can be downloaded.")

_TOKEN = re.compile(r"([?&](?:token|key|api_key|access_token|signature)=)[^&#]+", re.IGNORECASE)


@models_app.callback(invoke_without_command=True)
def _models(context: typer.Context, as_json: AsJson = False, server: Server = None) -> None:
    """Model files: what is installed, what can be downloaded. Without a command: how many there are in each folder."""
    if context.invoked_subcommand is None:
        _find("", None, available=False, limit=20, as_json=as_json, server=server)


@models_app.command("list")
@models_app.command("find")
def find(
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORDS]...", help="Words of file names.")] = None,
    folder: Annotated[str | None, typer.Option(help="One folder, such as checkpoints or loras.")] = None,
    available: Annotated[
        bool, typer.Option("--available", "--all", help="What can be downloaded, in place of what is installed.")
    ] = False,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Find model files on the server by words, with the loaders that take them; or those that can be downloaded.

    Exit code 1: none was found.
    """
    _find(" ".join(words or ()), folder, available=available, limit=limit, as_json=as_json, server=server)


def _find(query: str, folder: str | None, *, available: bool, limit: int, as_json: bool, server: str | None) -> None:
    from comfyui_api.explore.models import find_models  # noqa: PLC0415  # not for every command's start

    result = do(
        lambda workspace: find_models(workspace, query, folder, installed=not available, limit=limit, server=server)
    )
    show(result, _show_models, as_json=as_json)
    raise typer.Exit(0 if result.models or result.folders else 1)


def _show_models(result: ModelList, console: Console) -> None:
    if result.folders:
        counts = table("Folder", "Files")
        for folder, number in result.folders.items():
            counts.add_row(plain(folder), str(number))
        console.print(counts)
    if result.models:
        offered = any(model.url or model.page for model in result.models)
        found = table("File", "Folder", "Size", *(["Licence", ""] if offered else []))
        for model in result.models:
            terms = [*([model.licence] if model.licence else []), *(["account needed"] if model.gated else [])]
            more = [plain(", ".join(terms)), "[green]installed[/]" if model.installed else ""] if offered else []
            bytes_ = size_of(model.size) if model.size is not None else ""
            found.add_row(plain(model.file), plain(model.folder), bytes_, *more)
        console.print(found)
    for folder, loaders in (result.loaders or {}).items():
        console.print(f"[dim]{plain(folder)}: {plain(', '.join(loaders))}[/]")
    # What an agent is to propose is said to the user here.
    told = result.message.replace("To propose to the user, for the machine of ComfyUI:", "On the machine of ComfyUI:")
    copyable(console, in_commands(told))


@models_app.command("get")
def get(
    files: Annotated[list[str] | None, typer.Argument(help="Names of model files in references/models.md.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Fetch every missing model of this workflow.")] = None,
    folder: Annotated[str | None, typer.Option(help="Folder of the FILEs, such as checkpoints or loras.")] = None,
    comfyui_path: Annotated[str | None, typer.Option(help="Folder of the ComfyUI installation.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before downloading.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    server: Server = None,
) -> None:
    """Download model files into the right folders: shown first, resumed where it broke off, checked.

    Exit codes: 0 all are there; 1 some failed or it was stopped; 2 nothing was begun. Tokens for files that need an
    account: HF_TOKEN, CIVITAI_API_TOKEN.
    """
    if bool(files) == bool(workflow):
        raise InvalidArgument("It is not clear which models are meant.", "Give names of FILEs, or --workflow WORKFLOW.")
    at = here(comfyui_path) if comfyui_path else None
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a console that does not speak UTF-8

    async def look(workspace: Workspace) -> Plan:
        installation = fetch_models.installation_of(workspace, at)
        if workflow:
            sources = await fetch_models.missing_models(workspace, workflow_given(workflow), server)
        else:
            sources = fetch_models.choose(model_tables(workspace.home), files or [], folder)
        async with fetch_models.remote_of(workspace, os.environ) as remote:
            with _progress() as progress:
                return await fetch_models.make_plan(remote, sources, installation, progress)

    plan = do(look)
    if not as_json or (plan.to_fetch and not yes):
        _show_plan(plan, to_stderr=as_json)
    note = ""
    if plan.to_fetch and _agreed(plan, yes=yes, as_json=as_json):

        async def carry_out(workspace: Workspace) -> str:
            async with fetch_models.remote_of(workspace, os.environ) as remote:
                with _progress() as progress:
                    await fetch_models.carry_out(remote, plan, progress)
            downloaded = any(file.state == "downloaded" for file in plan.files)
            return await fetch_models.refresh_after(workspace, server, plan.installation) if downloaded else ""

        try:
            note = do(carry_out)
        except KeyboardInterrupt:
            note = "Stopped. What has come is kept: the same command goes on from there."
    if as_json:
        print_json({"files": [_as_json(file) for file in plan.files], "note": note or None})
    else:
        _show_end(plan, note)
    raise typer.Exit(0 if plan.complete else 1)


def _agreed(plan: Plan, *, yes: bool, as_json: bool) -> bool:
    """Whether to begin. Exits with 2 where nobody can be asked, or the answer is no."""
    if yes:
        return True
    count, size = len(plan.to_fetch), sum((file.size or 0) - file.kept for file in plan.to_fetch)
    if not sys.stdin.isatty():
        if as_json:
            print_json({"files": [_as_json(file) for file in plan.files], "note": "Nothing was begun."})
        raise InvalidArgument(
            "Nothing was downloaded: there is no terminal to ask at.",
            "Look at the list, and give --yes to download it.",
        )
    least = "at least " * any(file.size is None for file in plan.to_fetch)
    if not typer.confirm(f"Download {count} file{'s' * (count > 1)}, {least}{size_of(size)}?", err=True):
        raise InvalidArgument("Nothing was downloaded.")
    return True


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr for each file where somebody looks on; a line for a log."""
    from rich import progress as bar  # noqa: PLC0415  # only this command draws

    columns = (
        bar.TextColumn("{task.description}", markup=False),
        bar.BarColumn(),
        bar.DownloadColumn(),
        bar.TransferSpeedColumn(),
        bar.TimeRemainingColumn(),
    )
    bars = bar.Progress(*columns, console=_console(to_stderr=True), disable=not sys.stderr.isatty())
    tasks: dict[ModelSource, bar.TaskID] = {}

    def progress(file: ModelFile, done: int, size: int | None, what: str) -> None:
        name = shown(file.source.file, 50)
        if not tasks:
            bars.start()  # not before, as an empty one leaves a blank line
        if file.source not in tasks:
            if bars.disable:
                sys.stderr.write(f"{what.capitalize()} {name} ({size_of(size)}).\n")
            tasks[file.source] = bars.add_task(name, total=size)
        label = name if what == "fetching" else f"{what}: {name}"
        bars.update(tasks[file.source], description=label, completed=done, total=size)

    try:
        yield progress
    finally:
        bars.stop()


def _console(*, to_stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if to_stderr else sys.stdout
    # Names are not cut to 80 letters where the output goes into a file.
    return Console(stderr=to_stderr, width=None if stream.isatty() else 200, highlight=False, markup=False, emoji=False)


def _show_plan(plan: Plan, *, to_stderr: bool) -> None:
    from rich.table import Table  # noqa: PLC0415

    console = _console(to_stderr=to_stderr)
    if not plan.files:
        console.print("No missing model is known of.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("File", "Size", "From", "To", "Licence", ""):
        table.add_column(heading, overflow="fold")
    for file in plan.files:
        source = file.source
        host = urlsplit(source.url or source.page or "").hostname or "?"
        from_others = " (says the workflow)" if source.origin == "workflow" else ""
        terms = ", ".join(filter(None, [source.licence, "account needed" if source.gated else None]))
        place = _place(plan, file)
        table.add_row(shown(source.file), size_of(file.size), host + from_others, place, shown(terms), _standing(file))
    console.print(f"ComfyUI in {plan.installation}:")
    console.print(table)
    for file in plan.files:
        if file.error is not None:
            console.print(_trouble(file), soft_wrap=True)


def _place(plan: Plan, file: ModelFile) -> str:
    if file.path is None:
        return shown(file.source.folder, 60)
    folder = file.path.parent
    inside = folder.is_relative_to(plan.installation)
    return str(folder.relative_to(plan.installation) if inside else folder)


def _standing(file: ModelFile) -> str:
    if file.state == "refused":
        return "not possible"
    if file.state == "there":
        return "is there already"
    return f"{size_of(file.kept)} of it are there" if file.kept else ""


def _trouble(file: ModelFile) -> str:
    return f"{shown(file.source.file, 120)}: {shown(str(file.error), 800)}"


def _show_end(plan: Plan, note: str) -> None:
    for file in plan.files:
        if file.state == "downloaded":
            print(f"{file.source.file}: downloaded to {file.path} ({size_of(file.size)}, SHA-256 {file.sha256}).")
        elif file.state == "failed":
            kept = f" {size_of(file.kept)} of it is kept: the same command goes on from there." if file.kept else ""
            print(_trouble(file) + kept)
    if note:
        print(note)
    if left := sum(file.state not in ("there", "downloaded") for file in plan.files):
        print(f"{left} of {count(len(plan.files), 'file')} {'is' if left == 1 else 'are'} not there.")


def _as_json(file: ModelFile) -> dict[str, Any]:
    source, error = file.source, file.error
    entry = {
        "file": source.file,
        "folder": source.folder,
        "state": file.state,
        "path": str(file.path) if file.path else None,
        "size": file.size,
        "kept": file.kept or None,
        "sha256": file.sha256,
        "url": _TOKEN.sub(r"\1…", source.url) if source.url else None,
        "page": source.page,
        "licence": source.licence,
        "gated": source.gated or None,
        "origin": source.origin,
        "error": error.message if error else None,
        "next_step": error.next_step if error else None,
    }
    return {key: value for key, value in entry.items() if value is not None}
