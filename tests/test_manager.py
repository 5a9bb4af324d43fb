"""What a server has to say beyond its own routes: the shapes of ComfyUI-Manager, and servers that answer none of it.

The real Manager 4 answers in tests/live/test_server_knowledge.py; its older shapes come from its source.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api import manager, replies
from comfyui_api.client import EXTRA_SECONDS, ComfyClient
from comfyui_api.exchange import MALFORMED
from comfyui_api.packs import ClaimingPack, InstalledPack, NodeReplacement
from tests.support import DATA, answering, http_reply

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FAILURE = {
    "name": "Pack",
    "path": "/srv/comfyui/custom_nodes/Pack",
    "msg": "Traceback (most recent call last):\n"
    '  File "/srv/comfyui/custom_nodes/Pack/__init__.py", line 1, in <module>\n    import cv2\n'
    "ModuleNotFoundError: No module named 'cv2'\n",
}
MODELS = {
    "models": [
        {"filename": "a.pt", "save_path": "vae", "type": "VAE", "url": "https://huggingface.co/o/r/resolve/main/a.pt"}
    ]
}
# The routes of version 3, with what they answer.
VERSION_3: dict[str, Any] = {
    "GET /customnode/installed": {"Pack": {"ver": COMMIT, "cnr_id": "", "aux_id": "somebody/Pack", "enabled": True}},
    "GET /customnode/getmappings?mode=local": {"https://github.com/somebody/Pack": [["A", "B"], {"title_aux": "Pack"}]},
    "GET /externalmodel/getlist?mode=local": MODELS,
    "POST /customnode/import_fail_info": FAILURE,
    "GET /internal/logs": "2026-11-21T22:21:22 - Cannot import /c/custom_nodes/Pack module for custom nodes: x\n",
}

Answer = Callable[[SocketStream, bytes], Awaitable[None]]


def routes(answers: Mapping[str, Any], seen: list[str] | None = None) -> Answer:
    """A server that has these routes ("GET /path?query") and no others."""

    async def answer(stream: SocketStream, head: bytes) -> None:
        route = head.split(b" HTTP/", 1)[0].decode()
        if seen is not None:
            seen.append(route)
        if route in answers:
            await stream.send(http_reply("200 OK", json.dumps(answers[route]), "application/json"))
        else:
            await stream.send(http_reply("404 Not Found", ""))

    return answer


async def everything(url: str) -> list[Any]:
    """What a client gets to know of a server that may have a Manager."""
    client = ComfyClient(url, timeout=60.0)
    try:
        return [
            await client.installed_packs(),
            await client.manager_packs(["A", "Nobody's"]),
            await client.manager_models(),
            await client.manager_import_failure("Pack", InstalledPack(cnr_id="pack", repository="https://x.y/z")),
            await client.startup_log(),
            await client.node_replacements(),
        ]
    finally:
        await client.close()


NOTHING: list[Any] = [None, None, None, None, None, {}]


@pytest.mark.anyio
async def test_the_routes_of_version_3_are_asked_after_those_of_version_4() -> None:
    seen: list[str] = []
    async with answering(routes(VERSION_3, seen)) as url:
        installed, packs, models, failure, log, replacements = await everything(url)
    assert installed == {"Pack": InstalledPack(COMMIT, None, "https://github.com/somebody/Pack")}
    assert packs == {"A": [ClaimingPack(repository="https://github.com/somebody/Pack", title="Pack")]}
    assert [(model.file, model.folder, model.origin) for model in models] == [("a.pt", "vae", "manager")]
    assert (failure.pack, failure.missing_module) == ("Pack", "cv2")
    assert [failed.pack for failed in log.failures] == ["Pack"]
    assert replacements == {}
    # Version 3 goes to the internet in the other modes.
    assert not [route for route in seen if "/v2/" not in route and "mode=" in route and "mode=local" not in route]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        http_reply("404 Not Found", ""),
        http_reply("405 Method Not Allowed", "no"),
        http_reply("401 Unauthorized", "who are you?"),
        http_reply("403 Forbidden", "[Manager] This request is banned."),
        http_reply("400 Bad Request", ""),
        http_reply("500 Internal Server Error", "Server got itself in trouble"),
        http_reply("502 Bad Gateway", "<html>"),
        http_reply("302 Found", "", extra=["Location: /login"]),
        http_reply("200 OK", "<html>The frontend</html>", "text/html"),
        http_reply("200 OK", ""),
        http_reply("200 OK", "7", "application/json"),
        http_reply("200 OK", "[" * 100_000, "application/json"),
        http_reply("200 OK", '{"entries": 7, "models": 7}', "application/json"),
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"nonsense",
    ],
    ids=lambda reply: repr(reply[:60]),
)
async def test_a_server_that_answers_anything_else_has_nothing_to_say(reply: bytes) -> None:
    async with answering(reply) as url:
        told = await everything(url)
    # An empty object is a Manager without packs, and an odd one of several packs without any sound one.
    assert [value or None for value in told] == [value or None for value in NOTHING]


@pytest.mark.anyio
async def test_nobody_at_the_address_has_nothing_to_say() -> None:
    assert await everything("http://127.0.0.1:9") == NOTHING


@pytest.mark.anyio
async def test_a_server_that_hangs_costs_a_few_seconds_and_no_more() -> None:
    async def hang(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await anyio.sleep_forever()

    async with answering(hang) as url:
        client = ComfyClient(url, timeout=60.0)
        # Side by side, as they are asked for a verdict.
        with anyio.fail_after(2 * EXTRA_SECONDS):
            async with anyio.create_task_group() as tasks:
                for question in (client.installed_packs, client.manager_models, client.startup_log):
                    tasks.start_soon(question)
                pack = InstalledPack(cnr_id="pack", repository="https://github.com/somebody/Pack")
                tasks.start_soon(client.manager_import_failure, "Pack", pack)
        await client.close()


@pytest.mark.anyio
async def test_an_answer_without_end_is_given_up() -> None:
    async def flood(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
        while True:
            await stream.send(b"0," * 2**19)

    async with answering(flood) as url:
        client = ComfyClient(url, timeout=60.0)
        assert await client.installed_packs() is None
        await client.close()


def test_disabled_copies_do_not_hide_the_enabled_pack() -> None:
    raw = {
        "Pack@1_0_0": {"ver": "1.0.0", "cnr_id": "pack", "aux_id": None, "enabled": False},
        "Pack": {"ver": "2.0.0", "cnr_id": "pack", "aux_id": None, "enabled": True},
        "Pack@1_5_0": {"ver": "1.5.0", "cnr_id": "pack", "aux_id": None, "enabled": False},
        "Off.disabled": {"ver": "unknown", "cnr_id": "", "aux_id": "somebody/Off", "enabled": False},
        "Elsewhere": {"ver": f"{COMMIT}\n", "cnr_id": "", "aux_id": "Elsewhere.git", "enabled": True},
    }
    assert manager.installed_packs(raw) == {
        "Pack": InstalledPack("2.0.0", "pack"),
        "Off": InstalledPack(None, None, "https://github.com/somebody/Off", enabled=False),
        "Elsewhere": InstalledPack(COMMIT),
    }


def test_the_likeliest_of_several_packs_comes_first() -> None:
    raw = {
        "https://github.com/somebody/copy": [["A", "Core"], {"title_aux": "A copy"}],
        "the-registry-id": [["A"], {"title_aux": "In the registry"}],
        "https://github.com/somebody/origin": [["A"], {"title": "The origin", "preemptions": ["A"]}],
        "https://github.com/Comfy-Org/ComfyUI": [["Core"], {"title_aux": "ComfyUI"}],
        "https://user:secret@github.com/a/b": [["A"], {}],
        "--option": [["A"], {}],
    }
    assert manager.claiming_packs(raw, {"A", "Core", "Other"}) == {
        "A": [
            ClaimingPack(None, "https://github.com/somebody/origin", "The origin", preempts=True),
            ClaimingPack(None, "https://github.com/somebody/copy", "A copy"),
            ClaimingPack("the-registry-id", None, "In the registry"),
        ],
        "Core": [
            ClaimingPack(None, "https://github.com/Comfy-Org/ComfyUI", "ComfyUI", is_core=True),
            ClaimingPack(None, "https://github.com/somebody/copy", "A copy"),
        ],
    }


def test_renamed_classes_come_with_the_way_from_the_old_inputs_to_the_new() -> None:
    capture = json.loads((DATA / "captures" / "node_replacements_recent.json").read_text(encoding="utf-8"))
    found = replies.node_replacements(capture["body"])
    assert len(found) == 8
    assert found["ResizeImagesByLongerEdge"] == [
        NodeReplacement(
            "ImageScaleToMaxDimension",
            inputs={"image": "images", "largest_size": "longer_edge"},
            set_values={"upscale_method": "lanczos"},
            outputs={0: 0},
        )
    ]
    # Where nothing is mapped, all keep their names.
    assert found["Load3DAnimation"] == [NodeReplacement("Load3D")]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
ENTRIES = {
    "installed": st.fixed_dictionaries({}, optional=dict.fromkeys(["ver", "cnr_id", "aux_id", "enabled"], ANYTHING)),
    "mapping": st.tuples(
        st.lists(st.sampled_from(["A", "B"]) | ANYTHING, max_size=3),
        st.fixed_dictionaries({}, optional=dict.fromkeys(["title_aux", "title", "preemptions"], ANYTHING)) | ANYTHING,
    ).map(list),
    "replacement": st.lists(
        st.fixed_dictionaries(
            {},
            optional={"new_node_id": st.text() | ANYTHING, "input_mapping": ANYTHING, "output_mapping": ANYTHING},
        ),
        max_size=3,
    ),
}


@given(
    st.one_of(
        ANYTHING,
        *(
            st.dictionaries(st.sampled_from(["https://x.y", "pack", "Pack@1.disabled"]) | st.text(), entry, max_size=4)
            for entry in ENTRIES.values()
        ),
        st.fixed_dictionaries({}, optional=dict.fromkeys(["msg", "traceback", "models", "entries"], ANYTHING)),
    )
)
def test_any_answer_is_parsed_or_refused_as_the_client_expects(raw: Any) -> None:
    parsers: list[Callable[[Any], Any]] = [
        manager.installed_packs,
        lambda raw: manager.claiming_packs(raw, {"A", "B"}),
        manager.model_sources,
        lambda raw: manager.import_failure(raw, "Pack"),
        replies.node_replacements,
        replies.log,
    ]
    for parse in parsers:
        try:
            parse(raw)
        except MALFORMED:
            continue
