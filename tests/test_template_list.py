"""How references/templates.md comes about, from what the official templates' package has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.update_references import all_templates, workflows_in

from comfyui_api.templates import Template, list_text, parse_list


def node(class_type: str, *values: Any, **properties: Any) -> dict[str, Any]:
    return {"id": 1, "type": class_type, "widgets_values": list(values), "properties": properties}


FREE = [
    node("LoadImage", "cat.png"),
    node("UpscaleModelLoader", "RealESRGAN_x4plus.safetensors"),
    node("SaveImage", "cat"),
]


def made_of(
    tmp_path: Path, entries: list[dict[str, Any]], workflows: dict[str, list[dict[str, Any]]]
) -> list[Template]:
    folder = tmp_path / "comfyui_workflow_templates_json" / "templates"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps([{"title": "Image", "templates": entries}]))
    for name, nodes in workflows.items():
        (folder / f"{name}.json").write_text(json.dumps({"nodes": nodes, "links": []}))
    return all_templates(tmp_path, workflows_in(tmp_path))


def test_a_template_has_its_media_and_files_from_its_workflow(tmp_path: Path) -> None:
    (template,) = made_of(tmp_path, [{"name": "up", "title": "Upscale", "size": 67_000_000}], {"up": FREE})
    assert (template.takes, template.makes) == (("image",), ("image",))
    assert template.files == ("RealESRGAN_x4plus.safetensors",)
    assert template.size == 67_000_000


def test_only_what_no_free_template_has_makes_one_a_partners(tmp_path: Path) -> None:
    entries = [
        {"name": "free", "openSource": True},
        {"name": "api_tour", "openSource": False},
        {"name": "api_real", "openSource": False, "size": 100_000_000},
    ]
    workflows = {"free": FREE, "api_tour": FREE[:2] + FREE[2:], "api_real": [node("PartnerNode"), *FREE[2:]]}
    templates = made_of(tmp_path, entries, workflows)
    assert [template.partner for template in templates] == [False, False, True]
    assert templates[2].size is None  # that of a preview, not of models


def test_descriptions_are_cut_at_a_word_and_name_the_family(tmp_path: Path) -> None:
    entries = [{"name": "x", "title": "Upscale", "models": ["SeedVR2"], "description": "Makes pictures larger " * 10}]
    (template,) = made_of(tmp_path, entries, {"x": FREE})
    assert template.description.startswith("SeedVR2: Makes pictures larger")
    assert template.description.endswith(("larger…", "pictures…", "Makes…"))
    assert len(template.description) < 90


def test_cells_cannot_break_the_table(tmp_path: Path) -> None:
    entries = [{"name": "x", "title": "A | title\nwith lines", "description": "| x | y |", "tags": ["a,b", "T|T"]}]
    templates = made_of(tmp_path, entries, {"x": FREE})
    (read,) = parse_list(list_text(templates, "# Head"))
    assert (read.name, read.title, read.tags) == ("x", "A / title with lines", ("T/T",))
    assert read.files == ("RealESRGAN_x4plus.safetensors",)
