"""Packs with JavaScript of their own, against what the real editor sent with that JavaScript loaded (tests/data/packs).

Which inputs are left out on purpose, and where the packs' own code fails in the editor, is listed here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyui_api import NodeClasses, convert_workflow
from tests.support import DATA

CAPTURES = sorted(path for path in (DATA / "packs").glob("*.json") if not path.name.startswith("ue_"))

# Buttons, headers and pictures of the editor's, which the packs' Python passes over.
IGNORED = {
    "PowerLoraLoaderHeaderWidget",
    "➕ Add Lora",
    "rgthree_comparer",
    "output",
    "upload",
    "choose video to upload",
}


# The strength for the text encoder is noticed by the pack only once the node was drawn: here it always counts.
DEPARTURES = {"rgthree_power_lora_subgraph": {("2:101", "lora_1"), ("2:101", "lora_2")}}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_packs_are_converted_as_their_own_code_does(capture: Path) -> None:
    data = json.loads(capture.read_text(encoding="utf-8"))
    ours = convert_workflow(data["workflow"], NodeClasses.from_object_info(data["object_info"])).prompt
    drawn = {(str(node_id), name) for node_id, name in data.get("random", [])}
    for node_id, name in drawn:  # left to the pack's part on the server, which draws as well
        assert ours[node_id]["inputs"][name] in (-1, -2, -3)
    passed_over = drawn | DEPARTURES.get(capture.stem, set())
    assert _lines(ours, passed_over) == _lines(data["prompt"], passed_over)


@pytest.mark.parametrize("outputs", [5, True, "x", {"a": 1}, [1, {}]])
def test_malformed_outputs_of_a_context_are_passed_over(outputs: Any) -> None:
    data = json.loads((DATA / "packs" / "rgthree_context.json").read_text(encoding="utf-8"))
    for node in data["workflow"]["nodes"]:
        node["outputs"] = outputs
    assert convert_workflow(data["workflow"], NodeClasses.from_object_info(data["object_info"])).prompt


def _lines(prompt: dict[str, Any], passed_over: set[tuple[str, str]]) -> list[str]:
    return [
        f"{node_id} {entry['class_type']} {name} = {json.dumps(value, sort_keys=True)}"
        for node_id, entry in sorted(prompt.items())
        for name, value in [("", None), *sorted(entry["inputs"].items())]
        if name not in IGNORED and (node_id, name) not in passed_over
    ]
