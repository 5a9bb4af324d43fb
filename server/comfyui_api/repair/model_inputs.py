"""Which inputs name a model file, and in which folder of ComfyUI it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeGuard

from comfyui_api.node_class import InputSpec

InstalledModels: TypeAlias = Mapping[str, Mapping[str, int | None]]
"""By ComfyUI's folder word, the files with their sizes in bytes where known."""

MODEL_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx", ".th")

# Read off the core classes of ComfyUI 0.3.75 and 0.33.0 (folder_paths.get_filename_list); packs keep to the same names.
_BY_INPUT: dict[str, str] = {
    "ckpt_name": "checkpoints",
    "vae_name": "vae",
    "lora_name": "loras",
    "existing_lora": "loras",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "text_encoder": "text_encoders",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "photomaker_model_name": "photomaker",
    "audio_encoder_name": "audio_encoders",
    "bg_removal_name": "background_removal",
    "config_name": "configs",
}
_BY_CLASS: dict[tuple[str, str], str] = {
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
    ("LatentUpscaleModelLoader", "model_name"): "latent_upscale_models",
    ("ModelPatchLoader", "name"): "model_patches",
    ("FrameInterpolationModelLoader", "model_name"): "frame_interpolation",
    ("OpticalFlowLoader", "model_name"): "optical_flow",
    ("LoadMoGeModel", "model_name"): "geometry_estimation",
    ("LoadDA3Model", "model_name"): "geometry_estimation",
}


def model_folder(class_type: str, spec: InputSpec, installed: InstalledModels) -> str | None:
    """The folder whose files an input offers; None where it names no model file, or it cannot be told.

    What is installed decides, where the options are files of one folder; then ComfyUI's own classes and names.
    """
    if not spec.is_combo:
        return None
    if (known := _BY_CLASS.get((class_type, spec.name))) is not None:
        return known
    named = _BY_INPUT.get(spec.name)
    options = {str(option).replace("\\", "/") for option in spec.options or ()}
    shared = {folder: len(options.intersection(files)) for folder, files in installed.items()}
    best = max(shared, key=lambda folder: (shared[folder], folder == named), default=None)
    return best if best is not None and shared[best] else named


def is_model_file(value: object) -> TypeGuard[str]:
    """Whether a value reads like the name of a model file."""
    return isinstance(value, str) and value.casefold().endswith(MODEL_ENDINGS)
