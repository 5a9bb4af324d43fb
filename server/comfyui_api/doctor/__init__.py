"""What is configured, reachable and missing, and how to mend it. Nothing is changed by looking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from comfyui_api.doctor.agents import agents_that_know_us
from comfyui_api.doctor.check import Check, State
from comfyui_api.doctor.configured import check_folders, check_settings
from comfyui_api.doctor.installed import check_installed
from comfyui_api.doctor.reached import check_servers
from comfyui_api.errors import ComfyError
from comfyui_api.workspace import open_workspace, read_settings

__all__ = ["Check", "State", "examine"]


async def examine(environment: Mapping[str, str], person: Path, started_as: str) -> list[Check]:
    """All checks, those of the configuration first. `person` is the user's own folder, which has the agents'
    configuration; `started_as` the path by which this program was started."""
    checks = check_settings(environment)
    try:
        read_settings(environment)
        async with open_workspace(environment) as workspace:
            checks += check_folders(workspace)
            checks += await check_servers(workspace, environment)
    except ComfyError as exc:
        if not any(check.state == "problem" for check in checks):  # else it is told already
            checks.append(Check("working folder", "problem", exc.message, exc.next_step or None))
    return [*checks, *check_installed(environment, started_as), *agents_that_know_us(environment, person)]
