"""What two inventories have differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfyui_api.comparison import compare
from comfyui_api.inventory import Inventory, Stock, keep
from comfyui_api.packs import InstalledPack
from tests.test_inventory import URL, written


def sampler(**changes: Any) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "seed": ["INT", {"default": 0, "tooltip": float("nan")}],
        "name": [["euler", "ddim", 3], {}],
        "model": ["MODEL"],
    }
    return {"input": {"required": {**inputs, **changes}}, "output": ["LATENT"]}


def inventory(state: Path, object_info: dict[str, Any] | None = None, **parts: Any) -> Inventory:
    state.mkdir()
    return written(state, Stock(**parts), object_info or {"KSampler": sampler()})


def test_equal_ones_do_not_differ_wherever_they_stand(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"models": {"vae": {"a": 1}}, "custom_nodes": {"p": InstalledPack("1")}}
    assert compare(inventory(tmp_path / "a", **parts), inventory(tmp_path / "b", **parts)).is_same


def test_files_packs_versions_and_embeddings_are_compared(tmp_path: Path) -> None:
    first = inventory(
        tmp_path / "a",
        comfyui_version="0.3.75",
        models={"vae": {"a": 1, "same": None}, "loras": {"x": 1}},
        custom_nodes={"p": InstalledPack("1"), "gone": InstalledPack()},
        embeddings=["neg"],
    )
    second = inventory(
        tmp_path / "b",
        comfyui_version="0.33.0",
        models={"vae": {"a": 2, "same": 5}, "loras": {"y": 1}},
        custom_nodes={"p": InstalledPack("2", enabled=False)},
        embeddings=[],
    )
    found = compare(first, second)
    assert not found.is_same
    assert found.comfyui_version == ("0.3.75", "0.33.0")
    assert (found.models.only_first, found.models.only_second) == (["loras/x"], ["loras/y"])
    assert found.models.changed == {"vae/a": {"size": (1, 2)}}
    assert found.custom_nodes.only_first == ["gone"]
    assert found.custom_nodes.changed == {"p": {"version": ("1", "2"), "enabled": (None, False)}}
    assert found.embeddings.only_first == ["neg"]
    assert not found.node_classes


def test_classes_are_compared_by_their_inputs_options_and_outputs(tmp_path: Path) -> None:
    first = inventory(tmp_path / "a", {"KSampler": sampler(), "Old": sampler(), "Odd": {"input": 5, "output": "x"}})
    changed = sampler(seed=["INT", {"default": 1}], name=[["euler", "heun", 3], {}], extra=["STRING"])
    del changed["input"]["required"]["model"]
    second = inventory(
        tmp_path / "b", {"KSampler": {**changed, "output": ["IMAGE"]}, "Odd": {"input": [], "output": 1}}
    )
    found = compare(first, second).node_classes
    assert found.only_first == ["Old"]
    change = found.changed["KSampler"]
    assert change["inputs_only_first"] == ["model"]
    assert change["inputs_only_second"] == ["extra"]
    assert change["name"] == {"options": {"only_first": ["ddim"], "only_second": ["heun"]}}
    assert change["seed"]["default"] == (0, 1)
    assert change["outputs"] == (("LATENT",), ("IMAGE",))
    assert "Odd" not in found.changed


def test_what_one_of_them_does_not_know_is_not_compared_and_said(tmp_path: Path) -> None:
    whole = inventory(tmp_path / "a", models={"vae": {"a": 1}}, custom_nodes={"p": InstalledPack()})
    scanned = keep(tmp_path / "b" / "inventory.json", URL, "offline", Stock(models={"vae": {"a": 1}}), None)
    found = compare(whole, scanned)
    assert found.not_compared == ["custom_nodes", "node_classes"]
    assert not found.models
    assert not found.is_same
