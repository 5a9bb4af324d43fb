"""Where an installation keeps its models: ComfyUI's folder words, extra_model_paths.yaml, and the files there.

The words, their folders and endings: folder_paths.py of ComfyUI; the further folders below output/: main.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyui_api.installation.custom_nodes import read_text

WEIGHTS = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})
# What packs load beside that, from ComfyUI's folders or from folders of their own.
PACKS_LOAD = frozenset({".gguf", ".onnx", ".engine", ".trt", ".torchscript"})

# ComfyUI's word for a kind of model → its folders below models/, in the order in which they are searched.
FOLDERS: dict[str, tuple[str, ...]] = {
    "checkpoints": ("checkpoints",),
    "configs": ("configs",),
    "loras": ("loras",),
    "vae": ("vae",),
    "text_encoders": ("text_encoders", "clip"),
    "diffusion_models": ("unet", "diffusion_models"),
    "clip_vision": ("clip_vision",),
    "style_models": ("style_models",),
    "embeddings": ("embeddings",),
    "diffusers": ("diffusers",),
    "vae_approx": ("vae_approx",),
    "controlnet": ("controlnet", "t2i_adapter"),
    "gligen": ("gligen",),
    "upscale_models": ("upscale_models",),
    "latent_upscale_models": ("latent_upscale_models",),
    "hypernetworks": ("hypernetworks",),
    "photomaker": ("photomaker",),
    "classifiers": ("classifiers",),
    "model_patches": ("model_patches",),
    "audio_encoders": ("audio_encoders",),
    "background_removal": ("background_removal",),
    "frame_interpolation": ("frame_interpolation",),
    "geometry_estimation": ("geometry_estimation",),
    "optical_flow": ("optical_flow",),
    "detection": ("detection",),
}
OWN_ENDINGS = {"configs": frozenset({".yaml"}), "classifiers": frozenset({""}), "diffusers": frozenset[str]()}
FORMER_WORDS = {"clip": "text_encoders", "unet": "diffusion_models"}
# Where ComfyUI's own saving nodes put models, below output/.
SAVED = {
    "checkpoints": "checkpoints",
    "clip": "text_encoders",
    "vae": "vae",
    "diffusion_models": "diffusion_models",
    "loras": "loras",
}
# The words that ComfyUI-GGUF declares for .gguf files in these folders.
GGUF_WORDS = {"unet_gguf": "diffusion_models", "clip_gguf": "text_encoders"}

EXTRA_PATHS = ("extra_model_paths.yaml", "extra_models_config.yaml")
NO_MODELS = ("custom_nodes", "download_model_base", "datasets")
DEPTH_LIMIT = 30
FOLDER_LIMIT = 50_000  # folders that are looked into, also when links lead in circles
FILE_LIMIT = 500_000


@dataclass
class Places:
    """The folders of an installation: models by folder word in the order of search, and those with node packs.

    A word whose `endings` is None takes any file. `troubles` are sentences on what could not be read.
    """

    models: dict[str, list[Path]] = field(default_factory=dict)
    endings: dict[str, frozenset[str] | None] = field(default_factory=dict)
    custom_nodes: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def add(self, word: str, folder: Path, *, first: bool = False) -> None:
        if word in NO_MODELS:
            folders = self.custom_nodes if word == "custom_nodes" else []
        else:
            word = FORMER_WORDS.get(word, word)
            folders = self.models.setdefault(word, [])
            self.endings.setdefault(word, None)
        if folder in folders and first:
            folders.remove(folder)
        if folder not in folders:
            folders.insert(0 if first else len(folders), folder)


def read_places(comfyui: Path) -> Places:
    """Where the installation in this folder keeps its models and packs, whether the folders are there or not."""
    places = Places()
    models = comfyui / "models"
    for word, below in FOLDERS.items():
        places.endings[word] = OWN_ENDINGS.get(word, WEIGHTS | PACKS_LOAD)
        for name in below:
            places.add(word, models / name)
    places.add("custom_nodes", comfyui / "custom_nodes")
    # ComfyUI reads the file before it adds these.
    for name in EXTRA_PATHS:
        _add_extra_paths(places, comfyui / name)
    for name, word in SAVED.items():
        places.add(word, comfyui / "output" / name)
    known = {name for below in FOLDERS.values() for name in below} | {*places.models, *NO_MODELS}
    for path in _entries(models, places.troubles):
        if path.is_dir() and path.name not in known and not path.name.startswith("."):
            places.endings[path.name] = WEIGHTS | PACKS_LOAD  # a folder that some pack declares
            places.add(path.name, Path(path.path))
    return places


def _add_extra_paths(places: Places, file: Path) -> None:
    """Further folders by extra_model_paths.yaml: {name: {base_path?, is_default?, word: lines of paths}}."""
    text = read_text(file)
    if text is None:
        return
    import yaml  # noqa: PLC0415  # only where there is such a file

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        places.troubles.append(f"{file} is not valid YAML and was left out: {' '.join(str(exc).split())[:200]}.")
        return
    for name, section in content.items() if isinstance(content, dict) else ():
        if isinstance(section, dict):
            _add_section(places, file, str(name), section)
        elif section is not None:
            places.troubles.append(f"{file.name}: '{name}' names no folders and was left out.")


def _add_section(places: Places, file: Path, name: str, section: dict[Any, Any]) -> None:
    base = section.get("base_path")
    root = file.parent
    if isinstance(base, str):
        try:
            root = root / Path(os.path.expandvars(base)).expanduser()
        except RuntimeError:
            places.troubles.append(f"{file.name}: base_path of '{name}' names a user that is not there.")
            return
    first = bool(section.get("is_default"))
    for word, lines in section.items():
        if word in ("base_path", "is_default"):
            continue
        if not isinstance(word, str) or not isinstance(lines, str):
            places.troubles.append(f"{file.name}: '{word}' of '{name}' is no path and was left out.")
            continue
        for line in filter(None, map(str.strip, lines.split("\n"))):
            if "\0" not in line:
                # Written out without following links, so that the same folder named twice is one.
                places.add(word, Path(os.path.normpath(root / line)), first=first)


def find_models(places: Places, troubles: list[str], *, gguf: bool) -> dict[str, dict[str, int | None]]:
    """The model files by folder word, {name as a loader takes it: bytes}. Of one name the first folder's counts.

    `gguf`: whether a pack is there that declares words of its own for .gguf files.
    """
    budget = _Budget()
    models: dict[str, dict[str, int | None]] = {}
    for word, folders in places.models.items():
        endings = places.endings[word]
        found = models.setdefault(word, {})
        for folder in folders:
            for name, size in _files(folder, budget, troubles):
                if endings is None or os.path.splitext(name)[1].lower() in endings:  # noqa: PTH122  # as ComfyUI does
                    found.setdefault(name, size)
        models[word] = dict(sorted(found.items()))
    if budget.exceeded:
        troubles.append(f"The model folders hold more than {FILE_LIMIT} files or links in circles: not all were read.")
    for word, where in GGUF_WORDS.items() if gguf else ():
        models[word] = {name: size for name, size in models[where].items() if name.lower().endswith(".gguf")}
    return models


@dataclass
class _Budget:
    folders: int = FOLDER_LIMIT
    files: int = FILE_LIMIT

    @property
    def exceeded(self) -> bool:
        return self.folders <= 0 or self.files <= 0


def _files(root: Path, budget: _Budget, troubles: list[str]) -> Iterator[tuple[str, int | None]]:
    """(name relative to root, bytes) of the files below a folder, through links, but never into one's own parents."""
    waiting: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [(str(root), "", ())]
    while waiting and not budget.exceeded:
        folder, prefix, parents = waiting.pop()
        try:
            status = Path(folder).stat()
        except OSError:
            continue
        place = (status.st_dev, status.st_ino)
        if place in parents or len(parents) > DEPTH_LIMIT:
            continue
        budget.folders -= 1
        for entry in _entries(Path(folder), troubles):
            try:
                if entry.is_dir():
                    if entry.name != ".git":
                        waiting.append((entry.path, f"{prefix}{entry.name}{os.sep}", (*parents, place)))
                elif entry.is_file():
                    budget.files -= 1
                    yield prefix + entry.name, entry.stat().st_size
            except OSError:  # gone meanwhile, or a link to nowhere
                continue


def _entries(folder: Path, troubles: list[str]) -> list[os.DirEntry[str]]:
    """What is in a folder, in order; nothing where it is not there."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        troubles.append(f"{folder} could not be read: {exc.strerror}.")
        return []
