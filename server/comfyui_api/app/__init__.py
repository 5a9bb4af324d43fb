"""The MCP server: the one place that knows MCP, and where a ComfyError becomes a tool error."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, ToolAnnotations
from mcp_types import Tool as McpTool

from comfyui_api import __version__
from comfyui_api.app import reading
from comfyui_api.app.answers import answer, failure, own_fault
from comfyui_api.errors import ComfyError, UnknownName
from comfyui_api.repair import did_you_mean
from comfyui_api.results import ToolResult
from comfyui_api.tools import INSTRUCTIONS, TOOLS
from comfyui_api.tools.signature import Tool
from comfyui_api.workspace import Workspace, open_workspace, read_settings, working_folder

log = logging.getLogger(__name__)
Context = ServerRequestContext[Workspace, Any]


def build_server(environment: Mapping[str, str], shared: Workspace | None = None) -> Server[Workspace]:
    """The MCP server with all tools. Each session's workspace opens and closes with it, but for one that all share."""

    @asynccontextmanager
    async def lifespan(_: Server[Workspace]) -> AsyncIterator[Workspace]:
        if shared is not None:
            yield shared
            return
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
        on_list_resources=reading.list_resources,
        on_list_resource_templates=reading.list_resource_templates,
        on_read_resource=reading.read_resource,
        on_list_prompts=reading.list_prompts,
        on_get_prompt=reading.get_prompt,
        on_completion=reading.completion,
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
    return ListToolsResult(tools=[published(tool) for tool in TOOLS.values()])


def published(tool: Tool) -> McpTool:
    """A tool as agents see it."""
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
        return answer(await call(context, params.name, params.arguments or {}))
    except ComfyError as exc:
        return failure(exc.code, str(exc))
    except Exception as exc:  # the door
        log.exception("%s failed by a fault of comfyui-api", params.name)
        return failure("internal_error", own_fault(exc))


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
