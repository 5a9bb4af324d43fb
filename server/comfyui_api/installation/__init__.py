"""A ComfyUI installation on this machine, read from its folders: nothing of it is imported or run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from comfyui_api.errors import InvalidArgument
from comfyui_api.installation.custom_nodes import node_packs, project_of, read_text
from comfyui_api.installation.model_folders import Places, find_models, read_places
from comfyui_api.packs import InstalledPack

__all__ = ["Installation", "Places", "comfyui_folder", "read_places", "scan"]

# One of these makes a folder the one that ComfyUI works in; with --base-directory its code is elsewhere.
MARKS = ("models", "custom_nodes", "comfyui_version.py", "folder_paths.py")
PORTABLE = "ComfyUI"  # below the folder that the portable version for Windows is unpacked to

_VERSION = re.compile(r"^__version__\s*=\s*[\"']([^\"'\s]{1,100})[\"']", re.MULTILINE)


@dataclass(frozen=True)
class Installation:
    """What lies in an installation: models by folder word with sizes in bytes, packs by folder name, embeddings as
    prompts name them. `troubles` are sentences on what could not be read."""

    folder: Path
    comfyui_version: str | None
    models: dict[str, dict[str, int | None]]
    custom_nodes: dict[str, InstalledPack]
    embeddings: list[str]
    troubles: tuple[str, ...] = field(default=())


def scan(folder: Path) -> Installation:
    """Read an installation. Raises InvalidArgument where the folder is none."""
    folder = comfyui_folder(folder)
    places = read_places(folder)
    troubles = list(places.troubles)
    packs = node_packs(places.custom_nodes, troubles)
    models = find_models(places, troubles, gguf=any("gguf" in name.casefold() for name in packs))
    return Installation(
        folder=folder,
        comfyui_version=_version(folder),
        models=models,
        custom_nodes=packs,
        # ComfyUI lists them without their endings, wherever the name has its last dot.
        embeddings=sorted({_without_ending(name) for name in models.get("embeddings", {})}),
        troubles=tuple(troubles),
    )


def comfyui_folder(folder: Path) -> Path:
    """The folder that holds models/ and custom_nodes/: the given one, or ComfyUI/ below it."""
    for candidate in (folder, folder / PORTABLE):
        try:
            if any((candidate / mark).exists() for mark in MARKS):
                return candidate
        except OSError:  # a path that no file can have
            continue
    raise InvalidArgument(
        f"{folder} is no folder of ComfyUI: it has neither {' nor '.join(f'{mark}' for mark in MARKS)}.",
        "Give the folder that has models and custom_nodes in it.",
    )


def _version(folder: Path) -> str | None:
    """ComfyUI's version as its own file has it, without running it."""
    found = _VERSION.search(read_text(folder / "comfyui_version.py") or "")
    if found:
        return found[1]
    project = project_of(folder)
    version = project.get("version") if str(project.get("name", "")).casefold() == "comfyui" else None
    return version if isinstance(version, str) else None


def _without_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and "/" not in ending and "\\" not in ending else name
