"""Mending as an agent and a person meet it: through the MCP client and the console, against a real ComfyUI that lacks
things, and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.sandboxes import OwnSandbox
from tests.support import DATA, Prompt, agent, environment_for

pytestmark = [pytest.mark.anyio, pytest.mark.live]

NOBODY = "http://127.0.0.1:9"
LARGE = 10**12  # bytes: more than any machine has as memory; the file is sparse


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A ComfyUI with a well-known pack that fails to import, and with models in unexpected places."""
    own = OwnSandbox("mending")
    broken = own.base_directory / "custom_nodes" / "ComfyUI-KJNodes" / "__init__.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("import nobody_has_this\n", encoding="utf-8")
    models = [
        "checkpoints/sub/dreamshaper_8.safetensors",
        "checkpoints/flux1-dev-fp8.safetensors",
        "vae/odd.safetensors",
    ]
    try:
        url = own.start(models=models)
        os.truncate(own.base_directory / "models" / "checkpoints" / "sub" / "dreamshaper_8.safetensors", LARGE)
        yield url
    finally:
        own.remove()


def loading(checkpoint: str, **more: Any) -> Prompt:
    """A prompt that loads a checkpoint and shows something."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
        **more,
    }


async def test_a_pack_that_failed_to_import_is_told_with_its_error(lacking: str, home: Path) -> None:
    prompt = loading("flux1-dev-fp8.safetensors", **{"9": {"class_type": "ImageResizeKJ", "inputs": {}}})
    async with agent(environment_for(home, lacking)) as user:
        verdict = await user.call("validate_workflow", workflow=prompt)
        refused = await user.call("queue_workflow", workflow=prompt)
    assert verdict["valid"] is False
    (finding,) = [found for found in verdict["findings"] if found["code"] == "missing_node_type"]
    assert "nobody_has_this" in finding["fix"]
    (pack,) = verdict["repair"]["packs"]
    assert pack["state"] == "failed_to_import"
    assert "command" not in pack
    assert refused["status"] == "refused"
    assert refused["repair"] == verdict["repair"]


async def test_models_are_found_elsewhere_or_with_their_download(lacking: str, home: Path) -> None:
    async with agent(environment_for(home, lacking)) as user:
        elsewhere = await user.call("validate_workflow", workflow=loading("dreamshaper_8.safetensors"))
        unknown = await user.call("validate_workflow", workflow=loading("sd_xl_base_1.0.safetensors"))
    assert "'sub/dreamshaper_8.safetensors': give exactly that" in elsewhere["findings"][0]["fix"]
    (model,) = unknown["repair"]["models"]
    assert model["folder"] == "checkpoints"
    assert model["url"].startswith("https://")
    assert model["url"] in unknown["findings"][0]["fix"]
    assert model["command"].startswith("comfy model download --url ")


async def test_a_model_larger_than_the_memory_is_a_warning(lacking: str, home: Path) -> None:
    async with agent(environment_for(home, lacking)) as user:
        verdict = await user.call("validate_workflow", workflow=loading("sub/dreamshaper_8.safetensors"))
    assert verdict["valid"] is True
    (warning,) = [found for found in verdict["findings"] if found["code"] == "memory"]
    assert warning["severity"] == "warning"
    assert "1000.0 GB" in warning["message"]


async def test_without_the_server_the_inventory_gives_the_same_verdict_and_its_age(lacking: str, home: Path) -> None:
    prompt = loading("nowhere.safetensors")
    async with agent(environment_for(home, lacking)) as user:
        online = await user.call("validate_workflow", workflow=prompt)
    inventory = home / "state" / "inventory.json"
    content = json.loads(inventory.read_text(encoding="utf-8"))
    inventory.write_text(json.dumps({**content, "server": NOBODY}), encoding="utf-8")
    async with agent(environment_for(home, NOBODY)) as user:
        offline = await user.call("validate_workflow", workflow=prompt)
        refused = await user.call("queue_workflow", workflow=prompt)
        kept = await user.call("queue_workflow", workflow=prompt, name="later", force=True)
    assert [found["fix"] for found in offline["findings"]] == [found["fix"] for found in online["findings"]]
    assert "just now" in offline["checked"][0]
    assert refused["status"] == "refused"
    assert "No ComfyUI answers" in refused["message"]
    assert "asked just now" in refused["message"]
    assert refused["repair"] == offline["repair"]
    assert kept["status"] == "saved_offline"
    assert Path(kept["saved_path"]).is_file()
    assert "No ComfyUI answers" in kept["message"]
    assert "It has findings" in kept["message"]


async def test_input_files_are_looked_up_on_the_server(lacking: str, home: Path) -> None:
    def prompt(image: str) -> Prompt:
        return {
            "1": {"class_type": "LoadImage", "inputs": {"image": image}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }

    data = (DATA / "picture.png").read_bytes() if (DATA / "picture.png").exists() else b"\x89PNG\r\n\x1a\n"
    httpx2.post(f"{lacking}/upload/image", files={"image": ("there.png", data)}, data={"subfolder": "below"})
    async with agent(environment_for(home, lacking)) as user:
        there = await user.call("validate_workflow", workflow=prompt("below/there.png"))
        gone = await user.call("validate_workflow", workflow=prompt("below/gone.png"))
        windows = await user.call("validate_workflow", workflow=prompt("below\\there.png"))
        output = await user.call("validate_workflow", workflow=prompt("gone.png [output]"))
        out = await user.call("validate_workflow", workflow=prompt("../there.png"))
    assert there["valid"] is True
    assert [verdict["findings"][0]["code"] for verdict in (gone, windows, output, out)] == [
        "custom_validation_failed"
    ] * 4
    assert "output folder" in output["findings"][0]["message"]
    assert "has '..' in it" in out["findings"][0]["message"]
    assert not there["not_checked"]


def console(home: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "comfyui_api", *arguments]
    environment = {**os.environ, **environment_for(home, url)}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)


def test_the_console_validates_many_files_and_tells_by_its_exit_code(lacking: str, home: Path, tmp_path: Path) -> None:
    good, bad, broken = (tmp_path / name for name in ("good.json", "bad.json", "broken.json"))
    good.write_text(json.dumps(loading("flux1-dev-fp8.safetensors")), encoding="utf-8")
    bad.write_text(json.dumps(loading("nowhere.safetensors")), encoding="utf-8")
    broken.write_text("{", encoding="utf-8")
    done = console(home, lacking, "validate", str(good))
    assert (done.returncode, json.loads(done.stdout)["valid"]) == (0, True)
    done = console(home, lacking, "validate", str(good), str(bad), "--json")
    assert done.returncode == 1
    assert [verdict["valid"] for verdict in json.loads(done.stdout)] == [True, False]
    done = console(home, lacking, "validate", str(broken), str(good))
    assert done.returncode == 2
    assert "broken.json" in done.stderr
    first, second = json.loads(done.stdout)
    assert first["valid"] is True
    assert "broken.json" in second["source"]
    assert second["error"]


def test_a_saved_object_info_stands_in_for_the_server(lacking: str, home: Path, tmp_path: Path) -> None:
    saved, workflow = tmp_path / "object_info.json", tmp_path / "workflow.json"
    saved.write_bytes(httpx2.get(f"{lacking}/object_info").content)
    workflow.write_text(json.dumps(loading("nowhere.safetensors")), encoding="utf-8")
    done = console(home, NOBODY, "validate", str(workflow), "--object-info", str(saved))
    assert done.returncode == 1
    verdict = json.loads(done.stdout)
    assert verdict["findings"][0]["code"] == "value_not_in_list"
    assert "object_info.json" in verdict["checked"][0]
    assert not (home / "state").exists()
