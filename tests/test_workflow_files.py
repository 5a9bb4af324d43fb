from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.errors import WorkflowUnreadable
from comfyui_api.workflow_files import load_file, parse, recognise
from tests.support import image_prompt


def test_prompt_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    path.write_text(json.dumps(image_prompt()), encoding="utf-8-sig")  # as some editors on Windows save it
    loaded = load_file(path)
    assert (loaded.format, loaded.name, loaded.content) == ("api", "cat", image_prompt())


def test_body_of_a_prompt_call_is_taken_for_the_prompt_in_it() -> None:
    assert recognise({"prompt": image_prompt(), "client_id": "x"}).content == image_prompt()


def test_editor_format_is_recognised() -> None:
    assert recognise({"nodes": [], "links": []}).format == "ui"


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


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_content_is_a_workflow_or_a_clear_error(content: Any) -> None:
    try:
        parse(content)
    except WorkflowUnreadable as exc:
        assert exc.next_step
