"""Saving workflows and loading those of the editor, where the server is not there, or answers as it should not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from anyio.abc import SocketStream
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api import saving
from comfyui_api.client import userdata_path
from comfyui_api.errors import AccessDenied, ComfySilent, UnexpectedReply, UnknownName
from comfyui_api.prepare import load_workflow
from comfyui_api.replies import saved_workflows
from comfyui_api.saved_workflows import server_workflows
from comfyui_api.workspace import open_workspace
from tests.support import agent, answering, environment_for, http_reply, image_prompt
from tests.test_cli import console

pytestmark = pytest.mark.anyio

NOBODY = "http://127.0.0.1:9"
UI = {"nodes": [{"id": 1, "type": "Note", "widgets_values": ["a"]}], "links": [], "version": 0.4}


def serving(listing: Any, files: dict[str, str] | None = None, status: str = "200 OK") -> Any:
    """A little server with this list of saved workflows and these files, by the path as it is asked for."""

    async def reply(stream: SocketStream, head: bytes) -> None:
        path = head.split(b" ")[1].decode()
        if path.startswith("/userdata?"):
            text = listing if isinstance(listing, str) else json.dumps(listing)
            await stream.send(http_reply(status, text, "application/json"))
        elif files is not None and path in files:
            await stream.send(http_reply("200 OK", files[path], "application/json"))
        elif path == "/users":
            await stream.send(http_reply("200 OK", '{"storage": "server", "users": {}}', "application/json"))
        else:
            await stream.send(http_reply("404 Not Found", ""))

    return reply


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("a.json"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["path", "size", "modified"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


# --- without a server


async def test_offline_a_workflow_is_saved_as_it_is(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        saved = await user.call("save_workflow", workflow=UI, project="film", name="../sea: 1")
        path = Path(saved["workflow"])
        assert path.parent == home / "projects" / "film" / "workflows"
        assert json.loads(path.read_text("utf-8")) == UI
        assert saved["format"] == "ui"
        prompt = await user.call("save_workflow", workflow=image_prompt(), format="api")
        assert prompt["format"] == "api"


async def test_offline_a_conversion_without_any_inventory_says_why_it_cannot_be(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        told = await user.fail("save_workflow", workflow=UI, format="api")
        assert "cannot be converted" in told
        assert "save it as it is" in told
        assert not (home / "projects").exists()


async def test_offline_what_is_on_the_server_says_that_it_is_there(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        for tool in ("validate_workflow", "queue_workflow", "save_workflow"):
            told = await user.fail(tool, workflow="server:cat")
            assert "Connection refused" in told
            assert "'server:cat' is saved on the server, and cannot be had without it" in told
        told = await user.fail("save_workflow", workflow=UI, on_server=True)
        assert "It was not saved" in told


async def test_of_a_prompt_with_its_graph_the_graph_is_kept_or_the_prompt_on_request(home: Path) -> None:
    both = {"prompt": image_prompt(), "extra_data": {"extra_pnginfo": {"workflow": UI}}}
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        as_is = await saving.save_workflow(workspace, both, None)
        prompt = await saving.save_workflow(workspace, both, None, as_format="api")
        assert json.loads(Path(as_is.workflow).read_text("utf-8")) == UI
        assert json.loads(Path(prompt.workflow).read_text("utf-8")) == image_prompt()


async def test_where_the_answer_is_lost_it_is_said_that_it_may_be_saved(home: Path) -> None:
    async with answering(b"") as url, open_workspace(environment_for(home, url)) as workspace:
        with pytest.raises(ComfySilent, match=r"cannot be told whether the workflow was saved.*'server:cat'"):
            await saving.save_workflow(workspace, UI, None, name="cat", on_server=True)


async def test_the_same_workflow_twice_is_one_file(home: Path) -> None:
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        one = await saving.save_workflow(workspace, UI, None, name="cat")
        other = await saving.save_workflow(workspace, UI, None, name="cat.JSON")
        assert one.workflow == other.workflow


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "x" * 4000, "a\0b", "%2e%2e", "..", "", "con", "a\ud800b"])
async def test_a_hostile_name_stays_in_the_projects_folder(home: Path, name: str) -> None:
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        saved = await saving.save_workflow(workspace, UI, None, name=name)
        path = Path(saved.workflow)
        assert path.parent == home / "projects" / "default" / "workflows"
        assert path.suffix == ".json"
        assert path.is_file()


async def test_a_project_that_is_no_plain_name_is_refused(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        assert "cannot be a project's name" in await user.fail("save_workflow", workflow=UI, project="../x")


def test_the_console_saves_and_takes_a_name_on_the_server_for_no_path(home: Path) -> None:
    (home / "cat.json").write_text(json.dumps(UI), encoding="utf-8")
    done = console(home, "save", "cat.json", "--project", "film", "--name", "white cat")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workflow"] == str(home / "projects" / "film" / "workflows" / "white cat.json")
    for command in ("validate", "convert", "queue", "save"):
        done = console(home, command, "server:cat")
        assert done.returncode == 2
        assert "'server:cat' is saved on the server" in done.stderr


# --- servers of other versions, and hostile ones


@pytest.mark.parametrize(
    "listing",
    [
        ["cat.json", "sub\\dog.json", "picture.png", ".index.json"],
        [["cat.json", "cat.json"], ["sub/dog.json", "sub", "dog.json"]],
        [{"path": "cat.json", "size": 3, "modified": 1.7e9}, {"path": "sub/dog.json", "modified": 1.7e12}],
    ],
    ids=["names", "split", "full_info"],
)
async def test_every_form_of_the_list_is_read(home: Path, listing: Any) -> None:
    async with answering(serving(listing)) as url, open_workspace(environment_for(home, url)) as workspace:
        files = await server_workflows(workspace.connect())
        assert {file.name for file in files} == {"cat.json", "sub/dog.json"}
        assert all(file.modified in (None, 1.7e9) for file in files)


async def test_a_server_without_any_says_so(home: Path) -> None:
    for status in ("200 OK", "404 Not Found"):
        async with answering(serving([], status=status)) as url, open_workspace(environment_for(home, url)) as space:
            with pytest.raises(UnknownName, match="No workflow is saved in the editor"):
                await load_workflow(space, space.connect(), "server:cat")


async def test_a_server_of_many_users_is_explained(home: Path) -> None:
    broken = serving("500 Internal Server Error", status="500 Internal Server Error")
    async with answering(broken) as url, open_workspace(environment_for(home, url)) as workspace:
        with pytest.raises(AccessDenied, match="for each user"):
            await server_workflows(workspace.connect())


@pytest.mark.parametrize("listing", ["<html>", "[", '"x"', '{"a": 1}', "[" * 100_000, "null"])
async def test_a_list_that_is_none_is_an_error_in_words(home: Path, listing: str) -> None:
    async with answering(serving(listing)) as url, open_workspace(environment_for(home, url)) as workspace:
        with pytest.raises(UnexpectedReply):
            await server_workflows(workspace.connect())


async def test_a_name_is_asked_for_in_one_piece(home: Path) -> None:
    path = "/userdata/workflows%2Fa%20b%2F100%2525%2Ejson"
    server = serving(["a b/100%.json"], {path: json.dumps(image_prompt())})
    async with answering(server) as url, open_workspace(environment_for(home, url)) as workspace:
        loaded = await load_workflow(workspace, workspace.connect(), "server:a b/100%")
        assert (loaded.name, loaded.source, loaded.format) == ("100%", "server:a b/100%.json", "api")


async def test_a_file_that_went_meanwhile_is_an_unknown_name(home: Path) -> None:
    async with answering(serving(["cat.json"])) as url, open_workspace(environment_for(home, url)) as workspace:
        with pytest.raises(UnknownName, match="No workflow 'cat' is saved"):
            await load_workflow(workspace, workspace.connect(), "server:cat")


async def test_hostile_names_in_the_list_leave_the_terminal_alone_and_the_answer_short(home: Path) -> None:
    names = [f"\x1b[2J{number}{'x' * 900}.json" for number in range(2000)] + ["../../up.json", "a\u202eb.json"]
    async with answering(serving(names)) as url, agent(environment_for(home, url)) as user:
        told = await user.fail("validate_workflow", workflow="server:")
        assert "\x1b" not in told
        assert len(told) < 5000
        told = await user.fail("validate_workflow", workflow="server:\x1b[31m" + "y" * 4000)
        assert "\x1b" not in told
        assert len(told) < 5000


@given(anything)
def test_a_list_of_any_shape_gives_plain_names_or_is_malformed(raw: Any) -> None:
    try:
        files = saved_workflows(raw)
    except TypeError:
        assert not isinstance(raw, list)
        return
    for file in files:
        assert re.fullmatch(r"(?is).*\.json", file.name)
        assert file.modified is None or file.modified >= 0
        assert file.size is None or file.size >= 0


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(["%2e%2e/x", "50%20"]))
def test_any_name_is_one_segment_and_arrives_as_it_is(name: str) -> None:
    path = userdata_path(name)
    assert path.count("/") == 2
    # The web framework decodes the segment; ComfyUI decodes what has a percent sign then (app/user_manager.py).
    received = unquote(path.removeprefix("/userdata/"))
    assert (unquote(received) if "%" in received else received) == f"workflows/{name}"


def keeping(kept: dict[str, bytes]) -> Any:
    """A little server that keeps workflows as the editor's does: none is replaced."""

    async def reply(stream: SocketStream, head: bytes) -> None:
        method, path = head.split(b" ")[0].decode(), unquote(unquote(head.split(b" ")[1].decode()))
        name = path.removeprefix("/userdata/workflows/").partition("?")[0]
        if path.startswith("/userdata?"):
            listing = [{"path": each, "size": 1, "modified": 1} for each in kept]
            await stream.send(http_reply("200 OK", json.dumps(listing), "application/json"))
        elif method == "POST":
            await stream.send(http_reply("409 Conflict", ""))
        elif name in kept:
            await stream.send(http_reply("200 OK", kept[name].decode(), "application/json"))
        else:
            await stream.send(http_reply("404 Not Found", ""))

    return reply


