"""One ComfyUI server over HTTP: one method a route, replies parsed, errors translated once.

Routes and reply shapes: ComfyUI's server.py; foundation/api-quick-ref.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from comfyui_api import replies
from comfyui_api.comfy_server import FileStream, Look
from comfyui_api.errors import (
    AccessDenied,
    ComfyError,
    ComfyFailed,
    ComfySilent,
    ComfyUnreachable,
    FileGone,
    FileProblem,
    PromptRejected,
    ServerError,
    UnexpectedReply,
)
from comfyui_api.exchange import (
    MALFORMED,
    NO_FILE,
    PARSED_ASIDE,
    REDIRECTS,
    REPLY_LIMIT,
    RETRY_SECONDS,
    Exchange,
    bounded,
    pieces,
    quoted,
    too_large,
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
from comfyui_api.settings import NO_SECRETS, Access

if TYPE_CHECKING:  # what mending reads is imported when something has to be mended: the server starts without it
    from comfyui_api.import_failures import ImportFailure, StartupLog
    from comfyui_api.model_sources import ModelSource
    from comfyui_api.templates import Template

T = TypeVar("T")

QUEUE_LIMIT = 4 * 2**30  # read run by run: thousands of waiting runs with their workflows
LARGE_QUEUE = 4 * 2**20  # bytes of /queue from which there may be a better way to ask
HISTORY_LIMIT = 256 * 2**20
OBJECT_INFO_LIMIT = 4 * 2**30  # it goes to the disk, entry by entry
SPLIT_AT_ONCE = 2**20
ASKED_AT_ONCE = 4  # ComfyUI answers one after the other; more would only hold up its other callers
FOLDERS_LIMIT = 500
NO_MODELS = ("custom_nodes", "datasets")  # listed beside the model folders, with every file in them
# What a server may have to say beyond its own routes is worth a few seconds and megabytes, and no error.
EXTRA_SECONDS = 5.0
EXTRA_LIMIT = 32 * 2**20


class ComfyClient(Exchange):
    """A ComfyUI as people run it themselves.

    The ids of its runs are ours, and its queue and history tell what became of each.
    """

    names_runs = False
    counts_once = False
    keeps_ui_graph = True

    def __init__(self, url: str, *, timeout: float, access: Access = NO_SECRETS, below: str = "") -> None:
        super().__init__(url, timeout=timeout, access=access, below=below)
        self.has_large_queue = False
        self.maybe_sent_twice: dict[str, float] = {}
        """Runs whose first request may still arrive, with the moment (time.monotonic) until which that is watched."""
        self._lists_jobs = True

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
                    async for piece in pieces(response, SPLIT_AT_ONCE):
                        head, received = head or bytes(piece[:2000]), received + len(piece)
                        if received > OBJECT_INFO_LIMIT:
                            raise too_large(path, OBJECT_INFO_LIMIT)
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
        reply = self._parse(replies.json_object, await self._read(f"/object_info/{quoted(class_type)}"))
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
        files = self._parse(replies.names, await self._read(f"/models/{quoted(folder)}"))
        if not files:
            return {}
        try:
            # It lists other files than a loader does, but knows the sizes.
            sizes = self._parse(replies.file_sizes, await self._read(f"/experiment/models/{quoted(folder)}"))
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
                    async for piece in pieces(response, PARSED_ASIDE):
                        received += len(piece)
                        if received > QUEUE_LIMIT:
                            raise too_large(path, QUEUE_LIMIT)
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
        reply = self._parse(replies.json_object, await self._read(f"/history/{quoted(prompt_id)}"))
        entry = reply.get(prompt_id)
        return None if entry is None else self._parse(lambda raw: replies.history_entry(prompt_id, raw), entry)

    async def look(self, prompt_id: str) -> Look:
        """Where a run stands now.

        /history is silent about pending, running and unknown runs alike, so: history, queue, history again. A run moves
        from the queue to the history under one lock (execution.py, task_done), so what neither has is gone.
        """
        if (entry := await self.history(prompt_id)) is not None:
            return Look(entry.state, entry)
        queue = await self.queue()
        if (position := queue.position(prompt_id)) is not None:
            item = queue.find(prompt_id)
            if any(running.prompt_id == prompt_id for running in queue.running):
                return Look("running", item=item, double=True)
            return Look("queued", item=item, position=position, double=queue.times(prompt_id) > 1)
        if (item := queue.find(prompt_id)) is not None:
            return Look("running", item=item)
        if (entry := await self.history(prompt_id)) is not None:
            return Look(entry.state, entry)
        return Look("gone")

    async def looks(self, prompt_ids: Sequence[str]) -> dict[str, Look]:
        """Where each of the runs stands: two looks at the queue for all of them, and one at each that is not in it."""
        seen = await self._in_queue(prompt_ids)
        missing = []
        for each in prompt_ids:
            if each not in seen:
                if (entry := await self.history(each)) is not None:
                    seen[each] = Look(entry.state, entry)
                else:
                    missing.append(each)
        if missing:
            seen |= await self._in_queue(missing)
            for each in missing:
                if each not in seen:
                    entry = await self.history(each)
                    seen[each] = Look(entry.state, entry) if entry is not None else Look("gone")
        return seen

    async def _in_queue(self, prompt_ids: Sequence[str]) -> dict[str, Look]:
        queue, wanted = await self.queue(), set(prompt_ids)
        found = {item.prompt_id: Look("running", item=item) for item in queue.running if item.prompt_id in wanted}
        for position, item in enumerate(queue.pending):
            if item.prompt_id in wanted and item.prompt_id not in found:
                found[item.prompt_id] = Look("queued", item=item, position=position)
        return found

    async def queue_prompt(
        self,
        prompt: Prompt,
        *,
        prompt_id: str,
        front: bool,
        workflow: Mapping[str, Any] | None,
        spends_credits: bool = False,
    ) -> QueuedPrompt:
        """Submit a prompt under an id of our own. `workflow` is the UI graph for the picture's metadata;
        `spends_credits` sends the account's key along, which partner nodes need.

        Raises PromptRejected with the server's reasons; UnexpectedReply also for a receipt that cannot be read.
        """
        body: dict[str, Any] = {"prompt": prompt, "prompt_id": prompt_id, "client_id": self.client_id}
        if front:
            body["front"] = True
        extra = {} if workflow is None else {"extra_pnginfo": {"workflow": workflow}}
        if extra_data := extra | (self.account_data() if spends_credits else {}):
            body["extra_data"] = extra_data
        reply = await self._post("/prompt", body)
        return self._parse(lambda raw: replies.queued_prompt(prompt_id, raw), reply)

    async def find_sent(self, prompt_id: str, prompt: Prompt, since: float, known: Collection[str]) -> str | None:
        """The id itself: it was ours from the beginning."""
        return prompt_id if (await self.look(prompt_id)).state != "gone" else None

    async def cancel(self, prompt_id: str) -> None:
        """Stop a run wherever it stands. Servers before 0.30 have no route for that."""
        await self.delete_pending([prompt_id])
        await self.interrupt(prompt_id)

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
                    return await bounded(response, REPLY_LIMIT, route)
        except ComfyFailed:
            if await self._extra(replies.has_users, "/users"):  # it fails inside where no user is named
                raise AccessDenied(
                    f"The server at {self.url} keeps saved workflows for each user (--multi-user), and no user is "
                    "known here.",
                    "Name the user as comfy_user in servers.toml, or go by files that the editor exports.",
                ) from None
            raise

    async def has_file(self, filename: str, subfolder: str, folder: FolderType) -> bool:
        """Whether the server has this file, without fetching it."""
        params = {"filename": filename, "subfolder": subfolder, "type": folder}
        with self._translated("/view"):
            async with self.http.stream("GET", "/view", params=params) as response:
                if response.status_code in NO_FILE:
                    return False
                if not (self.stores_elsewhere and response.status_code in REDIRECTS):
                    await self._check(response, "/view")
                return True

    async def templates(self) -> list[Template] | None:
        """The official templates that the server brings; None where it brings none, or does not list them."""
        from comfyui_api.templates import parse_index  # noqa: PLC0415  # the server starts without it

        return await self._extra(parse_index, "/templates/index.json")

    async def template(self, name: str) -> dict[str, Any]:
        """The workflow of an official template. Raises UnexpectedReply where the server does not have it."""
        return self._parse(replies.json_object, await self._read(f"/templates/{quoted(f'{name}.json')}"))

    async def pack_workflows(self) -> list[Template]:
        """The example workflows of the node packs; none where the server lists none."""
        from comfyui_api.templates import parse_pack_workflows  # noqa: PLC0415

        return await self._extra(parse_pack_workflows, "/api/workflow_templates", "/workflow_templates") or []

    async def pack_workflow(self, pack: str, name: str) -> dict[str, Any]:
        """An example workflow of a node pack. Raises UnexpectedReply where it cannot be had."""
        place = f"{quoted(pack)}/{quoted(f'{name}.json')}"
        return self._parse(replies.json_object, await self._read(f"/api/workflow_templates/{place}"))

    @asynccontextmanager
    async def view(
        self, filename: str, subfolder: str, folder: FolderType, asset: str | None = None
    ) -> AsyncIterator[FileStream]:
        """A file of the server as a stream. Raises FileGone where the server no longer has it."""
        place = f"{subfolder}/{filename}" if subfolder else filename
        gone = FileGone(
            f"The server has no file '{place}' in its {folder} folder any more.",
            "Temporary files go when ComfyUI restarts, others when somebody removes them: queue the workflow again to "
            "get it.",
        )
        async with self._file_at(
            "/view", {"filename": filename, "subfolder": subfolder, "type": folder}, gone
        ) as stream:
            yield stream

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


def userdata_path(name: str) -> str:
    """The route of a file among the editor's workflows."""
    # One segment, slashes and all; and a percent sign is decoded twice (app/user_manager.py).
    return f"/userdata/{quoted(f'workflows/{name}'.replace('%', '%25'))}"
