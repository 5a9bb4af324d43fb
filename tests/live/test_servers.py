"""Several real servers with different models and node packs: which can run what, runs of both at once, and later."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from tests.sandboxes import sandboxed
from tests.support import DATA, agent, answering, environment_for, image_prompt, settings_file, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]
PACK = """
class OtherOnly:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, image):
        return (image,)


NODE_CLASS_MAPPINGS = {"OtherOnly": OtherOnly}
"""


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of another ComfyUI, with a model and a node class that the first one lacks, and without its own."""
    pack = tmp_path_factory.mktemp("packs") / "other_pack"
    pack.mkdir()
    (pack / "__init__.py").write_text(PACK)
    with sandboxed("second", custom_nodes=[pack], models=["checkpoints/other.safetensors"]) as url:
        yield url


def configure(home: Path, **urls: str) -> None:
    settings_file(home).parent.mkdir(exist_ok=True)
    text = "".join(f'[{name}]\nurl = "{url}"\n' for name, url in urls.items())
    (settings_file(home).parent / "servers.toml").write_text(text, encoding="utf-8")


def through(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A prompt whose picture passes through a node of this class."""
    prompt = image_prompt(class_type)
    prompt["3"] = {"class_type": class_type, "inputs": {"image": ["1", 0], **inputs}}
    prompt["2"]["inputs"]["images"] = ["3", 0]
    return prompt


def with_checkpoint(name: str) -> dict[str, Any]:
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }


async def test_the_server_that_can_run_it_comes_first(comfyui: str, second: str, home: Path) -> None:
    configure(home, first=comfyui, second=second)
    async with agent(environment_for(home, "first")) as user:

        async def ranked(workflow: dict[str, Any], server: Any = "all") -> list[dict[str, Any]]:
            verdict = await user.call("validate_workflow", workflow=workflow, server=server)
            rows: list[dict[str, Any]] = verdict["servers"]
            assert verdict["valid"] == rows[0]["valid"]
            assert all(row["online"] for row in rows)
            return rows

        rows = await ranked(image_prompt())
        assert [(row["server"], row["valid"]) for row in rows] == [("first", True), ("second", True)]

        rows = await ranked(with_checkpoint("other.safetensors"))
        assert [(row["server"], row["valid"]) for row in rows] == [("second", True), ("first", False)]
        assert rows[1]["models"] == ["checkpoints/other.safetensors"]
        assert "other" not in rows[1]

        rows = await ranked(with_checkpoint("sd15.safetensors"), ["second", "first"])
        assert [(row["server"], row["valid"]) for row in rows] == [("first", True), ("second", False)]

        rows = await ranked(through("OtherOnly"), [comfyui, second])
        assert [(row["server"], row["valid"]) for row in rows] == [(second, True), (comfyui, False)]
        assert rows[1]["node_classes"] == ["OtherOnly"]

        # Neither can: the one that lacks less.
        both = {**with_checkpoint("other.safetensors"), "9": through("TestSleep", seconds=0.1, steps=1)["3"]}
        both["9"]["inputs"]["image"] = ["3", 0]
        both["4"]["inputs"]["images"] = ["9", 0]
        both["3"]["inputs"].pop("samples")
        rows = await ranked(both)
        assert [(row["server"], row["errors"]) for row in rows] == [("first", 2), ("second", 2)]
        assert rows[0]["other"] == {"required_input_missing": 1}
        assert rows[1]["node_classes"] == ["TestSleep"]


async def test_a_server_that_is_away_is_judged_by_its_inventory_and_that_is_said(
    comfyui: str, second: str, home: Path
) -> None:
    configure(home, second=second, gone="http://127.0.0.1:9", unset="http://127.0.0.1:8")
    async with agent(environment_for(home, comfyui)) as user:
        await user.call("check_status", server="second")
    # The same inventory, of a server that is not there any more.
    saved = next((home / "state").glob("inventory-*.json"))
    away = home / "state" / saved.name.replace(second.rpartition(":")[2], "9")
    for part in (home / "state").glob(f"{saved.stem}*"):
        shutil.copy(part, part.with_name(part.name.replace(second.rpartition(":")[2], "9")))
    away.write_text(away.read_text().replace(second, "http://127.0.0.1:9"))
    async with agent(environment_for(home, comfyui)) as user:
        verdict = await user.call("validate_workflow", workflow=through("OtherOnly"), server=["gone", "unset", comfyui])
        rows = {row["server"]: row for row in verdict["servers"]}
        assert [row["server"] for row in verdict["servers"]] == ["gone", comfyui, "unset"]
        assert (rows["gone"]["valid"], rows["gone"]["online"]) == (True, False)
        assert "last known" in rows["gone"]["reason"]
        assert "valid" not in rows["unset"]
        assert "nothing is known of the server" in rows["unset"]["reason"]
        assert "Connection refused" in await user.fail(
            "validate_workflow", workflow=image_prompt(), server=["unset", "http://127.0.0.1:7"]
        )


async def test_the_status_of_the_default_server_does_not_wait_for_the_others(
    comfyui: str, second: str, home: Path
) -> None:
    async def hold(_: SocketStream) -> None:
        await anyio.sleep_forever()

    async with answering(hold) as silent:
        configure(home, second=second, gone="http://127.0.0.1:9", silent=silent, same=comfyui)
        (home / "servers.toml").write_text('[far]\nurl = "http://far.example"\n[near]\nurl = "http://127.0.0.1:8"\n')
        async with agent(environment_for(home, comfyui)) as user:
            await user.call("check_status")
            began = time.monotonic()
            status = await user.call("check_status")
            assert time.monotonic() - began < 6
            alone = await user.call("check_status", server="second")
    assert status["online"]
    assert status["server"] == comfyui
    others = {row["server"]: row for row in status["servers"]}
    assert list(others) == ["far", "near", "second", "gone", "silent"]
    assert others["second"]["online"]
    assert others["second"]["comfyui_version"] == "0.3.75"
    assert others["second"]["queue"] == {"running": 0, "pending": 0}
    assert others["second"]["devices"]
    assert "Connection refused" in others["gone"]["reason"]
    assert "no answer within" in others["silent"]["reason"]
    assert "not an allowed host" in others["far"]["reason"] or "nor an allowed host" in others["far"]["reason"]
    assert alone["online"]
    assert "servers" not in alone


async def test_a_broken_list_of_servers_does_not_hide_the_default_one(comfyui: str, home: Path) -> None:
    (home / "servers.toml").write_text('[near]\nurl = "http://127.0.0.1:8"\nkey = "sk-in-the-clear"\n')
    async with agent(environment_for(home, comfyui)) as user:
        status = await user.call("check_status")
    assert status["online"]
    assert any("in the clear" in note for note in status["notes"])
    assert "sk-in-the-clear" not in json.dumps(status)


async def test_runs_of_two_servers_are_followed_at_once_and_found_again_later(
    comfyui: str, second: str, home: Path
) -> None:
    configure(home, first=comfyui, second=second)
    ended: dict[str, dict[str, Any]] = {}
    async with agent(environment_for(home, "first")) as user:
        slow = through("TestSleep", seconds=2.0, steps=20)
        runs = {
            "first": (await user.call("queue_workflow", workflow=slow))["prompt_id"],
            "second": (await user.call("queue_workflow", workflow=through("OtherOnly"), server="second"))["prompt_id"],
        }

        async def follow(name: str) -> None:
            ended[name] = await user.finish(runs[name])

        async with anyio.create_task_group() as tasks:
            for name in runs:
                tasks.start_soon(follow, name)
        assert {name: (end["state"], end["server"]) for name, end in ended.items()} == {
            "first": ("completed", comfyui),
            "second": ("completed", second),
        }
        assert list(ended) == ["second", "first"]
        long = through("TestSleep", seconds=60.0, steps=10)
        waiting = (await user.call("queue_workflow", workflow=long, server="first"))["prompt_id"]

    # A later process, with another default server: the ids alone are enough.
    async with stdio_agent(environment_for(home, "http://127.0.0.1:9")) as later:
        for name, url in (("first", comfyui), ("second", second)):
            assert (await later.call("poll_result", prompt_id=runs[name]))["server"] == url
            assert len((await later.call("get_output", prompt_id=runs[name]))["files"]) == 1
        assert (await later.call("poll_result", prompt_id=waiting, wait_seconds=0))["state"] in ("queued", "running")
        await later.call("interrupt", prompt_id=waiting)
        assert (await later.finish(waiting))["state"] == "interrupted"
    noted = json.loads((home / "state" / "jobs.json").read_text())
    assert {noted[runs[name]]["server_name"] for name in runs} == {"first", "second"}


def test_the_packs_of_the_tests_differ() -> None:
    assert "OtherOnly" not in (DATA / "test_nodes" / "__init__.py").read_text()
