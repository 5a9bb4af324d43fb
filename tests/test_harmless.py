"""Texts of others in what is told: nothing steers a terminal or turns letters round, and data stays what it is."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.app.answers import answer, compact, failure
from comfyui_api.errors import ComfyError
from comfyui_api.findings import Finding
from comfyui_api.harmless import escaped, harmless
from comfyui_api.results import ModelInfo, ModelList, NodeList, NodeSpec, Status, Validation, as_json
from comfyui_api.stocktake import refresh_offline
from comfyui_api.workspace import open_workspace
from tests.support import agent, environment_for
from tests.test_explore_models import installed

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
STEERING = "a\x1b[31m\x07\x00\x9b\u202eb\u2066c\r"


def steers(text: str) -> bool:
    return any(
        (unicodedata.category(char) == "Cc" and char not in "\n\t")
        or unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for char in text
    )


@given(st.text())
def test_any_text_becomes_harmless_and_an_ordinary_one_stays(text: str) -> None:
    assert not steers(harmless(text))
    harmless(text).encode()
    if not steers(text) and text.isprintable():
        assert harmless(text) == text or any(char in "\u061c\u200e\u200f" for char in text)


def test_lines_tabs_and_letters_of_all_scripts_stay() -> None:
    for text in ("a\n\tb", "größer 猫 🦊", "\u05d0\u05d1\u05d2", "क्\u200dष"):
        assert harmless(text) == text
    assert harmless("a\r\nb") == "a\nb"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaped_json_means_the_same(text: str) -> None:
    carried = escaped(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(carried) == {"a": text}
    assert not steers(carried)


def test_an_error_quotes_others_harmlessly() -> None:
    error = ComfyError(f"No '{STEERING}'.", f"Try '{STEERING}'.")
    assert not steers(str(error) + error.message + error.next_step)
    assert not steers(str(failure("code", f"{STEERING}\ud800").content))


def test_sentences_of_a_result_are_harmless_and_its_values_stay() -> None:
    finding = Finding("error", "value_not_in_list", f"'{STEERING}' is not there.", received={"message": STEERING})
    result = as_json(
        Validation(
            valid=False, format="api", source="inline", findings=[finding], checked=[], not_checked=[f"why: {STEERING}"]
        )
    )
    assert not steers(result["not_checked"][0] + result["findings"][0]["message"])
    assert result["findings"][0]["received"] == {"message": STEERING}
    listed = ModelList(models=[ModelInfo(file=f"{STEERING}.safetensors", folder="loras")], message="1 file matches.")
    assert as_json(listed)["models"][0]["file"] == f"{STEERING}.safetensors"


def test_the_text_of_a_result_steers_nothing_though_it_has_the_same_values() -> None:
    result = answer(Status(online=True, server=NOBODY, os=STEERING))
    text = result.content[0].model_dump()["text"]
    assert not steers(text)
    assert json.loads(text) == result.structured_content == {**json.loads(text), "os": STEERING}
    assert compact({"a": "ä\n"}) == '{"a":"ä\\n"}'


def test_a_name_that_is_no_text_does_not_cost_the_answer() -> None:
    spec = NodeSpec("Node22", ["\ud800: INT"], [], {"class_type": "Node22", "inputs": {"\ud800": float("nan")}})
    told = as_json(NodeList(node=spec, message="To copy: example."))
    assert told["node"]["example"]["inputs"] == {"?": "NaN"}
    json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


async def test_what_tools_repeat_of_folders_and_names_is_harmless(home: Path) -> None:
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        await refresh_offline(workspace, None, None, installed(home, {"lo\x1b[31mras\x07": ["a.safetensors"]}))
    async with agent(environment_for(home, NOBODY)) as user:
        for told in (
            await user.fail("find_models", folder="../.."),
            await user.fail("find_templates", name=f"cat{STEERING}"),
            await user.fail("find_nodes", class_type=STEERING),
            await user.fail("validate_workflow", workflow=f"server:{STEERING}"),
        ):
            assert not steers(told), told
