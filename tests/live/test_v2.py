"""API v2 as its own comfy-api-proxy serves it before a real ComfyUI: the whole of a run, and what it cannot do."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from tests.live.test_main_job import conforms, picture, sleeping_prompt
from tests.public_clients import COMFY_API_PROXY, installed
from tests.sandboxes import sandboxed
from tests.support import DATA, Prompt, agent, environment_for, image_prompt, proxy, settings_file

pytestmark = [pytest.mark.anyio, pytest.mark.live]

KEY = "deployment-key-of-the-tests-4711"
NAME = "deployed"
GRACE = 3.0  # seconds that the proxy has to end in


@dataclass(frozen=True)
class Deployment:
    """The proxy and the ComfyUI behind it."""

    url: str
    comfyui: str
    state: Path


@pytest.fixture(scope="module")
def comfyui() -> Iterator[str]:
    """A ComfyUI with the one route of recent ones that comfy-api-proxy needs, for stopping runs."""
    with sandboxed("tests-v2", custom_nodes=[DATA / "test_nodes", DATA / "recent_routes"]) as url:
        yield url


@pytest.fixture(scope="module")
def deployment(comfyui: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    state = tmp_path_factory.mktemp("proxy")
    with standing(comfyui, state) as found:
        yield found


@contextmanager
def standing(comfyui: str, state: Path, port: int | None = None) -> Iterator[Deployment]:
    """The real proxy before a ComfyUI, while the block lasts; it remembers its jobs in `state`."""
    program = installed(COMFY_API_PROXY, "comfy-api-proxy")
    port = port or free_port()
    command = [str(program), "--comfyui", comfyui, "--port", str(port), "--token", KEY, "--state-dir", str(state)]
    url = f"http://127.0.0.1:{port}"
    with (state / "log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            until_it_answers(f"{url}/api/v2/health", process)
            yield Deployment(url, comfyui, state)
        finally:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:  # it waits for every connection that was open
                process.kill()
                process.wait(20)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the proxy ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def user_of(home: Path, url: str, *, inventory: str | None, key: str = KEY) -> dict[str, str]:
    """The environment of a user whose default server is this one, as an API v2."""
    lines = [f"[{NAME}]", f'url = "{url}"', 'kind = "v2"', 'key = { env = "DEPLOYMENT_KEY" }']
    lines += [f'inventory = "{inventory}"'] if inventory is not None else []
    file = settings_file(home).parent / "servers.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines))
    return environment_for(home, NAME, DEPLOYMENT_KEY=key)


def told_by(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        told = json.load(answer)
    assert isinstance(told, dict)
    return told


def inverted(value: str, prefix: str) -> Prompt:
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": value}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
    }


async def test_from_an_upload_to_a_picture_on_disk(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        status = conforms("check_status", await user.call("check_status"))
        assert status["online"]
        assert status["inventory"]["node_classes"] > 500
        uploaded = conforms("upload_image", await user.call("upload_image", path=str(picture(home / "größe.png"))))
        workflow = inverted(uploaded["value"], "v2")
        verdict = conforms("validate_workflow", await user.call("validate_workflow", workflow=workflow))
        assert verdict["valid"], verdict["findings"]
        queued = conforms("queue_workflow", await user.call("queue_workflow", workflow=workflow))
        ended = conforms("poll_result", await user.finish(queued["prompt_id"]))
        assert ended["state"] == "completed"
        assert "elapsed_seconds" not in ended  # the proxy does not tell it
        fetched = conforms("get_output", await user.call("get_output", prompt_id=queued["prompt_id"]))
        with Image.open(fetched["files"][0]["path"]) as image:
            assert image.getpixel((1, 1)) == (54, 215, 215)
        assert fetched["files"][0]["load_value"].startswith("asset:")
    # The handle finds its server, and the way in, in a later process as well.
    async with agent({**user_of(home, deployment.url, inventory=None), "COMFYUI_URL": "http://127.0.0.1:9"}) as later:
        assert (await later.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=5))["state"] == "completed"


async def test_a_missing_asset_is_found_before_the_run(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        workflow = inverted("asset:5f0f7b8e-0000-4000-8000-000000000000", "never")
        verdict = await user.call("validate_workflow", workflow=workflow)
        assert [finding["code"] for finding in verdict["findings"]] == ["custom_validation_failed"]
        refused = await user.call("queue_workflow", workflow=workflow, force=True)
        assert refused["status"] == "refused"
        assert refused["findings"][0]["code"] == "missing_asset"


async def test_the_server_refuses_by_node_what_was_forced(deployment: Deployment, home: Path) -> None:
    workflow = image_prompt("forced")
    workflow["1"]["inputs"]["width"] = -5
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        refused = await user.call("queue_workflow", workflow=workflow, force=True)
    assert refused["status"] == "refused"
    assert (refused["findings"][0]["code"], refused["findings"][0]["node_id"]) == ("value_smaller_than_min", "1")


async def test_progress_comes_by_events_while_a_run_goes_on(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=sleeping_prompt(3.0, steps=30))
        seen: list[float] = []
        with anyio.fail_after(60):
            while (status := await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=0.5))[
                "state"
            ] in ("queued", "running"):
                if "progress" in status:
                    seen.append(status["progress"]["percent"])
                    assert status["progress"]["node_id"] == "2"
        assert status["state"] == "completed"
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)


async def test_following_ends_with_the_run_not_with_the_next_question(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=sleeping_prompt(2.0, steps=10))
        began = time.monotonic()
        assert (await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=60))["state"] == "completed"
        assert time.monotonic() - began < 4.5  # without events it would be asked every five seconds


async def test_more_runs_are_followed_at_once_than_streams_are_allowed(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        variations = [{"1.color": color} for color in range(300, 312)]
        series = await user.call("queue_workflow", workflow=sleeping_prompt(0.2), variations=variations)
        ended = await user.call("poll_result", prompt_id=series["prompt_ids"], wait_seconds=60)
        assert ended["states"] == {"completed": len(variations)}


async def test_a_failure_is_told_with_its_node(deployment: Deployment, home: Path) -> None:
    workflow = image_prompt("fails")
    workflow["3"] = {
        "class_type": "TestFail",
        "inputs": {"image": ["1", 0], "message": "no"},
    }
    workflow["2"]["inputs"]["images"] = ["3", 0]
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=workflow, force=True)
        ended = conforms("poll_result", await user.finish(queued["prompt_id"]))
    assert ended["state"] == "failed"
    assert (ended["error"]["node_id"], ended["error"]["class_type"]) == ("3", "TestFail")


async def test_a_running_and_a_waiting_run_are_stopped_by_their_ids(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        first = (await user.call("queue_workflow", workflow=sleeping_prompt(60.0, steps=600)))["prompt_id"]
        second = (await user.call("queue_workflow", workflow=sleeping_prompt(61.0, steps=600)))["prompt_id"]
        with anyio.fail_after(30):
            while (await user.call("poll_result", prompt_id=first, wait_seconds=0.2))["state"] != "running":
                pass
        waiting = await user.call("poll_result", prompt_id=second, wait_seconds=0)
        assert (waiting["state"], waiting["queue_position"]) == ("queued", 0)
        listed = conforms("list_jobs", await user.call("list_jobs"))
        assert listed["counts"] == {"running": 1, "pending": 1}
        assert [job["prompt_id"] for job in listed["pending"]] == [second]
        taken_out = conforms("interrupt", await user.call("interrupt", prompt_id=second))
        assert taken_out["stopped"] == [{"prompt_id": second, "was": "pending"}]
        stopped = conforms("interrupt", await user.call("interrupt", prompt_id=first))
        assert stopped["stopped"] == [{"prompt_id": first, "was": "running"}]
        assert (await user.call("poll_result", prompt_id=first, wait_seconds=0))["state"] == "interrupted"


@pytest.mark.parametrize("lost", ["the reply", "the request"])
async def test_a_submission_that_was_lost_on_its_way_is_one_run(deployment: Deployment, home: Path, lost: str) -> None:
    """Sent again under the same key: the server has had it, and its run is found by its prompt; or it is new there."""
    before = set(told_by(f"{deployment.comfyui}/history"))
    async with proxy(deployment.url) as between:
        faults = iter(["lose_reply" if lost == "the reply" else "lose_request"])
        between.fault = lambda head: next(faults, None) if head.startswith(b"POST /api/v2/jobs ") else None
        async with agent(user_of(home, between.url, inventory=deployment.comfyui)) as user:
            queued = await user.call(
                "queue_workflow", workflow=image_prompt(f"once-{lost}", color=time.time_ns() % 2**24)
            )
            assert queued["status"] == "queued"
            assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
        assert sum(head.startswith(b"POST /api/v2/jobs ") for head in between.seen) == 2
    assert set(told_by(f"{deployment.comfyui}/history")) - before == {queued["prompt_id"]}


async def test_a_run_is_known_after_the_proxy_has_restarted(comfyui: str, home: Path, tmp_path: Path) -> None:
    port = free_port()
    with standing(comfyui, tmp_path, port) as first:
        async with agent(user_of(home, first.url, inventory=comfyui)) as user:
            queued = await user.call("queue_workflow", workflow=sleeping_prompt(4.0, steps=40))
            await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=0.5)
    async with agent(user_of(home, first.url, inventory=comfyui)) as user:
        gone = await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=0)
        assert gone["state"] == "unreachable"
        with standing(comfyui, tmp_path, port):
            assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
            assert len((await user.call("get_output", prompt_id=queued["prompt_id"]))["files"]) == 1


async def test_what_it_cannot_do_is_said_with_a_next_step(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        assert "not_offered" in await user.fail("free_vram")
        assert "Leave front out" in await user.fail("queue_workflow", workflow=image_prompt(), front=True)
        unknown = await user.call("poll_result", prompt_id="7f3d2c1b-9a8e-4d6f-b012-3c4d5e6f7a8b", wait_seconds=0)
        assert (unknown["state"], unknown["gone_reason"]) == ("gone", "unknown_id")
        assert (await user.call("interrupt", prompt_id="7f3d2c1b-9a8e-4d6f-b012-3c4d5e6f7a8b"))["state"] == "gone"


async def test_what_is_installed_behind_it_is_found(deployment: Deployment, home: Path) -> None:
    async with agent(user_of(home, deployment.url, inventory=deployment.comfyui)) as user:
        found = conforms("find_nodes", await user.call("find_nodes", query="invert a picture"))
        assert "ImageInvert" in [node["class_type"] for node in found["nodes"]]
        assert (await user.call("find_nodes", class_type="ImageInvert"))["node"]["class_type"] == "ImageInvert"
        assert "internal_error" not in json.dumps(await user.call("find_models", query="sd15"))
        templates = conforms("find_templates", await user.call("find_templates", query="image to video"))
        assert templates["templates"]
        (home / "w.json").write_text(json.dumps(image_prompt("kept")))
        assert (await user.call("save_workflow", workflow="w.json"))["format"] == "api"
        told = await user.fail("save_workflow", workflow="w.json", on_server=True)
        assert told.startswith("not_offered")
        assert "Save it in the project" in told


async def test_without_an_inventory_a_prompt_runs_unvalidated_and_that_is_said(
    deployment: Deployment, home: Path
) -> None:
    async with agent(user_of(home, deployment.url, inventory=None)) as user:
        status = await user.call("check_status")
        assert status["online"]
        assert any("does not tell which node classes" in note for note in status["notes"])
        queued = await user.call("queue_workflow", workflow=image_prompt("unvalidated", color=7))
        assert "not validated" in queued["message"]
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"


async def test_node_classes_come_from_a_saved_file_too(deployment: Deployment, home: Path) -> None:
    saved = home / "object_info.json"
    saved.write_text(json.dumps(told_by(f"{deployment.comfyui}/object_info")))
    workflow = image_prompt("by file", color=8)
    async with agent(user_of(home, deployment.url, inventory=str(saved))) as user:
        assert (await user.call("validate_workflow", workflow=workflow))["valid"]
        workflow["1"]["inputs"]["width"] = "wide"
        broken = await user.call("validate_workflow", workflow=workflow)
    assert broken["findings"][0]["code"] == "invalid_input_type"


async def test_a_wrong_key_is_said_and_not_repeated(deployment: Deployment, home: Path) -> None:
    wrong = "another-key-altogether-0815"
    async with agent(user_of(home, deployment.url, inventory=None, key=wrong)) as user:
        status = await user.call("check_status")
    assert not status["online"]
    assert "did not accept the key" in status["offline_reason"]
    assert wrong not in json.dumps(status)
