"""API v2: Comfy Cloud's newer API, its deployments, and comfy-api-proxy before a ComfyUI of one's own.

Facts from openapi-v2.yaml of Comfy's documents: the server names the runs; a submission carries a key that counts once,
so that it may be repeated; files are assets under ids. It has no node classes: those come from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import anyio.to_thread

from comfyui_api.client import ASKED_AT_ONCE, SPLIT_AT_ONCE, ComfyClient
from comfyui_api.comfy_server import ComfyServer, FileStream, Look
from comfyui_api.dialects import v2_replies
from comfyui_api.dialects.cloud import CLOCKS_APART, LOOKED_THROUGH, CloudServer
from comfyui_api.errors import (
    AccessDenied,
    AlreadySent,
    ComfyBusy,
    ComfyError,
    ComfyUnreachable,
    FileGone,
    FileProblem,
    InvalidArgument,
    NotOffered,
    PaymentRequired,
    PromptRejected,
    ServerError,
)
from comfyui_api.exchange import MALFORMED, NO_FILE, REDIRECTS, Exchange, NotServed, Refused, excerpt, quoted
from comfyui_api.graph import Prompt
from comfyui_api.object_info import Entry, ObjectInfoSplitter
from comfyui_api.packs import ClaimingPack, InstalledPack, NodeReplacement
from comfyui_api.runs import (
    ASSET,
    FolderType,
    HistoryEntry,
    QueuedPrompt,
    QueueState,
    SystemStats,
    UploadedFile,
)
from comfyui_api.settings import NO_SECRETS, Access

if TYPE_CHECKING:  # imported when something has to be mended
    from comfyui_api.import_failures import ImportFailure, StartupLog
    from comfyui_api.model_sources import ModelSource

PREFIX = "/api/v2"
LISTED = 100
UNENDED = "queued,running,canceling"
ENDED = "succeeded,failed,canceled"
NO_JOB = "00000000-0000-4000-8000-000000000000"
UNKNOWN = SystemStats("unknown", "unknown", "unknown", "unknown", ())


class V2Server(Exchange, ComfyServer):
    """A connection to an API v2. What it does not tell of itself is asked of `inventory`: a ComfyUI or Comfy Cloud at
    an address, or a file of a saved /object_info; without one, of the same address in Comfy Cloud's older API."""

    stores_elsewhere: ClassVar[bool] = True
    called: ClassVar[str] = "API v2"
    if_absent: ClassVar[str] = (
        "Start the deployment or proxy that serves it, or correct its url in servers.toml; then ask again."
    )
    names_runs = True
    counts_once = True
    keeps_ui_graph = False
    has_large_queue = False

    def __init__(self, url: str, *, timeout: float, access: Access = NO_SECRETS) -> None:
        self._key = access.api_key
        headers = dict(access.headers)
        if access.api_key is not None:
            headers["Authorization"] = f"Bearer {access.api_key}"
        base = url.removesuffix(PREFIX)
        below = "" if url.endswith(PREFIX) else PREFIX
        super().__init__(url, timeout=timeout, access=replace(access, headers=headers), below=below)
        self.maybe_sent_twice = {}
        self._file, self._classes_from = _known_from(base, access, timeout)

    async def close(self) -> None:
        await super().close()
        if self._classes_from is not None:
            await self._classes_from.close()

    async def system_stats(self) -> SystemStats:
        """What stands behind it, as far as it is told. A run that cannot be there is asked for first: whether the
        server answers, and takes the key, shows by that."""
        try:
            await self._read(f"/jobs/{NO_JOB}")
        except NotServed as exc:
            if "not_found" not in exc.message:
                raise
        if self._classes_from is None:
            return UNKNOWN
        try:
            return await self._classes_from.system_stats()
        except ServerError:
            return UNKNOWN

    async def object_info(self) -> AsyncGenerator[list[Entry]]:
        """All node classes, in pieces as they come, from where they are known. Raises NotOffered where they are not."""
        if self._classes_from is not None:
            try:
                async with aclosing(self._classes_from.object_info()) as pieces:
                    async for entries in pieces:
                        yield entries
            except (NotServed, AccessDenied) as exc:
                raise self._no_classes() from exc
        elif self._file is not None:
            try:
                async for entries in _entries_in(self._file):
                    yield entries
            except FileProblem as exc:
                raise NotOffered(
                    f"{self.url} does not tell which node classes it has, and {exc.message}", exc.next_step
                ) from exc
        else:
            raise self._no_classes()

    async def object_info_of(self, class_type: str) -> dict[str, Any] | None:
        if self._classes_from is None:
            raise self._no_classes()
        try:
            return await self._classes_from.object_info_of(class_type)
        except (NotServed, AccessDenied) as exc:
            raise self._no_classes() from exc

    async def models(self) -> dict[str, dict[str, int | None]]:
        if self._classes_from is None:
            raise self._no_classes()
        return await self._classes_from.models()

    async def embeddings(self) -> list[str]:
        if self._classes_from is None:
            raise self._no_classes()
        return await self._classes_from.embeddings()

    def _no_classes(self) -> NotOffered:
        return NotOffered(
            f"{self.url} does not tell which node classes it has.",
            "Name in servers.toml where they are known, as `inventory` of this server: the address or name of its "
            "ComfyUI, or a file of a saved /object_info.",
        )

    async def look(self, prompt_id: str) -> Look:
        """Where a run stands now."""
        seen = await self._look(prompt_id)
        # comfy-api-proxy asks the history before the queue: a run that ends in between looks lost for a moment.
        return await self._look(prompt_id) if seen.state == "gone" else seen

    async def _look(self, prompt_id: str) -> Look:
        path = f"/jobs/{quoted(prompt_id)}"
        try:
            job = await self._read(path)
        except (Refused, InvalidArgument):
            return Look("gone")  # not there, or no id that could be
        prompt = None
        if self._parse(v2_replies.has_ended, job):
            try:
                prompt = self._parse(v2_replies.graph, await self._read(f"{path}/workflow"))
            except ServerError:
                prompt = None  # it makes an answer better, and none depends on it
        return self._parse(lambda raw: v2_replies.look(prompt_id, raw, prompt), job)

    async def looks(self, prompt_ids: Sequence[str]) -> dict[str, Look]:
        """Where each of these runs stands now."""
        found: dict[str, Look] = {}
        failures: list[ServerError] = []
        at_once = anyio.CapacityLimiter(ASKED_AT_ONCE)

        async def look_at(prompt_id: str) -> None:
            async with at_once:
                try:
                    found[prompt_id] = await self.look(prompt_id)
                except ServerError as exc:
                    failures.append(exc)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for prompt_id in prompt_ids:
                tasks.start_soon(look_at, prompt_id)
        if failures:
            raise failures[0]
        return found

    async def queue(self) -> QueueState:
        """What runs and what waits, where the server lists it: comfy-api-proxy does, of what came through it."""
        return self._parse(v2_replies.queue_state, await self._listed(f"status={UNENDED}&limit={LISTED}"))

    async def history_page(self, count: int, *, oldest: bool = False) -> list[HistoryEntry]:
        """The newest runs that have ended, where the server lists them. It does not tell its oldest."""
        if oldest:
            raise NotOffered(f"{self.url} does not tell its oldest runs.")
        return self._parse(v2_replies.ended, await self._listed(f"status={ENDED}&limit={min(count, LISTED)}"))

    async def _listed(self, query: str) -> Any:
        try:
            return await self._read(f"/jobs?{query}")
        except NotServed as exc:
            raise NotOffered(
                f"{self.url} does not list its runs.", "Ask for each by its prompt_id, with poll_result."
            ) from exc

    async def queue_prompt(
        self,
        prompt: Prompt,
        *,
        prompt_id: str,
        front: bool,
        workflow: Mapping[str, Any] | None,
        spends_credits: bool = False,
    ) -> QueuedPrompt:
        """Submit a prompt. Our id is the key that counts once: the same submission may be sent again.

        The server takes no UI graph along.
        """
        if front:
            raise NotOffered(
                f"{self.url} decides itself what it runs next: front=true is not offered.", "Leave front out."
            )
        body: dict[str, Any] = {"workflow": v2_replies.with_references(prompt)}
        if spends_credits and (account := self.account_data()):
            body["extra_data"] = account
        headers = {"Content-Type": "application/json", "Idempotency-Key": prompt_id}
        reply = await self._call("POST", "/jobs", content=json.dumps(body).encode("ascii"), headers=headers)
        return self._parse(v2_replies.receipt, reply)

    async def find_sent(self, prompt_id: str, prompt: Prompt, since: float, known: Collection[str]) -> str | None:
        """The server's id of the one new run that has this very prompt. Raises NotOffered where it lists none."""
        if not prompt:
            return None
        listed = await self._listed(f"limit={LOOKED_THROUGH}")
        newest = self._parse(lambda raw: v2_replies.candidates(raw, since - CLOCKS_APART), listed)
        found = []
        for each in newest:
            if each in known:
                continue
            try:
                told = self._parse(v2_replies.graph, await self._read(f"/jobs/{quoted(each)}/workflow"))
            except NotServed:
                continue
            if v2_replies.is_same_prompt(prompt, told):
                found.append(each)
        return found[0] if len(found) == 1 else None

    async def cancel(self, prompt_id: str) -> None:
        """Stop a run wherever it stands. One that has ended already is left as it is."""
        try:
            await self._post(f"/jobs/{quoted(prompt_id)}/cancel", {})
        except (Refused, InvalidArgument):
            return  # there is none: the next look says so

    async def upload(
        self, name: str, content: bytes, media_type: str, *, subfolder: str | None, overwrite: bool
    ) -> UploadedFile:
        """Bring a file to the server, which keeps it under an id; the same bytes are kept once."""
        path = f"{subfolder}/{name}" if subfolder else name
        form = {"content_type": media_type, "file_path": path, "tags": "input"}
        reply = await self._call("POST", "/assets", data=form, files={"file": (name, content, media_type)})
        return self._parse(partial(v2_replies.uploaded, name), reply)

    async def has_file(self, filename: str, subfolder: str, folder: FolderType) -> bool:
        """Whether the server has the asset that a value such as "asset:ID" names. Raises NotOffered for other names:
        it does not tell of files that it did not get through its API."""
        if not filename.startswith(ASSET):
            return await self._has_named_file(filename, subfolder, folder)
        path = f"/assets/{quoted(filename.removeprefix(ASSET).strip())}"
        with self._translated(path):
            async with self.http.stream("GET", path) as response:
                if response.status_code in NO_FILE:
                    return False
                if response.status_code not in REDIRECTS:
                    await self._check(response, path)
                return True

    async def _has_named_file(self, filename: str, subfolder: str, folder: FolderType) -> bool:
        if self._behind is None:
            raise NotOffered(f"{self.url} does not tell which files it has by name.")
        return await self._behind.has_file(filename, subfolder, folder)

    @property
    def _behind(self) -> ComfyClient | None:
        """The ComfyUI behind the API, where its address is known."""
        return None if isinstance(self._classes_from, CloudServer) else self._classes_from

    async def node_replacements(self) -> dict[str, list[NodeReplacement]]:
        return await self._behind.node_replacements() if self._behind is not None else {}

    async def startup_log(self) -> StartupLog | None:
        return await self._behind.startup_log() if self._behind is not None else None

    async def installed_packs(self) -> dict[str, InstalledPack] | None:
        return await self._behind.installed_packs() if self._behind is not None else None

    async def manager_import_failure(self, folder: str, pack: InstalledPack) -> ImportFailure | None:
        return await self._behind.manager_import_failure(folder, pack) if self._behind is not None else None

    async def manager_packs(self, class_types: Collection[str]) -> dict[str, list[ClaimingPack]] | None:
        return await self._behind.manager_packs(class_types) if self._behind is not None else None

    async def manager_models(self) -> list[ModelSource] | None:
        return await self._behind.manager_models() if self._behind is not None else None

    @asynccontextmanager
    async def view(
        self, filename: str, subfolder: str, folder: FolderType, asset: str | None = None
    ) -> AsyncIterator[FileStream]:
        """The content of an asset as a stream. Raises FileGone where the server no longer has it."""
        gone = FileGone(
            f"The server no longer has the file '{filename}'.",
            "It keeps files for some time only: queue the workflow again to get it.",
        )
        if asset is None:
            raise gone
        async with self._file_at(f"/assets/{quoted(asset)}/content", None, gone) as stream:
            yield stream

    def _meaning(self, status: int, text: str, retry_after: float | None) -> ComfyError | None:
        """What the error envelopes of API v2 stand for."""
        try:
            code, message, details = v2_replies.error_code(json.loads(text))
        except (*MALFORMED, RecursionError):
            return None
        words = excerpt(message)
        match code:
            case "idempotency_key_reuse":
                return AlreadySent(f"{self.url} has had this submission already.", "Look for its run there.")
            case "invalid_workflow" | "workflow_format_ui" | "missing_asset":
                return PromptRejected(v2_replies.faults(code, message, details))
            case "insufficient_credits":
                return PaymentRequired(
                    f"{self.url} does not run this with the account's credits or plan. It says: {words}.",
                    "Nothing was queued. Look at the credits and the plan of the account at platform.comfy.org.",
                )
            case "deployment_stopped":
                return ComfyUnreachable(
                    f"The deployment at {self.url} is stopped. It says: {words}.", "Start it, then try again."
                )
            case "queue_full" | "deployment_not_ready" | "rate_limited" | "too_many_streams":
                when = f"in {retry_after:.0f} s" if retry_after is not None else "in a little while"
                return ComfyBusy(f"{self.url} is not ready for this: {words}.", f"Try again {when}.", retry_after)
            case "unauthorized" | "forbidden":
                given = "did not accept the key" if self._key is not None else "wants a key"
                return AccessDenied(
                    f"{self.url} {given} ({status}). It says: {words}.",
                    "Set key of this server in servers.toml, or COMFYUI_API_KEY where it is the default server.",
                )
            case "payload_too_large":
                return FileProblem(f"The server takes nothing of this size. It says: {words}.", "Send less.")
            case "not_implemented":
                return NotOffered(f"{self.url} does not do this: {words}.", "Do without it.")
            case "invalid_request" if status in (400, 422):
                return InvalidArgument(f"{self.url} refused the request. It says: {words}.", "Check what was sent.")
        return None


