"""Runs followed by events, without them, and through what may happen to a server."""

from __future__ import annotations

import base64
import io
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import psutil
import pytest
from anyio.abc import SocketStream
from mcp_types import ImageContent
from PIL import Image

from comfyui_api import sandbox
from comfyui_api.follow import long_running
from comfyui_api.sandbox import SandboxState
from comfyui_api.workspace import read_settings
from tests.live.test_main_job import sleeping_prompt
from tests.live.test_once import whole_request
from tests.live.test_runs import queue, until_running
from tests.support import DATA, Agent, address, agent, environment_for, image_prompt, listening, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]


class Mortal:
    """A sandbox of its own, to be killed and started again at the same address."""

    def __init__(self) -> None:
        self.settings = read_settings(os.environ)
        self.home = sandbox.default_home(self.settings)
        self.name = f"mortal-{os.getpid()}"
        self.state = self._start(None)
        assert self.state.url is not None
        self.url = self.state.url

    def _start(self, port: int | None) -> SandboxState:
        return sandbox.start(
            self.home,
            name=self.name,
            port=port,
            custom_nodes=[DATA / "test_nodes"],
            torch_index=self.settings.sandbox_torch_index,
            say=logging.getLogger("sandbox").info,
            confirm=lambda _: False,
        )

    def kill(self) -> None:
        """As a crash or the power does it."""
        assert self.state.pid is not None
        process = psutil.Process(self.state.pid)
        os.kill(self.state.pid, signal.SIGKILL)
        process.wait(10)

    def start_again(self) -> None:
        self.state = self._start(int(self.url.rsplit(":", 1)[1]))

    def remove(self) -> None:
        sandbox.stop(self.home, name=self.name)
        sandbox.remove(self.home, name=self.name)


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    standing = Mortal()
    try:
        yield standing
    finally:
        standing.remove()


async def test_server_killed_while_runs_wait_and_run_ends_in_the_right_states(mortal: Mortal, home: Path) -> None:
    async with agent(environment_for(home, mortal.url)) as user:
        running = await queue(user, sleeping_prompt(600, color=1, steps=1000))
        await until_running(user, running)
        waiting = await queue(user, image_prompt("waits"))
        seen: dict[str, Any] = {}

        async def follow(run: str) -> None:
            seen[run] = await user.call("poll_result", prompt_id=run, wait_seconds=4)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow, running)
                tasks.start_soon(follow, waiting)
                await anyio.to_thread.run_sync(mortal.kill)
        assert {status["state"] for status in seen.values()} == {"unreachable"}
        assert all("the run is lost" in status["message"] for status in seen.values())

        await anyio.to_thread.run_sync(mortal.start_again)
        for run in (running, waiting):
            with anyio.fail_after(20):
                gone = await user.call("poll_result", prompt_id=run, wait_seconds=30)
            assert (gone["state"], gone["gone_reason"]) == ("gone", "restarted")
        both = await user.call("poll_result", prompt_id=[running, waiting], wait_seconds=30)
        assert both["states"] == {"gone": 2}
        done = await user.finish(await queue(user, image_prompt("goes on")))
        assert done["state"] == "completed"


async def test_server_killed_while_saving_ends_in_the_right_state(mortal: Mortal, home: Path) -> None:
    prompt = image_prompt("saving", size=4096)
    prompt["1"]["inputs"]["batch_size"] = 20
    folder = Path(mortal.state.base_directory) / "output"
    async with agent(environment_for(home, mortal.url)) as user:
        run = await queue(user, prompt)
        with anyio.fail_after(60):
            while not list(folder.glob("saving*")):  # noqa: ASYNC110  # the server is waited for
                await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(mortal.kill)
        assert (await user.call("poll_result", prompt_id=run, wait_seconds=1))["state"] == "unreachable"
        await anyio.to_thread.run_sync(mortal.start_again)
        assert (await user.call("poll_result", prompt_id=run, wait_seconds=30))["state"] == "gone"
        assert (await user.finish(await queue(user, image_prompt("after"))))["state"] == "completed"


async def test_deleted_wrong_and_cut_ids_are_told_apart(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, image_prompt("deleted"))
        await user.finish(run)
        async with httpx2.AsyncClient() as http:
            await http.post(f"{comfyui}/history", json={"delete": [run]})
        gone = await user.call("poll_result", prompt_id=run, wait_seconds=0)
        assert (gone["state"], gone["gone_reason"]) == ("gone", "deleted")
        cut = await user.call("poll_result", prompt_id=run[:8], wait_seconds=0)
        assert cut["gone_reason"] == "unknown_id"
        assert f"Did you mean '{run}'?" in cut["message"]


