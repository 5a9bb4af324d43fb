"""The MCP inspector's command line against the server: strict lists, and one real call of each tool, in both eras.

Runs the inspector by npx and the tools against a sandbox, or the server that COMFYUI_URL names. Exits 1 on any finding.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from comfyui_api import sandbox
from comfyui_api.tools import TOOLS
from comfyui_api.workspace import read_settings

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
ERAS = ("modern", "legacy")
PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 3368601}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "inspected"}},
}


class Inspection:
    """Calls of the inspector, counted. `home` is the server's working folder."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        # The inspector hands only what it is told on to the server.
        self._settings = [f"COMFYUI_API_HOME={home}", f"COMFYUI_URL={url}"]
        self.passed = 0
        self.failed = 0

    def inspect(self, *options: str) -> tuple[int, dict[str, Any], list[str]]:
        """(exit code, reply, what it had to say) of one call of the inspector."""
        npx = shutil.which("npx")
        if npx is None:
            sys.exit("npx is missing: install Node.js 20 or newer.")
        command = [npx, "--yes", INSPECTOR, "--cli", sys.executable, "-m", "comfyui_api", "serve", "--format", "json"]
        command += [part for setting in self._settings for part in ("-e", setting)]
        done = subprocess.run(
            [*command, *options],
            cwd=self._home,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=180,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("npm ")]
        reply = json.loads(done.stdout) if done.stdout.strip() else {}
        return done.returncode, reply.get("result", {}), said

    def list_tools(self, era: str) -> None:
        """With mere warnings the inspector exits 0 as well, but says so: only silence is a pass."""
        code, result, said = self.inspect("--method", "tools/list", "--strict", "--protocol-era", era)
        names = [tool["name"] for tool in result.get("tools", [])]
        self.note(f"{era} tools/list --strict", code == 0 and not said and names == list(TOOLS), said or names)

    def list_others(self, era: str) -> None:
        """Resources, their templates and prompts; and one of each read."""
        for method, key in (("resources/list", "resources"), ("prompts/list", "prompts")):
            code, result, said = self.inspect("--method", method, "--protocol-era", era)
            self.note(f"{era} {method}", code == 0 and not said and bool(result.get(key)), said or result)
        method = "resources/templates/list"
        code, result, said = self.inspect("--method", method, "--protocol-era", era)
        self.note(f"{era} {method}", code == 0 and not said and bool(result.get("resourceTemplates")), said or result)
        for uri in ("comfyui://inventory", "comfyui://nodes/EmptyImage", "comfyui://references/workflows.md"):
            code, result, said = self.inspect("--method", "resources/read", "--uri", uri, "--protocol-era", era)
            self.note(f"{era} resources/read {uri}", code == 0 and bool(result.get("contents")), said or result)
        prompt = ("--prompt-name", "run_workflow_file", "--prompt-args", "workflow=x.png")
        code, result, said = self.inspect("--method", "prompts/get", *prompt, "--protocol-era", era)
        self.note(f"{era} prompts/get", code == 0 and "x.png" in json.dumps(result), said or result)

    def call(self, era: str, tool: str, expected: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """Call a tool; `expected` are fields that its structured content must have."""
        code, result, said = self.inspect(
            *("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)),
            *("--protocol-era", era),
        )
        content: dict[str, Any] = result.get("structuredContent", {})
        good = code == 0 and all(content.get(name) == value for name, value in expected.items())
        self.note(f"{era} {tool}", good, content or result or said)
        return content

    def note(self, what: str, good: bool, shown: Any) -> None:
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {shown}"), flush=True)

    def run(self, era: str) -> None:
        Image.new("RGB", (32, 32), "teal").save(self._home / "x.png")
        self.list_tools(era)
        self.call(era, "check_status", {"online": True})
        self.call(era, "upload_image", {"type": "input"}, path="x.png")
        self.call(era, "find_nodes", {}, query="empty image")
        self.call(era, "find_models", {}, query="vae")
        self.call(era, "find_templates", {}, query="text to image")
        self.call(era, "save_workflow", {}, workflow=PROMPT, name="inspected")
        self.call(era, "validate_workflow", {"valid": True}, workflow=PROMPT)
        queued = self.call(era, "queue_workflow", {"status": "queued"}, workflow=PROMPT)
        prompt_id = queued.get("prompt_id", "none")
        self.call(era, "poll_result", {"state": "completed"}, prompt_id=prompt_id)
        self.call(era, "get_output", {"message": "1 file saved."}, prompt_id=prompt_id)
        self.call(era, "interrupt", {"state": "completed", "stopped": []}, prompt_id=prompt_id)
        self.call(era, "list_jobs", {})
        self.call(era, "free_vram", {"applied": "now"})
        self.list_others(era)


def main() -> None:
    settings = read_settings(os.environ)
    place = sandbox.default_home(settings)
    name = f"inspect-{os.getpid()}"
    url = os.environ.get("COMFYUI_URL")
    if url is None:
        index = settings.sandbox_torch_index
        url = sandbox.start(place, name=name, torch_index=index, say=print, confirm=lambda _: False).url
    try:
        with tempfile.TemporaryDirectory() as home:
            inspection = Inspection(Path(home), str(url))
            for era in ERAS:
                inspection.run(era)
    finally:
        if "COMFYUI_URL" not in os.environ:
            sandbox.stop(place, name=name)
            sandbox.remove(place, name=name)
    print(f"inspector: {inspection.passed} passed, {inspection.failed} failed")
    sys.exit(bool(inspection.failed))


if __name__ == "__main__":
    main()
