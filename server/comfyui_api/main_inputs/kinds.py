"""What an input is for, by its class, its name and its value."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeAlias, get_args

from comfyui_api.node_class import InputSpec, NodeClass
from comfyui_api.repair.model_inputs import is_model_file, model_folder

Kind: TypeAlias = Literal[
    "prompt",
    "image",
    "mask",
    "video",
    "audio",
    "3d",
    "file",
    "negative_prompt",
    "seed",
    "width",
    "height",
    "size",
    "length",
    "steps",
    "cfg",
    "denoise",
    "batch_size",
    "fps",
    "text",
    "strength",
    "lora",
    "model",
    "sampler",
    "scheduler",
    "number",
    "choice",
    "switch",
    "output",
]
"""In the order of importance. `length`: of a video or sound, in frames or seconds; `output`: the files' name."""

ORDER: Final[dict[str, int]] = {kind: place for place, kind in enumerate(get_args(Kind))}

# Names that inputs have in ComfyUI's own nodes and the usual packs.
_NAMED: dict[str, Kind] = {
    "seed": "seed",
    "noise_seed": "seed",
    "width": "width",
    "height": "height",
    "empty_latent_width": "width",
    "empty_latent_height": "height",
    "dimensions": "size",
    "megapixels": "size",
    "aspect_ratio": "size",
    "resolution": "size",
    "longer_size": "size",
    "shorter_size": "size",
    "largest_size": "size",
    "scale_by": "size",
    "upscale_by": "size",
    "length": "length",
    "num_frames": "length",
    "frame_count": "length",
    "frame_load_cap": "length",
    "frames_number": "length",
    "video_frames": "length",
    "video_length": "length",
    "seconds": "length",
    "duration": "length",
    "audio_duration": "length",
    "steps": "steps",
    "cfg": "cfg",
    "cfg_scale": "cfg",
    "guidance": "cfg",
    "guidance_scale": "cfg",
    "embedded_guidance_scale": "cfg",
    "true_cfg": "cfg",
    "cfg_conds": "cfg",
    "cfg_cond2_negative": "cfg",
    "video_cfg": "cfg",
    "audio_cfg": "cfg",
    "denoise": "denoise",
    "denoise_strength": "denoise",
    "batch_size": "batch_size",
    "fps": "fps",
    "frame_rate": "fps",
    "strength": "strength",
    "strength_model": "strength",
    "strength_clip": "strength",
    "lora_strength": "strength",
    "weight": "strength",
    "sampler_name": "sampler",
    "sampler": "sampler",
    "scheduler": "scheduler",
    "filename_prefix": "output",
}
# What ComfyUI's own nodes mean for making things where they give one of these types; in its others it stands for
# something else: how many pictures are looked at at once, where a text is cut.
_OF_MAKERS = {
    "width": ("LATENT", "IMAGE", "VIDEO", "INT", "SIGMAS"),
    "height": ("LATENT", "IMAGE", "VIDEO", "INT", "SIGMAS"),
    "length": ("LATENT", "VIDEO", "AUDIO", "INT"),
    "batch_size": ("LATENT",),
    "resolution": ("LATENT", "VIDEO", "IMAGE", "INT"),
    "strength": ("CONDITIONING", "MODEL", "LATENT", "LORA_MODEL"),
}
_NO_STRENGTHS = ("CFGNorm", "DifferentialDiffusion")  # these are part of how a model is set up
_TEXT_NAMES = frozenset(
    [
        "text",
        "text_g",
        "text_l",
        "text_a",
        "text_b",
        "text_c",
        "text_d",
        "clip_l",
        "clip_g",
        "t5xxl",
        "llama",
        "prompt",
        "positive",
        "positive_prompt",
        "negative",
        "negative_prompt",
        "caption",
        "tags",
        "lyrics",
        "string",
        "string_a",
        "string_b",
        "wildcard_text",
        "populated_text",
        "text_input",
        "text_positive",
        "text_negative",
        "user_prompt",
    ]
)
# Texts that say how, not what.
_NO_TEXT_NAMES = frozenset(
    [
        "expression",
        "find",
        "replace",
        "delimiter",
        "regex_pattern",
        "regex",
        "key",
        "json_string",
        "fragment_shader",
        "sigmas",
        "code",
        "script",
        "format",
        "suffix",
        "prefix",
        "separator",
    ]
)
_MEDIA: dict[str, Kind] = {
    **dict.fromkeys(["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "exr", "hdr"], "image"),
    **dict.fromkeys(["mp4", "webm", "mov", "mkv", "avi", "m4v"], "video"),
    **dict.fromkeys(["wav", "mp3", "flac", "ogg", "opus", "m4a", "aac"], "audio"),
    **dict.fromkeys(["glb", "gltf", "obj", "stl", "fbx", "ply", "usdz", "splat", "ksplat", "spz"], "3d"),
}
# Titles that people give to primitives.
_TITLES: tuple[tuple[str, Kind], ...] = (
    (r"negative", "negative_prompt"),
    (r"prompt|caption|lyrics", "prompt"),
    (r"seed", "seed"),
    (r"width", "width"),
    (r"height", "height"),
    (r"fps|frame ?rate", "fps"),
    (r"duration|length|seconds|frames?\b", "length"),
    (r"steps", "steps"),
    (r"cfg|guidance", "cfg"),
    (r"denoise", "denoise"),
    (r"strength", "strength"),
    (r"megapixels|resolution|size|aspect", "size"),
)
NEGATIVE: Final = re.compile(r"(^|_)(neg|uncond|unconditional)(_|\d|$)|negative", re.IGNORECASE)
# Kinds of numbers only, and of texts that are read.
NUMBERS: Final[frozenset[str]] = frozenset(
    ["seed", "width", "height", "length", "steps", "cfg", "denoise", "batch_size", "fps", "strength"]
)
TEXTS: Final[frozenset[str]] = frozenset(("prompt", "negative_prompt", "text"))
_WORDS_OF_TEXT = 3


def kind_of(
    node_class: NodeClass | None, class_type: str, spec: InputSpec | None, name: str, value: Any
) -> Kind | None:
    """What a node's own input is for; None for what a person leaves as it is.

    `name` may have dots: inputs of dynamic combos and groups. `value` is None where the input is linked.
    """
    last = name.rpartition(".")[2].casefold()
    if (media := _file(class_type, spec, last, value)) is not None:
        return media
    if is_model_file(value) or (spec is not None and model_folder(class_type, spec, {}) is not None):
        return "lora" if "lora" in last else "model"
    kind = _NAMED.get(last)
    if kind == "strength" and class_type in _NO_STRENGTHS:
        return None
    if kind is not None:
        makers = _OF_MAKERS.get(last)
        if makers is not None and node_class is not None and node_class.is_core and not node_class.is_partner_node:
            return kind if any(made in makers for made in node_class.outputs) else None
        return kind if kind not in NUMBERS or kind == "length" or not isinstance(value, str) else None
    if spec is not None and spec.type == "INT" and spec.config.get("control_after_generate"):
        return "seed"
    if _is_text(spec, last, value):
        return "negative_prompt" if NEGATIVE.search(last) else "prompt"
    return None


def kind_by_title(title: str, value: Any) -> Kind | None:
    """What a primitive is for by the title that a person gave it; only what fits its value."""
    if isinstance(value, bool):
        return None
    for pattern, kind in _TITLES:
        if re.search(pattern, title, re.IGNORECASE) and isinstance(value, str) == (kind not in NUMBERS):
            return kind
    return None


def _file(class_type: str, spec: InputSpec | None, name: str, value: Any) -> Kind | None:
    """The kind of file that an input names."""
    if spec is not None and spec.is_upload:
        if "mask" in class_type.casefold() or name == "mask":
            return "mask"
        if spec.config.get("video_upload"):
            return "video"
        if spec.config.get("audio_upload"):
            return "audio"
        if spec.config.get("image_upload"):
            return "image"
        return "3d" if "3d" in class_type.casefold() else _media(value) or "file"
    if spec is not None and (spec.is_combo or spec.type not in ("STRING", "*")):
        return None
    return _media(value) if name not in _NAMED else None


def _media(value: Any) -> Kind | None:
    """The kind of media file that a text names by its ending, as uploads are written: `sub/name.png [output]`."""
    if not isinstance(value, str) or len(value) > 300 or "\n" in value:
        return None
    name = re.sub(r" \[(input|output|temp)\]$", "", value.strip())
    stem, dot, ending = name.rpartition(".")
    return _MEDIA.get(ending.casefold()) if dot and stem else None


def _is_text(spec: InputSpec | None, name: str, value: Any) -> bool:
    if value is not None and not isinstance(value, str):
        return False
    if name in _NO_TEXT_NAMES:
        return False
    if spec is not None:
        return spec.type in ("STRING", "*") and (bool(spec.config.get("multiline")) or name in _TEXT_NAMES)
    return name in _TEXT_NAMES or (isinstance(value, str) and len(value.split()) >= _WORDS_OF_TEXT)
