"""What the operations ask of a server, whichever dialect it speaks: a ComfyUI of one's own, Comfy Cloud, API v2."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from comfyui_api.errors import ComfyError, NotOffered
from comfyui_api.graph import Prompt
from comfyui_api.object_info import Entry
from comfyui_api.packs import ClaimingPack, InstalledPack, NodeReplacement
from comfyui_api.runs import (
    FolderType,
    HistoryEntry,
    Progress,
    QueuedPrompt,
    QueueItem,
    QueueState,
    RunState,
    SavedWorkflowFile,
    SystemStats,
    UploadedFile,
)

if TYPE_CHECKING:  # what mending reads is imported when something has to be mended: the server starts without it
    from comfyui_api.import_failures import ImportFailure, StartupLog
    from comfyui_api.model_sources import ModelSource
    from comfyui_api.templates import Template


@dataclass(frozen=True)
class Look:
    """A run at one moment. `entry` is set once it has ended, `item` while it is in the queue, `progress` where the
    server tells it when asked."""

    state: RunState
    entry: HistoryEntry | None = None
    item: QueueItem | None = None
    position: int | None = None
    trouble: ComfyError | None = None
    double: bool = False
    """Whether the same id stands in the queue more than once."""
    progress: Progress | None = None
    expired: bool = False
    """The server had this run, and keeps runs for some time only."""


class FileStream(Protocol):
    """The content of a file as it comes."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]: ...


