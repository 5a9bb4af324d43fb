"""What the topics of the console share: options, working in the workspace, paths as the shell means them, printing.

A command prints the JSON of its result where its output goes to a program, or with --json; to a person at a terminal a
view of it. Texts of others go through `plain` on their way to a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from comfyui_api import results
from comfyui_api.cli import completing
from comfyui_api.cli.workplace import do
from comfyui_api.errors import FileProblem, InvalidArgument
from comfyui_api.harmless import escaped
from comfyui_api.saved_workflows import is_on_server
from comfyui_api.storage import stands

__all__ = [
    "AsJson",
    "PromptIds",
    "Server",
    "Servers",
    "ago",
    "copyable",
    "do",
    "facts",
    "for_person",
    "harmless",
    "here",
    "plain",
    "print_json",
    "show",
    "size",
    "table",
    "terminal",
    "workflow_given",
]

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Shown = TypeVar("Shown", bound=results.ToolResult)

Server = Annotated[
    str | None, typer.Option(help="Another server: configured name or URL.", autocompletion=completing.servers)
]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        help="Another server: configured name or URL. Several of them, once each or with commas, or `all`.",
        autocompletion=completing.servers_or_all,
    ),
]
PromptIds = Annotated[
    list[str],
    typer.Argument(metavar="PROMPT_ID", help="One run, or several.", autocompletion=completing.prompt_ids),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON also on a terminal.")]

# Joiners of letters and of emojis do not print by themselves, and steer nothing.
_JOINERS = "\u200c\u200d"


def here(path: str) -> str:
    """A path as the shell means it: from its own folder, which need not be the working folder."""
    if not path:
        raise InvalidArgument("The path is empty.", "Give the path of a file.")
    try:
        return str(Path.cwd() / path)
    except OSError as exc:
        raise FileProblem(f"The shell's folder is not there any more: {exc.strerror}.", "Go to another one.") from exc


def workflow_given(given: str) -> str:
    """A workflow's path as the shell means it; its JSON, or its name on the server, as it is."""
    if is_on_server(given):
        return given
    is_json = given.lstrip()[:1] in ("{", "[") and not stands(Path(given))
    return given if is_json or not given.strip() else here(given)


def show(result: Shown, view: Callable[[Shown, Console], None], *, as_json: bool) -> None:
    """Print a tool's result: as its view for a person, else as JSON."""
    if for_person(as_json=as_json):
        view(result, terminal())
    else:
        print_json(results.as_json(result))


def for_person(*, as_json: bool) -> bool:
    """Whether to print for a person: at a terminal, unless JSON is asked for."""
    return not as_json and sys.stdout.isatty()


def terminal(*, stderr: bool = False) -> Console:
    """The terminal, with colours where it has them. Markup is ours: texts of others go through `plain`."""
    from rich.console import Console  # noqa: PLC0415  # slow, and needed for people only

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal that does not speak UTF-8
    return Console(file=stream, highlight=False, emoji=False)


def plain(text: object) -> str:
    """A text of others as it is: no markup, no control of the terminal."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(harmless(str(text)))


def harmless(text: str) -> str:
    """A text without what would steer a terminal or turn its letters round."""
    return "".join(char if char.isprintable() or char in f"\n{_JOINERS}" else "�" for char in text)


def table(*columns: str) -> Table:
    """A table with these headings, or without any where all are empty; long cells are folded, never cut."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    made = Table(box=box.SIMPLE_HEAD if any(columns) else None, pad_edge=False, show_header=any(columns))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def facts(console: Console, *rows: tuple[str, str | None]) -> None:
    """Names and what is to be said of them, below each other; those with nothing to say are left out. The values may
    have markup."""
    grid = table("", "")
    for name, value in rows:
        if value:
            grid.add_row(f"[dim]{name}[/]", value)
    console.print(grid)


def copyable(console: Console, text: str, indent: int = 0) -> None:
    """A line of others' text that is there to be copied: no column folds it."""
    console.print(" " * indent + plain(text), soft_wrap=True)


def ago(seconds: float | None) -> str:
    """How long ago something was, roughly; None: it never was."""
    if seconds is None:
        return "never"
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 120:
        return f"{minutes} min ago" if minutes else "just now"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def size(number: float | None) -> str:
    """A number of bytes for people, with three digits."""
    if number is None:
        return "unknown size"
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB" if number < 1000 else f"{number:,.0f} GB"


def print_json(content: Any) -> None:
    text = escaped(json.dumps(content, ensure_ascii=False, indent=2))
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # a console that does not speak UTF-8
        text = json.dumps(content, indent=2)
    print(text)
