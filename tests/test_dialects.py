"""Comfy Cloud and API v2 where servers are hostile, broken or of tomorrow: nothing that they say breaks a rule."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mcp import MCPError

from comfyui_api.client import ComfyClient
from comfyui_api.comfy_server import ComfyServer, Look
from comfyui_api.dialects import cloud_replies, open_server, v2_replies
from comfyui_api.dialects.cloud import CloudServer
from comfyui_api.dialects.job_events import JobEvents
from comfyui_api.dialects.job_states import job_state, milliseconds
from comfyui_api.dialects.v2 import V2Server
from comfyui_api.errors import (
    AccessDenied,
    AlreadySent,
    ComfyBusy,
    ComfyError,
    ComfyUnreachable,
    FileGone,
    NotOffered,
    PaymentRequired,
    PromptRejected,
    UnexpectedReply,
)
from comfyui_api.exchange import MALFORMED
from comfyui_api.runs import UploadedFile, asset_value
from comfyui_api.settings import Access
from tests.support import (
    Prompt,
    address,
    agent,
    environment_for,
    http_reply,
    image_prompt,
    listening,
    settings_file,
)

pytestmark = pytest.mark.anyio

KEY = "a-key-of-the-tests-0123456789"
STATES = (
    "completed",
    "failed",
    "cancelled",
    "succeeded",
    "canceled",
    "expired",
    "lost",
    "queued",
    "in_progress",
    "new",
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def of_keys(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have some of these keys, with anything in them."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, anything))


outputs = st.dictionaries(
    st.text(max_size=4),
    st.dictionaries(st.text(max_size=8), st.lists(of_keys("filename", "type", "subfolder") | anything, max_size=3)),
    max_size=3,
)
cloud_jobs = st.builds(
    lambda status, rest, told: {"status": status, **rest, **told},
    st.sampled_from(STATES) | anything,
    of_keys(
        "id",
        "create_time",
        "update_time",
        "workflow",
        "execution_error",
        "execution_status",
        "execution_start_time",
        "execution_end_time",
        "outputs_count",
        "priority",
        "error_message",
    ),
    st.fixed_dictionaries({}, optional={"outputs": outputs | anything}),
)
v2_jobs = st.builds(
    lambda status, rest, told: {"status": status, **rest, **told},
    st.sampled_from(STATES) | anything,
    of_keys("id", "created_at", "started_at", "completed_at", "queue_position", "progress", "error", "urls"),
    st.fixed_dictionaries({}, optional={"outputs": st.lists(of_keys("id", "name", "type", "node_id") | anything)}),
)


@given(cloud_jobs | anything, anything)
@example({"status": "failed", "execution_error": '{"exception_message": null, "node_id": 3}'}, None)
@example({"status": "completed", "outputs": None, "outputs_count": -1, "workflow": {"prompt": []}}, {"prompt": 3})
def test_whatever_comfy_cloud_says_of_a_job_is_a_look_or_no_reply(raw: Any, kept: Any) -> None:
    try:
        seen = cloud_replies.look("id", raw, kept)
    except MALFORMED:
        assert not isinstance(raw, dict) or "outputs" in raw or "execution_status" in raw
        return
    is_sound(seen)


@given(v2_jobs | anything, anything)
@example({"status": "running", "progress": {"value": float("nan"), "step": 1, "steps": 0}}, None)
def test_whatever_api_v2_says_of_a_job_is_a_look_or_no_reply(raw: Any, prompt: Any) -> None:
    try:
        seen = v2_replies.look("id", raw, prompt)
    except MALFORMED:
        assert not isinstance(raw, dict)
        return
    is_sound(seen)


def is_sound(seen: Look) -> None:
    assert (seen.entry is not None) == (seen.state in ("completed", "failed", "interrupted"))
    if seen.entry is not None:
        assert seen.entry.state == seen.state
        assert (seen.entry.error is not None) == (seen.state == "failed")
        assert all(isinstance(file.filename, str) and file.filename for file in seen.entry.files)
    if seen.progress is not None:
        assert 0 <= (seen.progress.share or 0) <= 1
        assert seen.progress.max > 0
    assert seen.position is None or seen.position >= 0


@given(st.lists(cloud_jobs | anything, max_size=4) | anything, st.floats(0, 1e12))
def test_whatever_comfy_cloud_lists_is_parsed_or_no_reply(jobs: Any, since: float) -> None:
    for parse in (cloud_replies.queue_state, cloud_replies.ended, lambda raw: cloud_replies.candidates(raw, since)):
        try:
            parse({"jobs": jobs})
        except MALFORMED:
            continue
    cloud_replies.has_mark(jobs, "mark")


@given(st.lists(v2_jobs | anything, max_size=4) | anything, st.floats(0, 1e12))
def test_whatever_api_v2_lists_is_parsed_or_no_reply(jobs: Any, since: float) -> None:
    for parse in (v2_replies.queue_state, v2_replies.ended, lambda raw: v2_replies.candidates(raw, since)):
        try:
            parse({"jobs": jobs})
        except MALFORMED:
            continue


@given(st.text(max_size=10), st.text(max_size=10), of_keys("node_errors", "missing_ids"))
@example("invalid_workflow", "no", {"node_errors": {"12": [{"field": "model", "reason": "missing_input"}]}})
@example("missing_asset", "no", {"missing_ids": ["a", 3]})
def test_every_refusal_of_a_workflow_has_a_reason(code: str, message: str, details: dict[str, Any]) -> None:
    faults = v2_replies.faults(code, message, details)
    assert faults
    assert all(isinstance(fault.message, str) for fault in faults)


@given(st.sampled_from(["status", "progress", "preview", "output", "log"]) | st.text(max_size=8), anything)
async def test_no_event_ends_the_following(kind: str, data: Any) -> None:
    server, events = open_server("http://127.0.0.1:1", Access(kind="v2"), timeout=5)
    assert isinstance(events, JobEvents)
    with events.watch("run"):
        events._dispatch("run", kind, data)
    await server.close()


@given(anything)
def test_a_moment_is_milliseconds_or_none(moment: Any) -> None:
    told = milliseconds(moment)
    assert told is None or 0 <= told < 2**53


def test_moments_are_read_in_every_form_in_which_they_come() -> None:
    assert milliseconds(1795303496) == 1795303496000
    assert milliseconds(1795303496227) == 1795303496227
    assert milliseconds("2026-11-22T07:24:56+00:00") == 1795332296000
    assert milliseconds("2026-11-22T07:24:56Z") == 1795332296000
    assert milliseconds("yesterday") is None


@pytest.mark.parametrize(
    "status", ["allocated", "uploading", "cancel_requested", "canceling", "retryable_error", "", None, 7]
)
def test_a_state_that_is_not_known_is_in_flight(status: Any) -> None:
    assert job_state(status) == "running"


def test_assets_stand_in_their_form_in_what_is_sent_and_the_prompt_stays_as_it_was() -> None:
    inputs = {"image": asset_value("a-1"), "text": "asset: no", "n": 3}
    prompt: Prompt = {"1": {"class_type": "LoadImage", "inputs": inputs}}
    sent = v2_replies.with_references(prompt)
    assert sent["1"]["inputs"]["image"] == {"__type": "core/ASSET", "info": {"id": "a-1"}}
    assert prompt["1"]["inputs"]["image"] == "asset:a-1"
    assert UploadedFile("x.png", "", "input", "a-1").value == "asset:a-1"
    told: Prompt = {"1": {"class_type": "LoadImage", "inputs": {**inputs, "image": "x (1).png"}}}
    assert v2_replies.is_same_prompt(prompt, told)
    assert not v2_replies.is_same_prompt(prompt, {"1": {**told["1"], "class_type": "LoadImageMask"}})
    assert not v2_replies.is_same_prompt(prompt, {})


# A server that answers each request by its method and path


@dataclass
class Answering:
    """`answers`: what comes back, by the beginning of the request's head, the longest first."""

    answers: dict[str, bytes]
    url: str = ""
    requests: list[bytes] = field(default_factory=list)

    async def handle(self, stream: SocketStream) -> None:
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                received += await stream.receive()
            head, _, body = received.partition(b"\r\n\r\n")
            lines = {line.partition(b":")[0].lower(): line.partition(b":")[2] for line in head.split(b"\r\n")[1:]}
            length = int(lines.get(b"content-length", b"0"))
            while len(body) < length:
                body += await stream.receive()
            self.requests.append(head + b"\r\n\r\n" + body)
            fitting = [start for start in self.answers if head.decode().startswith(start)]
            await stream.send(self.answers[max(fitting, key=len)] if fitting else http_reply("404 Not Found", "{}"))


