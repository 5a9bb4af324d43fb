"""A real ComfyUI behind a real nginx: the whole job through TLS, prefixes and credentials, and what is said of them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from tests.nginx import nginx
from tests.support import Agent, agent, answering, environment_for, http_reply, settings_file, stdio_agent

pytestmark = [pytest.mark.anyio, pytest.mark.live]
PASSWORD = "pass:wörd with spaces"
TOKEN = "a-token-of-the-proxy-0123456789"
LOGIN = (
    "<!doctype html><html><head><title>Sign in</title></head><body><form><input type='password'></form></body></html>"
)


def behind_basic(comfyui: str, folder: Path) -> str:
    """Rules: ComfyUI below /comfy, for those with a password."""
    digest = b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
    (folder.parent / "passwords").write_text(f"anna:{{SHA}}{digest}\n", encoding="utf-8")
    return f"""
        location /comfy/ {{
            auth_basic "ComfyUI";
            auth_basic_user_file {folder.parent / "passwords"};
            proxy_pass {comfyui}/;
        }}
    """


def behind_token(comfyui: str) -> str:
    """Rules: only /api/ is passed on, and only with a token and a header."""
    return f"""
        location /api/ {{
            if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}
            if ($http_x_team != "vision") {{ return 403; }}
            proxy_pass {comfyui};
        }}
    """


def configure(home: Path, entry: str) -> None:
    settings_file(home).parent.mkdir(exist_ok=True)
    (settings_file(home).parent / "servers.toml").write_text(entry, encoding="utf-8")


async def whole_job(user: Agent, home: Path) -> None:
    """Status, upload, verdict, a run followed by events to its picture, and a long one that is stopped."""
    status = await user.call("check_status")
    assert status["online"], status
    assert status["inventory"]["node_classes"] > 500
    Image.new("RGB", (48, 32), (200, 40, 40)).save(home / "größe.png")
    uploaded = await user.call("upload_image", path="größe.png", subfolder="gate")
    workflow: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": uploaded["value"]}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "gate"}},
    }
    assert (await user.call("validate_workflow", workflow=workflow))["valid"]
    queued = await user.call("queue_workflow", workflow=workflow)
    done = await user.finish(queued["prompt_id"])
    assert done["state"] == "completed", done
    saved = (await user.call("get_output", prompt_id=queued["prompt_id"]))["files"][0]
    assert (saved["width"], saved["height"]) == (48, 32)
    assert Path(saved["path"]).is_file()

    slow = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": 60.0, "steps": 120}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "slow"}},
    }
    queued = await user.call("queue_workflow", workflow=slow)
    with anyio.fail_after(60):
        while (await user.call("poll_result", prompt_id=queued["prompt_id"], wait_seconds=1)).get("progress") is None:
            pass  # only events tell the progress
    await user.call("interrupt", prompt_id=queued["prompt_id"])
    assert (await user.finish(queued["prompt_id"]))["state"] == "interrupted"


async def test_the_whole_job_through_tls_a_prefix_and_a_password(comfyui: str, home: Path, tmp_path: Path) -> None:
    with nginx(tmp_path / "gate", behind_basic(comfyui, tmp_path / "gate")) as gate:
        configure(
            home,
            f'[gpu]\nurl = "{gate.url}/comfy/"\nuser = "anna"\npassword = {{ env = "GPU_PASSWORD" }}\n'
            f'ca_file = "{gate.authority}"\n',
        )
        environment = environment_for(home, "gpu", GPU_PASSWORD=PASSWORD)
        async with stdio_agent(environment) as user:
            await whole_job(user, home)
    asked = gate.asked()  # a WebSocket is noted when it has ended
    assert "101 GET /comfy/ws" in asked
    # Credentials go along from the first request: nothing has to be asked twice, and no stream is opened in vain.
    assert not [line for line in asked if line.startswith("401")]


async def test_the_whole_job_where_only_api_is_passed_on_for_a_token_and_a_header(
    comfyui: str, home: Path, tmp_path: Path
) -> None:
    with nginx(tmp_path / "gate", behind_token(comfyui)) as gate:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "token").write_text(f"{TOKEN}\n")
        configure(
            home,
            f'[gpu]\nurl = "{gate.url}/api"\ntoken = {{ file = "token" }}\nca_file = "{gate.authority}"\n'
            'headers.X-Team = { env = "TEAM" }\n',
        )
        async with agent(environment_for(home, "gpu", TEAM="vision")) as user:
            await whole_job(user, home)
    asked = gate.asked()  # a WebSocket is noted when it has ended
    assert "101 GET /api/ws" in asked


async def test_what_is_wrong_with_the_way_in_is_said_with_what_to_set(comfyui: str, home: Path, tmp_path: Path) -> None:
    gate_folder = tmp_path / "gate"
    rules = behind_basic(comfyui, gate_folder) + behind_token(comfyui)
    with nginx(gate_folder, rules) as gate:
        known = f'ca_file = "{gate.authority}"\n'
        password = 'user = "anna"\npassword = { env = "WRONG" }\n'
        configure(
            home,
            f'[stranger]\nurl = "{gate.url}/comfy"\n'
            f'[nobody]\nurl = "{gate.url}/comfy"\n{known}'
            f'[other]\nurl = "{gate.url}/comfy"\n{known}{password}'
            f'[half]\nurl = "{gate.url}/api"\n{known}token = {{ env = "TOKEN" }}\n'
            f'[above]\nurl = "{gate.url}"\n{known}'
            f'[plain]\nurl = "{gate.url.replace("https", "http")}/comfy"\n',
        )
        environment = environment_for(home, "http://127.0.0.1:9", WRONG="wrong", TOKEN=TOKEN)
        async with agent(environment) as user:
            reasons = {
                name: (await user.call("check_status", server=name))["offline_reason"]
                for name in ("stranger", "nobody", "other", "half", "above", "plain")
            }
    assert "certificate is not accepted (unable to get local issuer certificate" in reasons["stranger"]
    assert "ca_file" in reasons["stranger"]
    assert "refused access (401)" in reasons["nobody"]
    assert "No credentials were sent. It wants a user and a password" in reasons["nobody"]
    assert "are not accepted" in reasons["other"]
    assert "refused access (403)" in reasons["half"]
    assert "may not be enough" in reasons["half"]
    assert "404" in reasons["above"]
    assert "HTTPS port" in reasons["plain"]
    assert not [reason for reason in reasons.values() if "<" in reason], reasons


async def test_login_pages_and_redirects_are_told_apart_from_comfyui(comfyui: str, home: Path, tmp_path: Path) -> None:
    rules = f"""
        location /page/ {{ default_type text/html; return 200 "{LOGIN.replace('"', "'")}"; }}
        location /sent/ {{ return 302 https://127.0.0.1:$server_port/oauth2/start?rd=$request_uri; }}
        location /moved/ {{ proxy_pass {comfyui}/; }}
    """
    with nginx(tmp_path / "gate", rules) as gate:
        known = f'ca_file = "{gate.authority}"\n'
        configure(
            home,
            f'[page]\nurl = "{gate.url}/page"\n{known}[sent]\nurl = "{gate.url}/sent"\n{known}',
        )
        async with agent(environment_for(home, "http://127.0.0.1:9")) as user:
            page = (await user.call("check_status", server="page"))["offline_reason"]
            sent = (await user.call("check_status", server="sent"))["offline_reason"]
    assert "a web page: Sign in" in page
    assert "A login page stands before the server" in page
    assert "/oauth2/start (302). A login stands before the server" in sent


async def test_redirects_never_carry_credentials_to_another_host(comfyui: str, home: Path, tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def listen(stream: Any, head: bytes) -> None:
        heads.append(head)
        await stream.send(http_reply("200 OK", "{}", "application/json"))

    async with answering(listen) as elsewhere:
        with nginx(tmp_path / "gate", f"location / {{ return 307 {elsewhere}$request_uri; }}") as gate:
            configure(
                home,
                f'[gpu]\nurl = "{gate.url}"\ntoken = {{ env = "TOKEN" }}\nca_file = "{gate.authority}"\n',
            )
            async with agent(environment_for(home, "gpu", TOKEN=TOKEN)) as user:
                status = await user.call("check_status")
                assert not status["online"]
                assert elsewhere in status["offline_reason"]
                await user.client.call_tool("queue_workflow", {"workflow": {"1": {"class_type": "X", "inputs": {}}}})
                Image.new("RGB", (8, 8)).save(home / "a.png")
                await user.client.call_tool("upload_image", {"path": "a.png"})
    assert heads == []
