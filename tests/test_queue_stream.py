"""/queue read piece by piece equals /queue read at once, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.client import ComfyClient
from comfyui_api.errors import UnexpectedReply
from comfyui_api.prompt_text import first_text
from comfyui_api.queue_stream import QueueReader
from comfyui_api.replies import listed_jobs, queue_state
from comfyui_api.runs import QueueState
from tests.support import answering, http_reply
from tests.test_replies import capture


def run(number: int, **more: Any) -> list[Any]:
    node = {"class_type": "CLIPTextEncode", "inputs": {"text": f'cat "{number}" ]}}[ \\ ü', **more}}
    return [number, f"id-{number}", {"1": node}, {"client_id": "c", "create_time": 1000 + number}, ["1"]]


QUEUE = {"odd": [1, {"x": 2}], "queue_running": [run(1)], "queue_pending": [run(9), run(3), run(5)], "n": 12}


def read(content: bytes, size: int) -> QueueState:
    reader = QueueReader()
    for at in range(0, len(content), size):
        reader.feed(content[at : at + size])
    return reader.finish()


@given(st.integers(1, 400), st.booleans())
def test_pieces_of_any_size_give_the_same_queue(size: int, ascii_only: bool) -> None:
    content = json.dumps(QUEUE, ensure_ascii=ascii_only, indent=1 if ascii_only else None).encode()
    assert read(content, size) == queue_state(QUEUE)


def test_the_waiting_stand_in_order_with_their_words_and_without_their_prompts() -> None:
    queue = read(json.dumps(QUEUE).encode(), 10_000)
    assert [item.prompt_id for item in queue.pending] == ["id-3", "id-5", "id-9"]
    assert queue.pending[0].text == 'cat "3" ]}[ \\ ü'
    assert not queue.pending[0].prompt
    assert queue.running[0].prompt


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"queue_running": [', b"<html>", b"[]", b'{"queue_running": [[1, "a"']
)
def test_what_is_no_whole_queue_is_no_queue(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        read(content, 3)


def test_memory_stays_small_however_long_the_queue_is() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"queue_running": [], "queue_pending": ['
        for number in range(1000):
            yield (b", " if number else b"") + json.dumps(run(number, big="x" * 100_000)).encode()
        yield b"]}"

    reader = QueueReader()
    tracemalloc.start()
    try:
        for piece in pieces():
            reader.feed(piece)
        assert len(reader.finish().pending) == 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20  # of 100 MB


def test_recent_servers_list_the_queue_without_prompts() -> None:
    busy = {
        "jobs": [
            {"id": "b", "status": "pending", "priority": 23, "create_time": 1795303496233},
            {"id": "a", "status": "pending", "priority": 22, "create_time": 1795303496229},
            {"id": "r", "status": "in_progress", "priority": 21, "create_time": 1795303496227},
            {"id": "c", "status": "completed", "priority": 20, "create_time": 1795303495223},
        ],
        "pagination": {"offset": 0, "limit": None, "total": 4, "has_more": False},
    }
    queue = listed_jobs(busy)
    assert queue is not None
    assert [item.prompt_id for item in queue.pending] == ["a", "b"]
    assert [item.prompt_id for item in queue.running] == ["r"]
    assert listed_jobs({**busy, "pagination": {"has_more": True}}) is None


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({}, None),
        ({"1": "no node", "2": {"inputs": [1]}}, None),
        ({"1": {"inputs": {"text": "  "}}, "2": {"inputs": {"prompt": "a\n cat"}}}, "a cat"),
        (
            {
                "1": {"inputs": {"text": "ugly, blurry"}},
                "2": {"inputs": {"text": "a dog"}},
                "3": {"inputs": {"conditioning": ["2", 0], "guidance": 3.5}},
                "4": {"inputs": {"negative": ["1", 0], "positive": ["3", 0]}},
            },
            "a dog",
        ),
        ({"1": {"inputs": {"positive": ["1", 0]}}}, None),
        ({"1": {"inputs": {"positive": ["nowhere", 0], "text": "x" * 300}}}, "x" * 100 + "…"),
    ],
)
def test_the_first_words_of_a_prompt_are_its_positive_text(prompt: dict[str, Any], text: str | None) -> None:
    assert first_text(prompt) == text


def test_captured_queue_is_read_alike_in_pieces() -> None:
    raw = capture("queue_running_pending")["body"]
    assert read(json.dumps(raw).encode(), 7) == queue_state(raw)


@pytest.mark.anyio
@pytest.mark.parametrize("recent", [True, False])
async def test_a_large_queue_is_asked_of_recent_servers_in_short(recent: bool) -> None:
    large = json.dumps({"queue_running": [], "queue_pending": [run(at, big="x" * 10_000) for at in range(600)]})
    jobs = [{"id": f"id-{at}", "status": "pending", "priority": at} for at in reversed(range(600))]
    short = json.dumps({"jobs": jobs, "pagination": {"has_more": False}})
    asked: list[str] = []

    async def server(stream: Any, head: bytes) -> None:
        route = head.split(b" ")[1].decode()
        asked.append(route.split("?")[0])
        status = "200 OK" if recent or route == "/queue" else "404 Not Found"
        await stream.send(http_reply(status, large if route == "/queue" else short, "application/json"))

    async with answering(server) as url:
        client = ComfyClient(url, timeout=10)
        try:
            for _ in range(3):
                assert (await client.queue()).position("id-300") == 300
        finally:
            await client.close()
    expected = ["/queue", "/api/jobs", "/api/jobs"] if recent else ["/queue", "/api/jobs", "/queue", "/queue"]
    assert asked == expected


@pytest.mark.anyio
@pytest.mark.parametrize("body", ['{"queue_running": [' + " " * 2**21, "[" * 3 * 2**20, "<html>" + "x" * 2**21])
async def test_large_replies_that_are_no_queue_are_told(body: str) -> None:
    async with answering(http_reply("200 OK", body, "application/json")) as url:
        client = ComfyClient(url, timeout=10)
        try:
            with pytest.raises(UnexpectedReply, match="/queue"):
                await client.queue()
        finally:
            await client.close()
