"""From whatever holds a workflow to the prompt to send: load, convert, override."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from comfyui_api.errors import ServerError, UnknownName
from comfyui_api.findings import Note
from comfyui_api.graph import Prompt, sendable
from comfyui_api.known import Known, asked_again, classes_of, what_is_known, with_classes
from comfyui_api.node_class import NodeClasses
from comfyui_api.repair import closest
from comfyui_api.saved_workflows import is_on_server, load_saved
from comfyui_api.storage import stands
from comfyui_api.workflow_files import LoadedWorkflow, load_file, parse, recognise
from comfyui_api.workspace import Connection, Workspace

if TYPE_CHECKING:
    from comfyui_api.convert import Conversion

ADDRESSES_SHOWN = 40
RANDOM = "random"  # as the value of a whole-number input: choose a new one
LARGEST_SEED = 2**53 - 1  # larger whole numbers do not survive in every program that reads JSON
SURE_SEED = 2**32 - 1  # where nothing is known of the range
INPUTS_SHOWN, TEXT_SHOWN = 60, 80


@dataclass(frozen=True)
class Prepared:
    """A workflow ready to be judged and sent.

    `prompt` is None where a UI workflow cannot be converted for want of node classes. `ui` is the UI graph that goes
    with it, with the overrides in its widgets; `unwritten` the addresses of those for which it has no place. `seeds`
    are the values that were chosen where "random" was asked for, by address.
    """

    loaded: LoadedWorkflow
    prompt: Prompt | None
    ui: dict[str, Any] | None
    notes: list[Note] = field(default_factory=list)
    known: Known | None = None
    unwritten: list[str] = field(default_factory=list)
    seeds: dict[str, int] = field(default_factory=dict)

    @property
    def trouble(self) -> str:
        """Why the server told nothing, where it did not."""
        return (self.known.trouble if self.known is not None else None) or ""

    def lacking(self, words: str, next_step: str) -> ServerError:
        """The error for what cannot be done for want of node classes. See Known.lacking."""
        return (self.known or Known(None)).lacking(words, next_step)


async def load_workflow(workspace: Workspace, connection: Connection, workflow: str | dict[str, Any]) -> LoadedWorkflow:
    """A workflow given as a path, as JSON text, as JSON already, or as `server:NAME`: saved in that server's editor."""
    if isinstance(workflow, dict):
        return recognise(workflow)
    if is_on_server(workflow):
        return await load_saved(connection, workflow)
    start = workflow.lstrip("\ufeff \t\r\n")[:1]
    if start in ("{", "") or "\n" in workflow:
        return parse(workflow)
    path = workspace.readable(workflow)
    # A list is no workflow, but its error is clearer than that of a missing file; a file may well be called so.
    return parse(workflow) if start == "[" and not stands(path) else load_file(path)


async def prepare(
    workspace: Workspace,
    connection: Connection,
    loaded: LoadedWorkflow,
    inputs: dict[str, Any],
    known: Known | None = None,
) -> Prepared:
    """Convert a loaded workflow where it needs to be, and put the overrides into it; by `known` where it is given.

    Raises UnknownName for an override that names no input.
    """
    ui = copy.deepcopy(loaded.ui) if inputs else loaded.ui  # overrides are written into it
    is_api = loaded.format == "api"
    prepared = Prepared(loaded, sendable(loaded.content) if is_api else None, ui)
    if is_api and (ui is None or not inputs) and RANDOM not in inputs.values():
        return _overridden(prepared, inputs, None)
    known = known or await what_is_known(workspace, connection)
    if ui is None or known.node_classes is None:
        return await _with_seeds(connection, replace(prepared, known=known), inputs, None)
    known, conversion = await _convert(connection, known, ui)
    prepared = replace(prepared, known=known)
    if not is_api:  # else the prompt is what ran; the conversion tells where the UI graph has its values
        prepared = replace(prepared, prompt=conversion.prompt, notes=conversion.notes)
    return await _with_seeds(connection, prepared, inputs, conversion)


async def _with_seeds(
    connection: Connection, prepared: Prepared, inputs: dict[str, Any], conversion: Conversion | None
) -> Prepared:
    """The overrides put in, and new seeds chosen where "random" stands for one. `inputs` itself stays as it is."""
    if RANDOM not in inputs.values() or prepared.prompt is None or prepared.known is None:
        return _overridden(prepared, inputs, conversion)
    known, prompt = prepared.known, prepared.prompt
    if known.node_classes is not None:
        known, seeds = await with_classes(connection, known, lambda classes: new_seeds(prompt, inputs, classes))
    else:
        seeds = new_seeds(prompt, inputs, None)
    return replace(_overridden(replace(prepared, known=known), inputs | seeds, conversion), seeds=seeds)


