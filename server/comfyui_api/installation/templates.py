"""The official workflow templates as an installation on this machine has them: files of Python packages."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = "comfyui_workflow_templates*"
INDEX = "index"
SIZE_LIMIT = 64 * 2**20
_ENVIRONMENTS = ("venv", ".venv", "env", "python_embeded", "../venv", "../.venv", "../python_embeded")
_SITE_PACKAGES = ("lib/python3*/site-packages", "Lib/site-packages")


def template_file(name: str, comfyui: Path | None) -> Any:
    """The JSON of a template, or of their index ("index"), from the Python environment of the installation in
    `comfyui`, or from that of this program; None where neither has it."""
    if not name or set(name) & set("/\\\0") or name.startswith("."):
        return None
    for folder in _folders(comfyui):
        file = folder / "templates" / f"{name}.json"
        try:
            if file.is_file() and file.stat().st_size <= SIZE_LIMIT:
                return json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):  # one that cannot be read is as good as none
            continue
    return None


def _folders(comfyui: Path | None) -> Iterator[Path]:
    places = [Path(sysconfig.get_paths()["purelib"])]
    if comfyui is not None:
        # Its own first: they fit its version.
        own = [comfyui / environment for environment in _ENVIRONMENTS]
        places[:0] = [place for root in own for pattern in _SITE_PACKAGES for place in sorted(root.glob(pattern))]
    for place in places:
        yield from sorted(folder for folder in place.glob(PACKAGES) if folder.is_dir())
