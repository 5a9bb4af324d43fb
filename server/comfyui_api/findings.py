"""What validation finds: one Finding for each thing that is wrong, in ComfyUI's own error types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from comfyui_api.runs import NodeFault


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
