"""The inventory of a real server: asked, scanned, contradicted, by several processes, and without the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyui_api import sandbox
from comfyui_api.errors import ComfySilent, UnexpectedReply
from comfyui_api.inventory import Inventory, read_inventory
from comfyui_api.known import doubt, what_is_known
from comfyui_api.stocktake import refresh_inventory, refresh_offline
from comfyui_api.workspace import open_workspace, read_settings
from tests.support import agent, answering, environment_for, http_reply, image_prompt, proxy
from tests.test_cli import NOBODY, console

pytestmark = [pytest.mark.live, pytest.mark.anyio]


@pytest.fixture
def base(comfyui: str) -> Path:
    """The folder in which the server of the tests keeps its models and packs."""
    state = sandbox.status(sandbox.default_home(read_settings(os.environ)), name=f"tests-{os.getpid()}")
    assert state.url == comfyui
    assert state.base_directory is not None
    return Path(state.base_directory)


@pytest.fixture
def new_model(base: Path) -> Iterator[str]:
    """A model that the server gets now, and has no more after the test."""
    path = base / "models" / "upscale_models" / "sub" / "came_later.pth"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"12345")
    yield os.path.relpath(path, base / "models" / "upscale_models")
    path.unlink()
    path.parent.rmdir()


def kept(home: Path) -> Inventory:
    inventory, trouble = read_inventory(home / "state" / "inventory.json")
    assert trouble is None
    assert inventory is not None
    return inventory


async def test_what_a_server_tells_is_what_its_folders_hold(comfyui: str, home: Path, base: Path) -> None:
    assert console(home, "inventory", "refresh", url=comfyui).returncode == 0
    asked = kept(home)
    assert asked.mode == "online"
    assert asked.comfyui_version == "0.3.75"
    assert asked.models["checkpoints"][f"sub{os.sep}sdxl.safetensors"] is not None
    assert "test_nodes" in asked.custom_nodes
    assert "custom_nodes" not in asked.models
    other = home / "other"
    other.mkdir()
    object_info = other / "object_info.json"
    async with open_workspace(environment_for(home, comfyui)) as workspace:
        client = workspace.connect().client
        entries = [entry async for piece in client.object_info() for entry in piece]
    object_info.write_text("{" + ",".join(f'"{entry.class_type}": {entry.description}' for entry in entries) + "}")
    read = console(
        other, "inventory", "refresh", "--comfyui-path", str(base), "--object-info", "object_info.json", url=comfyui
    )
    assert read.returncode == 0, read.stderr
    assert kept(other).mode == "offline"
    (other / "state" / "inventory.json").rename(other / "state" / "offline.json")
    differ = console(home, "inventory", "diff", comfyui, "other/state/offline.json", url=comfyui)
    found = json.loads(differ.stdout)
    assert not any(found["models"].values()), found["models"]
    # Asking once makes the folder input/3d, so that the options of some classes differ.
    assert not found["node_classes"]["only_first"] + found["node_classes"]["only_second"]
    assert not found["embeddings"]["only_first"] + found["embeddings"]["only_second"]
    assert found["custom_nodes"]["only_first"] == []


async def test_shown_inventory_is_the_kept_one(comfyui: str, home: Path) -> None:
    missing = console(home, "inventory", "show", url=comfyui)
    assert missing.returncode == 2
    assert "inventory refresh" in missing.stderr
    console(home, "inventory", "refresh", url=comfyui)
    shown = json.loads(console(home, "inventory", "show", url=comfyui).stdout)
    assert shown["node_classes"] == kept(home).class_count > 500
    assert shown["models"] == kept(home).models


def test_processes_that_refresh_at_once_leave_one_whole_inventory(comfyui: str, home: Path) -> None:
    command = [sys.executable, "-m", "comfyui_api", "inventory", "refresh"]
    environment = {**os.environ, **environment_for(home, comfyui)}
    processes = [
        subprocess.Popen(command, env=environment, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        _, trouble = process.communicate()
        assert (process.returncode, trouble) == (0, b"")
    inventory = kept(home)
    classes = inventory.node_classes()
    assert classes is not None
    assert len(classes) == inventory.class_count > 500
    assert sorted(path.name for path in (home / "state").iterdir()) == [
        "inventory.classes.sqlite",
        "inventory.json",
        "inventory.json.lock",
    ]


async def test_an_answer_that_contradicts_the_inventory_brings_its_files_up_to_date(
    comfyui: str, home: Path, new_model: str, base: Path
) -> None:
    path = base / "models" / "upscale_models" / new_model
    content = path.read_bytes()
    path.unlink()
    prompt = image_prompt("later")
    prompt["3"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": new_model}}
    prompt["4"] = {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["3", 0], "image": ["1", 0]}}
    prompt["2"]["inputs"]["images"] = ["4", 0]
    async with agent(environment_for(home, comfyui)) as user:
        assert not (await user.call("validate_workflow", workflow=prompt))["valid"]
        before = kept(home)
        assert new_model not in before.models["upscale_models"]
        path.write_bytes(content)
        assert (await user.call("validate_workflow", workflow=prompt))["valid"]
        after = kept(home)
        assert after.models["upscale_models"][new_model] == len(content)
        assert after.last_updated == before.last_updated


async def test_what_was_read_from_files_counts_while_the_server_is_away(comfyui: str, home: Path, base: Path) -> None:
    async with proxy(comfyui) as between:
        environment = environment_for(home, between.url)
        async with open_workspace(environment) as workspace:
            await refresh_offline(workspace, None, None, base)
            known = await what_is_known(workspace, workspace.connect())
            assert known.fresh, "the server's own telling is better"
            offline = (await refresh_offline(workspace, None, None, base)).inventory
            assert offline.classes is not None
            assert offline.classes_updated is not None
    async with open_workspace(environment) as workspace:
        known = await what_is_known(workspace, workspace.connect())
        assert not known.online
        assert known.inventory == offline
        assert known.node_classes is not None
        assert "EmptyImage" in known.node_classes


async def test_models_are_known_without_node_classes(home: Path, base: Path) -> None:
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        await refresh_offline(workspace, None, None, base)
        known = await what_is_known(workspace, workspace.connect())
        assert known.node_classes is None
        assert known.inventory is not None
        assert known.inventory.models["checkpoints"]
    status = json.loads(console(home, "status").stdout)
    assert status["inventory"]["models"] >= 3


async def test_a_reply_that_breaks_off_leaves_the_inventory_as_it_was(comfyui: str, home: Path) -> None:
    async with proxy(comfyui) as between, open_workspace(environment_for(home, between.url)) as workspace:
        connection = workspace.connect()
        before = (await refresh_inventory(connection)).inventory
        half = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"EmptyImage": {"input": {}}, "Half'
        between.replace_reply = (b"GET /object_info", half)
        with pytest.raises(ComfySilent, match="broke during /object_info"):
            await refresh_inventory(connection)
        between.replace_reply = None
        assert kept(home) == before
        assert connection.inventory == before


def server(**replies: Any) -> Any:
    """A small server with these replies; a function of the route in /object_info's place."""
    sound: dict[str, Any] = {
        "system_stats": {"system": {"os": "posix"}, "devices": []},
        "object_info": {"A": {"input": {}, "output": [], "python_module": "custom_nodes.Some.Pack"}},
        "models": ["vae", "loras", "custom_nodes", "hidden"],
        "models/vae": ["a.pt", "b.pt", 5],
        "models/loras": [],
        "embeddings": ["neg"],
        **replies,
    }

    async def answer(stream: Any, head: bytes) -> None:
        reply = sound.get(head.split(b" ")[1].decode().strip("/"))
        text = reply if isinstance(reply, str) else json.dumps(reply)
        await stream.send(http_reply("404 Not Found" if reply is None else "200 OK", text, "application/json"))

    return answer


