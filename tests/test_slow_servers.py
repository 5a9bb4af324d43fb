"""Servers that drip: something comes all the time, and an answer never does. No call waits for it without end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from comfyui_api.client import ComfyClient
from comfyui_api.comfy_server import ComfyServer
from comfyui_api.dialects.cloud import CloudServer
from comfyui_api.dialects.v2 import V2Server
from comfyui_api.errors import ComfySilent, FileProblem
from comfyui_api.transport import LEAST_RATE
from tests.support import address, agent, answering, environment_for, http_reply, image_prompt, listening

pytestmark = pytest.mark.anyio

LIMIT = 0.4  # the time limit of the tests, in place of 30 s
# A header that never ends is no answer; a body that hardly comes is one that is given up.
GIVEN_UP = "so slowly that it was given up|gave no answer"
LONGEST = 2 * LIMIT + 10.0  # the first try and the second, and then some for a slow machine
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


def dripping(head: bytes, letter: bytes = b" ") -> Callable[[SocketStream], Awaitable[None]]:
    """A server that answers with this, and then with one letter after the other."""

    async def drip(stream: SocketStream) -> None:
        await stream.send(head)
        while True:
            await stream.send(letter)
            await anyio.sleep(LIMIT / 8)

    return drip


DRIPS = pytest.mark.parametrize(
    "drip", [dripping(HEAD), dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x")], ids=["the body", "the header"]
)


@DRIPS
@pytest.mark.parametrize("kind", [ComfyClient, CloudServer, V2Server])
async def test_a_dripping_answer_is_given_up_in_words(
    kind: type[ComfyServer], drip: Callable[[SocketStream], Awaitable[None]]
) -> None:
    async with answering(drip) as url:
        server: Any = kind(url, timeout=LIMIT)  # type: ignore[call-arg]  # each dialect takes these
        with anyio.fail_after(LONGEST), pytest.raises(ComfySilent, match=GIVEN_UP):
            await server.queue()
        await server.close()


@DRIPS
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("check_status", {}),
        ("find_nodes", {"query": "sampler"}),
        ("find_models", {"query": "flux"}),
        ("find_templates", {"query": "cat"}),
        ("list_jobs", {}),
        ("validate_workflow", {"workflow": "server:w7"}),
        ("validate_workflow", {"workflow": image_prompt()}),
        ("queue_workflow", {"workflow": image_prompt()}),
        ("save_workflow", {"workflow": image_prompt(), "on_server": True}),
        ("poll_result", {"prompt_id": "7", "wait_seconds": 0}),
        ("get_output", {"prompt_id": "7"}),
        ("interrupt", {"prompt_id": "7"}),
        ("free_vram", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_tool_answers_where_the_server_drips(
    home: Path, tool: str, arguments: dict[str, Any], drip: Callable[[SocketStream], Awaitable[None]]
) -> None:
    async with answering(drip) as url, agent(environment_for(home, url, COMFYUI_API_TIMEOUT=str(LIMIT))) as user:
        with anyio.fail_after(LONGEST):
            answer = await user.client.call_tool(tool, arguments)
        assert "internal_error" not in str(answer.content)


async def test_an_answer_that_is_slow_and_goes_on_is_read_to_its_end() -> None:
    content = b'{"A": {"input": {}, "output": [' + b" " * int(LEAST_RATE * LIMIT * 8) + b"]}}"

    async def slowly(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(content))
        piece = int(LEAST_RATE * LIMIT / 2)
        for start in range(0, len(content), piece):
            await stream.send(content[start : start + piece])
            await anyio.sleep(LIMIT / 8)

    async with answering(slowly) as url:
        client = ComfyClient(url, timeout=LIMIT)
        found = [entry.class_type async for entries in client.object_info() for entry in entries]
        await client.close()
    assert found == ["A"]


async def test_time_that_a_reader_takes_itself_does_not_count() -> None:
    content = b"x" * 200_000

    async def at_once(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(content))
        await stream.send(content)

    async with answering(at_once) as url:
        client = ComfyClient(url, timeout=LIMIT)
        received = 0
        async with client.view("a.bin", "", "output") as stream:
            async for chunk in stream.aiter_bytes(100):
                received += len(chunk)
                if received % 50_000 == 0:
                    await anyio.sleep(LIMIT)
        await client.close()
    assert received == len(content)


@DRIPS
async def test_a_file_that_drips_is_given_up(drip: Callable[[SocketStream], Awaitable[None]]) -> None:
    async with answering(drip) as url:
        client = ComfyClient(url, timeout=LIMIT)
        with anyio.fail_after(LONGEST), pytest.raises((ComfySilent, FileProblem), match=GIVEN_UP):
            async with client.view("a.png", "", "output") as stream:
                async for _ in stream.aiter_bytes(2**16):
                    pass
        await client.close()


async def test_an_upload_may_take_longer_than_an_answer() -> None:
    content, limit = b"x" * 32_000_000, 1.0

    async def read_slowly(stream: SocketStream) -> None:
        async with stream:
            received, began = 0, anyio.current_time()
            while received < len(content):
                received += len(await stream.receive(2**19))
                if received < len(content) / 2:  # the rest may be on its way already
                    await anyio.sleep(limit / 16)
            assert anyio.current_time() - began > limit
            await stream.send(http_reply("200 OK", '{"name": "a.png", "subfolder": "", "type": "input"}'))

    async with await listening() as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, read_slowly)
        client = ComfyClient(address(listener), timeout=limit)
        uploaded = await client.upload("a.png", content, "image/png", subfolder=None, overwrite=False)
        await client.close()
        tasks.cancel_scope.cancel()
    assert uploaded.name == "a.png"
