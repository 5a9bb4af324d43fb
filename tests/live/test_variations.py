"""New seeds and series of runs on a real server."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.live.test_main_job import sleeping_prompt
from tests.live.test_once import standing
from tests.live.test_runs import until_running
from tests.support import agent, environment_for, image_prompt, proxy, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]


def seeded(prefix: str) -> dict[str, Any]:
    """A prompt with inputs of several kinds that might be given the text "random"."""
    prompt: dict[str, Any] = image_prompt(prefix)
    prompt["5"] = {"class_type": "PrimitiveString", "inputs": {"value": "a cat"}}
    prompt["6"] = {"class_type": "PreviewAny", "inputs": {"source": ["5", 0]}}
    return prompt


async def test_random_asks_for_a_new_seed_and_the_answer_says_which(comfyui: str, home: Path) -> None:
    workflow, inputs = seeded("seed"), {"1.color": "random", "5.value": "random", "2.filename_prefix": "random"}
    before = copy.deepcopy((workflow, inputs))
    async with agent(environment_for(home, comfyui)) as user:
        used = []
        for _ in range(2):
            queued = await user.call("queue_workflow", workflow=workflow, inputs=inputs)
            assert list(queued["seeds"][0]) == ["1.color"]  # texts that are called so stay texts
            used.append(queued["seeds"][0]["1.color"])
            done = await user.finish(queued["prompt_id"])
            assert done["outputs"][0]["filename"].startswith("random_")
            assert [output["text"] for output in done["outputs"] if output["kind"] == "text"] == ["random"]
        assert used[0] != used[1]
        assert all(0 <= seed <= 0xFFFFFF for seed in used)  # the range of that input
        assert (workflow, inputs) == before
        plain = await user.call("queue_workflow", workflow=workflow, inputs={"1.color": 7})
        assert "seeds" not in plain


async def test_seed_without_a_known_class_is_new_only_where_a_whole_number_stands(home: Path) -> None:
    prompt = {"1": {"class_type": "Unknown", "inputs": {"seed": 7, "text": "a", "cfg": 7.5, "link": ["1", 0]}}}
    inputs = dict.fromkeys(("1.seed", "1.text", "1.cfg", "1.link"), "random")
    async with agent(environment_for(home, "http://127.0.0.1:9")) as user:
        saved = await user.call("queue_workflow", workflow=prompt, inputs=inputs)
        values = json.loads(Path(saved["saved_path"]).read_text("utf-8"))["1"]["inputs"]
        assert type(values.pop("seed")) is int
        assert values == {"text": "random", "cfg": "random", "link": "random"}


async def test_series_is_one_run_for_each_set_and_one_summary(comfyui: str, home: Path) -> None:
    async with stdio_agent(environment_for(home, comfyui)) as user:
        sets = [{"1.color": "random"}, {"1.color": 5, "2.filename_prefix": "other"}, {}]
        queued = await user.call(
            "queue_workflow", workflow=image_prompt("series"), inputs={"1.width": 96}, variations=sets
        )
        assert queued["status"] == "queued", queued
        ids = queued["prompt_ids"]
        assert len(set(ids)) == 3
        assert [list(seeds) for seeds in queued["seeds"]] == [["1.color"], [], []]
        done = await user.call("poll_result", prompt_id=ids)
        assert (done["state"], done["states"]) == ("completed", {"completed": 3})
        assert [run["prompt_id"] for run in done["runs"]] == ids
        delivery = await user.call("get_output", prompt_id=ids)
        assert [file["width"] for file in delivery["files"]] == [96, 96, 96]
        assert sum(Path(file["path"]).name.startswith("other") for file in delivery["files"]) == 1
        listed = await user.call("list_jobs", limit=3)
        assert {run["prompt_id"] for run in listed["recent"]} == set(ids)
        assert all(run["ours"] and run["outputs"] == 1 for run in listed["recent"])


async def test_one_bad_set_refuses_the_series_before_anything_is_queued(comfyui: str, home: Path) -> None:
    good, bad = {"1.width": 64}, {"1.width": 0}
    async with agent(environment_for(home, comfyui)) as user:
        refused = await user.call("queue_workflow", workflow=image_prompt("badset"), variations=[good, good, bad, good])
        assert refused["status"] == "refused"
        assert refused["message"].startswith("variations[2] of 4")
        assert refused["findings"][0]["code"] == "value_smaller_than_min"
        unknown = await user.fail("queue_workflow", workflow=image_prompt("badset"), variations=[good, {"9.x": 1}])
        assert "variations[1]" in unknown
        assert "Nothing was queued" in unknown
        assert not await standing(comfyui, "badset")
        counts: tuple[list[dict[str, Any]], ...] = ([], [{}] * 101)
        for wrong in counts:
            assert "1 to 100" in await user.fail("queue_workflow", workflow=image_prompt(), variations=wrong)
        assert "variations" in await user.fail("queue_workflow", workflow=image_prompt(), variations=[3])


async def test_series_that_breaks_off_says_what_is_queued_and_what_is_not(comfyui: str, home: Path) -> None:
    posts = 0

    def after_two(head: bytes) -> str | None:
        nonlocal posts
        posts += head.startswith(b"POST /prompt")
        return "lose_request" if posts > 2 else None

    async with proxy(comfyui) as between, agent(environment_for(home, between.url)) as user:
        between.fault = after_two
        queued = await user.call("queue_workflow", workflow=image_prompt("breaks"), variations=[{}] * 5)
        assert (queued["status"], queued["not_queued"]) == ("partly_queued", [2, 3, 4])
        assert len(queued["prompt_ids"]) == 2
        assert "Only 2 of 5" in queued["message"]
        assert "variations 3 to 4 were not sent" in queued["message"]
        assert "cannot be told" in queued["message"]
        between.fault = lambda _: None
        done = await user.call("poll_result", prompt_id=queued["prompt_ids"], wait_seconds=60)
        assert done["states"] == {"completed": 2}


async def test_series_without_a_server_is_saved_run_by_run(home: Path) -> None:
    async with agent(environment_for(home, "http://127.0.0.1:9")) as user:
        sets = [{"1.color": number} for number in range(3)]
        saved = await user.call("queue_workflow", workflow=image_prompt("saved"), variations=sets)
        assert saved["status"] == "saved_offline"
        assert "All 3 variations" in saved["message"]
        files = sorted((home / "projects" / "default" / "workflows").glob("*.json"))
        colors = {json.loads(file.read_text("utf-8"))["1"]["inputs"]["color"] for file in files}
        assert colors == {0, 1, 2}


async def test_a_hundred_runs_are_queued_quickly_and_followed_in_one_bounded_call(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        running = await user.call("queue_workflow", workflow=sleeping_prompt(600, color=201, steps=1000))
        await until_running(user, running["prompt_id"])
        sets = [{"1.color": "random"} for _ in range(100)]
        with anyio.fail_after(20):
            queued = await user.call("queue_workflow", workflow=image_prompt("hundred"), variations=sets)
        ids = queued["prompt_ids"]
        assert len(ids) == 100
        with anyio.fail_after(10):
            seen = await user.call("poll_result", prompt_id=[running["prompt_id"], *ids[:99]], wait_seconds=1)
        assert (seen["state"], seen["states"]) == ("running", {"running": 1, "queued": 99})
        await user.call("interrupt", prompt_id=running["prompt_id"])
        with anyio.fail_after(60):
            done = await user.call("poll_result", prompt_id=ids, wait_seconds=60)
        assert done["states"] == {"completed": 100}
