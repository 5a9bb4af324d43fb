"""Our verdict against the real server's on all official templates, whole and broken in every way.

The real server judges with the same function as its /prompt, through a route of the pack tests/data/judge, so that
nothing is queued. With COMFYUI_API_ORACLE set, the verdicts of ComfyUI 0.33.0 are compared as well.
"""

from __future__ import annotations

import json
import lzma
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from comfyui_api.convert import convert_workflow
from comfyui_api.findings import Finding, errors_in
from comfyui_api.graph import upstream
from comfyui_api.knowledge import model_tables
from comfyui_api.model_sources import ModelSources
from comfyui_api.node_class import NodeClasses
from comfyui_api.repair.model_inputs import is_model_file, model_folder
from comfyui_api.repair.plan import Knowledge, mended
from comfyui_api.validate import dropped_outputs, files_to_look_up, output_nodes, validate_prompt
from comfyui_api.validate.faults import RUN_FAILS
from comfyui_api.validate.files import LoadValue
from comfyui_api.workspace import read_settings
from tests.mutations import mutations
from tests.oracle import RECENT_FOLDER, recent_templates, templates
from tests.sandboxes import OwnSandbox
from tests.support import DATA, Prompt

pytestmark = pytest.mark.live

AT_ONCE = 200
AGREEMENT = 0.995


class Verdict(NamedTuple):
    """What a server says: whether anything is wrong, what it names, and which outputs would run."""

    accepted: bool
    outputs: set[str]
    faulty: Mapping[str, Any]
    error: Any

    def named_inputs(self) -> set[tuple[str, str]]:
        """(node, input) of each fault; where the server stopped on the way, it names the input of another node."""
        return {
            (node_id, name)
            for node_id, entry in self.faulty.items()
            for error in entry["errors"]
            if error["type"] not in ("exception_during_inner_validation", "custom_validation_failed")
            and (name := (error["extra_info"] or {}).get("input_name"))
        }


class Comparison:
    """Counts over many verdicts, and what differs."""

    def __init__(self) -> None:
        self.count = self.same = self.stricter = 0
        self.missed: list[str] = []
        self.false_alarms: list[str] = []
        self.unnamed: list[str] = []

    def add(self, name: str, prompt: Prompt, findings: list[Finding], theirs: Verdict, classes: NodeClasses) -> None:
        errors = errors_in(findings)
        lost = theirs.outputs != set(output_nodes(prompt, classes)) if theirs.accepted else True
        self.count += 1
        shown = f"{name}: we say {[(e.node_id, e.input, e.message) for e in errors][:3]}, the server {theirs.faulty}"
        if bool(errors) == (lost or bool(theirs.faulty)):
            self.same += 1
        elif errors and _all_stricter(errors, prompt):
            self.stricter += 1
        else:
            (self.false_alarms if errors else self.missed).append(shown[:900])
        nodes = {error.node_id for error in errors}
        inputs = {(error.node_id, error.input) for error in errors}
        if theirs.faulty and not (_faulty_nodes(theirs) <= nodes and theirs.named_inputs() <= inputs):
            self.unnamed.append(shown[:900])
        # Where we are stricter, we drop more.
        if theirs.accepted and errors and not any(_is_stricter(error) for error in errors):
            kept = set(output_nodes(prompt, classes)) - set(dropped_outputs(prompt, findings, classes))
            if kept != theirs.outputs:
                self.unnamed.append(f"kept {kept}, but {theirs.outputs}; {shown}"[:900])

    def agreement(self) -> float:
        return (self.same + self.stricter) / self.count

    def __str__(self) -> str:
        return (
            f"{self.count} prompts: {self.same} the same verdict, {self.stricter} stricter and said so, "
            f"{len(self.missed)} missed, {len(self.false_alarms)} false alarms, {len(self.unnamed)} not fully named"
        )


def _is_stricter(error: Finding) -> bool:
    """What we refuse on purpose says so: the run would fail, or the server would stop or read any file."""
    return any(words in error.message for words in (RUN_FAILS, "here it is refused", "would stop working"))


def _all_stricter(errors: list[Finding], prompt: Prompt) -> bool:
    """Also what stands behind such an input, where the server does not look."""
    stricter = [error for error in errors if _is_stricter(error)]
    behind = upstream(prompt, [error.node_id for error in stricter if error.node_id is not None])
    return all(error in stricter or error.node_id in behind for error in errors)


def _faulty_nodes(verdict: Verdict) -> set[str]:
    """Without those where 0.3.75 ran out of stack in a circle: it names whatever node it was at."""
    return {
        node_id
        for node_id, entry in verdict.faulty.items()
        if not all("recursion" in error["details"] for error in entry["errors"])
    }


