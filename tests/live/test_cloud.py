"""Comfy Cloud's API v1: against a small one before a real ComfyUI, which a public client of the real one finds true."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from PIL import Image

from tests.cloud_server import KEY, Cloud, standing
from tests.live.test_main_job import conforms, picture, sleeping_prompt
from tests.live.test_v2 import inverted
from tests.public_clients import COMFY_CLI, installed
from tests.support import Prompt, agent, environment_for, image_prompt, settings_file

pytestmark = [pytest.mark.anyio, pytest.mark.live]


@pytest.fixture
def cloud(comfyui: str) -> Iterator[Cloud]:
    with standing(comfyui) as found:
        yield found


def user_of(home: Path, cloud: Cloud, key: str = KEY) -> dict[str, str]:
    """The environment of a user whose default server is this cloud."""
    file = settings_file(home).parent / "servers.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[cloud]\nurl = "{cloud.url}"\nkind = "cloud"\nkey = {{ env = "CLOUD_KEY" }}\n')
    return environment_for(home, "cloud", CLOUD_KEY=key)


def failing_prompt() -> Prompt:
    workflow = image_prompt("fails")
    workflow["3"] = {
        "class_type": "TestFail",
        "inputs": {"image": ["1", 0], "message": "no"},
    }
    workflow["2"]["inputs"]["images"] = ["3", 0]
    return workflow


async def test_from_an_upload_to_a_picture_on_disk(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        status = conforms("check_status", await user.call("check_status"))
        assert status["online"]
        assert status["inventory"]["node_classes"] > 500
        assert status["inventory"]["models"] >= 3
        uploaded = await user.call("upload_image", path=str(picture(home / "größe.png")), subfolder="ignored there")
        assert conforms("upload_image", uploaded)["value"] == uploaded["name"]
        workflow = inverted(uploaded["value"], "cloud")
        assert (await user.call("validate_workflow", workflow=workflow))["valid"]
        queued = conforms("queue_workflow", await user.call("queue_workflow", workflow=workflow))
        ended = conforms("poll_result", await user.finish(queued["prompt_id"]))
        assert ended["state"] == "completed"
        fetched = conforms("get_output", await user.call("get_output", prompt_id=queued["prompt_id"]))
        with Image.open(fetched["files"][0]["path"]) as image:
            assert image.getpixel((1, 1)) == (54, 215, 215)
    assert list(cloud.jobs) == [queued["prompt_id"]]  # the id is the server's
    # The storage that the file came from has seen no credentials.
    assert cloud.storage_headers
    assert all(KEY not in json.dumps(headers) for headers in cloud.storage_headers)
    assert not cloud.asked("/api/interrupt")


async def test_a_handle_is_enough_in_a_later_process(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        prompt_id = (await user.call("queue_workflow", workflow=image_prompt("later", color=5)))["prompt_id"]
    async with agent({**user_of(home, cloud), "COMFYUI_URL": "http://127.0.0.1:9"}) as later:
        assert (await later.finish(prompt_id))["state"] == "completed"
        assert len((await later.call("get_output", prompt_id=prompt_id))["files"]) == 1


async def test_progress_comes_by_events_and_following_ends_with_the_run(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        queued = await user.call("queue_workflow", workflow=sleeping_prompt(2.0, steps=20))
        began = time.monotonic()
        assert (await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=60))["state"] == "completed"
        assert time.monotonic() - began < 4.5
        assert any("TestSleep" in (message or "") for _, _, message in user.progress)


async def test_several_runs_are_followed_together(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        series = await user.call(
            "queue_workflow", workflow=image_prompt("series"), variations=[{"1.color": 1}, {"1.color": 2}]
        )
        ended = await user.call("poll_result", prompt_id=series["prompt_ids"], wait_seconds=30)
    assert ended["states"] == {"completed": 2}
    assert set(series["prompt_ids"]) == set(cloud.jobs)


async def test_a_lost_answer_is_one_run_and_found_by_its_mark(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        await user.call("check_status")
        cloud.answers = ["lose"]
        queued = await user.call("queue_workflow", workflow=image_prompt("lost", color=6))
        assert queued["status"] == "queued"
        assert list(cloud.jobs) == [queued["prompt_id"]]
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
    assert [method for method, path in cloud.seen if path == "/api/prompt"].count("POST") == 1


async def test_a_lost_submission_is_never_sent_again_and_that_is_said(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        await user.call("check_status")
        cloud.answers = ["drop"]
        told = await user.fail("queue_workflow", workflow=image_prompt("dropped", color=7))
        assert "cannot be told" in told
        assert "Do not queue it again yet" in told
    assert [method for method, path in cloud.seen if path == "/api/prompt"].count("POST") == 1
    assert not cloud.jobs
    # What was noted of it says the same later.
    noted = json.loads((home / "state" / "jobs.json").read_text())
    async with agent(user_of(home, cloud)) as later:
        status = await later.call("poll_result", prompt_id=next(iter(noted)), wait_seconds=0)
    assert (status["state"], status["gone_reason"]) == ("gone", "uncertain")


async def test_reads_wait_as_long_as_the_server_asks_for_and_submissions_do_not(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        prompt_id = (await user.call("queue_workflow", workflow=image_prompt("busy", color=8)))["prompt_id"]
        await user.finish(prompt_id)
        cloud.busy = 2
        began = time.monotonic()
        assert (await user.call("poll_result", prompt_id=prompt_id, wait_seconds=10))["state"] == "completed"
        assert time.monotonic() - began >= 2
        cloud.answers = [429]
        told = await user.fail("queue_workflow", workflow=image_prompt("busy", color=9))
        assert told.startswith("comfyui_busy")
        cloud.busy, cloud.retry_after = 100, "86400"
        began = time.monotonic()
        assert (await user.call("poll_result", prompt_id=prompt_id, wait_seconds=1))["state"] == "unreachable"
        assert time.monotonic() - began < 12  # not a day
    assert len(cloud.jobs) == 1


async def test_what_is_not_paid_for_is_said_and_not_tried_again(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        await user.call("check_status")
        cloud.answers = [402]
        assert (await user.fail("queue_workflow", workflow=image_prompt("unpaid"))).startswith("payment_required")
    assert [method for method, path in cloud.seen if path == "/api/prompt"].count("POST") == 1


async def test_states_that_are_not_known_are_in_flight(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        prompt_id = (await user.call("queue_workflow", workflow=image_prompt("states", color=10)))["prompt_id"]
        await user.finish(prompt_id)
        for state, meant in (
            ("teleporting", "running"),
            ("waiting_to_dispatch", "queued"),
            ("lost", "failed"),
            ("success", "completed"),
        ):
            cloud.states[prompt_id] = state
            assert (await user.call("poll_result", prompt_id=prompt_id, wait_seconds=0))["state"] == meant


async def test_outputs_come_from_the_history_where_the_job_has_none(cloud: Cloud, home: Path) -> None:
    cloud.without_outputs = True
    async with agent(user_of(home, cloud)) as user:
        prompt_id = (await user.call("queue_workflow", workflow=image_prompt("elsewhere", color=11)))["prompt_id"]
        assert len((await user.finish(prompt_id))["outputs"]) == 1


async def test_a_failure_is_told_with_its_node_and_values(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        queued = await user.call("queue_workflow", workflow=failing_prompt(), force=True)
        ended = conforms("poll_result", await user.finish(queued["prompt_id"]))
    assert ended["state"] == "failed"
    assert (ended["error"]["node_id"], ended["error"]["exception_type"]) == ("3", "RuntimeError")


async def test_runs_are_stopped_one_by_one_and_never_by_the_route_that_stops_all(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        first = (await user.call("queue_workflow", workflow=sleeping_prompt(60.0, steps=600)))["prompt_id"]
        second = (await user.call("queue_workflow", workflow=sleeping_prompt(61.0, steps=600)))["prompt_id"]
        third = (await user.call("queue_workflow", workflow=sleeping_prompt(62.0, steps=600)))["prompt_id"]
        with anyio.fail_after(30):
            while (await user.call("poll_result", prompt_id=first, wait_seconds=0.2))["state"] != "running":
                pass
        waiting = await user.call("poll_result", prompt_id=second, wait_seconds=0)
        assert waiting["message"].startswith("Waiting in the server's queue.")
        taken_out = conforms("interrupt", await user.call("interrupt", prompt_id=second))
        assert taken_out["stopped"] == [{"prompt_id": second, "was": "pending"}]
        assert (await user.call("poll_result", prompt_id=second, wait_seconds=0))["state"] == "interrupted"
        listed = conforms("list_jobs", await user.call("list_jobs"))
        assert listed["counts"] == {"running": 1, "pending": 1}
        everything = conforms("interrupt", await user.call("interrupt", everything=True))
        assert {stopped["prompt_id"] for stopped in everything["stopped"]} == {first, third}
    assert not cloud.asked("/api/interrupt")


async def test_what_it_cannot_do_is_said_with_a_next_step(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        assert (await user.fail("free_vram")).startswith("not_offered")
        assert "Leave front out" in await user.fail("queue_workflow", workflow=image_prompt(), front=True)
        assert (await user.call("interrupt", prompt_id="7f3d2c1b-9a8e-4d6f-b012-3c4d5e6f7a8b"))["state"] == "gone"
    assert not cloud.jobs


async def test_what_is_installed_there_is_found_and_what_it_does_not_keep_is_said(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        found = conforms("find_nodes", await user.call("find_nodes", query="invert a picture"))
        assert "ImageInvert" in [node["class_type"] for node in found["nodes"]]
        assert (await user.call("find_nodes", class_type="ImageInvert"))["node"]["class_type"] == "ImageInvert"
        models = conforms("find_models", await user.call("find_models", query="sd15"))
        assert models["models"][0]["file"] == "sd15.safetensors"
        templates = conforms("find_templates", await user.call("find_templates", query="image to video"))
        assert templates["templates"]
        assert "tells none" in templates["message"]
        (home / "w.json").write_text(json.dumps(image_prompt("kept")))
        assert (await user.call("save_workflow", workflow="w.json"))["format"] == "api"
        told = await user.fail("save_workflow", workflow="w.json", on_server=True)
        assert told.startswith("not_offered")
        assert "Save it in the project" in told
        assert "No workflow is saved in the editor" in await user.fail("validate_workflow", workflow="server:w")


async def test_a_wrong_key_is_said_and_not_repeated(cloud: Cloud, home: Path) -> None:
    wrong = "another-key-altogether-0815"
    async with agent(user_of(home, cloud, key=wrong)) as user:
        status = await user.call("check_status")
    assert not status["online"]
    assert "did not accept the key" in status["offline_reason"]
    assert wrong not in json.dumps(status)


async def test_the_account_pays_for_partner_nodes_only_where_a_prompt_has_some(cloud: Cloud, home: Path) -> None:
    async with agent(user_of(home, cloud)) as user:
        partner = {
            "1": {"class_type": "GeminiNode", "inputs": {"prompt": "a cat", "model": "gemini-2.5-pro", "seed": 1}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        }
        verdict = await user.call("validate_workflow", workflow=partner)
        warning = next(finding for finding in verdict["findings"] if finding["code"] == "partner_node")
        assert "spends its credits" in warning["message"]
        assert "key will be sent along" in warning["message"]
        paid = await user.call("queue_workflow", workflow=partner)
        free = await user.call("queue_workflow", workflow=image_prompt("unpaid for", color=12))
        assert cloud.jobs[paid["prompt_id"]].spent_key == KEY
        assert cloud.jobs[free["prompt_id"]].spent_key is None
        await user.call("interrupt", prompt_id=paid["prompt_id"])
        await user.finish(free["prompt_id"])


async def test_a_missing_key_for_partner_nodes_is_said_beforehand(comfyui: str, home: Path) -> None:
    partner = {
        "1": {"class_type": "GeminiNode", "inputs": {"prompt": "a cat", "model": "gemini-2.5-pro", "seed": 1}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    for key, said in ((None, "No key of an account is set"), ("account-key-12345", "key will be sent along")):
        environment = environment_for(home, comfyui) | ({"COMFYUI_API_KEY": key} if key is not None else {})
        async with agent(environment) as user:
            verdict = await user.call("validate_workflow", workflow=partner)
        warning = next(finding for finding in verdict["findings"] if finding["code"] == "partner_node")
        assert said in warning["message"]
        assert "account-key" not in json.dumps(verdict)


def comfy(cloud: Cloud, folder: Path, *arguments: str) -> dict[str, Any]:
    """What comfy-cli, which people use with the real Comfy Cloud, gets from this one."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT")},
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "DO_NOT_TRACK": "1",
        "COMFY_CLOUD_BASE_URL": cloud.url,
        "COMFY_CLOUD_API_KEY": KEY,
        "COMFY_NO_WATCH": "1",
    }
    done = subprocess.run(
        [str(installed(COMFY_CLI, "comfy")), "--skip-prompt", "--json", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["ok"], told
    assert isinstance(told["data"], dict)
    return told["data"]


def test_comfy_cli_takes_it_for_comfy_cloud(cloud: Cloud, tmp_path: Path) -> None:
    """Whatever this client of the real one does, works here: so the one here is true to it that far."""
    (tmp_path / "workflow.json").write_text(json.dumps(image_prompt("cli", color=13)))
    ran = comfy(cloud, tmp_path, "run", "--workflow", "workflow.json", "--where", "cloud", "--wait")
    assert ran["status"] == "completed"
    listed = comfy(cloud, tmp_path, "jobs", "ls", "--where", "cloud")
    assert [(job["prompt_id"], job["status"], job["outputs"]) for job in listed["jobs"]] == [
        (ran["prompt_id"], "completed", 1)
    ]
    status = comfy(cloud, tmp_path, "jobs", "status", ran["prompt_id"], "--where", "cloud")
    assert (status["status"], status["outputs"]) == ("completed", ran["outputs"])
    comfy(cloud, tmp_path, "download", ran["prompt_id"], "--where", "cloud", "--out-dir", "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
    picture(tmp_path / "up.png")
    comfy(cloud, tmp_path, "upload", "up.png", "--where", "cloud")
    folders = comfy(cloud, tmp_path, "models", "list-folders", "--where", "cloud")
    assert "checkpoints" in json.dumps(folders)
    (tmp_path / "long.json").write_text(json.dumps(sleeping_prompt(60.0, steps=600)))
    long = comfy(cloud, tmp_path, "run", "--workflow", "long.json", "--where", "cloud")
    comfy(cloud, tmp_path, "jobs", "cancel", long["prompt_id"], "--where", "cloud")
    cancelled = comfy(cloud, tmp_path, "jobs", "status", long["prompt_id"], "--where", "cloud")
    assert cancelled["status"] == "cancelled"
    assert {path.partition("?")[0] for _, path in cloud.seen} >= {
        "/api/prompt",
        "/api/object_info",
        f"/api/history_v2/{ran['prompt_id']}",
        f"/api/jobs/{ran['prompt_id']}",
        "/api/jobs",
        "/api/view",
        "/api/upload/image",
        "/api/experiment/models",
    }
