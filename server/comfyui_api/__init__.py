"""comfyui-api: operate ComfyUI from a coding agent or a script.

The package is a house of six floors; imports point down (tests/test_floors.py names every room):
5 doors (`__main__`, `cli`, `app`), 4 `tools`, 3 operations, 2 adapters, 1 knowledge, 0 vocabulary.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfyui_api.convert import Conversion, convert_workflow
    from comfyui_api.findings import Finding
    from comfyui_api.node_class import NodeClasses
    from comfyui_api.validate import validate_prompt

__version__ = "0.1.0"
__all__ = ["Conversion", "Finding", "NodeClasses", "convert_workflow", "validate_prompt"]

_ROOMS = {
    "Conversion": "comfyui_api.convert",
    "Finding": "comfyui_api.findings",
    "NodeClasses": "comfyui_api.node_class",
    "convert_workflow": "comfyui_api.convert",
    "validate_prompt": "comfyui_api.validate",
}


def __getattr__(name: str) -> Any:
    """The public names, imported on first use: the server starts without them."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)
