"""When things go wrong: every reason arrives at a real MCP client, with what to do next."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp_types import TextContent

from tests.support import (
    Agent,
    agent,
    answering,
    environment_for,
    http_reply,
    image_prompt,
    proxy,
    stdio_agent,
)

pytestmark = [pytest.mark.anyio, pytest.mark.live]
NOBODY = "http://127.0.0.1:9"
RUN = "00000000-0000-4000-8000-000000000000"

# Each tool with arguments that make it talk to the server.
CALLS: dict[str, dict[str, Any]] = {
    "validate_workflow": {"workflow": image_prompt()},
    "get_output": {"prompt_id": RUN},
    "upload_image": {"path": "x.png"},
    "interrupt": {"prompt_id": RUN},
    "free_vram": {},
}


def a_picture(home: Path) -> None:
    (home / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(32))


async def reasons(user: Agent) -> dict[str, str]:
    """The reason that each tool gives for not having done its work."""
    found = {tool: await user.fail(tool, **arguments) for tool, arguments in CALLS.items()}
    found["check_status"] = (await user.call("check_status"))["offline_reason"]
    found["poll_result"] = await polled(user)
    return found


async def polled(user: Agent) -> str:
    """What poll_result says: at once where asking again will not help, as the state `unreachable` where it may."""
    answer = await user.client.call_tool("poll_result", {"prompt_id": RUN, "wait_seconds": 0})
    if answer.is_error:
        assert isinstance(answer.content[0], TextContent)
        return answer.content[0].text
    looked = answer.structured_content
    assert isinstance(looked, dict)
    assert looked["state"] == "unreachable"
    return str(looked["error"]["message"] + looked["error"]["remedy"])


async def test_refused_connection_is_told_by_every_tool(home: Path) -> None:
    a_picture(home)
    async with stdio_agent(environment_for(home, NOBODY)) as user:
        for tool, reason in (await reasons(user)).items():
            assert "Connection refused" in reason, (tool, reason)
            assert NOBODY in reason, tool
            assert "COMFYUI_URL" in reason, tool
        status = await user.call("check_status")
        assert status["online"] is False
        assert any("queue_workflow" in work for work in status["still_works"])


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (
            http_reply("500 Internal Server Error", "got itself in trouble"),
            ["failed inside", "in trouble", "log"],
        ),
        (http_reply("401 Unauthorized", "who are you"), ["refused access (401)", "who are you", "credentials"]),
        (http_reply("403 Forbidden", ""), ["refused access (403)"]),
        (http_reply("200 OK", "<!doctype html><html>Log in", "text/html"), ["a web page", "Log in", "login page"]),
        (http_reply("200 OK", "{broken"), ["no JSON", "{broken"]),
        (http_reply("200 OK", "[]", "application/json"), ["not ComfyUI's"]),
        (http_reply("302 Found", "", extra=["Location: https://login.example/"]), ["sends", "https://login.example/"]),
        (http_reply("404 Not Found", "no such page"), ["404", "no such page"]),
        (http_reply("502 Bad Gateway", "nginx"), ["proxy", "502", "nginx"]),
        (b"SSH-2.0-OpenSSH_9\r\n", ["broke"]),
        (b"", ["broke"]),
    ],
    ids=["500", "401", "403", "html", "broken-json", "list", "redirect", "404", "502", "no-http", "hang-up"],
)
async def test_every_reason_arrives_from_every_tool(home: Path, reply: bytes, says: list[str]) -> None:
    a_picture(home)
    async with answering(reply) as url, agent(environment_for(home, url)) as user:
        for tool, reason in (await reasons(user)).items():
            for words in says:
                assert words in reason, (tool, reason)
        queue = await user.fail("queue_workflow", workflow=image_prompt())
        assert all(words in queue for words in says), queue


async def test_no_answer_is_told_and_reads_are_asked_once_more(home: Path) -> None:
    a_picture(home)
    asked = 0

    async def silent(_: Any) -> None:
        nonlocal asked
        asked += 1
        await anyio.sleep_forever()

    async with answering(silent) as url, agent(environment_for(home, url, COMFYUI_API_TIMEOUT="0.3")) as user:
        reason = await user.fail("get_output", prompt_id=RUN)
        assert asked == 2
        for tool, reason in (await reasons(user)).items():
            assert "no answer" in reason, (tool, reason)
            assert "0.3 s" in reason, tool


async def test_endless_reply_is_cut_off(home: Path) -> None:
    async def endless(stream: Any) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
        while True:
            await stream.send(b"0," * 500_000)

    async with answering(endless) as url, agent(environment_for(home, url)) as user:
        status = await user.call("check_status")
        assert "larger than 64 MB" in status["offline_reason"]


async def test_without_a_server_the_workflow_is_saved_and_it_is_said_how_to_load_it(home: Path) -> None:
    (home / "cat.json").write_text(json.dumps(image_prompt("cat")), encoding="utf-8")
    async with agent(environment_for(home, NOBODY)) as user:
        saved = await user.call("queue_workflow", workflow="cat.json", inputs={"2.filename_prefix": "dog"})
        assert saved["status"] == "saved_offline"
        path = Path(saved["saved_path"])
        assert path == home / "projects" / "default" / "workflows" / "cat.json"
        assert json.loads(path.read_text(encoding="utf-8"))["2"]["inputs"]["filename_prefix"] == "dog"
        assert "API format" in saved["message"]
        assert "drop this file" in saved["message"]
        assert "not validated" in saved["message"]
        again = await user.call("queue_workflow", workflow="cat.json")
        assert Path(again["saved_path"]).name == "cat-2.json"
        named = await user.call("queue_workflow", workflow=image_prompt(), project="film", name="scene 1")
        assert Path(named["saved_path"]) == home / "projects" / "film" / "workflows" / "scene 1.json"
        inline = await user.call("queue_workflow", workflow=image_prompt())
        assert Path(inline["saved_path"]).name == "workflow.json"


async def test_inventory_validates_after_the_server_has_gone(comfyui: str, home: Path) -> None:
    broken = image_prompt()
    broken["1"]["inputs"]["width"] = 0
    async with proxy(comfyui) as between:
        environment = environment_for(home, between.url)
        async with agent(environment) as user:
            assert (await user.call("check_status"))["online"]
            first = between.url
    async with agent(environment_for(home, first)) as user:
        status = await user.call("check_status")
        assert status["online"] is False
        assert status["inventory"]["node_classes"] > 500
        assert any("validate_workflow" in work for work in status["still_works"])
        assert (await user.call("validate_workflow", workflow=image_prompt()))["valid"]
        verdict = await user.call("validate_workflow", workflow=broken)
        assert [finding["code"] for finding in verdict["findings"]] == ["value_smaller_than_min"]
        assert any("no longer" in note or "still holds" in note for note in verdict["not_checked"])
        saved = await user.call("queue_workflow", workflow=broken)
        assert saved["status"] == "refused"
        assert (await user.call("queue_workflow", workflow=image_prompt()))["status"] == "saved_offline"


async def test_refused_prompt_names_every_node_with_the_next_step(comfyui: str, home: Path) -> None:
    prompt = image_prompt()
    prompt["1"]["inputs"].update(width=0, batch_size="many")
    del prompt["1"]["inputs"]["color"]
    prompt["2"]["inputs"]["images"] = ["1", 3]
    async with agent(environment_for(home, comfyui)) as user:
        refused = await user.call("queue_workflow", workflow=prompt)
        found = {(finding["node_id"], finding["input"]): finding for finding in refused["findings"]}
        assert set(found) == {("1", "width"), ("1", "batch_size"), ("1", "color"), ("2", "images")}
        assert all(finding["fix"] for finding in found.values())
        assert found["1", "batch_size"]["received"] == "many"


async def test_refusal_by_the_server_itself_is_not_masked(comfyui: str, home: Path) -> None:
    prompt = image_prompt()
    prompt["3"] = {"class_type": "LoadImage", "inputs": {"image": "nothing.png"}}
    prompt["4"] = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
    async with agent(environment_for(home, comfyui)) as user:
        verdict = await user.call("validate_workflow", workflow=prompt)
        finding = verdict["findings"][0]
        assert (finding["code"], finding["node_id"], finding["input"]) == ("custom_validation_failed", "3", "image")
        assert "upload_image" in finding["fix"]
        # The server accepts the sound branch and drops the other: that must not look like plain success.
        forced = await user.call("queue_workflow", workflow=prompt, force=True)
        assert (forced["status"], forced["dropped_outputs"]) == ("queued", ["4"])
        assert any("Invalid image file" in finding["message"] for finding in forced["findings"])


async def runs_of(comfyui: str, prefix: str) -> int:
    """How many runs the server really has with this prefix."""
    async with httpx2.AsyncClient() as http:
        history = (await http.get(f"{comfyui}/history")).json()
        queue = (await http.get(f"{comfyui}/queue")).json()
    prompts = [entry["prompt"][2] for entry in history.values()]
    prompts += [item[2] for item in queue["queue_running"] + queue["queue_pending"]]
    return sum(prompt.get("2", {}).get("inputs", {}).get("filename_prefix") == prefix for prompt in prompts)


@pytest.mark.parametrize("fault", ["lose_reply", "lose_request", "hold"])
async def test_run_is_queued_once_whatever_happens_to_the_first_answer(comfyui: str, home: Path, fault: str) -> None:
    posts = 0

    def first_post(head: bytes) -> str | None:
        nonlocal posts
        if head.startswith(b"POST /prompt"):
            posts += 1
            return fault if posts == 1 else None
        return None

    prefix = f"once-{fault}"
    async with proxy(comfyui) as between:
        between.fault = first_post
        async with agent(environment_for(home, between.url, COMFYUI_API_TIMEOUT="2")) as user:
            queued = await user.call("queue_workflow", workflow=image_prompt(prefix))
            assert queued["status"] == "queued"
            assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
    assert posts == (2 if fault == "lose_request" else 1)
    assert await runs_of(comfyui, prefix) == 1


async def test_id_is_in_the_error_when_nobody_can_tell_whether_it_was_queued(comfyui: str, home: Path) -> None:
    lost = False

    def all_after_the_post(head: bytes) -> str | None:
        nonlocal lost
        lost = lost or head.startswith(b"POST /prompt")
        return "lose_reply" if lost else None

    async with proxy(comfyui) as between:
        between.fault = all_after_the_post
        async with agent(environment_for(home, between.url, COMFYUI_API_TIMEOUT="2")) as user:
            text = await user.fail("queue_workflow", workflow=image_prompt("unknown"))
            assert "cannot be told" in text
            prompt_id = text.split("poll_result('")[1].split("'")[0]
            between.fault = lambda _: None
            lost = False
            assert (await user.finish(prompt_id))["state"] == "completed"


async def test_polling_goes_on_while_the_server_does_not_answer(comfyui: str, home: Path) -> None:
    async with proxy(comfyui) as between, agent(environment_for(home, between.url)) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt("goes-on"))
        lost = 0

        def first_four(_: bytes) -> str | None:
            nonlocal lost
            lost += 1
            return "lose_request" if lost <= 4 else None

        between.fault = lambda _: "lose_request"
        seen = await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=0)
        assert seen["state"] == "unreachable"
        assert "may go on" in seen["message"]
        between.fault = first_four
        # One call, during which the server is out of reach at first.
        done = await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=60)
        assert done["state"] == "completed"
        assert lost > 4


async def test_look_is_bounded_also_where_the_server_is_silent(home: Path) -> None:
    async def silent(_: Any) -> None:
        await anyio.sleep_forever()

    async with answering(silent) as url, agent(environment_for(home, url)) as user:
        with anyio.fail_after(20):  # far below the 30 s of a call, twice
            seen = await user.call("poll_result", prompt_id=RUN, wait_seconds=0)
        assert seen["state"] == "unreachable"


async def test_ambiguous_run_finds_its_own_server_again(comfyui: str, home: Path) -> None:
    lost = False

    def all_after_the_post(head: bytes) -> str | None:
        nonlocal lost
        lost = lost or head.startswith(b"POST /prompt")
        return "lose_reply" if lost else None

    async with proxy(comfyui) as between, agent(environment_for(home, NOBODY)) as user:
        between.fault = all_after_the_post
        text = await user.fail("queue_workflow", workflow=image_prompt("finds-back"), server=between.url)
        between.fault = lambda _: None
        prompt_id = text.split("poll_result('")[1].split("'")[0]
        done = await user.finish(prompt_id)
        assert (done["state"], done["server"]) == ("completed", between.url)


async def test_receipt_that_cannot_be_read_is_looked_up(comfyui: str, home: Path) -> None:
    async with proxy(comfyui) as between:
        between.replace_reply = (b"POST /prompt", http_reply("200 OK", "{half", "application/json"))
        async with agent(environment_for(home, between.url)) as user:
            queued = await user.call("queue_workflow", workflow=image_prompt("half"))
            assert queued["status"] == "queued"
            assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
    assert await runs_of(comfyui, "half") == 1


async def test_inventory_of_another_server_is_not_used(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        assert (await user.call("check_status"))["inventory"]["node_classes"] > 500
    async with agent(environment_for(home, NOBODY)) as user:
        status = await user.call("check_status")
        assert "inventory" not in status
        assert comfyui in status["notes"][0]
        assert "cannot be validated" in await user.fail("validate_workflow", workflow=image_prompt())


async def test_odd_events_do_not_end_the_server(home: Path) -> None:
    """A server whose WebSocket talks nonsense: the calls go on, and so do those that follow."""
    step = {"type": "progress", "data": {"prompt_id": RUN, "node": "1", "value": float("inf"), "max": float("nan")}}
    frames = ['{"type": ["x"], "data": {}}', "nonsense", '"text"', json.dumps(step)]

    async def odd(stream: Any, head: bytes) -> None:
        if b"/ws" in head.split(b"\r\n")[0]:
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
            assert key is not None
            accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            await stream.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            for frame in frames:
                size = len(frame)
                length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
                await stream.send(b"\x81" + length + frame.encode())
            await stream.send(b"\xff\xff\xff")
            return
        running = [[1, RUN, {}, {}, []]] if b"/queue" in head else []
        body = json.dumps({"queue_running": running, "queue_pending": []}) if running else "{}"
        await stream.send(http_reply("200 OK", body, "application/json"))

    async with answering(odd) as url, agent(environment_for(home, url)) as user:
        for _ in range(3):
            seen = await user.call("poll_result", prompt_id=RUN, wait_seconds=1)
            assert seen["state"] == "running"


async def test_receipt_that_cannot_be_decoded_is_not_taken_for_an_absent_server(comfyui: str, home: Path) -> None:
    broken = http_reply("200 OK", "no gzip at all", "application/json", ["Content-Encoding: gzip"])
    async with proxy(comfyui) as between:
        between.replace_reply = (b"POST /prompt", broken)
        async with agent(environment_for(home, between.url)) as user:
            queued = await user.call("queue_workflow", workflow=image_prompt("gzip"))
            assert queued["status"] == "queued"
    assert await runs_of(comfyui, "gzip") == 1


async def test_id_that_the_server_chose_finds_its_server(home: Path) -> None:
    async def own_id(stream: Any, head: bytes) -> None:
        body = {"prompt_id": "server-own-id", "number": 1} if head.startswith(b"POST /prompt") else {}
        await stream.send(http_reply("200 OK", json.dumps(body), "application/json"))

    async with answering(own_id) as url, agent(environment_for(home, NOBODY)) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt(), server=url, force=True)
        assert queued["prompt_id"] == "server-own-id"
        reason = await user.fail("poll_result", prompt_id="server-own-id", wait_seconds=0)
        assert url in reason


async def test_two_sessions_in_one_folder_do_not_use_each_others_inventory(comfyui: str, home: Path) -> None:
    async def other_server(stream: Any, head: bytes) -> None:
        replies: dict[bytes, Any] = {
            b"/system_stats": {"system": {"os": "posix"}, "devices": []},
            b"/queue": {"queue_running": [], "queue_pending": []},
            b"/object_info": {"OnlyHere": {"input": {}, "output": [], "output_node": True}},
            b"/models": [],
        }
        route = head.split(b" ")[1]
        await stream.send(http_reply("200 OK", json.dumps(replies.get(route, {})), "application/json"))

    only_here = {"1": {"class_type": "OnlyHere", "inputs": {}}}
    async with answering(other_server) as url, agent(environment_for(home, comfyui)) as one:
        assert (await one.call("validate_workflow", workflow=image_prompt()))["valid"]
        async with agent(environment_for(home, url)) as two:
            assert (await two.call("validate_workflow", workflow=only_here))["valid"]
        assert not (await one.call("validate_workflow", workflow=only_here))["valid"]
        assert (await one.call("validate_workflow", workflow=image_prompt()))["valid"]


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("upload_image", {"path": "a" * 20_000}, "too long"),
        ("get_output", {"prompt_id": RUN, "directory": "a" * 300}, "refused"),
        ("check_status", {"server": "x" * 20_000}, "configured"),
        ("check_status", {"server": "http://" + "x" * 20_000}, "COMFYUI_API_ALLOWED_HOSTS"),
        ("queue_workflow", {"workflow": image_prompt(), "project": "x" * 20_000}, "plain folder name"),
        ("poll_result", {"prompt_id": "x" * 20_000}, "prompt_id"),
        ("validate_workflow", {"workflow": "[" + "1," * 500 + "1]"}, "JSON list"),
        ("validate_workflow", {"workflow": '{"1": {"class_type": "\\ud800", "inputs": {}}}'}, "cannot be validated"),
    ],
)
async def test_long_and_odd_arguments_leave_the_reason_readable(
    home: Path, tool: str, arguments: dict[str, Any], says: str
) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        text = await user.fail(tool, **arguments)
        assert says in text
        assert "internal_error" not in text
        assert len(text) < 5_000
