"""States of runs, and stopping them, on a real server."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from comfyui_api import control
from tests.live.test_main_job import sleeping_prompt
from tests.support import Agent, agent, environment_for, image_prompt, proxy, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def queue(user: Agent, prompt: dict[str, Any], **more: Any) -> str:
    queued = await user.call("queue_workflow", workflow=prompt, **more)
    assert queued["status"] == "queued", queued
    return str(queued["prompt_id"])


async def until_running(user: Agent, prompt_id: str) -> dict[str, Any]:
    with anyio.fail_after(30):
        while (result := await user.call("poll_result", prompt_id=prompt_id, wait_seconds=0.1))["state"] == "queued":
            pass
    return result


async def test_running_and_waiting_are_told_apart_and_each_stops_alone(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        running = await queue(user, sleeping_prompt(30, color=1, steps=300))
        await until_running(user, running)
        first = await queue(user, sleeping_prompt(0.1, color=2))
        second = await queue(user, sleeping_prompt(0.1, color=3))
        ahead = await queue(user, sleeping_prompt(0.1, color=4), front=True)

        with anyio.fail_after(20):
            while (seen := await user.call("poll_result", prompt_id=running, wait_seconds=0.2)).get("progress") is None:
                pass
        assert seen["state"] == "running"
        assert seen["progress"]["class_type"] == "TestSleep"
        assert seen["progress"]["max"] == 300
        positions = {
            run: (await user.call("poll_result", prompt_id=run, wait_seconds=0))["queue_position"]
            for run in (ahead, first, second)
        }
        assert list(positions.values()) == [0, 1, 2]

        stopped = await user.call("interrupt", prompt_id=first)
        assert stopped["stopped"] == [{"prompt_id": first, "was": "pending"}]
        looked = await user.call("poll_result", prompt_id=first, wait_seconds=0)
        assert (looked["state"], looked["message"]) == ("interrupted", "It was taken out before it began.")
        assert (await user.call("interrupt", prompt_id=first))["state"] == "interrupted"
        assert (await user.call("poll_result", prompt_id=running, wait_seconds=0))["state"] == "running"

        stopped = await user.call("interrupt", prompt_id=running)
        assert stopped["stopped"] == [{"prompt_id": running, "was": "running"}]
        assert (await user.call("poll_result", prompt_id=running, wait_seconds=0))["state"] == "interrupted"
        for run in (ahead, second):
            assert (await user.finish(run))["state"] == "completed"


async def test_progress_names_node_and_step_and_only_increases(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, sleeping_prompt(1.5, color=5, steps=30))
        assert (await user.call("poll_result", prompt_id=run))["state"] == "completed"
        values = [value for value, _, _ in user.progress]
        assert len(values) >= 2
        assert values == sorted(set(values))
        assert all(total == 100 for _, total, _ in user.progress)
        assert any((message or "").startswith("TestSleep (2)") for _, _, message in user.progress)
        assert 20 < max(values) < 100


async def test_everything_stops_only_when_asked_for(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        running = await queue(user, sleeping_prompt(30, color=11, steps=300))
        await until_running(user, running)
        waiting = await queue(user, sleeping_prompt(30, color=12))
        assert "everything=true" in await user.fail("interrupt")
        assert (await user.call("poll_result", prompt_id=waiting, wait_seconds=0))["state"] == "queued"
        stopped = await user.call("interrupt", everything=True)
        assert {(run["prompt_id"], run["was"]) for run in stopped["stopped"]} == {
            (running, "running"),
            (waiting, "pending"),
        }
        assert (await user.call("interrupt", everything=True))["stopped"] == []


async def test_waiting_ends_when_its_time_is_up_and_loses_nothing(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, sleeping_prompt(1.0, color=21))
        assert (await user.call("poll_result", prompt_id=run, wait_seconds=0.1))["state"] in ("queued", "running")
        assert (await user.finish(run))["state"] == "completed"


async def test_cancelling_the_wait_ends_the_polling_and_leaves_the_run_alone(comfyui: str, home: Path) -> None:
    async with proxy(comfyui) as between, agent(environment_for(home, between.url)) as user:
        run = await queue(user, sleeping_prompt(3.0, color=22))
        with anyio.move_on_after(0.3) as scope:
            await user.call("poll_result", prompt_id=run, wait_seconds=30)
        assert scope.cancelled_caught
        asked = len(between.seen)
        assert (await queue_state_of(comfyui, run)) == "running"
        # The end of the run wakes whoever still follows it.
        with anyio.fail_after(30):
            while await queue_state_of(comfyui, run) == "running":
                pass
        assert len(between.seen) == asked
        assert (await user.finish(run))["state"] == "completed"


async def queue_state_of(comfyui: str, run: str) -> str:
    async with httpx2.AsyncClient() as http:
        queue = (await http.get(f"{comfyui}/queue")).json()
    return "running" if any(item[1] == run for item in queue["queue_running"]) else "elsewhere"


async def test_failure_names_node_reason_and_remedy_and_keeps_what_was_made(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = image_prompt("before-failure", color=31)
    prompt["3"] = {
        "class_type": "TestFail",
        "inputs": {"image": ["1", 0], "message": "CUDA out of memory. Tried to allocate 9 GiB"},
    }
    prompt["4"] = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, prompt)
        failed = await user.finish(run)
        assert failed["state"] == "failed"
        error = failed["error"]
        assert (error["node_id"], error["class_type"], error["exception_type"]) == ("3", "TestFail", "RuntimeError")
        assert error["message"].startswith("CUDA out of memory")
        assert error["remedy"].startswith("Out of memory")
        made = [output["filename"] for output in failed["outputs"]]
        delivery = await user.call("get_output", prompt_id=run)
        assert [Path(file["path"]).name for file in delivery["files"]] == made


async def test_success_without_outputs_is_explained(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = sleeping_prompt(0, color=41)
    prompt["2"] = {"class_type": "TestBlock", "inputs": {"image": ["1", 0]}}
    websocket = image_prompt(color=42)
    websocket["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    async with agent(environment_for(home, comfyui)) as user:
        blocked = await user.finish(await queue(user, prompt))
        assert (blocked["state"], blocked["no_outputs_reason"]) == ("completed", "blocked")
        over_socket = await user.finish(await queue(user, websocket))
        assert (over_socket["state"], over_socket["no_outputs_reason"]) == ("completed", "websocket_only")


async def test_identical_run_still_has_its_outputs(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        for _ in range(2):
            done = await user.finish(await queue(user, sleeping_prompt(0, color=51)))
            assert len(done["outputs"]) == 1


async def test_unknown_run_is_gone_at_once(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        with anyio.fail_after(5):
            seen = await user.call("poll_result", prompt_id="00000000-0000-4000-8000-000000000000")
        assert seen["state"] == "gone"
        assert "no such run" in seen["message"]
        delivery = await user.call("get_output", prompt_id="nothing")
        assert (delivery["state"], delivery["files"]) == ("gone", [])


async def test_freeing_while_a_run_is_under_way_says_when(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, sleeping_prompt(5, color=61, steps=50))
        await until_running(user, run)
        assert (await user.call("free_vram", free_memory=True))["applied"] == "after_current_run"
        await user.call("interrupt", prompt_id=run)


async def test_sound_outputs_run_when_asked_for(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = image_prompt("sound", color=71)
    prompt["8"] = {"class_type": "NoSuchClass", "inputs": {}}
    prompt["9"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}}
    async with agent(environment_for(home, comfyui)) as user:
        refused = await user.call("queue_workflow", workflow=prompt)
        assert (refused["status"], refused["dropped_outputs"]) == ("refused", ["9"])
        assert "allow_partial" in refused["message"]
        queued = await user.call("queue_workflow", workflow=prompt, allow_partial=True)
        assert (queued["status"], queued["dropped_outputs"]) == ("queued", ["9"])
        assert len((await user.finish(queued["prompt_id"]))["outputs"]) == 1


async def test_force_lets_the_server_decide(comfyui: str, home: Path) -> None:
    prompt = image_prompt("force", color=81)
    prompt["1"]["inputs"]["width"] = 0
    async with agent(environment_for(home, comfyui)) as user:
        forced = await user.call("queue_workflow", workflow=prompt, force=True)
        assert forced["status"] == "refused"
        finding = forced["findings"][0]
        assert (finding["code"], finding["node_id"], finding["input"]) == ("value_smaller_than_min", "1", "width")
        assert finding["received"] == 0
        assert finding["fix"]


async def test_not_even_force_sends_what_stops_the_server(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = image_prompt("alive", color=91)
    prompt["9"] = {"class_type": "ImageInvert"}
    async with agent(environment_for(home, comfyui)) as user:
        assert (await user.call("queue_workflow", workflow=prompt))["status"] == "refused"
        assert "cannot be forced" in await user.fail("queue_workflow", workflow=prompt, force=True)
        del prompt["9"]
        assert (await user.finish(await queue(user, prompt)))["state"] == "completed"


async def test_nan_and_lone_surrogates_go_to_the_server_and_come_back(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = image_prompt("odd", color=92)
    prompt["1"]["is_changed"] = [float("nan")]
    prompt["1"]["_meta"] = {"title": "\ud800", "note": float("inf")}
    (home / "odd.json").write_text(json.dumps(prompt), encoding="utf-8")
    prompt["1"]["inputs"] |= {"width": float("nan"), "color": "\udcff"}
    (home / "wrong.json").write_text(json.dumps(prompt), encoding="utf-8")
    async with stdio_agent(environment_for(home, comfyui)) as user:
        queued = await user.call("queue_workflow", workflow="odd.json")
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
        refused = await user.call("queue_workflow", workflow="wrong.json")
        assert {finding["input"]: finding["received"] for finding in refused["findings"]} == {
            "width": "nan",
            "color": "?",
        }


async def test_stubborn_run_is_named_and_not_called_stopped(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, sleeping_prompt(2 * control.STOP_SECONDS + 4, color=101, steps=1))
        await until_running(user, run)
        arguments: dict[str, Any]
        for arguments in ({"everything": True}, {"prompt_id": run}):
            told = await user.call("interrupt", **arguments)
            assert (told["state"], told["stopped"]) == ("running", [])
            assert "next step" in told["message"]
        assert (await user.finish(run))["state"] == "interrupted"


async def test_look_in_the_middle_of_a_step_shows_the_progress(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, sleeping_prompt(6, color=102, steps=3))
        with anyio.fail_after(20):
            while (await user.call("poll_result", prompt_id=run, wait_seconds=0.2)).get("progress") is None:
                pass
        assert (await user.call("poll_result", prompt_id=run, wait_seconds=0))["progress"]["class_type"] == "TestSleep"
        await user.call("interrupt", prompt_id=run)


async def test_all_of_the_exceptions_message_arrives(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = sleeping_prompt(0, color=103)
    message = "Error(s) in loading state_dict for UNetModel:\n\tUnexpected key(s): the.reason.is.here"
    prompt["2"] = {"class_type": "TestFail", "inputs": {"image": ["1", 0], "message": message}}
    async with agent(environment_for(home, comfyui)) as user:
        failed = await user.finish(await queue(user, prompt))
        assert failed["error"]["message"].endswith("the.reason.is.here")


async def test_run_is_queued_although_it_cannot_be_noted(comfyui: str, home: Path) -> None:
    (home / "state" / "jobs.json").mkdir(parents=True)
    async with agent(environment_for(home, comfyui)) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt("unnoted", color=104))
        assert queued["status"] == "queued"
        assert "jobs.json could not be written" in queued["message"]
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"


async def test_everything_works_while_nothing_can_be_kept(comfyui: str, home: Path) -> None:
    (home / "state").write_text("a file where a folder should be")
    async with agent(environment_for(home, comfyui)) as user:
        status = await user.call("check_status")
        assert status["online"]
        assert any("could not be written" in note for note in status["notes"])
        assert (await user.call("validate_workflow", workflow=image_prompt()))["valid"]
        queued = await user.call("queue_workflow", workflow=image_prompt("nothing-kept", color=105))
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"


async def test_broken_class_cache_is_made_anew(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        await user.call("check_status")
        cache = home / "state" / "inventory.classes.sqlite"
        for damage in (
            cache.unlink,
            lambda: cache.write_bytes(b"no database at all" * 100),
            lambda: cache.write_bytes(b""),
        ):
            damage()
            assert (await user.call("validate_workflow", workflow=image_prompt()))["valid"]
            assert (await user.call("check_status"))["inventory"]["node_classes"] > 500


async def test_prompt_ids_that_are_none_are_gone(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        for odd in ("..", ".", "#", "../queue", "\n", "%2e%2e", "ä"):
            assert (await user.call("poll_result", prompt_id=odd, wait_seconds=0))["state"] == "gone", odd


async def test_nodes_with_dots_in_their_ids_can_be_overridden(comfyui: str, home: Path) -> None:
    prompt = image_prompt("dots", color=106)
    prompt["1.2"] = prompt.pop("1")
    prompt["2"]["inputs"]["images"] = ["1.2", 0]
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, prompt, inputs={"1.2.width": 96})
        await user.finish(run)
        assert (await user.call("get_output", prompt_id=run))["files"][0]["width"] == 96


async def test_class_name_that_is_no_text_is_only_an_unknown_one(comfyui: str, home: Path) -> None:
    workflow = '{"1": {"class_type": "\\ud800", "inputs": {}}}'
    async with agent(environment_for(home, comfyui)) as user:
        for _ in range(2):  # asked anew, and from the cache
            verdict = await user.call("validate_workflow", workflow=workflow)
            assert [finding["code"] for finding in verdict["findings"]] == ["missing_node_type"]


async def test_of_several_calls_to_stop_a_run_none_is_wrong(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        running = await queue(user, sleeping_prompt(30, color=107, steps=300))
        waiting = await queue(user, sleeping_prompt(30, color=108))
        told: list[dict[str, Any]] = []

        async def stop() -> None:
            told.append(await user.call("interrupt", prompt_id=waiting))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(stop)
        assert [answer["state"] for answer in told] == ["interrupted"] * 3
        assert sum(len(answer["stopped"]) for answer in told) == 1
        await user.call("interrupt", prompt_id=running)


async def test_damaged_class_description_is_asked_for_anew(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        await user.call("check_status")
        with closing(sqlite3.connect(home / "state" / "inventory.classes.sqlite")) as database, database:
            database.execute("UPDATE node_class SET description = '{half' WHERE class_type = 'EmptyImage'")
    async with agent(environment_for(home, comfyui)) as user:
        assert (await user.call("validate_workflow", workflow=image_prompt()))["valid"]
