"""What people and installers get: the wheel, a plain copy of the folder, and the files that agents read.

scripts/install_trial.py really installs by each way that the README names; here is what needs no network.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from scripts.install_trial import NO_SERVER, ROOT, installation_lines, plain_copy, project_files

import comfyui_api
from comfyui_api.tools import TOOLS

pytestmark = pytest.mark.anyio
NAME = "comfyui-api"
README = (ROOT / "README.md").read_text("utf-8")
# Installers of skills drop files of this name.
DROPPED = "metadata.json"
KNOWLEDGE = ("references/models.md", "references/node_packs.json", "references/troubleshooting.md")


def read_json(name: str) -> Any:
    return json.loads((ROOT / name).read_text("utf-8"))


def build_wheel(folder: Path, into: Path) -> Path:
    """A wheel of the project in `folder`, by the build backend that pyproject.toml names."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,) = into.glob("*.whl")
    return wheel


def installed(wheel: Path, into: Path) -> Path:
    """The Python of a new environment with this wheel in it, and the libraries of ours."""
    venv.create(into, with_pip=False)
    python = into / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--offline",
            "--no-deps",
            "--python",
            str(python),
            str(wheel),
        ],
        check=True,
    )
    (site_packages,) = into.glob("Lib/site-packages" if os.name == "nt" else "lib/*/site-packages")
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "libraries_of_the_tests.pth").write_text("\n".join(sorted(libraries)), "utf-8")
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("installed"))


def test_the_wheel_has_the_package_and_its_knowledge_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if ".dist-info/" not in name]
    sources = {
        path.removeprefix("server/") if path.startswith("server/") else f"comfyui_api/{path}"
        for path in project_files(ROOT)
        if path.startswith(("server/", "references/", "foundation/"))
    }
    assert set(names) == sources
    assert wheel.stat().st_size < 1_500_000


def test_a_copy_in_somebody_elses_repository_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Skills are copied to .claude/skills and the like, where another .gitignore rules, and sometimes without ours."""
    copy = plain_copy(
        tmp_path / ".claude" / "skills" / NAME, without=("tests", "scripts", ".gitignore", ".ci", "Makefile")
    )
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("server/\nreferences\n*.json\n*.py\n", "utf-8")
    (copy / "server/comfyui_api/__pycache__").mkdir()
    (copy / "server/comfyui_api/__pycache__/x.pyc").write_bytes(b"x")
    again = build_wheel(copy, tmp_path / "built")
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(again) as copied:
        assert set(copied.namelist()) == set(ours.namelist())


async def test_what_the_wheel_installs_serves(python: Path, home: Path) -> None:
    environment = {"COMFYUI_URL": NO_SERVER, "COMFYUI_API_CONFIG": str(home / "none.toml"), "PATH": os.environ["PATH"]}
    server = StdioServerParameters(command=str(python.parent / NAME), args=["serve"], env=environment, cwd=home)
    with anyio.fail_after(60):
        async with Client(server) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
            status = await client.call_tool("check_status", {})
            assert status.structured_content is not None
            assert status.structured_content["online"] is False


def test_what_the_wheel_installs_has_its_own_knowledge(python: Path, home: Path) -> None:
    code = (
        "import comfyui_api.documents as d, sys\n"
        f"print(*[d.document(name) for name in {KNOWLEDGE}], d.schema('tool-results')['$schema'], sep='\\n')"
    )
    said = subprocess.run([str(python), "-c", code], cwd=home, check=True, capture_output=True, text=True).stdout
    for name, line in zip(KNOWLEDGE, said.splitlines(), strict=False):
        assert Path(line).is_relative_to(python.parent.parent), line
        assert Path(line).as_posix().endswith(name)


def test_versions_and_names_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name in ("manifest.json", "gemini-extension.json", ".claude-plugin/plugin.json"):
        described = read_json(name)
        assert (described["name"], described["version"]) == (NAME, comfyui_api.__version__), name
    assert (
        project["license"]
        == read_json("manifest.json")["license"]
        == read_json(".claude-plugin/plugin.json")["license"]
    )
    assert read_json("manifest.json")["compatibility"]["runtimes"]["python"] == project["requires-python"]
    market = read_json(".claude-plugin/marketplace.json")
    assert [plugin["name"] for plugin in market["plugins"]] == [market["name"]] == [NAME]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (".mcp.json", "."),
        (".claude-plugin/plugin.json", "${CLAUDE_PLUGIN_ROOT}"),
        ("gemini-extension.json", "${extensionPath}"),
    ],
)
def test_agents_start_the_server_from_the_folder_they_found(name: str, folder: str) -> None:
    server = read_json(name)["mcpServers"][NAME]
    assert server["command"] == "uvx"
    assert server["args"] == ["--from", folder, NAME, "serve"]
    # A default here would win over the user's settings.toml.
    assert server.get("env", {"COMFYUI_URL": "${COMFYUI_URL:-}"}) == {"COMFYUI_URL": "${COMFYUI_URL:-}"}


def test_the_bundle_starts_in_the_users_folder_and_names_settings_that_exist() -> None:
    manifest = read_json("manifest.json")
    server = manifest["server"]
    assert (ROOT / server["entry_point"]).is_file()
    # Not --directory: that would make the bundle the working folder.
    assert server["mcp_config"]["args"] == ["run", "--project", "${__dirname}", NAME, "serve"]
    for variable, value in server["mcp_config"]["env"].items():
        assert f"| `{variable}` |" in README
        assert value.removeprefix("${user_config.").removesuffix("}") in manifest["user_config"]


def test_lines_for_agents_in_the_readme_start_the_server() -> None:
    lines = installation_lines(README)
    (for_code,) = [line for line in lines if line.startswith("code ")]
    said = json.loads(shlex.split(for_code)[2])
    (for_cursor,) = re.findall(r'`(\{"mcpServers".*?\})`', README)
    for server in (said, json.loads(for_cursor)["mcpServers"][NAME]):
        assert (server["command"], server["args"]) == (NAME, ["serve"])
    for program in ("claude", "codex", "gemini"):
        assert any(line.startswith(f"{program} mcp add ") and line.endswith(f" {NAME} serve") for line in lines), (
            program
        )


def test_the_repository_is_lean_enough_to_be_copied_whole() -> None:
    sizes = {path: (ROOT / path).stat().st_size for path in project_files(ROOT)}
    assert sum(sizes.values()) < 8_000_000
    assert max(sizes.values()) < 1_200_000, max(sizes, key=lambda path: sizes[path])
    assert not [path for path in sizes if Path(path).name == DROPPED]
    assert not [path for path in sizes if (ROOT / path).is_symlink()]


def test_the_picture_of_the_readme_fetches_nothing() -> None:
    picture = (ROOT / "scripts/demo.svg").read_text("utf-8")
    assert "scripts/demo.svg" in README
    assert len(picture) < 60_000
    for outward in ("@import", "url(http", 'href="http', "<script", str(ROOT)):
        assert outward not in picture
