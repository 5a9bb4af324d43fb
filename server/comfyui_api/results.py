"""What the operations give back, one model a tool: the fields are the contract with agents and scripts.

A field that has nothing to say is left out of the JSON. foundation/tool-results.schema.json is made from these models.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from comfyui_api.findings import Finding, Note, Repair
from comfyui_api.graph import WorkflowFormat
from comfyui_api.harmless import harmless
from comfyui_api.previews import Picture
from comfyui_api.runs import Device, RunState


@dataclass(frozen=True)
class Link:
    """A file that the client may open: what an answer points to."""

    path: str
    media_type: str
    bytes: int


class ToolResult(BaseModel):
    """`pictures` and `links` travel beside the JSON, as content of their own."""

    # Built on first use: a process that serves one tool does not pay for the others at its start.
    model_config = ConfigDict(defer_build=True, extra="forbid")

    pictures: tuple[Picture, ...] = Field(default=(), exclude=True)
    links: tuple[Link, ...] = Field(default=(), exclude=True)
    cut: dict[str, str] | None = None
    """Set by the door where lists had to be cut to keep the answer small: what is left of which list."""


@dataclass(frozen=True)
class QueueCounts:
    running: int
    pending: int


@dataclass(frozen=True)
class InventoryInfo:
    path: str
    age_seconds: int
    stale: bool
    node_classes: int
    models: int


@dataclass(frozen=True)
class OtherServer:
    """A configured server besides the default one. `server` is its name, `devices` what they are with their free VRAM,
    `reason` why it is not online."""

    server: str
    url: str
    kind: str
    online: bool
    comfyui_version: str | None = None
    devices: list[str] | None = None
    queue: QueueCounts | None = None
    reason: str | None = None


class Status(ToolResult):
    """check_status. VRAM in bytes. `servers`: the other configured ones, in short, where no server was named."""

    online: bool
    server: str
    comfyui_version: str | None = None
    os: str | None = None
    python_version: str | None = None
    pytorch_version: str | None = None
    devices: list[Device] = []
    queue: QueueCounts | None = None
    inventory: InventoryInfo | None = None
    offline_reason: str | None = None
    still_works: list[str] | None = None
    notes: list[str] | None = None
    servers: list[OtherServer] | None = None


@dataclass(frozen=True)
class ServerVerdict:
    """How a workflow fares on one of several servers. `valid` is left out where nothing could be told, and `reason`
    says why. `online`: it answers now, with `waiting` runs in its queue; else it is judged by what was last known.
    `node_classes`, the `packs` that have them, and `models` (folder/file) are missing there; `other` counts the errors
    of other kinds."""

    server: str
    online: bool
    valid: bool | None = None
    waiting: int | None = None
    errors: int | None = None
    node_classes: list[str] | None = None
    packs: list[str] | None = None
    models: list[str] | None = None
    other: dict[str, int] | None = None
    reason: str | None = None


class Validation(ToolResult):
    """validate_workflow. `valid`: no finding of severity error. `dropped_outputs`: the output nodes that a run would
    lose, where others are sound (allow_partial runs those). `repair`: what to install, download or update, over all
    findings. `notes`: what the conversion of a UI workflow dropped,
    repaired or could not know; `inputs`: what queue_workflow's inputs can set in it, with the values as they are, those
    worth changing first.

    Of several servers: `servers`, the best first, and the rest of the answer is about that one."""

    valid: bool
    format: Literal["api", "ui"]
    source: str
    findings: list[Finding]
    dropped_outputs: list[str] | None = None
    repair: Repair | None = None
    notes: list[Note] | None = None
    inputs: dict[str, Any] | None = None
    checked: list[str]
    not_checked: list[str]
    servers: list[ServerVerdict] | None = None


class Submission(ToolResult):
    """queue_workflow. `queue_position` counts the waiting runs before this one; 0: it is next. `seeds`: the numbers
    that were chosen for "random", for each run by address. With variations `prompt_ids` has their runs in order, and
    `not_queued` the indexes of those that are not in the queue."""

    status: Literal["queued", "partly_queued", "refused", "saved_offline"]
    prompt_id: str | None = None
    prompt_ids: list[str] | None = None
    not_queued: list[int] | None = None
    seeds: list[dict[str, int]] | None = None
    number: float | None = None
    queue_position: int | None = None
    server: str
    findings: list[Finding] = []
    repair: Repair | None = None
    notes: list[Note] | None = None
    dropped_outputs: list[str] = []
    saved_path: str | None = None
    message: str


@dataclass(frozen=True)
class ProgressInfo:
    """The node that is running, and its steps. `percent` is of the whole graph, `node_seconds_left` of this node."""

    value: float
    max: float
    node_id: str
    class_type: str | None = None
    percent: float | None = None
    node_seconds_left: float | None = None


@dataclass(frozen=True)
class OutputInfo:
    """One output: a file on the server, or a text (kind "text") that a node showed."""

    node_id: str
    kind: str
    filename: str | None = None
    subfolder: str | None = None
    type: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class RunFailure:
    """Why a run failed. `remedy` begins with the heading of its section in references/troubleshooting.md; `doing` is
    what the node did when it failed; `seen` says what of the cause is to be seen in this run; `traceback` has the lines
    that matter, where the cause is not known; `inputs` are the node's, short; `pack` the one that it is of."""

    message: str
    remedy: str
    node_id: str | None = None
    class_type: str | None = None
    exception_type: str | None = None
    cause: str | None = None
    doing: str | None = None
    seen: list[str] | None = None
    inputs: dict[str, Any] | None = None
    traceback: list[str] | None = None
    pack: str | None = None