class ComfyServer(Protocol):
    """A connection to one server. Every method raises ServerErrors, and NotOffered for what this kind of server
    cannot do: so do all that stand here with a body, where a dialect has none of its own."""

    url: str
    client_id: str
    has_large_queue: bool
    maybe_sent_twice: dict[str, float]
    """Runs whose first request may still arrive, with the moment (time.monotonic) until which that is watched."""

    @property
    def names_runs(self) -> bool:
        """Whether the server gives each run its id; otherwise that is ours, and a run can be found by it before the
        server has answered."""

    @property
    def counts_once(self) -> bool:
        """Whether a submission may be sent again: the server refuses what it has had (AlreadySent)."""

    @property
    def keeps_ui_graph(self) -> bool:
        """Whether a run's files get the UI graph in their metadata, from which the editor opens them."""

    @property
    def has_account_key(self) -> bool:
        """Whether there is a key for partner nodes that may be sent to this server."""

    async def close(self) -> None: ...

    async def system_stats(self) -> SystemStats: ...

    def object_info(self) -> AsyncGenerator[list[Entry]]:
        """All node classes, in pieces as they come."""

    async def object_info_of(self, class_type: str) -> dict[str, Any] | None:
        """One node class as it comes, or None where the server does not have it."""

    async def models(self) -> dict[str, dict[str, int | None]]:
        """The model files of every folder, {folder: {file: size in bytes}}; None where no size is told."""

    async def embeddings(self) -> list[str]:
        """The embeddings as prompts name them, without the ending."""

    async def look(self, prompt_id: str) -> Look:
        """Where a run stands now."""

    async def looks(self, prompt_ids: Sequence[str]) -> dict[str, Look]:
        """Where each of these runs stands now."""

    async def queue_prompt(
        self,
        prompt: Prompt,
        *,
        prompt_id: str,
        front: bool,
        workflow: Mapping[str, Any] | None,
        spends_credits: bool = False,
    ) -> QueuedPrompt:
        """Submit a prompt under an id of our own, by which `find_sent` finds it where the server gives another.

        `workflow` is the UI graph for the files' metadata; `spends_credits` sends the account's key along.
        Raises PromptRejected with the server's reasons, and AlreadySent where it has had this very submission before.
        """

    async def find_sent(self, prompt_id: str, prompt: Prompt, since: float, known: Collection[str]) -> str | None:
        """The server's own id of a run that was sent as `prompt_id` after `since` (seconds since 1970), where it can
        be found and is none of those that are `known`."""
        raise NotOffered(f"{self.url} does not find a run by what was sent.")

    async def queue(self) -> QueueState:
        """What runs and what waits."""
        raise NotOffered(f"{self.url} does not list what waits there.", "Ask for a run by its prompt_id.")

    async def queue_remaining(self) -> int:
        """How many runs are running or waiting."""
        queue = await self.queue()
        return len(queue.running) + len(queue.pending)

    async def history_page(self, count: int, *, oldest: bool = False) -> list[HistoryEntry]:
        """The newest runs that have ended, or the oldest that the server still knows, in the order of their end."""
        raise NotOffered(f"{self.url} does not list what has run there.", "Ask for a run by its prompt_id.")

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """The entry of a run that has ended; None while it has not, and for a run that is not known."""
        return (await self.look(prompt_id)).entry

    async def cancel(self, prompt_id: str) -> None:
        """Stop a run wherever it stands, on a server that names its runs itself."""
        raise NotOffered(f"{self.url} has no one way to stop a run.")

    async def interrupt(self, prompt_id: str) -> None:
        """Stop this run if it is running. The server answers alike whether it was or not."""
        await self.cancel(prompt_id)

    async def delete_pending(self, prompt_ids: list[str]) -> None:
        """Take runs out of the queue. The server answers alike whether they were in it or not."""
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
        """Bring a file to the server. The name in the answer may differ from the one sent."""

    async def has_file(self, filename: str, subfolder: str, folder: FolderType) -> bool:
        """Whether the server has this file, without fetching it."""

    def view(
        self, filename: str, subfolder: str, folder: FolderType, asset: str | None = None
    ) -> AbstractAsyncContextManager[FileStream]:
        """A file of the server as a stream. Raises FileGone where the server no longer has it."""

    async def saved_workflows(self) -> list[SavedWorkflowFile]:
        """The workflows that were saved in the editor."""
        raise NotOffered(f"{self.url} tells nothing of saved workflows.", "Give the path of a file.")

    async def saved_workflow(self, name: str) -> bytes | None:
        """The content of a workflow saved in the editor, by its path as listed; None where it is not there."""
        raise NotOffered(f"{self.url} gives no saved workflows.", "Give the path of a file.")

    async def save_workflow(self, name: str, content: bytes) -> None:
        """Save a workflow among those of the editor. Raises FileProblem where one has this name: none is replaced."""
        raise NotOffered(f"{self.url} keeps no workflows.", "Save it in the project.")

    async def template(self, name: str) -> dict[str, Any]:
        """The workflow of an official template. Raises UnexpectedReply where the server does not have it."""
        raise NotOffered(f"{self.url} brings no templates.", "Give the path of a file.")

    async def pack_workflow(self, pack: str, name: str) -> dict[str, Any]:
        """An example workflow of a node pack. Raises UnexpectedReply where it cannot be had."""
        raise NotOffered(f"{self.url} brings no example workflows.", "Give the path of a file.")

    # What follows makes answers better, and no answer depends on it: nothing is told where nothing is offered.

    async def templates(self) -> list[Template] | None:
        """The official templates that the server brings; None where it brings none, or does not list them."""
        return None

    async def pack_workflows(self) -> list[Template]:
        """The example workflows of the node packs; none where the server lists none."""
        return []

    async def node_replacements(self) -> dict[str, list[NodeReplacement]]:
        return {}

    async def startup_log(self) -> StartupLog | None:
        return None

    async def installed_packs(self) -> dict[str, InstalledPack] | None:
        return None

    async def manager_import_failure(self, folder: str, pack: InstalledPack) -> ImportFailure | None:
        return None

    async def manager_packs(self, class_types: Collection[str]) -> dict[str, list[ClaimingPack]] | None:
        return None

    async def manager_models(self) -> list[ModelSource] | None:
        return None