@asynccontextmanager
async def answering(answers: dict[str, bytes]) -> AsyncIterator[Answering]:
    standing = Answering(answers)
    async with await listening() as listener, anyio.create_task_group() as tasks:
        standing.url = address(listener)
        tasks.start_soon(listener.serve, standing.handle)
        yield standing
        tasks.cancel_scope.cancel()


def json_reply(body: Any, status: str = "200 OK", *extra: str) -> bytes:
    return http_reply(status, json.dumps(body), "application/json", extra)


def envelope(status: str, code: str, message: str = "because", *extra: str, **details: Any) -> bytes:
    return json_reply({"error": {"code": code, "message": message, "details": details or None}}, status, *extra)


@asynccontextmanager
async def server_at(url: str, kind: Any, **more: Any) -> AsyncIterator[ComfyServer]:
    server, _ = open_server(url, Access(kind=kind, api_key=KEY, **more), timeout=5)
    try:
        yield server
    finally:
        await server.close()


V2_REFUSALS: list[tuple[bytes, type[ComfyError]]] = [
    (envelope("422 Unprocessable", "invalid_workflow"), PromptRejected),
    (envelope("422 Unprocessable", "workflow_format_ui"), PromptRejected),
    (envelope("422 Unprocessable", "missing_asset", missing_ids=["x"]), PromptRejected),
    (envelope("422 Unprocessable", "idempotency_key_reuse"), AlreadySent),
    (envelope("422 Unprocessable", "deployment_stopped"), ComfyUnreachable),
    (envelope("402 Payment Required", "insufficient_credits"), PaymentRequired),
    (envelope("429 Too Many", "queue_full", "full", "Retry-After: 7"), ComfyBusy),
    (envelope("429 Too Many", "deployment_not_ready"), ComfyBusy),
    (envelope("401 Unauthorized", "unauthorized"), AccessDenied),
    (envelope("403 Forbidden", "forbidden"), AccessDenied),
    (http_reply("422 Unprocessable", "<html>"), UnexpectedReply),
    (json_reply({"id": None}, "201 Created"), UnexpectedReply),
    (json_reply([], "201 Created"), UnexpectedReply),
]


