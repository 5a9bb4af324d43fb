"""state/inventory.json: what is written is read again, whole; what others wrote is read as far as it goes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from comfyui_api.documents import schema
from comfyui_api.errors import FileProblem
from comfyui_api.inventory import (
    ClassWriter,
    Inventory,
    Stock,
    inventory_path,
    keep,
    read_head,
    read_inventory,
    temporary_classes,
    unkept,
    update_classes,
)
from comfyui_api.inventory.saved import saved_classes, write_saved_classes
from comfyui_api.object_info import Entry
from comfyui_api.packs import InstalledPack

URL = "http://127.0.0.1:8188"
OBJECT_INFO = {
    "KSampler": {"output": ["LATENT"], "python_module": "nodes"},
    "Größe": {"output": [], "python_module": "custom_nodes.pack.1"},
}
STOCK = Stock("0.3.75", {"os": "posix"}, {"vae": {"a.pt": 5}, "loras": {}}, embeddings=["neg"])


def entries_of(object_info: dict[str, Any]) -> Iterable[Entry]:
    return [Entry(name, json.dumps(entry), entry.get("python_module", "")) for name, entry in object_info.items()]


def written(
    state: Path,
    stock: Stock = STOCK,
    object_info: dict[str, Any] | None = None,
    *,
    server: str = URL,
    now: datetime | None = None,
) -> Inventory:
    path = inventory_path(state, URL, URL)
    with temporary_classes(path) as classes:
        classes.add(entries_of(OBJECT_INFO if object_info is None else object_info))
        return keep(path, server, "online", stock, classes, now)


def read(state: Path) -> Inventory:
    inventory, trouble = read_inventory(state / "inventory.json")
    assert trouble is None
    assert inventory is not None
    return inventory


def class_names(inventory: Inventory) -> set[str]:
    classes = inventory.node_classes()
    assert classes is not None
    return set(classes)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    inventory = written(tmp_path)
    again = read(tmp_path)
    assert again == inventory
    assert again.is_current()
    assert again.custom_nodes == {"pack.1": InstalledPack()}
    assert (again.model_count, again.models["vae"]) == (1, {"a.pt": 5})
    assert again.embeddings == ["neg"]
    assert again.classes_updated == again.models_updated == again.last_updated
    assert again.custom_nodes_updated is None  # nobody told their versions
    assert class_names(again) == set(OBJECT_INFO)
    classes = again.node_classes()
    assert classes is not None
    assert classes.get("Größe") is not None
    assert classes.get("Nothing") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "inventory.classes.sqlite",
        "inventory.json",
        "inventory.json.lock",
    ]


def test_what_is_written_conforms_to_the_schema_in_every_part(tmp_path: Path) -> None:
    packs = {"a": InstalledPack("1.2", "a-id", "https://example.org/a", enabled=False), "b": InstalledPack()}
    written(tmp_path, Stock("1", {}, {"vae": {"x\udcff.pt": None}}, custom_nodes=packs))
    content = json.loads((tmp_path / "inventory.json").read_text("utf-8"))
    Draft202012Validator(schema("inventory")).validate(content)
    assert content["custom_nodes"]["a"]["enabled"] is False
    assert read(tmp_path).custom_nodes == {**packs, "pack.1": InstalledPack()}
    assert list(read(tmp_path).models["vae"]) == ["x\udcff.pt"]


def test_each_server_has_its_own() -> None:
    state = Path("state")
    assert inventory_path(state, URL, URL).name == "inventory.json"
    assert inventory_path(state, "https://gpu:8188/comfy", URL).name == "inventory-gpu_8188_comfy.json"


def test_it_is_stale_after_an_hour_and_when_its_time_is_yet_to_come(tmp_path: Path) -> None:
    inventory, now = written(tmp_path), datetime.now(UTC)
    assert not inventory.is_stale(now)
    assert inventory.is_stale(now + timedelta(minutes=61))
    assert inventory.is_stale(now - timedelta(days=1))
    assert inventory.age_seconds(now - timedelta(days=1)) == 0


def test_single_classes_are_brought_up_to_date(tmp_path: Path) -> None:
    inventory = written(tmp_path)
    updated = update_classes(inventory, {"KSampler": None, "New": {"output": ["IMAGE"]}})
    assert class_names(updated) == {"Größe", "New"}
    assert updated.is_current()
    assert read(tmp_path).last_updated == inventory.last_updated


def test_classes_of_an_inventory_that_another_process_wrote_since_are_not_touched(tmp_path: Path) -> None:
    earlier = written(tmp_path)
    written(tmp_path, object_info={"Newer": {"output": []}})
    with pytest.raises(FileProblem, match="another process"):
        update_classes(earlier, {"KSampler": None})
    assert class_names(read(tmp_path)) == {"Newer"}


def test_what_only_another_source_can_tell_is_kept_with_its_own_age(tmp_path: Path) -> None:
    hour_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    written(tmp_path, now=hour_ago)
    scanned = Stock(models={"vae": {"a.pt": None, "b.pt": 7}}, custom_nodes={"pack.1": InstalledPack("2.0")})
    keep(tmp_path / "inventory.json", URL, "offline", scanned, None)
    offline = read(tmp_path)
    assert offline.mode == "offline"
    assert offline.models == {"vae": {"a.pt": 5, "b.pt": 7}, "loras": {}}
    assert offline.comfyui_version == "0.3.75"
    assert class_names(offline) == set(OBJECT_INFO)
    assert offline.classes_updated == hour_ago
    assert offline.models_updated == offline.custom_nodes_updated == offline.last_updated > hour_ago
    again = written(tmp_path, Stock(models={"vae": {"b.pt": None}}))
    assert again.models == {"vae": {"b.pt": 7}}, "a server lists all of its folders"
    assert again.custom_nodes == {"pack.1": InstalledPack("2.0")}
    assert again.custom_nodes_updated == offline.custom_nodes_updated


def test_packs_that_nobody_lists_any_more_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "inventory.json"
    both = {"old": InstalledPack("1"), "broken": InstalledPack("1", enabled=False), "pack.1": InstalledPack("1", "id")}
    written(tmp_path, Stock(custom_nodes=both))
    written(tmp_path, Stock(registered_packs={"broken": InstalledPack("2")}))
    assert read(tmp_path).custom_nodes == {"broken": InstalledPack("2"), "pack.1": InstalledPack("1", "id")}
    keep(path, URL, "offline", Stock(custom_nodes={}), None)
    assert read(tmp_path).custom_nodes == {}


def test_files_told_anew_do_not_make_the_classes_younger(tmp_path: Path) -> None:
    hour_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    written(tmp_path, now=hour_ago)
    keep(tmp_path / "inventory.json", URL, "online", Stock(models={"vae": {}}), None)
    inventory = read(tmp_path)
    assert inventory.last_updated == inventory.classes_updated == hour_ago
    assert inventory.models == {"vae": {}}
    assert inventory.models_updated is not None
    assert inventory.models_updated > hour_ago


def test_a_manager_asked_without_the_classes_does_not_end_packs_that_it_does_not_know(tmp_path: Path) -> None:
    written(tmp_path)
    listed = {"registered": InstalledPack("2")}
    kept = keep(tmp_path / "inventory.json", URL, "online", Stock(registered_packs=listed), None)
    assert kept.custom_nodes == {**listed, "pack.1": InstalledPack()}


def test_inventory_of_another_server_is_not_merged(tmp_path: Path) -> None:
    written(tmp_path)
    written(tmp_path, Stock(models={"vae": {"a.pt": None}}), {"A": {"output": []}}, server="http://127.0.0.1:9999")
    inventory = read(tmp_path)
    assert inventory.server == "http://127.0.0.1:9999"
    assert inventory.models == {"vae": {"a.pt": None}}
    assert (inventory.embeddings, inventory.comfyui_version) == ([], None)


def test_broken_head_file_is_set_aside_and_said(tmp_path: Path) -> None:
    sound = {"format": 2, "last_updated": "2026-01-01T00:00:00Z", "mode": "online", "models": {}, "custom_nodes": {}}
    for content in (
        "{half",
        "[]",
        "null",
        '{"format": 1}',
        json.dumps({"format": 2}),
        json.dumps({**sound, "embeddings": "x"}),
        json.dumps({**sound, "embeddings": [], "models": {"vae": {"a": -1}}}),
        json.dumps({**sound, "embeddings": [], "models": {"vae": {"a": True}}}),
        json.dumps({**sound, "embeddings": [], "last_updated": "yesterday"}),
        json.dumps({**sound, "embeddings": [], "format": 3}),
        "[" * 100_000,
    ):
        path = tmp_path / "inventory.json"
        path.write_text(content)
        inventory, trouble = read_inventory(path)
        assert inventory is None, content[:100]
        assert trouble is not None
        assert "set aside" in trouble
        assert not path.exists()


def test_a_file_of_the_user_is_never_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{half")
    inventory, trouble = read_head(path)
    assert (inventory, trouble is not None and "no inventory" in trouble) == (None, True)
    assert path.exists()


@pytest.mark.parametrize("damage", ["lost", b"", b"no database" * 1000])
def test_lost_class_file_is_said_and_costs_only_the_classes(tmp_path: Path, damage: str | bytes) -> None:
    path = written(tmp_path).path.with_name("inventory.classes.sqlite")
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        path.unlink()
    inventory, trouble = read_inventory(tmp_path / "inventory.json")
    assert inventory is not None
    assert inventory.node_classes() is None
    assert (inventory.models, inventory.class_count) == (STOCK.models, 0)
    assert trouble is not None
    assert "node classes are not known" in trouble
    assert ("set aside" in trouble) == path.with_name(path.name + ".corrupt").exists() == (len(damage) > 10)
    assert inventory.is_current()
    scanned = keep(tmp_path / "inventory.json", URL, "offline", Stock(models={"vae": {}}), None)
    assert read(tmp_path) == scanned
    assert class_names(written(tmp_path)) == set(OBJECT_INFO)


OLDER = {
    "last_updated": "2026-02-06T12:00:00Z",
    "mode": "online",
    "comfyui_version": "unknown",
    "system": {"gpu": "RTX", "vram_total_gb": 32},
    "models": {"checkpoints": ["a.safetensors"], "clip": ["t5.safetensors"], "text_encoders": ["l.safetensors"]},
    "custom_nodes": ["ComfyUI-Manager"],
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_an_older_form_is_read_as_far_as_it_goes_and_what_lacks_is_said(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(OLDER), encoding=encoding)
    inventory, trouble = read_inventory(path)
    assert inventory is not None
    assert trouble is not None
    assert "node classes, the sizes of models, the versions of node packs" in trouble
    assert inventory.models["text_encoders"] == {"t5.safetensors": None, "l.safetensors": None}
    assert list(inventory.custom_nodes) == ["ComfyUI-Manager"]
    assert inventory.server is None
    assert inventory.comfyui_version is None
    assert inventory.last_updated == datetime(2026, 2, 6, 12, tzinfo=UTC) == inventory.models_updated
    assert inventory.node_classes() is None
    kept = keep(path, URL, "offline", Stock(models={"checkpoints": {"a.safetensors": 5}}), None)
    assert kept == read(tmp_path)
    assert list(kept.custom_nodes) == ["ComfyUI-Manager"]


@pytest.mark.parametrize(
    ("part", "value"), [("last_updated", "long ago"), ("last_updated", None), ("mode", None), ("custom_nodes", None)]
)
def test_parts_may_be_missing_in_an_older_form(tmp_path: Path, part: str, value: Any) -> None:
    older = {key: entry for key, entry in OLDER.items() if key != part}
    (tmp_path / "inventory.json").write_text(json.dumps({**older, **({part: value} if value else {})}))
    inventory, _ = read_inventory(tmp_path / "inventory.json")
    assert inventory is not None
    assert inventory.model_count == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("2026-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = [
    "format",
    "last_updated",
    "mode",
    "server",
    "comfyui_version",
    "system",
    "models",
    "custom_nodes",
    "embeddings",
    "node_classes",
    "classes_updated",
    "models_updated",
    "custom_nodes_updated",
]
SOUND = {
    "format": 2,
    "last_updated": "2026-01-01T00:00:00Z",
    "mode": "online",
    "models": {"vae": {"a": None}},
    "custom_nodes": {"a": {}},
    "embeddings": [],
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([SOUND, OLDER, {}]),
    st.dictionaries(st.sampled_from(PARTS), json_values | st.sampled_from([1, 2, "9999-12-31T23:59:59-14:00"])),
    st.sampled_from(["..", "inventory.json", "x.sqlite", "a\0b", "", "x" * 300]),
)
def test_any_head_is_an_inventory_or_a_trouble(
    tmp_path: Path, base: dict[str, Any], changes: dict[str, Any], file: str
) -> None:
    path = tmp_path / "inventory.json"
    for content in ({**base, **changes}, {**base, **changes, "node_classes": {"file": file, "count": 1}}):
        path.write_text(json.dumps(content))
        inventory, trouble = read_inventory(path)
        assert inventory is not None or trouble is not None
        if inventory is not None:
            inventory.is_stale(datetime.now(UTC))
            assert inventory.model_count >= 0
            assert keep(path, URL, "offline", Stock(models={}), None) == read(tmp_path)


def test_the_classes_of_a_refresh_that_died_before_its_head_have_their_own_head(tmp_path: Path) -> None:
    written(tmp_path)
    head = (tmp_path / "inventory.json").read_bytes()
    newer = written(tmp_path, Stock(models={"loras": {}}), {"Newer": {"output": []}}, server="http://127.0.0.1:9999")
    (tmp_path / "inventory.json").write_bytes(head)
    inventory = read(tmp_path)
    assert (inventory.server, inventory.models) == (newer.server, {"loras": {}})
    assert class_names(inventory) == {"Newer"}


WRITER = """
import sys
from pathlib import Path
from tests.test_inventory import written
from comfyui_api.inventory import Stock
state, name = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[3])):
    classes = {f"{name}{number}": {"output": []} for number in range(500)}
    written(state, Stock(models={"vae": {f"{name}.pt": 1}}), classes)
    print(turn, flush=True)
