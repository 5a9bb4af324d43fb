"""A node class that is not installed: which pack has it, and what is to be done about that pack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from comfyui_api.findings import MissingPack, PackChoice, PackState
from comfyui_api.import_failures import ImportFailure
from comfyui_api.node_packs import CORE_ID, NodePack, NodePacks
from comfyui_api.packs import ClaimingPack, InstalledPack
from comfyui_api.repair.names import listed, printable
from comfyui_api.repair.versions import UPDATE_COMFYUI, Stamp, is_older, update

OTHERS_SHOWN = 10


@dataclass(frozen=True)
class PackKnowledge:
    """What is known of packs: who has which classes, what is installed, and what of that failed to load."""

    packs: NodePacks
    installed: Mapping[str, InstalledPack] = field(default_factory=dict)
    failures: tuple[ImportFailure, ...] = ()
    comfyui_version: str | None = None
    claims: Mapping[str, list[ClaimingPack]] = field(default_factory=dict)


def missing_class(class_type: str, stamp: Stamp | None, known: PackKnowledge) -> MissingPack | None:
    """The pack to see to; None where no pack is known to have the class. `stamp` is what the workflow says of it."""
    cnr_id, aux_id = (stamp.cnr_id, stamp.aux_id) if stamp is not None else (None, None)
    candidates = known.packs.that_have(class_type, cnr_id=cnr_id, aux_id=aux_id)
    candidates = candidates or [pack for claim in known.claims.get(class_type, ()) for pack in _claimed(claim, known)]
    # What a workflow says that cannot be a pack's name is not repeated as one.
    candidates = [pack for pack in candidates if pack.repository.startswith(("https://", "http://"))]
    if not candidates:
        return None
    pack, *rest = candidates
    others = [PackChoice(other.title, other.repository, other.install) for other in rest[:OTHERS_SHOWN]]
    found = MissingPack(pack.title, "not_installed", [class_type], pack.repository, pack.install, others=others or None)
    if pack.is_core:
        return _of_core(found, stamp, known)
    folder = _installed_folder(pack, known)
    found = replace(found, folder=folder)
    failure = _failure_of(pack, folder, known)
    if failure is not None:
        state: PackState = "disabled" if failure.stage == "skipped" else "failed_to_import"
        return _but(found, state, None, f"{failure.reason} {failure.advice}".strip())
    if folder is None:
        return found
    if not known.installed[folder].enabled:
        return _but(found, "disabled", None)
    return _but(found, "outdated", update(pack.registry_id) if pack.registry_id else None)


def fix_for(found: MissingPack | None, names: list[str], stamp: Stamp | None, known: PackKnowledge) -> str:
    """The sentence that goes with a class that is missing. `names` are installed classes that are called alike."""
    guessed = names and (stamp is None or not stamp.names_pack)
    if found is None:
        said = stamp.cnr_id or stamp.aux_id if stamp is not None else None
        origin = f" The workflow says that it is of '{printable(said)}'." if said else ""
        return f"Did you mean {listed(names)}?{origin}" if names else f"No known node pack has it.{origin}"
    where = f" ({found.repository})" if found.repository else ""
    command = f" with `{found.command}`" if found.command else ""
    match found.state:
        case "core_outdated":
            text = f"It is one of ComfyUI's own classes, which this version does not have: update ComfyUI{command}."
        case "failed_to_import":
            text = f"Its pack {found.title} is installed and failed to load: {found.reason}"
        case "disabled":
            why = found.reason or "enable it in ComfyUI-Manager."
            text = f"Its pack {found.title} is installed and disabled: {why}"
        case "outdated":
            text = f"Its pack {found.title} is installed, but does not have it in this version: update it{command}."
        case "not_installed" if found.formerly:
            text = f"An older version of the pack {found.title}{where} has it: install that, or use another class."
        case "not_installed":
            text = f"It is of the pack {found.title}{where}: install it{command}."
            if _is_only_said(found, stamp, known):
                text = (
                    f"The workflow says that it is of {found.title}{where}, but no list knows the class there: look "
                    f"before you install it{command}."
                )
    if found.others:
        text += f" Others that have a class of this name: {', '.join(other.title for other in found.others)}."
    if guessed:
        return f"Did you mean {listed(names)}? Else: {text}"
    return f"{text} Or did you mean {listed(names)}?" if names else text


def _is_only_said(found: MissingPack, stamp: Stamp | None, known: PackKnowledge) -> bool:
    """Whether nothing but the workflow's own word connects the class with this pack."""
    if stamp is None or not stamp.names_pack:
        return False
    listed_packs = known.packs.that_have(found.class_types[0])
    return not any(_same_repository(pack.repository, found.repository) for pack in listed_packs)


def _claimed(claim: ClaimingPack, known: PackKnowledge) -> list[NodePack]:
    """A pack of the server's own list, with the command of those that we know."""
    if claim.is_core:
        return known.packs.that_have("", cnr_id=CORE_ID)
    owner_and_name = (claim.repository or "").removesuffix(".git").removeprefix("https://github.com/")
    return known.packs.that_have("", cnr_id=claim.registry_id, aux_id=owner_and_name or None)


def _of_core(found: MissingPack, stamp: Stamp | None, known: PackKnowledge) -> MissingPack:
    """ComfyUI's own class: of a newer version, or in a part of this one that could not be loaded."""
    wanted = stamp.version if stamp is not None and stamp.cnr_id == CORE_ID else None
    failure = next((f for f in known.failures if f.pack.startswith(("comfy_extras.", "comfy_api_nodes."))), None)
    if failure is not None and wanted is not None and not is_older(known.comfyui_version, wanted):
        return _but(found, "failed_to_import", None, f"{failure.reason} {failure.advice}".strip())
    return _but(found, "core_outdated", UPDATE_COMFYUI)


def _but(found: MissingPack, state: PackState, command: str | None, reason: str | None = None) -> MissingPack:
    return replace(found, state=state, command=command, reason=reason)


def _installed_folder(pack: NodePack, known: PackKnowledge) -> str | None:
    for folder, installed in known.installed.items():
        if pack.registry_id and pack.registry_id.casefold() == (installed.cnr_id or "").casefold():
            return folder
        if pack.repository is not None and _same_repository(pack.repository, installed.repository):
            return folder
    names = _folder_names(pack)
    return next((folder for folder in known.installed if folder.casefold() in names), None)


def _failure_of(pack: NodePack, folder: str | None, known: PackKnowledge) -> ImportFailure | None:
    names = {folder.casefold()} if folder is not None else _folder_names(pack)
    # A pack whose prestartup script failed may have its classes all the same.
    failures = (failure for failure in known.failures if failure.stage != "prestartup")
    return next((failure for failure in failures if failure.pack.casefold() in names), None)


def _folder_names(pack: NodePack) -> set[str]:
    """The folders in which installers put a pack: called as its repository, or as its id in the registry."""
    repository = (pack.repository or "").rstrip("/").removesuffix(".git").rsplit("/", 1)[-1]
    return {name.casefold() for name in (repository, pack.registry_id) if name}


def _same_repository(one: str, other: str | None) -> bool:
    return other is not None and _bare(one) == _bare(other)


def _bare(repository: str) -> str:
    return repository.casefold().rstrip("/").removesuffix(".git").split("://", 1)[-1]
