"""Files that come with somebody's project, and files of our own that were damaged: nothing hangs, and it is said."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from comfyui_api.errors import FileProblem
from comfyui_api.inventory import read_head, read_inventory
from comfyui_api.knowledge import model_tables
from comfyui_api.projects import manifest_server
from comfyui_api.servers import read_servers
from comfyui_api.stocktake import refresh_offline
from comfyui_api.storage import content_of, read_state, text_of
from comfyui_api.workspace import open_workspace
from tests.support import agent, environment_for
from tests.test_explore_models import classes, installed

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def rubbish(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00rubbish" * 100)


NO_TEXTS = pytest.mark.parametrize(
    "put", [pytest.param(endless, marks=posix), pytest.param(pipe, marks=posix), folder, rubbish]
)


def put_at(path: Path, put: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path)


@NO_TEXTS
async def test_find_models_works_by_the_shipped_list_where_that_of_the_project_cannot_be_read(
    home: Path, put: Callable[[Path], None]
) -> None:
    put_at(home / "references" / "models.md", put)
    async with agent(environment_for(home, NOBODY)) as user:
        with anyio.fail_after(60):
            told = await user.call("find_models", query="flux", installed=False)
    assert told["models"]
    assert f"{home / 'references' / 'models.md'} could not be read" in told["message"]


@NO_TEXTS
def test_what_is_no_text_of_a_project_is_refused_in_words(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put_at(tmp_path / "projects" / "film" / "manifest.yaml", put)
    put_at(tmp_path / "servers.toml", put)
    with pytest.raises(FileProblem, match=r"manifest\.yaml could not be read"):
        manifest_server(tmp_path, "film")
    with pytest.raises(FileProblem, match=r"servers\.toml could not be read"):
        read_servers(tmp_path, tmp_path / "config")


@NO_TEXTS
def test_what_is_no_state_of_ours_is_never_read_for_ever(tmp_path: Path, put: Callable[[Path], None]) -> None:
    path = tmp_path / "state" / "inventory.json"
    for read in (read_head, read_inventory, read_state):
        if not path.exists():
            put_at(path, put)
        content, trouble = read(path)
        assert content is None
        assert trouble is not None
        assert "inventory.json" in trouble


def test_a_file_beyond_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.md"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="more than 16 MB"):
        text_of(path)
    with pytest.raises(OSError, match="more than 1 MB"):
        content_of(path, 2**20)
    assert any("more than 16 MB" in problem for problem in model_tables(_with_models(tmp_path, path)).problems)


def _with_models(home: Path, file: Path) -> Path:
    (home / "references").mkdir()
    (home / "references" / "models.md").symlink_to(file)
    return home


# --- what is set aside


async def stocked(home: Path) -> Path:
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        await refresh_offline(workspace, None, classes(home), installed(home))
    return home / "state" / "inventory.json"


@pytest.mark.parametrize("tools", [("check_status", "find_nodes"), ("find_nodes", "check_status")])
@pytest.mark.parametrize("damage", ["the head", "the node classes"])
async def test_a_damaged_inventory_is_said_by_whichever_tool_meets_it_and_by_those_after_it(
    home: Path, tools: tuple[str, str], damage: str
) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        path = await stocked(home)
        broken = path if damage == "the head" else path.with_suffix(".classes.sqlite")
        broken.write_bytes(b"\x00rubbish" * 2000)
        for tool in (*tools, *tools):
            if tool == "check_status":
                told = json.dumps(await user.call(tool))
            else:
                told = await user.fail(tool, query="sampler")
            assert f"it is set aside as {broken.name}.corrupt" in told, tool


async def test_a_damage_is_not_told_any_more_when_it_is_mended(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        path = await stocked(home)
        path.with_suffix(".classes.sqlite").write_bytes(b"\x00rubbish" * 2000)
        assert "set aside" in await user.fail("find_nodes", query="sampler")
        await stocked(home)
        told: dict[str, Any] = await user.call("check_status")
    assert "set aside" not in json.dumps(told)
