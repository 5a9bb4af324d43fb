"""The house: every room stands on one floor, and imports point down or to an older room of the same floor."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import comfyui_api

PACKAGE = Path(comfyui_api.__file__).parent

# Within a floor, a room may import those before it: so there are no circles either.
FLOORS: dict[int, list[str]] = {
    0: [
        "quantities",
        "harmless",
        "runs",
        "packs",
        "errors",
        "settings",
        "graph",
        "findings",
        "node_class",
        "dynamic_inputs",
        "node_card",
    ],
    1: [
        "media",
        "entrance",
        "prompt_text",
        "search",
        "node_spec",
        "import_failures",
        "model_sources",
        "node_packs",
        "convert",
        "repair",
        "intents",
        "templates",
        "validate",
        "diagnose",
        "main_inputs",
        "drawing",
    ],
    2: [
        "documents",
        "storage",
        "knowledge",
        "object_info",
        "installation",
        "replies",
        "queue_stream",
        "manager",
        "masking",
        "transport",
        "comfy_server",
        "exchange",
        "client",
        "events",
        "dialects",
        "projects",
        "jobs",
        "servers",
        "inventory",
        "embedded",
        "workflow_files",
        "previews",
        "sandbox",
        "results",
        "workspace",
        "model_downloads",
    ],
    3: [
        "stocktake",
        "comparison",
        "others",
        "status",
        "known",
        "mend",
        "saved_workflows",
        "prepare",
        "export",
        "offline",
        "saving",
        "verdict",
        "portrait",
        "explore",
        "fleet",
        "fetch_models",
        "once",
        "submit",
        "gone",
        "follow",
        "series",
        "collect",
        "upload",
        "control",
        "listing",
        "doctor",
    ],
    4: ["tools"],
    5: ["app", "cli", "__main__"],
}
PLACE = {room: (floor, index) for floor, rooms in FLOORS.items() for index, room in enumerate(rooms)}
PURE = {*FLOORS[0], *FLOORS[1]}
INPUT_OUTPUT = {
    "httpx2",
    "anyio",
    "asyncio",
    "socket",
    "subprocess",
    "sqlite3",
    "time",
    "random",
    "os",
    "io",
    "pathlib",
}
# The task that keeps the event stream open belongs to everybody: nothing that a server sends may end it.
MAY_CATCH_ALL = {"events", "dialects"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            names.update({f"{module}.{alias.name}" for alias in node.names} if module == "comfyui_api" else {module})
    return names


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in modules()} == set(PLACE)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "comfyui_api" or parts[1] == "__version__" or parts[1] == room:
            continue
        assert PLACE[parts[1]] < PLACE[room], f"{room} may not import {parts[1]}"


@pytest.mark.parametrize("path", [path for path in modules() if room_of(path) in PURE], ids=lambda path: path.stem)
def test_vocabulary_and_knowledge_do_no_input_output(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & INPUT_OUTPUT


def test_only_the_doors_know_mcp() -> None:
    for path in modules():
        if room_of(path) not in FLOORS[5]:
            assert not {name for name in imports_of(path) if name.split(".")[0] in ("mcp", "mcp_types")}, path


def test_only_the_client_the_event_stream_and_the_downloads_speak_http() -> None:
    for path in modules():
        if room_of(path) not in ("transport", "exchange", "events", "dialects", "model_downloads", "sandbox"):
            assert "httpx2" not in imports_of(path), path


def test_no_broad_except_below_the_doors() -> None:
    for path in modules():
        if room_of(path) in FLOORS[5] or room_of(path) in MAY_CATCH_ALL:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                assert caught not in ("Exception", "BaseException", "everything"), path
