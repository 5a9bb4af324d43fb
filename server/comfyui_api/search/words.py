"""Words as they are compared: cut at capitals and digits, in one form, with what else people call the same thing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

LONGEST_QUERY = 500  # letters of a query that are looked at
MOST_WORDS = 24
_LONGEST_CHUNK = 60  # letters of what is still a word
_MOST_PARTS = 24  # words of a title
JOINED = 3  # parts that are also one word: "Control" "Net" is "controlnet"

_CHUNK = re.compile(r"[^\W_]+")
_CAPITALS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PARTS = re.compile(_CAPITALS.pattern + r"|(?<=\D)(?=\d)|(?<=\d)(?=\D)")
# Who turns a video into frames rotates nothing.
_TURNED_INTO = re.compile(r"\bturn(?:s|ing|ed)?\b(?=.*\binto\b)", re.IGNORECASE | re.DOTALL)
_ENDING = re.compile(r"(?<=...)(?:ing|ion|er|or|ed|e)$")

# Words of a question that say nothing of what is looked for.
FILLERS = frozenset(
    _CHUNK.findall(
        "a an and any are as at be by can comfy comfyui do does first for from get have how i in into is it me my need "
        "node nodes of on one or please some that the this to use using want what where which with you"
    )
)

# Other words for the same, as people say them: what is asked for → what it may be called.
SYNONYMS: dict[str, str] = {
    "add": "apply combine",
    "ai": "model",
    "animation": "video animated",
    "background": "alpha",
    "base": "checkpoint",
    "bigger": "upscale scale",
    "blend": "composite mix merge",
    "blank": "empty",
    "bool": "boolean",
    "change": "edit set",
    "checkpoint": "ckpt",
    "ckpt": "checkpoint",
    "clip": "text",
    "cn": "controlnet",
    "colour": "color",
    "combine": "merge concat batch join composite",
    "compare": "comparison",
    "concat": "concatenate join combine",
    "concatenate": "concat join combine",
    "convert": "to",
    "create": "empty make generate new",
    "cut": "crop trim slice",
    "cutout": "mask segment",
    "decimal": "float",
    "delete": "remove",
    "denoise": "sampler",
    "diffuse": "sampler",
    "display": "preview show",
    "download": "save",
    "draw": "paint",
    "enlarge": "upscale scale resize",
    "erase": "remove",
    "expand": "grow pad outpaint",
    "export": "save",
    "extend": "pad outpaint",
    "extract": "split get",
    "fill": "inpaint",
    "film": "video",
    "flip": "mirror",
    "fps": "framerate",
    "frames": "images",
    "generate": "sampler create",
    "grey": "gray",
    "greyscale": "grayscale",
    "img": "image",
    "import": "load",
    "integer": "int",
    "interpolate": "interpolation blend",
    "invert": "inverse",
    "join": "concat concatenate combine merge batch",
    "llm": "text chat",
    "make": "create empty",
    "matte": "mask",
    "merge": "combine blend join",
    "mesh": "3d",
    "mirror": "flip",
    "mix": "blend merge combine",
    "movie": "video",
    "mp3": "audio",
    "mp4": "video",
    "music": "audio",
    "negative": "prompt conditioning",
    "new": "empty create",
    "number": "int float",
    "open": "load",
    "outpaint": "pad inpaint",
    "output": "save preview",
    "overlay": "composite",
    "paste": "composite",
    "photo": "image",
    "pic": "image",
    "picture": "image",
    "png": "image",
    "positive": "prompt conditioning",
    "preview": "show view",
    "print": "preview show",
    "prompt": "text conditioning",
    "random": "noise seed",
    "read": "load",
    "refine": "sampler",
    "remove": "delete",
    "resize": "scale upscale",
    "reverse": "invert",
    "rotate": "rotation",
    "rotation": "rotate",
    "scale": "resize upscale",
    "segment": "mask segmentation",
    "segmentation": "mask segment",
    "sharpness": "sharpen",
    "show": "preview display",
    "shrink": "scale resize downscale",
    "silhouette": "mask",
    "size": "width resize",
    "song": "audio",
    "sound": "audio",
    "speech": "audio",
    "stack": "batch",
    "store": "save",
    "string": "text",
    "strip": "remove",
    "subtract": "difference",
    "super": "upscale",
    "text": "string prompt",
    "trim": "crop cut slice",
    "turn": "rotate",
    "txt": "text",
    "unite": "merge",
    "upscale": "scale",
    "view": "preview",
    "voice": "audio",
    "wav": "audio",
    "write": "save",
    "zoom": "scale crop",
}


@lru_cache(maxsize=2**14)
def stem(word: str) -> str:
    """One form for the forms of an English word: sampler, sampling and samples are the same."""
    word = word.casefold()
    if not word.isascii() or not word.isalpha():
        return word
    word = word.replace("colour", "color").replace("grey", "gray")
    if word.endswith("ies") and len(word) > 4:
        word = f"{word[:-3]}y"
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        word = word[:-1]
    for _ in range(2):  # conditioning: condition: condit
        word = _ENDING.sub("", word)
    if len(word) > 5 and word.endswith("is"):
        word = f"{word[:-1]}z"  # normalis(e) is normalize
    # cropp(ing) is crop
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def typed(word: str) -> str:
    """The beginning that a word is of others, as it was typed: face is none of factor, though both have one form."""
    word = word.casefold()
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def asked(query: str) -> list[str]:
    """The words of a query that count, each once and as they were written; all of them where none counts."""
    words = list(dict.fromkeys(_asked(_TURNED_INTO.sub("", query[:LONGEST_QUERY]))))
    return ([word for word in words if word.casefold() not in FILLERS] or words)[:MOST_WORDS]


def _asked(query: str) -> Iterator[str]:
    for chunk in chunks(query):
        # A number stays with its letters: SD3, img2img.
        yield from _CAPITALS.split(chunk)


def other_words(word: str) -> tuple[str, ...]:
    """What else a word of a query may be called, each in its one form."""
    return _OTHERS.get(stem(word), ())


_OTHERS = {stem(word): tuple(stem(other) for other in others.split()) for word, others in SYNONYMS.items()}


class Needles(NamedTuple):
    """What a squeezed text holds wherever a word is in it in any form, and wherever a synonym is."""

    own: tuple[str, ...]
    others: tuple[str, ...]


def needles_of(word: str) -> Needles:
    """The needles of a word of a query."""
    return Needles(tuple(_beginnings([stem(word)])), tuple(_beginnings(other_words(word))))


def needles(words: Iterable[str]) -> list[str]:
    """All needles of the words of a query: what has none of them is not what is looked for."""
    return sorted({needle for word in words for needles in needles_of(word) for needle in needles})


def _beginnings(forms: Iterable[str]) -> Iterator[str]:
    """What stands in all that has one of these forms; forms are beginnings of words, but for a few endings."""
    for form in forms:
        yield form[:-1] if form.endswith(("y", "iz")) and len(form) > 3 else form
        if "gray" in form:
            yield form.replace("gray", "grey")


def squeezed(text: str) -> str:
    """A text for a first quick look: what may be written as one word or as two stands together."""
    return text.replace(" ", "").replace("_", "").replace("-", "").casefold()


class Title(NamedTuple):
    """A phrase that something goes by: its words, and what they and neighbours of them are found by, with the places
    (start, end) of these words."""

    words: tuple[str, ...]
    found_by: dict[str, tuple[int, int]]


@lru_cache(maxsize=2**12)
def title_of(text: str) -> Title:
    """A title in words."""
    words = tuple(part for chunk in chunks(text) for part in _parts(chunk))[:_MOST_PARTS]
    found_by = {}
    for joined in range(JOINED, 0, -1):  # a word itself goes before neighbours that are written like it
        for start in range(len(words) - joined + 1):
            found_by[stem("".join(words[start : start + joined]))] = (start, start + joined)
    return Title(words, found_by)


def said_in(text: str) -> set[str]:
    """The words in a longer text, each in its one form."""
    return set().union(*map(_tokens, chunks(text)))


def forms(chunk: str) -> Iterator[tuple[str, str]]:
    """(form, as it is written) of the words in a run of letters and digits, and of the whole."""
    for word in (*_parts(chunk), chunk):
        yield stem(word), word


def chunks(text: str) -> list[str]:
    """A text in runs of letters and digits; what is too long to be a word is left out."""
    return [chunk for chunk in _CHUNK.findall(text) if len(chunk) <= _LONGEST_CHUNK]


@lru_cache(maxsize=2**13)
def _parts(chunk: str) -> tuple[str, ...]:
    """The words in a run of letters and digits: LoadImage is load and image."""
    return tuple(_PARTS.split(chunk))


@lru_cache(maxsize=2**13)
def _tokens(chunk: str) -> frozenset[str]:
    """All that a run of letters and digits may be found by: its words, neighbours of them as one, and the whole."""
    words = _parts(chunk)
    pairs = (one + other for one, other in pairwise(words))
    return frozenset(map(stem, (*words, *pairs, chunk)))
