"""What a real ComfyUI tells for mending: the packs that failed at its start, and what its ComfyUI-Manager knows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from comfyui_api.client import ComfyClient
from comfyui_api.packs import InstalledPack
from tests.sandboxes import OwnSandbox

pytestmark = [pytest.mark.anyio, pytest.mark.live]

# ComfyUI-Manager with the least that it starts with.
MANAGER = ["comfyui-manager==4.3", "GitPython==3.1.45", "gitdb==4.0.12", "smmap==5.0.2", "toml==0.10.2", "nh3==0.3.7"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Broken(NamedTuple):
    """A pack, and what has to be told of it."""

    files: dict[str, str]
    reason: str
    exception: str | None = None
    missing_module: str | None = None
    stage: str = "import"


BROKEN = {
    "missing_module": Broken(
        {"__init__.py": "from . import nodes", "nodes.py": "\nimport nobody_has_this"},
        "needs the Python module 'nobody_has_this', which is not installed (nodes.py, line 2)",
        "ModuleNotFoundError: No module named 'nobody_has_this'",
        "nobody_has_this",
    ),
    "missing_part": Broken(
        {"__init__.py": "import numpy.no_such_part"},
        "the installed version of 'numpy' does not have",
        "ModuleNotFoundError: No module named 'numpy.no_such_part'",
    ),
    "said in other words": Broken(
        {
            "__init__.py": "try:\n    import nobody_has_this\nexcept ImportError as e:\n"
            "    raise RuntimeError('please install it') from e"
        },
        "'nobody_has_this', which is not installed (RuntimeError: please install it)",
        "RuntimeError: please install it",
        "nobody_has_this",
    ),
    "own_file": Broken(
        {"__init__.py": "from .gone import X"}, "Its own file 'gone' is missing", "ModuleNotFoundError: "
    ),
    "own_name": Broken({"__init__.py": "from . import gone"}, "no 'gone' in one of them", "ImportError: "),
    "other_version": Broken(
        {"__init__.py": "from numpy import no_such_name"}, "needs 'no_such_name' of 'numpy'", "ImportError: "
    ),
    "of_comfyui": Broken(
        {"__init__.py": "import comfy.no_such_part"}, "a part of ComfyUI that this version", "ModuleNotFoundError: "
    ),
    "no_syntax": Broken(
        {"__init__.py": "from . import inner", "inner.py": "x = 1\ndef broken(:\n    pass\n"},
        "cannot read one of its files: invalid syntax (inner.py, line 2)",
        "SyntaxError: invalid syntax",
    ),
    "raises": Broken(
        {"__init__.py": "raise RuntimeError('boom\\nand \\x1b[31mmore\\x1b[0m')"},
        "failed with RuntimeError: boom and more (__init__.py, line 1)",
        "RuntimeError: boom and more",
    ),
    "raises_its_own": Broken(
        {"__init__.py": "import sys\nsys.stderr.write('50%|##   | 5/10')\nclass E(Exception):\n    pass\nraise E()"},
        "failed with raises_its_own.E (__init__.py, line 5)",
        "raises_its_own.E",
    ),
    "lib": Broken(
        {"__init__.py": "import ctypes\nctypes.CDLL('libnobody.so.7')"},
        "lacks the library libnobody.so.7 (__init__.py, line 2)",
        "OSError: libnobody.so.7: ",
    ),
    "no_init": Broken({"nodes.py": ""}, "has no __init__.py", "FileNotFoundError: "),
    "no_mappings": Broken({"__init__.py": "x = 1"}, "it defines no node classes", stage="no_nodes"),
    "entrypoint_fails": Broken(
        {"__init__.py": "async def comfy_entrypoint():\n    raise ValueError('no entry')"},
        "failed with no entry",
        "no entry",
    ),
    "entrypoint_is_none": Broken({"__init__.py": "comfy_entrypoint = 3"}, "is no function", stage="no_nodes"),
    "entrypoint_gives_none": Broken(
        {"__init__.py": "def comfy_entrypoint():\n    return 3"}, "gives no node classes", stage="no_nodes"
    ),
    "prestartup": Broken(
        {"__init__.py": "NODE_CLASS_MAPPINGS = {}", "prestartup_script.py": "import nobody_has_this"},
        "before ComfyUI starts failed. It needs the Python module 'nobody_has_this'",
        "No module named 'nobody_has_this'",
        "nobody_has_this",
        "prestartup",
    ),
    "of_git": Broken(
        {
            "__init__.py": "import cv2",
            ".git/config": '[remote "origin"]\n\turl = https://github.com/somebody/of-git.git\n',
            ".git/HEAD": "ref: refs/heads/main\n",
            ".git/refs/heads/main": f"{COMMIT}\n",
            ".git/.cnr-id": "the-id-of-git",
        },
        "needs the Python module 'cv2', which is not installed",
        "ModuleNotFoundError: No module named 'cv2'",
        "cv2",
    ),
}
SOUND: dict[str, dict[str, str]] = {
    "sound": {
        "__init__.py": "NODE_CLASS_MAPPINGS = {}",
        "pyproject.toml": '[project]\nname = "sound"\nversion = "1.2"\n',
        ".tracking": "",
    },
    "elsewhere": {
        "__init__.py": "NODE_CLASS_MAPPINGS = {}",
        ".git/config": '[remote "origin"]\n\turl = https://gitlab.com/somebody/elsewhere.git\n',
        ".git/HEAD": "ref: refs/heads/main\n",
    },
    "switched_off.disabled": {
        "__init__.py": "NODE_CLASS_MAPPINGS = {}",
        ".git/config": '[remote "origin"]\n\turl = git@github.com:somebody/switched-off.git\n',
        ".git/HEAD": f"{COMMIT}\n",
    },
    ".disabled/put_away@1_0_0": {
        "__init__.py": "NODE_CLASS_MAPPINGS = {}",
        "pyproject.toml": '[project]\nname = "put-away"\nversion = "1.0.0"\n',
        ".tracking": "",
    },
}
# ComfyUI 0.3.75 does not start the Manager by itself: a pack does, as early as it can.
LOADER = {
    "prestartup_script.py": """
