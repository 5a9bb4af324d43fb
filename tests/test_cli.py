"""The command: serving where nobody sits at a terminal, the console otherwise, and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import comfyui_api
from tests.support import environment_for, image_prompt, settings_file

NOBODY = "http://127.0.0.1:9"


def console(
    home: Path, *arguments: str, url: str = NOBODY, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comfyui_api", *arguments],
        env={**os.environ, **environment_for(home, url)},
        cwd=home,
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def initialize() -> str:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}) + "\n"


@pytest.mark.parametrize("arguments", [(), ("serve",)])
def test_without_a_terminal_it_is_the_mcp_server(home: Path, arguments: tuple[str, ...]) -> None:
    done = console(home, *arguments, text=initialize())
    answer = json.loads(done.stdout.splitlines()[0])
    assert answer["result"]["serverInfo"]["name"] == "comfyui-api"
    assert answer["result"]["serverInfo"]["version"] == comfyui_api.__version__
    assert done.returncode == 0, done.stderr


def test_starting_the_server_loads_neither_the_console_nor_what_is_needed_later(home: Path) -> None:
    late = ["typer", "rich", "PIL", "yaml", "jsonschema", "wsproto", "psutil", "filelock", "comfyui_api.cli"]
    code = f"import sys, comfyui_api.app; print([name for name in {late!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=home)
    # The SDK itself imports jsonschema.
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"jsonschema"}


def test_serving_loads_no_console(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "comfyui_api", "serve"],
        env={**os.environ, **environment_for(home, NOBODY)},
        input=initialize(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "comfyui_api.app" in loaded
    assert not {name for name in loaded if name.split(".")[0] in ("typer", "rich")}
    assert not {name for name in loaded if name.split(".")[:2] == ["comfyui_api", "cli"]}


def test_console_says_what_is_wrong_in_one_line(home: Path) -> None:
    done = console(home, "validate", "nothing.json")
    assert done.returncode == 2
    assert done.stderr.startswith("comfyui-api: There is no file")
    assert "Traceback" not in done.stderr


def test_offline_status_and_queue_tell_by_exit_code_and_json(home: Path) -> None:
    status = console(home, "status")
    assert (status.returncode, json.loads(status.stdout)["online"]) == (1, False)
    (home / "cat.json").write_text(json.dumps(image_prompt()), encoding="utf-8")
    saved = console(home, "queue", "cat.json", "--input", "2.filename_prefix=größe", "--project", "film")
    assert saved.returncode == 0, saved.stderr
    path = Path(json.loads(saved.stdout)["saved_path"])
    assert json.loads(path.read_text(encoding="utf-8"))["2"]["inputs"]["filename_prefix"] == "größe"


def test_wrong_setting_is_said_at_the_start(home: Path) -> None:
    settings_file(home).parent.mkdir()
    settings_file(home).write_text("timeout = 'soon'")
    for arguments in (("status",), ("serve",)):
        done = console(home, *arguments, text="")
        assert done.returncode != 0
        assert "timeout" in done.stderr
        assert "Traceback" not in done.stderr


def test_help_names_every_command_and_the_licence_of_the_sandbox(home: Path) -> None:
    text = console(home, "--help").stdout
    for command in ("serve", "sandbox", "status", "validate", "queue", "poll", "get", "upload", "interrupt", "free"):
        assert command in text
    assert "GPL" in console(home, "sandbox", "--help").stdout


@pytest.mark.live
def test_main_job_on_the_console(comfyui: str, home: Path) -> None:
    (home / "cat.json").write_text(json.dumps(image_prompt("console")), encoding="utf-8")
    assert console(home, "validate", "cat.json", url=comfyui).returncode == 0
    queued = json.loads(console(home, "queue", "cat.json", "--input", "1.width=80", url=comfyui).stdout)
    done = json.loads(console(home, "poll", queued["prompt_id"], url=comfyui).stdout)
    assert done["state"] == "completed"
    files = json.loads(console(home, "get", queued["prompt_id"], url=comfyui).stdout)["files"]
    assert (files[0]["width"], files[0]["height"]) == (80, 64)
    uploaded = json.loads(console(home, "upload", files[0]["path"], url=comfyui).stdout)
    assert uploaded["value"]
    refused = console(home, "queue", "cat.json", "--input", "1.width=0", url=comfyui)
    assert (refused.returncode, json.loads(refused.stdout)["status"]) == (1, "refused")
    assert console(home, "interrupt", url=comfyui).returncode == 2
    assert console(home, "free", url=comfyui).returncode == 0
