from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from comfyui_api.inventory import Inventory, inventory_path, read_inventory, update_classes, write_inventory
from comfyui_api.runs import SystemStats

STATS = SystemStats("0.3.75", "posix", "3.11.7", "2.13.0", ())
URL = "http://127.0.0.1:8188"
OBJECT_INFO = {
    "KSampler": {"output": ["LATENT"], "python_module": "nodes"},
    "Größe": {"output": [], "python_module": "custom_nodes.pack.part"},
}


def written(state: Path) -> Inventory:
    path = inventory_path(state, URL, URL)
    return write_inventory(path, server=URL, stats=STATS, object_info=OBJECT_INFO, models={"vae": ["a.pt"]})


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    inventory = written(tmp_path)
    again, trouble = read_inventory(tmp_path / "inventory.json")
    assert (again, trouble) == (inventory, None)
    assert inventory.custom_nodes == ["pack"]
    assert inventory.model_count == 1
    classes = inventory.node_classes()
    assert set(classes) == set(OBJECT_INFO)
    assert classes.get("Größe") is not None
    assert classes.get("Nothing") is None


def test_each_server_has_its_own() -> None:
    state = Path("state")
    assert inventory_path(state, URL, URL).name == "inventory.json"
    assert inventory_path(state, "https://gpu:8188/comfy", URL).name == "inventory-gpu_8188_comfy.json"


def test_it_is_stale_after_an_hour(tmp_path: Path) -> None:
    inventory = written(tmp_path)
    assert not inventory.is_stale(datetime.now(UTC))
    assert inventory.is_stale(datetime.now(UTC) + timedelta(minutes=61))


def test_single_classes_are_brought_up_to_date(tmp_path: Path) -> None:
    inventory = written(tmp_path)
    update_classes(inventory, {"KSampler": None, "New": {"output": ["IMAGE"]}})
    assert set(inventory.node_classes()) == {"Größe", "New"}


def test_broken_head_file_is_set_aside_and_said(tmp_path: Path) -> None:
    for content in ("{half", "[]", '{"format": 1}', json.dumps({"format": 2})):
        path = tmp_path / "inventory.json"
        path.write_text(content)
        inventory, trouble = read_inventory(path)
        assert inventory is None
        assert trouble is not None
        assert "set aside" in trouble
        assert not path.exists()


def test_lost_class_file_is_noticed(tmp_path: Path) -> None:
    written(tmp_path).classes_path.unlink()
    inventory, trouble = read_inventory(tmp_path / "inventory.json")
    assert inventory is None
    assert trouble is not None
    assert "node classes" in trouble
