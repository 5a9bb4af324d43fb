"""One ComfyUI server over HTTP: one method a route, replies parsed, errors translated once.

Routes and reply shapes: ComfyUI's server.py; foundation/api-quick-ref.md describes them.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import httpx2

from comfyui_api import replies
from comfyui_api.errors import (
    AccessDenied,
    ComfyError,
    ComfyFailed,
    ComfySilent,
    ComfyUnreachable,
    FileGone,
    FileProblem,
    InvalidArgument,
    PromptRejected,
    ServerError,
    UnexpectedReply,
)
from comfyui_api.graph import Prompt
from comfyui_api.object_info import Entry, ObjectInfoSplitter
from comfyui_api.packs import ClaimingPack, InstalledPack, NodeReplacement
from comfyui_api.queue_stream import QueueReader
from comfyui_api.runs import (
    FolderType,
    HistoryEntry,
    QueuedPrompt,
    QueueState,
    SavedWorkflowFile,
    SystemStats,
    UploadedFile,
)

if TYPE_CHECKING:  # what mending reads is imported when something has to be mended: the server starts without it
    from comfyui_api.import_failures import ImportFailure, StartupLog
    from comfyui_api.model_sources import ModelSource
    from comfyui_api.templates import Template

T = TypeVar("T")

REPLY_LIMIT = 64 * 2**20
QUEUE_LIMIT = 4 * 2**30  # read run by run: thousands of waiting runs with their workflows
LARGE_QUEUE = 4 * 2**20  # bytes of /queue from which there may be a better way to ask
HISTORY_LIMIT = 256 * 2**20
RETRY_SECONDS = 10.0
ERROR_TEXT_LIMIT = 64 * 2**10
PARSED_ASIDE = 2**20  # larger replies are parsed in a thread, so that others are served meanwhile
OBJECT_INFO_LIMIT = 4 * 2**30  # it goes to the disk, entry by entry
SPLIT_AT_ONCE = 2**20
ASKED_AT_ONCE = 4  # ComfyUI answers one after the other; more would only hold up its other callers
FOLDERS_LIMIT = 500
NO_MODELS = ("custom_nodes", "datasets")  # listed beside the model folders, with every file in them
# What a server may have to say beyond its own routes is worth a few seconds and megabytes, and no error.
EXTRA_SECONDS = 5.0
EXTRA_LIMIT = 32 * 2**20

NOT_SERVED = (400, 403, 404)  # what /view answers for a file that is not there or not to be had
# What parsing a reply of another shape can raise.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
# Errors after which the request certainly did not reach a server; after any other one it may have.
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


class ComfyClient:
    """A connection to the ComfyUI at `url`, with (user, password) for basic authentication where it needs them.

    `timeout` is in seconds without a byte. `client_id` names this connection for its whole life: ComfyUI keeps one
    event stream a client id, so a server that is known under two names is met with two of them.

    Every method raises ComfyUnreachable where nobody listens, ComfySilent where no answer came, and the other
    ServerErrors by status. Reads that got no answer are asked once more; writes never are.
    """

    def __init__(self, url: str, *, timeout: float, auth: tuple[str, str] | None = None) -> None:
        self.url = url
        self.client_id = str(uuid.uuid4())
        self.has_large_queue = False
        self.maybe_sent_twice: dict[str, float] = {}
        """Runs whose first request may still arrive, with the moment (time.monotonic) until which that is watched."""
        self._lists_jobs = True
        self._timeout = timeout
        try:
            # A proxy of the environment is for the outside world, not for a server on this machine or the LAN.
            outside = not is_private(urlsplit(url).hostname or "")
            self.http = httpx2.AsyncClient(base_url=url, timeout=timeout, auth=auth, trust_env=outside)
        except (httpx2.InvalidURL, ValueError) as exc:
            raise InvalidArgument(f"'{url}' is no address of a server: {exc}.", "Write http://host:8188.") from exc
        except (ImportError, OSError) as exc:
            # A kind of proxy that needs a package of its own, or a certificate file that is not there.
            raise InvalidArgument(
                f"The proxy or certificate settings of this machine cannot be used: {exc}.",
                "Correct HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and the like.",
            ) from exc

    async def close(self) -> None:
        await self.http.aclose()

    async def system_stats(self) -> SystemStats:
        return self._parse(replies.system_stats, await self._read("/system_stats"))

    async def object_info(self) -> AsyncGenerator[list[Entry]]:
        """All node classes, in pieces as they come: they may be 100 MB. Where it breaks off it is not asked again."""
        path, splitter = "/object_info", ObjectInfoSplitter()
        head, received, found = b"", 0, 0
        try:
            with self._translated(path):
                async with self.http.stream("GET", path) as response:
                    await self._check(response, path)
                    async for piece in _pieces(response, SPLIT_AT_ONCE):
                        head, received = head or bytes(piece[:2000]), received + len(piece)
                        if received > OBJECT_INFO_LIMIT:
                            raise _too_large(path, OBJECT_INFO_LIMIT)
                        # In a thread: others are served meanwhile.
                        entries = await anyio.to_thread.run_sync(splitter.feed, piece)
                        found += len(entries)
                        yield entries
            entries = await anyio.to_thread.run_sync(splitter.finish)
        except ValueError as exc:
            if found == 0:
                raise self._not_comfyui(path, head) from exc
            raise UnexpectedReply(
                f"The node classes that {self.url} tells are broken: {exc}.", "A proxy on the way may be breaking them."
            ) from exc
        if found + len(entries) == 0:
            raise UnexpectedReply(
                f"The server at {self.url} tells no node classes.", "Check that this address is a ComfyUI server."
            )
        yield entries

    async def object_info_of(self, class_type: str) -> dict[str, Any] | None:
        """One node class as it comes, or None where the server does not have it."""
        reply = self._parse(replies.json_object, await self._read(f"/object_info/{_quoted(class_type)}"))
        entry = reply.get(class_type)
        return entry if isinstance(entry, dict) else None

    async def models(self) -> dict[str, dict[str, int | None]]:
        """The model files of every folder, {folder: {file: size in bytes}}; None where no size is told.

        A folder that cannot be listed is left out.
        """
        folders = self._parse(replies.names, await self._read("/models"))[:FOLDERS_LIMIT]
        found: dict[str, dict[str, int | None]] = {}
        failures: list[ServerError] = []
        at_once = anyio.CapacityLimiter(ASKED_AT_ONCE)

        async def list_folder(folder: str) -> None:
            async with at_once:
                try:
                    found[folder] = await self._model_files(folder)
                except (UnexpectedReply, ComfyFailed):
                    return
                except ServerError as exc:
                    failures.append(exc)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for folder in folders:
                if folder not in NO_MODELS:
                    tasks.start_soon(list_folder, folder)
        if failures:
            raise failures[0]
        return {folder: found[folder] for folder in folders if folder in found}

    async def _model_files(self, folder: str) -> dict[str, int | None]:
        files = self._parse(replies.names, await self._read(f"/models/{_quoted(folder)}"))
        if not files:
            return {}
        try:
            # It lists other files than a loader does, but knows the sizes.
            sizes = self._parse(replies.file_sizes, await self._read(f"/experiment/models/{_quoted(folder)}"))
        except (UnexpectedReply, ComfyFailed, AccessDenied):
            sizes = {}
        return {file: sizes.get(file) for file in files}

    async def embeddings(self) -> list[str]:
        """The embeddings as prompts name them, without the ending."""
        return self._parse(replies.names, await self._read("/embeddings"))

    async def queue(self) -> QueueState:
        """What runs and what waits.

        A large queue is asked of recent servers without its prompts (/api/jobs); of others it is read run by run.
        """
        if self.has_large_queue and self._lists_jobs and (listed := await self._listed_jobs()) is not None:
            return listed
        try:
            return await self._whole_queue()
        except ComfySilent:
            with anyio.move_on_after(RETRY_SECONDS):
                return await self._whole_queue()
            raise

    async def _whole_queue(self) -> QueueState:
        path, reader = "/queue", None
        content, received = bytearray(), 0
        try:
            with self._translated(path):
                async with self.http.stream("GET", path) as response:
                    await self._check(response, path)
                    async for piece in _pieces(response, PARSED_ASIDE):
                        received += len(piece)
                        if received > QUEUE_LIMIT:
                            raise _too_large(path, QUEUE_LIMIT)
                        if reader is None and len(piece) < PARSED_ASIDE:
                            content = piece  # all of it: the usual queue
                            continue
                        reader = reader or QueueReader()
                        content = content or piece[:2000]
                        await anyio.to_thread.run_sync(reader.feed, piece)
            self.has_large_queue = received > LARGE_QUEUE
            if reader is not None:
                return await anyio.to_thread.run_sync(reader.finish)
            raw = json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise self._not_comfyui(path, content) from exc
        except MALFORMED as exc:
            raise self._malformed(exc) from exc
        return self._parse(replies.queue_state, raw)

    async def _listed_jobs(self) -> QueueState | None:
        """The queue as /api/jobs has it; None where the server has no such route."""
        try:
            raw = await self._call("GET", "/api/jobs?status=pending,in_progress")
            return self._parse(replies.listed_jobs, raw)
        except (UnexpectedReply, ComfyFailed, AccessDenied, PromptRejected):
            self._lists_jobs = False
            return None

    async def queue_remaining(self) -> int:
        """How many runs are running or waiting, which costs the server nothing to tell."""
        return self._parse(replies.queue_remaining, await self._read("/prompt"))

    async def history_page(self, count: int, *, oldest: bool = False) -> list[HistoryEntry]:
        """The newest runs that have ended, or the oldest that the server still knows, in the order of their end."""
        offset = "&offset=0" if oldest else ""
        raw = await self._read(f"/history?max_items={count}{offset}", limit=HISTORY_LIMIT)
        return self._parse(replies.history_entries, raw)

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """The entry of a run that has ended; None while it has not, and for a run that is not known."""
        reply = self._parse(replies.json_object, await self._read(f"/history/{_quoted(prompt_id)}"))
        entry = reply.get(prompt_id)
        return None if entry is None else self._parse(lambda raw: replies.history_entry(prompt_id, raw), entry)

    async def queue_prompt(
        self, prompt: Prompt, *, prompt_id: str, front: bool, workflow: Mapping[str, Any] | None
    ) -> QueuedPrompt:
        """Submit a prompt under an id of our own. `workflow` is the UI graph for the picture's metadata.

        Raises PromptRejected with the server's reasons; UnexpectedReply also for a receipt that cannot be read.
        """
        body: dict[str, Any] = {"prompt": prompt, "prompt_id": prompt_id, "client_id": self.client_id}
        if front:
            body["front"] = True
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        reply = await self._post("/prompt", body)
        return self._parse(lambda raw: replies.queued_prompt(prompt_id, raw), reply)

    async def interrupt(self, prompt_id: str) -> None:
        """Stop this run if it is running. The server answers alike whether it was or not."""
        await self._post("/interrupt", {"prompt_id": prompt_id})

    async def delete_pending(self, prompt_ids: list[str]) -> None:
        """Take runs out of the queue. The server answers alike whether they were in it or not."""
        await self._post("/queue", {"delete": prompt_ids})

    async def free(self, *, unload_models: bool, free_memory: bool) -> None:
        await self._post("/free", {"unload_models": unload_models, "free_memory": free_memory})

    async def upload(
        self, name: str, content: bytes, media_type: str, *, subfolder: str | None, overwrite: bool
    ) -> UploadedFile:
        """Put a file into the server's input folder. The name in the answer may differ from the one sent."""
        form = {"type": "input"}
        if subfolder:
            form["subfolder"] = subfolder
        if overwrite:
            form["overwrite"] = "true"
        files = {"image": (name, content, media_type)}
        reply = await self._call("POST", "/upload/image", data=form, files=files)
        return self._parse(replies.uploaded_file, reply)

    async def saved_workflows(self) -> list[SavedWorkflowFile]:
        """The workflows that were saved in the editor; none where it has no folder for them yet.

        Raises AccessDenied where the server keeps them by user (--multi-user).
        """
        path = "/userdata?dir=workflows&recurse=true&split=false&full_info=true"
        if (content := await self._userdata_read(path)) is None:
            return []
        try:
            raw = await anyio.to_thread.run_sync(json.loads, content)
        except (ValueError, RecursionError) as exc:
            raise self._not_comfyui("/userdata", content) from exc
        return self._parse(replies.saved_workflows, raw)

    async def saved_workflow(self, name: str) -> bytes | None:
        """The content of a workflow saved in the editor, by its path as listed; None where it is not there."""
        content = await self._userdata_read(userdata_path(name))
        return None if content is None else bytes(content)

    async def save_workflow(self, name: str, content: bytes) -> None:
        """Save a workflow among those of the editor. Raises FileProblem where one has this name: none is replaced."""
        path = f"{userdata_path(name)}?overwrite=false&full_info=true"
        if await self._userdata("POST", path, content=content, headers={"Content-Type": "application/json"}) is None:
            raise FileProblem(
                f"A workflow '{name}' is saved on {self.url} already; it was not written over.", "Give another name."
            )

    async def _userdata_read(self, path: str) -> bytearray | None:
        try:
            return await self._userdata("GET", path)
        except ComfySilent:
            with anyio.move_on_after(RETRY_SECONDS):
                return await self._userdata("GET", path)
            raise

    async def _userdata(self, method: str, path: str, **body: Any) -> bytearray | None:
        """What the user's files on the server answer; None for what is not there, or there already when it is sent."""
        route = "/userdata"
        try:
            with self._translated(route):
                async with self.http.stream(method, path, **body) as response:
                    if response.status_code == (404 if method == "GET" else 409):
                        return None
                    await self._check(response, route)
                    return await _bounded(response, REPLY_LIMIT, route)
        except ComfyFailed:
            if await self._extra(replies.has_users, "/users"):  # it fails inside where no user is named
                raise AccessDenied(
                    f"The server at {self.url} keeps saved workflows for each user (--multi-user), and no user is "
                    "known here.",
                    "Go by files: the editor exports a workflow as one, and takes one that is dropped onto it.",
                ) from None
            raise

    async def has_file(self, filename: str, subfolder: str, folder: FolderType) -> bool:
        """Whether the server has this file, without fetching it."""
        params = {"filename": filename, "subfolder": subfolder, "type": folder}
        with self._translated("/view"):
            async with self.http.stream("GET", "/view", params=params) as response:
                if response.status_code in NOT_SERVED:
                    return False
                await self._check(response, "/view")
                return True

    async def templates(self) -> list[Template] | None:
        """The official templates that the server brings; None where it brings none, or does not list them."""
        from comfyui_api.templates import parse_index  # noqa: PLC0415  # the server starts without it

        return await self._extra(parse_index, "/templates/index.json")

    async def template(self, name: str) -> dict[str, Any]:
        """The workflow of an official template. Raises UnexpectedReply where the server does not have it."""
        return self._parse(replies.json_object, await self._read(f"/templates/{_quoted(f'{name}.json')}"))

    async def pack_workflows(self) -> list[Template]:
        """The example workflows of the node packs; none where the server lists none."""
        from comfyui_api.templates import parse_pack_workflows  # noqa: PLC0415

        return await self._extra(parse_pack_workflows, "/api/workflow_templates", "/workflow_templates") or []

    async def pack_workflow(self, pack: str, name: str) -> dict[str, Any]:
        """An example workflow of a node pack. Raises UnexpectedReply where it cannot be had."""
        place = f"{_quoted(pack)}/{_quoted(f'{name}.json')}"
        return self._parse(replies.json_object, await self._read(f"/api/workflow_templates/{place}"))

    @asynccontextmanager
    async def view(self, filename: str, subfolder: str, folder: FolderType) -> AsyncIterator[httpx2.Response]:
        """A file of the server as a stream. Raises FileGone where the server no longer has it."""
        params = {"filename": filename, "subfolder": subfolder, "type": folder}
        with self._translated("/view"):
            # Files are packed already; and where a packed answer breaks off, nothing tells.
            headers = {"Accept-Encoding": "identity"}
            async with self.http.stream("GET", "/view", params=params, headers=headers) as response:
                if response.status_code in NOT_SERVED:
                    place = f"{subfolder}/{filename}" if subfolder else filename
                    raise FileGone(
                        f"The server has no file '{place}' in its {folder} folder any more.",
                        "Temporary files go when ComfyUI restarts, others when somebody removes them: queue the "
                        "workflow again to get it.",
                    )
                await self._check(response, "/view")
                yield response

    async def node_replacements(self) -> dict[str, list[NodeReplacement]]:
        """The renamed classes that a recent server replaces by itself, as {old class: replacements}."""
        return await self._extra(replies.node_replacements, "/node_replacements") or {}

    async def startup_log(self) -> StartupLog | None:
        """Which packs the server imported at its start and which failed, as far as its log still has it; None where
        it shows no log. A server that has run for long may have nothing left of it."""
        from comfyui_api.import_failures import read_startup  # noqa: PLC0415

        return await self._extra(lambda raw: read_startup(replies.log(raw)), "/internal/logs/raw", "/internal/logs")

    async def installed_packs(self) -> dict[str, InstalledPack] | None:
        """The node packs by folder, as the server's ComfyUI-Manager has them; None where it has no Manager.

        Packs that are neither from the registry nor a git checkout are not among them.
        """
        from comfyui_api import manager  # noqa: PLC0415

        return await self._extra(manager.installed_packs, "/v2/customnode/installed", "/customnode/installed")

    async def manager_import_failure(self, folder: str, pack: InstalledPack) -> ImportFailure | None:
        """Why the pack in this folder could not be imported, which the Manager keeps longer than the log does.

        None where there is no failure, no Manager, and for packs that the Manager knows neither by id nor address.
        """
        from comfyui_api import manager  # noqa: PLC0415

        with anyio.move_on_after(EXTRA_SECONDS):
            # Of a git checkout the Manager may know the address alone: its id only where the registry has it.
            for key, name in (("url", pack.repository), ("cnr_id", pack.cnr_id)):
                if name is None:
                    continue
                failure = await self._extra(
                    lambda raw: manager.import_failure(raw, folder),
                    "/v2/customnode/import_fail_info",
                    "/customnode/import_fail_info",
                    body={key: name},
                )
                if failure is not None:
                    return failure
        return None

    async def manager_packs(self, class_types: Collection[str]) -> dict[str, list[ClaimingPack]] | None:
        """The packs that have these node classes by the Manager's list, the likeliest first; None without a Manager.

        The list is the one that the Manager has: version 3 would fetch a newer one in the mode `cache`, version 4
        does that by itself at its start.
        """
        from comfyui_api import manager  # noqa: PLC0415

        return await self._extra(
            lambda raw: manager.claiming_packs(raw, class_types),
            "/v2/customnode/getmappings?mode=cache",
            "/customnode/getmappings?mode=local",
        )

    async def manager_models(self) -> list[ModelSource] | None:
        """The models in the Manager's list; None without a Manager, and with version 4 in its own new interface."""
        from comfyui_api import manager  # noqa: PLC0415

        return await self._extra(
            manager.model_sources, "/v2/externalmodel/getlist?mode=cache", "/externalmodel/getlist?mode=local"
        )

    async def _extra(self, parse: Callable[[Any], T], *paths: str, body: Mapping[str, Any] | None = None) -> T | None:
        """The first of these routes that answers in the right form; None where none does within EXTRA_SECONDS.

        Never an error: what such a route tells makes an answer better, and no answer depends on it.
        """
        request: dict[str, Any] = {"method": "GET"}
        if body is not None:
            headers = {"Content-Type": "application/json"}
            request = {"method": "POST", "content": json.dumps(body).encode("ascii"), "headers": headers}
        with anyio.move_on_after(EXTRA_SECONDS):
            for path in paths:
                try:
                    return parse(await self._call(path=path, limit=EXTRA_LIMIT, **request))
                except (ComfyUnreachable, ComfySilent):
                    return None
                except (ComfyError, *MALFORMED):
                    continue
        return None

    async def _read(self, path: str, *, limit: int = REPLY_LIMIT) -> Any:
        try:
            return await self._call("GET", path, limit=limit)
        except ComfySilent:
            # Once more, but not for another whole time limit: whoever called is waiting.
            with anyio.move_on_after(RETRY_SECONDS):
                return await self._call("GET", path, limit=limit)
            raise

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        # Encoded here: prompts may hold NaN and lone surrogates. ComfyUI saves such ones and reads them again.
        content = json.dumps(body).encode("ascii")
        return await self._call("POST", path, content=content, headers={"Content-Type": "application/json"})

    async def _call(self, method: str, path: str, *, limit: int = REPLY_LIMIT, **body: Any) -> Any:
        with self._translated(path):
            async with self.http.stream(method, path, **body) as response:
                await self._check(response, path)
                content = await _bounded(response, limit, path)
        if not content:
            return None
        try:
            if len(content) > PARSED_ASIDE:
                return await anyio.to_thread.run_sync(json.loads, content)
            return json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise self._not_comfyui(path, content) from exc

    def _translated(self, path: str) -> _Translation:
        if self.http.is_closed:
            # At the end of the program, for what goes on in the background.
            raise ComfySilent(f"The connection to {self.url} has been closed.", "Ask again.")
        return _Translation(self.url, path, self._timeout)

    def _parse(self, parse: Callable[[Any], T], raw: Any) -> T:
        try:
            return parse(raw)
        except MALFORMED as exc:
            raise self._malformed(exc) from exc

    def _malformed(self, exc: Exception) -> UnexpectedReply:
        return UnexpectedReply(
            f"The server at {self.url} answered in a form that is not ComfyUI's ({type(exc).__name__}: {exc}).",
            "Check that the address is a ComfyUI server, and its version with check_status.",
        )

    async def _check(self, response: httpx2.Response, path: str) -> None:
        """Raise what a status other than 200 stands for."""
        status = response.status_code
        if status == 200:
            return
        text = (await _beginning(response, ERROR_TEXT_LIMIT)).decode("utf-8", "replace").strip()
        if status == 400:
            raise self._rejection(text, path)
        if status in (401, 403):
            raise AccessDenied(
                f"The server at {self.url} refused access ({status}). It says: {_excerpt(text)}.",
                "Check the credentials for this server, or whether a proxy before it wants a login.",
            )
        if status == 413:
            raise FileProblem(
                f"The server takes nothing of this size. It says: {_excerpt(text)}.",
                "Send less, or start ComfyUI with a higher --max-upload-size.",
            )
        if status in (502, 503, 504):
            raise ComfySilent(
                f"A proxy at {self.url} answered {status} instead of ComfyUI. It says: {_excerpt(text)}.",
                "Check that ComfyUI itself is running behind it.",
            )
        if status >= 500:
            raise ComfyFailed(
                f"ComfyUI failed inside while answering {path} ({status}). It says: {_excerpt(text)}.",
                "Look into ComfyUI's console or log for the cause; restart ComfyUI if it keeps failing.",
            )
        if 300 <= status < 400:
            target = response.headers.get("location", "nowhere")
            raise UnexpectedReply(
                f"The server at {self.url} sends {path} on to {target} ({status}).",
                "Use the address it points to, or log in if that is a login page.",
            )
        raise UnexpectedReply(
            f"The server at {self.url} answered {path} with {status}. It says: {_excerpt(text)}.",
            "Check that this address is a ComfyUI server; routes may be missing in old versions.",
        )

    def _rejection(self, text: str, path: str) -> ComfyError:
        try:
            return PromptRejected(replies.rejection(json.loads(text)))
        except (*MALFORMED, RecursionError):
            return UnexpectedReply(
                f"The server refused {path} (400). It says: {_excerpt(text)}.", "Check the values that were sent."
            )

    def _not_comfyui(self, path: str, content: bytes | bytearray) -> UnexpectedReply:
        text = content[:2000].decode("utf-8", "replace")
        kind = "a web page" if "<html" in text.lower() else "no JSON"
        return UnexpectedReply(
            f"The server at {self.url} answered {path} with {kind}: {_excerpt(text)}",
            "This is not ComfyUI's API: another program has this address, or a login page stands before it.",
        )


