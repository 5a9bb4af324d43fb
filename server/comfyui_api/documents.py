"""references/ and foundation/: the knowledge and schemas that stand beside the package.

In a wheel they lie inside the package, in a clone or a copied skill folder at its root; the first that exists counts.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from comfyui_api.errors import FileProblem

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE, _PACKAGE.parent.parent)


def document(name: str) -> Path:
    """The path of e.g. "references/troubleshooting.md"."""
    for root in _ROOTS:
        if (path := root / name).is_file():
            return path
    raise FileProblem(f"{name} is missing from this installation of comfyui-api.", "Install it again.")


def reference(name: str) -> str:
    """The text of a file in references/."""
    return document(f"references/{name}").read_text(encoding="utf-8")


@lru_cache
def schema(name: str) -> Any:
    """A JSON Schema of foundation/, e.g. "inventory"."""
    return json.loads(document(f"foundation/{name}.schema.json").read_text(encoding="utf-8"))
