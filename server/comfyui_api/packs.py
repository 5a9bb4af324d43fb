"""Node packs and renamed classes as a running server tells of them: the words between the client and the operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class InstalledPack:
    """A node pack in a server's custom_nodes folder, as its ComfyUI-Manager sees it.

    `version` is the registry's ("1.2.3") or the commit of a git checkout, None where it is not known. `cnr_id` is its
    id in the registry, `repository` an address on the web. A pack that is not `enabled` is there, but not loaded.
    """

    version: str | None = None
    cnr_id: str | None = None
    repository: str | None = None
    enabled: bool = True


@dataclass(frozen=True)
class ClaimingPack:
    """A pack that has a node class, by the list of a server's ComfyUI-Manager.

    One of `registry_id` and `repository` is given. `is_core`: the class is ComfyUI's own, so that updating ComfyUI
    brings it. `preempts`: where several packs claim the class, the list names this one as the right one.
    """

    registry_id: str | None = None
    repository: str | None = None
    title: str | None = None
    is_core: bool = False
    preempts: bool = False


@dataclass(frozen=True)
class NodeReplacement:
    """The class that took an old one's place, by /node_replacements of recent servers.

    `inputs` maps an input of the new class to the input of the old one that it takes over, `set_values` an input of
    the new class to the value that it gets; `outputs` maps an output's old number to its new one. None where the
    server says that all stay as they are.
    """

    new_class: str
    inputs: Mapping[str, str] | None = None
    set_values: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[int, int] | None = None