async def test_what_is_on_the_server_already_with_this_content_is_no_error(home: Path) -> None:
    kept = {"cat.json": json.dumps(UI).encode()}
    async with answering(keeping(kept)) as url, agent(environment_for(home, url)) as user:
        saved = await user.call("save_workflow", workflow=UI, name="cat", on_server=True)
    assert saved["workflow"] == "server:cat"
    assert "there already, with the same content" in saved["message"]


async def test_a_name_taken_on_the_server_comes_with_a_free_one(home: Path) -> None:
    kept = {"cat.json": json.dumps(UI).encode(), "Cat-2.json": b"{}"}
    async with answering(keeping(kept)) as url, agent(environment_for(home, url)) as user:
        told = await user.fail("save_workflow", workflow={**UI, "extra": {}}, name="cat", on_server=True)
    assert "was not written over" in told
    assert "e.g. 'cat-3'" in told


async def test_the_word_server_may_be_written_in_any_case(home: Path) -> None:
    kept = {"ring.json": json.dumps(UI).encode()}
    async with answering(keeping(kept)) as url, open_workspace(environment_for(home, url)) as workspace:
        loaded = await load_workflow(workspace, workspace.connect(), "Server:ring")
    assert loaded.source == "server:ring.json"


async def test_a_name_that_had_to_be_changed_is_said(home: Path) -> None:
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        changed = await saving.save_workflow(workspace, UI, None, name="sub/ring")
        plain = await saving.save_workflow(workspace, UI, None, name="ring.json")
    assert "'sub/ring' cannot be a file's name: it is called 'sub_ring'" in changed.message
    assert "cannot be" not in plain.message
