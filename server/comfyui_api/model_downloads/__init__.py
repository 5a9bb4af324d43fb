"""Fetch one model file into a folder: resumed where it broke off, checked, and never under its name before it is whole.

Files come from hosts on a list only, and only the console does this, when a person asks for it.
"""

from comfyui_api.model_downloads.hosts import Hosts, tokens_of
from comfyui_api.model_downloads.names import folder_word, place_of, shown
from comfyui_api.model_downloads.part import kept_so_far
from comfyui_api.model_downloads.remote import Offer, Remote
from comfyui_api.model_downloads.transfer import Report, as_expected, digest_of, fetch, fits, free_space, sizes_agree

__all__ = [
    "Hosts",
    "Offer",
    "Remote",
    "Report",
    "as_expected",
    "digest_of",
    "fetch",
    "fits",
    "folder_word",
    "free_space",
    "kept_so_far",
    "place_of",
    "shown",
    "sizes_agree",
    "tokens_of",
]
