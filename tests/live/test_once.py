"""One call, one run: whatever is lost, late, cut or sent twice between us and a real server."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream

from tests.live.test_main_job import sleeping_prompt
from tests.live.test_runs import until_running
from tests.support import Agent, address, agent, environment_for, image_prompt, listening

pytestmark = [pytest.mark.anyio, pytest.mark.live]

FAULTS = (
    "drop the request",  # the server never sees it
    "cut the request",  # the server sees half of it
    "drop the reply",  # the run is queued, and nobody hears of it
    "cut the reply",  # half of the receipt arrives
    "hold the reply",  # until the caller has given up
    "delay the request",  # it arrives after the caller has looked for it and sent it again
    "send it twice",
    "break the lookup",  # the reply is lost, and so is the first question after it
    "send it twice and break the lookups",  # all is well, as far as the caller can tell
    None,
)


@dataclass
class Trouble:
    """A proxy that reads whole requests, and lets the next fault happen to each POST of a prompt."""

    target: tuple[str, int]
    faults: Any
    late: float
    url: str = ""
    happened: Counter[str | None] = field(default_factory=Counter)
    to_break: int = 0
    delivered: int = 0
    on_its_way: int = 0

    async def serve(self, *, task_status: Any) -> None:
        async with await listening() as listener, anyio.create_task_group() as tasks:
            self.url = address(listener)
            self.tasks = tasks
            task_status.started()
            await listener.serve(self._connection)

    async def _connection(self, client: SocketStream) -> None:
        try:
            async with client:
                while (request := await whole_request(client)) is not None:
                    if b"upgrade: websocket" in request.lower():
                        await self._tunnel(client, request)
                        return
                    if not await self._pass_on(client, request):
                        return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass

    async def _pass_on(self, client: SocketStream, request: bytes) -> bool:
        """Whether the connection goes on."""
        if not request.startswith(b"POST /prompt"):
            if self.to_break:
                self.to_break -= 1
                return False
            await client.send(await self._answered(request))
            return True
        fault = next(self.faults)
        self.happened[fault] += 1
        if fault == "drop the request":
            return False
        if fault == "cut the request":
            async with await anyio.connect_tcp(*self.target) as server:
                await server.send(request[: -len(request) // 3])
            return False
        if fault == "delay the request":
            self.on_its_way += 1
            self.tasks.start_soon(self._later, request)
            return False
        reply = await self._answered(request)
        self.delivered += 1
        if fault in ("send it twice", "send it twice and break the lookups"):
            await self._answered(request)
        self.to_break += {"break the lookup": 1, "send it twice and break the lookups": 4}.get(fault or "", 0)
        if fault in ("drop the reply", "break the lookup"):
            return False
        if fault == "cut the reply":
            await client.send(reply[: len(reply) - 20])
            return False
        if fault == "hold the reply":
            await client.receive()  # ends when the caller hangs up
            return False
        await client.send(reply)
        return True

    async def _later(self, request: bytes) -> None:
        await anyio.sleep(self.late)
        await self._answered(request)
        self.on_its_way -= 1

    async def _answered(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        once = head.replace(b"keep-alive", b"close") + b"\r\n\r\n" + body
        reply = b""
        async with await anyio.connect_tcp(*self.target) as server:
            await server.send(once)
            async for chunk in server:
                reply += chunk
        return reply.replace(b"Connection: close\r\n", b"")

    async def _tunnel(self, client: SocketStream, request: bytes) -> None:
        async with await anyio.connect_tcp(*self.target) as server, anyio.create_task_group() as tasks:
            await server.send(request)

            async def pump(source: SocketStream, sink: SocketStream) -> None:
                try:
                    async for chunk in source:
                        await sink.send(chunk)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(pump, client, server)
            await pump(server, client)


async def whole_request(stream: SocketStream) -> bytes | None:
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            received += await stream.receive()
        except anyio.EndOfStream:
            return None
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += await stream.receive()
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def troubled(url: str, faults: Any, late: float = 0.0) -> AsyncIterator[Trouble]:
    host, port = url.removeprefix("http://").split(":")
    between = Trouble((host, int(port)), faults, late)
    async with anyio.create_task_group() as tasks:
        await tasks.start(between.serve)
        yield between
        tasks.cancel_scope.cancel()


async def standing(comfyui: str, prefix: str) -> Counter[str]:
    """The runs of this prefix that the server really has waiting, by id."""
    async with httpx2.AsyncClient() as http:
        queue = (await http.get(f"{comfyui}/queue")).json()
    waiting = queue["queue_pending"] + queue["queue_running"]
    return Counter(
        item[1] for item in waiting if str(item[2]["2"]["inputs"].get("filename_prefix", "")).startswith(prefix)
    )


@asynccontextmanager
async def held_up(comfyui: str, home: Path) -> AsyncIterator[None]:
    """While this lasts, a run of somebody else keeps all others waiting: so they can be counted."""
    async with agent(environment_for(home / "other", comfyui)) as other:
        blocking = await other.call(
            "queue_workflow", workflow=sleeping_prompt(600, color=random.randrange(1 << 24), steps=1000)
        )
        await until_running(other, blocking["prompt_id"])
        try:
            yield
        finally:
            await other.call("interrupt", prompt_id=blocking["prompt_id"])


async def queued(user: Agent, prompt: dict[str, Any]) -> str:
    answer = await user.call("queue_workflow", workflow=prompt)
    assert answer["status"] == "queued", answer
    return str(answer["prompt_id"])


async def test_two_hundred_calls_through_a_proxy_with_every_fault_are_two_hundred_runs(
    comfyui: str, home: Path
) -> None:
    calls, at_once = 200, 20
    faults = itertools.cycle(FAULTS)
    answers: list[str] = []
    limiter = anyio.CapacityLimiter(at_once)
    async with (
        held_up(comfyui, home),
        troubled(comfyui, faults, late=4.0) as between,
        agent(environment_for(home, between.url, COMFYUI_API_TIMEOUT="5")) as user,
    ):

        async def call(number: int) -> None:
            async with limiter:
                answers.append(await queued(user, image_prompt(f"once200-{number}-")))

        with anyio.fail_after(240):
            async with anyio.create_task_group() as tasks:
                for number in range(calls):
                    tasks.start_soon(call, number)
            # The last of what was held up arrives, and the second of each pair is found.
            while between.on_its_way or set((await standing(comfyui, "once200-")).values()) != {1}:  # noqa: ASYNC110  # the server is waited for
                await anyio.sleep(0.2)
        runs = await standing(comfyui, "once200-")
        assert set(answers) == set(runs)
        assert len(runs) == len(answers) == calls
        assert all(between.happened[fault] for fault in FAULTS)
        async with httpx2.AsyncClient() as http:
            await http.post(f"{comfyui}/queue", json={"delete": list(runs)})


async def test_request_that_arrives_after_it_was_sent_again_runs_once_and_it_is_said(comfyui: str, home: Path) -> None:
    faults = itertools.chain(["delay the request"], itertools.repeat(None))
    async with (
        held_up(comfyui, home),
        troubled(comfyui, faults, late=3.0) as between,
        agent(environment_for(home, between.url)) as user,
    ):
        run = await queued(user, image_prompt("late"))
        with anyio.fail_after(30):
            while between.on_its_way or (await standing(comfyui, "late"))[run] != 1:  # noqa: ASYNC110  # the server is waited for
                await anyio.sleep(0.1)
            looked = await user.call("poll_result", prompt_id=run, wait_seconds=0)
            while "arrived twice" not in looked["message"]:
                looked = await user.call("poll_result", prompt_id=run, wait_seconds=0)
        assert looked["state"] == "queued"
        assert between.happened["delay the request"] == 1
        await user.call("interrupt", prompt_id=run)
        assert not await standing(comfyui, "late")


async def test_run_that_the_network_sent_twice_is_queued_once_and_said_so(comfyui: str, home: Path) -> None:
    async with (
        held_up(comfyui, home),
        troubled(comfyui, itertools.repeat("send it twice")) as between,
        agent(environment_for(home, between.url)) as user,
    ):
        answer = await user.call("queue_workflow", workflow=image_prompt("twice"))
        assert "arrived twice" in answer["message"]
        assert await standing(comfyui, "twice") == {answer["prompt_id"]: 1}
        await user.call("interrupt", prompt_id=answer["prompt_id"])


async def test_run_that_was_sent_twice_unseen_is_taken_out_by_the_watch(comfyui: str, home: Path) -> None:
    async with (
        held_up(comfyui, home),
        troubled(comfyui, itertools.repeat("send it twice and break the lookups")) as between,
        agent(environment_for(home, between.url)) as user,
    ):
        answer = await user.call("queue_workflow", workflow=image_prompt("unseen"))
        assert "arrived twice" not in answer["message"]
        with anyio.fail_after(30):
            while (await standing(comfyui, "unseen"))[answer["prompt_id"]] != 1:  # noqa: ASYNC110  # the server is waited for
                await anyio.sleep(0.1)
        await user.call("interrupt", prompt_id=answer["prompt_id"])


async def test_server_that_takes_nothing_gives_an_error_with_the_id_in_bounded_time(comfyui: str, home: Path) -> None:
    async with (
        troubled(comfyui, itertools.repeat("drop the request")) as between,
        agent(environment_for(home, between.url)) as user,
    ):
        with anyio.fail_after(30):
            text = await user.fail("queue_workflow", workflow=image_prompt("never"))
        run = text.split("poll_result('")[1].split("'")[0]
        assert "not in the server's queue" in text
        gone = await user.call("poll_result", prompt_id=run, wait_seconds=0)
        assert (gone["state"], gone["gone_reason"]) == ("gone", "not_arrived")


async def test_program_ends_while_it_still_watches_for_a_second_arrival(comfyui: str, home: Path) -> None:
    for _ in range(3):
        faults = itertools.chain(["drop the request"], itertools.repeat(None))
        async with troubled(comfyui, faults) as between, agent(environment_for(home, between.url)) as user:
            await queued(user, image_prompt("ends"))
