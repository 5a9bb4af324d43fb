"""What agents may read beside the tools: what is installed, single node classes, and the documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from comfyui_api.documents import document, reference, sections
from comfyui_api.errors import UnknownName
from comfyui_api.inventory import Inventory
from comfyui_api.known import what_is_known
from comfyui_api.repair import did_you_mean
from comfyui_api.repair.names import printable
from comfyui_api.results import as_json
from comfyui_api.workspace import Workspace

SCHEME = "comfyui://"
PACKS_SHOWN, MODELS_SHOWN = 200, 10
JSON, MARKDOWN = "application/json", "text/markdown"

# By address below the scheme: what it is for. The two large ones are searched by tools.
DOCUMENTS = {
    "references/workflows.md": "Patterns with node chains, model families and minimal prompts: read one section",
    "references/troubleshooting.md": "Causes and remedies of failed runs and of poor pictures",
    "references/templates.md": "The official templates. Long: find_templates searches it",
    "references/models.md": "Where models can be had. Long: find_models searches it",
    "foundation/api-quick-ref.md": "ComfyUI's own HTTP interface",
    "foundation/api-workflow.schema.json": "Schema of a workflow in API format",
    "foundation/tool-results.schema.json": "Schema of every tool's result",
    "foundation/inventory.schema.json": "Schema of state/inventory.json",
    "foundation/project-manifest.schema.json": "Schema of projects/{project}/manifest.yaml",
}


@dataclass(frozen=True)
class Resource:
    """One thing to read. `read` gives its text, or what is to be written as JSON."""

    uri: str
    title: str
    about: str
    media_type: str
    read: Callable[[Workspace], Awaitable[Any]]


@dataclass(frozen=True)
class ResourceTemplate:
    """Things to read by name: `uri` is an RFC 6570 template."""

    uri: str
    title: str
    about: str
    media_type: str


BY_SECTION = ("workflows.md", "troubleshooting.md")
TEMPLATES = (
    ResourceTemplate(
        f"{SCHEME}nodes/{{class_type}}", "Node class", "One node class: inputs, options, outputs, pack", JSON
    ),
    ResourceTemplate(
        f"{SCHEME}references/{{document}}/{{section}}",
        "Section",
        f"One section of {' or '.join(BY_SECTION)} by its heading, e.g. image-to-video",
        MARKDOWN,
    ),
)


def resources() -> list[Resource]:
    """Everything that has an address of its own."""
    return [
        Resource(
            f"{SCHEME}inventory", "Inventory", "What the default server has installed, in short", JSON, _inventory
        ),
        *(_document(address, about) for address, about in DOCUMENTS.items()),
    ]


def resource(uri: str) -> Resource:
    """The resource at an address. Raises UnknownName with the nearest one."""
    known = {each.uri: each for each in resources()}
    if uri in known:
        return known[uri]
    kind, _, name = uri.removeprefix(SCHEME).partition("/")
    if kind == "nodes" and name:
        return _node_class(unquote(name))
    place, _, section = name.partition("/")
    if kind == "references" and place in BY_SECTION and section:
        return _section(place, unquote(section))
    place, mark, section = name.partition("#")
    if kind == "references" and place in BY_SECTION and mark:
        raise UnknownName(
            f"There is no resource '{printable(uri, 200)}'.",
            f"One section is {SCHEME}references/{place}/{quote(section, safe='') or '{section}'}.",
        )
    addresses = [*known, *(template.uri for template in TEMPLATES)]
    raise UnknownName(
        f"There is no resource '{uri[:200]}'.{did_you_mean(uri, addresses)}", f"There are: {', '.join(addresses)}."
    )


def _document(address: str, about: str) -> Resource:
    async def read(_: Workspace) -> str:
        return document(address).read_text(encoding="utf-8")

    media_type = JSON if address.endswith(".json") else MARKDOWN
    return Resource(f"{SCHEME}{address}", address.partition("/")[2], about, media_type, read)


def _section(name: str, section: str) -> Resource:
    async def read(_: Workspace) -> str:
        there = sections(reference(name))
        if section not in there:
            raise UnknownName(
                f"{name} has no section '{section[:100]}'.{did_you_mean(section, there)}",
                f"It has: {', '.join(there)}.",
            )
        return there[section]

    return Resource(f"{SCHEME}references/{name}/{quote(section, safe='')}", section, "A section", MARKDOWN, read)


def _node_class(class_type: str) -> Resource:
    async def read(workspace: Workspace) -> dict[str, Any]:
        from comfyui_api.explore.nodes import find_nodes  # noqa: PLC0415  # the server starts without it

        return as_json(await find_nodes(workspace, class_type=class_type))

    return Resource(f"{SCHEME}nodes/{quote(class_type, safe='')}", class_type, "A node class", JSON, read)


async def _inventory(workspace: Workspace) -> dict[str, Any]:
    known = await what_is_known(workspace, workspace.connect())
    if known.inventory is None:
        raise known.lacking(
            "There is no inventory", "Start ComfyUI, or run `comfyui-api inventory refresh` over an installation."
        )
    return inventory_summary(known.inventory)


def inventory_summary(inventory: Inventory) -> dict[str, Any]:
    """An inventory in few words: packs with versions, models by folder with their number and the first names."""
    packs = {name: pack.version for name, pack in inventory.custom_nodes.items()}
    return {
        "server": inventory.server,
        "comfyui_version": inventory.comfyui_version,
        "age_seconds": round(inventory.age_seconds(datetime.now(UTC))),
        "node_classes": inventory.class_count,
        "custom_nodes": dict(islice(packs.items(), PACKS_SHOWN)),
        "models": {
            folder: {"count": len(files), "first": list(islice(files, MODELS_SHOWN))}
            for folder, files in inventory.models.items()
            if files
        },
        "embeddings": len(inventory.embeddings),
        "to_search": "find_nodes and find_models search it",
    }
