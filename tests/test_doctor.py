"""The doctor: each thing that can be wrong has a line, with what to do, and no secret is in any of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import anyio
import pytest

from comfyui_api.doctor import Check, examine
from comfyui_api.workspace import config_file
from tests.support import answering, environment_for, http_reply, settings_file
from tests.terminal import NOBODY, on_a_terminal
from tests.test_cli import console

pytestmark = pytest.mark.anyio


async def examined(home: Path, url: str = NOBODY, **more: str) -> dict[str, list[Check]]:
    """The checks by what they are about, of a user with nothing else in his folder."""
    found: dict[str, list[Check]] = {}
    environment = {**environment_for(home, url), "PATH": os.environ["PATH"], **more}
    for check in await examine(environment, home, "/somewhere/comfyui-api"):
        found.setdefault(check.about, []).append(check)
    return found


def stats(version: str) -> bytes:
    system = {"os": "posix", "comfyui_version": version, "python_version": "3.11", "pytorch_version": "2.7"}
    return http_reply("200 OK", json.dumps({"system": system, "devices": []}), "application/json")


async def test_a_server_that_is_not_there_is_a_problem_with_its_mending(home: Path) -> None:
    found = await examined(home)
    (server,) = found["server"]
    assert (server.state, server.found) == ("problem", f"No ComfyUI answers at {NOBODY}: Connection refused.")
    assert server.mend is not None
    assert "COMFYUI_URL" in server.mend
    (inventory,) = found["inventory"]
    assert (inventory.state, inventory.mend) == ("warn", "comfyui-api status --refresh, while the server runs.")
    assert not (home / "state").exists(), "looking changes nothing"


async def test_servers_are_asked_side_by_side_and_old_ones_told(home: Path) -> None:
    async with answering(stats("0.3.40")) as old, answering(stats("0.33.0")) as new, answering(_silent) as silent:
        home.joinpath("servers.toml").write_text(
            f'[old]\nurl = "{old}"\n[silent]\nurl = "{silent}"\n[away]\nurl = "http://192.0.2.1:8188"\n'
        )
        with anyio.fail_after(40):
            found = await examined(home, new, COMFYUI_API_TIMEOUT="1")
    assert found["server"][0].state == "ok"
    assert "ComfyUI 0.33.0, answers in" in found["server"][0].found
    assert found["server 'old'"][0].state == "warn"
    assert "0.3.64" in (found["server 'old'"][0].mend or "")
    assert found["server 'silent'"][0].state == "warn"
    assert "COMFYUI_API_ALLOWED_HOSTS" in (found["server 'away'"][0].mend or "")


async def _silent(_: object) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "302 Found"])
async def test_a_login_before_the_server_is_explained(home: Path, status: str) -> None:
    async with answering(http_reply(status, "<html>Log in</html>", "text/html", ["Location: /login"])) as url:
        (server,) = (await examined(home, url))["server"]
    assert server.state == "problem"
    assert server.mend


async def test_settings_are_told_with_their_source_and_without_secrets(home: Path) -> None:
    file = settings_file(home)
    file.parent.mkdir()
    file.write_text('timeout = 5\nallowed_hosts = ["a", "b"]\nurl = "http://elsewhere:1"\n')
    url = "http://someone:s3cret@127.0.0.1:9/base"
    found = await examined(home, url, COMFYUI_API_READFOLDERS="x", COMFYUI_API_KEY_FILE="k")
    told = [check.found for check in found["setting"]]
    assert "timeout = 5.0 (from settings.toml)" in told
    assert "allowed_hosts = a, b (from settings.toml)" in told
    assert "url = http://127.0.0.1:9/base with credentials (from COMFYUI_URL)" in told
    unknown = {check.found: check.mend for check in found["setting"] if check.state == "warn"}
    assert unknown["COMFYUI_API_READFOLDERS is no setting."] == "Did you mean 'COMFYUI_API_READ_FOLDERS'?"
    assert "s3cret" not in repr(found)
    assert "someone" not in repr(found)


@pytest.mark.parametrize(
    ("text", "says"), [("timeout = 'soon'", "timeout"), ("nonsense", "not valid TOML"), ("tmeout = 1", "do not exist")]
)
async def test_a_broken_settings_file_does_not_hide_the_rest(home: Path, text: str, says: str) -> None:
    settings_file(home).parent.mkdir()
    settings_file(home).write_text(text)
    found = await examined(home)
    assert found["settings"][0].state == "problem"
    assert says in found["settings"][0].found
    assert found["Python"][0].state == "ok"
    assert found["references"][0].state == "ok"
    settings_file(home).write_text("")
    (settings_file(home).parent / "servers.toml").write_text("[a]\nurl = 3\n")
    assert (await examined(home))["servers"][0].state == "problem"


async def test_a_working_folder_that_cannot_be_written_to_is_a_problem(home: Path) -> None:
    (home / "state").write_text("a file in the folder's place")
    found = await examined(home)
    assert found["working folder"][0].state == "problem"
    assert "state cannot be written to" in found["working folder"][0].found


async def test_damaged_files_are_told_and_stay_where_they_are(home: Path) -> None:
    (home / "state").mkdir()
    for name in ("jobs.json", "inventory.json"):
        (home / "state" / name).write_text("{")
    found = await examined(home)
    assert found["runs"][0].state == "warn"
    assert "is no inventory" in found["inventory"][0].found
    assert sorted(path.name for path in (home / "state").iterdir()) == ["inventory.json", "jobs.json"]


async def test_agents_are_found_by_their_entry_and_nothing_of_it_is_told(home: Path) -> None:
    entry = {"mcpServers": {"comfyui-api": {"command": "comfyui-api", "env": {"COMFYUI_API_KEY": "s3cret"}}}}
    (home / ".claude.json").write_text(json.dumps(entry))
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text("[mcp_servers.other]\n")
    (home / ".gemini" / "extensions" / "comfyui-api").mkdir(parents=True)
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_bytes(b"\xff comfyui-api")
    found = await examined(home)
    assert str(home / ".claude.json") in found["Claude Code"][0].found
    assert "Codex" not in found
    assert found["Gemini"][0].state == found["Cursor"][0].state == "ok"
    assert "s3cret" not in repr(found)
    shutil.rmtree(home / ".gemini")
    assert "agents" not in await examined(home)


async def test_the_command_that_agents_would_get_is_compared_with_this_one(home: Path) -> None:
    found = await examined(home, PATH="")
    assert (found["command"][0].state, "not on PATH" in found["command"][0].found) == ("warn", True)
    other = home / "bin" / ("comfyui-api.exe" if sys.platform == "win32" else "comfyui-api")
    other.parent.mkdir()
    other.write_text("")
    other.chmod(0o755)
    found = await examined(home, PATH=str(other.parent))
    assert found["command"][0].found.startswith(f"PATH has {other}, and this one is")


async def test_a_proxy_is_told_for_servers_outside_only(home: Path) -> None:
    servers = config_file(environment_for(home, NOBODY)).with_name("servers.toml")
    servers.parent.mkdir()
    servers.write_text('[far]\nurl = "http://comfy.invalid:8188"\n[spared]\nurl = "http://spared.invalid"\n')
    proxy = {"http_proxy": "http://me:s3cret@127.0.0.1:9", "no_proxy": "spared.invalid"}
    found = await examined(home, **proxy)
    assert "http://127.0.0.1:9" in found["server 'far'"][1].found
    assert len(found["server"]) == len(found["server 'spared'"]) == 1
    assert "s3cret" not in repr(found)


async def test_keys_that_go_over_the_net_in_the_clear_are_a_warning(home: Path) -> None:
    settings_file(home).parent.mkdir()
    (settings_file(home).parent / "servers.toml").write_text(
        '[open]\nurl = "http://comfy.invalid"\nkey = { env = "K" }\n'
        '[password]\nurl = "http://me:s3cret-word@other.invalid"\n'
        '[closed]\nurl = "https://comfy.invalid:8443"\nkey = { env = "K" }\n'
        '[bare]\nurl = "http://bare.invalid"\n'
        '[near]\nurl = "http://192.168.77.1:9"\nkey = { env = "K" }\n'
    )
    found = await examined(home, NOBODY, K="s3cret-key-0123456789", COMFYUI_API_TIMEOUT="1")
    warned = {
        about for about, checks in found.items() if any("can be read on its way" in each.found for each in checks)
    }
    assert warned == {"server 'open'", "server 'password'"}
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(("kind", "called"), [("cloud", "Comfy Cloud, answers"), ("v2", "API v2, answers")])
async def test_servers_of_other_kinds_are_told_as_what_they_are(home: Path, kind: str, called: str) -> None:
    """Neither of these tells which ComfyUI it has; of the second no refreshing would tell its node classes."""
    system = {"os": "posix", "comfyui_version": "unknown"}
    reply = http_reply("200 OK", json.dumps({"system": system, "devices": []}), "application/json")
    missing = http_reply("404 Not Found", '{"error": {"code": "not_found", "message": "no"}}', "application/json")
    async with answering(reply if kind == "cloud" else missing) as url:
        settings_file(home).parent.mkdir()
        (settings_file(home).parent / "servers.toml").write_text(
            f'[there]\nurl = "{url}"\nkind = "{kind}"\nkey = {{ env = "K" }}\n'
        )
        found = await examined(home, "there", K="s3cret-key-0123456789")
    assert found["server"][0].state == "ok", found["server"]
    assert called in found["server"][0].found
    if kind == "v2":
        assert "does not tell which node classes" in found["inventory"][0].found
        assert "`inventory`" in (found["inventory"][0].mend or "")
    assert "s3cret" not in repr(found)


async def test_an_installation_that_is_none_is_a_problem(home: Path) -> None:
    (check,) = (await examined(home, COMFYUI_API_COMFYUI_PATH=str(home)))["ComfyUI's folder"]
    assert check.state == "problem"


async def test_on_the_console_problems_are_exit_code_1_and_people_get_a_table(home: Path) -> None:
    done = console(home, "doctor")
    assert done.returncode == 1
    assert {check["state"] for check in json.loads(done.stdout)} <= {"ok", "warn", "problem"}
    for columns in (60, 120):
        code, text = on_a_terminal(home, "doctor", columns=columns)
        assert code == 1
        assert "problem" in text
        assert "1 problem," in text