def new_seeds(prompt: Prompt, inputs: dict[str, Any], node_classes: NodeClasses | None) -> dict[str, int]:
    """A new number for each override that is the text "random" and stands for a whole-number input, by address.

    What the input takes its class tells; where that is not known, the value that it has. A text or an option that
    really is called so stays.
    """
    seeds: dict[str, int] = {}
    for address, value in inputs.items():
        if value != RANDOM or (place := place_of(prompt, address)) is None:
            continue
        node_id, name = place
        node = prompt[node_id]
        node_class = node_classes.get(str(node.get("class_type"))) if node_classes is not None else None
        spec = node_class.inputs.get(name) if node_class is not None else None
        if spec is not None and spec.type == "INT":
            low, high = (spec.config.get(end) for end in ("min", "max"))
            lowest = max(0, int(low)) if isinstance(low, int | float) and abs(low) < LARGEST_SEED else 0
            highest = int(min(LARGEST_SEED, high)) if isinstance(high, int | float) else SURE_SEED
            seeds[address] = random.randint(min(lowest, highest), highest)
        elif spec is None and type(node["inputs"][name]) is int:
            seeds[address] = random.randint(0, SURE_SEED)
    return seeds


async def _convert(connection: Connection, known: Known, ui: dict[str, Any]) -> tuple[Known, Conversion]:
    """Convert by what is known; once more where the server has learned classes since that were missing."""
    known, conversion = await with_classes(connection, known, lambda classes: converted(ui, classes))
    named = {str(node["class_type"]) for node in conversion.prompt.values()}
    missing = {class_type for class_type in named if class_type not in classes_of(known)}
    if not missing or known.fresh or not known.online:
        return known, conversion
    with suppress(ServerError):
        known = await asked_again(connection, known, missing)
        if any(class_type in classes_of(known) for class_type in missing):
            return await with_classes(connection, known, lambda classes: converted(ui, classes))
    return known, conversion


def converted(ui: dict[str, Any], node_classes: NodeClasses) -> Conversion:
    """A UI workflow as the editor would send it now: with choices of this moment, and its date."""
    from comfyui_api.convert import convert_workflow  # noqa: PLC0415  # the server starts without it

    return convert_workflow(ui, node_classes, choose=random.randrange, now=datetime.now())


def _overridden(prepared: Prepared, inputs: dict[str, Any], conversion: Conversion | None) -> Prepared:
    if not inputs:
        return prepared
    if prepared.prompt is None:
        raise prepared.lacking(
            "Inputs cannot be put into a UI workflow",
            "Start the server, or give the workflow in API format; without inputs it can be saved as it is.",
        )
    addresses = apply_inputs(prepared.prompt, inputs)
    unwritten = [
        f"{node_id}.{name}"
        for (node_id, name), value in addresses.items()
        if conversion is None or not conversion.write(node_id, name, value)
    ]
    return replace(prepared, unwritten=unwritten)


def apply_inputs(prompt: Prompt, inputs: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Set single values of a prompt by address "node id.input name", in place: the values by (node id, input name).

    The address is split at its first dot, as input names may have more; at a later one where only that names a node.
    Raises UnknownName with the valid addresses.
    """
    found: dict[tuple[str, str], Any] = {}
    for address, value in inputs.items():
        if (place := place_of(prompt, address)) is None:
            raise _unknown_address(address, prompt)
        node_id, name = place
        prompt[node_id]["inputs"][name] = value
        found[place] = value
    return found


def place_of(prompt: Prompt, address: str) -> tuple[str, str] | None:
    """(node id, input name) of an address, None where there is no such input."""
    parts = address.split(".")
    for cut in range(1, len(parts)):
        node_id, name = ".".join(parts[:cut]), ".".join(parts[cut:])
        node = prompt.get(node_id)
        values = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(values, dict) and name in values:
            return node_id, name
    return None


def _unknown_address(address: str, prompt: Prompt) -> UnknownName:
    valid = [address for address, _ in _inputs(prompt)]
    node = address.partition(".")[0]
    of_node = [entry for entry in valid if entry.startswith(f"{node}.")]
    near = of_node or closest(address, valid) or valid
    return UnknownName(
        f"inputs: the workflow has no input '{address[:200]}'.",
        f"Write it as 'node id.input name'. Valid here: {some(near, ADDRESSES_SHOWN)}.",
    )


def overridable(prompt: Prompt, node_classes: NodeClasses | None, *, only_main: bool = False) -> dict[str, Any]:
    """What queue_workflow's `inputs` may set, by address, with the values as they are: links apart, texts cut.

    What a person would change comes first, and is all where `only_main`.
    """
    from comfyui_api.main_inputs import main_inputs  # noqa: PLC0415  # the server starts without it

    main = {entry.address: entry.value for entry in main_inputs(prompt, node_classes)}
    others = (
        (address, value[:TEXT_SHOWN] + "…" if isinstance(value, str) and len(value) > TEXT_SHOWN else value)
        for address, value in _inputs(prompt)
        if isinstance(value, str | int | float | bool) and address not in main
    )
    return dict(islice(chain(main.items(), () if only_main else others), INPUTS_SHOWN))


def _inputs(prompt: Prompt) -> Iterator[tuple[str, Any]]:
    """Every input of a prompt's well-formed nodes: (address, value or link)."""
    for node_id, node in prompt.items():
        values = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(values, dict):
            yield from ((f"{node_id}.{name}", value) for name, value in values.items())


def some(names: list[str], shown: int = 10) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(name[:80] for name in names[:shown]) + more
