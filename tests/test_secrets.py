"""No key comes out of this program: not in a result, an error, a log or a file, whatever a server does with it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
import httpx2
import pytest
from anyio.abc import ByteReceiveStream
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import PromptReference, ResourceTemplateReference
from PIL import Image
from pydantic import BaseModel

from comfyui_api.app import build_server
from comfyui_api.tools import TOOLS
from comfyui_api.workspace import open_workspace
from tests.echoing import MANNERS, RUN, Echoing, echoing
from tests.support import environment_for, settings_file, unwrapped
from tests.test_cli_views import commands

TOOL_SECONDS = 120
pytestmark = pytest.mark.anyio

ACCOUNT = "comfyui-canary/account+key=0123456789"
KEY = "canary-of-the-entry/9876543210"
TOKEN = "canary.bearer.token.5555555555"
HEADER = "canary header value 7777777777"
PASSWORD = "canary&password?of#anna"
IN_URL = "canary-in-the-address-31415"
SECRETS = {ACCOUNT, KEY, TOKEN, HEADER, PASSWORD, IN_URL}
KINDS = ("local", "basic", "cloud", "v2", "address")

PROMPT = {"1": {"class_type": "Echo", "inputs": {"text": "x", "choice": "a"}}}
# What the tools are called with, by the name of the argument.
VALUES: dict[str, Any] = {
    "workflow": PROMPT,
    "prompt_id": RUN,
    "prompt_ids": [RUN],
    "path": "a.png",
    "wait_seconds": 1.0,
    "refresh_inventory": True,
    "force": True,
    "query": "echo",
    "name": "echo",
    "sidecar": True,
    "on_server": True,
    "everything": True,
    "inputs": {"1.text": "y"},
}
# Arguments that exclude others: a call of their own.
ALONE: dict[str, list[dict[str, Any]]] = {"interrupt": [{"everything": True}], "find_nodes": [{"class_type": "Echo"}]}


def forms(secret: str) -> set[str]:
    """How a secret may look in what is told."""
    basic = {b64encode(f"{user}:{secret}".encode()).decode() for user in ("anna", "me")}
    plain = {secret, *basic}
    return plain | {quote(form, safe="") for form in plain} | {json.dumps(form)[1:-1] for form in plain}


ALL_FORMS = {form for secret in SECRETS for form in forms(secret)}


def found_in(text: str) -> set[str]:
    return {form for form in ALL_FORMS if form in text}


def environment(home: Path, server: Echoing | str, kind: str) -> dict[str, str]:
    """A user whose default server is of this kind, with every secret that it can have."""
    url = server if isinstance(server, str) else server.url
    password = quote(IN_URL, safe="")
    entries = {
        "local": 'token = { env = "TOKEN" }\nheaders.X-Token = { env = "HEADER" }\nkey = { file = "key" }',
        "basic": 'user = "anna"\npassword = { env = "PASSWORD" }',
        "cloud": 'kind = "cloud"\nkey = { file = "key" }',
        "v2": 'kind = "v2"\nkey = { file = "key" }\nheaders.X-Token = { env = "HEADER" }',
    }
    folder = settings_file(home).parent
    folder.mkdir(exist_ok=True)
    (folder / "key").write_text(f"{KEY}\n")
    text = "".join(f'[{name}]\nurl = "{url}/{name}"\n{entry}\n' for name, entry in entries.items())
    (folder / "servers.toml").write_text(text, encoding="utf-8")
    default = url.replace("://", f"://me:{password}@") if kind == "address" else kind
    return environment_for(
        home,
        default,
        COMFYUI_API_KEY=ACCOUNT,
        TOKEN=TOKEN,
        HEADER=HEADER,
        PASSWORD=PASSWORD,
        COMFYUI_API_LOG_LEVEL="DEBUG",
        COMFYUI_API_TIMEOUT="5",
    )


def arguments_for(tool: str) -> list[dict[str, Any]]:
    """Arguments for a tool of any name, by its schema: with all that is known here, and with the least."""
    properties = TOOLS[tool].input_schema["properties"]
    required = TOOLS[tool].input_schema.get("required", [])
    most = {name: value for name, value in VALUES.items() if name in properties and name != "everything"}
    least = {name: VALUES.get(name, "echo") for name in properties if name in (*required, "wait_seconds")}
    return [least | most, *([least] if least != most else []), *ALONE.get(tool, [])]


def no_secret_in_files(*folders: Path) -> None:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                assert not found_in(path.read_bytes().decode("latin-1")), path


async def drive(home: Path, server: Echoing | str, kind: str, seen: list[str]) -> None:
    """Every tool, by a user of this folder, with what it tells kept."""
    home.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(home / "a.png")
    with unwrapped():
        async with Client(build_server(environment(home, server, kind))) as client:
            for tool in TOOLS:
                for arguments in arguments_for(tool):
                    with anyio.fail_after(TOOL_SECONDS):
                        answer = await client.call_tool(tool, arguments)
                    told = answer.model_dump_json()
                    assert "internal_error" not in told, (tool, arguments, told)
                    seen.append(told)
            seen.append((await client.list_tools()).model_dump_json())
            seen.append((await client.list_resources()).model_dump_json())
            for uri in ("inventory", "nodes/Echo", "nodes/Ecco", "references/troubleshooting.md"):
                seen.append(await told_by(client.read_resource(f"comfyui://{uri}")))
            for prompt, given in (("run_workflow_file", {"workflow": "w"}), ("why_did_it_fail", {"prompt_id": RUN})):
                seen.append(await told_by(client.get_prompt(prompt, given)))
                for argument in given:
                    reference = PromptReference(name=prompt)
                    seen.append(await told_by(client.complete(reference, {"name": argument, "value": ""})))
            nodes = ResourceTemplateReference(uri="comfyui://nodes/{class_type}")
            seen.append(await told_by(client.complete(nodes, {"name": "class_type", "value": ""})))


async def told_by(answer: Awaitable[BaseModel]) -> str:
    """What an agent reads of an answer, be it an error."""
    try:
        return (await answer).model_dump_json()
    except MCPError as exc:
        return str(exc)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_tool_tells_a_key_whatever_the_server_answers(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    sent: list[str] = []
    caplog.set_level(logging.DEBUG)

    async def meet(manner: str) -> None:
        async with echoing() as server:
            server.manner = manner
            await drive(tmp_path / manner / "work", server, kind, seen)
            sent.extend(server.told)

    async with anyio.create_task_group() as tasks:
        for manner in MANNERS:
            tasks.start_soon(meet, manner)
    assert found_in("\n".join(sent)), "nothing was sent that could have come back"
    for text in [*seen, caplog.text]:
        assert not found_in(text), text
    no_secret_in_files(*tmp_path.glob("*/work"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:{port}", "http://no-such-host.invalid"])
async def test_no_key_is_told_where_there_is_no_server(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    caplog.set_level(logging.DEBUG)
    async with echoing() as server:
        place = url.format(port=server.url.rpartition(":")[2])  # TLS, to one that does not speak it
        async with anyio.create_task_group() as tasks:
            for kind in KINDS:
                tasks.start_soon(drive, tmp_path / kind / "work", place, kind, seen)
    for text in [*seen, caplog.text]:
        assert not found_in(text), text
    no_secret_in_files(*tmp_path.glob("*/work"))


async def test_nothing_shows_its_keys_when_it_is_printed(home: Path) -> None:
    async with open_workspace(environment(home, "http://127.0.0.1:9", "local")) as workspace:
        shown = []
        for name in KINDS[:4]:
            connection = workspace.connect(name)
            shown += [repr(connection), repr(connection.access), str(vars(connection))]
        shown += [repr(workspace), repr(workspace.settings), repr(workspace.servers), repr(workspace.mask)]
    for text in shown:
        assert not found_in(text), text


COMMANDS = [
    ["status", "--refresh"],
    ["status"],
    ["validate", "{workflow}"],
    ["validate", "{workflow}", "--server", "all"],
    ["show", "{workflow}"],
    ["show", "{workflow}", "--mermaid"],
    ["save", "{workflow}"],
    ["save", "{workflow}", "--on-server"],
    ["run", "{workflow}", "--force"],
    ["queue", "{workflow}", "--force"],
    ["poll", RUN],
    ["jobs"],
    ["get", RUN],
    ["upload", "{picture}"],
    ["interrupt", RUN],
    ["interrupt", "--everything"],
    ["free"],
    ["nodes", "echo"],
    ["nodes", "--class-type", "Echo"],
    ["models", "find", "echo"],
    ["models", "list", "--available"],
    ["templates", "echo"],
    ["templates", "--get", "echo"],
    ["inventory", "diff", "local", "cloud"],
    ["sandbox", "status"],
    ["inventory", "refresh"],
    ["inventory", "show"],
    ["convert", "{workflow}"],
    ["models", "get", "--workflow", "{workflow}"],
    ["doctor"],
    ["no-such-command"],
]
# Commands that ask no server. What serves is looked at below.
ELSEWHERE = {"sandbox start", "sandbox stop", "sandbox remove", "serve"}
COMPLETED = ("validate --server ", "nodes --class-type ", "poll ", "queue --project ")


def test_every_command_is_driven() -> None:
    driven = {" ".join(command[: len(name.split())]) for command in COMMANDS for name, _ in commands()}
    assert {name for name, _ in commands()} - driven == ELSEWHERE


# Each command is a process: the other kinds and manners go through the same rooms, and are looked at above.
@pytest.mark.parametrize(("kind", "manner"), [("local", "works"), ("address", "401")])
async def test_no_command_prints_a_key(home: Path, kind: str, manner: str) -> None:
    Image.new("RGB", (4, 4)).save(home / "a.png")
    (home / "w.json").write_text(json.dumps(PROMPT))
    async with echoing() as server:
        variables = {**os.environ, **environment(home, server, kind)}
        at_once = anyio.CapacityLimiter(2 * (os.cpu_count() or 1))

        async def run(command: list[str]) -> None:
            filled = [word.format(workflow=home / "w.json", picture=home / "a.png") for word in command]
            done = await anyio.to_thread.run_sync(_run, filled, variables, home, limiter=at_once)
            assert "Traceback" not in done.stderr, done.stderr
            assert not found_in(done.stdout + done.stderr), (command, done.stdout, done.stderr)

        server.manner = manner
        async with anyio.create_task_group() as tasks:
            for command in COMMANDS:
                tasks.start_soon(run, command)
        for line in COMPLETED:
            words = f"comfyui-api {line}".split(" ")
            variables |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
            done = await anyio.to_thread.run_sync(
                _run, [], variables | {"_COMFYUI_API_COMPLETE": "complete_bash"}, home
            )
            assert "Traceback" not in done.stderr, done.stderr
            assert not found_in(done.stdout + done.stderr), (line, done.stdout, done.stderr)
        assert found_in("\n".join(server.told))
    no_secret_in_files(home)


def _run(arguments: list[str], variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "comfyui_api", *arguments]
    return subprocess.run(
        command,
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


async def test_the_log_of_the_real_server_process_has_no_key(home: Path) -> None:
    call = {"name": "check_status", "arguments": {"refresh_inventory": True}}
    start = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    async with echoing() as server:
        variables = {**os.environ, **environment(home, server, "local")}
        async with await anyio.open_process(
            [sys.executable, "-m", "comfyui_api", "serve"], env=variables, cwd=home
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            stderr: list[bytes] = []

            async def collect() -> None:
                assert process.stderr is not None
                async for chunk in process.stderr:
                    stderr.append(chunk)

            async def say(**message: Any) -> None:
                assert process.stdin is not None
                await process.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(collect)
                await say(id=1, method="initialize", params=start)
                received = b""
                with anyio.fail_after(60):
                    while b'"id":1' not in received:
                        received += await process.stdout.receive()
                    await say(method="notifications/initialized")
                    await say(id=2, method="tools/call", params=call)
                    while b'"id":2' not in received:
                        received += await process.stdout.receive()
                await process.stdin.aclose()
                with anyio.fail_after(30):
                    await process.wait()
        assert found_in("\n".join(server.told))
    log = b"".join(stderr).decode()
    assert "httpx2" in log or "httpcore2" in log, "the log says nothing: the test is worth nothing"
    assert not found_in(log)
    assert not found_in(received.decode())


HTTP_TOKEN = "canary+of/the=http~server.4444444444"


@pytest.mark.parametrize("by_file", [False, True])
async def test_the_token_of_the_http_server_is_never_told(home: Path, *, by_file: bool) -> None:
    """Neither to those who have it, nor to those who try, nor in the log at its finest."""
    tokens = {HTTP_TOKEN, quote(HTTP_TOKEN, safe=""), json.dumps(HTTP_TOKEN)[1:-1]}
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "check_status", "arguments": {}}}
    talk = {"accept": "application/json, text/event-stream"}
    told: list[str] = []
    async with echoing() as server:
        variables = {**os.environ, **environment(home, server, "local")}
        command = [sys.executable, "-m", "comfyui_api", "serve", "--http", "--port", "0"]
        if by_file:
            (home.parent / "token").write_text(f"{HTTP_TOKEN}\n")
            command += ["--token-file", str(home.parent / "token")]
        else:
            variables["COMFYUI_API_HTTP_TOKEN"] = HTTP_TOKEN
        async with await anyio.open_process(command, env=variables, cwd=home) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            log = b""
            with anyio.fail_after(60):
                while b"/mcp\n" not in log:
                    log += await process.stderr.receive()
            rest: list[bytes] = []

            async def collect(stream: ByteReceiveStream) -> None:
                async for chunk in stream:
                    rest.append(chunk)

            address = log.decode().split("MCP at ")[1].split()[0]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(collect, process.stderr)
                tasks.start_soon(collect, process.stdout)
                async with httpx2.AsyncClient(headers=talk, timeout=60, trust_env=False) as http:
                    for sent in (f"Bearer {HTTP_TOKEN}", f"Bearer {HTTP_TOKEN}x", f"Basic {HTTP_TOKEN}", HTTP_TOKEN):
                        answer = await http.post(f"{address}?t=1", json=ask, headers={"authorization": sent})
                        told += [str(answer.headers), answer.text]
                        assert (answer.status_code == 401) == (sent != f"Bearer {HTTP_TOKEN}")
                async with (
                    httpx2.AsyncClient(headers={"authorization": f"Bearer {HTTP_TOKEN}"}, timeout=60) as http,
                    Client(streamable_http_client(address, http_client=http)) as client,
                ):
                    for tool in ("check_status", "list_jobs", "find_nodes"):
                        told.append((await client.call_tool(tool, {})).model_dump_json())
                process.terminate()
                with anyio.fail_after(30):
                    await process.wait()
    told += [log.decode(), b"".join(rest).decode()]
    assert "httpcore2" in told[-1] or "httpx2" in told[-1], "the log says nothing: the test is worth nothing"
    for text in told:
        assert not [token for token in tokens if token in text], text
        assert not found_in(text), text
    no_secret_in_files(home)
