"""What is told of a pack that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["import", "prestartup", "no_nodes", "skipped"]


@dataclass(frozen=True)
class ImportFailure:
    """A node pack that is installed and failed at ComfyUI's start.

    `pack` is its folder below custom_nodes, or its file without the ending, as in a node class's python_module; for
    a part of ComfyUI itself "comfy_extras.nodes_audio" and the like. `stage` tells what failed: the "import"; the
    "prestartup" script, of a pack that may work all the same; it has "no_nodes"; or it was "skipped" on request.
    `reason` and `advice` are sentences. `exception` is the error in Python's words, in one line. `missing_module` is
    the Python module that has to be installed, where that is what is wrong.
    """

    pack: str
    reason: str
    exception: str | None
    missing_module: str | None
    advice: str
    stage: Stage = "import"


@dataclass(frozen=True)
class StartupLog:
    """What a log tells of the packs at the start: those that were imported, and those that failed."""

    imported: tuple[str, ...]
    failures: tuple[ImportFailure, ...]