@pytest.mark.parametrize(("reply", "kind"), V2_REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
async def test_each_refusal_of_api_v2_is_an_error_of_its_own(reply: bytes, kind: type[ComfyError]) -> None:
    async with answering({"POST /api/v2/jobs ": reply}) as standing, server_at(standing.url, "v2") as server:
        with pytest.raises(kind) as told:
            await server.queue_prompt(image_prompt(), prompt_id="k", front=False, workflow=None)
        assert told.value.next_step
        assert KEY not in str(told.value)
        if isinstance(told.value, ComfyBusy) and "full" in told.value.message:
            assert told.value.retry_after == 7
    assert len(standing.requests) == 1


CLOUD_REFUSALS: list[tuple[bytes, type[ComfyError]]] = [
    (json_reply({"error": {"type": "PAYMENT_REQUIRED", "message": "no"}}, "402 Payment Required"), PaymentRequired),
    (json_reply({"error": {"type": "FREE_TIER_EXHAUSTED", "message": "no"}}, "429 Too Many"), PaymentRequired),
    (json_reply({"error": {"type": "QUEUE_LIMIT", "message": "full"}}, "429 Too Many"), ComfyBusy),
    (json_reply({"code": "UNAUTHORIZED", "message": "no"}, "401 Unauthorized"), AccessDenied),
    (
        json_reply({"error": {"type": "invalid_prompt", "message": "no"}, "node_errors": {}}, "400 Bad Request"),
        PromptRejected,
    ),
    (json_reply({"number": 3}), UnexpectedReply),  # a receipt that names no run
    (json_reply({"prompt_id": 3}), UnexpectedReply),
]


@pytest.mark.parametrize(("reply", "kind"), CLOUD_REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
async def test_each_refusal_of_comfy_cloud_is_an_error_of_its_own(reply: bytes, kind: type[ComfyError]) -> None:
    async with answering({"POST /api/prompt ": reply}) as standing, server_at(standing.url, "cloud") as server:
        with pytest.raises(kind) as told:
            await server.queue_prompt(image_prompt(), prompt_id="k", front=False, workflow=None)
        assert told.value.next_step
        assert KEY not in str(told.value)
    assert len(standing.requests) == 1


async def test_comfy_cloud_gets_nothing_but_what_its_own_client_sends_and_our_mark() -> None:
    receipt = json_reply({"prompt_id": "theirs", "number": 1, "node_errors": {}})
    async with answering({"POST /api/prompt ": receipt}) as standing, server_at(standing.url, "cloud") as server:
        queued = await server.queue_prompt(image_prompt(), prompt_id="ours", front=False, workflow={"nodes": []})
    assert queued.prompt_id == "theirs"
    head, _, body = standing.requests[0].partition(b"\r\n\r\n")
    assert f"x-api-key: {KEY}".encode() in head.lower()
    sent = json.loads(body)
    assert set(sent) == {"prompt", "client_id", "extra_data"}
    assert sent["extra_data"] == {"comfyui_api_run": "ours", "extra_pnginfo": {"workflow": {"nodes": []}}}


async def test_the_key_for_partner_nodes_goes_along_only_where_credits_are_spent() -> None:
    receipts = {
        "POST /prompt ": json_reply({"prompt_id": "id", "number": 1, "node_errors": {}}),
        "POST /api/prompt ": json_reply({"prompt_id": "id", "number": 1, "node_errors": {}}),
        "POST /api/v2/jobs ": json_reply({"id": "id", "status": "queued"}, "201 Created"),
    }
    for kind in ("local", "cloud", "v2"):
        async with answering(receipts) as standing, server_at(standing.url, kind, partner_key="partner-key") as server:
            for spends in (False, True):
                await server.queue_prompt(
                    image_prompt(), prompt_id="k", front=False, workflow=None, spends_credits=spends
                )
        sent = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in standing.requests]
        keys = [body.get("extra_data", {}).get("api_key_comfy_org") for body in sent]
        assert keys == [None, "partner-key"], kind


async def test_api_v2_gets_a_bearer_token_and_our_id_as_the_key_that_counts_once() -> None:
    receipt = json_reply({"id": "theirs", "status": "queued"}, "201 Created")
    async with answering({"POST /api/v2/jobs ": receipt}) as standing, server_at(standing.url, "v2") as server:
        await server.queue_prompt(image_prompt(), prompt_id="ours", front=False, workflow={"nodes": []})
    head, _, body = standing.requests[0].partition(b"\r\n\r\n")
    assert f"authorization: bearer {KEY}".encode() in head.lower().replace(KEY.lower().encode(), KEY.encode())
    assert b"idempotency-key: ours" in head.lower()
    assert set(json.loads(body)) == {"workflow"}


@pytest.mark.parametrize("kind", ["cloud", "v2"])
@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "file:///etc/passwd", "//", "ftp://storage.example/x", "http://[", "https://"],
)
async def test_a_file_is_fetched_from_addresses_on_the_web_only(kind: str, target: str) -> None:
    moved = http_reply("302 Found", "", "text/plain", [f"Location: {target}"])
    answers = {"GET /api/view": moved, "GET /api/v2/assets/": moved}
    async with answering(answers) as standing, server_at(standing.url, kind) as server:
        with pytest.raises((UnexpectedReply, FileGone)):
            async with server.view("a.png", "", "output", "asset-id"):
                pass