class _Translation:
    """Turns the HTTP library's errors into ours, in the one place where they can arise."""

    def __init__(self, url: str, path: str, timeout: float) -> None:
        self._url, self._path, self._timeout = url, path, timeout

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, httpx2.ReadTimeout | httpx2.WriteTimeout | httpx2.PoolTimeout):
            raise ComfySilent(
                f"ComfyUI at {self._url} gave no answer to {self._path} within {self._timeout:g} s.",
                "It may be loading a large model or be stuck: wait a little and try again.",
            ) from exc
        if isinstance(exc, httpx2.DecodingError):
            raise UnexpectedReply(
                f"The answer of {self._url} to {self._path} cannot be decoded: {_reason(exc)}.",
                "A proxy on the way may be breaking it.",
            ) from exc
        if isinstance(exc, httpx2.HTTPError) and not isinstance(exc, _NEVER_SENT):
            raise ComfySilent(
                f"The connection to ComfyUI at {self._url} broke during {self._path}: {_reason(exc)}.",
                "It may have stopped or restarted: check_status tells.",
            ) from exc
        if isinstance(exc, _NEVER_SENT):
            raise ComfyUnreachable(
                f"No ComfyUI answers at {self._url}: {_reason(exc)}.",
                "Start ComfyUI there, or give the right address in COMFYUI_URL or as `server`.",
            ) from exc


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def is_private(host: str) -> bool:
    """Whether a host is this machine or an address of a private network."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host.casefold() == "localhost" or host.casefold().endswith(".local")


async def _beginning(response: httpx2.Response, limit: int) -> bytes:
    """The first part of an error page: the status counts, however long the page is."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])


