"""Where a model file may stand: the names that lists, workflows and people give, checked before anything is written."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from comfyui_api.errors import NotPermitted
from comfyui_api.storage import safe_name

PART_BYTES = 200  # of the 255 that file systems allow: the names of what is only begun are longer
PATH_LETTERS = 400

# What models and what belongs to them are kept in. A file that Python or the system would run is none of them.
WEIGHTS = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".onnx", ".pkl", ".jit", ".npz")
BESIDE_THEM = (".npy", ".msgpack", ".h5", ".yaml", ".yml", ".json", ".txt", ".model", ".vocab", ".zip", ".tar")
ENDINGS = frozenset((*WEIGHTS, *BESIDE_THEM))

_LETTERS = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')


def place_of(folder: Path, file: str) -> Path:
    """The path of `file` below `folder`; "/" and "\\" part subfolders.

    Raises NotPermitted with the reason for a name that leads out of the folder, that some system cannot have, or that
    is not a model file's.
    """
    name = file.replace("\\", "/")
    if len(name) > PATH_LETTERS:
        raise _refused(file, f"has {len(name):,} letters")
    if not name or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _refused(file, "is no name below the folder")
    parts = name.split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise _refused(file, "leads out of the folder" if part == ".." else "has an empty part")
        if _LETTERS.search(part) or not part.isprintable():
            raise _refused(file, "has letters that a file name cannot have")
        if len(part.encode()) > PART_BYTES:
            raise _refused(file, f"has a part of more than {PART_BYTES} bytes")
        if part.strip(" .") != part:
            raise _refused(file, "begins or ends with a dot or a blank")
        if safe_name(part).startswith("_") and not part.startswith("_"):
            raise _refused(file, "is the name of a device on Windows")
    ending = PurePosixPath(name).suffix.casefold()
    if ending not in ENDINGS:
        raise _refused(file, f"ends in '{ending[:20]}', which model files do not" if ending else "has no ending")
    return folder.joinpath(*parts)


def folder_word(folder: str) -> str:
    """The word for a folder of models, as it was given. Raises NotPermitted for what is none."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,99}", folder) or folder.endswith(".") or safe_name(folder) != folder:
        raise NotPermitted(f"'{shown(folder)}' is no folder of models.", "Use a word such as checkpoints or loras.")
    if folder.casefold() == "custom_nodes":
        raise NotPermitted(
            "custom_nodes holds programs, not models: nothing is downloaded there.", "Install node packs by ComfyUI."
        )
    return folder


def shown(text: str, length: int = 200) -> str:
    """A text of others as it can be printed: one line, nothing that a terminal would obey."""
    cut = text if len(text) <= length else f"{text[: length - 1]}…"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)


def _refused(file: str, why: str) -> NotPermitted:
    return NotPermitted(
        f"'{shown(file, 120)}' is not fetched: this name {why}.", "Correct the name in the list or workflow it is from."
    )
