"""The server's own verdict, as findings: what /prompt answers with 400, or with 200 for outputs it dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyui_api.findings import Finding


def findings_of_rejection(error: Mapping[str, Any], node_errors: Mapping[str, Any]) -> list[Finding]:
    """One finding for each error of each node; the top-level error where no node is named.

    `error` and `node_errors` are the parts of the reply as they came: the server's words are kept whole.
    """
    findings = findings_of_node_errors(node_errors)
    if findings:
        return findings
    message = _sentence(error.get("message"), error.get("details"))
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, Mapping) else {}
    node_id = extra.get("node_id")
    class_type = extra.get("class_type")
    code = str(error.get("type") or "prompt_rejected")
    if code == "prompt_outputs_failed_validation":
        # ComfyUI 0.3.75 answers a cycle like this, without naming any node.
        message += " No node was named: nodes that depend on each other in a circle are the usual reason."
    return [
        Finding(
            "error",
            code,
            message,
            str(node_id) if node_id is not None else None,
            str(class_type) if class_type is not None else None,
        )
    ]


def findings_of_node_errors(node_errors: Mapping[str, Any]) -> list[Finding]:
    """The findings of a reply's `node_errors`, in the order in which the server names them."""
    findings = []
    for node_id, entry in node_errors.items():
        if not isinstance(entry, Mapping):
            continue
        errors = entry.get("errors")
        class_type = entry.get("class_type")
        for item in errors if isinstance(errors, list) else []:
            if not isinstance(item, Mapping):
                continue
            extra = item.get("extra_info")
            extra = extra if isinstance(extra, Mapping) else {}
            name = extra.get("input_name")
            findings.append(
                Finding(
                    "error",
                    str(item.get("type") or "node_error"),
                    _sentence(item.get("message"), item.get("details")),
                    str(node_id),
                    str(class_type) if class_type is not None else None,
                    str(name) if name is not None else None,
                    received=extra.get("received_value", extra.get("linked_node")),
                )
            )
    return findings


def _sentence(message: Any, details: Any) -> str:
    parts = [str(part).strip().rstrip(".") for part in (message, details) if part]
    return ": ".join(dict.fromkeys(parts)) + "." if parts else "The server gave no reason."