class Sockets:
    """A proxy that can lose the client's WebSocket while its other end stays open at the server, and end that later."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("http://").split(":")
        self.target, self.url = (host, int(port)), ""
        self.standing: list[tuple[SocketStream, SocketStream]] = []
        self.lost: list[SocketStream] = []
        self.opened = 0

    async def serve(self, *, task_status: Any) -> None:
        async with await listening() as listener:
            self.url = address(listener)
            task_status.started()
            await listener.serve(self._connection)

    async def _connection(self, client: SocketStream) -> None:
        async with client:
            request = await whole_request(client)
            if request is None:
                return
            server = await anyio.connect_tcp(*self.target)
            try:
                await server.send(request)
                if b"upgrade: websocket" in request.lower():
                    self.opened += 1
                    self.standing.append((client, server))
                async with anyio.create_task_group() as tasks:
                    for source, sink in ((client, server), (server, client)):
                        tasks.start_soon(self._pump, source, sink, tasks)
            finally:
                if server not in self.lost:
                    await anyio.aclose_forcefully(server)

    async def _pump(self, source: SocketStream, sink: SocketStream, tasks: Any) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in source:
                await sink.send(chunk)
        tasks.cancel_scope.cancel()

    async def lose(self) -> None:
        """The client's side breaks, and the server does not notice."""
        client, server = self.standing.pop()
        self.lost.append(server)
        await client.aclose()

    async def end_lost(self) -> None:
        """The server notices at last."""
        while self.lost:
            await self.lost.pop().aclose()


@asynccontextmanager
async def sockets(target: str) -> AsyncIterator[Sockets]:
    between = Sockets(target)
    async with anyio.create_task_group() as tasks:
        await tasks.start(between.serve)
        yield between
        await between.end_lost()
        tasks.cancel_scope.cancel()


async def seconds_to_answer(user: Agent, prompt: dict[str, Any]) -> float:
    """From the end of a run to its answer, by this machine's clock."""
    run = await queue(user, prompt)
    done = await user.finish(run)
    told = time.time()
    assert done["state"] == "completed"
    async with httpx2.AsyncClient() as http:
        entry = (await http.get(f"{done['server']}/history/{run}")).json()[run]
    ended = max(message[1]["timestamp"] for message in entry["status"]["messages"])
    return told - float(ended) / 1000


async def test_socket_silenced_by_an_older_one_is_noticed_and_opened_again(comfyui: str, home: Path) -> None:
    async with sockets(comfyui) as between, agent(environment_for(home, between.url)) as user:
        await seconds_to_answer(user, sleeping_prompt(0.5, color=301))
        assert between.opened == 1
        await between.lose()
        with anyio.fail_after(30):
            while between.opened < 2:
                await user.call("poll_result", prompt_id=await queue(user, image_prompt("reopens")), wait_seconds=1)
        await seconds_to_answer(user, sleeping_prompt(0.5, color=302))
        await between.end_lost()
        # The server has now forgotten the newer socket as well: nothing at all would be heard from here on.
        with anyio.fail_after(30):
            while between.opened < 3:
                assert await seconds_to_answer(user, sleeping_prompt(0.5, color=303)) < 5
        assert await seconds_to_answer(user, sleeping_prompt(1.5, color=304, steps=3)) < 1


async def test_end_of_a_run_is_known_at_once(comfyui: str, home: Path) -> None:
    async with stdio_agent(environment_for(home, comfyui)) as user:
        await seconds_to_answer(user, image_prompt("warm"))
        waits = sorted([await seconds_to_answer(user, sleeping_prompt(0.3, color=310 + at)) for at in range(7)])
        assert waits[3] < 0.3  # 0.05 on a machine that does nothing else


async def test_result_is_the_same_without_a_socket(comfyui: str, home: Path) -> None:
    async with sockets(comfyui) as between:

        async def no_socket(client: SocketStream) -> None:
            async with client:
                request = await whole_request(client)
                if request is None or b"upgrade: websocket" in request.lower():
                    return
                async with await anyio.connect_tcp(*between.target) as server:
                    await server.send(request.replace(b"keep-alive", b"close"))
                    async for chunk in server:
                        await client.send(chunk)

        async with await listening() as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, no_socket)
            async with agent(environment_for(home, address(listener))) as user:
                run = await queue(user, sleeping_prompt(1, color=320))
                with anyio.fail_after(20):
                    done = await user.call("poll_result", prompt_id=run, wait_seconds=30)
                assert done["state"] == "completed"
            tasks.cancel_scope.cancel()


async def test_latest_picture_of_a_run_is_shown_small_on_request(comfyui: str, home: Path) -> None:
    prompt: dict[str, Any] = sleeping_prompt(8, color=330, steps=40)
    prompt["0"] = {"class_type": "EmptyImage", "inputs": {"width": 1600, "height": 900, "batch_size": 1, "color": 255}}
    prompt["9"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["0", 0]}}
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, prompt)
        with anyio.fail_after(60):
            while True:
                answer = await user.client.call_tool(
                    "poll_result", {"prompt_id": run, "wait_seconds": 0.2, "preview": True}
                )
                shown = [block for block in answer.content if isinstance(block, ImageContent)]
                if shown:
                    break
        content = base64.b64decode(shown[0].data)
        assert len(content) <= 100_000
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (512, 288)
        without = await user.client.call_tool("poll_result", {"prompt_id": run, "wait_seconds": 0})
        assert not any(isinstance(block, ImageContent) for block in without.content)
        await user.call("interrupt", prompt_id=run)


