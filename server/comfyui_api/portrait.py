"""What a workflow is: its nodes, the inputs worth changing, its models, and what is found wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from comfyui_api.findings import Finding, Note
from comfyui_api.graph import Prompt, WorkflowFormat
from comfyui_api.known import Known, told_by_file, what_is_known, with_classes
from comfyui_api.main_inputs import MainInput, main_inputs
from comfyui_api.node_class import NodeClasses
from comfyui_api.prepare import Prepared, load_workflow, prepare
from comfyui_api.validate import output_nodes
from comfyui_api.verdict import judge
from comfyui_api.workspace import Workspace

_MODELS = ("model", "lora")
_NOTES = ("Note", "MarkdownNote")


@dataclass(frozen=True)
class Portrait:
    """A workflow as it would run: `prompt` is what would be sent, `outputs` the ids of its output nodes.

    `inputs` has those worth changing, the most important first, `models` the model files among them. `remark` says what
    could not be told; without node classes nothing is judged, and a UI workflow is drawn from the editor's own links.
    """

    source: str
    format: WorkflowFormat
    prompt: Prompt
    node_classes: NodeClasses | None = None
    outputs: list[str] = field(default_factory=list)
    inputs: list[MainInput] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    remark: str | None = None

    @property
    def models(self) -> list[MainInput]:
        return [each for each in self.inputs if each.kind in _MODELS]

    def found_at(self, address: str) -> list[Finding]:
        """The findings on one input."""
        return [each for each in self.findings if f"{each.node_id}.{each.input}" == address]


async def portray(
    workspace: Workspace, workflow: str | dict[str, Any], server: str | None, object_info: str | None = None
) -> Portrait:
    """Look at a workflow: by the server, else by the inventory, or by a file with a server's /object_info."""
    connection = workspace.connect(server)
    loaded = await load_workflow(workspace, connection, workflow)
    given = told_by_file(workspace.readable(object_info)) if object_info is not None else None
    prepared = await prepare(workspace, connection, loaded, {}, given)
    known = prepared.known or given or await what_is_known(workspace, connection)
    if prepared.prompt is None or known.node_classes is None:
        return _without_classes(prepared, known)
    prompt = prepared.prompt
    verdict = await judge(workspace, connection, prompt, replace(prepared, known=known))
    if verdict.node_classes is not None:
        known = replace(known, node_classes=verdict.node_classes)
    known, (outputs, inputs) = await with_classes(
        connection, known, lambda classes: (output_nodes(prompt, classes), main_inputs(prompt, classes))
    )
    offline = "" if known.online else f"The server was not asked: {known.trouble or ''}".strip()
    return Portrait(
        loaded.source,
        loaded.format,
        prompt,
        known.node_classes,
        outputs,
        inputs,
        verdict.findings,
        [note for note in prepared.notes if note.code != "unknown_class"],
        offline or None,
    )


def _without_classes(prepared: Prepared, known: Known) -> Portrait:
    remark = f"No node classes are known, so that nothing was checked. {known.trouble or ''}".strip()
    loaded = prepared.loaded
    prompt = prepared.prompt
    if prompt is None:
        remark += " The nodes are those of the editor's graph, without their values."
        prompt = sketch(loaded.content)
    return Portrait(loaded.source, loaded.format, prompt, inputs=main_inputs(prompt, None), remark=remark)


def sketch(ui: dict[str, Any]) -> Prompt:
    """The nodes and links of an editor's graph in the form of a prompt, to be looked at: it has no values, and could
    not be sent."""
    origins = dict(_origins(ui.get("links")))
    nodes = ui.get("nodes")
    prompt: Prompt = {}
    for node in nodes if isinstance(nodes, list) else ():
        if not isinstance(node, dict) or not isinstance(node.get("id"), int | str) or node.get("type") in _NOTES:
            continue
        inputs = node.get("inputs")
        linked = {
            str(given.get("name")): list(origins[given["link"]])
            for given in (inputs if isinstance(inputs, list) else ())
            if isinstance(given, dict) and isinstance(given.get("link"), int | str) and given["link"] in origins
        }
        entry: dict[str, Any] = {"class_type": str(node.get("type")), "inputs": linked}
        if isinstance(title := node.get("title"), str):
            entry["_meta"] = {"title": title}
        prompt[str(node["id"])] = entry
    return prompt


def _origins(links: Any) -> Iterator[tuple[int | str, tuple[str, Any]]]:
    """Where each link comes from: (link id, (node id, slot)). Links are rows, or objects in newer graphs."""
    for link in links if isinstance(links, list) else ():
        if isinstance(link, list) and len(link) > 2:
            link_id, origin, slot = link[:3]
        elif isinstance(link, dict):
            link_id, origin, slot = (link.get(key) for key in ("id", "origin_id", "origin_slot"))
        else:
            continue
        if isinstance(link_id, int | str) and isinstance(origin, int | str):
            yield link_id, (str(origin), slot)
