"""ComfyUI's replies as JSON, parsed into the words of `runs`. A reply of another shape raises KeyError, TypeError or
ValueError, which the client translates."""

from __future__ import annotations

from typing import Any, get_args

from comfyui_api.packs import NodeReplacement
from comfyui_api.prompt_text import first_text
from comfyui_api.runs import (
    Device,
    ExecutionError,
    FolderType,
    HistoryEntry,
    NodeFault,
    OutputFile,
    OutputText,
    QueuedPrompt,
    QueueItem,
    QueueState,
    SavedWorkflowFile,
    SystemStats,
    UploadedFile,
)

WORDS_KEPT = 1000  # characters of the server's words on one error
NAME_LIMIT = 1000  # characters of a saved file's path
LATEST_SECOND, LATEST_MILLISECOND = 1e11, 1e14  # later than any file; milliseconds reached the first in 1973
_FOLDERS = get_args(FolderType)


def json_object(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise TypeError(f"an object was expected, not {type(raw).__name__}")
    return raw


def names(raw: Any) -> list[str]:
    return [item for item in list_of(raw) if isinstance(item, str)]


def list_of(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise TypeError(f"a list was expected, not {type(raw).__name__}")
    return raw


def file_sizes(raw: Any) -> dict[str, int]:
    """/experiment/models/{folder} as {file: bytes}. Of a name in several paths the first counts, as in loading it."""
    sizes: dict[str, int] = {}
    for item in list_of(raw):
        name, size = (item.get("name"), item.get("size")) if isinstance(item, dict) else (None, None)
        if isinstance(name, str) and type(size) is int and 0 <= size < 2**62:
            sizes.setdefault(name, size)
    return sizes


def system_stats(raw: Any) -> SystemStats:
    system = json_object(raw)["system"]
    return SystemStats(
        comfyui_version=str(system.get("comfyui_version", "unknown")),
        os=str(system["os"]),
        python_version=str(system.get("python_version", "unknown")).split(" ")[0],
        pytorch_version=str(system.get("pytorch_version", "unknown")),
        devices=tuple(
            Device(
                name=str(device["name"]),
                type=str(device["type"]),
                vram_total=int(device.get("vram_total") or 0),
                vram_free=int(device.get("vram_free") or 0),
            )
            for device in raw.get("devices", [])
        ),
    )


def queue_state(raw: Any) -> QueueState:
    return in_order(
        [queue_item(item, running=True) for item in raw["queue_running"]],
        [queue_item(item, running=False) for item in raw["queue_pending"]],
    )


def in_order(running: list[QueueItem], pending: list[QueueItem]) -> QueueState:
    """The queue as it will run: /queue gives the heap as it lies in memory, and only the numbers tell the order."""
    return QueueState(tuple(running), tuple(sorted(pending, key=lambda item: item.number)))


def queue_item(raw: Any, *, running: bool) -> QueueItem:
    extra = raw[3] if len(raw) > 3 and isinstance(raw[3], dict) else {}
    prompt = json_object(raw[2])
    return QueueItem(
        number=float(raw[0]),
        prompt_id=str(raw[1]),
        prompt=prompt if running else {},
        created_ms=whole(extra.get("create_time")),
        client_id=_text(extra.get("client_id")),
        text=first_text(prompt),
    )


def listed_jobs(raw: Any) -> QueueState | None:
    """/api/jobs of recent servers as the queue, without the prompts; None where it gives only a part of them."""
    if json_object(raw.get("pagination") or {}).get("has_more"):
        return None
    running, pending = list[QueueItem](), list[QueueItem]()
    for job in list_of(raw["jobs"]):
        if job["status"] in ("pending", "in_progress"):
            number, created = float(job.get("priority") or 0), whole(job.get("create_time"))
            item = QueueItem(number, str(job["id"]), {}, created)
            (pending if job["status"] == "pending" else running).append(item)
    return in_order(running, pending)


def queue_remaining(raw: Any) -> int:
    """GET /prompt: how many runs are running or waiting."""
    return int(json_object(raw)["exec_info"]["queue_remaining"])


def history_entries(raw: Any) -> list[HistoryEntry]:
    """The entries of /history, in the order in which they ended."""
    return [history_entry(prompt_id, entry) for prompt_id, entry in json_object(raw).items()]


def whole(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 2**53 else None


def queued_prompt(prompt_id: str, raw: Any) -> QueuedPrompt:
    reply = json_object(raw)
    number = reply.get("number")
    return QueuedPrompt(
        prompt_id=str(reply.get("prompt_id") or prompt_id),
        number=float(number) if isinstance(number, int | float) else None,
        faults=node_faults(reply.get("node_errors")),
    )


def rejection(raw: Any) -> tuple[NodeFault, ...]:
    """Why /prompt refused: each error of each node, or the top-level error where no node is named."""
    error = json_object(json_object(raw)["error"])
    if faults := node_faults(raw.get("node_errors")):
        return faults
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    code = str(error.get("type") or "prompt_rejected")
    message = _sentence(error.get("message"), error.get("details"))
    if code == "prompt_outputs_failed_validation":
        # ComfyUI 0.3.75 answers a cycle like this, without naming any node.
        message += " No node was named: nodes that depend on each other in a circle are the usual reason."
    return (NodeFault(code, message, _text(extra.get("node_id")), _text(extra.get("class_type"))),)


def node_faults(raw: Any) -> tuple[NodeFault, ...]:
    """The `node_errors` of a reply, in the order in which the server names them."""
    faults = []
    for node_id, entry in raw.items() if isinstance(raw, dict) else ():
        errors = entry.get("errors") if isinstance(entry, dict) else None
        for item in errors if isinstance(errors, list) else []:
            if not isinstance(item, dict):
                continue
            extra = item.get("extra_info")
            extra = extra if isinstance(extra, dict) else {}
            dependent = entry.get("dependent_outputs")
            faults.append(
                NodeFault(
                    code=str(item.get("type") or "node_error"),
                    message=_sentence(item.get("message"), item.get("details")),
                    node_id=str(node_id),
                    class_type=_text(entry.get("class_type")),
                    input=_text(extra.get("input_name")),
                    received=_cut(extra.get("received_value", extra.get("linked_node"))),
                    dependent_outputs=tuple(str(node) for node in dependent) if isinstance(dependent, list) else (),
                )
            )
    return tuple(faults)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _cut(value: Any) -> Any:
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= WORDS_KEPT else f"{text[:WORDS_KEPT]}…"


def _sentence(message: Any, details: Any) -> str:
    parts = [str(part).strip().rstrip(".")[:WORDS_KEPT] for part in (message, details) if part]
    return ": ".join(dict.fromkeys(parts)) + "." if parts else "The server gave no reason."


def uploaded_file(raw: Any) -> UploadedFile:
    reply = json_object(raw)
    # A subfolder sent from Windows comes back with its own separators; loaders take forward slashes everywhere.
    subfolder = str(reply.get("subfolder") or "").replace("\\", "/").strip("/")
    return UploadedFile(str(reply["name"]), subfolder, str(reply.get("type") or "input"))


def saved_workflows(raw: Any) -> list[SavedWorkflowFile]:
    """/userdata?dir=workflows: objects, where the server knows full_info; else the paths alone, as text or split.

    Times are in seconds, in recent versions in milliseconds. Hidden files are the editor's own (bookmarks).
    """
    found = {}
    for item in list_of(raw):
        told = item if isinstance(item, dict) else {}
        path = told.get("path") if told else item[0] if isinstance(item, list) and item else item
        name = path if isinstance(path, str) else ""
        if not told:
            name = name.replace("\\", "/")  # older versions keep the separators of Windows
        if not name.casefold().endswith(".json") or len(name) > NAME_LIMIT or "/." in f"/{name}":
            continue
        size, modified = told.get("size"), _moment(told.get("modified"))
        found[name] = SavedWorkflowFile(name, size if type(size) is int and 0 <= size < 2**62 else None, modified)
    return list(found.values())


def _moment(value: Any) -> float | None:
    """Seconds since 1970 of a time in seconds or milliseconds; None for what is none."""
    if type(value) not in (int, float) or not 0 <= value < LATEST_MILLISECOND:
        return None
    return float(value if value < LATEST_SECOND else value / 1000)


def has_users(raw: Any) -> bool:
    """Whether the server keeps files by user (--multi-user), by its /users."""
    return isinstance(json_object(raw).get("users"), dict)


def history_entry(prompt_id: str, raw: Any) -> HistoryEntry:
    """An entry of /history. A failure and an interruption both have the status `error`: the messages tell which."""
    entry = json_object(raw)
    status = entry.get("status") or {}
    messages = [
        (str(message[0]), message[1] if isinstance(message[1], dict) else {})
        for message in status.get("messages") or []
        if isinstance(message, list) and len(message) == 2
    ]
    by_name = dict(messages)
    if status.get("status_str", "success") == "success":
        state, error = "completed", None
    elif "execution_interrupted" in by_name:
        state, error = "interrupted", None
    else:
        state, error = "failed", execution_error(by_name.get("execution_error", {}))
    files, texts = outputs(entry.get("outputs") or {})
    stamps = [data["timestamp"] for _, data in messages if isinstance(data.get("timestamp"), int)]
    item = entry.get("prompt")
    prompt = item[2] if isinstance(item, list) and len(item) > 2 and isinstance(item[2], dict) else {}
    extra = item[3] if isinstance(item, list) and len(item) > 3 and isinstance(item[3], dict) else {}
    number = item[0] if isinstance(item, list) and item and isinstance(item[0], int | float) else None
    cached = by_name.get("execution_cached", {}).get("nodes")
    return HistoryEntry(
        prompt_id=prompt_id,
        state=state,  # type: ignore[arg-type]  # one of the three literals above
        files=files,
        texts=texts,
        prompt=prompt,
        cached_nodes=frozenset(node for node in cached if isinstance(node, str)) if cached else frozenset(),
        error=error,
        started_ms=min(stamps, default=None),
        ended_ms=max(stamps, default=None),
        number=number,
        client_id=_text(extra.get("client_id")),
        created_ms=whole(extra.get("create_time")),
        text=first_text(prompt),
        workflow=_workflow(extra.get("extra_pnginfo")),
    )


def _workflow(pnginfo: Any) -> dict[str, Any] | None:
    workflow = pnginfo.get("workflow") if isinstance(pnginfo, dict) else None
    return workflow if isinstance(workflow, dict) else None


def execution_error(data: dict[str, Any]) -> ExecutionError:
    trace = data.get("traceback")
    inputs = data.get("current_inputs")  # a list, where there was no node to have any
    executed = data.get("executed")
    return ExecutionError(
        node_id=_told(data, "node_id")[:WORDS_KEPT],
        class_type=_told(data, "node_type")[:WORDS_KEPT],
        exception_type=_told(data, "exception_type")[:WORDS_KEPT],
        exception_message=_told(data, "exception_message").strip(),
        traceback=tuple(str(line) for line in trace) if isinstance(trace, list) else (),
        inputs={str(name): tuple(values) for name, values in inputs.items() if isinstance(values, list)}
        if isinstance(inputs, dict)
        else {},
        executed=tuple(str(node) for node in executed) if isinstance(executed, list) else (),
    )


def _told(data: dict[str, Any], key: str) -> str:
    return "" if data.get(key) is None else str(data[key])


def outputs(raw: dict[str, Any]) -> tuple[tuple[OutputFile, ...], tuple[OutputText, ...]]:
    """Everything in an entry's outputs that is a file or a text, whatever key a node put it under."""
    files, texts = [], []
    for node_id, by_key in raw.items():
        for key, items in json_object(by_key).items():
            for item in items if isinstance(items, list | tuple) else []:
                if isinstance(item, dict) and isinstance(item.get("filename"), str):
                    folder = item.get("type") if item.get("type") in _FOLDERS else "output"
                    files.append(_output_file(node_id, item["filename"], item.get("subfolder"), folder))
                elif isinstance(item, str) and key == "result":
                    # 3D previews name their file as text: "3d/mesh.glb".
                    subfolder, _, filename = item.replace("\\", "/").rpartition("/")
                    files.append(_output_file(node_id, filename, subfolder, "output"))
                elif isinstance(item, str):
                    texts.append(OutputText(str(node_id), item))
    return tuple(files), tuple(texts)


def _output_file(node_id: str, filename: str, subfolder: Any, folder: Any) -> OutputFile:
    return OutputFile(
        node_id=str(node_id),
        kind=kind_of(filename),
        filename=filename,
        subfolder=subfolder if isinstance(subfolder, str) else "",
        type=folder,
    )


def log(raw: Any) -> str:
    """The text of /internal/logs/raw, and of /internal/logs, which has a stamp before each write."""
    if isinstance(raw, str):
        return raw
    entries = json_object(raw)["entries"]
    return "".join(str(entry["m"]) for entry in entries if isinstance(entry, dict) and "m" in entry)


def node_replacements(raw: Any) -> dict[str, list[NodeReplacement]]:
    """/node_replacements of recent servers: what took each old class's place. Broken entries are passed over."""
    found = {}
    for old, entries in json_object(raw).items():
        replacements = [
            _node_replacement(entry)
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and isinstance(entry.get("new_node_id"), str)
        ]
        if replacements:
            found[old] = replacements
    return found


def _node_replacement(entry: dict[str, Any]) -> NodeReplacement:
    inputs = _pairs(entry.get("input_mapping"), "new_id", str)
    outputs = _pairs(entry.get("output_mapping"), "old_idx", int)
    taken = {pair["new_id"]: pair["old_id"] for pair in inputs or () if isinstance(pair.get("old_id"), str)}
    moved = {pair["old_idx"]: pair["new_idx"] for pair in outputs or () if isinstance(pair.get("new_idx"), int)}
    return NodeReplacement(
        new_class=entry["new_node_id"],
        inputs=None if inputs is None else taken,
        set_values={pair["new_id"]: pair["set_value"] for pair in inputs or () if "set_value" in pair},
        outputs=None if outputs is None else moved,
    )


def _pairs(raw: Any, key: str, kind: type) -> list[dict[str, Any]] | None:
    """The sound pairs of a mapping, None where there is no mapping: then all stays as it is."""
    if not isinstance(raw, list):
        return None
    return [pair for pair in raw if isinstance(pair, dict) and isinstance(pair.get(key), kind)]


_KINDS = {
    "image": "png jpg jpeg webp gif bmp tif tiff avif svg exr hdr",
    "video": "mp4 webm mov mkv avi m4v",
    "audio": "wav mp3 flac ogg opus m4a aac",
    "3d": "glb gltf obj fbx stl usdz ply splat spz ksplat",
    "latent": "latent",
    "text": "txt json csv md srt yaml yml",
}
_KIND_OF_ENDING = {ending: kind for kind, endings in _KINDS.items() for ending in endings.split()}


def kind_of(filename: str) -> str:
    """image, video, audio, 3d, latent, text or file, by the name's ending: ComfyUI puts videos under `images` too."""
    return _KIND_OF_ENDING.get(filename.rsplit(".", 1)[-1].lower() if "." in filename else "", "file")