@settings(deadline=None)  # each makes a client, and a busy machine is slow at that
@given(st.text(max_size=40) | st.builds("https://{}".format, st.text(max_size=20)))
def test_no_redirect_of_a_server_is_more_than_an_address_or_none(target: str) -> None:
    cloud = CloudServer("https://cloud.example.org", timeout=5)
    try:
        assert cloud._storage_address(target).startswith("https://")
    except UnexpectedReply as exc:
        assert len(target) < 5 or target not in str(exc)


def test_a_public_server_does_not_send_us_to_machines_of_our_own_network() -> None:
    cloud = CloudServer("https://cloud.example.org", timeout=5)
    for target in ("https://127.0.0.1/x", "https://192.168.1.4/x", "https://localhost/x", "http://storage.example/x"):
        with pytest.raises(UnexpectedReply) as told:
            cloud._storage_address(target)
        assert target not in str(told.value)
    assert cloud._storage_address("https://storage.example/x?signature=1") == "https://storage.example/x?signature=1"


async def test_the_address_in_the_storage_is_a_secret_and_gets_none_of_ours() -> None:
    async with answering({"GET /": http_reply("403 Forbidden", "signature=deadbeef is wrong")}) as storage:
        moved = http_reply("302 Found", "", "text/plain", [f"Location: {storage.url}/b/x.png?signature=deadbeef"])
        async with answering({"GET /api/view": moved}) as standing, server_at(standing.url, "cloud") as server:
            with pytest.raises(FileGone) as told:
                async with server.view("x.png", "", "output"):
                    pass
        assert "deadbeef" not in str(told.value)
        assert all(KEY.encode() not in request for request in storage.requests)


async def test_a_run_that_looks_lost_between_queue_and_history_is_looked_at_again() -> None:
    """comfy-api-proxy asks the history before the queue."""
    replies = iter([{"id": "r", "status": "expired"}, {"id": "r", "status": "succeeded", "outputs": []}])

    class Changing(Answering):
        async def handle(self, stream: SocketStream) -> None:
            self.answers = {"GET /api/v2/jobs/r ": json_reply(next(replies, {"status": "succeeded"}))}
            await super().handle(stream)

    standing = Changing({})
    async with await listening() as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, standing.handle)
        async with server_at(address(listener), "v2") as server:
            assert (await server.look("r")).state == "completed"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["cloud", "v2"])
async def test_ids_of_others_lead_to_no_other_route(kind: str) -> None:
    async with answering({}) as standing, server_at(standing.url, kind) as server:
        for hostile in ("../../users", "a/../../b", "x?y=z", "..", "x#y", "\u202e"):
            assert (await server.look(hostile)).state == "gone"
            await server.cancel(hostile)
    for request in standing.requests:
        path = request.split(b" ", 2)[1]
        assert path.startswith((b"/api/jobs/", b"/api/v2/jobs/", b"/api/history_v2/"))
        assert b".." not in path
        assert b"?" not in path


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("cloud", json_reply({"code": "BAD_REQUEST", "message": "no UUID"}, "400 Bad Request")),
        ("cloud", json_reply({"error": {"type": "bad", "message": "no UUID"}}, "400 Bad Request")),
        ("v2", envelope("400 Bad Request", "invalid_request")),
        ("v2", envelope("422 Unprocessable", "invalid_request")),
        ("v2", http_reply("410 Gone", "")),
    ],
)
async def test_an_id_that_cannot_be_one_is_a_run_that_is_not_there(kind: str, reply: bytes) -> None:
    answers = {"GET /api/": reply, "POST /api/": reply}
    async with answering(answers) as standing, server_at(standing.url, kind) as server:
        assert (await server.look("run-7")).state == "gone"
        await server.cancel("run-7")


async def test_what_a_read_is_told_to_wait_for_is_a_number_or_a_date_and_bounded() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    for header in ("0", "0.2", soon):
        replies = iter([json_reply({}, "429 Too Many", f"Retry-After: {header}"), json_reply({"jobs": []})])

        class Busy(Answering):
            async def handle(self, stream: SocketStream, replies: Any = replies) -> None:
                self.answers = {"GET /api/jobs": next(replies)}
                await super().handle(stream)

        busy_server = Busy({})
        async with await listening() as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, busy_server.handle)
            async with server_at(address(listener), "cloud") as server:
                with anyio.fail_after(5):
                    assert (await server.queue()).running == ()
            tasks.cancel_scope.cancel()
    for header in ("86400", "-1", "nan", "inf", "tomorrow", "1e999"):
        reply = json_reply({}, "429 Too Many", f"Retry-After: {header}")
        async with answering({"POST /api/prompt ": reply}) as standing, server_at(standing.url, "cloud") as server:
            with pytest.raises(ComfyBusy) as told:
                await server.queue_prompt(image_prompt(), prompt_id="k", front=False, workflow=None)
            assert told.value.retry_after in (None, 86400)


