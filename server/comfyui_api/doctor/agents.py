"""Coding agents whose configuration names comfyui-api: only whether it does, never what stands there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from comfyui_api.doctor.check import Check

NAMES = ("comfyui-api", "comfyui_api")
LARGEST = 64 * 2**20  # bytes; Claude Code keeps its history in the same file


def agents_that_know_us(environment: Mapping[str, str], person: Path) -> Iterator[Check]:
    """A line for each agent that has comfyui-api as a server or as a skill; a word where none has."""
    found = False
    for agent, paths in _places(environment, person).items():
        for path in paths:
            trouble = _names_us(path)
            if trouble is None:
                continue
            found = True
            if trouble:
                yield Check(agent, "warn", f"{path} cannot be read: {trouble}", "Check its permissions.")
            else:
                yield Check(agent, "ok", f"has an entry in {path}" if path.is_file() else f"has the skill in {path}")
    if not found:
        yield Check(
            "agents", "ok", "no agent's configuration that is known names comfyui-api", "The README has each one."
        )


def _names_us(path: Path) -> str | None:
    """None where a file does not name us or there is none, "" where it does, and else why it cannot be read."""
    try:
        if path.is_dir():
            return ""
        if not path.is_file():
            return None
        if path.stat().st_size > LARGEST:
            return "it is too large"
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        return exc.strerror or str(exc)
    return "" if any(name in text for name in NAMES) else None


def _places(environment: Mapping[str, str], person: Path) -> dict[str, list[Path]]:
    """Where each agent keeps its servers, for the person and for the project in the current folder."""
    if sys.platform == "darwin":
        programs = person / "Library" / "Application Support"
    elif sys.platform == "win32":
        programs = Path(environment.get("APPDATA") or person / "AppData" / "Roaming")
    else:
        programs = Path(environment.get("XDG_CONFIG_HOME") or person / ".config")
    claude = Path(environment.get("CLAUDE_CONFIG_DIR") or person / ".claude")
    codex = Path(environment.get("CODEX_HOME") or person / ".codex")
    here = Path()
    return {
        "Claude Code": [
            person / ".claude.json",
            claude / "skills" / NAMES[0],
            here / ".mcp.json",
            here / ".claude" / "skills" / NAMES[0],
        ],
        "Claude Desktop": [programs / "Claude" / "claude_desktop_config.json"],
        "Codex": [codex / "config.toml", codex / "skills" / NAMES[0], here / ".codex" / "config.toml"],
        "Cursor": [person / ".cursor" / "mcp.json", here / ".cursor" / "mcp.json"],
        "VS Code": [programs / "Code" / "User" / "mcp.json", here / ".vscode" / "mcp.json"],
        "Gemini": [
            person / ".gemini" / "settings.json",
            person / ".gemini" / "extensions" / NAMES[0],
            here / ".gemini" / "settings.json",
        ],
        "other agents": [person / ".agents" / "skills" / NAMES[0], here / ".agents" / "skills" / NAMES[0]],
    }
