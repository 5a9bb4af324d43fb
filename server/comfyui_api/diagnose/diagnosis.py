"""The diagnosis of one failed run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfyui_api.diagnose.cases import KnownCase, known_case
from comfyui_api.diagnose.facts import facts, foreign_code
from comfyui_api.diagnose.run import FailedRun
from comfyui_api.diagnose.traceback import doing, lines_that_matter
from comfyui_api.diagnose.values import short_inputs
from comfyui_api.import_failures.raised import clean
from comfyui_api.runs import ExecutionError

MESSAGE_SHOWN = 600
MESSAGE_READ = 20_000

# What comes after these words says nothing of this failure: hints for the developers of PyTorch, ComfyUI's tips.
_BOILERPLATE = (
    "This error means you ran out of memory on your GPU.",
    "CUDA kernel errors might be asynchronously",
    "HIP kernel errors might be asynchronously",
    "For debugging consider passing",
    "Search for `cuda",
    "Search for `hip",
    "If reserved but unallocated memory is large",
    "Set TORCH_LOGS=",
    "Set TORCHDYNAMO_VERBOSE=",
    "If you want this op to be added in priority",
)


@dataclass(frozen=True)
class Diagnosis:
    """What a failure means. `remedy` begins with the heading of its section in the document, where it is known;
    `cause` is None where it is not, and `traceback` has the lines that matter then. `seen` are sentences on what of
    the cause is to be seen in this run."""

    message: str
    remedy: str
    cause: str | None
    doing: str | None
    seen: list[str]
    inputs: dict[str, Any]
    traceback: list[str]
    pack: str | None


def diagnose(run: FailedRun, cases: tuple[KnownCase, ...]) -> Diagnosis:
    """The message in one line, what the node was doing, cause and remedy, and what of them is seen in the run."""
    error = run.error
    case = known_case(error, run.frames, cases)
    if case is None:
        remedy = "The cause is not known: look at the inputs of this node, the lines in traceback, and ComfyUI's log."
    else:
        remedy = f"{case.title}: {case.remedy}"
    seen = facts(run, case) if case is not None else []
    if (other := foreign_code(run)) is not None:
        seen.append(other)
    return Diagnosis(
        message=in_one_line(error),
        remedy=remedy,
        cause=_sentence(case.cause) if case is not None else None,
        doing=_doing(run),
        seen=seen,
        inputs=short_inputs(run.given),
        traceback=lines_that_matter(run.frames) if case is None else [],
        pack=run.pack,
    )


def in_one_line(error: ExecutionError) -> str:
    """The exception's message as one line, without its type and boilerplate; of a long one the beginning and end."""
    text = clean(error.exception_message, MESSAGE_READ)
    text = text.removeprefix(f"{error.exception_type}: ")
    ends = [at for words in _BOILERPLATE if (at := text.find(words)) > 0]
    text = text[: min(ends, default=len(text))].rstrip()
    if len(text) > MESSAGE_SHOWN:
        text = f"{text[: MESSAGE_SHOWN * 2 // 3]} … {text[-MESSAGE_SHOWN // 3 :]}"
    kind = clean(error.exception_type, 200)
    # The whole message of a KeyError is the key, as "0".
    return f"{kind}: {text}" if text and kind == "KeyError" else text or kind or "no reason given"


def _doing(run: FailedRun) -> str | None:
    """The phase by the traceback, and the step by the last progress, where they are of this node."""
    words = doing(run.frames)
    progress = run.progress
    if progress is None or progress.node_id != run.error.node_id or progress.max <= 1:
        return words
    return f"{words or 'running'}, after step {progress.value:g} of {progress.max:g}"


def _sentence(text: str) -> str | None:
    return text[:1].upper() + text[1:] or None
