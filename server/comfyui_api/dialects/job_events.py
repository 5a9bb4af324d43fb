"""API v2's events: one stream for each run that somebody watches, open until it has ended.

They make following fast and give progress; what became of a run is always asked of the server, which also tells how far
it has come. Where it allows no more streams, or has none, asking alone does.
"""

from __future__ import annotations

import json
import logging

import anyio
import httpx2
from anyio.abc import TaskGroup

from comfyui_api.dialects import v2_replies
from comfyui_api.dialects.job_states import job_state
from comfyui_api.errors import NotOffered
from comfyui_api.events import FIRST_PAUSE, LONGEST_PAUSE, RunEvents
from comfyui_api.exchange import Exchange, NotServed, quoted

log = logging.getLogger(__name__)

RUNS_NOTED = 1000
STREAMS = 6  # comfy-api-proxy allows 8 in all
HEARTBEAT_SECONDS = 45.0  # without a byte; the servers send one every 15
EVENT_LIMIT = 12 * 2**20
_OVER = frozenset({"completed", "failed", "interrupted", "expired"})


class JobEvents(RunEvents):
    """The streams of a connection. `run` keeps one open for each run that is watched, a few at a time."""

    def __init__(self, server: Exchange) -> None:
        super().__init__()
        self._server = server
        self._open: dict[str, anyio.CancelScope] = {}
        self._over: dict[str, None] = {}

    async def run(self) -> None:
        """Receive until cancelled. A stream is opened when somebody watches a run."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._wanted.wait()
                self._wanted = anyio.Event()
                self._open_wanted(tasks)

    def _open_wanted(self, tasks: TaskGroup) -> None:
        for prompt_id in [each for each in self._watches if each not in self._open and each not in self._over]:
            if len(self._open) >= STREAMS:
                unwatched = next((each for each in self._open if each not in self._watches), None)
                if unwatched is None:
                    return  # the others are asked for
                self._open.pop(unwatched).cancel()
            self._open[prompt_id] = anyio.CancelScope()
            tasks.start_soon(self._follow, prompt_id, self._open[prompt_id])

    async def _follow(self, prompt_id: str, scope: anyio.CancelScope) -> None:
        """Receive one run's events until it has ended, opening the stream again while somebody watches."""
        pause = FIRST_PAUSE
        with scope:
            while True:
                began = self.heard
                try:
                    await self._receive(prompt_id)
                except (NotOffered, NotServed) as exc:
                    log.info("%s tells no events: %s", self._server.url, exc)
                    self._note_over(prompt_id)
                except Exception as exc:  # noqa: BLE001  # this task is everybody's: nothing that a server sends may end it
                    log.info("the event stream of %s at %s is closed: %r", prompt_id, self._server.url, exc)
                if prompt_id in self._over or prompt_id not in self._watches:
                    break
                self._notify(prompt_id, None, may_have_ended=True)
                pause = FIRST_PAUSE if self.heard > began else min(2 * pause, LONGEST_PAUSE)
                await anyio.sleep(pause)
        if self._open.get(prompt_id) is scope:
            del self._open[prompt_id]
        self._wanted.set()  # there may be room for another

    async def _receive(self, prompt_id: str) -> None:
        path = f"/jobs/{quoted(prompt_id)}/events"
        server = self._server
        async with server.streaming(path, silence=HEARTBEAT_SECONDS) as response:
            async for event in httpx2.EventSource(response, max_event_size=EVENT_LIMIT):
                self.heard += 1
                try:
                    data = json.loads(event.data)
                except (ValueError, RecursionError):
                    continue
                self._dispatch(prompt_id, event.event, data)

    def _note_over(self, prompt_id: str) -> None:
        """No stream is opened for this run again."""
        self._over[prompt_id] = None
        while len(self._over) > RUNS_NOTED:
            del self._over[next(iter(self._over))]

    def _dispatch(self, prompt_id: str, kind: str, data: object) -> None:
        if kind == "progress" and (progress := v2_replies.progress(data)) is not None:
            self._notify(prompt_id, self._latest(prompt_id, progress, ended=False), may_have_ended=False)
        elif kind == "preview" and (preview := v2_replies.preview(data)) is not None:
            self._note_preview(prompt_id, preview)
            self._notify(prompt_id, None, may_have_ended=False)
        elif kind == "status" and isinstance(data, dict):
            if job_state(data.get("status")) in _OVER:
                self._note_over(prompt_id)
                self._latest(prompt_id, None, ended=True)
            # From waiting to running too: whoever waits looks where it stands now.
            self._notify(prompt_id, None, may_have_ended=True)
