"""What the documents say is true: settings, tools, commands, fields, files, and the examples in them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import comfyui_api
from comfyui_api.documents import schema
from comfyui_api.results import RESULTS
from comfyui_api.sandbox import LICENCE_NOTE
from comfyui_api.settings import settings_table
from comfyui_api.tools import INSTRUCTIONS, TOOLS

ROOT = Path(__file__).resolve().parent.parent
README, SKILL = (ROOT / "README.md").read_text("utf-8"), (ROOT / "SKILL.md").read_text("utf-8")
DOCUMENTS = {"README.md": README, "SKILL.md": SKILL, "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text("utf-8")}
COMMANDS = [
    "status",
    "validate",
    "convert",
    "queue",
    "poll",
    "jobs",
    "get",
    "upload",
    "interrupt",
    "free",
    "inventory",
    "models",
    "serve",
    "sandbox",
]


def test_every_setting_is_in_the_readme_as_it_is() -> None:
    for key, variable, about, default in settings_table():
        assert f"| `{variable}` | `{key}` | {about} | {f'`{default}`' if default else ''} |" in README


def test_settings_named_anywhere_exist() -> None:
    known = {variable for _, variable, _, _ in settings_table()} | {"COMFYUI_API_CONFIG"}
    for name, text in {**DOCUMENTS, "instructions": INSTRUCTIONS}.items():
        assert set(re.findall(r"\bCOMFYUI_[A-Z_]+\b", text)) <= known, name


def test_every_tool_is_named_and_no_other() -> None:
    for text in (README, SKILL):
        assert set(re.findall(r"^\| `([a-z]+_[a-z]+|interrupt)` \|", text, re.MULTILINE)) == set(TOOLS)


def test_commands_in_the_documents_exist() -> None:
    for name, text in DOCUMENTS.items():
        for command in re.findall(r"(?:^|`|-- |FOLDER )comfyui-api ([a-z]+)", text, re.MULTILINE):
            assert command in COMMANDS, (name, command)


def test_fields_that_the_skill_names_exist() -> None:
    """Whatever stands in backquotes and looks like a field is a tool, a field or value of a result, or an argument."""
    known = set(re.findall(r'"([a-z_]+)"', json.dumps(schema("tool-results")))) | set(TOOLS)
    known |= {name for tool in TOOLS.values() for name in tool.arguments.model_fields}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", SKILL))
    assert len(named) > 20
    assert named <= known, named - known


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_links_and_named_files_exist(name: str) -> None:
    text = DOCUMENTS[name]
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r"`((?:references|foundation|scripts)/[^`{ ]+)`", text)
    for target in targets:
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_example_of_the_readme_is_a_prompt() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    Draft202012Validator(schema("api-workflow")).validate(json.loads(example))
    for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL):
        tomllib.loads(block)


def test_licence_of_the_sandbox_is_stated() -> None:
    for text in (README, LICENCE_NOTE):
        assert "GPL-3.0" in text
        assert "AGPL-3.0" in text


def test_skill_has_the_frontmatter_that_installers_want() -> None:
    _, front, body = SKILL.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["name"] == "comfyui-api"
    assert len(meta["description"]) <= 1024
    assert len(meta["compatibility"]) <= 500
    assert meta["metadata"]["version"] == comfyui_api.__version__
    assert len(body.splitlines()) < 500
    assert len(body) < 20_000


def test_version_is_one_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == comfyui_api.__version__
    assert f"## {comfyui_api.__version__}" in DOCUMENTS["CHANGELOG.md"]


def test_dependencies_have_their_reason_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    table = README[README.index("## Dependencies") :]
    for dependency in project["dependencies"]:
        name = re.split(r"[\[><=]", dependency)[0]
        assert re.search(rf"^\| .*\b{re.escape(name)}\b.* \|", table, re.MULTILINE), name


def test_every_result_model_belongs_to_a_tool() -> None:
    assert set(RESULTS) == set(TOOLS)