async def test_progress_has_percentage_and_estimate(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, sleeping_prompt(30, color=340, steps=100))
        with anyio.fail_after(20):
            while (seen := await user.call("poll_result", prompt_id=run, wait_seconds=0.5)).get("progress", {}).get(
                "node_seconds_left"
            ) is None:
                pass
        assert 10 < seen["progress"]["node_seconds_left"] < 40
        assert 0 < seen["progress"]["percent"] < 99
        await user.call("poll_result", prompt_id=run, wait_seconds=1)
        assert any("left for this node" in (message or "") for _, _, message in user.progress)
        await user.call("interrupt", prompt_id=run)


def test_long_runs_come_with_a_word_on_what_is_usual() -> None:
    assert long_running(599, 599) is None
    assert long_running(0, None) is None
    for warning in (long_running(840, 900), long_running(0, 840)):
        assert warning is not None
        assert "14 minutes" in warning
        assert "15 to 30 minutes for video" in warning


async def test_jobs_of_all_clients_are_listed_and_marked(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user, agent(environment_for(home / "other", comfyui)) as other:
        mine = await queue(user, sleeping_prompt(60, color=350, steps=100))
        await until_running(user, mine)
        theirs = await queue(other, image_prompt("theirs"))
        prompt = image_prompt("text")
        prompt["5"] = {"class_type": "PrimitiveString", "inputs": {"value": "x"}}
        prompt["6"] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "y"}}
        prompt["7"] = {"class_type": "StringConcatenate", "inputs": {"string_a": "a", "string_b": "b", "delimiter": ""}}
        later = await queue(user, prompt)
        listed = await user.call("list_jobs")
        assert [(run["prompt_id"], run["ours"], run["state"]) for run in listed["running"]] == [(mine, True, "running")]
        assert [(run["prompt_id"], run["ours"], run["queue_position"]) for run in listed["pending"]] == [
            (theirs, False, 0),
            (later, True, 1),
        ]
        assert listed["counts"] == {"running": 1, "pending": 2}
        assert len((await user.call("list_jobs", limit=1))["pending"]) == 1
        stopped = await user.call("interrupt", prompt_id=later)
        assert [run["prompt_id"] for run in stopped["stopped"]] == [later]
        await user.call("interrupt", prompt_id=mine)
        assert (await other.finish(theirs))["state"] == "completed"


async def test_a_thousand_large_waiting_runs_leave_everything_right_and_quick(comfyui: str, home: Path) -> None:
    process = psutil.Process()
    async with agent(environment_for(home, comfyui)) as user:
        running = await queue(user, sleeping_prompt(600, color=360, steps=1000))
        await until_running(user, running)
        prompt = image_prompt("thousand")
        prompt["3"] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "word " * 10_000}}
        prompt["4"] = {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}
        ids = [f"00000000-0000-4000-8000-{number:012x}" for number in range(1000)]
        async with httpx2.AsyncClient(timeout=60) as http:
            for each in ids:
                body = {"prompt": prompt, "prompt_id": each, "client_id": "somebody"}
                (await http.post(f"{comfyui}/prompt", json=body)).raise_for_status()
            before = process.memory_info().rss
            began = time.monotonic()
            listed = await user.call("list_jobs")
            took = time.monotonic() - began
            assert listed["counts"] == {"running": 1, "pending": 1000}
            assert [run["prompt_id"] for run in listed["pending"]] == ids[: len(listed["pending"])]
            assert took < 10  # 50 MB, of which the server's own share is the most
            seen = await user.call("poll_result", prompt_id=ids[700], wait_seconds=0)
            assert (seen["state"], seen["queue_position"]) == ("queued", 700)
            last = await user.call("queue_workflow", workflow=image_prompt("last"))
            assert last["queue_position"] == 1000
            assert process.memory_info().rss - before < 60 * 2**20
            stopped = await user.call("interrupt", prompt_id=last["prompt_id"])
            assert stopped["state"] == "interrupted"
            await http.post(f"{comfyui}/queue", json={"clear": True})
        await user.call("interrupt", prompt_id=running)


async def test_a_thousand_looks_do_not_make_the_process_grow(comfyui: str, home: Path) -> None:
    process = psutil.Process()
    async with agent(environment_for(home, comfyui)) as user:
        run = await queue(user, image_prompt("looks"))
        await user.finish(run)
        for _ in range(100):
            await user.call("poll_result", prompt_id=run, wait_seconds=0)
        before = process.memory_info().rss
        for _ in range(1000):
            await user.call("poll_result", prompt_id=run, wait_seconds=0)
        assert process.memory_info().rss - before < 10 * 2**20
