"""What an exception at a pack's import means: the reason in plain words, and what to do."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from comfyui_api.import_failures.failure import ImportFailure, Stage
from comfyui_api.import_failures.raised import Raised, clean

CORE_FOLDERS = ("comfy_extras", "comfy_api_nodes")
NAME_KEPT = 255  # characters of a pack's name

_NO_NAME = re.compile(r"cannot import name '([^']+)' from (?:partially initialized module )?'([^']+)'")
_NO_PART = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_LIBRARY = re.compile(r"([\w.+-]+\.so[.\d]*): cannot open shared object file")
_NO_INIT = re.compile(r"[/\\]__init__\.py'$")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_PLAIN_FOLDER = re.compile(r"\w[\w.+-]*", re.ASCII)

# Modules whose package has another name on PyPI, or has the module only in its older versions.
_PACKAGES = {
    "blend_modes": "blend-modes",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "distutils": "setuptools",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "ffmpeg": "ffmpeg-python",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "github": "PyGithub",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.protobuf": "protobuf",
    "groundingdino": "groundingdino-py",
    "hydra": "hydra-core",
    "imgutils": "dghs-imgutils",
    "jwt": "PyJWT",
    "llama_cpp": "llama-cpp-python",
    "moviepy.editor": "moviepy<2",
    "OpenGL": "PyOpenGL",
    "open_clip": "open-clip-torch",
    "PIL": "pillow",
    "pkg_resources": "setuptools<81",
    "psd_tools": "psd-tools",
    "pynvml": "nvidia-ml-py",
    "pywt": "PyWavelets",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "socketio": "python-socketio",
    "websocket": "websocket-client",
    "whisper": "openai-whisper",
    "win32api": "pywin32",
    "win32con": "pywin32",
    "win32gui": "pywin32",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}
_KINDS = {
    # Packages of the same name that packs often need. A name that stands nowhere here is never put into a command: it
    # may be a file of the pack's own, and anybody could publish a package of that name.
    "package": "accelerate addict aiofiles aiohttp albumentations anthropic av basicsr boto3 cachetools colorama "
    "clip_interrogator color_matcher dashscope decord deep_translator deepdiff demucs diffusers dill easyocr edge_tts "
    "einops facexlib fairscale faster_whisper ftfy fvcore gfpgan gguf httpx huggingface_hub imageio imageio_ffmpeg "
    "insightface iopath jinja2 joblib kornia lark librosa lightning loguru lpips matplotlib mediapipe moviepy mss "
    "natsort networkx noisereduce numba numexpr numpy ollama omegaconf onnx onnxruntime open3d openai pandas "
    "pedalboard peft piexif pilgram plyfile protobuf psutil pydantic pydub pyloudnorm pymatting pymeshlab pypdf "
    "pyperclip pytesseract pytorch_lightning qrcode rembg requests resampy rich safetensors scipy seaborn "
    "segment_anything sentencepiece shapely simpleeval soundfile spandrel supervision tiktoken timm tokenizers toml "
    "tqdm transformers trimesh ultralytics webcolors websockets xatlas yapf zstandard",
    # Packages that come in builds, each for one version of PyTorch and CUDA: another one breaks more than it mends.
    "build": "apex bitsandbytes causal_conv1d flash_attn kaolin mamba_ssm nunchaku nvdiffrast pytorch3d sageattention "
    "spconv torch torch_scatter torchaudio torchvision triton xformers",
    "comfyui": "comfy comfy_api comfy_api_nodes comfy_config comfy_execution comfy_extras comfyui_version folder_paths "
    "latent_preview node_helpers",
    # Modules of ComfyUI whose names packs like to give to files of their own.
    "taken": "app execution main nodes server utils",
    # Modules that Python itself once had.
    "removed": "asynchat asyncore audioop cgi cgitb imghdr imp pipes sndhdr telnetlib",
}
_KIND_OF_MODULE = {module: kind for kind, modules in _KINDS.items() for module in modules.split()}

_INCOMPLETE = "Update the pack or install it anew: only a part of it is there."
_VERSIONS = "Update ComfyUI; where it is up to date, update the pack."


class Pack(NamedTuple):
    """A pack: its name, and its path on the server where that is known. A part of ComfyUI has its folder's name
    before its own: "comfy_extras.nodes_audio"."""

    name: str
    path: str = ""

    @classmethod
    def at(cls, path: str) -> Pack:
        """The pack at a path of the server's, whatever system that runs on."""
        parts = [part for part in path.strip().replace("\\", "/").split("/") if part]
        name = clean(parts[-1], NAME_KEPT).removesuffix(".py") if parts else ""
        is_core = len(parts) > 1 and parts[-2] in CORE_FOLDERS
        return cls(f"{parts[-2]}.{name}" if is_core else name, path.strip().replace("\\", "/"))

    @property
    def is_core(self) -> bool:
        """Whether this is a part of ComfyUI, and no pack of somebody else's."""
        return self.name.partition(".")[0] in CORE_FOLDERS

    @property
    def update(self) -> str:
        """What to update."""
        return "Update ComfyUI." if self.is_core else "Update the pack."

    @property
    def requirements(self) -> str:
        """How to install what the pack needs."""
        file = f"custom_nodes/{self.name}/requirements.txt"
        if self.is_core:
            file = "requirements.txt"
        elif self.path.endswith(".py"):
            return "Install what the pack's page says that it needs, with the Python that runs ComfyUI, and restart it."
        elif not _PLAIN_FOLDER.fullmatch(self.name):
            # A name that a shell would read in its own way stays out of the command.
            return (
                "Install the requirements.txt in the pack's folder with the Python that runs ComfyUI "
                "(python -m pip install -r), then restart ComfyUI."
            )
        return f"In ComfyUI's folder, with the Python that runs it: python -m pip install -r {file}, then restart it."

    def place(self, frames: tuple[tuple[str, str], ...]) -> str:
        """The last place in the pack's own files that a traceback goes through, as " (nodes.py, line 3)"."""
        own = self.path or f"custom_nodes/{self.name}"
        for path, number in reversed(frames):
            _, found, inside = path.replace("\\", "/").partition(own)
            if found and inside.startswith("/"):
                return f" ({clean(inside[1:])}, line {number})"
            if found and not inside:
                return f" (line {number})"
        return ""