def test_each_kind_of_server_has_its_dialect() -> None:
    kinds: dict[str, Callable[[ComfyServer], bool]] = {
        "local": lambda server: type(server) is ComfyClient,
        "cloud": lambda server: isinstance(server, CloudServer),
        "v2": lambda server: isinstance(server, V2Server),
    }
    for kind, is_right in kinds.items():
        server, _ = open_server("http://127.0.0.1:1", Access(kind=kind), timeout=5)  # type: ignore[arg-type]
        assert is_right(server)


@pytest.mark.parametrize("kind", ["cloud", "v2"])
async def test_what_a_dialect_lacks_is_said_before_anything_is_sent(kind: str) -> None:
    async with answering({}) as standing, server_at(standing.url, kind) as server:
        with pytest.raises(NotOffered):
            await server.free(unload_models=True, free_memory=True)
        with pytest.raises(NotOffered):
            await server.queue_prompt(image_prompt(), prompt_id="k", front=True, workflow=None)
        assert await server.startup_log() is None
        assert await server.manager_packs(["A"]) is None
        assert await server.node_replacements() == {}
    assert standing.requests == []


async def test_a_v2_server_without_a_list_says_so_and_finds_nothing_by_it() -> None:
    answers = {"GET /api/v2/jobs?": http_reply("405 Method Not Allowed", "")}
    async with answering(answers) as standing, server_at(standing.url, "v2") as server:
        with pytest.raises(NotOffered):
            await server.queue()
        with pytest.raises(NotOffered):
            await server.find_sent("k", image_prompt(), 0.0, set())


async def test_of_two_equal_runs_neither_is_taken_for_ours() -> None:
    prompt = image_prompt()
    jobs = {"jobs": [{"id": each, "status": "queued", "created_at": "2030-01-01T00:00:00Z"} for each in "ab"]}
    answers = {
        "GET /api/v2/jobs?": json_reply(jobs),
        "GET /api/v2/jobs/": json_reply({"workflow": prompt, "format": "api"}),
    }
    async with answering(answers) as standing, server_at(standing.url, "v2") as server:
        assert await server.find_sent("k", prompt, 0.0, set()) is None
        assert await server.find_sent("k", prompt, 0.0, {"a"}) == "b"


# Through the tools, against a server whose answers are written down


def user_of(home: Path, url: str, kind: str) -> dict[str, str]:
    file = settings_file(home).parent / "servers.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[there]\nurl = "{url}"\nkind = "{kind}"\nkey = {{ env = "THERE_KEY" }}\n')
    return environment_for(home, "there", THERE_KEY=KEY)


class Scripted(Answering):
    """`script` makes an answer out of (method and path, body), and may change its mind."""

    def __init__(self, script: Callable[[str, bytes], bytes | None]) -> None:
        super().__init__({})
        self._script = script

    async def handle(self, stream: SocketStream) -> None:
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                received += await stream.receive()
            head, _, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            while length and len(body) < int(length[1]):
                body += await stream.receive()
            line = " ".join(head.decode().split(" ", 2)[:2])
            self.requests.append(line.encode())
            reply = self._script(line, body)
            if reply is not None:  # else the connection breaks
                await stream.send(reply)


@asynccontextmanager
async def scripted(script: Callable[[str, bytes], bytes | None]) -> AsyncIterator[Scripted]:
    standing = Scripted(script)
    async with await listening() as listener, anyio.create_task_group() as tasks:
        standing.url = address(listener)
        tasks.start_soon(listener.serve, standing.handle)
        yield standing
        tasks.cancel_scope.cancel()


NOT_FOUND = envelope("404 Not Found", "not_found")


async def test_a_v2_server_that_lists_nothing_is_online_and_our_own_runs_are_listed(home: Path) -> None:
    def script(line: str, body: bytes) -> bytes | None:
        if line == "POST /api/v2/jobs":
            return json_reply({"id": "run-1", "status": "queued"}, "201 Created")
        if line == "GET /api/v2/jobs/run-1":
            return json_reply({"id": "run-1", "status": "running", "progress": {"value": 0.5, "current_node": "2"}})
        return NOT_FOUND

    async with scripted(script) as standing, agent(user_of(home, standing.url, "v2")) as user:
        status = await user.call("check_status")
        assert status["online"]
        assert "queue" not in status
        assert "comfyui_version" not in status
        queued = await user.call("queue_workflow", workflow=image_prompt())
        assert queued["prompt_id"] == "run-1"
        listed = await user.call("list_jobs")
        assert [job["prompt_id"] for job in listed["running"]] == ["run-1"]
        assert "does not list its runs" in listed["message"]
        polled = await user.call("poll_result", prompt_id="run-1", wait_seconds=0)
        assert polled["progress"]["percent"] == 50.0
        assert (await user.fail("interrupt", everything=True)).startswith("not_offered")


UNTOLD = "does not tell which node classes it has"
UI = {"nodes": [{"id": 1, "type": "SaveImage", "inputs": [], "widgets_values": ["x"]}], "links": [], "version": 0.4}

