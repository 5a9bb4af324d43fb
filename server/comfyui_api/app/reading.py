"""Resources, prompts and completion over MCP: the same things as in tools/, in the protocol's words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
)
from mcp_types import Prompt as McpPrompt
from mcp_types import PromptArgument as McpPromptArgument

from comfyui_api.app.answers import TEXT_LIMIT, compact, fitted, own_fault
from comfyui_api.errors import ComfyError, UnknownName
from comfyui_api.repair import did_you_mean
from comfyui_api.tools.completion import complete
from comfyui_api.tools.prompts import PROMPTS
from comfyui_api.tools.resources import TEMPLATES, resource, resources
from comfyui_api.workspace import Workspace

log = logging.getLogger(__name__)
Context = ServerRequestContext[Workspace, Any]


async def list_resources(_: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
    return ListResourcesResult(
        resources=[
            Resource(uri=each.uri, name=each.title, description=each.about, mime_type=each.media_type)
            for each in resources()
        ]
    )


async def list_resource_templates(_: Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
    return ListResourceTemplatesResult(
        resource_templates=[
            ResourceTemplate(uri_template=each.uri, name=each.title, description=each.about, mime_type=each.media_type)
            for each in TEMPLATES
        ]
    )


async def read_resource(context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    uri = str(params.uri)
    with _told(uri):
        found = resource(uri)
        content = await found.read(context.lifespan_context)
    text = content if isinstance(content, str) else compact(fitted(content, TEXT_LIMIT))
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=found.media_type, text=text)])


async def list_prompts(_: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
    return ListPromptsResult(
        prompts=[
            McpPrompt(
                name=prompt.name,
                title=prompt.title,
                description=prompt.about,
                arguments=[
                    McpPromptArgument(name=each.name, description=each.about, required=each.required)
                    for each in prompt.arguments
                ],
            )
            for prompt in PROMPTS.values()
        ]
    )


async def get_prompt(_: Context, params: GetPromptRequestParams) -> GetPromptResult:
    with _told(params.name):
        if (prompt := PROMPTS.get(params.name)) is None:
            raise UnknownName(
                f"There is no prompt '{params.name[:200]}'.{did_you_mean(params.name, PROMPTS)}",
                f"The prompts are: {', '.join(PROMPTS)}.",
            )
        text = prompt.filled(params.arguments or {})
    return GetPromptResult(
        description=prompt.about, messages=[PromptMessage(role="user", content=TextContent(text=text))]
    )


async def completion(context: Context, params: CompleteRequestParams) -> CompleteResult:
    with _told(params.argument.name):
        found = await complete(context.lifespan_context, params.argument.name, params.argument.value)
    has_more = found.total > len(found.values)
    return CompleteResult(completion=Completion(values=found.values, total=found.total, has_more=has_more))


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors as the protocol has them here, where no result can carry one; with their reasons."""
    try:
        yield
    except ComfyError as exc:
        raise MCPError(INVALID_PARAMS, f"{exc.code}: {exc}") from exc
    except Exception as exc:  # the door
        log.exception("%s failed by a fault of comfyui-api", what)
        raise MCPError(INTERNAL_ERROR, own_fault(exc)) from exc