class _Meaning(NamedTuple):
    reason: str
    advice: str
    missing_module: str | None = None


def of(pack: Pack, raised: Raised, stage: Stage = "import") -> ImportFailure:
    """What an exception means for a pack."""
    what = _meaning(pack, raised)
    reason = f"{what.reason.rstrip('.')}{pack.place(raised.frames)}."
    if stage == "prestartup":
        reason = f"The script that it runs before ComfyUI starts failed. {reason}"
    return ImportFailure(pack.name, reason, raised.line, what.missing_module, what.advice, stage)


def without_nodes(pack: Pack, why: str) -> ImportFailure:
    """A pack that ComfyUI imported and did not find nodes in."""
    return ImportFailure(
        pack.name,
        f"ComfyUI loaded it, and took no nodes from it: {why}.",
        None,
        None,
        "That is as it should be for a pack that only changes the web page. Otherwise update it or install it anew: "
        "its nodes may lie one folder deeper, or lack something that ComfyUI's log names in the lines before.",
        "no_nodes",
    )


def skipped(pack: Pack) -> ImportFailure:
    """A pack that ComfyUI was told to leave out."""
    return ImportFailure(
        pack.name,
        "ComfyUI was started with --disable-all-custom-nodes, and this pack is not among the exceptions.",
        None,
        None,
        "Start ComfyUI without that option, or with --whitelist-custom-nodes and the pack's folder.",
        "skipped",
    )


def lost(pack: Pack, stage: Stage = "import") -> ImportFailure:
    """A pack of which only the failure is left in the log."""
    return ImportFailure(
        pack.name,
        "ComfyUI could not import it; its log no longer says why.",
        None,
        None,
        f"Restart ComfyUI and look again. {pack.requirements}",
        stage,
    )