UNTOLD_TO: list[tuple[str, dict[str, Any]]] = [
    ("validate_workflow", {"workflow": image_prompt()}),
    ("validate_workflow", {"workflow": "ui.json"}),
    ("save_workflow", {"workflow": "ui.json", "format": "api"}),
    ("queue_workflow", {"workflow": "ui.json", "inputs": {"1.filename_prefix": "y"}}),
    ("find_nodes", {"query": "image"}),
    ("find_nodes", {"class_type": "SaveImage"}),
    ("find_models", {"query": "sd"}),
]
NOT_DONE: list[tuple[str, dict[str, Any], str]] = [
    ("save_workflow", {"workflow": "ui.json", "on_server": True}, "keeps no workflows"),
    ("validate_workflow", {"workflow": "server:x"}, "saved workflows"),
    ("free_vram", {}, "looks after its memory itself"),
    ("interrupt", {"everything": True}, "nothing was stopped"),
]


async def test_what_a_v2_server_without_an_inventory_cannot_tell_is_said_in_every_tool(home: Path) -> None:
    def script(line: str, body: bytes) -> bytes | None:
        return NOT_FOUND

    (home / "ui.json").write_text(json.dumps(UI))
    async with scripted(script) as standing, agent(user_of(home, standing.url, "v2")) as user:
        for tool, arguments in UNTOLD_TO:
            told = await user.fail(tool, **arguments)
            assert told.startswith("not_offered"), (tool, told)
            assert UNTOLD in told
            assert "as `inventory` of this server" in told
        with pytest.raises(MCPError, match=UNTOLD):
            await user.client.read_resource("comfyui://inventory")
        assert (await user.call("find_models", query="sd", installed=False))["models"]
        listed = await user.call("find_templates", query="sdxl")
        assert listed["templates"]
        assert UNTOLD in listed["message"]
        assert (await user.call("save_workflow", workflow="ui.json"))["format"] == "ui"
        saved = await user.call("queue_workflow", workflow="ui.json")
        assert saved["status"] == "saved_offline"
        assert UNTOLD in saved["message"]
        assert "No ComfyUI" not in saved["message"]
        for tool, arguments, words in NOT_DONE:
            told = await user.fail(tool, **arguments)
            assert told.startswith("not_offered"), (tool, told)
            assert words in told
        assert "does not list its runs" in (await user.call("list_jobs"))["message"]


def comfyui_behind(script: Callable[[str, bytes], bytes | None] | None = None) -> Callable[[str, bytes], bytes | None]:
    """A ComfyUI that has two classes, by its answers."""
    classes = {"SaveImage": {"input": {"required": {"filename_prefix": ["STRING", {}]}}, "output_node": True}}
    system = {"os": "posix", "comfyui_version": "0.33.0", "python_version": "3", "pytorch_version": "2"}

    def answer(line: str, body: bytes) -> bytes | None:
        path = line.split(" ")[1].removeprefix("/api")
        if path == "/object_info":
            return json_reply(classes)
        if path.startswith("/object_info/"):
            return json_reply({})
        if path == "/system_stats":
            return json_reply({"system": system, "devices": []})
        if path in ("/models", "/experiment/models", "/embeddings"):
            return json_reply([])
        if path == "/queue":
            return json_reply({"queue_running": [], "queue_pending": []})
        return script(line, body) if script is not None else NOT_FOUND

    return answer


async def test_an_inventory_is_the_name_of_another_server_with_its_way_in(home: Path) -> None:
    async with (
        answering(
            {"GET /object_info ": json_reply({"A": {"input": {}}}), "GET /system_stats ": json_reply({"system": {}})}
        ) as behind,
        scripted(lambda line, body: NOT_FOUND) as standing,
    ):
        environment = user_of(home, standing.url, "v2")
        file = settings_file(home).parent / "servers.toml"
        gate = f'[gate]\nurl = "{behind.url}"\ntoken = {{ env = "GATE" }}\n'
        file.write_text(f'{file.read_text()}inventory = "gate"\n{gate}')
        async with agent(environment | {"GATE": "token-of-the-gate-1"}) as user:
            assert (await user.call("check_status"))["inventory"]["node_classes"] == 1
        heads = [request.partition(b"\r\n\r\n")[0] for request in behind.requests]
        assert all(KEY.encode() not in head for head in heads)
        asked = [head for head in heads if head.startswith(b"GET /object_info ")]
        assert asked
        assert all(b"Bearer token-of-the-gate-1" in head for head in asked)


@pytest.mark.parametrize("own", [True, False], ids=["the user's", "the working folder's"])
async def test_the_file_of_an_inventory_stands_beside_the_servers_that_name_it(
    home: Path, tmp_path: Path, *, own: bool
) -> None:
    folder = settings_file(home).parent if own else home
    folder.mkdir(exist_ok=True)
    (folder / "saved").mkdir()
    (folder / "saved" / "classes.json").write_text(json.dumps({"A": {"input": {}}, "B": {"input": {}}}))
    async with scripted(lambda line, body: NOT_FOUND) as standing:
        entry = f'[there]\nurl = "{standing.url}"\nkind = "v2"\ninventory = "{{}}"\n'
        (folder / "servers.toml").write_text(entry.format("saved/classes.json"))
        async with agent(environment_for(home, "there")) as user:
            assert (await user.call("check_status"))["inventory"]["node_classes"] == 2
        (folder / "servers.toml").write_text(entry.format("saved/none.json"))
        async with agent(environment_for(home, "there")) as user:
            status = await user.call("check_status", refresh_inventory=True)
            assert status["online"]
            assert f"{folder / 'saved' / 'none.json'} is no file" in status["notes"][0]
        (tmp_path / "outside.json").write_text("{}")
        (folder / "servers.toml").write_text(entry.format(tmp_path / "outside.json"))
        async with agent(environment_for(home, "there")) as user:
            if own:
                assert (await user.call("check_status"))["online"]
            else:
                assert (await user.fail("check_status")).startswith("not_permitted")


