"""references/ and foundation/: the knowledge and schemas that stand beside the package.

In a wheel they lie inside the package, in a clone or a copied skill folder at its root; the first that exists counts.
"""

from __future__ import annotations

import json
import re
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


def sections(text: str) -> dict[str, str]:
    """The sections of a Markdown text by the address that forges give their heading ("image-to-3d").

    A section has those below it in it. Of equal headings the first counts.
    """
    lines = text.splitlines(keepends=True)
    headings = []
    fenced = False
    for place, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if not fenced and (heading := re.match(r"(#{1,6}) +(.+)", line)):
            anchor = re.sub(r"[^\w\- ]", "", heading[2].strip().lower()).replace(" ", "-")
            headings.append((place, len(heading[1]), anchor))
    found: dict[str, str] = {}
    for number, (start, level, anchor) in enumerate(headings):
        after = (place for place, other, _ in headings[number + 1 :] if other <= level)
        found.setdefault(anchor, "".join(lines[start : next(after, len(lines))]))
    return found


@lru_cache
def schema(name: str) -> Any:
    """A JSON Schema of foundation/, e.g. "inventory"."""
    return json.loads(document(f"foundation/{name}.schema.json").read_text(encoding="utf-8"))
