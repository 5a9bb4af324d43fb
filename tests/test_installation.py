"""Reading an installation from its folders: a made-up one, with everything that real ones have."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfyui_api.errors import InvalidArgument
from comfyui_api.installation import Installation, comfyui_folder, model_folders, read_places, scan
from comfyui_api.packs import InstalledPack

LINKS = pytest.mark.skipif(sys.platform == "win32", reason="links need rights of their own on Windows")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    return installation(tmp_path)


def installation(place: Path) -> Path:
    folder = place / "ComfyÜI dir"
    for name in ("models", "custom_nodes"):
        (folder / name).mkdir(parents=True)
    return folder


def put(path: Path, content: str | bytes = b"12345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def models(found: Installation) -> dict[str, dict[str, int | None]]:
    """Those folders that hold something."""
    return {word: files for word, files in found.models.items() if files}


def test_models_are_found_by_comfyuis_words_with_their_sizes(comfyui: Path) -> None:
    below = comfyui / "models"
    put(below / "checkpoints" / "sub" / "deep" / "a.SAFETENSORS", b"123")
    put(below / "clip" / "old.safetensors")
    put(below / "text_encoders" / "new.safetensors")
    put(below / "unet" / "q4.gguf")
    put(below / "diffusion_models" / "flux.sft")
    put(below / "t2i_adapter" / "t2i.pth")
    put(below / "configs" / "v1.yaml")
    put(below / "classifiers" / "bare")
    put(below / "insightface" / "inswapper.onnx")
    put(comfyui / "output" / "checkpoints" / "saved.safetensors")
    for noise in ("checkpoints/put_checkpoints_here", "checkpoints/a.txt", "checkpoints/.git/x.safetensors", "x.pt"):
        put(below / noise)
    assert models(scan(comfyui)) == {
        "checkpoints": {f"sub{os.sep}deep{os.sep}a.SAFETENSORS": 3, "saved.safetensors": 5},
        "text_encoders": {"new.safetensors": 5, "old.safetensors": 5},
        "diffusion_models": {"flux.sft": 5, "q4.gguf": 5},
        "controlnet": {"t2i.pth": 5},
        "configs": {"v1.yaml": 5},
        "classifiers": {"bare": 5},
        "insightface": {"inswapper.onnx": 5},
    }
    assert "loras" in scan(comfyui).models, "ComfyUI's words are there, with or without files"


def test_gguf_files_have_words_of_their_own_where_the_pack_is_that_declares_them(comfyui: Path) -> None:
    put(comfyui / "models" / "unet" / "q4.gguf")
    put(comfyui / "models" / "clip" / "t5.gguf")
    assert "unet_gguf" not in scan(comfyui).models
    (comfyui / "custom_nodes" / "ComfyUI-GGUF").mkdir()
    found = scan(comfyui)
    assert (found.models["unet_gguf"], found.models["clip_gguf"]) == ({"q4.gguf": 5}, {"t5.gguf": 5})


def test_embeddings_are_named_as_prompts_name_them(comfyui: Path) -> None:
    put(comfyui / "models" / "embeddings" / "neg.v1.pt")
    put(comfyui / "models" / "embeddings" / "sub.dir" / "bad.safetensors")
    assert scan(comfyui).embeddings == ["neg.v1", f"sub.dir{os.sep}bad"]


def test_version_is_read_as_text(comfyui: Path) -> None:
    assert scan(comfyui).comfyui_version is None
    put(comfyui / "pyproject.toml", '[project]\nname = "ComfyUI"\nversion = "0.3.1"\n')
    assert scan(comfyui).comfyui_version == "0.3.1"
    put(comfyui / "comfyui_version.py", 'raise SystemExit("run")\n__version__ = "0.3.75"\n')
    assert scan(comfyui).comfyui_version == "0.3.75"


def test_portable_version_is_found_below_its_folder(comfyui: Path) -> None:
    assert comfyui_folder(comfyui) == comfyui
    inner = comfyui.parent / "portable" / "ComfyUI"
    (inner / "models").mkdir(parents=True)
    assert comfyui_folder(inner.parent) == inner


@pytest.mark.parametrize("name", ["", "nowhere", "x" * 5000])
def test_a_folder_that_is_none_of_comfyui_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"no folder of ComfyUI.*models"):
        scan(tmp_path / name)


@LINKS
def test_links_are_followed_but_never_in_circles(comfyui: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "big disk"
    put(elsewhere / "linked.safetensors")
    checkpoints = comfyui / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "disk").symlink_to(elsewhere)
    (checkpoints / "again").symlink_to(elsewhere)
    (checkpoints / "circle").symlink_to(comfyui / "models")
    (elsewhere / "self").symlink_to(elsewhere)
    (checkpoints / "file.pt").symlink_to(elsewhere / "linked.safetensors")
    (checkpoints / "nowhere.pt").symlink_to(tmp_path / "gone")
    found = scan(comfyui).models["checkpoints"]
    assert found["disk/linked.safetensors"] == found["again/linked.safetensors"] == found["file.pt"] == 5
    assert not [name for name in found if name.count("circle") > 1 or "self" in name or "nowhere" in name]


@LINKS
def test_links_that_multiply_end_at_a_bound_and_it_is_said(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folders, "FOLDER_LIMIT", 500)
    folders = [comfyui / "models" / "loras" / f"f{number}" for number in range(8)]
    for folder in folders:
        folder.mkdir(parents=True)
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other)
    found = scan(comfyui)
    assert any("not all were read" in trouble for trouble in found.troubles)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_folder_that_may_not_be_read_is_said() -> None:
    with tempfile.TemporaryDirectory() as folder:
        comfyui = installation(Path(folder))
        closed = comfyui / "models" / "loras"
        closed.mkdir()
        for place in (Path(folder), comfyui, comfyui / "models"):
            place.chmod(0o755)
        closed.chmod(0)
        with nobody():
            assert any("loras could not be read" in trouble for trouble in scan(comfyui).troubles)
        closed.chmod(0o700)


@contextmanager
def nobody() -> Iterator[None]:
    """Nothing is closed to root: then the rights of nobody hold for a while."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_extra_model_paths_are_read_as_comfyui_reads_them(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = comfyui.parent / "webui"
    put(other / "models" / "Stable-diffusion" / "sd.ckpt", b"1")
    put(other / "lora" / "one.pt", b"1")
    put(other / "lycoris" / "two.pt", b"1")
    put(other / "clips" / "t5.sft", b"1")
    put(other / "LLM" / "anything.json", b"1")
    put(comfyui.parent / "fast" / "vae.pt", b"first")
    put(comfyui / "models" / "vae" / "vae.pt", b"the second")
    (other / "nodes" / "ExtraPack").mkdir(parents=True)
    monkeypatch.setenv("WEBUI", str(other))
    put(
        comfyui / "extra_model_paths.yaml",
        f"""
a111:
    base_path: $WEBUI
    checkpoints: models/Stable-diffusion/
    loras: |
        lora
        lycoris
        not there  # a comment inside of a block is a part of the path
    clip: clips
    llm_words: LLM
    custom_nodes: nodes
    upscale_models: [a list, is no path]
empty:
fast:
    is_default: true
    base_path: {comfyui.parent}
    vae: fast
relative:
    controlnet: ../webui/lora
broken: text
""",
    )
    found = scan(comfyui)
    assert found.models["checkpoints"] == {"sd.ckpt": 1}
    assert found.models["loras"] == {"one.pt": 1, "two.pt": 1}
    assert found.models["text_encoders"] == {"t5.sft": 1}
    assert found.models["llm_words"] == {"anything.json": 1}, "a word of its own takes any file"
    assert found.models["vae"] == {"vae.pt": 5}, "the default folder's file is the one that is loaded"
    assert found.models["controlnet"] == {"one.pt": 1}
    assert list(found.custom_nodes) == ["ExtraPack"]
    assert len(found.troubles) == 2
    assert read_places(comfyui).models["vae"][0] == comfyui.parent / "fast"


