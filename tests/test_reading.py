"""Resources, prompts and completion, through a real MCP client in both eras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import PromptReference, ResourceTemplateReference, TextContent, TextResourceContents

from comfyui_api import documents
from comfyui_api.stocktake import refresh_offline
from comfyui_api.tools.resources import DOCUMENTS
from comfyui_api.workspace import open_workspace
from tests.support import DATA, Agent, agent, environment_for

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
CLASSES = DATA / "object_info_0.3.75_some.json"


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def text_of(user: Agent, uri: str) -> str:
    (content,) = (await user.client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.uri == uri
    return content.text


async def test_every_listed_resource_can_be_read_and_every_document_is_listed(home: Path, mode: str) -> None:
    async with agent(environment_for(home, NOBODY), mode) as user:
        listed = (await user.client.list_resources()).resources
        assert {each.uri for each in listed} == {"comfyui://inventory", *(f"comfyui://{name}" for name in DOCUMENTS)}
        for name in DOCUMENTS:
            assert await text_of(user, f"comfyui://{name}") == documents.document(name).read_text("utf-8")


def test_every_document_that_stands_there_is_a_resource() -> None:
    root = documents.document("SKILL.md").parent
    there = {f"{folder}/{path.name}" for folder in ("references", "foundation") for path in (root / folder).iterdir()}
    assert there - set(DOCUMENTS) == {
        "references/node_packs.json"
    }  # a megabyte for the code, which find_nodes searches


async def test_a_resource_that_is_not_there_is_refused_with_the_nearest(home: Path, mode: str) -> None:
    async with agent(environment_for(home, NOBODY), mode) as user:
        for uri in ("comfyui://references/model.md", "comfyui://../SKILL.md", "file:///etc/passwd", "comfyui://nodes/"):
            with pytest.raises(MCPError, match="There is no resource") as refused:
                await user.client.read_resource(uri)
            assert "comfyui://inventory" in str(refused.value)


async def test_a_document_is_read_by_sections(home: Path, mode: str) -> None:
    address = "comfyui://references/workflows.md"
    sections = ResourceTemplateReference(uri="comfyui://references/{document}/{section}")
    async with agent(environment_for(home, NOBODY), mode) as user:
        lora = await text_of(user, f"{address}/lora")
        assert lora.startswith("## LoRA\n")
        assert lora in await text_of(user, address)
        assert "\n## " not in lora
        assert "## Out of memory" in await text_of(user, "comfyui://references/troubleshooting.md/failures")
        with pytest.raises(MCPError, match=r"has no section 'loras'\. Did you mean 'lora'"):
            await user.client.read_resource(f"{address}/loras")
        with pytest.raises(MCPError, match=r"One section is comfyui://references/workflows\.md/lora\."):
            await user.client.read_resource(f"{address}#lora")
        assert await completed(user, sections, "document", "w") == ["workflows.md"]
        assert "image-to-3d" in await completed(user, sections, "section", "image")


async def test_what_is_not_known_is_said_and_not_made_up(home: Path, mode: str) -> None:
    async with agent(environment_for(home, NOBODY), mode) as user:
        for uri in ("comfyui://inventory", "comfyui://nodes/KSampler"):
            with pytest.raises(MCPError, match=r"comfyui-api inventory refresh|check_status"):
                await user.client.read_resource(uri)


@pytest.fixture
async def known(home: Path) -> dict[str, str]:
    """The environment of a user whose server is down, and was known from a saved reply."""
    environment = environment_for(home, NOBODY)
    async with open_workspace(environment) as workspace:
        await refresh_offline(workspace, None, CLASSES, None)
    return environment


async def test_inventory_and_node_classes_are_read_without_a_server(known: dict[str, str], mode: str) -> None:
    async with agent(known, mode) as user:
        summary = json.loads(await text_of(user, "comfyui://inventory"))
        assert summary["node_classes"] == len(json.loads(CLASSES.read_text("utf-8")))
        assert "KSampler" in await text_of(user, "comfyui://nodes/KSampler")
        template, _ = (await user.client.list_resource_templates()).resource_templates
        assert template.uri_template == "comfyui://nodes/{class_type}"


async def completed(user: Agent, ref: Any, name: str, value: str) -> list[str]:
    answer = await user.client.complete(ref, {"name": name, "value": value})
    assert len(answer.completion.values) <= 100
    return answer.completion.values


async def test_class_names_runs_and_workflows_are_completed(known: dict[str, str], home: Path, mode: str) -> None:
    workflows = home / "projects" / "cats" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "kitten.json").write_text("{}", "utf-8")
    (home / "state" / "jobs.json").write_text('{"abc": {"server": "http://127.0.0.1:9", "queued_at": 1}}', "utf-8")
    nodes = ResourceTemplateReference(uri="comfyui://nodes/{class_type}")
    async with agent(known, mode) as user:
        assert (await completed(user, nodes, "class_type", "ksam"))[0] == "KSampler"
        assert len(await completed(user, nodes, "class_type", "")) > 20
        assert await completed(user, nodes, "class_type", "no such thing") == []
        run = PromptReference(name="run_workflow_file")
        assert await completed(user, run, "workflow", "projects/c") == ["projects/cats/workflows/kitten.json"]
        assert await completed(user, PromptReference(name="why_did_it_fail"), "prompt_id", "a") == ["abc"]
        assert await completed(user, run, "changes", "a") == []


async def test_prompts_say_what_to_do_with_what_is_named(home: Path, mode: str) -> None:
    async with agent(environment_for(home, NOBODY), mode) as user:
        assert [each.name for each in (await user.client.list_prompts()).prompts] == [
            "run_workflow_file",
            "why_did_it_fail",
        ]
        for name, arguments, says in (
            (
                "run_workflow_file",
                {"workflow": "a b.json", "changes": "make it {blue}"},
                ["a b.json", "make it {blue}"],
            ),
            ("run_workflow_file", {"workflow": "x.png"}, ["x.png", "get_output"]),
            ("why_did_it_fail", {}, ["list_jobs"]),
            ("why_did_it_fail", {"prompt_id": "abc"}, ["the run abc", "troubleshooting.md"]),
        ):
            (message,) = (await user.client.get_prompt(name, arguments)).messages
            assert isinstance(message.content, TextContent)
            assert all(words in message.content.text for words in says)
        for name, arguments, says in (
            ("run_workflow_file", {}, ["needs 'workflow'"]),
            ("run_workflow_file", {"workflow": "a", "seed": "1"}, ["no argument 'seed'", "workflow, changes"]),
            ("run_workflow", {}, ["no prompt 'run_workflow'", "Did you mean 'run_workflow_file'"]),
        ):
            with pytest.raises(MCPError) as refused:
                await user.client.get_prompt(name, arguments)
            assert all(words in str(refused.value) for words in says)