def _meaning(pack: Pack, raised: Raised) -> _Meaning:
    message = raised.message
    if raised.type in ("", "FileNotFoundError") and _NO_INIT.search(message):
        return _Meaning(
            "Its folder has no __init__.py, so that it is no node pack",
            "Look whether the pack lies one folder deeper, or whether only a part of it was downloaded: install it "
            "anew, or take the folder out of custom_nodes.",
        )
    if module := raised.missing_module:
        return _missing(pack, module, raised)
    if found := _NO_NAME.search(message):
        return _without_part(pack, owner=found[2], name=found[1])
    if found := _NO_PART.search(message):
        return _without_part(pack, owner=found[1], name=found[2])
    if raised.type in ("SyntaxError", "IndentationError", "TabError"):
        return _Meaning(
            f"Python cannot read one of its files: {message}",
            "Update the pack or install it anew; where its code is newer than the Python that runs ComfyUI, that "
            "Python has to be newer too.",
        )
    if found := _LIBRARY.search(message):
        return _Meaning(
            f"The system lacks the library {found[1]}",
            f"Install the system's package that has {found[1]} on the machine that runs ComfyUI (libGL.so.1 comes "
            "with libgl1 on Debian and Ubuntu), then restart ComfyUI.",
        )
    if "DLL load failed" in message:
        return _Meaning(
            f"Windows could not load a library that it needs: {message}",
            f"{pack.requirements} Install Microsoft's Visual C++ runtime where that changes nothing.",
        )
    return _Meaning(
        f"It failed with {raised.line}" if raised.line else "It failed without a word",
        f"{pack.update} {pack.requirements} Where the error stays, it is one for its authors.",
    )


def _missing(pack: Pack, module: str, raised: Raised) -> _Meaning:
    """What to do where a Python module is missing."""
    root = module.partition(".")[0]
    kind = _KIND_OF_MODULE.get(root)
    own = _own_file(pack, module)
    if own is not None:
        return _Meaning(f"Its own file '{own}' is missing", _INCOMPLETE)
    if module.startswith("custom_nodes."):
        other = clean(module.split(".")[1])
        return _Meaning(f"It needs the node pack '{other}', which is not installed", f"Install '{other}' as well.")
    if not _MODULE.fullmatch(module):
        return _Meaning(f"It needs a Python module that is missing: {raised.message}", pack.requirements)
    if kind == "comfyui":
        return _Meaning(f"It needs '{module}', a part of ComfyUI that this version does not have", _VERSIONS)
    if kind == "taken":
        return _Meaning(
            f"It looks for '{module}' among its own files and finds ComfyUI's '{root}' instead",
            "Update the pack; where it stays so, it is an error for the pack's authors.",
        )
    if kind == "removed":
        return _Meaning(f"It needs '{module}', which this version of Python no longer has", pack.update)
    if root != module and module not in _PACKAGES:
        return _without_part(pack, owner=root, name=module)
    reason = f"It needs the Python module '{module}', which is not installed"
    if raised.type not in ("", "ModuleNotFoundError"):
        reason += f" ({raised.line})"
    if kind == "build":
        return _Meaning(
            reason,
            f"Install a build of {root} that fits ComfyUI's PyTorch and CUDA; the pack's page says which.",
            module,
        )
    package = _PACKAGES.get(module) or _PACKAGES.get(root) or (root.replace("_", "-") if kind == "package" else None)
    if package is None:
        alone = "Where that does not bring it, the pack's page says what does: do not guess a package by its name."
    else:
        named = f'"{package}"' if "<" in package else package
        alone = f"For this module alone: python -m pip install {named}."
    return _Meaning(reason, f"{pack.requirements} {alone}", module)


def _own_file(pack: Pack, module: str) -> str | None:
    """The file of a pack's own that a missing module is. A pack is imported under its path (its dots rewritten), under
    its name in older versions of ComfyUI, and so are its files."""
    last = re.split(r"[/\\]", module)[-1]
    if last != module:
        return clean(last.partition(".")[2] or last)
    for before in (f"{pack.name}.", f"custom_nodes.{pack.name}."):
        if module.startswith(before):
            return clean(module.removeprefix(before))
    return None


def _without_part(pack: Pack, *, owner: str, name: str) -> _Meaning:
    """What to do where a module is there, and what a pack takes from it is not."""
    root = owner.partition(".")[0]
    kind = _KIND_OF_MODULE.get(root)
    name, owner = clean(name), clean(owner)
    if "/" in owner or "\\" in owner:
        return _Meaning(f"Its own files do not fit together: there is no '{name}' in one of them", _INCOMPLETE)
    if kind in ("comfyui", "taken"):
        return _Meaning(f"It needs '{name}' of ComfyUI's '{owner}', which this version does not have", _VERSIONS)
    if root in sys.stdlib_module_names:
        return _Meaning(f"It needs '{name}' of '{owner}', which this version of Python does not have", pack.update)
    return _Meaning(
        f"It needs '{name}' of '{owner}', which the installed version of '{clean(root)}' does not have",
        f"{pack.update} {pack.requirements}",
    )