async def test_packs_of_a_manager_have_their_versions(home: Path) -> None:
    packs = {
        "Some.Pack": {"ver": "1.2.3", "cnr_id": "some-pack", "aux_id": None, "enabled": True},
        "Failed": {"ver": "nightly", "cnr_id": "", "aux_id": "o/failed", "enabled": True},
    }
    for route in ("customnode/installed", "v2/customnode/installed"):
        async with answering(server(**{route: packs})) as url, open_workspace(environment_for(home, url)) as workspace:
            inventory = (await refresh_inventory(workspace.connect())).inventory
        assert inventory.custom_nodes["Some.Pack"].version == "1.2.3"
        assert inventory.custom_nodes["Failed"].repository == "https://github.com/o/failed"
        assert inventory.custom_nodes_updated is not None


async def test_a_server_without_sizes_gives_names(home: Path) -> None:
    async with answering(server()) as url, open_workspace(environment_for(home, url)) as workspace:
        refreshed = await refresh_inventory(workspace.connect())
        assert refreshed.inventory.models == {"vae": {"a.pt": None, "b.pt": None}, "loras": {}}
        assert refreshed.inventory.custom_nodes.keys() == {"Some.Pack"}
        assert refreshed.remarks == ()
        assert refreshed.inventory == kept(home)


async def test_sizes_that_are_none_are_passed_over(home: Path) -> None:
    listed = [{"name": "a.pt", "size": 7}, {"name": "a.pt", "size": 8}, {"name": "b.pt", "size": -1}, 5, {"size": 1}]
    routes = {"experiment/models/vae": listed}
    async with answering(server(**routes)) as url, open_workspace(environment_for(home, url)) as workspace:
        models = (await refresh_inventory(workspace.connect())).inventory.models
    assert models["vae"] == {"a.pt": 7, "b.pt": None}


@pytest.mark.parametrize("reply", ["nonsense", {"a": 1}, None])
async def test_a_part_that_cannot_be_asked_is_said_and_costs_only_itself(home: Path, reply: Any) -> None:
    broken = {"models": reply, "embeddings": reply}
    async with answering(server(**broken)) as url, open_workspace(environment_for(home, url)) as workspace:
        refreshed = await refresh_inventory(workspace.connect())
    assert refreshed.inventory.class_count == 1
    assert refreshed.inventory.models_updated is None
    assert [remark.split(":")[0] for remark in refreshed.remarks] == [
        "The model files could not be asked",
        "The embeddings could not be asked",
    ]


@pytest.mark.parametrize("reply", ["<html>login</html>", "[]", "{}", '{"error": 1}', '{"A": {"input": {}}, "B', ""])
async def test_what_is_no_object_info_is_said_and_nothing_is_kept(home: Path, reply: str) -> None:
    async with answering(server(object_info=reply)) as url, open_workspace(environment_for(home, url)) as workspace:
        with pytest.raises(UnexpectedReply, match=r"Check|proxy|another program|login page stands before"):
            await refresh_inventory(workspace.connect())
    assert not list((home / "state").glob("*"))


async def test_a_doubted_inventory_is_asked_for_before_it_counts_again(home: Path) -> None:
    async with answering(server()) as url, open_workspace(environment_for(home, url)) as workspace:
        connection = workspace.connect()
        assert (await what_is_known(workspace, connection)).fresh
        assert not (await what_is_known(workspace, connection)).fresh
        doubt(connection)
        assert (await what_is_known(workspace, connection)).fresh
        assert not (await what_is_known(workspace, connection)).fresh
