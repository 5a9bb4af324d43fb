"""The inputs that a person would change in a workflow: prompts, files, seeds, sizes, steps, models."""

from comfyui_api.main_inputs.kinds import Kind
from comfyui_api.main_inputs.listed import MainInput, main_inputs

__all__ = ["Kind", "MainInput", "main_inputs"]
