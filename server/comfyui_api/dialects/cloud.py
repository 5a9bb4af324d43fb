"""Comfy Cloud's own API (v1): ComfyUI's routes below /api, with jobs in place of queue and history.

Facts from openapi-cloud.yaml of Comfy's documents and from comfy-cli: the server names the runs, `front`, `number` and
`subfolder` are ignored, /api/interrupt would stop all runs of the account, files are kept in a storage elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import anyio

from comfyui_api import replies
from comfyui_api.client import ASKED_AT_ONCE, FOLDERS_LIMIT, ComfyClient
from comfyui_api.comfy_server import Look
from comfyui_api.dialects import cloud_replies
from comfyui_api.dialects.cloud_replies import MARK
from comfyui_api.errors import (
    AccessDenied,
    ComfyError,
    ComfyFailed,
    NotOffered,
    PaymentRequired,
    PromptRejected,
    ServerError,
)
from comfyui_api.events import EventStream
from comfyui_api.exchange import NotServed, Refused, excerpt, quoted
from comfyui_api.graph import Prompt
from comfyui_api.runs import HistoryEntry, QueuedPrompt, QueueState, UploadedFile
from comfyui_api.settings import NO_SECRETS, Access

T = TypeVar("T")

PREFIX = "/api"
UNENDED = "pending,in_progress"
ENDED = "completed,failed,cancelled"
LISTED = 500
LOOKED_THROUGH = 10  # runs among which one of ours is searched for
CLOCKS_APART = 60.0  # seconds by which the server's clock may differ from ours
# Older servers say with 429 what 402 stands for: waiting does not help against it.
_PLAN_REFUSALS = frozenset(
    {
        "FREE_TIER_EXHAUSTED",
        "FREE_TIER_NOT_ALLOWED",
        "PAYMENT_REQUIRED",
        "CLOUD_SUBSCRIPTION_REQUIRED",
        "PARTNER_NODE_PAYMENT_REQUIRED",
        "MODEL_PAYMENT_REQUIRED",
    }
)


class CloudServer(ComfyClient):
    """A connection to Comfy Cloud. Credentials go to its address only, not to the storage that files come from."""

    stores_elsewhere: ClassVar[bool] = True
    called: ClassVar[str] = "Comfy Cloud"
    if_absent: ClassVar[str] = (
        "Check the way to it (network, proxy) and its address in servers.toml or COMFYUI_URL, and ask again."
    )
    names_runs = True

    def __init__(self, url: str, *, timeout: float, access: Access = NO_SECRETS) -> None:
        self._key = access.api_key
        if access.api_key is not None:
            # The account that pays for the run pays for its partner nodes as well.
            headers = {**access.headers, "X-API-Key": access.api_key}
            access = replace(access, headers=headers, partner_key=access.partner_key or access.api_key)
        below = "" if url.endswith(PREFIX) else PREFIX
        super().__init__(url, timeout=timeout, access=access, below=below)
        self._tells_single_classes = True

    def socket_address(self) -> tuple[str, dict[str, str]]:
        """(address, query) of the WebSocket, which takes the key in its query and tells of all runs of the account."""
        address, query = super().socket_address()
        address = address.removesuffix("/ws").removesuffix(PREFIX) + "/ws"
        return address, query if self._key is None else {**query, "token": self._key}

    async def object_info_of(self, class_type: str) -> dict[str, Any] | None:
        """One node class, where the server tells single ones. Raises NotOffered where it tells all of them or none."""
        if self._tells_single_classes:
            try:
                return await super().object_info_of(class_type)
            except NotServed:
                self._tells_single_classes = False
        raise NotOffered(f"{self.url} tells all of its node classes or none.")

    async def models(self) -> dict[str, dict[str, int | None]]:
        """The model files of every folder, {folder: {file: size in bytes}}; None where no size is told.

        A folder that cannot be listed is left out.
        """
        folders = self._parse(cloud_replies.model_folders, await self._read("/experiment/models"))[:FOLDERS_LIMIT]
        found: dict[str, dict[str, int | None]] = {}
        at_once = anyio.CapacityLimiter(ASKED_AT_ONCE)
        failures: list[ServerError] = []

        async def list_folder(folder: str) -> None:
            async with at_once:
                try:
                    found[folder] = await self._model_files(folder)
                except ComfyFailed:
                    return
                except ServerError as exc:
                    failures.append(exc)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for folder in folders:
                tasks.start_soon(list_folder, folder)
        if failures:
            raise failures[0]
        return {folder: found[folder] for folder in folders if folder in found}

    async def _model_files(self, folder: str) -> dict[str, int | None]:
        try:
            raw = await self._read(f"/experiment/models/{quoted(folder)}")
        except NotServed:
            return {}  # an empty folder is told like one that is not there
        return self._parse(cloud_replies.model_files, raw)

    async def embeddings(self) -> list[str]:
        """The embeddings as prompts name them, without the ending."""
        return [name.rpartition(".")[0] or name for name in await self._model_files("embeddings")]

    async def look(self, prompt_id: str) -> Look:
        """Where a run stands now."""
        path = f"/jobs/{quoted(prompt_id)}"
        try:
            job = await self._read(path)
        except (Refused, PromptRejected):
            return Look("gone")  # not there, or no id that could be
        kept = await self._kept(prompt_id) if self._parse(cloud_replies.lacks_outputs, job) else None
        return self._parse(lambda raw: cloud_replies.look(prompt_id, raw, kept), job)

    async def _kept(self, prompt_id: str) -> Any:
        """A run's entry of the history, which is there a little later than the job has ended."""
        try:
            raw = await self._read(f"/history_v2/{quoted(prompt_id)}")
        except NotServed:
            return None
        return self._parse(partial(cloud_replies.kept_entry, prompt_id), raw)

    async def looks(self, prompt_ids: Sequence[str]) -> dict[str, Look]:
        """Where each of these runs stands: those that go on are listed, the others are asked for one by one."""
        listed = await self.queue()
        found: dict[str, Look] = {}
        for prompt_id in prompt_ids:
            if any(item.prompt_id == prompt_id for item in listed.running):
                found[prompt_id] = Look("running", item=listed.find(prompt_id))
            elif (item := listed.find(prompt_id)) is not None:
                found[prompt_id] = Look("queued", item=item)
            else:
                found[prompt_id] = await self.look(prompt_id)
        return found

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """The entry of a run that has ended; None while it has not, and for a run that is not known."""
        return (await self.look(prompt_id)).entry

    async def queue(self) -> QueueState:
        """What runs and what waits of this account. Runs of one account may go on side by side."""
        path = f"/jobs?status={UNENDED}&sort_by=create_time&sort_order=asc&limit={LISTED}"
        return self._parse(cloud_replies.queue_state, await self._read(path))

    async def history_page(self, count: int, *, oldest: bool = False) -> list[HistoryEntry]:
        """The newest runs of this account that have ended, or the oldest, in the order of their end, in short."""
        order = "asc" if oldest else "desc"
        path = f"/jobs?status={ENDED}&sort_by=create_time&sort_order={order}&limit={count}"
        return self._parse(cloud_replies.ended, await self._read(path))

    async def queue_prompt(
        self,
        prompt: Prompt,
        *,
        prompt_id: str,
        front: bool,
        workflow: Mapping[str, Any] | None,
        spends_credits: bool = False,
    ) -> QueuedPrompt:
        """Submit a prompt. The run gets an id of the server's own; ours goes along, to find it by."""
        if front:
            raise NotOffered(
                f"{self.url} decides itself what it runs next: front=true is not offered.", "Leave front out."
            )
        extra: dict[str, Any] = {MARK: prompt_id}
        if workflow is not None:
            extra["extra_pnginfo"] = {"workflow": workflow}
        if spends_credits:
            extra |= self.account_data()
        reply = await self._post("/prompt", {"prompt": prompt, "client_id": self.client_id, "extra_data": extra})
        return self._parse(partial(_receipt, prompt_id), reply)

    async def find_sent(self, prompt_id: str, prompt: Prompt, since: float, known: Collection[str]) -> str | None:
        """The server's own id of a run that was sent as `prompt_id`, by the mark that went along with it."""
        listed = await self._read(f"/jobs?sort_by=create_time&sort_order=desc&limit={LOOKED_THROUGH}")
        newest = self._parse(lambda raw: cloud_replies.candidates(raw, since - CLOCKS_APART), listed)
        for each in newest:
            if each in known:
                continue
            for path in (f"/jobs/{quoted(each)}", f"/history_v2/{quoted(each)}"):
                try:
                    told = await self._read(path)
                except NotServed:
                    continue
                if cloud_replies.has_mark(told, prompt_id):
                    return each
        return None

    async def cancel(self, prompt_id: str) -> None:
        """Stop a run wherever it stands. One that has ended already is left as it is."""
        try:
            await self._post(f"/jobs/{quoted(prompt_id)}/cancel", {})
        except (Refused, PromptRejected):
            return  # there is none: the next look says so

    async def interrupt(self, prompt_id: str) -> None:
        """Stop this run. Never by /api/interrupt, which stops every run of the account."""
        await self.cancel(prompt_id)

    async def delete_pending(self, prompt_ids: list[str]) -> None:
        for prompt_id in prompt_ids:
            await self.cancel(prompt_id)

    async def free(self, *, unload_models: bool, free_memory: bool) -> None:
        raise NotOffered(
            f"{self.url} looks after its memory itself: it cannot be asked to free it.",
            "There is nothing to do: each run gets what it needs.",
        )

    async def upload(
        self, name: str, content: bytes, media_type: str, *, subfolder: str | None, overwrite: bool
    ) -> UploadedFile:
        """Bring a file to the server, which names it after its content and knows no subfolders."""
        uploaded = await super().upload(name, content, media_type, subfolder=None, overwrite=overwrite)
        return replace(uploaded, subfolder="", type="input")

    async def save_workflow(self, name: str, content: bytes) -> None:
        """Save a workflow among the account's, where the server keeps them. Raises NotOffered where it does not."""
        try:
            await super().save_workflow(name, content)
        except NotServed as exc:
            raise NotOffered(f"{self.url} keeps no workflows.", "Save it in the project.") from exc

    async def _extra(self, parse: Callable[[Any], T], *paths: str, body: Mapping[str, Any] | None = None) -> T | None:
        """Neither logs nor a Manager are to be had there."""
        return None

    def _meaning(self, status: int, text: str, retry_after: float | None) -> ComfyError | None:
        if status == 429 and any(kind in text for kind in _PLAN_REFUSALS):
            status = 402
        if status == 402:
            return PaymentRequired(
                f"{self.url} does not run this with the account's credits or plan. It says: {excerpt(text)}.",
                "Nothing was queued. Look at the credits and the plan of the account at platform.comfy.org.",
            )
        if status == 401 or (status == 403 and self._key is None):
            return AccessDenied(
                f"{self.url} did not accept the key ({status})."
                if self._key is not None
                else f"{self.url} wants a key ({status}).",
                "Make one at platform.comfy.org and set COMFYUI_API_KEY, or key of this server in servers.toml.",
            )
        return None


class CloudEvents(EventStream):
    """Comfy Cloud's WebSocket: it tells of all runs of the account, side by side, and not of the queue as a whole."""

    _one_at_a_time = False

    def expect_news(self, heard: int) -> None:
        """Nothing: silence does not show that the socket is deaf."""


def _receipt(prompt_id: str, raw: Any) -> QueuedPrompt:
    """The receipt of a prompt, which has to name the run. Raises KeyError and TypeError."""
    if not isinstance(json_id := replies.json_object(raw)["prompt_id"], str) or not json_id:
        raise TypeError("the receipt names no run")
    return replies.queued_prompt(prompt_id, raw)
