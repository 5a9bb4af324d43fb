"""Several servers in one call: which are meant, and what is said where none of them can tell anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.file_server import Behaviour, file_server
from tests.support import agent, environment_for, image_prompt, settings_file
from tests.terminal import on_a_terminal
from tests.test_cli import console

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ([], "list of servers is empty"),
        (["gpu", " "], "list of servers is empty"),
        ([f"s{number}" for number in range(60)], "60 servers are too many"),
        ('["gpu"', "no list of names"),
        ("[1]", "no list of names"),
        (["gpu", "cpu"], "No server is configured under the name 'gpu'"),
        ('["gpu", "cpu"]', "No server is configured under the name 'gpu'"),
        (["http://far.example"], "neither on this machine nor an allowed host"),
        ("all", "Connection refused"),
        (7, "server is 7"),
    ],
)
async def test_what_cannot_be_asked_is_said(home: Path, server: Any, words: str) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        assert words in await user.fail("validate_workflow", workflow=image_prompt(), server=server)


async def test_a_workflow_that_cannot_be_read_is_said_once(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        error = await user.fail("validate_workflow", workflow="nowhere.json", server=[NOBODY, "http://127.0.0.1:8"])
        assert error.startswith("workflow_unreadable")


async def test_many_servers_that_are_away_cost_little_time_and_text(home: Path) -> None:
    settings_file(home).parent.mkdir()
    entries = "".join(f'[s{number}]\nurl = "http://127.0.0.1:{number + 10}"\n' for number in range(45))
    (settings_file(home).parent / "servers.toml").write_text(entries)
    async with agent(environment_for(home, NOBODY)) as user:
        status = await user.call("check_status")
        assert not status["online"]
        assert all("Connection refused" in row["reason"] for row in status["servers"])
        assert "of 45" in status["cut"]["servers"]
        assert "cannot be validated by any" in await user.fail(
            "validate_workflow", workflow=image_prompt(), server="all"
        )


# On the console

EMPTY_IMAGE = {"input": {"required": {name: ["INT", {}] for name in ("width", "height", "batch_size", "color")}}}
CLASSES = {
    "EmptyImage": {**EMPTY_IMAGE, "output": ["IMAGE"]},
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}},
        "output": [],
        "output_node": True,
    },
}


def told(body: Any) -> Behaviour:
    content = json.dumps(body).encode()
    return lambda handler: handler.say(200, content, {"Content-Type": "application/json"})


def comfyui(classes: dict[str, Any]) -> dict[str, Behaviour]:
    """A ComfyUI of these classes, by its answers."""
    system = {"os": "posix", "comfyui_version": "0.33.0", "python_version": "3", "pytorch_version": "2"}
    return {
        "/system_stats": told({"system": system, "devices": []}),
        "/object_info": told(classes),
        **{f"/object_info/{name}": told({name: entry}) for name, entry in classes.items()},
        "/models": told([]),
        "/embeddings": told([]),
        "/queue": told({"queue_running": [], "queue_pending": []}),
        "/prompt": told({"exec_info": {"queue_remaining": 0}}),
    }


@pytest.fixture
def fleet(home: Path) -> Iterator[Path]:
    """A user with three servers: `full` can run a picture's workflow, `poor` lacks a class, `gone` is not there."""
    with ExitStack() as standing:
        urls = {
            "poor": standing.enter_context(file_server(comfyui({"SaveImage": CLASSES["SaveImage"]}))).url,
            "full": standing.enter_context(file_server(comfyui(CLASSES))).url,
            "gone": "http://127.0.0.1:9",
        }
        settings_file(home).parent.mkdir()
        entries = "".join(f'[{name}]\nurl = "{url}"\n' for name, url in urls.items())
        (settings_file(home).parent / "servers.toml").write_text(entries)
        (home / "cat.json").write_text(json.dumps(image_prompt()))
        yield home


@pytest.mark.parametrize(
    "options", [["all"], ["poor,full,gone"], ["poor", "full", "gone"], ["poor", " full , gone,"], ["gone", "all"]]
)
def test_the_console_asks_several_servers_and_ends_well_where_one_can_run_it(fleet: Path, options: list[str]) -> None:
    done = console(fleet, "validate", "cat.json", *(f"--server={each}" for each in options), url="poor")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["servers"]
    assert [row["server"] for row in rows] == ["full", "poor", "gone"]
    assert [row.get("valid") for row in rows] == [True, False, None]
    assert rows[1]["node_classes"] == ["EmptyImage"]


def test_where_no_server_can_run_it_the_exit_code_says_so(fleet: Path) -> None:
    assert console(fleet, "validate", "cat.json", "--server", "poor,gone").returncode == 1
    alone = console(fleet, "validate", "cat.json", "--server", "poor")
    assert (alone.returncode, "servers" in json.loads(alone.stdout)) == (1, False)
    assert console(fleet, "validate", "cat.json", "--server", "gone,http://127.0.0.1:8").returncode == 2
    assert "No server is configured" in console(fleet, "validate", "cat.json", "--server", "poor,nobody").stdout
    (fleet / "classes.json").write_text(json.dumps(CLASSES))
    both = console(fleet, "validate", "cat.json", "--object-info", "classes.json", "--server", "all")
    assert (both.returncode, "stands for one server" in both.stderr) == (2, True)
    one = console(fleet, "validate", "cat.json", "--object-info", "classes.json", "--server", "poor")
    assert one.returncode == 0, one.stderr


@pytest.mark.parametrize("columns", [60, 120])
def test_people_see_the_servers_as_a_table_the_best_first(fleet: Path, columns: int) -> None:
    code, text = on_a_terminal(fleet, "validate", "cat.json", "--server", "all", url="poor", columns=columns)
    assert code == 0, text
    assert "valid on full" in text
    assert "Lacks" in text
    shown = text[text.index("Lacks") :]
    assert shown.index("full") < shown.index("poor") < shown.index("gone")
    assert "EmptyImage" in shown
    assert "not known" in shown


def test_people_see_the_other_servers_in_the_status(fleet: Path) -> None:
    code, text = on_a_terminal(fleet, "status", url="poor", columns=120)
    assert code == 0, text
    others = text[text.index("Other servers") :]
    assert "full" in others
    assert "ComfyUI 0.33.0" in others
    assert "0 running, 0 waiting" in others
    assert "is not there" in others
    assert "Connection refused" in others
    assert "Other servers" not in on_a_terminal(fleet, "status", "--server", "full", columns=120)[1]