async def _bounded(response: httpx2.Response, limit: int, path: str) -> bytearray:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > limit:
            raise _too_large(path, limit)
    return content


async def _pieces(response: httpx2.Response, size: int) -> AsyncIterator[bytearray]:
    """The content in pieces of at least this size, but for the last."""
    piece = bytearray()
    async for chunk in response.aiter_bytes():
        piece += chunk
        if len(piece) >= size:
            yield piece
            piece = bytearray()
    yield piece


def _too_large(path: str, limit: int) -> UnexpectedReply:
    return UnexpectedReply(
        f"The answer to {path} is larger than {limit // 2**20} MB and was not read further.",
        "Check that this address is a ComfyUI server.",
    )


def _reason(exc: BaseException) -> str:
    """The deepest reason that a chain of exceptions gives, e.g. "Connection refused"."""
    if isinstance(exc, httpx2.ConnectTimeout):
        return "no connection in time"
    reason = str(exc) or type(exc).__name__
    below: BaseException | None = exc
    while below is not None:
        # asyncio words these errors itself ("Connect call failed"); people search for the system's words.
        if isinstance(below, ConnectionRefusedError):
            reason = "Connection refused"
        elif isinstance(below, OSError) and below.errno:
            known = below.errno > 0 and os.name == "posix"
            reason = os.strerror(below.errno) if known else below.strerror or reason
        below = below.__cause__ or below.__context__
    return reason.rstrip(".")


def userdata_path(name: str) -> str:
    """The route of a file among the editor's workflows."""
    # One segment, slashes and all; and a percent sign is decoded twice (app/user_manager.py).
    return f"/userdata/{_quoted(f'workflows/{name}'.replace('%', '%25'))}"


def _quoted(segment: str) -> str:
    # Dots too: a segment of two of them would lead out of the route.
    return quote(segment, safe="", errors="replace").replace(".", "%2E")


def _excerpt(text: str, length: int = 600) -> str:
    text = " ".join(text.split()).rstrip(".")
    return f"{text[:length]}…" if len(text) > length else text or "nothing"
