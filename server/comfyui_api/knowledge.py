"""The references as the code uses them: where models can be had, and which pack has which node class."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from comfyui_api.documents import document, reference
from comfyui_api.model_sources import ModelSources, Origin
from comfyui_api.node_packs import NodePacks
from comfyui_api.storage import text_of

_MODELS = "references/models.md"


def model_tables(home: Path) -> ModelSources:
    """Where models can be had: references/models.md, and over it that of the working folder `home`.

    Where the latter cannot be read, the `problems` begin with that.
    """
    shipped, own = document(_MODELS), home / _MODELS
    known = _read_models(shipped, shipped.stat().st_mtime_ns, "references")
    try:
        if own.samefile(shipped):
            return known
        return known.merged(_read_models(own, own.stat().st_mtime_ns, "working folder"))
    except (FileNotFoundError, NotADirectoryError):
        return known
    except OSError as exc:
        unread = f"{own} could not be read: {exc.strerror or exc}. Correct the file or remove it."
        return ModelSources(known.sources, [unread, *known.problems])


@lru_cache(maxsize=4)
def _read_models(path: Path, _changed: int, origin: Origin) -> ModelSources:
    return ModelSources.parse(text_of(path), origin)


@lru_cache(maxsize=1)
def node_packs() -> NodePacks:
    """Which pack has which node class: references/node_packs.json."""
    return NodePacks.parse(reference("node_packs.json"))
