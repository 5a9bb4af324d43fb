"""Small pictures of results: of images themselves, frames of animations and videos, waveforms of sounds, and sheets of
several of them."""

from __future__ import annotations

from comfyui_api.previews.images import dimensions, preview
from comfyui_api.previews.picture import LONGEST_SIDE, SIZE_LIMIT, Picture
from comfyui_api.previews.sheets import contact_sheet, overview
from comfyui_api.previews.sounds import waveform
from comfyui_api.previews.videos import can_decode, video_preview

__all__ = [
    "LONGEST_SIDE",
    "SIZE_LIMIT",
    "Picture",
    "can_decode",
    "contact_sheet",
    "dimensions",
    "overview",
    "preview",
    "video_preview",
    "waveform",
]
