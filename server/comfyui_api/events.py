"""ComfyUI's WebSocket: what happens to the runs, as it happens.

Events make following fast and give progress; what became of a run is always read from the queue and the history, since
a socket that opens late has missed what came before (COMFYUI.md; server.py).
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import anyio
from anyio.abc import TaskGroup

from comfyui_api.exchange import Exchange
from comfyui_api.runs import LivePreview, Progress

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 64 * 2**20
_ENDINGS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
RUNS_NOTED = 100
COUNTED = 1e12  # steps beyond this are no steps
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0
PREVIEWS_KEPT = 4
PREVIEW_LIMIT = 8 * 2**20  # bytes
NEWS_SECONDS = 1.0  # what the server's loop may take to tell what it has already done
SILENCE_SECONDS = 15.0
# Sent first: previews then come with the run and the node that they are of (server.py, websocket_handler).
_FEATURES = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
_PREVIEW, _PREVIEW_OF_RUN = 1, 4
_ENCODINGS = {1: "image/jpeg", 2: "image/png"}


class Watch:
    """What the events tell of the runs that somebody follows; `progress` is the latest of any of them."""

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


class RunEvents(ABC):
    """What a server tells of runs while they go on, to whoever watches them."""

    def __init__(self) -> None:
        self._watches: dict[str, list[Watch]] = {}
        self._progress: dict[str, Progress] = {}
        self._began: dict[str, Progress] = {}
        self._began_at: dict[str, float] = {}
        self._cached: dict[str, frozenset[str]] = {}
        self._previews: dict[str, LivePreview] = {}
        self._wanted = anyio.Event()
        self.heard = 0
        """How many messages have come in all: what happened since a moment is known by how many came since."""
        self.unbroken_since: float | None = None
        """Since when (time.time) nothing can have been missed; None where that cannot be told."""
        self.broken_at: float | None = None
        """When the stream was last lost, without our doing."""

    @contextmanager
    def watch(self, *prompt_ids: str) -> Iterator[Watch]:
        """Follow the events of these runs while the block lasts."""
        watch = Watch(self._progress.get(prompt_ids[0]) if prompt_ids else None)
        for prompt_id in prompt_ids:
            self._watches.setdefault(prompt_id, []).append(watch)
        self._wanted.set()
        try:
            yield watch
        finally:
            for prompt_id in prompt_ids:
                self._watches[prompt_id].remove(watch)
                if not self._watches[prompt_id]:
                    del self._watches[prompt_id]

    def preview(self, prompt_id: str) -> LivePreview | None:
        """The latest picture that a run showed, while it is running and not long after."""
        return self._previews.get(prompt_id)

    def expect_news(self, heard: int) -> None:  # noqa: B027  # for those who hear everybody's news
        """Something has happened in the queue since `heard`, which the server tells everybody: was it heard?"""

    async def connected(self, seconds: float) -> bool:
        """Wait until events can come, at most `seconds`: what is queued after that is seen from its start."""
        return False

    @abstractmethod
    async def run(self) -> None:
        """Receive until cancelled."""

    def _note_preview(self, prompt_id: str, preview: LivePreview) -> None:
        self._previews.pop(prompt_id, None)
        self._previews[prompt_id] = preview
        while len(self._previews) > PREVIEWS_KEPT:
            del self._previews[next(iter(self._previews))]

    def _notify(self, prompt_id: str, progress: Progress | None, *, may_have_ended: bool) -> None:
        for watch in self._watches.get(prompt_id, []):
            watch.notify(progress, may_have_ended=may_have_ended)

    def _latest(self, prompt_id: str, progress: Progress | None, *, ended: bool) -> Progress | None:
        """Note how far a run has come, for whoever begins to watch it in the middle of a long step."""
        before = self._progress.get(prompt_id)
        if ended:
            for noted in (self._progress, self._began, self._began_at, self._cached):
                noted.pop(prompt_id, None)
        elif progress is not None:
            if progress.finished_nodes is None and before is not None:
                progress = replace(progress, finished_nodes=before.finished_nodes)
            progress = self._timed(prompt_id, progress)
            self._progress[prompt_id] = progress
            for noted in (self._progress, self._began, self._began_at):
                _keep_newest(noted)
        return progress

    def _timed(self, prompt_id: str, progress: Progress) -> Progress:
        """The progress with its rate, counted from this node's first finished step: loading is not part of a step."""
        began, now = self._began.get(prompt_id), time.monotonic()
        if began is None or (began.node_id, began.max) != (progress.node_id, progress.max) or not began.value:
            self._began[prompt_id], self._began_at[prompt_id] = progress, now
            return progress
        steps, seconds = progress.value - began.value, now - self._began_at[prompt_id]
        return replace(progress, rate=steps / seconds) if steps > 0 and seconds > 0 else progress

    def _notify_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.notify(None, may_have_ended=True)


