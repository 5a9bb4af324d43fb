"""Results as MCP carries them: text and the same content as structure, pictures, links; cut to what agents can read."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent

from comfyui_api.follow import shorten
from comfyui_api.harmless import escaped, harmless
from comfyui_api.results import ToolResult, as_json

TEXT_LIMIT = 10_000
LINKS_SHOWN = 20
ENDS_SHOWN = 2_000
THE_REST = {
    "findings": "mend these and validate again",
    "outputs": "get_output saves all of them",
    "files": "all are saved in the same folder",
    "missing": "the others for the same reasons",
    "texts": "all are saved in the same folder",
    "runs": "ask for fewer ids at a time",
    "dropped_outputs": "the others depend on the same findings",
    "stopped": "all of them are stopped",
    "models": "give more words or a lower limit",
    "templates": "give more words or a lower limit",
    "nodes": "give more words or a lower limit",
    "servers": "name some of them",
    "repair.packs": "install these and validate again",
    "repair.models": "get these and validate again",
}


def answer(result: ToolResult) -> CallToolResult:
    """A tool's result; its text and its structured content are the same."""
    structured = fitted(as_json(result), TEXT_LIMIT)
    content: list[ContentBlock] = [TextContent(text=compact(structured))]
    content.extend(
        ImageContent(data=base64.b64encode(picture.content).decode(), mime_type=picture.media_type)
        for picture in result.pictures
    )
    content.extend(
        ResourceLink(
            uri=Path(link.path).as_uri(), name=Path(link.path).name, mime_type=link.media_type, size=link.bytes
        )
        for link in result.links[:LINKS_SHOWN]
    )
    return CallToolResult(content=content, structured_content=structured)


def own_fault(exc: Exception) -> str:
    """A fault of ours in words: it must reach the agent with its reason, too."""
    reason = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    return f"comfyui-api itself failed: {reason[:500]}. Its log on stderr has the details."


def failure(code: str, text: str) -> CallToolResult:
    """An error as the agent reads it."""
    whole = f"{code}: {text}"
    if len(whole) > 2 * ENDS_SHOWN:
        # What is wrong stands first, why and what to do about it last.
        whole = f"{whole[:ENDS_SHOWN]} … {whole[-ENDS_SHOWN:]}"
    return CallToolResult(content=[TextContent(text=harmless(whole))], is_error=True)


def fitted(result: dict[str, Any], limit: int) -> dict[str, Any]:
    """The result with its longest lists cut, and then its longest texts, until its text fits.

    `cut` tells of each list how many there were and where the others are.
    """
    whole = {place: len(value) for place, value in _lists(result).items()}
    while len(compact(result)) > limit:
        lengths = {place: len(compact(value)) for place, value in _lists(result).items() if value[1:]}
        if not lengths:
            break
        longest = max(lengths, key=lambda place: lengths[place])
        kept = _lists(result)[longest]
        kept = kept[: len(kept) * 3 // 4]
        name = ".".join(longest)
        note = f"the first {len(kept)} of {whole[longest]}; {THE_REST.get(name, 'ask for less at a time')}"
        result = {**_with(result, longest, kept), "cut": {**result.get("cut", {}), name: note}}
    for length in (2000, 500, 100):
        if len(compact(result)) > limit:
            result = _with_short_texts(result, length)
    return result


def _lists(result: dict[str, Any]) -> dict[tuple[str, ...], list[Any]]:
    """The lists of a result and of the objects in it, by their place."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for name, value in result.items():
        if isinstance(value, list):
            found[name,] = value
        elif isinstance(value, dict):
            found |= {(name, key): item for key, item in value.items() if isinstance(item, list)}
    return found


def _with(result: dict[str, Any], place: tuple[str, ...], value: list[Any]) -> dict[str, Any]:
    name, *below = place
    return {**result, name: {**result[name], below[0]: value} if below else value}


def _with_short_texts(value: Any, length: int) -> Any:
    if isinstance(value, dict):
        return {key: _with_short_texts(item, length) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_short_texts(item, length) for item in value]
    return shorten(value, length) if isinstance(value, str) else value


def compact(value: Any) -> str:
    """JSON without blanks, in which nothing steers a terminal."""
    return escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
