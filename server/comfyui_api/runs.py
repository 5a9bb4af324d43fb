"""What a ComfyUI server says of itself and its runs, parsed: the words between the adapters and the operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

RunState: TypeAlias = Literal["queued", "running", "completed", "failed", "interrupted", "gone", "unreachable"]
FolderType: TypeAlias = Literal["input", "output", "temp"]
FINAL_STATES: frozenset[str] = frozenset({"completed", "failed", "interrupted", "gone"})
# The state of several runs together: the first of these that one of them has.
ATTENTION: tuple[RunState, ...] = ("unreachable", "running", "queued", "failed", "gone", "interrupted", "completed")


ASSET = "asset:"


def asset_value(asset: str) -> str:
    """What stands in a prompt for a file that the server keeps under an id (API v2); it is put in its form there when
    the prompt is sent."""
    return f"{ASSET}{asset}"


@dataclass(frozen=True)
class Device:
    name: str
    type: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True)
class SystemStats:
    """The parts of /system_stats that matter to a caller; sizes in bytes."""

    comfyui_version: str
    os: str
    python_version: str
    pytorch_version: str
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class QueueItem:
    """One entry of /queue. `number` orders the pending ones, the smallest first.

    `prompt` is kept of running ones only, as a thousand waiting ones may be of 500 MB; `text` is the first text of it.
    """

    number: float
    prompt_id: str
    prompt: Mapping[str, Any]
    created_ms: int | None
    client_id: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class QueueState:
    """The queue at one moment: what runs, and what waits in the order in which it will run."""

    running: tuple[QueueItem, ...]
    pending: tuple[QueueItem, ...]

    def position(self, prompt_id: str) -> int | None:
        """How many runs are before a pending one (0: the next), or None where it is not pending."""
        for index, item in enumerate(self.pending):
            if item.prompt_id == prompt_id:
                return index
        return None

    def find(self, prompt_id: str) -> QueueItem | None:
        return next((item for item in (*self.running, *self.pending) if item.prompt_id == prompt_id), None)

    def times(self, prompt_id: str) -> int:
        """How often a run stands in the queue: ComfyUI takes the same id twice, and runs both."""
        return sum(item.prompt_id == prompt_id for item in (*self.running, *self.pending))


@dataclass(frozen=True)
class OutputFile:
    """One file that a run left on the server. `asset`: the id under which a server without folders keeps it."""

    node_id: str
    kind: str
    filename: str
    subfolder: str
    type: FolderType
    asset: str | None = None


@dataclass(frozen=True)
class OutputText:
    """A text that a node showed, which is no file."""

    node_id: str
    text: str


@dataclass(frozen=True)
class ExecutionError:
    """The server's report of a node that failed, as it came: `traceback` is a text for each frame, `inputs` the values
    of each input (numbers, booleans, None, texts and dumps), `executed` the nodes that were done before it."""

    node_id: str
    class_type: str
    exception_type: str
    exception_message: str
    traceback: tuple[str, ...] = ()
    inputs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    executed: tuple[str, ...] = ()


@dataclass(frozen=True)
class HistoryEntry:
    """A run that has ended. `state` tells a failure from an interruption, which ComfyUI calls `error` alike."""

    prompt_id: str
    state: Literal["completed", "failed", "interrupted"]
    files: tuple[OutputFile, ...]
    texts: tuple[OutputText, ...]
    prompt: Mapping[str, Any]
    cached_nodes: frozenset[str] = frozenset()
    error: ExecutionError | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    number: float | None = None
    client_id: str | None = None
    created_ms: int | None = None
    text: str | None = None
    workflow: Mapping[str, Any] | None = None
    """The UI graph that went along with the prompt."""
    output_count: int | None = None
    """How many outputs there are, where the entry comes from a list that leaves them out."""


@dataclass(frozen=True)
class Progress:
    """How far the node that is running has come, and how many nodes have finished before it, where that is told.

    `rate` is in steps a second, once two steps of this node have been seen. `share`, from 0 to 1, is how much of the
    whole run is done, and `class_type` the node's class, where the server tells them.
    """

    node_id: str
    value: float
    max: float
    finished_nodes: int | None = None
    rate: float | None = None
    share: float | None = None
    class_type: str | None = None

    @property
    def seconds_left(self) -> float | None:
        """What this node still takes at the rate it has had, where that is known."""
        return (self.max - self.value) / self.rate if self.rate and self.value < self.max else None


@dataclass(frozen=True)
class LivePreview:
    """The latest picture that a node showed while it ran, encoded as it came."""

    content: bytes
    media_type: str
    node_id: str | None = None


@dataclass(frozen=True)
class NodeFault:
    """One thing that the server itself says is wrong with a prompt, in its words. `node_id` is None for the whole."""

    code: str
    message: str
    node_id: str | None = None
    class_type: str | None = None
    input: str | None = None
    received: Any = None
    dependent_outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueuedPrompt:
    """The server's receipt. `faults` is not empty where it dropped some of the outputs (partial accept)."""

    prompt_id: str
    number: float | None
    faults: tuple[NodeFault, ...] = ()


@dataclass(frozen=True)
class SavedWorkflowFile:
    """A workflow that a person saved in the editor. `name`: its path below the editor's folder, with the ending .json;
    `size` in bytes and `modified` in seconds since 1970 where the server tells them."""

    name: str
    size: int | None = None
    modified: float | None = None


@dataclass(frozen=True)
class UploadedFile:
    name: str
    subfolder: str
    type: str
    asset: str | None = None

    @property
    def value(self) -> str:
        """What a loader node's input takes for this file."""
        if self.asset is not None:
            return asset_value(self.asset)
        path = f"{self.subfolder}/{self.name}" if self.subfolder else self.name
        return path if self.type == "input" else f"{path} [{self.type}]"
