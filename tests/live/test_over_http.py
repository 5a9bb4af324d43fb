"""`serve --http`: the same tools for agents elsewhere, behind a token, and closed to web pages."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import psutil
import pytest
from anyio.streams.text import TextReceiveStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.live.test_main_job import sleeping_prompt
from tests.support import Agent, environment_for, image_prompt

pytestmark = [pytest.mark.anyio, pytest.mark.live]

TOKEN = "a-token-of-some-length-0123456789"
ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
TALK = {"accept": "application/json, text/event-stream"}


@asynccontextmanager
async def served(home: Path, url: str, *options: str, **environment: str) -> AsyncIterator[str]:
    """The address of `serve --http` in a process of its own, on a free port."""
    command = [sys.executable, "-m", "comfyui_api", "serve", "--http", "--port", "0", *options]
    env = {**os.environ, **environment_for(home, url, **environment)}
    async with await anyio.open_process(command, env=env, cwd=home, stdout=None) as process:
        assert process.stderr is not None
        said = ""
        try:
            with anyio.fail_after(30):
                async for text in TextReceiveStream(process.stderr):
                    said += text
                    if "/mcp\n" in said:
                        break
            assert "MCP at http://" in said, said
            yield said.split("MCP at ")[1].split()[0]
        finally:
            process.terminate()


@asynccontextmanager
async def connected(address: str, token: str | None = None, mode: str = "auto") -> AsyncIterator[Agent]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(address, http_client=http), mode=mode) as client,
    ):
        yield Agent(client)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_main_job_is_done_over_http_with_progress(comfyui: str, home: Path, mode: str) -> None:
    async with served(home, comfyui) as address, connected(address, mode=mode) as user:
        assert (await user.call("check_status"))["online"]
        queued = await user.call("queue_workflow", workflow=sleeping_prompt(1, steps=5, color=len(mode)))
        assert (await user.finish(queued["prompt_id"]))["state"] == "completed"
        assert user.progress
        saved = await user.call("get_output", prompt_id=queued["prompt_id"])
        assert Path(saved["files"][0]["path"]).is_file()


async def test_two_agents_share_one_server_and_see_each_others_runs(comfyui: str, home: Path) -> None:
    async with served(home, comfyui) as address, connected(address) as one, connected(address) as other:
        queued = await one.call("queue_workflow", workflow=image_prompt("over-http"))
        assert (await other.finish(queued["prompt_id"]))["state"] == "completed"
        (ours,) = [run for run in (await other.call("list_jobs"))["recent"] if run["prompt_id"] == queued["prompt_id"]]
        assert ours["ours"]


async def test_beyond_this_machine_it_is_not_served_without_a_token(home: Path, comfyui: str) -> None:
    for options, environment in (
        (["--host", "0.0.0.0"], {}),
        (["--host", "::"], {}),
        (["--host", "0.0.0.0"], {"COMFYUI_API_HTTP_TOKEN": "short"}),
        (["--host", "0.0.0.0"], {"COMFYUI_API_HTTP_TOKEN": "ä" * 20}),
        (["--token-file", "not-there"], {}),
    ):
        command = [sys.executable, "-m", "comfyui_api", "serve", "--http", "--port", "0", *options]
        env = {**os.environ, **environment_for(home, comfyui, **environment)}
        with anyio.fail_after(30):
            done = await anyio.run_process(command, env=env, cwd=home, check=False)
        assert done.returncode == 2, options
        said = done.stderr.decode()
        assert "token" in said
        assert "Traceback" not in said


async def status_of(address: str, **headers: str) -> int:
    async with httpx2.AsyncClient(headers={**TALK, **headers}) as http:
        return (await http.post(address, json=ASK)).status_code


async def test_with_a_token_only_who_has_it_is_let_in(comfyui: str, home: Path) -> None:
    (home / "token").write_text(f"{TOKEN}\n", "utf-8")
    in_network = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET
    ]
    async with served(home, comfyui, "--host", "0.0.0.0", "--token-file", "token") as address:
        here = address.replace("0.0.0.0", "127.0.0.1")
        assert await status_of(here) == 401
        assert await status_of(here, authorization="Bearer wrong") == 401
        assert await status_of(here, authorization=f"Basic {TOKEN}") == 401
        for place in in_network:
            async with connected(address.replace("0.0.0.0", place), TOKEN) as user:
                assert (await user.call("check_status"))["online"]


async def test_a_web_page_cannot_reach_it_through_the_browser(comfyui: str, home: Path) -> None:
    async with served(home, comfyui) as address:
        # A page of another site, and a name of another site that resolves to this machine.
        assert await status_of(address, origin="https://evil.example") == 403
        assert await status_of(address, host="evil.example") == 421
        assert await status_of(address, host="127.0.0.1.evil.example:80") == 421
        assert await status_of(address, origin="http://localhost.evil.example") == 403
    async with served(home, comfyui, "--known-as", "studio.example") as address:
        assert await status_of(address, host="evil.example") == 421
        assert await status_of(address, host="studio.example") != 421
