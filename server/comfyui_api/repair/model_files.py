"""A model file that is missing: what is installed instead, or where it can be had."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

from comfyui_api.findings import MissingModel
from comfyui_api.model_sources import ModelSource, ModelSources
from comfyui_api.repair.model_inputs import MODEL_ENDINGS, InstalledModels
from comfyui_api.repair.names import ALIKE, SLIP, closest, listed

USES_SHOWN = 3
# What names the precision or the packing of the same model, not another model.
_VARIANT = re.compile(
    r"fp\d+|bf16|int[48]|nf4|e\dm\d(fn)?|q\d(_\w)*|[kms]|scaled|mixed|mxfp\d+|nvfp4|svdq|pruned|emaonly|ema|only|fast"
)
# Folders that some packs read beside ComfyUI's own.
_FOLDER_KINDS = {
    "unet_gguf": "diffusion_models",
    "clip_gguf": "text_encoders",
}
# Where official templates and the Manager's list have their models.
_HUBS = frozenset({"huggingface.co", "civitai.com", "github.com", "modelscope.cn", "raw.githubusercontent.com"})
_SAFE_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+")
_SAFE_FILE = re.compile(r"[A-Za-z0-9][\w.+ ()-]*(/[A-Za-z0-9][\w.+ ()-]*)*")


def missing_model(
    file: str, folder: str | None, options: list[str], inputs: list[str], sources: ModelSources
) -> MissingModel:
    """What is known of a model file that an input names and does not offer. `options` is what it offers instead."""
    source = sources.find_one(file, _FOLDER_KINDS.get(folder, folder) if folder is not None else None)
    if source is None:
        # In another folder a file of that name is another file, unless the workflow itself names it so.
        source = next((source for source in sources.find(file) if source.origin == "workflow"), None)
    place = folder or (source.folder if source is not None else None)
    model = MissingModel(file, place, inputs, use=alternatives(file, options) or None)
    return model if source is None or installed_as(model) else _with_source(model, source, file)


def installed_as(model: MissingModel) -> list[str]:
    """Under which names the very file is installed, in another folder or case: then nothing has to be fetched."""
    return [option for option in model.use or () if _name(option) == _name(model.file)]


def alternatives(file: str, options: list[str]) -> list[str]:
    """Options that may be the file that is meant, as exact values: elsewhere or in another case first, then other
    variants of the same model (fp8, pruned …)."""
    name = _name(file)
    same = [option for option in options if _name(option) == name]
    kin = [option for option in options if option not in same and _stem(option) == _stem(file)]
    return [*same, *kin][:USES_SHOWN]


def elsewhere(file: str, folder: str | None, installed: InstalledModels) -> str | None:
    """Another folder that has the file."""
    name = _name(file)
    places = (place for place, files in installed.items() if place != folder and any(_name(f) == name for f in files))
    return next(places, None)


def fix_for(model: MissingModel, options: list[str], other_folder: str | None) -> str:
    """The sentence that goes with a missing model."""
    parts = []
    if exact := installed_as(model):
        return f"It is installed as {listed(exact)}: give exactly that."
    if model.use:
        parts.append(f"A variant of it is installed: {listed(model.use)}.")
    elif near := closest(model.file, options, USES_SHOWN, SLIP if model.url else ALIKE):
        parts.append(f"Closest installed: {listed(near)}.")
    if other_folder is not None:
        parts.append(f"A file of that name lies in models/{other_folder}; this input takes models/{model.folder}.")
    subfolder = model.file.replace("\\", "/").rpartition("/")[0]
    place = f"models/{model.folder}/{subfolder}".rstrip("/") if model.folder else "its folder below models/"
    facts = ", ".join(part for part in (readable_size(model.size), model.licence) if part)
    described = f" ({facts})" if facts else ""
    if model.url is not None:
        origin = " (the workflow's own link)" if model.from_workflow else ""
        if model.from_workflow and not _is_hub(model.url):
            origin = " (the workflow's own link, to a host that is no known hub: look before you download)"
        parts.append(f"Download {model.url}{described}{origin} to {place}.")
        if model.gated:
            parts.append(f"It needs an account and an accepted licence{f': {model.page}' if model.page else ''}.")
    elif model.page is not None:
        parts.append(f"Get it from this page{described}: {model.page}, and put it into {place}.")
    else:
        parts.append(f"No link to it is known: put the file into {place}.")
    return " ".join(parts)


def readable_size(size: int | None) -> str | None:
    if size is None:
        return None
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def _with_source(model: MissingModel, source: ModelSource, file: str) -> MissingModel:
    # The name that the workflow asks for, in the place where it looks: its subfolder included.
    name = file.replace("\\", "/")
    return MissingModel(
        file=model.file,
        folder=model.folder,
        inputs=model.inputs,
        use=model.use,
        url=source.url,
        page=source.page,
        size=source.size,
        sha256=source.sha256,
        licence=source.licence,
        gated=source.gated or None,
        from_workflow=source.origin == "workflow" or None,
        command=_command(source.url, model.folder, name, from_workflow=source.origin == "workflow"),
    )


def _command(url: str | None, folder: str | None, name: str, *, from_workflow: bool) -> str | None:
    """comfy-cli's download, of names and links that mean nothing else to a shell."""
    if from_workflow and not _is_hub(url):
        return None
    if url is None or folder is None or not _SAFE_URL.fullmatch(url) or not _SAFE_FILE.fullmatch(name):
        return None
    if not name.casefold().endswith(MODEL_ENDINGS) or not re.fullmatch(r"[\w-]+(/[\w-]+)*", folder):
        return None
    subfolder, _, file = name.rpartition("/")
    target = f"models/{folder}/{subfolder}".rstrip("/")
    command = f"comfy model download --url {shlex.quote(url)} --relative-path {shlex.quote(target)}"
    named = urlsplit(url).path.rsplit("/", 1)[-1] == file
    return command if named else f"{command} --filename {shlex.quote(file)}"


def _is_hub(url: str | None) -> bool:
    return urlsplit(url or "").hostname in _HUBS


def _name(file: str) -> str:
    return file.replace("\\", "/").rsplit("/", 1)[-1].casefold()


def _stem(file: str) -> tuple[str, ...]:
    """The words of a file's name without what names its variant."""
    stem = _name(file)
    for ending in MODEL_ENDINGS:
        stem = stem.removesuffix(ending)
    words = [word for word in re.split(r"[-_. ]+", stem) if word]
    return tuple(word for word in words if not _VARIANT.fullmatch(word)) or tuple(words)