async def test_an_inventory_that_tells_no_classes_either_is_refused(home: Path) -> None:
    async with scripted(lambda line, body: NOT_FOUND) as standing:
        environment = user_of(home, standing.url, "v2")
        file = settings_file(home).parent / "servers.toml"
        file.write_text(
            f'{file.read_text()}inventory = "b"\n[b]\nurl = "http://127.0.0.1:8"\nkind = "v2"\ninventory = "there"\n'
        )
        async with agent(environment) as user:
            assert "is an API v2 too" in await user.fail("check_status")


@pytest.mark.parametrize("kind", ["local", "v2"])
async def test_where_the_ui_graph_does_not_travel_that_is_said(home: Path, kind: str) -> None:
    def script(line: str, body: bytes) -> bytes | None:
        if line.startswith("POST"):
            return json_reply({"id": "run-1", "status": "queued", "prompt_id": "run-1", "number": 1, "node_errors": {}})
        return NOT_FOUND

    (home / "ui.json").write_text(json.dumps(UI))
    async with scripted(comfyui_behind(script)) as standing, agent(user_of(home, standing.url, kind)) as user:
        queued = await user.call("queue_workflow", workflow="ui.json")
        assert queued["status"] == "queued", queued
        assert ("takes no UI graph along" in queued["message"]) == (kind == "v2")
        queued = await user.call("queue_workflow", workflow=(home / "ui.json").read_text(), inputs={})
        prompt = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
        assert "UI graph" not in (await user.call("queue_workflow", workflow=prompt))["message"]


@pytest.mark.parametrize("events", ["501 Not Implemented", "404 Not Found", "429 Too Many"])
async def test_without_events_a_run_is_followed_by_asking(home: Path, events: str) -> None:
    asked = 0

    def script(line: str, body: bytes) -> bytes | None:
        nonlocal asked
        if line == "POST /api/v2/jobs":
            return json_reply({"id": "run-1", "status": "queued"}, "201 Created")
        if line.endswith("/events"):
            return envelope(events, {"5": "not_implemented", "4": "too_many_streams"}.get(events[0], "x"))
        if line == "GET /api/v2/jobs/run-1":
            asked += 1
            return json_reply({"id": "run-1", "status": "running" if asked < 4 else "succeeded", "outputs": []})
        return NOT_FOUND

    async with scripted(script) as standing, agent(user_of(home, standing.url, "v2")) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt())
        with anyio.fail_after(40):
            ended = await user.finish(queued["prompt_id"])
        assert ended["state"] == "completed"
        tries = sum(request.endswith(b"/events") for request in standing.requests)
        assert tries <= (1 if "501" in events else 12)


async def test_the_second_of_two_equal_runs_is_not_taken_for_the_first(home: Path) -> None:
    """Its answer was lost, and it was never there: the one run that looks like it is known already."""
    posts = 0
    prompt = image_prompt()

    def script(line: str, body: bytes) -> bytes | None:
        nonlocal posts
        if line == "POST /api/v2/jobs":
            posts += 1
            if posts == 1:
                return json_reply({"id": "run-1", "status": "queued"}, "201 Created")
            return envelope("503 Unavailable", "upstream_unreachable") if posts == 2 else V2_REFUSALS[3][0]
        if line.startswith("GET /api/v2/jobs?"):
            return json_reply({"jobs": [{"id": "run-1", "status": "queued", "created_at": "2030-01-01T00:00:00Z"}]})
        if line == "GET /api/v2/jobs/run-1/workflow":
            return json_reply({"workflow": prompt, "format": "api"})
        if line == "GET /api/v2/jobs/run-1":
            return json_reply({"id": "run-1", "status": "queued"})
        return NOT_FOUND

    async with scripted(script) as standing, agent(user_of(home, standing.url, "v2")) as user:
        answer = await user.call("queue_workflow", workflow=prompt, variations=[{}, {}])
        assert answer["status"] == "partly_queued"
        assert answer["prompt_ids"] == ["run-1"]
        assert "cannot be told" in answer["message"]


async def test_what_was_unsure_is_found_by_its_mark_when_it_is_asked_for_again(home: Path) -> None:
    sent: dict[str, Any] = {}
    down = True

    def script(line: str, body: bytes) -> bytes | None:
        if line == "POST /api/prompt":
            sent.update(json.loads(body))
            return None
        if down and line.startswith("GET /api/jobs"):
            return None
        job = {"id": "theirs", "status": "in_progress", "create_time": 4_000_000_000}
        if line.startswith("GET /api/jobs?"):
            return json_reply({"jobs": [job], "pagination": {}})
        if line == "GET /api/jobs/theirs":
            return json_reply({**job, "workflow": {"prompt": {}, "extra_data": sent["extra_data"]}})
        return json_reply({"code": "NOT_FOUND", "message": "no"}, "404 Not Found")

    async with scripted(script) as standing, agent(user_of(home, standing.url, "cloud")) as user:
        told = await user.fail("queue_workflow", workflow=image_prompt())
        assert "cannot be told" in told
        down = False
        ours = sent["extra_data"]["comfyui_api_run"]
        polled = await user.call("poll_result", prompt_id=ours, wait_seconds=0)
        assert polled["state"] == "gone"
        assert "poll_result('theirs')" in polled["message"]
        assert (await user.call("poll_result", prompt_id="theirs", wait_seconds=0))["state"] == "running"
    assert sum(request == b"POST /api/prompt" for request in standing.requests) == 1


