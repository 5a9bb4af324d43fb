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

from comfyui_api.client import ComfyClient
from comfyui_api.runs import Progress

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 64 * 2**20
_ENDINGS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
RUNS_NOTED = 100
COUNTED = 1e12  # steps beyond this are no steps
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0


class Watch:
    """What the events tell of one run while somebody follows it."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self._changed = anyio.Event()
        self._may_have_ended = False

    def notify(self, progress: Progress | None, *, may_have_ended: bool) -> None:
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
    """The one WebSocket of a connection. `run` keeps it open, reopening it when it drops.

    A client id has one socket only: a second one would take the stream from the first.
    """

    def __init__(self, client: ComfyClient) -> None:
        self._client = client
        self._watches: dict[str, list[Watch]] = {}
        self._progress: dict[str, Progress] = {}
        self._wanted = anyio.Event()
        self._open = anyio.Event()
        self._pause = FIRST_PAUSE

    @contextmanager
    def watch(self, prompt_id: str) -> Iterator[Watch]:
        """Follow one run's events while the block lasts."""
        watch = Watch(self._progress.get(prompt_id))
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
        """Receive until cancelled. The socket is opened when somebody wants events, and again when it drops."""
        while True:
            await self._wanted.wait()
            try:
                await self._receive()
            except Exception as exc:  # noqa: BLE001  # this task is everybody's: nothing that a server sends may end it
                log.info("the event stream of %s is closed: %r", self._client.url, exc)
            self._open = anyio.Event()
            self._wanted = anyio.Event()
            if self._watches:
                self._wanted.set()
            # Whoever waits looks at once, and again from time to time, until the stream is back.
            self._notify_all()
            await anyio.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _receive(self) -> None:
        url = "ws" + self._client.url.removeprefix("http") + "/ws"
        async with self._client.http.websocket(
            url, params={"clientId": self._client.client_id}, max_message_size_bytes=MESSAGE_LIMIT
        ) as socket:
            self._open.set()
            self._pause = FIRST_PAUSE
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
        kind = message.get("type") if isinstance(message, dict) else None
        data = message.get("data") if isinstance(message, dict) else None
        if not isinstance(kind, str) or not isinstance(data, dict):
            return
        if kind == "status":
            # The only event that tells of other clients' runs: something came into the queue or left it.
            self._notify_all()
            return
        # The run is in the history only when `executing` without a node comes; the others are told a little earlier.
        ended = kind in _ENDINGS or (kind == "executing" and data.get("node") is None)
        prompt_id = str(data.get("prompt_id"))
        progress = self._latest(prompt_id, _progress_of(kind, data), ended=ended)
        for watch in self._watches.get(prompt_id, []):
            watch.notify(progress, may_have_ended=ended)

    def _latest(self, prompt_id: str, progress: Progress | None, *, ended: bool) -> Progress | None:
        """Note how far a run has come, for whoever begins to watch it in the middle of a long step."""
        before = self._progress.get(prompt_id)
        if ended:
            self._progress.pop(prompt_id, None)
        elif progress is not None:
            if progress.finished_nodes is None and before is not None:
                progress = replace(progress, finished_nodes=before.finished_nodes)
            self._progress[prompt_id] = progress
            while len(self._progress) > RUNS_NOTED:
                del self._progress[next(iter(self._progress))]
        return progress

    def _notify_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.notify(None, may_have_ended=True)


def _progress_of(kind: str, data: dict[str, Any]) -> Progress | None:
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
    if node_id is None or not _is_count(value) or not _is_count(maximum):
        return None
    return Progress(str(node_id), value, maximum, finished)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and -COUNTED < value < COUNTED
