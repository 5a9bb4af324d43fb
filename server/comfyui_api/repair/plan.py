"""All that would make a workflow run: the findings, with what is known of packs, models, versions and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeGuard

from comfyui_api.findings import Finding, MissingModel, MissingPack, Repair, Update
from comfyui_api.graph import Prompt, upstream
from comfyui_api.model_sources import ModelSources
from comfyui_api.node_class import InputSpec, NodeClasses
from comfyui_api.node_packs import NodePacks
from comfyui_api.packs import NodeReplacement
from comfyui_api.repair import classes, model_files
from comfyui_api.repair.classes import PackKnowledge
from comfyui_api.repair.fixes import NAMES_COMPARED, editor_only, options_of
from comfyui_api.repair.memory import will_it_fit
from comfyui_api.repair.model_inputs import InstalledModels, is_model_file, model_folder
from comfyui_api.repair.names import ALIKE, SLIP, closest_classes, same_words
from comfyui_api.repair.versions import outdated, stamps
from comfyui_api.runs import Device

_EMBEDDING = re.compile(r"embedding:([\w./\\ -]*[\w])")
_AFTERWARDS = "Restart ComfyUI after installing or updating, then call check_status(refresh_inventory=true)."
_AFTER_MODELS = "Once the files are there, call check_status(refresh_inventory=true)."
_GET_MODELS = "On ComfyUI's machine `comfyui-api models get --workflow FILE` fetches the models. "


@dataclass(frozen=True)
class Knowledge:
    """What mending rests on. Everything but the references may be unknown and empty.

    `models_are_newer`: the files were looked at after the node classes were asked, so that options may be out of date.
    """

    packs: PackKnowledge = field(default_factory=lambda: PackKnowledge(NodePacks.none()))
    sources: ModelSources = field(default_factory=ModelSources)
    models: InstalledModels = field(default_factory=dict)
    models_are_newer: bool = False
    embeddings: frozenset[str] | None = None
    replacements: Mapping[str, NodeReplacement] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()


def mended(
    findings: list[Finding], prompt: Prompt, outputs: list[str], node_classes: NodeClasses, known: Knowledge
) -> tuple[list[Finding], Repair]:
    """The findings with their fixes by all that is known, with warnings added that only this knowledge gives; and the
    plan over all of them."""
    planner = _Planner(prompt, node_classes, known)
    told = [planner.told(finding) for finding in findings if not planner.is_there_since(finding)]
    for place, file in files_of_unknown_classes(findings, prompt):
        planner.add_unseen(place, file)
    updates = outdated(prompt, known.packs.comfyui_version, known.packs.installed)
    told += [_too_old(update) for update in updates]
    reached = {node_id for node_id in upstream(prompt, outputs) if _has_inputs(prompt[node_id])}
    told += _missing_embeddings(prompt, reached, known.embeddings)
    memory = will_it_fit(prompt, reached, node_classes, known.models, known.devices)
    told += [memory] if memory is not None else []
    packs, models = list(planner.packs.values()), list(planner.models.values())
    restart = bool(packs or updates)
    afterwards = _AFTERWARDS if restart else _AFTER_MODELS if models else None
    if afterwards is not None and any(model.url for model in models):
        afterwards = f"{_GET_MODELS}{afterwards}"
    return told, Repair(packs, models, updates, afterwards)


def files_of_unknown_classes(findings: list[Finding], prompt: Prompt) -> Iterator[tuple[str, str]]:
    """The model files in nodes whose class is missing, which nothing could judge: (address, file)."""
    for finding in findings:
        node = prompt.get(finding.node_id or "") if finding.code == "missing_node_type" else None
        for name, value in node["inputs"].items() if _has_inputs(node) else ():
            if is_model_file(value):
                yield f"{finding.node_id}.{name}", value


def _has_inputs(node: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(node, dict) and isinstance(node.get("inputs"), dict)


def _by(pack: MissingPack | None) -> str:
    return f": `{pack.command}`" if pack is not None and pack.command else ""


class _ClassFix(NamedTuple):
    """What was said of a class, and where first."""

    pack: MissingPack | None
    node_id: str


class _Planner:
    """Collects packs and models over the findings of one prompt; what several need is worked out once."""

    def __init__(self, prompt: Prompt, node_classes: NodeClasses, known: Knowledge) -> None:
        self.packs: dict[str, MissingPack] = {}
        self.models: dict[tuple[str, str | None], MissingModel] = {}
        self._known = known
        self._node_classes = node_classes
        self._stamps = {stamp.node_id: stamp for stamp in stamps(prompt)}
        self._class_fixes: dict[tuple[str, str | None, str | None], _ClassFix] = {}

    def told(self, finding: Finding) -> Finding:
        if finding.code == "missing_node_type" and isinstance(finding.received, str):
            if (new := self._known.replacements.get(finding.received)) is not None:
                return _renamed(finding, new, new.new_class in self._node_classes)
            return replace(finding, fix=self._class_fix(finding))
        if finding.code == "value_not_in_list" and (spec := self._spec(finding)) is not None:
            fix = self._model_fix(finding, spec)
            return replace(finding, fix=fix) if fix is not None else finding
        return finding

    def add_unseen(self, place: str, file: str) -> None:
        """A file that a node of an unknown class names: to be had as well, where nothing installed is called so."""
        if model_files.elsewhere(file, None, self._known.models) is None:
            folder = next((folder for known, folder in self.models if known == file), None)
            self._add_model(place, file, folder, [])

    def _add_model(self, place: str, file: str, folder: str | None, options: list[str]) -> MissingModel:
        known = self.models.get((file, folder))
        if known is None:
            found = model_files.missing_model(file, folder, options, [place], self._known.sources)
        else:
            found = replace(known, inputs=[*known.inputs, place])
        self.models[file, folder] = found
        return found

    def is_there_since(self, finding: Finding) -> bool:
        """Whether the file that is among no options was seen in its folder since the classes were asked."""
        if finding.code != "value_not_in_list" or not self._known.models_are_newer:
            return False
        spec, file = self._spec(finding), finding.received
        if spec is None or not isinstance(file, str):
            return False
        folder = model_folder(finding.class_type or "", spec, self._known.models)
        return file.replace("\\", "/") in self._known.models.get(folder or "", ())

    def _spec(self, finding: Finding) -> InputSpec | None:
        node_class = self._node_classes.get(finding.class_type or "")
        return node_class.inputs.get(finding.input or "") if node_class is not None else None

    def _class_fix(self, finding: Finding) -> str:
        class_type, node_id = str(finding.received), finding.node_id or ""
        stamp = self._stamps.get(node_id)
        key = class_type, stamp.cnr_id if stamp else None, stamp.aux_id if stamp else None
        if (advice := editor_only(class_type)) is not None:
            return advice
        first = self._class_fixes.get(key)
        if first is None:
            found = classes.missing_class(class_type, stamp, self._known.packs)
            # Where a pack is known to have it, only a slip of the pen suggests another class.
            likeness = ALIKE if found is None else SLIP
            compared = len(self._class_fixes) < NAMES_COMPARED
            near = closest_classes(class_type, self._node_classes, 3, likeness) if compared else []
            if found is not None and (found.state == "core_outdated" or (stamp is not None and stamp.names_pack)):
                near = [name for name in near if same_words(class_type, name)]
            fix = classes.fix_for(found, near, stamp, self._known.packs)
        else:
            found, fix = first.pack, f"As for node {first.node_id}{_by(first.pack)}."
        self._class_fixes.setdefault(key, _ClassFix(found, node_id))
        if found is not None:
            self._add_pack(found)
        return fix

    def _add_pack(self, found: MissingPack) -> None:
        name = f"{found.repository or found.title}|{found.state}"
        known = self.packs.get(name, replace(found, class_types=[]))
        class_types = list(dict.fromkeys([*known.class_types, *found.class_types]))
        self.packs[name] = replace(known, class_types=class_types)

    def _model_fix(self, finding: Finding, spec: InputSpec) -> str | None:
        """None where the value is no model file: then the options say more."""
        file, installed = finding.received, self._known.models
        if not isinstance(file, str):
            return None
        folder = model_folder(finding.class_type or "", spec, installed)
        if not is_model_file(file):
            return None
        place = f"{finding.node_id}.{finding.input}"
        options = options_of(spec)
        found = self._add_model(place, file, folder, options)
        if len(found.inputs) > 1:
            return f"As for {found.inputs[0]}{f': {found.url}' if found.url else '.'}"
        return model_files.fix_for(found, options, model_files.elsewhere(file, folder, installed))


def _renamed(finding: Finding, new: NodeReplacement, is_there: bool) -> Finding:
    """A class that has another name now: recent servers that say so put the new one in its place by themselves."""
    if not is_there:
        return replace(finding, fix=f"It was renamed to '{new.new_class}', which is not installed here either.")
    moved = ", ".join(f"{old} → {name}" for name, old in (new.inputs or {}).items() if old != name)
    return replace(
        finding,
        severity="warning",
        message=f"{finding.message} The server puts '{new.new_class}' in its place by itself.",
        fix=f"Use '{new.new_class}'{f' (inputs: {moved})' if moved else ''}.",
    )


def _too_old(update: Update) -> Finding:
    return Finding(
        "warning",
        "version_mismatch",
        f"{update.what} is installed in version {update.installed}; the workflow was made with {update.wanted}.",
        received=update.installed,
        fix=f"If something fails, update it: {update.command}." if update.command else "Update it if something fails.",
    )


def _missing_embeddings(prompt: Prompt, reached: set[str], installed: frozenset[str] | None) -> Iterator[Finding]:
    """Embeddings that texts name: ComfyUI leaves out what it does not find, and only its log says so."""
    if installed is None:
        return
    names = {name.casefold().replace("\\", "/") for name in installed}
    for node_id in prompt:
        for name, value in prompt[node_id]["inputs"].items() if node_id in reached else ():
            if not isinstance(value, str) or "embedding:" not in value:
                continue
            for found in _EMBEDDING.findall(value):
                if _bare(found) not in names:
                    message = f"The embedding '{found[:100]}' in this text is not installed: ComfyUI will leave it out."
                    class_type = str(prompt[node_id]["class_type"])
                    fix = "Put its file into models/embeddings, or take it out of the text."
                    yield Finding("warning", "embedding_missing", message, node_id, class_type, name, found[:100], fix)


def _bare(name: str) -> str:
    name = name.casefold().replace("\\", "/")
    for ending in (".safetensors", ".pt", ".bin"):
        name = name.removesuffix(ending)
    return name