@dataclass(frozen=True)
class RunSummary:
    """One run of several. `outputs` is how many it has, `error` what went wrong."""

    prompt_id: str
    state: RunState
    queue_position: int | None = None
    outputs: int | None = None
    error: str | None = None


class RunStatus(ToolResult):
    """poll_result. `elapsed_seconds` since the run was queued; for a finished run, how long it took in all.

    Of several runs: `runs`, how many are in which state in `states`, and as `state` the one that asks most for
    attention: running until all have ended. `gone_reason` is left out where it cannot be told."""

    state: RunState
    prompt_id: str | None = None
    server: str
    states: dict[str, int] | None = None
    runs: list[RunSummary] | None = None
    gone_reason: Literal["deleted", "restarted", "not_arrived", "unknown_id", "uncertain", "expired"] | None = None
    no_outputs_reason: Literal["blocked", "cached", "websocket_only"] | None = None
    queue_position: int | None = None
    progress: ProgressInfo | None = None
    elapsed_seconds: float | None = None
    outputs: list[OutputInfo] = []
    error: RunFailure | None = None
    warning: str | None = None
    message: str


@dataclass(frozen=True)
class SavedFile:
    """`load_value` is what a loader node on the same server takes to go on from this file without an upload; a text
    that a node only showed has none. `prompt_id` where several runs were asked for; `sidecar` where one was."""

    path: str
    kind: str
    bytes: int
    node_id: str
    load_value: str | None = None
    width: int | None = None
    height: int | None = None
    prompt_id: str | None = None
    sidecar: str | None = None


@dataclass(frozen=True)
class ShownText:
    """A text that a node showed or saved. `path`: the file that has all of it, where it may be cut here."""

    node_id: str
    text: str
    path: str | None = None
    prompt_id: str | None = None


@dataclass(frozen=True)
class MissingFile:
    node_id: str
    filename: str
    reason: str
    prompt_id: str | None = None


@dataclass(frozen=True)
class RunDelivery:
    prompt_id: str
    state: RunState
    message: str


class Delivery(ToolResult):
    """get_output. Of several runs: how many are in which state in `states`, as `state` the one that asks most for
    attention, and `runs` has those that are not simply done, each with the reason."""

    state: RunState
    prompt_id: str | None = None
    states: dict[str, int] | None = None
    runs: list[RunDelivery] | None = None
    files: list[SavedFile]
    texts: list[ShownText] = []
    missing: list[MissingFile] = []
    message: str


class Upload(ToolResult):
    """upload_image. `value` goes into the loader node's input."""

    name: str
    subfolder: str
    type: str
    value: str
    server: str


@dataclass(frozen=True)
class StoppedRun:
    prompt_id: str
    was: Literal["running", "pending"]


class Interruption(ToolResult):
    """interrupt. `state` is the run's afterwards. With everything: "running" while one has yet to obey, "interrupted"
    when all are stopped, "gone" where there was nothing to stop."""

    stopped: list[StoppedRun]
    state: RunState
    message: str


@dataclass(frozen=True)
class JobInfo:
    """One run. `ours`: queued from this working folder. `text`: the first words of its prompt. `seconds`: how long it
    took, or since when it is in the queue."""

    prompt_id: str
    state: RunState
    ours: bool
    queue_position: int | None = None
    seconds: float | None = None
    outputs: int | None = None
    text: str | None = None
    name: str | None = None
    error: str | None = None


class JobList(ToolResult):
    """list_jobs. `pending` in the order in which they will run, `recent` the newest first; `counts` are of the whole
    queue, of which only the first are shown."""

    server: str
    counts: QueueCounts
    running: list[JobInfo] = []
    pending: list[JobInfo] = []
    recent: list[JobInfo] = []
    message: str


class SavedWorkflow(ToolResult):
    """save_workflow. `workflow` is what other tools take for it: a path, or server:NAME. `notes`: what the conversion
    to API format dropped, repaired or could not know."""

    workflow: str
    format: WorkflowFormat
    notes: list[Note] | None = None
    message: str


class FreedMemory(ToolResult):
    """free_vram. `applied`: at once, or only when the run under way ends."""

    before: list[Device]
    after: list[Device]
    applied: Literal["now", "after_current_run"]
    message: str


@dataclass(frozen=True)
class ModelInfo:
    """A model file. An installed one: `file` is the exact value for a loader's input, or what a text names it by. One
    to be downloaded: its name below `folder`, a direct link or a page to read, and whether it is `installed` already.
    `size` in bytes; `gated`: an account or an accepted licence is needed."""

    file: str
    folder: str
    size: int | None = None
    installed: bool | None = None
    url: str | None = None
    page: str | None = None
    licence: str | None = None
    gated: bool | None = None