async def test_an_address_without_the_api_is_said_at_once(home: Path) -> None:
    async with scripted(lambda line, body: http_reply("404 Not Found", "nothing")) as standing:
        async with agent(user_of(home, standing.url, "v2")) as user:
            told = await user.fail("queue_workflow", workflow=image_prompt())
            assert "cannot be told" not in told
        assert sum(request == b"POST /api/v2/jobs" for request in standing.requests) == 1


@pytest.mark.parametrize("after", ["5", "0"])
async def test_a_run_of_a_server_that_is_asked_too_often_is_not_told_as_silence(home: Path, after: str) -> None:
    def script(line: str, body: bytes) -> bytes | None:
        return json_reply({"message": "slow down please"}, "429 Too Many", f"Retry-After: {after}")

    async with scripted(script) as standing, agent(user_of(home, standing.url, "cloud")) as user:
        polled = await user.call("poll_result", prompt_id="run-1", wait_seconds=0)
    assert "too busy" in polled["message"]
    assert "slow down please" in polled["error"]["message"]
    when = "in 5 s" if after == "5" else "in a little while"
    assert when in polled["error"]["remedy"]
    assert when in polled["message"]


@pytest.mark.parametrize(("kind", "words"), [("cloud", "Check the way to it"), ("v2", "the deployment or proxy")])
async def test_a_server_of_another_kind_that_is_away_is_not_spoken_of_as_a_comfyui(
    home: Path, kind: str, words: str
) -> None:
    async with agent(user_of(home, "http://127.0.0.1:9", kind)) as user:
        polled = await user.call("poll_result", prompt_id="run-1", wait_seconds=0)
    assert polled["state"] == "unreachable"
    assert "in memory" not in polled["message"]
    assert "may go on there" in polled["message"]
    assert words in polled["error"]["remedy"]
    assert "Start ComfyUI" not in polled["error"]["remedy"]


async def test_the_address_of_an_api_v2_may_have_its_path(home: Path) -> None:
    def script(line: str, body: bytes) -> bytes | None:
        if line == "GET /api/v2/jobs/run-1":
            return json_reply({"id": "run-1", "status": "running"})
        return NOT_FOUND

    async with scripted(script) as standing:
        environment = user_of(home, f"{standing.url}/api/v2", "v2")
        file = settings_file(home).parent / "servers.toml"
        file.write_text(f'{file.read_text()}inventory = "{standing.url}/api/v2"\n')
        async with agent(environment) as user:
            assert (await user.call("poll_result", prompt_id="run-1", wait_seconds=0))["state"] == "running"
            assert (await user.call("check_status"))["online"]
    assert all(b"/api/v2/api" not in request for request in standing.requests)


@pytest.mark.parametrize("told_by", ["server", "file"])
async def test_a_verdict_by_the_inventory_of_an_api_v2_says_of_what(home: Path, told_by: str) -> None:
    async with scripted(comfyui_behind()) as behind, scripted(lambda line, body: NOT_FOUND) as standing:
        environment = user_of(home, standing.url, "v2")
        file = settings_file(home).parent / "servers.toml"
        (file.parent / "classes.json").write_text(json.dumps({"A": {"input": {}}}))
        where = behind.url if told_by == "server" else "classes.json"
        file.write_text(f'{file.read_text()}inventory = "{where}"\n')
        async with agent(environment) as user:
            checked = (await user.call("validate_workflow", workflow=image_prompt()))["checked"]
    assert f"of {where}, the inventory of {standing.url}" in checked[0]


STREAMS = {
    "no events at all": b"<html>not a stream</html>",
    "half an event": b'event: progress\ndata: {"value": 0.',
    "what is no JSON": b"event: progress\ndata: [1,\n\nevent: status\ndata: nothing\n\n",
    "no text": b"event: status\ndata: \xff\xfe\n\n",
    "an event without an end": b"data: " + b"x" * (13 * 2**20),
    "events of other kinds": b'event: status\ndata: ["succeeded"]\n\nevent: preview\ndata: {"data_base64": "%%%"}\n\n',
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
async def test_no_stream_of_events_keeps_a_run_from_being_followed(home: Path, stream: bytes) -> None:
    streams = 0

    def script(line: str, body: bytes) -> bytes | None:
        nonlocal streams
        if line == "POST /api/v2/jobs":
            return json_reply({"id": "run-1", "status": "queued"}, "201 Created")
        if line.endswith("/events"):
            streams += 1
            return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + stream
        if line == "GET /api/v2/jobs/run-1":
            return json_reply({"id": "run-1", "status": "running" if streams < 2 else "succeeded", "outputs": []})
        return NOT_FOUND

    async with scripted(script) as standing, agent(user_of(home, standing.url, "v2")) as user:
        queued = await user.call("queue_workflow", workflow=image_prompt())
        with anyio.fail_after(40):
            assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
