"""What is installed, against what a workflow was made with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from comfyui_api.findings import Update
from comfyui_api.graph import Prompt
from comfyui_api.node_packs import CORE_ID
from comfyui_api.packs import InstalledPack

UPDATE_COMFYUI = "comfy update comfy"
_VERSION = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){1,3})(?:[-+].*)?")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,100}")


class Stamp(NamedTuple):
    """What a node says of the pack that it was made with: its id in the registry, and the version."""

    node_id: str
    cnr_id: str | None
    aux_id: str | None
    version: str | None

    @property
    def names_pack(self) -> bool:
        return bool(self.cnr_id or self.aux_id)


def stamps(prompt: Prompt) -> Iterator[Stamp]:
    """What the nodes of a prompt say of their packs (the editor writes it into _meta)."""
    for node_id, node in prompt.items():
        meta = node.get("_meta") if isinstance(node, dict) else None
        if isinstance(meta, dict):
            told = [meta.get(key) if isinstance(meta.get(key), str) else None for key in ("cnr_id", "aux_id", "ver")]
            yield Stamp(node_id, *told)


def outdated(prompt: Prompt, comfyui_version: str | None, installed: Mapping[str, InstalledPack]) -> list[Update]:
    """Packs, and ComfyUI itself, that are older here than what a node was made with. Versions that are no numbers
    (commits) are passed over."""
    wanted: dict[str, str] = {}
    for stamp in stamps(prompt):
        if stamp.cnr_id is not None and is_older(wanted.get(stamp.cnr_id, "0.0"), stamp.version):
            wanted[stamp.cnr_id] = str(stamp.version)
    found = []
    for pack_id, version in wanted.items():
        here = comfyui_version if pack_id == CORE_ID else _version_of(pack_id, installed)
        if is_older(here, version):
            name = "ComfyUI" if pack_id == CORE_ID else pack_id
            found.append(Update(name, str(here), version, UPDATE_COMFYUI if pack_id == CORE_ID else update(pack_id)))
    return found


def update(pack_id: str) -> str | None:
    """The command that updates a pack of the registry, for ids that mean nothing else to a shell."""
    return f"comfy node update {pack_id}" if _ID.fullmatch(pack_id) else None


def is_older(one: Any, other: Any) -> bool:
    """Whether one version is lower than another; False where either is no version in numbers."""
    here, there = (_VERSION.fullmatch(str(version or "")) for version in (one, other))
    if here is None or there is None:
        return False
    first, second = ([int(part) for part in found[1].split(".")] + [0, 0, 0] for found in (here, there))
    return first[:4] < second[:4]


def _version_of(pack_id: str, installed: Mapping[str, InstalledPack]) -> str | None:
    for folder, pack in installed.items():
        if (pack.cnr_id or folder).casefold() == pack_id.casefold():
            return pack.version
    return None
