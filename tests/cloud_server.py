"""A small Comfy Cloud (API v1) before a real ComfyUI: the same routes, states and habits, with real pictures.

Written after openapi-cloud.yaml of Comfy's documents and comfy-cli, which itself checks it (tests/live/test_cloud.py).
What it does like the real one: it names the runs, wants a key, keeps files by their content in a storage elsewhere that
wants none, lists models under /api/experiment, and knows neither single node classes nor a way to free memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

KEY = "cloud-key-of-the-tests-1234567890"
PUBLIC = ("/api/experiment/models", "/api/system_stats", "/api/features")


@dataclass
class Job:
    """A run under the server's own id. `extra_data` without the account's key, which is never kept."""

    job_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]
    created: float
    spent_key: str | None = None


@dataclass
class Cloud:
    """`answers`: faults for the next submissions, in order: a status, "lose" (it is queued, and the connection breaks)
    or "drop" (it is not queued, and the connection breaks). `states`: what /api/jobs says of a run in place of the
    truth. `busy`: how many of the next reads are answered with 429."""

    comfyui: str
    url: str = ""
    storage: str = ""
    key: str = KEY
    jobs: dict[str, Job] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(method, path with its query) of every request to the API."""
    storage_headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    without_outputs: bool = False
    busy: int = 0
    retry_after: str = "1"
    signed: dict[str, dict[str, str]] = field(default_factory=dict)
    sockets: set[WebSocket] = field(default_factory=set)
    _http: httpx2.AsyncClient | None = None
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def http(self) -> httpx2.AsyncClient:
        assert self._http is not None
        return self._http

    def asked(self, path: str) -> list[str]:
        return [seen for method, seen in self.seen if seen.partition("?")[0] == path]

    # The API

    def app(self) -> Starlette:
        routes = [
            Route("/api/prompt", self.submit, methods=["POST"]),
            Route("/api/prompt", self.prompt_info),
            Route("/api/jobs", self.list_jobs),
            Route("/api/jobs/{job_id}", self.job),
            Route("/api/jobs/{job_id}/cancel", self.cancel, methods=["POST"]),
            Route("/api/history_v2/{job_id}", self.history),
            Route("/api/queue", self.queue),
            Route("/api/view", self.view),
            Route("/api/upload/image", self.upload, methods=["POST"]),
            Route("/api/object_info", self.passed_on),
            Route("/api/system_stats", self.passed_on),
            Route("/api/experiment/models", self.model_folders),
            Route("/api/experiment/models/{folder}", self.passed_on),
            Route("/api/user", self.user),
            WebSocketRoute("/ws", self.events),
        ]
        return Starlette(routes=routes, middleware=[], exception_handlers={404: _not_found})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            query = scope["query_string"].decode()
            self.seen.append((scope["method"], f"{path}?{query}" if query else path))
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            if not path.startswith(PUBLIC) and headers.get("x-api-key") != self.key:
                await _error(401, "UNAUTHORIZED", "invalid API key")(scope, receive, send)
                return
            if self.busy > 0 and scope["method"] == "GET":
                self.busy -= 1
                answer = _error(429, "RATE_LIMITED", "too many requests")
                answer.headers["Retry-After"] = self.retry_after
                await answer(scope, receive, send)
                return
        await self._routed(scope, receive, send)

    async def _routed(self, scope: Any, receive: Any, send: Any) -> None:
        if not hasattr(self, "_app"):
            self._app = self.app()
        await self._app(scope, receive, send)

    async def submit(self, request: Request) -> Response:
        body = await request.json()
        fault = self.answers.pop(0) if self.answers else None
        if isinstance(fault, int):
            kind = {402: "PAYMENT_REQUIRED", 429: "QUEUE_LIMIT"}.get(fault, "INTERNAL")
            return JSONResponse({"error": {"type": kind, "message": "not now"}}, status_code=fault)
        if fault == "drop":
            raise ConnectionAbortedError
        job_id = str(uuid.uuid4())
        extra = dict(body.get("extra_data") or {})
        spent_key = extra.pop("api_key_comfy_org", None)
        answer = await self.http.post(
            "/prompt",
            json={"prompt": body.get("prompt"), "prompt_id": job_id, "client_id": self.client_id, "extra_data": extra},
        )
        if answer.status_code == 200:
            self.jobs[job_id] = Job(job_id, body["prompt"], extra, time.time(), spent_key)
        if fault == "lose":
            raise ConnectionAbortedError
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def prompt_info(self, request: Request) -> Response:
        running, pending = await self._queue()
        return JSONResponse({"exec_info": {"queue_remaining": len(running) + len(pending)}})

    async def list_jobs(self, request: Request) -> Response:
        wanted = set(filter(None, request.query_params.get("status", "").split(",")))
        limit = int(request.query_params.get("limit", "100"))
        told = [await self._in_short(job) for job in self.jobs.values()]
        told = [job for job in told if not wanted or job["status"] in wanted]
        told.sort(key=lambda job: job["create_time"], reverse=request.query_params.get("sort_order") != "asc")
        page = {"offset": 0, "limit": limit, "total": len(told), "has_more": len(told) > limit}
        return JSONResponse({"jobs": told[:limit], "pagination": page})

    async def job(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["job_id"])
        if job is None:
            return _error(404, "NOT_FOUND", "job not found")
        told = await self._in_short(job)
        entry = await self._entry(job)
        told["update_time"] = int(time.time())
        told["workflow"] = {"prompt": job.prompt, "extra_data": job.extra_data}
        if entry is not None and told["status"] in ("completed", "failed", "cancelled"):
            told["execution_status"] = entry["status"]
            if not self.without_outputs:
                told["outputs"] = entry["outputs"]
        return JSONResponse(told)

    async def cancel(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["job_id"])
        if job is None:
            return _error(404, "NOT_FOUND", "job not found")
        await self.http.post("/queue", json={"delete": [job.job_id]})
        await self.http.post("/interrupt", json={"prompt_id": job.job_id})
        running, pending = await self._queue()
        if await self._entry(job) is None and all(item[1] != job.job_id for item in running + pending):
            self.states.setdefault(job.job_id, "cancelled")  # the real one keeps it; a ComfyUI leaves no trace
        return JSONResponse({"cancelled": True})

    async def history(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["job_id"])
        entry = await self._entry(job) if job is not None else None
        if job is None or entry is None:
            return _error(404, "NOT_FOUND", "prompt not found")
        prompt = {"priority": 0, "prompt_id": job.job_id, "prompt": job.prompt, "extra_data": job.extra_data}
        return JSONResponse({job.job_id: {**entry, "prompt": prompt}})

    async def queue(self, request: Request) -> Response:
        running, pending = await self._queue()
        told = [
            [[item[0], item[1], item[2], item[4], {"create_time": 0}] for item in part] for part in (running, pending)
        ]
        return JSONResponse({"queue_running": told[0], "queue_pending": told[1]})

    async def view(self, request: Request) -> Response:
        params = {name: request.query_params.get(name, "") for name in ("filename", "subfolder", "type")}
        if (await self.http.get("/view", params=params)).status_code != 200:
            return _error(404, "NOT_FOUND", "file not found")
        signature = uuid.uuid4().hex
        self.signed[signature] = params
        return RedirectResponse(f"{self.storage}/bucket/{quote(params['filename'])}?signature={signature}", 302)

    async def upload(self, request: Request) -> Response:
        async with request.form() as form:
            file = form["image"]
            assert not isinstance(file, str)
            content = await file.read()
            name = f"{hashlib.sha256(content).hexdigest()}.{(file.filename or 'x.png').rpartition('.')[2]}"
            subfolder = form.get("subfolder", "")
        files = {"image": (name, content, "application/octet-stream")}
        answer = await self.http.post("/upload/image", files=files, data={"type": "input", "overwrite": "true"})
        return JSONResponse({**answer.json(), "subfolder": subfolder})

    async def model_folders(self, request: Request) -> Response:
        names = (await self.http.get("/models")).json()
        return JSONResponse([{"name": name, "folders": [name]} for name in names])

    async def user(self, request: Request) -> Response:
        return JSONResponse({"status": "active"})

    async def passed_on(self, request: Request) -> Response:
        answer = await self.http.get(request.url.path.removeprefix("/api"))
        return Response(answer.content, answer.status_code, media_type="application/json")

    async def events(self, socket: WebSocket) -> None:
        if socket.query_params.get("token") != self.key:
            await socket.close(1008)
            return
        await socket.accept()
        await socket.send_json(
            {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "x"}}
        )
        self.sockets.add(socket)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.receive_text()
        self.sockets.discard(socket)

    # What it knows

    async def _in_short(self, job: Job) -> dict[str, Any]:
        entry = await self._entry(job)
        told: dict[str, Any] = {"id": job.job_id, "create_time": int(job.created)}
        if entry is None:
            running, _ = await self._queue()
            told["status"] = "in_progress" if any(item[1] == job.job_id for item in running) else "pending"
        else:
            messages = dict(entry["status"]["messages"])
            told["status"] = "completed" if entry["status"]["status_str"] == "success" else "failed"
            if "execution_interrupted" in messages:
                told["status"] = "cancelled"
            if (error := messages.get("execution_error")) is not None:
                told["execution_error"] = {**error, "current_outputs": {}}
            told["outputs_count"] = sum(len(files) for out in entry["outputs"].values() for files in out.values())
        told["status"] = self.states.get(job.job_id, told["status"])
        return told

    async def _entry(self, job: Job) -> dict[str, Any] | None:
        told = (await self.http.get(f"/history/{job.job_id}")).json()
        entry = told.get(job.job_id)
        return entry if isinstance(entry, dict) else None

    async def _queue(self) -> tuple[list[Any], list[Any]]:
        told = (await self.http.get("/queue")).json()
        return told["queue_running"], sorted(told["queue_pending"])

    async def tell_events(self) -> None:
        """Pass on what the ComfyUI tells of the runs to every socket: all of an account get the same."""
        address = "ws" + self.comfyui.removeprefix("http") + "/ws"
        async with self.http.websocket(address, params={"clientId": self.client_id}) as source:
            while True:
                message = await source.receive()
                data = getattr(message, "data", None)
                for socket in list(self.sockets):
                    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                        if isinstance(data, str) and '"status"' not in data[:40]:
                            await socket.send_text(data)
                        elif isinstance(data, bytes | bytearray):
                            await socket.send_bytes(bytes(data))
                        await socket.send_json({"type": "notification", "data": {"value": "Executing workflow..."}})

    # The storage

    async def stored(self, request: Request) -> Response:
        self.storage_headers.append(dict(request.headers))
        params = self.signed.get(request.query_params.get("signature", ""))
        if params is None:
            return Response("<Error>SignatureDoesNotMatch</Error>", 403)
        answer = await self.http.get("/view", params=params)
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        async with httpx2.AsyncClient(base_url=self.comfyui, timeout=60, trust_env=False) as self._http:
            events = asyncio.create_task(self.tell_events())
            try:
                yield
            finally:
                events.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await events


@contextlib.contextmanager
def standing(comfyui: str) -> Iterator[Cloud]:
    """The API and its storage, each at an address of its own, while the block lasts."""
    cloud = Cloud(comfyui)
    started = threading.Event()
    ended = asyncio.Event()
    loop: list[asyncio.AbstractEventLoop] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        loop.append(asyncio.get_running_loop())
        storage = Starlette(routes=[Route("/bucket/{name:path}", cloud.stored)])
        async with cloud.lifespan(None), _listening(cloud) as cloud.url, _listening(storage) as cloud.storage:
            started.set()
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as exc:
            failed.append(exc)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(30)
    assert not failed, failed
    try:
        yield cloud
    finally:
        loop[0].call_soon_threadsafe(ended.set)
        thread.join(20)


@contextlib.asynccontextmanager
async def _listening(app: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="wsproto", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        assert not serving.done()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status)


async def _not_found(request: Request, exc: Exception) -> Response:
    return _error(404, "NOT_FOUND", json.dumps(request.url.path))
