"""The MCP server: the one place that knows MCP, and where a ComfyError becomes a tool error."""

from __future__ import annotations

import base64
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as McpTool

from comfyui_api import __version__
from comfyui_api.errors import ComfyError, UnknownName
from comfyui_api.follow import shorten
from comfyui_api.repair import did_you_mean
from comfyui_api.results import ToolResult, as_json
from comfyui_api.tools import INSTRUCTIONS, TOOLS
from comfyui_api.tools.signature import Tool
from comfyui_api.workspace import Workspace, open_workspace, read_settings, working_folder

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
    "repair.packs": "install these and validate again",
    "repair.models": "get these and validate again",
}

log = logging.getLogger(__name__)
Context = ServerRequestContext[Workspace, Any]


def build_server(environment: Mapping[str, str]) -> Server[Workspace]:
    """The MCP server with all tools; its workspace opens and closes with it."""

    @asynccontextmanager
    async def lifespan(_: Server[Workspace]) -> AsyncIterator[Workspace]:
        async with open_workspace(environment) as workspace:
            yield workspace

    return Server(
        "comfyui-api",
        version=__version__,
        title="ComfyUI",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


async def serve_stdio(environment: Mapping[str, str]) -> None:
    """Serve MCP over standard input and output until the client closes them."""
    from mcp.server.stdio import stdio_server  # noqa: PLC0415  # other transports do without

    settings = read_settings(environment)
    working_folder(settings)  # what is wrong with it is said now, in words, and not from within the protocol
    logging.basicConfig(level=settings.log_level.upper(), stream=sys.stderr)
    server = build_server(environment)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[_published(tool) for tool in TOOLS.values()])


def _published(tool: Tool) -> McpTool:
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=ToolAnnotations(
            read_only_hint=tool.reads_only,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeats,
            open_world_hint=True,
        ),
    )


async def _call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
    try:
        return _answer(await call(context, params.name, params.arguments or {}))
    except ComfyError as exc:
        return _failure(exc.code, str(exc))
    except Exception as exc:  # the door: a fault of ours must reach the agent with its reason too
        log.exception("%s failed by a fault of comfyui-api", params.name)
        reason = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
        return _failure(
            "internal_error", f"comfyui-api itself failed: {reason[:500]}. Its log on stderr has the details."
        )


async def call(context: Context, name: str, arguments: dict[str, Any]) -> ToolResult:
    """Run a tool by name. Raises UnknownName and InvalidArgument for what does not fit its signature."""
    tool = TOOLS.get(name)
    if tool is None:
        raise UnknownName(
            f"There is no tool '{name}'.{did_you_mean(name, TOOLS)}", f"The tools are: {', '.join(TOOLS)}."
        )
    values = tool.parse(arguments)
    if tool.takes_report:
        values["report"] = context.session.report_progress
    return await tool.run(context.lifespan_context, **values)


def _answer(result: ToolResult) -> CallToolResult:
    structured = fitted(as_json(result), TEXT_LIMIT)
    content: list[ContentBlock] = [TextContent(text=_compact(structured))]
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


def _failure(code: str, text: str) -> CallToolResult:
    whole = f"{code}: {text}"
    if len(whole) > 2 * ENDS_SHOWN:
        # What is wrong stands first, why and what to do about it last.
        whole = f"{whole[:ENDS_SHOWN]} … {whole[-ENDS_SHOWN:]}"
    carried = whole.encode("utf-8", "replace").decode()
    return CallToolResult(content=[TextContent(text=carried)], is_error=True)


def fitted(result: dict[str, Any], limit: int) -> dict[str, Any]:
    """The result with its longest lists cut, and then its longest texts, until its text fits.

    `cut` tells of each list how many there were and where the others are.
    """
    whole = {place: len(value) for place, value in _lists(result).items()}
    while len(_compact(result)) > limit:
        lengths = {place: len(_compact(value)) for place, value in _lists(result).items() if value[1:]}
        if not lengths:
            break
        longest = max(lengths, key=lambda place: lengths[place])
        kept = _lists(result)[longest]
        kept = kept[: len(kept) * 3 // 4]
        name = ".".join(longest)
        note = f"the first {len(kept)} of {whole[longest]}; {THE_REST.get(name, 'ask for less at a time')}"
        result = {**_with(result, longest, kept), "cut": {**result.get("cut", {}), name: note}}
    for length in (2000, 500, 100):
        if len(_compact(result)) > limit:
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


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
