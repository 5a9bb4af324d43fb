"""What is told of a workflow: a Finding for each thing that is wrong, in ComfyUI's own error types, what would mend it,
and a Note for what its conversion dropped, repaired or could not know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from comfyui_api.runs import NodeFault

PackState: TypeAlias = Literal["not_installed", "failed_to_import", "disabled", "outdated", "core_outdated"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a prompt.

    `error`: the server will refuse the prompt, drop a branch, or the run will fail. `warning`: anything less.
    `code` is ComfyUI's error type where it has one (execution.py, validate_inputs). `node_id` is None for what
    concerns the whole prompt. `fix` is what to do, where that is known.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    node_id: str | None = None
    class_type: str | None = None
    input: str | None = None
    received: Any = None
    fix: str | None = None


def findings_of(faults: tuple[NodeFault, ...]) -> list[Finding]:
    """The server's own verdict as findings: what /prompt answers with 400, or with 200 for the outputs it dropped."""
    return [
        Finding("error", fault.code, fault.message, fault.node_id, fault.class_type, fault.input, fault.received)
        for fault in faults
    ]


def errors_in(findings: list[Finding]) -> list[Finding]:
    """Those findings that make a prompt invalid."""
    return [finding for finding in findings if finding.severity == "error"]


@dataclass(frozen=True)
class PackChoice:
    """A node pack that has what is missing. `install` is the command for ComfyUI's machine; None where no safe one is
    known."""

    title: str
    repository: str | None = None
    install: str | None = None


@dataclass(frozen=True)
class MissingPack:
    """A node pack to see to, so that these classes are there. What has nothing to say is None.

    `state`: what has to be done about it. `reason` is the error of one that failed to import, `folder` its folder below
    custom_nodes where it is installed; `formerly`: only its older versions had the class. `others` also claim a class
    of it, less likely the one that was meant.
    """

    title: str
    state: PackState
    class_types: list[str]
    repository: str | None = None
    command: str | None = None
    reason: str | None = None
    folder: str | None = None
    formerly: bool | None = None
    others: list[PackChoice] | None = None


@dataclass(frozen=True)
class MissingModel:
    """A model file that a run needs and the server lacks. What is not known or not so is None.

    `use`: what is installed under another name and may be meant, as exact values for the input. `url` is a direct
    link, `page` a page to read; `from_workflow` that the workflow itself brought the link, so that nobody has looked
    at it. `size` in bytes. `command` downloads it on ComfyUI's machine, from its folder.
    """

    file: str
    folder: str | None
    inputs: list[str]
    use: list[str] | None = None
    url: str | None = None
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    licence: str | None = None
    gated: bool | None = None
    from_workflow: bool | None = None
    command: str | None = None


@dataclass(frozen=True)
class Update:
    """Something installed that is older than what the workflow was made with."""

    what: str
    installed: str
    wanted: str
    command: str | None = None


@dataclass(frozen=True)
class Repair:
    """What would make a workflow run, over all findings: for a person to approve. `afterwards` says what to do once
    something was installed."""

    packs: list[MissingPack] = field(default_factory=list)
    models: list[MissingModel] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    afterwards: str | None = None


NoteCode: TypeAlias = Literal[
    "unknown_class",  # no such node class is known: its values could not be named, or only by what the file says
    "unreadable",  # a part of the file is not what it should be, and was left out
    "dangling_link",  # a link that leads nowhere was dropped
    "dropped_link",  # a link that comes from a muted node, or from nothing, was dropped
    "cycle",  # a link that leads back to itself through nodes that are not sent was dropped
    "renumbered",  # an id occurs twice: one of the nodes has another id in the prompt
    "default_filled",  # the file has no value: the class's default was taken
    "surplus_values",  # the file has more values than the class has widgets
    "shifted_values",  # the values fit only with one left out or put in: that reading was taken
    "replaced_value",  # a value that ComfyUI's own editor replaces when it loads the file
    "resolved_text",  # choices, comments or names in a text were replaced
    "lost_value",  # the editor itself does not send this value
    "frontend_value",  # only the editor in a browser can make this value
    "frontend_node",  # a node that acts in the editor only; what it would have done
]


@dataclass(frozen=True)
class Note:
    """One remark. `node_id` is the node's id in the prompt, or in the file where it is not sent; None for the whole."""

    code: NoteCode
    message: str
    node_id: str | None = None
    input: str | None = None
