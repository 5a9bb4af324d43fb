"""Our verdict against the real server's, prompt by prompt: whether it is refused, and which nodes are faulty."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from comfyui_api.findings import errors_in
from comfyui_api.node_class import NodeClasses
from comfyui_api.replies import node_faults, rejection
from comfyui_api.validate import stops_the_server, validate_prompt
from tests.support import Prompt

pytestmark = pytest.mark.live

BASE: Prompt = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 255}},
    "2": {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "lanczos", "width": 64, "height": 64, "crop": "disabled"},
    },
    "3": {
        "class_type": "ImageBlend",
        "inputs": {"image1": ["2", 0], "image2": ["1", 0], "blend_factor": 0.5, "blend_mode": "normal"},
    },
    "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {"class_type": "SaveLatent", "inputs": {"samples": ["5", 0], "filename_prefix": "verdict"}},
    "7": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
}
VALUES: list[Any] = [
    0,
    -1,
    1,
    64,
    "64",
    " 7 ",
    "abc",
    "",
    "lanczos",
    "1e3",
    64.7,
    1e308,
    10**30,
    True,
    False,
    None,
    {},
    {"a": 1},
    {"__value__": 32},
    {"__value__": "normal"},
    {"__value__": ["1", 0]},
    [],
    ["1"],
    ["1", 0],
    ["5", 0],
    ["1", 0, 0],
    ["1", 1],
    ["1", -1],
    ["1", "0"],
    ["99", 0],
    [1, 0],
    ["4", 0],
    [["1", 0], 0],
    ["2", 0.0],
]
# The real server accepts these, as another output is sound, and never runs anything again: its worker thread dies.
DEADLY = "no inputs"
INPUTS = [
    ("1", "width"),
    ("1", "color"),
    ("2", "image"),
    ("2", "upscale_method"),
    ("2", "height"),
    ("3", "image1"),
    ("3", "blend_factor"),
    ("3", "blend_mode"),
    ("4", "images"),
    ("5", "batch_size"),
    ("6", "samples"),
    ("6", "filename_prefix"),
    ("7", "image"),
]


def cases() -> Iterator[tuple[str, Prompt]]:
    yield "sound", copy.deepcopy(BASE)
    for node, name in INPUTS:
        for value in VALUES:
            prompt = copy.deepcopy(BASE)
            prompt[node]["inputs"][name] = value
            yield f"{node}.{name}={value!r}", prompt
        prompt = copy.deepcopy(BASE)
        del prompt[node]["inputs"][name]
        yield f"{node}.{name} missing", prompt
    for node in BASE:
        for change in ("no class", "unknown class", "no inputs", "not a node", "gone", "number as class"):
            prompt = copy.deepcopy(BASE)
            match change:
                case "no class":
                    del prompt[node]["class_type"]
                case "unknown class":
                    prompt[node]["class_type"] = "NoSuchClass"
                case "number as class":
                    prompt[node]["class_type"] = 3
                case "no inputs":
                    del prompt[node]["inputs"]
                case "not a node":
                    prompt[node] = "text"
                case "gone":
                    del prompt[node]
            yield f"{node} {change}", prompt
    for name, nodes in (("empty", ()), ("no output", ("1", "2", "3")), ("one output", ("5", "6"))):
        yield name, {node: copy.deepcopy(BASE[node]) for node in nodes}
    two = copy.deepcopy(BASE)
    two["1"]["inputs"]["width"] = 0
    two["5"]["inputs"]["height"] = "x"
    yield "both outputs faulty", two
    circle = copy.deepcopy(BASE)
    circle["2"]["inputs"]["image"] = ["3", 0]
    yield "cycle", circle
    alone = copy.deepcopy(BASE)
    alone["7"]["inputs"]["image"] = ["7", 0]
    yield "cycle that no output needs", alone
    itself = copy.deepcopy(BASE)
    itself["2"]["inputs"]["image"] = ["2", 0]
    yield "node linked to itself", itself


@dataclass
class Judged:
    """`refused`: nothing was queued. `faulty`: what is named, as (node, input)."""

    refused: bool
    faulty: set[tuple[str | None, str | None]]
    reply: Any


def by_server(http: httpx2.Client, prompt: Prompt) -> Judged:
    reply = http.post("/prompt", json={"prompt": prompt, "client_id": "verdict", "prompt_id": str(uuid.uuid4())})
    if reply.status_code == 500:  # a prompt that the server fails over: nothing was queued
        return Judged(refused=True, faulty=set(), reply=reply.text)
    body = reply.json()
    refused = reply.status_code == 400
    faults = rejection(body) if refused else node_faults(body["node_errors"])
    return Judged(refused=refused, faulty={(fault.node_id, fault.input) for fault in faults}, reply=body)


def outputs_that_ran(http: httpx2.Client, prompt_id: str) -> set[str]:
    """The output nodes that the server took up for a run."""
    deadline = time.monotonic() + 60
    while not (entry := http.get(f"/history/{prompt_id}").json().get(prompt_id)):
        assert time.monotonic() < deadline
    return set(entry["prompt"][4])


@pytest.fixture(scope="module")
def http(comfyui: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=comfyui, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def node_classes(http: httpx2.Client) -> NodeClasses:
    return NodeClasses.from_object_info(http.get("/object_info").json())


def test_verdict_is_the_servers_on_every_case(http: httpx2.Client, node_classes: NodeClasses) -> None:
    differences = []
    count = stricter = 0
    for name, prompt in cases():
        count += 1
        if name.endswith(DEADLY):
            continue
        theirs = by_server(http, prompt)
        errors = errors_in(validate_prompt(prompt, node_classes))
        ours_bad, theirs_bad = bool(errors), theirs.refused or bool(theirs.faulty)
        if ours_bad and not theirs_bad and all("the run fails" in error.message for error in errors):
            # Stricter on purpose: 0.3.75 checks neither V3 combos nor plain values in place of a link.
            stricter += 1
            continue
        if ours_bad and not theirs_bad and any(error.code == "dependency_cycle" for error in errors):
            # The server names no node of a cycle; it just leaves its outputs out.
            assert "4" not in outputs_that_ran(http, theirs.reply["prompt_id"]), name
            continue
        if ours_bad != theirs_bad:
            differences.append(f"{name}: we say {[e.message for e in errors]}, the server {theirs.reply}")
            continue
        # The server stops at the first node it cannot judge; what it names, we must name too.
        nodes = {error.node_id for error in errors}
        unnamed = {node for node, _ in theirs.faulty if node is not None} - nodes
        if unnamed and not any(error.code in ("exception_during_validation", "dependency_cycle") for error in errors):
            differences.append(f"{name}: the server names {theirs.faulty}, we {[(e.node_id, e.input) for e in errors]}")
    assert count > 450
    assert 0 < stricter < count // 3
    assert not differences, "\n".join([f"{len(differences)} of {count} differ:", *differences[:40]])


def test_every_finding_says_what_to_do(node_classes: NodeClasses) -> None:
    for name, prompt in cases():
        for finding in validate_prompt(prompt, node_classes):
            assert finding.fix, f"{name}: {finding}"


def test_nodes_without_inputs_are_refused_before_they_stop_the_server(node_classes: NodeClasses) -> None:
    deadly = {name: prompt for name, prompt in cases() if name.endswith(DEADLY)}
    assert len(deadly) == len(BASE)
    for name, prompt in deadly.items():
        node = name.split(" ", 1)[0]
        assert stops_the_server(prompt) == [node]
        assert node in {error.node_id for error in errors_in(validate_prompt(prompt, node_classes))}
