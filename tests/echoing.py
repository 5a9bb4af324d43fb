"""A hostile server: it repeats what it was sent, head and query, wherever a server can put a text."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha1
from typing import Any
from urllib.parse import unquote

import anyio
from anyio.abc import SocketStream

from tests.support import address, http_reply, listening

RUN = "0f9a8b7c-1111-4222-8333-444455556666"
STATUSES = ("400", "401", "402", "403", "404", "413", "422", "429", "500", "502", "503")
# How the whole server behaves: by a status, or else.
MANNERS = (
    *STATUSES,
    "works",
    "packed",
    "redirect",
    "page",
    "text",
    "broken head",
    "cut off",
    "rejects",
    "fails inside",
    "runs on",
)


class Echoing:
    """`manner` may be changed between requests. `told` collects what came, so that a test knows that it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.manner = "works"
        self.told: list[str] = []

    async def answer(self, stream: SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with stream:
                head, body = await _request(stream)
                self.told.append(head + body)
                path = head.split(" ")[1].partition("?")[0]
                if "sec-websocket-key" in head.casefold() and self.manner in ("works", "fails inside", "runs on"):
                    await _events(stream, head)
                else:
                    await stream.send(self._reply(path, head, body))

    def _reply(self, path: str, head: str, body: str) -> bytes:
        # As it came, decoded, and the credentials by themselves, as a server logs them.
        echo = f"{head} {unquote(head)} {body}"
        value = re.search(r"(?im)^(?:authorization|x-api-key|x-token): *(.*)$", head)
        challenge = value[1].strip() if value else "none"
        match self.manner:
            case "works" | "fails inside" | "runs on" | "packed":
                content = json.dumps(_works(path, echo, self.manner))
                if self.manner != "packed":
                    return http_reply("200 OK", content, "application/json", [f"X-Echo: {challenge}"])
                packed = gzip.compress(content.encode())
                start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(packed)}\r\n"
                return f"{start}Content-Encoding: gzip\r\nConnection: close\r\n\r\n".encode() + packed
            case "rejects":
                error = {"type": "invalid_prompt", "message": echo, "details": echo, "extra_info": {"node_id": "1"}}
                node = {"errors": [error], "dependent_outputs": [echo], "class_type": echo}
                return http_reply("400 Bad", json.dumps({"error": error, "node_errors": {"1": node}}))
            case "redirect":
                return http_reply("302 Found", echo, extra=[f"Location: /login/{challenge}?{challenge}"])
            case "page":
                return http_reply("200 OK", f"<html><title>{echo}</title><body>{echo}</body></html>", "text/html")
            case "text":
                return http_reply("200 OK", echo)
            case "broken head":
                return f"HTTP/1.1 200 OK\r\n{challenge}\r\nno header\r\n\r\n".encode()
            case "cut off":
                return f"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{{{echo}".encode()
            case status:
                extra = [
                    f'WWW-Authenticate: Basic realm="{challenge}"',
                    f"Retry-After: {60 if status == '429' else challenge}",
                ]
                return http_reply(f"{status} {challenge}", json.dumps({"error": echo, "message": echo}), extra=extra)


def _works(path: str, echo: str, manner: str) -> Any:
    """ComfyUI's replies, with the echo as every text in them."""
    path = re.sub(r"^/(local|basic|cloud|v2)(?=/)", "", path).removeprefix("/api")
    if path == "/system_stats":
        device = {"name": echo, "type": echo, "index": 0, "vram_total": 8, "vram_free": 4}
        system = {"os": echo, "comfyui_version": echo, "python_version": echo, "pytorch_version": echo, "argv": [echo]}
        return {"system": system, "devices": [device]}
    if path.startswith("/object_info"):
        options = {"text": ["STRING", {"default": echo, "tooltip": echo}], "choice": [[echo, "a"], {}]}
        entry = {"input": {"required": options}, "output": ["IMAGE"], "output_node": True, "name": echo}
        return {
            "Echo": {**entry, "display_name": echo, "description": echo, "python_module": "nodes", "category": echo}
        }
    if path.startswith(("/models", "/experiment/models", "/embeddings")):
        return [echo.replace("/", "_")]
    if path == "/queue":
        return {"queue_running": [_sent(echo)] if manner == "runs on" else [], "queue_pending": []}
    if path == "/prompt":
        return {"prompt_id": RUN, "number": 1, "node_errors": {}, "exec_info": {"queue_remaining": 0}}
    if path.startswith("/history"):
        if manner == "runs on":
            return {}
        return {path.rpartition("/")[2] if path.count("/") > 1 else RUN: _ended(echo, failed=manner == "fails inside")}
    if path == "/upload/image":
        return {"name": f"{echo[:40]}.png", "subfolder": echo, "type": "input"}
    if "/jobs" in path and path.rpartition("/")[2] != "jobs":
        error = {"message": echo, "exception_message": echo, "traceback": [echo], "node_type": echo}
        state = {"fails inside": "failed", "runs on": "in_progress"}.get(manner, "completed")
        return {"id": RUN, "status": state, "outputs": {"2": {"text": [echo]}}, "error": error, "name": echo}
    return {"echo": echo, "id": RUN, "prompt_id": RUN, "jobs": [], "log": echo, "entries": [{"m": echo, "t": echo}]}


def _sent(echo: str) -> list[Any]:
    """A run as the queue and the history have it."""
    prompt = {"1": {"class_type": "Echo", "inputs": {"text": echo, "choice": "a"}}}
    return [1, RUN, prompt, {"api_key_comfy_org": echo, "extra_pnginfo": {"workflow": {"echo": echo}}}, ["1"]]


def _ended(echo: str, *, failed: bool) -> dict[str, Any]:
    error = {"node_id": "1", "node_type": echo, "exception_message": echo, "exception_type": echo, "traceback": [echo]}
    messages: list[Any] = [["execution_start", {"prompt_id": RUN, "timestamp": 1}]]
    messages.append(
        ["execution_error", {**error, "current_inputs": {"text": [echo]}}] if failed else ["execution_success", {}]
    )
    status = {"status_str": "error" if failed else "success", "completed": not failed, "messages": messages}
    files = [{"filename": "echo.txt", "subfolder": "", "type": "output"}]
    return {
        "prompt": _sent(echo),
        "outputs": {"1": {"text": [echo], "images": files}},
        "status": status,
        "meta": {"1": {"display_node": echo}},
    }


async def _events(stream: SocketStream, head: str) -> None:
    """A WebSocket whose progress is at a node by the name of the echo."""
    key = re.search(r"(?im)^sec-websocket-key: *(\S+)", head)
    assert key is not None
    accept = b64encode(sha1(f"{key[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    await stream.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    told = {"node": head, "display_node": head, "value": 1, "max": 2, "prompt_id": RUN}
    for kind in ("status", "progress", "executing"):
        data = json.dumps({"type": kind, "data": told}).encode()
        await stream.send(bytes([0x81, 126]) + len(data).to_bytes(2, "big") + data)
    await anyio.sleep_forever()


async def _request(stream: SocketStream) -> tuple[str, str]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
        if received.startswith(b"\x16"):  # TLS, which is not spoken here
            await stream.send(http_reply("400 Bad", "no TLS"))
            raise anyio.EndOfStream
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += await stream.receive()
    return head.decode("latin-1"), body.decode("latin-1")


@asynccontextmanager
async def echoing() -> AsyncIterator[Echoing]:
    server = Echoing()
    async with await listening() as listener, anyio.create_task_group() as tasks:
        server.url = address(listener)
        tasks.start_soon(listener.serve, server.answer)
        yield server
        tasks.cancel_scope.cancel()