"""


def writing(state: Path, name: str, turns: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(state), name, str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def owner_of(inventory: Inventory) -> str:
    """Which process wrote it, by its models; its classes must be of the same."""
    (file,) = inventory.models["vae"]
    name = file.removesuffix(".pt")
    assert class_names(inventory) == {f"{name}{number}" for number in range(500)}
    return name


def test_processes_that_write_at_once_leave_one_whole_inventory(tmp_path: Path) -> None:
    processes = [writing(tmp_path, name, 15) for name in ("a", "b", "c")]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    seen = 0
    while any(process.poll() is None for process in processes):
        inventory, trouble = read_inventory(tmp_path / "inventory.json")
        assert trouble is None
        seen += inventory is not None
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert owner_of(read(tmp_path)) in ("a", "b", "c")
    assert seen > 0
    assert not list(tmp_path.glob(".*")), "nothing half written remains"


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_inventory(tmp_path: Path) -> None:
    for turn in range(10):
        process = writing(tmp_path, f"p{turn}x", 1000)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        for _ in range(1 + turn % 3):
            process.stdout.readline()
        process.kill()
        process.communicate()
        owner_of(read(tmp_path))
    written(tmp_path)
    assert class_names(read(tmp_path)) == set(OBJECT_INFO)


def test_a_process_that_is_killed_while_it_updates_single_classes_leaves_them_readable(tmp_path: Path) -> None:
    classes = {f"Class{number}": {"output": ["A" * 2000]} for number in range(300)}
    written(tmp_path, object_info=classes)
    code = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 5")
database.execute("BEGIN")
database.execute("UPDATE node_class SET description = '{half'")
os.kill(os.getpid(), 9)
"""
    path = tmp_path / "inventory.classes.sqlite"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name(path.name + "-journal").exists()
    inventory = read(tmp_path)
    found = inventory.node_classes()
    assert found is not None
    assert all(found.get(name) is not None for name in classes)
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    written(tmp_path)  # a journal of the former file is not played into the new one
    assert class_names(read(tmp_path)) == set(OBJECT_INFO)


