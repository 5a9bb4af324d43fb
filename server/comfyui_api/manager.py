"""What a server's ComfyUI-Manager answers, parsed. A reply of another shape raises KeyError, TypeError, ValueError or
AttributeError, which the client takes for "there is no Manager"; a broken entry of a sound reply is passed over.

Shapes: manager_server.py of ComfyUI-Manager 3 (a node pack, routes as they are) and 4 (a Python package, routes below
/v2), which answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import islice
from typing import Any

from comfyui_api.import_failures import ImportFailure, told_failure
from comfyui_api.model_sources import ModelSource, ModelSources
from comfyui_api.packs import ClaimingPack, InstalledPack

NAME_LENGTH = 255  # characters of a name or version; a longer one is none
URL_LENGTH = 2000
MOST_INSTALLED = 5000
MOST_CLAIMING = 50  # packs that have one class

_OWNER_AND_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_REGISTRY_ID = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_URL = re.compile(r"https?://(?![^/]*@)[^\s\"'<>`|\\^{}]+")
_CORE = re.compile(r"https://github\.com/(?:comfyanonymous|Comfy-Org)/ComfyUI|comfy-core", re.IGNORECASE)


def installed_packs(raw: Any) -> dict[str, InstalledPack]:
    """/customnode/installed as {folder: pack}. A disabled copy does not hide the enabled one of the same folder."""
    found: dict[str, InstalledPack] = {}
    for key, entry in islice(raw.items(), MOST_INSTALLED):
        folder = _name(key)
        if folder is None or not isinstance(entry, dict):
            continue
        enabled = entry.get("enabled") is not False
        if not enabled:
            # Disabled packs lie in `.disabled` as name@1_2_3, or in their old place as name.disabled.
            folder = folder.removesuffix(".disabled").partition("@")[0]
        if not folder or (not enabled and folder in found):
            continue
        version = _name(entry.get("ver"))
        found[folder] = InstalledPack(
            version=None if version == "unknown" else version,
            cnr_id=_name(entry.get("cnr_id")),
            repository=repository_of(entry.get("aux_id")),
            enabled=enabled,
        )
    return found


def claiming_packs(raw: Any, class_types: Collection[str]) -> dict[str, list[ClaimingPack]]:
    """Those packs in /customnode/getmappings that have these node classes, as {class_type: packs}, the likeliest
    first. A class that no pack has is not in it.

    The list has expressions too, for the names of classes that it does not name. They are left alone: an expression
    from a server could take for ever to match.
    """
    found: dict[str, list[ClaimingPack]] = {class_type: [] for class_type in class_types}
    for key, entry in raw.items():
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], list)):
            continue
        about = entry[1] if isinstance(entry[1], dict) else {}
        preempted = about.get("preemptions")
        for class_type in {name for name in entry[0] if isinstance(name, str)} & found.keys():
            url = _url(key)
            registry_id = key if url is None and len(key) <= NAME_LENGTH and _REGISTRY_ID.fullmatch(key) else None
            if url or registry_id:
                pack = ClaimingPack(
                    registry_id=registry_id,
                    repository=url,
                    title=_name(about.get("title_aux")) or _name(about.get("title")),
                    is_core=bool(_CORE.fullmatch(key)),
                    preempts=isinstance(preempted, list) and class_type in preempted,
                )
                found[class_type].append(pack)
    for packs in found.values():
        packs.sort(key=lambda pack: (not pack.is_core, not pack.preempts))
    return {class_type: packs[:MOST_CLAIMING] for class_type, packs in found.items() if packs}


def model_sources(raw: Any) -> list[ModelSource]:
    """The models of /externalmodel/getlist."""
    if not isinstance(raw["models"], list):
        raise TypeError(f"a list was expected, not {type(raw['models']).__name__}")
    return list(ModelSources.of_manager(raw))


def import_failure(raw: Any, folder: str) -> ImportFailure | None:
    """The failure in an answer of /customnode/import_fail_info about the pack in this folder."""
    words = raw.get("traceback") or raw.get("msg")
    return told_failure(folder, words) if isinstance(words, str) else None


def repository_of(aux_id: Any) -> str | None:
    """The address of "owner/name" on GitHub. The Manager gives the bare name of a repository elsewhere: no address."""
    name = _name(aux_id)
    return f"https://github.com/{name}" if name and _OWNER_AND_NAME.fullmatch(name) else None


def _url(value: Any) -> str | None:
    """An address on the web as it is, without credentials, or None for anything else."""
    is_url = isinstance(value, str) and len(value) <= URL_LENGTH and _URL.fullmatch(value)
    return value if is_url else None


def _name(value: Any) -> str | None:
    """A name without the space around it, or None for what cannot be one: of another type, empty, too long, of
    several lines."""
    name = value.strip() if isinstance(value, str) else ""
    return name if name.isprintable() and 0 < len(name) <= NAME_LENGTH else None
