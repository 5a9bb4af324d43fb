"""The console on inventories: read from files, shown for people and for programs, compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import environment_for
from tests.terminal import on_a_terminal
from tests.test_cli import NOBODY, console

OBJECT_INFO = {
    "KSampler": {"input": {"required": {"name": [["euler", "ddim"]]}}, "output": ["LATENT"], "python_module": "nodes"},
    "Packed": {"input": {}, "output": [], "python_module": "custom_nodes.Pack"},
}


@pytest.fixture
def comfyui(home: Path) -> Path:
    """A made-up installation beside the working folder."""
    folder = home.parent / "ComfyUI"
    for name in ("models/checkpoints/a.safetensors", "models/vae/e\x1b[31mvil\u202e.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 1_500_000)
    (folder / "custom_nodes" / "Pack").mkdir(parents=True)
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.75"')
    (home / "object_info.json").write_text(json.dumps(OBJECT_INFO))
    return folder


def test_an_installation_and_a_saved_object_info_make_an_inventory_without_a_server(home: Path, comfyui: Path) -> None:
    done = console(home, "inventory", "refresh", "--comfyui-path", "../ComfyUI", "--object-info", "object_info.json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["mode"], told["comfyui_version"]) == ("offline", "0.3.75")
    assert (told["node_classes"], told["models"], told["custom_nodes"]) == (2, 2, 1)
    whole = json.loads(console(home, "inventory", "show").stdout)
    assert whole["models"]["checkpoints"] == {"a.safetensors": 1_500_000}
    assert whole["custom_nodes"] == {"Pack": {}}
    assert whole["server"] == NOBODY


def test_each_source_may_come_alone_and_the_other_stays_known(home: Path, comfyui: Path) -> None:
    assert console(home, "inventory", "refresh", "--object-info", "object_info.json").returncode == 0
    first = json.loads(console(home, "inventory", "show").stdout)
    assert first["node_classes"] == 2
    assert "models_updated" not in first
    assert console(home, "inventory", "refresh", "--comfyui-path", str(comfyui)).returncode == 0
    second = json.loads(console(home, "inventory", "show").stdout)
    assert second["node_classes"] == 2
    assert second["classes_updated"] == first["classes_updated"]
    assert second["models"]["checkpoints"]


def test_each_server_has_an_inventory_of_its_own(home: Path, comfyui: Path) -> None:
    other = "http://127.0.0.1:7"
    done = console(home, "inventory", "refresh", "--comfyui-path", str(comfyui), "--server", other)
    assert done.returncode == 0, done.stderr
    assert (home / "state" / "inventory-127.0.0.1_7.json").exists()
    assert json.loads(console(home, "inventory", "show", other).stdout)["server"] == other
    assert json.loads(console(home, "inventory", "show", "--server", other).stdout)["server"] == other
    assert console(home, "inventory", "show").returncode == 2


def test_differences_are_told_and_give_exit_code_1(home: Path, comfyui: Path) -> None:
    refresh = ("inventory", "refresh", "--comfyui-path", str(comfyui), "--object-info", "object_info.json")
    assert console(home, *refresh).returncode == 0
    assert console(home, *refresh, "--server", "http://127.0.0.1:7").returncode == 0
    same = console(home, "inventory", "diff", NOBODY, "state/inventory-127.0.0.1_7.json")
    assert same.returncode == 0, same.stdout
    (comfyui / "models" / "checkpoints" / "b.safetensors").write_bytes(b"")
    changed = {**OBJECT_INFO, "KSampler": {"input": {"required": {"name": [["euler", "heun"]]}}, "output": ["LATENT"]}}
    (home / "object_info.json").write_text(json.dumps(changed))
    assert console(home, *refresh).returncode == 0
    differ = console(home, "inventory", "diff", "state/inventory-127.0.0.1_7.json", NOBODY)
    assert differ.returncode == 1
    found = json.loads(differ.stdout)
    assert found["models"]["only_second"] == ["checkpoints/b.safetensors"]
    assert found["node_classes"]["changed"]["KSampler"]["name"] == {
        "options": {"only_first": ["ddim"], "only_second": ["heun"]}
    }
    code, text = on_a_terminal(home, "inventory", "diff", "state/inventory-127.0.0.1_7.json", NOBODY)
    assert code == 1
    assert "  + checkpoints/b.safetensors" in text
    assert "  ~ KSampler: name (options - ddim + heun)" in text


def test_people_get_a_summary_and_no_steering_of_their_terminal(home: Path, comfyui: Path) -> None:
    console(home, "inventory", "refresh", "--comfyui-path", str(comfyui), "--object-info", "object_info.json")
    code, text = on_a_terminal(home, "inventory", "show")
    assert code == 0
    assert "ComfyUI        0.3.75" in text
    assert "checkpoints                1  1.5 MB" in text
    assert "read from files" in text
    code, text = on_a_terminal(home, "inventory", "show", "--json")
    assert json.loads(text)["comfyui_version"] == "0.3.75"
    (home / "state" / "inventory.json").rename(home / "other.json")
    console(home, "inventory", "refresh", "--object-info", "object_info.json")
    _, text = on_a_terminal(home, "inventory", "diff", "other.json", NOBODY)
    assert "not compared: models" in text
    assert "not compared: node_classes" in text, "a copy of the head alone has no classes"
    shown = on_a_terminal(home, "inventory", "show", "other.json")[1]
    assert "node classes   none" in shown
    console(home, "inventory", "refresh", "--comfyui-path", str(comfyui))
    (comfyui / "models" / "vae" / "e\x1b[31mvil\u202e.pt").unlink()
    _, text = on_a_terminal(home, "inventory", "diff", "other.json", NOBODY)
    assert "\x1b[31m" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("refresh", "--comfyui-path", "."), "no folder of ComfyUI"),
        (("refresh", "--object-info", "nothing.json"), "could not be read"),
        (("refresh", "--object-info", ""), "path is empty"),
        (("refresh",), "No ComfyUI answers"),
        (("show",), "inventory refresh"),
        (("show", "nobody"), "No server is configured"),
        (("diff", "settings.json", NOBODY), "is not there"),
        (("diff", "broken.json", NOBODY), "broken.json is no inventory"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(home: Path, arguments: tuple[str, ...], says: str) -> None:
    (home / "broken.json").write_text("{")
    done = console(home, "inventory", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert (home / "broken.json").exists()


def test_reading_keeps_to_its_fence(home: Path, comfyui: Path) -> None:
    fenced = {**os.environ, **environment_for(home, NOBODY, COMFYUI_API_READ_FOLDERS=str(home / "only"))}
    done = subprocess.run(
        [sys.executable, "-m", "comfyui_api", "inventory", "refresh", "--comfyui-path", str(comfyui)],
        env=fenced,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "COMFYUI_API_READ_FOLDERS" in done.stderr
