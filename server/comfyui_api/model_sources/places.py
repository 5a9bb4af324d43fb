"""Folders, paths, links and sizes as tables, workflows and Managers write them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

# Other spellings of ComfyUI's folder words (folder_paths.py, map_legacy, has the first two).
_ALIASES = {
    "clip": "text_encoders",
    "unet": "diffusion_models",
    "t2i_adapter": "controlnet",
    "checkpoint": "checkpoints",
    "ckpt": "checkpoints",
    "controlnets": "controlnet",
    "diffusion_model": "diffusion_models",
    "embedding": "embeddings",
    "lora": "loras",
    "text_encoder": "text_encoders",
    "upscale_model": "upscale_models",
}
_WORDS = (
    *("audio_encoders", "background_removal", "checkpoints", "classifiers", "clip_vision", "configs", "controlnet"),
    *("detection", "diffusers", "diffusion_models", "embeddings", "frame_interpolation", "geometry_estimation"),
    *("gligen", "hypernetworks", "latent_upscale_models", "loras", "model_patches", "optical_flow", "photomaker"),
    *("style_models", "text_encoders", "upscale_models", "vae", "vae_approx"),
)
_FOLDERS = {word: word for word in _WORDS} | _ALIASES
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
LINK = re.compile(r"https?://[^\s<>|)\]\"'`\\^{}\x00-\x20\x7f]+", re.IGNORECASE)
_SEGMENT = re.compile(r"[^\x00-\x1f\x7f<>:\"|?*\\/]+")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SIZE = re.compile(r"(\d{1,15})(?:([.,])(\d{1,9}))?\s*(?:([kmgt]?)(i?)b(?:ytes?)?)?", re.IGNORECASE | re.ASCII)
_ENDING = re.compile(r"\.(?!html?$|php$|md$|aspx?$)[A-Za-z0-9]{1,12}$", re.IGNORECASE)
_HUGGING_FACE_FILE = re.compile(r"((?:/datasets|/spaces)?/[^/]+/[^/]+)/(resolve|blob|raw)/([^/]+/.*[^/])")
_GITHUB_FILE = re.compile(r"(/[^/]+/[^/]+)/(raw|blob|releases/download)/([^/]+/.*[^/])")
_ASKS_FOR_FILE = re.compile(r"(?:^|&)(?:dl|download|raw)=")
LONGEST_PATH = 400
_LONGEST_LINK = 2_000
_LARGEST = 10**15
_SHOWN_LETTERS = 80
SHA256 = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")


def folder_word(text: str) -> str | None:
    """ComfyUI's word for a folder that somebody writes in another way ("Text encoders", "clip"); None for others."""
    return _FOLDERS.get(text.strip().casefold().replace(" ", "_"))


def direct_link(link: str) -> str | None:
    """The link from which a browser gets the file itself, or None where it leads to a page, or is no http(s) link.

    Hugging Face's and GitHub's pages of one file become the links to the file.
    """
    parts = split_link(link)
    if parts is None:
        return None
    host, path, query = parts.netloc.lower().removeprefix("www."), parts.path, parts.query
    if host in ("huggingface.co", "hf.co"):
        found = _HUGGING_FACE_FILE.fullmatch(path)
        if found is None:
            return None
        # "?download=true" only tells a browser not to show it.
        return f"https://huggingface.co{found[1]}/{found[2].replace('blob', 'resolve')}/{found[3]}"
    if host == "github.com":
        found = _GITHUB_FILE.fullmatch(path)
        return f"https://github.com{found[1]}/{found[2].replace('blob', 'raw')}/{found[3]}" if found else None
    if host in ("civitai.com", "civitai.red"):
        return link if path.startswith("/api/download/") else None
    if "/resolve/" in path or _ENDING.search(path) or _ASKS_FOR_FILE.search(query):
        return link
    return None


def split_link(link: str) -> SplitResult | None:
    """The parts of an http(s) link; None where it is none."""
    if len(link) > _LONGEST_LINK or not LINK.fullmatch(link):
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        # A bracket without its partner, or an address that is none.
        return None
    # A link that carries a password is nobody's public source.
    return parts if parts.hostname and "@" not in parts.netloc else None


def last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def place_of(folder: str, file: str) -> tuple[str, str] | str:
    """The folder below models/ in ComfyUI's word and the file in it, with its subfolders; or what is wrong with them.

    Only plain relative paths pass: a place is where something may be downloaded to.
    """
    where = folder.replace("\\", "/").strip().removeprefix("./")
    for front in ("ComfyUI/", "models/"):
        where = where[len(front) :] if where.casefold().startswith(front.casefold()) else where
    home, _, below = where.rstrip("/").partition("/")
    file = file.replace("\\", "/").strip()
    if below and not file.startswith(f"{below}/"):
        file = f"{below}/{file}"
    if not where:
        return "no folder is given for it"
    home = _FOLDERS.get(home.casefold(), home)
    if not _FOLDER.fullmatch(home):
        return f"“{shown(folder)}” is no folder below models/"
    if len(file) > LONGEST_PATH or not all(map(_is_plain, file.split("/"))):
        return "its name is no plain path of a file"
    return home, file


def _is_plain(segment: str) -> bool:
    return bool(_SEGMENT.fullmatch(segment)) and segment.strip(" .") == segment


def home_of(folder: str) -> str:
    """The folder that a caller means, to compare with."""
    place = place_of(folder, "x")
    return (folder if isinstance(place, str) else place[0]).casefold()


def size_of(text: str, *, binary: bool = False) -> int | None:
    """Bytes of "6.94 GB" or "6.46 GiB". `binary`: whoever wrote it counts 1024 of each for the next unit."""
    found = _SIZE.search(text)
    if found is None:
        return None
    whole, mark, fraction, unit, i = found.groups()
    if fraction and mark == "," and len(fraction) == 3:
        whole, fraction = whole + fraction, None
    if unit is None and len(whole) < 4:
        # "6.5" alone is rather 6.5 GB than 6 bytes: nobody can tell.
        return None
    base = 1024 if i or binary else 1000
    size = round(float(f"{whole}.{fraction or 0}") * base ** _UNITS[(unit or "").lower()])
    return size if 0 < size <= _LARGEST else None


def shown(text: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN_LETTERS + 1])
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"


def links_in(cell: str) -> list[str]:
    if "://" not in cell:
        return []
    return [link for link in LINK.findall(cell) if split_link(link)]