class EventStream(RunEvents):
    """The one WebSocket of a connection. `run` keeps it open, reopening it when it drops.

    A client id has one socket only: a second one would take the stream from the first. It stays the same when the
    socket is opened again, as the events of a run go to the id that it was queued with. But ComfyUI forgets an id's
    socket when any socket of that id closes (server.py, websocket_handler): one that was lost on its way, and whose end
    the server notices only later, silences the one that took its place. Such a deaf socket is told by what must have
    been heard and was not, and is opened again.
    """

    _one_at_a_time: ClassVar[bool] = True
    """Whether the server runs one prompt after the other, so that a picture without a run's id is of the latest."""

    def __init__(self, client: Exchange) -> None:
        super().__init__()
        self._client = client
        self._running: str | None = None
        self._open = anyio.Event()
        self._news = anyio.Event()
        self._pause = FIRST_PAUSE
        self._dropped = False

    def expect_news(self, heard: int) -> None:
        """Something has happened in the queue since `heard`, which the server tells everybody: was it heard?"""
        if self.heard == heard and self._open.is_set():
            self._news.set()

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
                deaf = True
            except Exception as exc:  # noqa: BLE001  # this task is everybody's: nothing that a server sends may end it
                log.info("the event stream of %s is closed: %r", self._client.url, exc)
                deaf = False
            if self._open.is_set() and not deaf:
                self._dropped, self.broken_at = True, time.time()
            self.unbroken_since = self.unbroken_since if deaf else None
            self._open = anyio.Event()
            self._wanted = anyio.Event()
            if self._watches:
                self._wanted.set()
            # Whoever waits looks at once, and again from time to time, until the stream is back.
            self._notify_all()
            if not deaf:
                await anyio.sleep(self._pause)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _receive(self) -> None:
        """Receive until the socket turns out to be deaf. Raises what the library does when it is lost."""
        url, params = self._client.socket_address()
        async with (
            self._client.http.websocket(url, params=params, max_message_size_bytes=MESSAGE_LIMIT) as socket,
            anyio.create_task_group() as tasks,
        ):
            await socket.send_text(_FEATURES)
            tasks.start_soon(self._check_hearing, tasks)
            while True:
                message = await socket.receive()
                self.heard += 1
                if not self._open.is_set():
                    # The server's first message, not the handshake, shows that it has noted the socket.
                    self._open.set()
                    self._pause = FIRST_PAUSE
                    self.unbroken_since = self.unbroken_since or time.time()
                    self._notify_all()
                data, mask = getattr(message, "data", None), self._client.http.mask
                if isinstance(data, str):
                    self._dispatch(mask.data(data.encode("utf-8", "replace")).decode())
                elif isinstance(data, bytes | bytearray):
                    self._note_picture(mask.data(bytes(data)))

    async def _check_hearing(self, tasks: TaskGroup) -> None:
        """End the receiving when news did not come; after a drop also when nothing at all does while somebody waits."""
        while True:
            heard, expected = self.heard, False
            with anyio.move_on_after(SILENCE_SECONDS):
                await self._news.wait()
                expected = True
                await anyio.sleep(NEWS_SECONDS)
            self._news = anyio.Event()
            if self.heard == heard and (expected or (self._dropped and self._watches)):
                log.info("the event stream of %s is deaf and opened again", self._client.url)
                tasks.cancel_scope.cancel()
                return

    def _note_picture(self, data: bytes) -> None:
        found = _picture_of(data)
        if found is None:
            return
        prompt_id, preview = found
        # Older servers do not say of which run it is: there is one at a time.
        if (prompt_id := prompt_id or (self._running if self._one_at_a_time else None)) is None:
            return
        self._note_preview(prompt_id, preview)

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
        if not isinstance(prompt_id := data.get("prompt_id"), str):
            return  # of no run: what packs and Comfy Cloud tell besides
        self._running = None if ended else prompt_id
        if kind == "execution_cached" and isinstance(nodes := data.get("nodes"), list):
            self._cached[prompt_id] = frozenset(node for node in nodes if isinstance(node, str))
            _keep_newest(self._cached)
        progress = self._latest(
            prompt_id, _progress_of(kind, data, self._cached.get(prompt_id, frozenset())), ended=ended
        )
        self._notify(prompt_id, progress, may_have_ended=ended)


def _keep_newest(noted: dict[str, Any]) -> None:
    while len(noted) > RUNS_NOTED:
        del noted[next(iter(noted))]


def _picture_of(data: bytes) -> tuple[str | None, LivePreview] | None:
    """(prompt id where it is told, picture) of a binary message; None for what is none (server.py, send_image)."""
    kind, length = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if len(data) > PREVIEW_LIMIT or len(data) <= 8:
        return None
    if kind == _PREVIEW and length in _ENCODINGS:
        return None, LivePreview(data[8:], _ENCODINGS[length])
    if kind != _PREVIEW_OF_RUN or 8 + length >= len(data):
        return None
    try:
        told = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(prompt_id := told.get("prompt_id"), str):
        return None
    node_id = told.get("display_node_id") or told.get("node_id")
    return prompt_id, LivePreview(
        data[8 + length :], str(told.get("image_type", "")), None if node_id is None else str(node_id)
    )


def _progress_of(kind: str, data: dict[str, Any], cached: frozenset[str]) -> Progress | None:
    """The node that is running and how far it has come, where an event says so."""
    if kind == "progress_state" and isinstance(nodes := data.get("nodes"), dict):
        running = [node for node in nodes.values() if isinstance(node, dict) and node.get("state") == "running"]
        if running:
            node = running[-1]
            done = {key for key, node in nodes.items() if isinstance(node, dict) and node.get("state") == "finished"}
            finished = len(done | cached)
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
