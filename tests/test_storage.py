from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.errors import InvalidArgument
from comfyui_api.projects import manifest_server, save_workflow
from comfyui_api.storage import put_in_place, read_state, safe_name, temporary_beside, write_atomic


@given(
    st.text() | st.sampled_from(["..", "../x.png", "C:\\x", "CON.png", "nul", "a" * 4000 + ".png", "x\u202egnp.exe"])
)
def test_any_name_becomes_a_harmless_one(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert len(os.fsencode(safe)) <= 255
    assert Path(safe).name == safe
    assert safe.split(".")[0].casefold() not in ("con", "nul", "aux", "prn")
    assert safe_name(safe) == safe


@pytest.mark.parametrize("name", ["ComfyUI_00001_.png", "größe 2.mp4", "a.b.c.safetensors", "日本語.webp"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


def test_nothing_is_written_over(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    paths = []
    for content in ("one", "two", "one", "three"):
        with temporary_beside(target) as temporary:
            temporary.write_text(content)
            paths.append(put_in_place(temporary, target))
    assert [path.name for path in paths] == ["x.txt", "x-2.txt", "x.txt", "x-3.txt"]
    assert [path.read_text() for path in paths] == ["one", "two", "one", "three"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-2.txt", "x-3.txt", "x.txt"]


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    with pytest.raises(RuntimeError), temporary_beside(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_corrupt_state_is_set_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    path.write_text("{half")
    content, trouble = read_state(path)
    assert content is None
    assert trouble is not None
    assert "jobs.json.corrupt" in trouble
    assert (tmp_path / "jobs.json.corrupt").read_text() == "{half"
    write_atomic(path, "[1]")
    assert read_state(path) == ([1], None)


def test_saved_workflows_never_replace_each_other(tmp_path: Path) -> None:
    first = save_workflow(tmp_path, "default", "cat", {"1": {"class_type": "A"}})
    second = save_workflow(tmp_path, "default", "cat", {"1": {"class_type": "B"}})
    assert first == tmp_path / "projects/default/workflows/cat.json"
    assert second.name == "cat-2.json"


@pytest.mark.parametrize("project", ["../x", "a/b", "", "C:\\x", "con"])
def test_project_name_must_be_a_folder_name(tmp_path: Path, project: str) -> None:
    with pytest.raises(InvalidArgument):
        save_workflow(tmp_path, project, "x", {})


def test_manifest_names_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "film"
    folder.mkdir(parents=True)
    assert manifest_server(tmp_path, "film") is None
    (folder / "manifest.yaml").write_text("comfyui_url: http://127.0.0.1:9999\n")
    assert manifest_server(tmp_path, "film") == "http://127.0.0.1:9999"
