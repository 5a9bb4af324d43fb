"""What people see: views at any width, in any terminal, and other people's texts that steer nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.cli import app
from comfyui_api.cli.console import ago, harmless, plain, size
from comfyui_api.cli.words import COMMANDS, in_commands
from comfyui_api.quantities import count
from comfyui_api.tools import TOOLS
from tests.support import answering, http_reply, image_prompt
from tests.terminal import Terminal, on_a_terminal
from tests.test_cli import console

EVIL = "[red]x[/]\x1b[2J\x1b]0;evil\x07\u202egnp.\r"
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANG": "C"}


def hostile(home: Path) -> str:
    prompt = image_prompt(EVIL)
    prompt["1"]["_meta"] = {"title": EVIL}
    prompt[EVIL] = {"class_type": EVIL, "inputs": {EVIL: EVIL}}
    (home / "evil.json").write_text(json.dumps(prompt), encoding="utf-8")
    return "evil.json"


def assert_harmless(terminal: Terminal) -> None:
    assert "\x1b[2J" not in terminal.raw
    assert "\x1b]0;evil" not in terminal.raw
    assert "\u202e" not in terminal.raw
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", ["show", "validate", "run", "queue"])
def test_texts_of_others_steer_no_terminal(home: Path, command: str, columns: int) -> None:
    classes = {"EmptyImage": {"input": {}, "output": ["IMAGE"]}, "SaveImage": {"input": {}, "output_node": True}}
    (home / "object_info.json").write_text(json.dumps(classes))
    assert console(home, "inventory", "refresh", "--object-info", "object_info.json").returncode == 0
    with Terminal(home, command, hostile(home), columns=columns) as terminal:
        terminal.end()
        assert_harmless(terminal)
        assert "[red]x[/]" in terminal.text.replace("\n", "")


@pytest.mark.anyio
async def test_texts_of_a_server_steer_no_terminal(home: Path) -> None:
    import anyio.to_thread  # noqa: PLC0415

    system = {"os": EVIL, "comfyui_version": EVIL, "python_version": EVIL, "pytorch_version": EVIL}
    device = {"name": EVIL, "type": EVIL, "vram_total": 1, "vram_free": 1}
    told = {"system": system, "devices": [device], "queue_running": [], "queue_pending": []}
    async with answering(http_reply("200 OK", json.dumps(told), "application/json")) as url:
        for command in ("status", "jobs", "doctor"):

            def look(command: str = command) -> None:
                with Terminal(home, command, url=url) as terminal:
                    terminal.end()
                    assert_harmless(terminal)

            await anyio.to_thread.run_sync(look)


@given(st.text())
def test_a_plain_text_has_nothing_that_steers(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    assert not [char for char in shown if not char.isprintable() and char not in "\n\u200c\u200d"]
    from rich.text import Text  # noqa: PLC0415

    # rich doubles a backslash at the end, as a tag of ours may follow.
    assert Text.from_markup(plain(text), emoji=False).plain.rstrip("\\") == shown.rstrip("\\")


@pytest.mark.parametrize("command", [("show",), ("status",), ("doctor",), ("validate",), ("--help",)])
def test_a_terminal_without_utf8_gets_what_it_can_show(home: Path, command: tuple[str, ...]) -> None:
    arguments = (*command, hostile(home)) if command[0] in ("show", "validate") else command
    with Terminal(home, *arguments, more=NO_UTF8) as terminal:
        terminal.end()
        assert "Traceback" not in terminal.text
        assert "�" not in terminal.raw, "these would be bytes that it cannot show"


def test_no_color_is_obeyed(home: Path) -> None:
    with Terminal(home, "doctor", more={"NO_COLOR": "1"}) as terminal:
        terminal.end()
        assert "\x1b[3" not in terminal.raw
    with Terminal(home, "doctor") as terminal:
        terminal.end()
        assert "\x1b[3" in terminal.raw


def test_tools_are_told_by_their_commands() -> None:
    assert in_commands("Call poll_result again.") == "Call comfyui-api poll again."
    assert in_commands("get_output('ab-1') saves them.") == "comfyui-api get ab-1 saves them."
    assert in_commands("call free_vram(free_memory=true).") == "call comfyui-api free --free-memory."
    assert in_commands("check_status(refresh_inventory=true)") == "comfyui-api status --refresh"
    assert in_commands("2 more: find_models(query, installed=false).") == (
        "2 more: comfyui-api models find QUERY --available."
    )
    assert in_commands("upload_images and my_poll_result stay") == "upload_images and my_poll_result stay"


def test_every_tool_whose_command_is_called_otherwise_is_known(home: Path) -> None:
    commands = console(home, "--help").stdout.split()
    for tool in TOOLS:
        assert COMMANDS.get(tool, tool) in commands, tool


def test_numbers_are_told_as_people_do() -> None:
    assert [size(number) for number in (None, 0, 999, 1500, 2.5e6, 3e9, 1.23e13)] == [
        "unknown size",
        "0 bytes",
        "999 bytes",
        "1.5 KB",
        "2.5 MB",
        "3 GB",
        "12,300 GB",
    ]
    assert [ago(seconds) for seconds in (None, -5, 30, 90, 7200, 200_000)] == [
        "never",
        "just now",
        "just now",
        "1 min ago",
        "2 h ago",
        "2 days ago",
    ]
    assert [count(1, "run"), count(2000, "run"), count(2, "class", "classes")] == ["1 run", "2,000 runs", "2 classes"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("stauts",), "Did you mean"),
        (("status", "--nothing"), "No such option"),
        (("poll",), "Missing argument"),
        (("jobs", "--limit", "many"), "Invalid value"),
    ],
)
def test_what_is_mistyped_is_exit_code_2_with_help(home: Path, arguments: tuple[str, ...], says: str) -> None:
    done = console(home, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "--help" in done.stderr


def commands(group: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the console by its name."""
    group = group or typer.main.get_command(app)
    for part, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name}{part} ")
        else:
            yield f"{name}{part}", command


def test_every_command_that_gives_a_result_takes_json() -> None:
    # What convert gives is JSON; these two give nothing.
    without = {name for name, command in commands() if "--json" not in [o for p in command.params for o in p.opts]}
    assert without == {"convert", "serve", "sandbox remove"}


def test_the_help_tells_the_exit_codes(home: Path) -> None:
    assert "Exit codes: 0 done; 1 findings" in " ".join(console(home, "--help").stdout.split())
    told = {name for name, command in commands() if "Exit code" in command.help}
    assert told >= {"validate", "run", "queue", "poll", "get", "interrupt", "doctor", "status", "models get"}


def test_json_is_printed_where_it_is_asked_for_and_where_a_program_reads(home: Path) -> None:
    for printed in (console(home, "status").stdout, on_a_terminal(home, "status", "--json")[1]):
        assert json.loads(printed)["online"] is False
    done = subprocess.run(
        [sys.executable, "-m", "comfyui_api", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("comfyui-api ")
