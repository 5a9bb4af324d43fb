"""Public programs of others that the tests run, each in an environment of its own: installed once, kept in the cache
beside the sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

from comfyui_api import sandbox
from comfyui_api.workspace import read_settings

COMFY_CLI = "comfy-cli==1.23.0"
COMFY_API_PROXY = "comfy-api-proxy==0.1.6"
INSTALL_SECONDS = 300


def installed(requirement: str, program: str) -> Path:
    """The path of a program of this package, installed where it is not yet. Skips the test where that cannot be done;
    in CI that is a failure."""
    home = sandbox.default_home(read_settings(os.environ)) / "public-clients"
    folder = home / requirement.replace("==", "-")
    found = folder / ("Scripts" if os.name == "nt" else "bin") / program
    done = folder / "installed"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(found.with_name("python")), "-m", "pip", "install", "--quiet", requirement],
            ):
                try:
                    subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
                except (OSError, subprocess.SubprocessError) as exc:
                    _give_up(requirement, exc)
            done.touch()
    return found


def _give_up(requirement: str, exc: Exception) -> NoReturn:
    said = exc.stderr.decode("utf-8", "replace")[-500:] if isinstance(exc, subprocess.CalledProcessError) else exc
    reason = f"{requirement} cannot be installed: {said}"
    if os.environ.get("COMFYUI_API_ORACLE_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