@pytest.fixture(scope="module")
def judge() -> Iterator[httpx2.Client]:
    """A ComfyUI that tells its verdicts, with two thirds of the templates' models as placeholders."""
    own, packs = OwnSandbox("judge"), [DATA / "test_nodes", DATA / "judge"]
    try:
        url = own.start(custom_nodes=packs, tiny_upscaler=True)
        object_info = httpx2.get(f"{url}/object_info", timeout=60).json()
        models = sorted(_models(prompts_of(object_info), NodeClasses.from_object_info(object_info)))
        assert len(models) > 100
        own.stop()
        url = own.start(custom_nodes=packs, models=models[: len(models) * 2 // 3], tiny_upscaler=True)
        with httpx2.Client(base_url=url, timeout=120) as client:
            yield client
    finally:
        own.remove()


def prompts_of(object_info: dict[str, Any]) -> dict[str, Prompt]:
    """The official templates that fit this server, as prompts."""
    classes = NodeClasses.from_object_info(object_info)
    known = templates(read_settings(os.environ), object_info)
    return {
        name: convert_workflow(workflow, classes).prompt
        for name, workflow in known.items()
        if name.startswith("0.7.25/")
    }


def _models(prompts: Mapping[str, Prompt], classes: NodeClasses) -> set[str]:
    found = set()
    for prompt in prompts.values():
        for node in prompt.values():
            node_class = classes.get(node["class_type"])
            for spec in node_class.inputs.values() if node_class is not None else ():
                value, folder = node["inputs"].get(spec.name), model_folder(node["class_type"], spec, {})
                if folder is not None and is_model_file(value):
                    found.add(f"{folder}/{value}")
    return found


def verdicts(judge: httpx2.Client, prompts: list[Prompt]) -> Iterator[Verdict]:
    for start in range(0, len(prompts), AT_ONCE):
        # Python's own JSON: the prompts hold numbers that others refuse.
        reply = judge.post("/tests/verdicts", content=json.dumps(prompts[start : start + AT_ONCE]))
        for accepted, error, outputs, faulty in reply.raise_for_status().json():
            yield Verdict(accepted, set(outputs), faulty, error)


def test_verdict_is_the_servers_on_all_templates_and_their_mutations(judge: httpx2.Client) -> None:
    classes = NodeClasses.from_object_info(judge.get("/object_info").json())
    prompts = prompts_of(judge.get("/object_info").json())
    wanted = {found.value for prompt in prompts.values() for found in files_to_look_up(prompt, classes)}
    for value in sorted(wanted)[::2]:  # the others stay missing
        named = LoadValue.of(value)
        if not named.subfolder and named.folder == "input":
            judge.post("/upload/image", files={"image": (value, b"x", "image/png")}).raise_for_status()
    classes = NodeClasses.from_object_info(judge.get("/object_info").json())
    cases = list(mutations(prompts, classes))
    compared = Comparison()
    for (name, prompt), theirs in zip(cases, verdicts(judge, [prompt for _, prompt in cases]), strict=True):
        files = {found.value: _has(judge, found.value) for found in files_to_look_up(prompt, classes)}
        compared.add(name, prompt, validate_prompt(prompt, classes, files), theirs, classes)
    sys.stdout.write(f"ComfyUI 0.3.75: {compared}\n")
    assert compared.count > 4000
    assert not compared.missed, "\n".join(compared.missed[:20])
    assert not compared.false_alarms, "\n".join(compared.false_alarms[:20])
    assert not compared.unnamed, "\n".join(compared.unnamed[:20])


def _has(judge: httpx2.Client, value: str) -> bool:
    """As the verdict's online part asks."""
    named = LoadValue.of(value)
    params = {"filename": named.filename, "subfolder": named.subfolder, "type": named.folder}
    return judge.get("/view", params=params).status_code == 200


needs_recent = pytest.mark.skipif(
    RECENT_FOLDER not in os.environ,
    reason=f"{RECENT_FOLDER} is not set: it names a folder with data of ComfyUI 0.33.0.",
)


@needs_recent
def test_verdict_is_that_of_a_recent_server() -> None:
    classes = NodeClasses.from_object_info(recent("object_info-0.33.0-models"))
    cases = recent("verdicts-0.33.0")
    compared = Comparison()
    for case in cases:
        told = case["verdict"]
        theirs = Verdict(told["ok"], set(told["outputs"]), told["node_errors"], told["error"])
        compared.add(case["id"], case["prompt"], validate_prompt(case["prompt"], classes), theirs, classes)
    sys.stdout.write(f"ComfyUI 0.33.0: {compared}\n")
    assert compared.count > 3000
    assert compared.agreement() >= AGREEMENT
    assert not compared.missed, "\n".join(compared.missed[:20])
    assert not compared.false_alarms, "\n".join(compared.false_alarms[:20])
    assert not compared.unnamed, "\n".join(compared.unnamed[:20])


@needs_recent
def test_every_model_of_the_newest_templates_comes_with_a_link_and_a_folder() -> None:
    """As a user meets it whose recent server has no models at all."""
    object_info = recent("object_info-0.33.0")
    classes = NodeClasses.from_object_info(object_info)
    tables = model_tables(Path(os.devnull))
    workflows = recent_templates(object_info)
    seen: set[str] = set()
    for name, workflow in workflows.items():
        prompt = convert_workflow(workflow, classes).prompt
        knowledge = Knowledge(sources=tables.merged(ModelSources.of_workflow(workflow)))
        findings = validate_prompt(prompt, classes)
        _, repair = mended(findings, prompt, output_nodes(prompt, classes), classes, knowledge)
        for model in repair.models:
            assert model.url, f"{name}: no link to {model.file}"
            assert model.folder, f"{name}: no folder for {model.file}"
            assert model.command, f"{name}: no command for {model.file}"
            seen.add(model.file)
    assert len(workflows) > 500
    assert len(seen) > 250


def recent(name: str) -> Any:
    """A file of the data of ComfyUI 0.33.0."""
    with lzma.open(Path(os.environ[RECENT_FOLDER]) / f"{name}.json.xz") as file:
        return json.load(file)
