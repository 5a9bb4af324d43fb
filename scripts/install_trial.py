"""Every line of installation that the README names, really run: uv, pip, the agents' own commands, skill installers.

Each starts from a plain copy of this folder, without .git and called comfyui-api, in an empty home; only the download
caches are the user's. What was installed is then driven by an MCP client, or by the agent itself where it can tell
whether a server answers. A line of the README that is neither run here nor named with its reason is a failure.
Needs Node.js 20 or newer and the package indexes of Python and Node.js. Exits 1 on any failure. With --without-agents
the agents themselves, 750 MB of other people's programs, are left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pathspec
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from comfyui_api.tools import TOOLS

ROOT = Path(__file__).resolve().parent.parent
NAME = "comfyui-api"
AGENTS = ("@anthropic-ai/claude-code@2.1.197", "@openai/codex@0.169.0", "@google/gemini-cli@0.61.0")
MCPB, SKILLS, SKILLS_REF = "@anthropic-ai/mcpb@2.1.2", "skills@1.5.18", "skills-ref==0.1.1"
PROGRAMS = ("uv", "uvx", "pip", "claude", "codex", "gemini", "code", "npx")
NOT_RUN = {
    "code --add-mcp": "VS Code cannot be had from a package index; the command in it is run.",
    "npx skill4agent add": "It installs only what its own site, skill4agent.com, lists.",
    "npx skills add OWNER/REPO": "There is no repository to name yet; a git address is tried instead.",
}
BY_AGENTS = ("claude ", "codex ", "gemini ")
# Nothing listens there: what is installed must work offline, and say so.
NO_SERVER = "http://127.0.0.1:9"


def project_files(root: Path) -> Iterator[str]:
    """What a clone has: all files that .gitignore does not name, relative, with forward slashes."""
    ignored = pathspec.GitIgnoreSpec.from_lines((root / ".gitignore").read_text("utf-8").splitlines())
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [
            name for name in folders if name != ".git" and not ignored.match_file(f"{(here / name).as_posix()}/")
        ]
        for name in files:
            if not ignored.match_file(path := (here / name).as_posix()):
                yield path


def plain_copy(target: Path, *, without: tuple[str, ...] = ()) -> Path:
    """The project as an installer copies it: no .git, and not the top-level names of `without`."""
    for path in project_files(ROOT):
        if path.split("/")[0] not in without:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target / path)
    return target


def installation_lines(readme: str) -> set[str]:
    """The commands of the README's section "Installation", in backquotes or code blocks, without comments."""
    section = readme.split("\n## Installation\n", 1)[1].split("\n## ", 1)[0]
    said = re.findall(r"`([^`\n]+)`", section)
    said += [line for block in re.findall(r"```\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    lines = {line.split("  #")[0].strip() for line in said}
    return {line for line in lines if line.split(" ")[0] in PROGRAMS and " " in line}


class Trial:
    """One run of everything. `place` is an empty folder that holds the home, the copies and the tools."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.passed = self.failed = 0
        self.tried: set[str] = set()
        self.folder = plain_copy(place / "from" / NAME)
        (place / "work").mkdir()
        (place / "home").mkdir()
        if "SSL_CERT_FILE" in os.environ:
            # It does not reach every server of an agent; this says the same to uv.
            settings = place / "home" / ".config" / "uv" / "uv.toml"
            settings.parent.mkdir(parents=True)
            settings.write_text("system-certs = true\n", "utf-8")
        self.environment = self._environment()
        self._node_tools = place / "node"

    def _environment(self) -> dict[str, str]:
        """An empty home, and only the caches and the network settings of the user's own."""
        home, own = self.place / "home", Path.home()
        uv_cache = subprocess.run(
            [sys.executable, "-m", "uv", "cache", "dir"], capture_output=True, text=True, check=True
        ).stdout.strip()
        path = [str(home / ".local/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COMFYUI_", "CLAUDE"))},
            "HOME": str(home),
            "USERPROFILE": str(home),
            "PATH": os.pathsep.join(path),
            "UV_CACHE_DIR": uv_cache,
            "npm_config_cache": str(own / ".npm"),
            "COMFYUI_URL": NO_SERVER,
            "DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        }

    def note(self, what: str, good: bool, shown: Any = "") -> bool:
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f"\n     {shown}"), flush=True)
        return good

    def run(self, *command: str, cwd: Path | None = None, timeout: float = 300) -> tuple[int, str]:
        """(exit code, all that it said). The program is looked up on the trial's own path."""
        program = shutil.which(command[0], path=self.environment["PATH"])
        if program is None:
            return 127, f"{command[0]} is missing."
        done = subprocess.run(
            [program, *command[1:]],
            cwd=cwd or self.place / "work",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout

    def line(self, line: str, *, folder: Path | None = None, cwd: Path | None = None) -> bool:
        """Run a line of the README as it is written, with FOLDER filled in; it has to succeed."""
        self.tried.add(line)
        words = [part.strip("'\"") for part in re.findall(r"'[^']*'|\"[^\"]*\"|\S+", line)]
        words = [word.replace("FOLDER", str(folder or self.folder)) for word in words]
        code, said = self.run(*words, cwd=cwd)
        return self.note(line, code == 0, said[-1500:])

    def says(self, what: str, wanted: str, *command: str, cwd: Path | None = None) -> None:
        """Run a command that has to succeed and to say something."""
        code, said = self.run(*command, cwd=cwd)
        self.note(f"  {what}", code == 0 and wanted in said, said[-1500:])

    def drive(self, what: str, *command: str) -> None:
        """Start what was installed, as an MCP client does: its tools are ours, it says that no ComfyUI is there,
        and it has its references.
        """
        began = time.monotonic()
        program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
        server = StdioServerParameters(
            command=program, args=list(command[1:]), env=self.environment, cwd=self.place / "work"
        )

        async def drive() -> tuple[list[str], bool, int]:
            with anyio.fail_after(120):
                async with Client(server) as client:
                    tools = [tool.name for tool in (await client.list_tools()).tools]
                    status = (await client.call_tool("check_status", {})).structured_content or {}
                    reference = await client.read_resource("comfyui://references/troubleshooting.md")
                    return tools, status.get("online") is False, len(reference.model_dump_json())

        tools, offline, characters = anyio.run(drive)
        good = tools == list(TOOLS) and offline and characters > 1000
        self.note(f"  {what}, {time.monotonic() - began:.1f} s", good, (tools, offline, characters))

    def by_uv_and_pip(self) -> None:
        self.line("uv tool install FOLDER")
        self.line("uv tool dir --bin")
        self.drive("served by what uv installed", NAME, "serve")
        self.tried.add("uvx --from FOLDER comfyui-api serve")
        self.drive("uvx --from FOLDER comfyui-api serve", "uvx", "--from", str(self.folder), NAME, "serve")
        self.run("uv", "venv", "--seed", "--quiet", str(self.place / "venv"))
        binaries = self.place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.environment["PATH"] = os.pathsep.join([str(binaries), self.environment["PATH"]])
        self.line("pip install FOLDER")
        self.drive("served by what pip installed", str(binaries / NAME), "serve")
        self.environment["PATH"] = self.environment["PATH"].split(os.pathsep, 1)[1]

    def as_a_skill(self) -> None:
        """The skill's folder, checked, and copied by an installer, from a folder and from a git repository."""
        self.says(
            "agentskills validate",
            "Valid skill",
            "uvx",
            "--from",
            SKILLS_REF,
            "agentskills",
            "validate",
            str(self.folder),
        )
        self.run("git", "init", "--quiet", cwd=self.folder)
        self.run("git", "add", "--all", cwd=self.folder)
        self.run("git", "-c", "user.name=trial", "-c", "user.email=", "commit", "--quiet", "-m", "x", cwd=self.folder)
        for source, line in ((str(self.folder), "npx skills add FOLDER"), (f"file://{self.folder}/.git", "")):
            self.tried.add(line)
            into = self.place / ("project" if line else "project-git")
            into.mkdir()
            command = ("npx", "--yes", SKILLS, "add", source, "--agent", "claude-code", "--agent", "codex", "--yes")
            code, said = self.run(*command, cwd=into)
            copies = [path.parent for path in into.glob("*/skills/*/SKILL.md") if not path.parent.is_symlink()]
            whole = bool(copies) and all(set(project_files(copy)) == set(project_files(self.folder)) for copy in copies)
            self.note(line or "npx skills add GIT_ADDRESS", code == 0 and whole, (copies, said[-1500:]))
            # It lies in a repository of the user's now, whose .gitignore may name anything.
            (into / ".gitignore").write_text("server/\nreferences/\n*.json\n", "utf-8")
            for copy in copies[:1]:
                (copy / ".gitignore").unlink()
                self.drive("served from the copied skill", "uvx", "--from", str(copy), NAME, "serve")

    def as_a_bundle(self) -> None:
        """The MCP bundle: valid, lean, and served from what is in it."""
        bundle = self.place / "work" / f"{NAME}.mcpb"
        self.says("mcpb validate", "passes", "npx", "--yes", MCPB, "validate", str(self.folder / "manifest.json"))
        self.tried.add("npx @anthropic-ai/mcpb pack FOLDER comfyui-api.mcpb")
        code, said = self.run("npx", "--yes", MCPB, "pack", str(self.folder), str(bundle))
        unpacked = self.place / "unpacked"
        with zipfile.ZipFile(bundle) as packed:
            top = {name.split("/")[0] for name in packed.namelist()}
            packed.extractall(unpacked)
        lean = {"manifest.json", "pyproject.toml", "README.md", "LICENSE", "server", "references", "foundation"}
        small = bundle.stat().st_size < 2_000_000
        self.note(
            "npx @anthropic-ai/mcpb pack FOLDER comfyui-api.mcpb", code == 0 and top == lean and small, (top, said)
        )
        configured = json.loads((unpacked / "manifest.json").read_text("utf-8"))["server"]
        arguments = [part.replace("${__dirname}", str(unpacked)) for part in configured["mcp_config"]["args"]]
        self.drive("served as the manifest says", configured["mcp_config"]["command"], *arguments)
        entry = str(unpacked / configured["entry_point"])
        self.drive("served by its entry point", "uv", "run", "--project", str(unpacked), entry)

    def by_claude_code(self) -> None:
        self.says(
            "claude plugin validate", "Validation passed", "claude", "plugin", "validate", "--strict", str(self.folder)
        )
        plugin = str(self.folder / ".claude-plugin" / "plugin.json")
        self.says("claude plugin validate", "Validation passed", "claude", "plugin", "validate", "--strict", plugin)
        self.line("claude mcp add --scope user comfyui-api -- comfyui-api serve")
        self.says("it answers", "Connected", "claude", "mcp", "get", NAME)
        self.run("claude", "mcp", "remove", "--scope", "user", NAME)
        self.line("claude plugin marketplace add FOLDER")
        self.line("claude plugin install comfyui-api@comfyui-api")
        self.says("the plugin's server answers", "Connected", "claude", "mcp", "list")
        self.says("the plugin has the skill", f"Skills (1)  {NAME}", "claude", "plugin", "details", NAME)
        self.run("claude", "plugin", "uninstall", f"{NAME}@{NAME}")
        # The folder itself, opened in Claude Code: its .mcp.json, once approved.
        settings = self.folder / ".claude" / "settings.local.json"
        settings.parent.mkdir()
        settings.write_text('{"enableAllProjectMcpServers": true}', "utf-8")
        self.says(".mcp.json of the opened folder answers", "Connected", "claude", "mcp", "list", cwd=self.folder)
        shutil.rmtree(settings.parent)

    def by_codex(self) -> None:
        self.line("codex mcp add comfyui-api -- comfyui-api serve")
        self.note("  it answers", self._codex_sees() == set(TOOLS))

    def _codex_sees(self) -> set[str]:
        """The names of our tools as Codex has them, from its own server for editors."""
        program = shutil.which("codex", path=self.environment["PATH"])
        assert program is not None
        with subprocess.Popen(
            [program, "app-server"],
            env=self.environment,
            cwd=self.place / "work",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as codex:
            assert codex.stdin is not None
            assert codex.stdout is not None
            try:
                for message in (
                    {"id": 0, "method": "initialize", "params": {"clientInfo": {"name": "trial", "version": "1"}}},
                    {"method": "initialized"},
                    {"id": 1, "method": "mcpServerStatus/list", "params": {}},
                ):
                    codex.stdin.write(json.dumps(message) + "\n")
                    codex.stdin.flush()
                for line in codex.stdout:
                    if (reply := json.loads(line)).get("id") == 1:
                        servers = {one["name"]: one for one in reply["result"]["data"]}
                        return set(servers[NAME]["tools"])
                return set()
            finally:
                codex.kill()

    def by_gemini(self) -> None:
        self.says("gemini extensions validate", "successfully", "gemini", "extensions", "validate", str(self.folder))
        self.line("gemini mcp add --scope user comfyui-api comfyui-api serve")
        self.says("it answers", "- Connected", "gemini", "mcp", "list")
        self.run("gemini", "mcp", "remove", "--scope", "user", NAME)
        self.tried.add("gemini extensions install FOLDER")
        code, said = self.run("gemini", "extensions", "install", str(self.folder), "--consent")
        self.note("gemini extensions install FOLDER", code == 0, said[-1500:])
        installed = self.place / "home/.gemini/extensions" / NAME
        # A first start builds the package, which takes longer than this list waits.
        self.drive("served from the extension", "uvx", "--from", str(installed), NAME, "serve")
        self.says("it answers", "- Connected", "gemini", "mcp", "list")

    def everything_was_tried(self, *, with_agents: bool) -> None:
        said = installation_lines((ROOT / "README.md").read_text("utf-8"))
        not_run = NOT_RUN if with_agents else NOT_RUN | dict.fromkeys(BY_AGENTS, "The agents were left out.")
        for start, reason in not_run.items():
            print(f"     not run: {start}: {reason}")
        left = {line for line in said - self.tried if not line.startswith(tuple(not_run))}
        self.note("all lines of the README are tried", not left, left)
        gone = self.tried - said - {""}
        self.note("all lines tried stand in the README", not gone, gone)

    def run_all(self, *, with_agents: bool) -> None:
        self.by_uv_and_pip()
        self.as_a_skill()
        self.as_a_bundle()
        if with_agents:
            self.by_agents()
        self.everything_was_tried(with_agents=with_agents)

    def by_agents(self) -> None:
        code, said = self.run("npm", "install", "--silent", "--prefix", str(self._node_tools), *AGENTS)
        self.note("npm install of the agents", code == 0, said[-1500:])
        binaries = str(self._node_tools / "node_modules" / ".bin")
        self.environment["PATH"] = os.pathsep.join([binaries, self.environment["PATH"]])
        self.by_claude_code()
        self.by_codex()
        self.by_gemini()


def main() -> None:
    with_agents = "--without-agents" not in sys.argv[1:]
    for program in ("npx", "git"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing.")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        trial = Trial(Path(place).resolve())
        trial.run_all(with_agents=with_agents)
    print(f"installation: {trial.passed} passed, {trial.failed} failed, {time.monotonic() - began:.0f} s")
    sys.exit(bool(trial.failed))


if __name__ == "__main__":
    main()
