from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyui_api.embedded import SIZE_LIMIT
from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.workflow_files import LoadedWorkflow, load_file, parse, recognise
from tests.support import image_prompt

GRAPH: dict[str, Any] = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": []}


def test_prompt_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    path.write_text(json.dumps(image_prompt()), encoding="utf-8-sig")  # as some editors on Windows save it
    loaded = load_file(path)
    assert (loaded.format, loaded.name, loaded.content) == ("api", "cat", image_prompt())


def test_body_of_a_prompt_call_is_taken_for_the_prompt_in_it() -> None:
    assert recognise({"prompt": image_prompt(), "client_id": "x"}).content == image_prompt()


def test_editor_format_is_recognised_and_is_its_own_ui_graph() -> None:
    loaded = recognise(GRAPH)
    assert (loaded.format, loaded.content, loaded.ui) == ("ui", GRAPH, GRAPH)
    assert recognise(image_prompt()).ui is None


@pytest.mark.parametrize(
    "beside",
    [
        {"workflow": GRAPH},
        {"extra_data": {"extra_pnginfo": {"workflow": GRAPH}}},
        {"workflow": None, "extra_data": {"extra_pnginfo": {"workflow": GRAPH}}},
    ],
)
def test_ui_graph_beside_a_prompt_goes_with_it(beside: dict[str, Any]) -> None:
    loaded = parse(json.dumps({"prompt": image_prompt(), **beside}))
    assert (loaded.format, loaded.content, loaded.ui) == ("api", image_prompt(), GRAPH)
    alone = recognise({"prompt": {}, **beside})
    assert (alone.format, alone.content, alone.ui) == ("ui", GRAPH, GRAPH)


@pytest.mark.parametrize(
    "beside", [{"workflow": {"a": 1}}, {"extra_data": None}, {"extra_data": {"extra_pnginfo": []}}]
)
def test_what_is_no_ui_graph_does_not_go_with_a_prompt(beside: dict[str, Any]) -> None:
    loaded = recognise({"prompt": image_prompt(), **beside})
    assert (loaded.content, loaded.ui) == (image_prompt(), None)


def test_numbers_that_json_does_not_know_are_accepted() -> None:
    loaded = parse('{"1": {"class_type": "X", "inputs": {"a": [NaN, Infinity, -Infinity]}}}')
    assert repr(loaded.content["1"]["inputs"]["a"]) == "[nan, inf, -inf]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("{}", "is empty"),
        ("{'a': 1}", "line 1, column 2"),
        ("[1]", "JSON list"),
        ("3", "JSON int"),
        ('{"a": 1}', "no ComfyUI workflow"),
        ("[" * 100_000, "JSON"),
        ('{"a": ' + "9" * 5000 + "}", "JSON"),
    ],
)
def test_what_is_no_workflow_says_why(text: str, says: str) -> None:
    with pytest.raises(WorkflowUnreadable, match=says):
        parse(text)


def test_missing_file_folder_and_picture_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(WorkflowUnreadable, match="There is no file"):
        load_file(tmp_path / "nothing.json")
    with pytest.raises(WorkflowUnreadable, match="is a folder"):
        load_file(tmp_path)
    with pytest.raises(WorkflowUnreadable):
        load_file(Path("a\0b"))
    picture = tmp_path / "x.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(WorkflowUnreadable):
        load_file(picture)


def test_json_file_larger_than_any_workflow_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.touch()
    os.truncate(path, SIZE_LIMIT + 1)
    with pytest.raises(WorkflowUnreadable, match="more than any workflow"):
        load_file(path)


def picture(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(path, "PNG", pnginfo=info)
    return path


def test_prompt_that_made_a_picture_is_loaded_with_the_ui_graph_it_came_from(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.mp4", prompt=json.dumps(image_prompt()), workflow=json.dumps(GRAPH))
    assert load_file(path) == LoadedWorkflow(image_prompt(), "api", str(path), "cat", GRAPH)


def test_picture_with_only_the_ui_graph_is_loaded_as_that(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.png", prompt="a cat", workflow=json.dumps(GRAPH))
    assert load_file(path) == LoadedWorkflow(GRAPH, "ui", str(path), "cat", GRAPH)


@pytest.mark.parametrize("workflow", ["no JSON", "[]", '{"a": 1}', '{"nodes": ' + "[" * 200 + "]" * 200 + "}"])
def test_prompt_of_a_picture_is_loaded_whatever_its_ui_graph_is(tmp_path: Path, workflow: str) -> None:
    loaded = load_file(picture(tmp_path / "x.png", prompt=json.dumps(image_prompt()), workflow=workflow))
    assert (loaded.content, loaded.ui) == (image_prompt(), None)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({}, "x.png is a PNG picture without a workflow in it."),
        ({"Software": "x"}, "x.png is a PNG picture without a workflow in it."),
        ({"parameters": "a cat\nSteps: 20"}, "x.png is a PNG picture without a workflow in it, only with the settings"),
        ({"prompt": "a cat"}, "x.png, its text 'prompt') is not valid JSON"),
        ({"prompt": "{}"}, "x.png, its text 'prompt') is empty"),
        ({"workflow": '{"a": 1}'}, "x.png, its text 'workflow') is JSON, but no ComfyUI workflow"),
    ],
)
def test_picture_without_a_workflow_says_so(tmp_path: Path, texts: dict[str, str], says: str) -> None:
    with pytest.raises(WorkflowUnreadable) as caught:
        load_file(picture(tmp_path / "x.png", **texts))
    assert says in caught.value.message
    assert "ComfyUI" in caught.value.next_step


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_content_is_a_workflow_or_a_clear_error(content: Any) -> None:
    try:
        parse(content)
    except WorkflowUnreadable as exc:
        assert exc.next_step
