"""The inputs worth changing in all official templates: a prompt or a file to give, and a seed where noise is made.

With COMFYUI_API_ORACLE set, also those of ComfyUI 0.33.0.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import httpx2
import pytest

from comfyui_api.convert import convert_workflow
from comfyui_api.main_inputs import main_inputs
from comfyui_api.node_class import NodeClasses
from comfyui_api.workspace import read_settings
from tests.live.test_template_verdicts import needs_recent, recent
from tests.oracle import recent_templates, templates

pytestmark = pytest.mark.live

GIVEN = {"prompt", "text", "image", "mask", "video", "audio", "3d", "file"}
WITHOUT = {
    "basic_mask_operations_and_compositing.json",  # it shows what nodes do with masks of their own making
    "video_ltx2_i2v_lora.json",  # its subgraph leads nowhere: only the node that saves would run
}


def told(workflow: dict[str, Any], classes: NodeClasses) -> str | None:
    """What is missing among a template's inputs worth changing; None where it has all."""
    prompt = convert_workflow(workflow, classes).prompt
    found = main_inputs(prompt, classes)
    kinds = {each.kind for each in found}
    addresses = {each.address for each in found}
    assert len(addresses) == len(found)
    for each in found:
        node_id, _, name = each.address.partition(".")
        assert not isinstance(prompt[node_id]["inputs"][name], list)
    if not kinds & GIVEN:
        return f"nothing to give: {sorted(kinds)}"
    noisy = any("noise_seed" in node["inputs"] or node["class_type"] == "KSampler" for node in prompt.values())
    return f"no seed: {sorted(kinds)}" if noisy and "seed" not in kinds else None


def check(workflows: dict[str, dict[str, Any]], object_info: dict[str, Any]) -> int:
    """How many templates there are; all but a known few have what a person would change."""
    classes = NodeClasses.from_object_info(object_info)
    lacking = {name: what for name, workflow in workflows.items() if (what := told(workflow, classes)) is not None}
    sys.stdout.write(f"{len(workflows) - len(lacking)} of {len(workflows)} templates; not {lacking}\n")
    assert {name.rpartition("/")[2] for name in lacking} <= WITHOUT
    return len(workflows)


def test_every_template_has_a_prompt_or_a_file_and_its_seed(comfyui: str) -> None:
    object_info = httpx2.get(f"{comfyui}/object_info", timeout=60).json()
    assert check(templates(read_settings(os.environ), object_info), object_info) > 300


@needs_recent
def test_every_template_of_a_recent_server_too() -> None:
    object_info = recent("object_info-0.33.0-models")
    assert check(recent_templates(object_info), object_info) > 500
