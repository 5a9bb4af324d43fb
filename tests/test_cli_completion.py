"""The shell's completion: what it offers, by the machinery that bash calls and in a real bash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import environment_for
from tests.terminal import NOBODY
from tests.test_cli import console

OBJECT_INFO: dict[str, Any] = {
    name: {"input": {}, "output": []} for name in ("KSampler", "KSamplerAdvanced", "SaveImage")
}


@pytest.fixture
def known(home: Path) -> Path:
    """A working folder with a server, projects, runs and an inventory."""
    (home / "servers.toml").write_text('[studio]\nurl = "http://127.0.0.1:7"\n')
    (home / "projects" / "film" / "workflows").mkdir(parents=True)
    (home / "object_info.json").write_text(json.dumps(OBJECT_INFO))
    assert console(home, "inventory", "refresh", "--object-info", "object_info.json").returncode == 0
    runs = {name: {"server": NOBODY, "queued_at": 1.0} for name in ("aaaa-1", "aaab-2", "bad\nid")}
    (home / "state" / "jobs.json").write_text(json.dumps(runs))
    return home


def offered(home: Path, line: str) -> list[str]:
    """What the completion offers for a command line that ends where the cursor is."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "comfyui_api"],
        env={
            **os.environ,
            **environment_for(home, NOBODY),
            "_COMFYUI_API_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("comfyui-api val", ["validate"]),
        ("comfyui-api inventory ", ["refresh", "show", "diff"]),
        ("comfyui-api status --server ", ["studio"]),
        ("comfyui-api validate --server ", ["all", "studio"]),
        ("comfyui-api run cat.json --project f", ["film"]),
        ("comfyui-api poll ", ["aaab-2", "aaaa-1"]),
        ("comfyui-api get aaaa", ["aaaa-1"]),
        ("comfyui-api interrupt b", []),
        ("comfyui-api show --mer", ["--mermaid"]),
    ],
)
def test_what_is_known_here_is_offered(known: Path, line: str, expected: list[str]) -> None:
    assert offered(known, line) == expected


def test_what_is_broken_offers_nothing_and_says_nothing(home: Path) -> None:
    (home / "servers.toml").write_text("nonsense")
    (home / "state").mkdir()
    (home / "state" / "jobs.json").write_text("{")
    assert offered(home, "comfyui-api status --server ") == []
    assert offered(home, "comfyui-api poll ") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_bash_completes(known: Path) -> None:
    program = shutil.which("comfyui-api", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("the console command is not installed beside this Python")
    script = """
eval "$(comfyui-api --show-completion bash)"
complete -p comfyui-api >&2
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
    "$(complete -p comfyui-api | sed 's/.*-F \\([^ ]*\\).*/\\1/')" comfyui-api
    echo "${COMPREPLY[*]}"
}
ask comfyui-api poll aaa
ask comfyui-api run cat
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={
            **os.environ,
            **environment_for(known, NOBODY),
            "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}",
            "SHELL": "/bin/bash",
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
        cwd=known,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines == ["aaab-2 aaaa-1", ""], done.stderr
    assert "-o default" in done.stderr, "where nothing is offered, bash completes file names"
