"""The words of the tools in those of the console: a person reads `comfyui-api poll ID` for `poll_result('ID')`."""

from __future__ import annotations

import re

from comfyui_api.cli.console import plain

COMMANDS = {
    "check_status": "status",
    "validate_workflow": "validate",
    "queue_workflow": "queue",
    "poll_result": "poll",
    "get_output": "get",
    "upload_image": "upload",
    "list_jobs": "jobs",
    "free_vram": "free",
    "save_workflow": "save",
    "find_nodes": "nodes",
    "find_models": "models",
    "find_templates": "templates",
}
_COMMANDS_OF_CALLS = {"find_models(query, installed=false)": "comfyui-api models find QUERY --available"}
"""Calls whose command is called otherwise than their tool."""
_CALL = re.compile(rf"\b({'|'.join(COMMANDS)})\b(?:\(([^()]*)\))?")
_OPTIONS = {"refresh_inventory": "refresh"}  # where the console's name is another one


def said(text: str) -> str:
    """A sentence of ours for a terminal: tools by their commands, and what it quotes of others made harmless."""
    return plain(in_commands(text))


def in_commands(text: str) -> str:
    """A sentence with the calls of tools in it as commands: free_vram(free_memory=true) is
    `comfyui-api free --free-memory`."""
    for call, command in _COMMANDS_OF_CALLS.items():
        text = text.replace(call, command)
    return _CALL.sub(lambda call: " ".join(["comfyui-api", COMMANDS[call[1]], *_arguments(call[2] or "")]), text)


def _arguments(given: str) -> list[str]:
    arguments: list[str] = []
    for argument in filter(None, (part.strip() for part in given.split(","))):
        name, sign, value = argument.partition("=")
        name = _OPTIONS.get(name, name).replace("_", "-")
        if not sign:
            arguments.append(argument.strip("'\"") if argument[0] in "'\"" else argument.upper())
        else:
            arguments += [f"--{name}"] if value.casefold() == "true" else [f"--{name}", value.strip("'\"")]
    return arguments