import os, sys
sys.path.append({folder!r})
from comfy.cli_args import args
args.enable_manager = True
args.enable_manager_legacy_ui = {legacy!r}
import folder_paths
folder_paths.get_system_user_directory = lambda name: os.path.join(folder_paths.get_user_directory(), "__" + name)
os.makedirs(folder_paths.get_system_user_directory("manager"), exist_ok=True)
with open(os.path.join(folder_paths.get_system_user_directory("manager"), "config.ini"), "w") as file:
    file.write("[default]\\nnetwork_mode = offline\\nfile_logging = False\\n")
import comfyui_manager
comfyui_manager.prestartup()
""",
    "__init__.py": "import comfyui_manager\ncomfyui_manager.start()\nNODE_CLASS_MAPPINGS = {{}}\n",
}


@pytest.fixture(scope="module")
def manager_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the real ComfyUI-Manager can be imported from. Skips where it cannot be fetched."""
    folder = tmp_path_factory.mktemp("manager")
    # Without what it depends on: the sandbox has it, or the Manager does without.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *MANAGER]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        if os.environ.get("COMFYUI_API_ORACLE_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="module", params=["new interface", "old interface"])
def server(request: pytest.FixtureRequest, manager_folder: Path) -> Iterator[str]:
    """The URL of a ComfyUI with broken packs, sound ones and a Manager, in one of its two interfaces."""
    own = OwnSandbox("knowledge")
    packs = own.base_directory / "custom_nodes"
    values = {"folder": str(manager_folder), "legacy": request.param == "old interface"}
    loader = {file: text.format(**values) for file, text in LOADER.items()}
    placed = {name: pack.files for name, pack in BROKEN.items()} | SOUND | {"a_loader": loader}
    for pack, files in placed.items():
        for file, text in files.items():
            (packs / pack / file).parent.mkdir(parents=True, exist_ok=True)
            (packs / pack / file).write_text(text, encoding="utf-8")
    try:
        yield own.start()
    finally:
        own.remove()


@pytest.fixture
async def client(server: str) -> AsyncIterator[ComfyClient]:
    client = ComfyClient(server, timeout=30.0)
    yield client
    await client.close()


async def test_every_broken_pack_is_told_with_its_reason(client: ComfyClient) -> None:
    log = await client.startup_log()
    assert log is not None
    told = {failure.pack: failure for failure in log.failures}

    assert set(told) == set(BROKEN)
    for name, pack in BROKEN.items():
        failure = told[name]
        assert (name, failure.stage, failure.missing_module) == (name, pack.stage, pack.missing_module)
        assert pack.reason in failure.reason
        assert (failure.exception or "").startswith(pack.exception or "")
        assert failure.advice.endswith(".")
    assert set(log.imported) == {"sound", "elsewhere", "prestartup", "a_loader"}


async def test_the_manager_tells_what_is_installed(client: ComfyClient) -> None:
    assert await client.installed_packs() == {
        "of_git": InstalledPack(COMMIT, "the-id-of-git", "https://github.com/somebody/of-git"),
        "sound": InstalledPack("1.2.0", "sound"),
        "elsewhere": InstalledPack(),
        "switched_off": InstalledPack(COMMIT, None, "https://github.com/somebody/switched-off", enabled=False),
        "put_away": InstalledPack("1.0.0", "put-away", enabled=False),
    }


async def test_the_manager_tells_why_a_pack_failed(client: ComfyClient) -> None:
    log, packs = await client.startup_log(), await client.installed_packs()
    assert log is not None
    assert packs is not None
    failure = await client.manager_import_failure("of_git", packs["of_git"])
    assert failure == next(known for known in log.failures if known.pack == "of_git")
    assert await client.manager_import_failure("sound", packs["sound"]) is None
    assert await client.manager_import_failure("gone", InstalledPack(cnr_id="gone")) is None


async def test_the_manager_tells_which_packs_have_a_class(client: ComfyClient) -> None:
    found = await client.manager_packs(["KSampler", "CannyEdgePreprocessor", "ImpactWildcardProcessor", "Nobody's"])
    assert found is not None
    assert set(found) == {"KSampler", "CannyEdgePreprocessor", "ImpactWildcardProcessor"}
    assert found["KSampler"][0].is_core
    assert found["CannyEdgePreprocessor"][0].repository == "https://github.com/Fannovel16/comfyui_controlnet_aux"
    assert found["CannyEdgePreprocessor"][0].preempts
    assert "https://github.com/ltdrdata/ComfyUI-Impact-Pack" in [
        pack.repository for pack in found["ImpactWildcardProcessor"]
    ]


async def test_the_manager_tells_models_in_its_old_interface_only(
    client: ComfyClient, request: pytest.FixtureRequest
) -> None:
    models = await client.manager_models()
    if "new interface" in request.node.name:
        assert models is None
        return
    assert models is not None
    assert len(models) > 500
    assert {model.origin for model in models} == {"manager"}
    assert all(model.url or model.page for model in models)
    assert not {model.folder for model in models} & {"clip", "unet", "default", ""}
    (taef1,) = [model for model in models if model.file == "taef1_decoder.pth"]
    assert taef1.folder == "vae_approx"
    assert taef1.size is not None
    assert 4_700_000 < taef1.size < 5_000_000


async def test_an_old_server_replaces_no_classes(client: ComfyClient) -> None:
    assert await client.node_replacements() == {}