def test_damaged_description_is_a_file_problem(tmp_path: Path) -> None:
    inventory = written(tmp_path)
    with closing(sqlite3.connect(tmp_path / "inventory.classes.sqlite")) as database, database:
        database.execute("UPDATE node_class SET description = '{half'")
    classes = inventory.node_classes()
    assert classes is not None
    with pytest.raises(FileProblem, match="could not be read"):
        classes.get("KSampler")


def test_classes_that_cannot_be_kept_are_known_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a file" / "inventory.json"
    path.parent.write_text("where a folder should be")
    with pytest.raises(FileProblem), temporary_classes(path):
        pass
    with ClassWriter(None) as classes:
        classes.add(entries_of(OBJECT_INFO))
        inventory = unkept(path, URL, "online", STOCK, classes)
    assert class_names(inventory) == set(OBJECT_INFO)
    assert (inventory.class_count, inventory.model_count) == (2, 1)
    found = inventory.node_classes()
    assert found is not None
    assert found.get("KSampler") is not None
    assert found.get("\ud800") is None


def test_saved_object_info_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "object_info.json"
    file.write_text(json.dumps({**OBJECT_INFO, "version": 1}), encoding="utf-8")
    assert set(saved_classes(file)) == set(OBJECT_INFO)
    with temporary_classes(tmp_path / "inventory.json") as classes:
        assert write_saved_classes(file, classes) == 1
    for content in ("", "[]", "{}", '{"a": 1}', '{"A": {"output": []}'):
        file.write_text(content)
        with pytest.raises(FileProblem, match="node classes"):
            saved_classes(file)
    with pytest.raises(FileProblem, match="could not be read"):
        saved_classes(tmp_path / "nowhere.json")


def test_a_copy_of_the_head_beside_newer_classes_is_what_it_was(tmp_path: Path) -> None:
    written(tmp_path)
    copy = tmp_path / "before.json"
    copy.write_bytes((tmp_path / "inventory.json").read_bytes())
    whole, _ = read_head(copy)
    assert whole is not None
    assert class_names(whole) == set(OBJECT_INFO)
    written(tmp_path, Stock(models={"loras": {}}), {"Newer": {"output": []}})
    alone, trouble = read_head(copy)
    assert alone is not None
    assert trouble is not None
    assert "without node classes" in trouble
    assert (alone.models, alone.node_classes()) == ({"loras": {}, "vae": {"a.pt": 5}}, None)


def test_what_a_dead_process_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".old.part", tmp_path / ".fresh.part"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    written(tmp_path)
    assert (old.exists(), fresh.exists()) == (False, True)
