"""What the tests share: a real MCP client, a proxy that makes faults between us and the server, a hostile server."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import TextContent

from comfyui_api.app import build_server

DATA = Path(__file__).parent / "data"
Prompt = dict[str, Any]


def environment_for(home: Path, url: str, **more: str) -> dict[str, str]:
    """The environment of a user whose working folder is `home`: nothing of the machine's own settings counts."""
    config = settings_file(home)
    return {"COMFYUI_API_HOME": str(home), "COMFYUI_URL": url, "COMFYUI_API_CONFIG": str(config), **more}


def settings_file(home: Path) -> Path:
    """The settings file of that user, beside which servers.toml stands. It does not exist until a test writes it."""
    return home.parent / "config" / "settings.toml"


@dataclass
class Agent:
    """An MCP client as agents use it."""

    client: Client
    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Structured content of a call that must succeed."""
        answer = await self.client.call_tool(tool, arguments, progress_callback=self._on_progress)
        text = answer.content[0].text if isinstance(answer.content[0], TextContent) else ""
        assert not answer.is_error, text
        structured = answer.structured_content
        assert isinstance(structured, dict)
        assert structured == json.loads(text), "text and structured content differ"
        return structured

    async def fail(self, tool: str, **arguments: Any) -> str:
        """The error text of a call that must fail."""
        answer = await self.client.call_tool(tool, arguments)
        assert answer.is_error, answer.structured_content
        assert isinstance(answer.content[0], TextContent)
        text = answer.content[0].text
        assert "Traceback" not in text
        return text

    async def finish(self, prompt_id: str) -> dict[str, Any]:
        """Poll until the run has ended."""
        with anyio.fail_after(120):
            while True:
                result = await self.call("poll_result", prompt_id=prompt_id, wait_seconds=30)
                if result["state"] not in ("queued", "running"):
                    return result

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total, message))


@asynccontextmanager
async def agent(environment: dict[str, str], mode: str = "auto") -> AsyncIterator[Agent]:
    """A real client of a server in this process."""
    with unwrapped():
        async with Client(build_server(environment), mode=mode) as client:
            yield Agent(client)


@asynccontextmanager
async def stdio_agent(environment: dict[str, str], mode: str = "auto") -> AsyncIterator[Agent]:
    """A real client of a server in a process of its own, over standard input and output."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "comfyui_api", "serve"], env={**os.environ, **environment}
    )
    with unwrapped():
        async with Client(server, mode=mode) as client:
            yield Agent(client)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Task groups wrap what a test raises inside of them: here it comes out as it was."""
    try:
        yield
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
        raise inner from None


@dataclass
class Proxy:
    """A TCP proxy before a real server. `fault` looks at each request's head and may name what goes wrong with it:

    `lose_reply`: the server gets the request, the client no answer; `lose_request`: the connection is cut before the
    server sees it; `hold`: nothing ever comes back; None: all is well.
    """

    target: tuple[str, int]
    url: str = ""
    fault: Callable[[bytes], str | None] = lambda _: None
    seen: list[bytes] = field(default_factory=list)
    replace_reply: tuple[bytes, bytes] | None = None
    """(start of a request's head, what the client gets instead of the server's answer to it)."""

    async def serve(self, *, task_status: Any) -> None:
        async with await listening() as listener:
            self.url = address(listener)
            task_status.started()
            await listener.serve(self._connection)

    async def _connection(self, client: SocketStream) -> None:
        async with client:
            try:
                server = await anyio.connect_tcp(*self.target)
            except OSError:
                return
            async with server, anyio.create_task_group() as tasks:
                state: dict[str, str | None] = {"fault": None}
                tasks.start_soon(self._upstream, client, server, state, tasks)
                tasks.start_soon(self._downstream, server, client, state, tasks)

    async def _upstream(
        self, client: SocketStream, server: SocketStream, state: dict[str, str | None], tasks: Any
    ) -> None:
        try:
            async for chunk in client:
                head = chunk.split(b"\r\n", 1)[0]
                if head.endswith(b"HTTP/1.1"):
                    self.seen.append(head)
                    replaced = self.replace_reply is not None and head.startswith(self.replace_reply[0])
                    state["fault"] = "replace" if replaced else self.fault(head)
                    if state["fault"] == "lose_request":
                        break
                await server.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        tasks.cancel_scope.cancel()

    async def _downstream(
        self, server: SocketStream, client: SocketStream, state: dict[str, str | None], tasks: Any
    ) -> None:
        try:
            async for chunk in server:
                if state["fault"] == "lose_reply":
                    break
                if state["fault"] == "replace" and self.replace_reply is not None:
                    await client.send(self.replace_reply[1])
                    break
                if state["fault"] != "hold":
                    await client.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    host, port = url.removeprefix("http://").split(":")
    standing = Proxy((host, int(port)))
    async with anyio.create_task_group() as tasks:
        await tasks.start(standing.serve)
        yield standing
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def answering(reply: bytes | Callable[..., Awaitable[None]]) -> AsyncIterator[str]:
    """A little server that answers everything with the same bytes, whatever they are, or as a function of the stream
    (and the request's head) does. Yields its URL."""

    async def handle(stream: SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with stream:
                head = await _read_request(stream)
                if not callable(reply):
                    await stream.send(reply)
                elif len(inspect.signature(reply).parameters) > 1:
                    await reply(stream, head)
                else:
                    await reply(stream)

    async with await listening() as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield address(listener)
        tasks.cancel_scope.cancel()


async def _read_request(stream: SocketStream) -> bytes:
    """Read one request to its end: who answers earlier and hangs up may have the answer lost on its way."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += await stream.receive()
    return head


async def listening() -> MultiListener[SocketStream]:
    return await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)


def address(listener: MultiListener[SocketStream]) -> str:
    """The URL of a listener on this machine."""
    place = listener.extra(SocketAttribute.local_address)
    assert isinstance(place, tuple)
    return f"http://127.0.0.1:{place[1]}"


def http_reply(status: str, body: str, content_type: str = "text/plain", extra: Sequence[str] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*lines, *extra, "Connection: close", "", body]).encode()


def image_prompt(prefix: str = "test", color: int = 0x336699, size: int = 64) -> Prompt:
    """The smallest prompt that makes a picture without any model."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": size, "height": size, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }
