"""What workflows and Managers say of their models."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from comfyui_api.model_sources.places import SHA256, direct_link, last_part, links_in, place_of, shown, size_of
from comfyui_api.model_sources.source import ModelSource

# What a Manager's "default" save_path means, by its type (ComfyUI-Manager, model lists).
_FOLDERS_OF_TYPES = {
    "checkpoint": "checkpoints",
    "unclip": "checkpoints",
    "clip": "text_encoders",
    "clip_vision": "clip_vision",
    "controlnet": "controlnet",
    "t2i-adapter": "controlnet",
    "t2i-style": "controlnet",
    "diffusion_model": "diffusion_models",
    "unet": "diffusion_models",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "gligen": "gligen",
    "lora": "loras",
    "upscale": "upscale_models",
    "vae": "vae",
}


def model_entries(ui_graph: Any) -> Iterator[Any]:
    """Every entry of a list of models in a UI workflow, in the order in which they stand there."""
    if not isinstance(ui_graph, dict):
        return
    yield from _list(ui_graph.get("models"))
    waiting: deque[Any] = deque([ui_graph])
    while waiting:
        graph = waiting.popleft()
        if not isinstance(graph, dict):
            continue
        for node in _list(graph.get("nodes")):
            properties = node.get("properties") if isinstance(node, dict) else None
            yield from _list(properties.get("models") if isinstance(properties, dict) else None)
        definitions, extra = graph.get("definitions"), graph.get("extra")
        if isinstance(definitions, dict):
            waiting += _list(definitions.get("subgraphs"))
        groups = extra.get("groupNodes") if isinstance(extra, dict) else None
        if isinstance(groups, dict):
            waiting += groups.values()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def of_entry(entry: Any) -> ModelSource | str:
    """One entry of `properties.models`, or what is wrong with it."""
    said = _texts(entry, "name", "directory", "url", "hash", "hash_type")
    if not said["name"]:
        return "An entry of the workflow's models has no name."
    place = place_of(said["directory"], said["name"])
    if isinstance(place, str):
        return f"The workflow's model “{shown(said['name'])}” is passed over: {place}."
    links = links_in(said["url"])
    if not links:
        return f"The workflow gives no link for its model “{shown(said['name'])}” that can be used."
    url = direct_link(links[0])
    is_sha256 = said["hash_type"].casefold().replace("-", "") == "sha256"
    digest = SHA256.fullmatch(said["hash"].strip()) if is_sha256 else None
    return ModelSource(
        file=place[1],
        folder=place[0],
        url=url,
        page=links[0] if url is None else None,
        sha256=digest[0].lower() if digest else None,
        origin="workflow",
    )


def of_manager_entry(entry: Any) -> ModelSource | str:
    """One entry of a Manager's list of models, or what is wrong with it."""
    said = _texts(entry, "filename", "save_path", "type", "url", "reference", "size")
    file, folder = said["filename"], said["save_path"]
    if folder == "default":
        folder = _FOLDERS_OF_TYPES.get(said["type"].casefold(), "")
    if file == "<huggingface>":
        # A whole repository, fetched into a folder of its name.
        file = last_part(said["url"])
        said["url"] = ""
    place = place_of(folder, file)
    if isinstance(place, str):
        return f"The Manager's model “{shown(file)}” is passed over: {place}."
    links = links_in(said["url"])
    url = direct_link(links[0]) if links else None
    pages = links_in(said["reference"]) or [link for link in links if url is None]
    if url is None and not pages:
        return f"The Manager gives no link for its model “{shown(file)}” that can be used."
    return ModelSource(
        file=place[1],
        folder=place[0],
        url=url,
        page=pages[0] if pages else None,
        # Its sizes are copied from the pages: Hugging Face counts thousands, GitHub 1,024s.
        size=size_of(said["size"], binary=bool(url and url.startswith("https://github.com/"))),
        origin="manager",
    )


def _texts(entry: Any, *names: str) -> dict[str, str]:
    """The texts of those names; "" for what is missing or no text."""
    values = ((name, entry.get(name) if isinstance(entry, dict) else None) for name in names)
    return {name: value.strip() if isinstance(value, str) else "" for name, value in values}
