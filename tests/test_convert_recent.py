"""Conversion with the node classes of recent servers, against what the real editor sent: inputs that come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from comfyui_api.convert import convert_workflow
from comfyui_api.node_class import NodeClasses
from tests.oracle import (
    RECENT,
    ObjectInfo,
    OracleUnavailable,
    Prompt,
    Workflow,
    differences,
    dynamic_inputs,
    known_deviations,
    recent_data,
)

DEVIATIONS = known_deviations()


def report(name: str, workflow: Workflow, sent: Prompt, classes: NodeClasses, object_info: ObjectInfo) -> list[str]:
    """What our conversion has differently from what was sent, without what is listed; and what is listed, but equal."""
    known = DEVIATIONS.get(name, {})
    found = {
        (each.node, each.input): each
        for each in differences(convert_workflow(workflow, classes).prompt, sent, object_info)
    }
    unlisted = [
        f"{name}: {each.node} {each.input}: {each.ours!r:.80} ≠ {each.theirs!r:.80}"
        for place, each in found.items()
        if place not in known
    ]
    return unlisted + [f"{name}: listed, but equal: {' '.join(place)}" for place in known if place not in found]


def test_official_templates_are_converted_as_the_editor_of_a_recent_server_did() -> None:
    try:
        object_info = recent_data("object_info")
        templates: Mapping[str, Any] = recent_data("conversion")
    except OracleUnavailable as exc:
        pytest.skip(str(exc))
    classes = NodeClasses.from_object_info(object_info)
    # The frontend of that server, which is older than the one that we follow.
    found = [
        line
        for name, each in templates.items()
        for line in report(f"{RECENT} (1.49.6)/{name}", each["workflow"], each["gold"], classes, object_info)
    ]
    assert not found, "\n".join(found)


OBJECT_INFO, CASES = dynamic_inputs()
CLASSES = NodeClasses.from_object_info(OBJECT_INFO)


@pytest.mark.parametrize("name", CASES)
def test_inputs_that_come_and_go_are_converted_as_the_editor_does(name: str) -> None:
    case = CASES[name]
    found = report(name, case["workflow"], case["prompt"], CLASSES, OBJECT_INFO)
    assert not found, "\n".join(found)
