"""Several servers in one call: which are meant, and what is said where none of them can tell anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from comfyui_api.others import OTHERS_SECONDS
from tests.file_server import GRACE, Behaviour, Handler, file_server
from tests.support import agent, answering, environment_for, image_prompt, settings_file
from tests.terminal import on_a_terminal
from tests.test_cli import console

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"


def configure(home: Path, urls: dict[str, str], more: str = "") -> None:
    settings_file(home).parent.mkdir(exist_ok=True)
    entries = "".join(f'[{name}]\nurl = "{url}"\n{more}' for name, url in urls.items())
    (settings_file(home).parent / "servers.toml").write_text(entries)


async def silent(stream: SocketStream) -> None:
    """Take a request and never answer it."""
    await anyio.sleep_forever()


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


SILENT = 6


async def test_silent_servers_are_waited_for_once_and_side_by_side(home: Path) -> None:
    async with AsyncExitStack() as standing:
        urls = [await standing.enter_async_context(answering(silent)) for _ in range(SILENT)]
        lively = standing.enter_context(file_server(comfyui(CLASSES))).url
        configure(home, {f"s{number}": url for number, url in enumerate(urls)})
        async with agent(environment_for(home, lively)) as user:
            with anyio.fail_after(2 * OTHERS_SECONDS + 5):
                verdict = await user.call("validate_workflow", workflow=image_prompt(), server="all")
    rows = verdict["servers"]
    assert (rows[0]["server"], rows[0]["valid"], rows[0]["online"]) == (lively, True, True)
    assert len(rows) == 1 + SILENT
    assert all("gave no answer within 4 s" in row["reason"] and not row["online"] for row in rows[1:])


async def test_a_server_that_has_fallen_silent_is_judged_by_what_was_known_of_it(home: Path) -> None:
    with ExitStack() as standing:
        server = standing.enter_context(file_server(comfyui(CLASSES)))
        other = standing.enter_context(file_server(comfyui(CLASSES))).url
        environment = environment_for(home, other)
        async with agent(environment) as user:
            await user.call("check_status", server=server.url)
            over = threading.Event()
            standing.callback(over.set)  # before the server is closed, which waits for its answers

            def wait(handler: Handler) -> None:
                over.wait(GRACE)

            server.paths = dict.fromkeys(server.paths, wait)
            with anyio.fail_after(OTHERS_SECONDS + 5):
                verdict = await user.call("validate_workflow", workflow=image_prompt(), server=[server.url, other])
    rows = {row["server"]: row for row in verdict["servers"]}
    assert (rows[server.url]["valid"], rows[server.url]["online"]) == (True, False)
    assert "By what was last known of it" in rows[server.url]["reason"]
    assert (rows[other]["valid"], rows[other]["online"]) == (True, True)


async def test_a_cloud_that_tells_its_system_but_refuses_the_key_is_not_online(home: Path) -> None:
    paths = {f"/api{path}": told for path, told in comfyui(CLASSES).items()}
    for path in ("/api/prompt", "/api/queue", "/api/jobs"):
        paths[path] = lambda handler: handler.say(401, b'{"message": "wrong key"}')
    with file_server(paths) as cloud, file_server(comfyui(CLASSES)) as other:
        configure(home, {"cloud": cloud.url}, 'kind = "cloud"\nkey = { env = "THERE_KEY" }\n')
        async with agent(environment_for(home, other.url, THERE_KEY="a-wrong-key-0123456789")) as user:
            verdict = await user.call("validate_workflow", workflow=image_prompt(), server=["cloud", other.url])
    rows = {row["server"]: row for row in verdict["servers"]}
    assert verdict["servers"][0]["server"] == other.url
    assert not rows["cloud"]["online"]
    assert "did not accept the key" in rows["cloud"]["reason"]


@pytest.mark.parametrize(
    "secret",
    [
        "http://anna:pass-word-secret@127.0.0.1:28994",
        "anna:pass-word-secret@127.0.0.1",
        "http://[anna:pass-word-secret@",
        "http://127.0.0.1:9?token=pass-word-secret",
    ],
)
async def test_the_password_in_an_address_is_not_repeated(home: Path, secret: str) -> None:
    with file_server(comfyui(CLASSES)) as server:
        async with agent(environment_for(home, server.url)) as user:
            verdict = await user.call("validate_workflow", workflow=image_prompt(), server=[secret, server.url])
            refused = await user.fail("validate_workflow", workflow=image_prompt(), server=[secret, NOBODY])
    assert "pass-word-secret" not in json.dumps(verdict)
    assert "pass-word-secret" not in refused


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
