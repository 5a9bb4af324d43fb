"""references/workflows.md as the tests read it: its example prompts, its tables of families, and the templates they are
from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from comfyui_api import sandbox
from comfyui_api.documents import reference
from comfyui_api.workspace import read_settings
from tests.oracle import newest_templates
from tests.support import Prompt

DOCUMENT = reference("workflows.md")
MODEL_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".bin")
_EXAMPLE = re.compile(r"From the template `([^`]+)` \(([^)]+)\)\.(?:(?!\n\n).)*\n\n```json\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """An example of the document: the heading it stands under, the official template its values are from and the
    ComfyUI that it needs ("old": no recent server has the template), and the prompt."""

    heading: str
    template: str
    since: str
    text: str

    @property
    def prompt(self) -> Prompt:
        prompt: Prompt = json.loads(self.text)
        return prompt

    def models(self) -> Iterator[str]:
        """The model files that it loads."""
        for node in self.prompt.values():
            for value in node["inputs"].values():
                if isinstance(value, str) and value.endswith(MODEL_ENDINGS):
                    yield value


@dataclass(frozen=True)
class Family:
    """A line of a table: what stands in backticks in it, its numbers, and the template it is from."""

    name: str
    tokens: tuple[str, ...]
    numbers: tuple[float, ...]
    template: str
    since: str


def patterns() -> list[Pattern]:
    """All examples, in their order."""
    return [
        Pattern(_heading_before(found.start()), found[1], found[2], found[3]) for found in _EXAMPLE.finditer(DOCUMENT)
    ]


def _heading_before(place: int) -> str:
    headings: list[str] = re.findall(r"^#{2,3} (.+)$", DOCUMENT[:place], re.MULTILINE)
    return headings[-1]


def families() -> list[Family]:
    """All lines of the tables of families; what "as X" refers to is filled in."""
    cells = {
        row[0]: row[1:]
        for line in DOCUMENT.splitlines()
        if line.startswith("| ") and len(row := [cell.strip() for cell in line.split("|")[1:-1]]) == 7
    }
    found = []
    for name, (model, encoders, vae, latent, sampling, origin) in cells.items():
        if name == "family":
            continue
        whole = cells[encoders.removeprefix("as ")][1] if encoders.startswith("as ") else encoders
        told = " ".join((model, whole, vae, latent, sampling))
        plain = re.sub(r"`[^`]*`", " ", told)
        (template,) = re.findall(r"`([^`]+)`", origin)
        found.append(
            Family(
                name,
                tuple(re.findall(r"`([^`]+)`", told)),
                tuple(float(number) for number in re.findall(r"\d+(?:\.\d+)?", plain.replace("1 megapixel", ""))),
                template,
                origin.rpartition(" ")[2],
            )
        )
    return found


@lru_cache(maxsize=1)
def official_templates() -> dict[str, dict[str, Any]]:
    """The official templates as UI workflows by name: the sandbox's older ones, and over them the newest."""
    environment = sandbox.default_home(read_settings(os.environ)) / "env"
    older = {
        file.stem: file
        for packages in ("lib/python*/site-packages", "Lib/site-packages")
        for file in environment.glob(f"{packages}/comfyui_workflow_templates_media_*/templates/*.json")
    }
    newer = {file.stem: file for file in newest_templates().glob("*.json")}
    contents = {name: json.loads(file.read_text("utf-8")) for name, file in {**older, **newer}.items()}
    return {name: content for name, content in contents.items() if isinstance(content, dict) and "nodes" in content}


def oldest_servers() -> dict[str, str]:
    """The ComfyUI that each of the newest templates needs, as their index says."""
    index = json.loads((newest_templates() / "index.json").read_text("utf-8"))
    return {each["name"]: each.get("minComfyUIVersion", "") for module in index for each in module["templates"]}


def nodes_of(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a UI workflow, also of those inside its subgraphs."""
    graphs = (workflow, *workflow.get("definitions", {}).get("subgraphs", []))
    return [node for graph in graphs for node in graph["nodes"]]


def values_of(nodes: list[dict[str, Any]]) -> list[Any]:
    """All widget values of nodes."""
    found: list[Any] = []
    for node in nodes:
        widgets = node.get("widgets_values") or []
        found.extend(widgets.values() if isinstance(widgets, dict) else widgets)
    return found


def holds(values: list[Any], value: Any) -> bool:
    """Whether a value is among them; the editor saves 3.5 as 3.5000000000000004."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value in values
    return any(
        isinstance(each, int | float) and not isinstance(each, bool) and abs(each - value) < 1e-6 for each in values
    )


def is_fixed(name: str) -> bool:
    """Whether an input keeps the template's value: texts, seeds and file names are the example's own."""
    # `resolution_steps` is for newer servers, and not in older templates.
    return name not in {
        "resolution_steps",
        "text",
        "prompt",
        "tags",
        "lyrics",
        "seed",
        "noise_seed",
        "filename_prefix",
        "image",
        "file",
        "device",
    }
