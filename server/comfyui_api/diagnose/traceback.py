"""The traceback of a failed node: whose code it was in, what that was doing, and the lines that matter.

ComfyUI sends `traceback.format_tb` (execution.py, execute): one text a frame, with its line of code below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from comfyui_api.import_failures.meaning import CORE_FOLDERS
from comfyui_api.import_failures.raised import clean

FRAMES_READ = 300
LINES_SHOWN = 3
CODE_SHOWN = 160

_FRAME = re.compile(r'\s{0,20}File "([^"\n]{1,1000})", line (\d{1,9})(?:, in ([^\n]{1,200}))?')
_PACK = re.compile(r"(?:^|/)custom_nodes/([^/\n]{1,255})")
_LIBRARIES = ("site-packages/", "dist-packages/", "lib/python", "<frozen")
# How a prompt is executed and nodes are called: in every traceback alike.
_CALLERS = ("execution.py", "comfy_api/internal/", "comfy_api/latest/_io.py", "comfy/patcher_extension.py")

_LOADS = frozenset(
    {
        "load_checkpoint_guess_config",
        "load_state_dict_guess_config",
        "load_diffusion_model",
        "load_diffusion_model_state_dict",
        "load_clip",
        "load_text_encoder_state_dicts",
        "load_lora_for_models",
        "load_style_model",
        "load_gligen",
    }
)
# What is done where, read off ComfyUI 0.3.75. The innermost that fits counts.
_DOING: tuple[tuple[str, frozenset[str] | None, str], ...] = (
    ("comfy/lora.py", None, "applying a LoRA to the model"),
    ("comfy/weight_adapter/", None, "applying a LoRA to the model"),
    ("comfy/utils.py", frozenset({"load_torch_file"}), "reading a model file"),
    ("comfy/sd.py", frozenset({"decode", "decode_tiled", "decode_tiled_", "decode_tiled_3d"}), "decoding latents"),
    ("comfy/sd.py", frozenset({"encode", "encode_tiled", "encode_tiled_", "encode_tiled_3d"}), "encoding pixels"),
    ("comfy/sd.py", frozenset({"encode_from_tokens", "encode_from_tokens_scheduled"}), "encoding the text"),
    ("comfy/controlnet.py", frozenset({"get_control"}), "running the ControlNet"),
    ("comfy/clip_vision.py", frozenset({"encode_image"}), "encoding an image with CLIP vision"),
    ("comfy/model_management.py", frozenset({"load_models_gpu", "load_model_gpu"}), "moving models to the device"),
    ("comfy/sampler_helpers.py", frozenset({"prepare_sampling"}), "preparing the sampling"),
    ("comfy/samplers.py", None, "sampling"),
    ("comfy/sample.py", None, "sampling"),
    ("comfy/sd.py", _LOADS, "loading a model"),
    ("nodes.py", frozenset({"save_images"}), "saving images"),
    ("comfy_api_nodes/", None, "asking a partner service"),
    ("folder_paths.py", None, "looking for a file"),
    ("execution.py", frozenset({"get_input_data"}), "gathering the node's inputs"),
)


@dataclass(frozen=True)
class Frame:
    """One call of a traceback. `path` has forward slashes and begins at ComfyUI's folder where it lies below it;
    `is_library`: neither ComfyUI's code nor a pack's."""

    path: str
    line: int
    function: str
    code: str
    is_library: bool

    def __str__(self) -> str:
        place = f"{self.path}, line {self.line}" + (f", in {self.function}" if self.function else "")
        return f"{place}: {self.code}" if self.code else place


def read_frames(traceback: Sequence[str]) -> tuple[Frame, ...]:
    """The frames of a traceback, the outermost first. Texts that are none are passed over."""
    found = []
    for text in traceback[-FRAMES_READ:]:
        if match := _FRAME.match(text):
            path = match[1].replace("\\", "/")
            code = text[match.end() :][: 4 * CODE_SHOWN].strip("\n").partition("\n")[0]
            found.append((clean(path, 1000), int(match[2]), clean(match[3] or "", 80), clean(code, CODE_SHOWN)))
    root = _comfyui_folder([path for path, *_ in found])
    return tuple(_frame(path, line, function, code, root) for path, line, function, code in found)


def _comfyui_folder(paths: Sequence[str]) -> str:
    """ComfyUI's folder with a slash at its end, "" where it is not told: its execution.py calls every node."""
    return next((path.removesuffix("execution.py") for path in paths if path.endswith("/execution.py")), "")


def _frame(path: str, line: int, function: str, code: str, root: str) -> Frame:
    # ComfyUI itself may lie among the libraries: only what comes after its folder counts.
    shown = path[len(root) :] if root and path.startswith(root) else path
    pack = _PACK.search(shown)
    is_library = any(word in shown for word in _LIBRARIES) or (root != "" and shown == path and pack is None)
    # The user's folders say nothing: a path begins at custom_nodes, or at the library's name.
    if pack is not None:
        shown = shown[pack.start() :].lstrip("/")
    elif is_library:
        shown = re.split(r"site-packages/|dist-packages/", shown)[-1]
    return Frame(shown[-300:], line, function, code, is_library)


def pack_of(frame: Frame) -> str | None:
    """The pack whose code a frame is in: its folder below custom_nodes, for one of ComfyUI's own extra files
    "comfy_extras.nodes_x" and the like; None for ComfyUI's core and for libraries."""
    if match := _PACK.match(frame.path):
        return match[1].removesuffix(".py")
    folder, _, rest = frame.path.partition("/")
    if folder in CORE_FOLDERS and rest and not frame.is_library:
        return f"{folder}.{rest.partition('/')[0].removesuffix('.py')}"
    return None


def doing(frames: Sequence[Frame]) -> str | None:
    """What the code was doing, e.g. "sampling"; None where the traceback does not tell."""
    for frame in reversed(frames):
        for path, functions, words in _DOING:
            at_place = frame.path.startswith(path) if path.endswith("/") else frame.path == path
            if at_place and not frame.is_library and (functions is None or frame.function in functions):
                return words
    return None


def lines_that_matter(frames: Sequence[Frame]) -> list[str]:
    """The last lines in a pack's or ComfyUI's own code, not those that call every node nor those inside libraries;
    where there are no others, the last lines of all."""
    own = [frame for frame in frames if not frame.is_library and not frame.path.startswith(_CALLERS)]
    return [str(frame) for frame in (own or frames)[-LINES_SHOWN:]]
