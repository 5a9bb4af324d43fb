"""How to mend what validation found: values and links from the prompt itself, packs, models and versions by what is
known of them. All of it is advice: no value is ever replaced, and nothing is installed or downloaded."""

from comfyui_api.repair.fixes import with_fixes
from comfyui_api.repair.names import SHOWN, closest, did_you_mean

__all__ = ["SHOWN", "closest", "did_you_mean", "with_fixes"]