class ModelList(ToolResult):
    """find_models. `message` tells how many there are in all. `folders`: how many each folder has; `loaders`: which
    inputs take the files of a folder."""

    models: list[ModelInfo]
    folders: dict[str, int] | None = None
    loaders: dict[str, list[str]] | None = None
    message: str


@dataclass(frozen=True)
class TemplateInfo:
    """A workflow template. `models` are the files that it uses but for the `missing_models`, which are not here;
    `missing_nodes` the node classes. `runs_here` is left out where not all of that is known, and for one that only
    lacks credits: `partner` is one that runs on a partner's service, which costs them. `size` of all its models in
    bytes. `needs_comfyui`: the version, where the server's is older."""

    name: str
    title: str
    about: str | None = None
    media: str | None = None
    runs_here: bool | None = None
    models: list[str] | None = None
    missing_models: list[str] | None = None
    missing_nodes: list[str] | None = None
    size: int | None = None
    partner: bool | None = None
    needs_comfyui: str | None = None


@dataclass(frozen=True)
class WorkflowInput:
    """An input worth changing: `address` is what queue_workflow's `inputs` takes, `value` what it has, `title` what a
    person called the node."""

    address: str
    kind: str
    value: str | int | float | bool
    title: str | None = None
    note: str | None = None


class TemplateList(ToolResult):
    """find_templates. `message` tells how many fit in all. Of one that was asked for by name: `workflow`, which the
    other tools take, its inputs worth changing, and `repair` for what is missing; what that does not mend stands in the
    message."""

    templates: list[TemplateInfo]
    workflow: str | None = None
    inputs: list[WorkflowInput] | None = None
    repair: Repair | None = None
    message: str


@dataclass(frozen=True)
class NodeInfo:
    """A node class in short. `inputs`: those that other nodes fill, as "name:TYPE", "?" after what may be left out.
    `marks`: deprecated, experimental, partner (a run spends credits). `pack`: the one that it is of, if not core's."""

    class_type: str
    name: str | None = None
    category: str | None = None
    inputs: str | None = None
    outputs: str | None = None
    about: str | None = None
    pack: str | None = None
    marks: list[str] | None = None


@dataclass(frozen=True)
class NodeSpec:
    """A node class in full. `inputs` in order: "name: TYPE = default, limits  # tooltip", "?" after the name of what
    may be left out, the values to choose from in place of the type; `outputs` with their slots. `example` has what is
    required, each link as ["<TYPE>", 0] for the id and the slot of the node to link. `matching`: the exact values of
    an input that fit the query."""

    class_type: str
    inputs: list[str]
    outputs: list[str]
    example: dict[str, Any]
    matching: dict[str, list[Any]] | None = None
    name: str | None = None
    category: str | None = None
    about: str | None = None
    pack: str | None = None
    marks: list[str] | None = None


class NodeList(ToolResult):
    """find_nodes. `nodes`: the first of those that fit, the best first; with class_type `node` is that one's spec."""

    nodes: list[NodeInfo] | None = None
    node: NodeSpec | None = None
    notes: list[str] | None = None
    message: str


RESULTS: dict[str, type[ToolResult]] = {
    "check_status": Status,
    "validate_workflow": Validation,
    "queue_workflow": Submission,
    "poll_result": RunStatus,
    "list_jobs": JobList,
    "get_output": Delivery,
    "upload_image": Upload,
    "save_workflow": SavedWorkflow,
    "interrupt": Interruption,
    "free_vram": FreedMemory,
    "find_nodes": NodeList,
    "find_models": ModelList,
    "find_templates": TemplateList,
}


SENTENCES = frozenset(
    {"message", "fix", "reason", "offline_reason", "error", "notes", "note", "about", "afterwards", "checked"}
    | {"not_checked", "still_works", "remedy", "cause", "doing", "seen", "traceback"}
)
VALUES = frozenset({"received", "value", "inputs", "example", "matching"})
"""What is used as it is, whatever is in it."""


def as_json(result: ToolResult) -> dict[str, Any]:
    """The result as plain JSON values, without the fields that have nothing to say.

    What JSON in UTF-8 cannot carry is put in words: NaN and infinities as text, lone surrogates as a question mark.
    Sentences are made harmless; names and values of others stay what they are.
    """
    try:
        plain = result.model_dump(mode="json", exclude_none=True)
        json.dumps(plain, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # pydantic refuses lone surrogates in names, and passes those in values
        plain = result.model_dump(exclude_none=True)
        text = json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace").decode()
        plain = json.loads(text, parse_constant=str)
    told: dict[str, Any] = _told_harmlessly(plain)
    return told


def _told_harmlessly(value: Any, name: str = "") -> Any:
    """The same, with the sentences in it harmless: these are read, and what they quote is not used."""
    if name in VALUES:
        return value
    if isinstance(value, dict):
        return {key: _told_harmlessly(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_told_harmlessly(item, name) for item in value]
    return harmless(value) if name in SENTENCES and isinstance(value, str) else value
