"""How servers behind a door are met: short secrets, public figures behind it, and those who ask for patience."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64decode
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from comfyui_api.masking import Mask, hidden_in_logs
from comfyui_api.servers import is_cloud
from comfyui_api.workspace import open_workspace
from tests.support import DATA, agent, answering, environment_for, http_reply, settings_file

pytestmark = pytest.mark.anyio
STATS = json.dumps(json.loads((DATA / "captures" / "get_system_stats.json").read_text("utf-8"))["body"])
PASSWORD = "tenletters"


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Failed"])
async def test_a_short_password_that_a_server_repeats_is_not_told(home: Path, status: str) -> None:
    async def echo(stream: SocketStream, head: bytes) -> None:
        sent = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization: basic ")), b"")
        said = b64decode(sent.rpartition(b" ")[2]).decode()
        assert said == f"anna:{PASSWORD}"
        await stream.send(http_reply(status, f"<html>you are {said}</html>"))

    async with answering(echo) as url:
        address = url.replace("://", f"://anna:{PASSWORD}@")
        async with agent(environment_for(home, address)) as user:
            answer = await user.call("check_status")
            text = str(answer) + await user.fail("list_jobs")
    assert "you are anna:**********" in text
    assert PASSWORD not in text


async def test_a_server_that_shows_its_figures_and_lets_nobody_in_is_not_there(home: Path) -> None:
    async def closed(stream: SocketStream, head: bytes) -> None:
        is_public = b" /system_stats " in head.split(b"\r\n")[0]
        await stream.send(
            http_reply("200 OK", STATS, "application/json") if is_public else http_reply("401 Unauthorized", "who?")
        )

    async with answering(closed) as url:
        settings_file(home).parent.mkdir(exist_ok=True)
        (settings_file(home).parent / "servers.toml").write_text(f'[closed]\nurl = "{url}"\n', encoding="utf-8")
        async with agent(environment_for(home, "http://127.0.0.1:9")) as user:
            (other,) = (await user.call("check_status"))["servers"]
    assert other["online"] is False
    assert "401" in other["reason"]


async def test_a_server_that_asks_for_no_patience_is_asked_seldom_all_the_same(home: Path) -> None:
    asked: list[float] = []

    async def busy(stream: SocketStream) -> None:
        asked.append(time.monotonic())
        await stream.send(http_reply("429 Too Many Requests", "later", extra=["Retry-After: 0"]))

    async with answering(busy) as url, open_workspace(environment_for(home, url)) as workspace:
        with anyio.move_on_after(4):
            await workspace.connect().client.system_stats()
    assert 2 <= len(asked) <= 4


@pytest.mark.parametrize(
    ("url", "cloud"),
    [
        ("https://cloud.comfy.org", True),
        ("https://cloud.comfy.org:443/api", True),
        ("http://cloud.comfy.org", False),
        ("https://cloud.comfy.org.evil.example", False),
        ("https://cloud.comfy.org:8443", False),
        ("http://127.0.0.1:8188", False),
    ],
)
def test_the_cloud_is_known_however_its_address_is_written(url: str, cloud: bool) -> None:
    assert is_cloud(url) is cloud


def test_addresses_that_let_one_in_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with hidden_in_logs(Mask()):
        for query in ("signature=abcdef0123", "x=1&X-Amz-Credential=abcdef0123", "token=abcdef0123&clientId=1"):
            logging.getLogger("httpx2").warning('GET http://store.example/a.png?%s "200 OK"', query)
        logging.getLogger("httpx2").warning("GET http://127.0.0.1/view?filename=a.png")
    assert "abcdef0123" not in caplog.text
    assert "a.png?…" in caplog.text
    assert "filename=a.png" in caplog.text