@pytest.mark.parametrize(
    "text",
    [
        "a: [unclosed",
        "- a\n- b",
        "just text",
        "",
        "a: &x [*x]",
        "a: {base_path: [1], vae: 5, 3: x, loras: !!binary aGk=}",
        "? [a]\n: {vae: x}",
        "a: {vae: 'x\\0y'}",
        'a: {vae: "x\\0y", base_path: ~nobody_of_this_name}',
        "!!python/object/apply:os.system [ls]",
        "a: 2026-13-45",
        "a: {<<: *nothing}",
        "[" * 5000,
    ],
)
def test_broken_extra_paths_are_passed_over(comfyui: Path, text: str) -> None:
    put(comfyui / "models" / "vae" / "a.pt")
    put(comfyui / "extra_model_paths.yaml", text)
    assert scan(comfyui).models["vae"] == {"a.pt": 5}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60), st.text(max_size=60) | st.binary(max_size=60))
def test_any_files_in_it_are_read_or_passed_over(comfyui: Path, one: str | bytes, two: str | bytes) -> None:
    pack = comfyui / "custom_nodes" / "Pack"
    for number, path in enumerate(
        (pack / "pyproject.toml", pack / ".git" / "config", pack / ".git" / "HEAD", pack / ".git" / ".cnr-id",
         comfyui / "extra_model_paths.yaml", comfyui / "comfyui_version.py")
    ):  # fmt: skip
        content = (one, two)[number % 2]
        put(path, content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    assert list(scan(comfyui).custom_nodes) == ["Pack"]


def test_packs_are_told_with_version_id_and_address(comfyui: Path) -> None:
    nodes = comfyui / "custom_nodes"
    registry = (
        '[project]\nname = "comfyui-impact-pack"\nversion = "8.1"\n[project.urls]\nRepository = "https://x.org/i"\n'
    )
    put(nodes / "Impact" / "pyproject.toml", registry + '[tool.comfy]\nPublisherId = "drltdata"\n')
    put(nodes / "Tracked" / "pyproject.toml", '[project]\nname = "tracked-id"\nversion = "1.0.0"\n')
    put(nodes / "Tracked" / ".tracking", "")
    put(nodes / "Unregistered" / "pyproject.toml", '[project]\nname = "just-a-project"\nversion = "0.1"\n')
    put(nodes / "Cloned" / ".git" / "config", '[core]\n\tbare = false\n[remote "up"]\n\turl = https://x.org/up\n'
        '[remote "origin"]\n\turl = https://user:token@github.com/o/cloned.git\n\tfetch = +refs\n')  # fmt: skip
    put(nodes / "Cloned" / ".git" / "HEAD", "ref: refs/heads/main\n")
    put(
        nodes / "Cloned" / ".git" / "packed-refs",
        f"# pack-refs\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n",
    )
    put(nodes / "Cloned" / ".git" / ".cnr-id", "cloned-id\n")
    put(nodes / "Loose" / ".git" / "HEAD", "ref: refs/heads/main\n")
    put(nodes / "Loose" / ".git" / "refs" / "heads" / "main", COMMIT + "\n")
    put(nodes / "Loose" / ".git" / "config", '[remote "origin"]\n\turl = git@github.com:owner/loose.git\n')
    put(nodes / "single.py", "")
    put(nodes / "broken" / "pyproject.toml", "[project\n")
    for noise in ("readme.md", "example.py.example", "__pycache__/x.pyc", ".github/x"):
        put(nodes / noise, "")
    assert scan(comfyui).custom_nodes == {
        "Impact": InstalledPack("8.1", "comfyui-impact-pack", "https://x.org/i"),
        "Tracked": InstalledPack("1.0.0", "tracked-id"),
        "Unregistered": InstalledPack("0.1"),
        "Cloned": InstalledPack(COMMIT, "cloned-id", "https://github.com/o/cloned"),
        "Loose": InstalledPack(COMMIT, None, "https://github.com/owner/loose"),
        "single": InstalledPack(),
        "broken": InstalledPack(),
    }


def test_disabled_packs_are_told_but_do_not_hide_enabled_ones(comfyui: Path) -> None:
    nodes = comfyui / "custom_nodes"
    for name in ("Off.disabled", "Both", "Both.disabled", ".disabled/moved@1_0_0", ".disabled/both2@nightly", "both2"):
        put(nodes / name / "pyproject.toml", f'[project]\nname = "x"\nversion = "{len(name)}"\n')
    put(nodes / "old.py.disabled", "")
    enabled = {name: pack.enabled for name, pack in scan(comfyui).custom_nodes.items()}
    assert enabled == {"Off": False, "Both": True, "moved": False, "both2": True, "old": False}
    assert scan(comfyui).custom_nodes["both2"].version == "5"


def test_nothing_is_read_through_a_file_that_names_another_place(comfyui: Path, tmp_path: Path) -> None:
    pack = comfyui / "custom_nodes" / "Pack"
    put(tmp_path / "secret", COMMIT)
    put(pack / ".git" / "HEAD", f"ref: refs/../../../../../{tmp_path.name}/secret\n")
    put(pack / ".git" / "config", '[remote "origin"]\n\turl = file:///etc/passwd\n')
    assert scan(comfyui).custom_nodes == {"Pack": InstalledPack()}
    put(pack / ".git" / "HEAD", f"ref: {tmp_path}/secret\n")
    assert scan(comfyui).custom_nodes == {"Pack": InstalledPack()}