def _known_from(base: str, access: Access, timeout: float) -> tuple[Path | None, ComfyClient | None]:
    """Where the node classes of an API v2 are known: a saved /object_info, or another server. The key of this one goes
    along to the same address only."""
    told, there = access.inventory, access.inventory_access or NO_SECRETS
    if told is None or told.rstrip("/").removesuffix(PREFIX) == base:
        return None, CloudServer(base, timeout=timeout, access=access)
    if "://" in told:
        kind = CloudServer if there.kind == "cloud" else ComfyClient
        return None, kind(told.rstrip("/"), timeout=timeout, access=there)
    return Path(told), None


async def _entries_in(path: Path) -> AsyncIterator[list[Entry]]:
    """The entries of a saved /object_info. Raises FileProblem for one that cannot be read."""
    splitter = ObjectInfoSplitter()
    if not path.is_file():  # a pipe would be waited for
        raise FileProblem(
            f"{path} is no file, and no server of that name is configured.", "Correct inventory in servers.toml."
        )
    try:
        async with await anyio.open_file(path, "rb") as file:
            while piece := await file.read(SPLIT_AT_ONCE):
                yield await anyio.to_thread.run_sync(splitter.feed, bytearray(piece))
        yield await anyio.to_thread.run_sync(splitter.finish)
    except OSError as exc:
        raise FileProblem(
            f"{path} could not be read: {exc.strerror or exc}.", "Correct inventory in servers.toml."
        ) from exc
    except ValueError as exc:
        raise FileProblem(f"{path} is no saved /object_info: {exc}.", "Save the server's answer as it is.") from exc
