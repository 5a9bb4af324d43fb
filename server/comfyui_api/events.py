"""ComfyUI's WebSocket: what happens to the runs, as it happens.

Events make following fast and give progress; what became of a run is always read from the queue and the history, since
a socket that opens late has missed what came before (COMFYUI.md; server.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx2

from comfyui_api.client import ComfyClient
from comfyui_api.runs import Progress

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 64 * 2**20
_ENDINGS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0


class Watch:
    """What the events tell of one run while somebody follows it."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._changed = anyio.Event()
        self._may_have_ended = False

    def notify(self, progress: Progress | None, *, may_have_ended: bool) -> None:
        if progress is not None and progress.finished_nodes is None and self.progress is not None:
            progress = replace(progress, finished_nodes=self.progress.finished_nodes)
        self.progress = progress or self.progress
        self._may_have_ended = self._may_have_ended or may_have_ended
        self._changed.set()

    async def changed(self, seconds: float) -> bool:
        """Wait for the next event, at most `seconds`. False where none came."""
        with anyio.move_on_after(seconds):
            await self._changed.wait()
        happened = self._changed.is_set()
        self._changed = anyio.Event()
        return happened

    def may_have_ended(self) -> bool:
        """Whether an event since the last question makes it worth asking the server where the run stands."""
        answer, self._may_have_ended = self._may_have_ended, False
        return answer


class EventStream:
    """The one WebSocket of this process to one server. `run` keeps it open, reopening it when it drops.

    A client id has one socket only: a second one would take the stream from the first.
    """

    def __init__(self, client: ComfyClient) -> None:
        self._client = client
        self._watches: dict[str, list[Watch]] = {}
        self._wanted = anyio.Event()
        self._open = anyio.Event()

    @contextmanager
    def watch(self, prompt_id: str) -> Iterator[Watch]:
        """Follow one run's events while the block lasts."""
        watch = Watch()
        self._watches.setdefault(prompt_id, []).append(watch)
        self._wanted.set()
        try:
            yield watch
        finally:
            self._watches[prompt_id].remove(watch)
            if not self._watches[prompt_id]:
                del self._watches[prompt_id]

    async def connected(self, seconds: float) -> bool:
        """Wait until the socket is open, at most `seconds`: what is queued after that is seen from its start."""
        self._wanted.set()
        with anyio.move_on_after(seconds):
            await self._open.wait()
        return self._open.is_set()

    async def run(self) -> None:
        """Receive until cancelled. The socket is first opened when somebody wants events."""
        pause = FIRST_PAUSE
        await self._wanted.wait()
        errors = _stream_errors()
        while True:
            try:
                await self._receive()
                pause = FIRST_PAUSE
            except* errors as group:
                log.info("the event stream of %s is closed: %r", self._client.url, group.exceptions[0])
            finally:
                self._open = anyio.Event()
            # Whoever waits looks at once, and again from time to time, until the stream is back.
            self._notify_all()
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _receive(self) -> None:
        url = "ws" + self._client.url.removeprefix("http") + "/ws"
        async with self._client.http.websocket(
            url, params={"clientId": self._client.client_id}, max_message_size_bytes=MESSAGE_LIMIT
        ) as socket:
            self._open.set()
            self._notify_all()
            while True:
                message = await socket.receive()
                if isinstance(data := getattr(message, "data", None), str):
                    self._dispatch(data)

    def _dispatch(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict) or not isinstance(message.get("data"), dict):
            return
        kind, data = message.get("type"), message["data"]
        if kind == "status":
            # The only event that tells of other clients' runs: something came into the queue or left it.
            self._notify_all()
            return
        # The run is in the history only when `executing` without a node comes; the others are told a little earlier.
        ended = kind in _ENDINGS or (kind == "executing" and data.get("node") is None)
        for watch in self._watches.get(str(data.get("prompt_id")), []):
            watch.notify(_progress_of(kind, data), may_have_ended=ended)

    def _notify_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.notify(None, may_have_ended=True)


def _stream_errors() -> tuple[type[Exception], ...]:
    """Every way in which a socket can break: the layers below the WebSocket let their own errors through."""
    # Imported when a socket is first opened: `serve` starts without them.
    import httpcore2  # noqa: PLC0415
    from httpx2.websockets import HTTPXWSException  # noqa: PLC0415
    from wsproto.utilities import ProtocolError  # noqa: PLC0415

    return (
        httpx2.HTTPError,
        OSError,
        HTTPXWSException,
        ProtocolError,
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.TimeoutException,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        anyio.EndOfStream,
    )


def _progress_of(kind: Any, data: dict[str, Any]) -> Progress | None:
    """The node that is running and how far it has come, where an event says so."""
    if kind == "progress_state" and isinstance(nodes := data.get("nodes"), dict):
        running = [node for node in nodes.values() if isinstance(node, dict) and node.get("state") == "running"]
        if running:
            node = running[-1]
            finished = sum(isinstance(node, dict) and node.get("state") == "finished" for node in nodes.values())
            node_id = node.get("display_node_id") or node.get("node_id")
            return _progress(node_id, node.get("value"), node.get("max"), finished)
    if kind == "progress":
        return _progress(data.get("node"), data.get("value"), data.get("max"))
    if kind == "executing" and data.get("node") is not None:
        return _progress(data.get("display_node") or data["node"], 0, 1)
    return None


def _progress(node_id: Any, value: Any, maximum: Any, finished: int | None = None) -> Progress | None:
    if node_id is None or not isinstance(value, int | float) or not isinstance(maximum, int | float):
        return None
    return Progress(str(node_id), value, maximum, finished)
