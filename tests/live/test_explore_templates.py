"""find_templates and find_models against a real server: all of its templates, its models, and as an agent uses them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from comfyui_api.explore.templates import find_templates
from comfyui_api.verdict import validate_workflow
from comfyui_api.workspace import open_workspace
from tests.support import agent, environment_for
from tests.template_requests import hits, hits_of_subjects

pytestmark = [pytest.mark.live, pytest.mark.anyio]

CONTENT = frozenset({"prompt", "text", "image", "mask", "video", "audio", "3d", "file"})


async def test_every_template_of_the_server_is_saved_and_tells_its_inputs(comfyui: str, home: Path) -> None:
    counts: Counter[str] = Counter()
    silent: list[str] = []
    async with open_workspace(environment_for(home, comfyui)) as workspace:
        client = workspace.connect().client
        templates = await client.templates()
        assert templates is not None
        for template in templates:
            result = await find_templates(workspace, "", template.name, None, 10, None)
            assert result.workflow is not None
            assert json.loads(Path(result.workflow).read_text("utf-8")) == await client.template(template.name)
            counts["asked"] += 1
            counts["inputs"] += bool(result.inputs)
            counts["partner"] += bool(result.templates[0].partner)
            assert bool(result.templates[0].partner) == template.partner, template.name
            if not {entry.kind for entry in result.inputs or ()} & CONTENT:
                silent.append(template.name)
    assert counts["asked"] >= 180
    assert counts["inputs"] == counts["asked"]
    assert silent == []


async def test_a_saved_template_is_judged_as_the_original_is(comfyui: str, home: Path) -> None:
    async with open_workspace(environment_for(home, comfyui)) as workspace:
        client = workspace.connect().client
        for template in (await client.templates() or [])[::9]:
            saved = await find_templates(workspace, "", template.name, None, 10, None)
            original = await validate_workflow(workspace, await client.template(template.name), None)
            judged = await validate_workflow(workspace, str(saved.workflow), None)
            assert (judged.valid, judged.findings) == (original.valid, original.findings), template.name


async def test_requests_in_plain_words_find_the_servers_own_templates(comfyui: str, home: Path) -> None:
    async with open_workspace(environment_for(home, comfyui)) as workspace:
        templates = await workspace.connect().client.templates()
    assert templates is not None
    found = hits(templates, newer=False)
    assert found.asked >= 40
    assert found.in_three >= 0.94 * found.asked, found.missed
    assert found.first >= 0.8 * found.asked
    with_subjects = hits_of_subjects(templates, newer=False)
    assert with_subjects.asked >= 60
    assert with_subjects.in_three >= 0.96 * with_subjects.asked, with_subjects.missed
    assert with_subjects.first >= 0.92 * with_subjects.asked


async def test_an_agent_gets_from_words_to_a_queued_run(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        found = await user.call("find_templates", query="simple image generation with a checkpoint", limit=5)
        assert found["templates"]
        saved = await user.call("find_templates", name="default")
        by_kind: dict[str, Any] = {entry["kind"]: entry["address"] for entry in reversed(saved["inputs"])}
        checkpoint = next(entry["address"] for entry in saved["inputs"] if entry["kind"] == "model")
        models = await user.call("find_models", query="sd15")
        assert models["loaders"]["checkpoints"][0] == "CheckpointLoaderSimple.ckpt_name"
        answer = await user.call(
            "queue_workflow",
            workflow=saved["workflow"],
            inputs={by_kind["prompt"]: "a red fox", checkpoint: models["models"][0]["file"]},
        )
        assert answer["status"] == "queued"
        # The placeholder is no checkpoint: that the run fails there shows that it was reached.
        result = await user.finish(answer["prompt_id"])
        assert result["error"]["class_type"] == "CheckpointLoaderSimple"


async def test_models_in_subfolders_are_found_as_their_loader_takes_them(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as user:
        (model,) = (await user.call("find_models", query="sdxl"))["models"]
        assert model["folder"] == "checkpoints"
        valid = await user.call(
            "validate_workflow",
            workflow={
                "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model["file"]}},
                "2": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}},
                "3": {
                    "class_type": "EmptyLatentImage",
                    "inputs": {"width": 64, "height": 64, "batch_size": 1},
                },
                "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
            },
        )
        assert valid["valid"] is True
