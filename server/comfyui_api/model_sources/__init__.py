"""Where model files can be had: the tables of references/models.md, and what workflows and servers say of theirs."""

from comfyui_api.model_sources.places import direct_link, folder_word, size_of
from comfyui_api.model_sources.source import ModelSource, Origin
from comfyui_api.model_sources.sources import ModelSources

__all__ = ["ModelSource", "ModelSources", "Origin", "direct_link", "folder_word", "size_of"]
