"""Workflow templates: the server's index of the official ones, the list of them in references/templates.md, what a
template's own workflow tells, and which of many fit a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias, TypeGuard
from urllib.parse import quote

from comfyui_api.graph import Prompt
from comfyui_api.intents import Intent, intent_of
from comfyui_api.model_sources import size_of
from comfyui_api.node_class import NodeClasses
from comfyui_api.repair.model_files import readable_size
from comfyui_api.repair.model_inputs import InstalledModels, is_model_file
from comfyui_api.repair.versions import is_older
from comfyui_api.search import Found, Item, Ranking, rank, stem
from comfyui_api.search.words import said_in

Media: TypeAlias = tuple[str, ...]
"""Words of MEDIA, in that order."""

MEDIA = ("text", "image", "video", "audio", "3d", "vector")
REPOSITORY = "https://github.com/Comfy-Org/workflow_templates"
PACKAGE = "comfyui-workflow-templates"

_TEXT_KEPT = 600  # characters of one text of an index
_MANY = 10_000  # entries of an index; the official one has 644
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,200}")
_MEDIA_OF_TAGS = {
    "text to image": ("text", "image"),
    "image edit": ("image", "image"),
    "image to image": ("image", "image"),
    "image upscale": ("image", "image"),
    "inpainting": ("image", "image"),
    "outpainting": ("image", "image"),
    "remove background": ("image", "image"),
    "image to video": ("image", "video"),
    "text to video": ("text", "video"),
    "flf2v": ("image", "video"),
    "reference to video": ("image", "video"),
    "video to video": ("video", "video"),
    "video edit": ("video", "video"),
    "video upscale": ("video", "video"),
    "image to 3d": ("image", "3d"),
    "text to 3d": ("text", "3d"),
    "text to model": ("text", "3d"),
    "text to audio": ("text", "audio"),
    "text to speech": ("text", "audio"),
    "text to music": ("text", "audio"),
    "audio editing": ("audio", "audio"),
    "audio to audio": ("audio", "audio"),
    "audio to video": ("audio", "video"),
    "speech to text": ("audio", "text"),
    "video extend": ("video", "video"),
    "text generation": ("text", "text"),
}
# What the names of classes say of what a node brings in or gives out.
_LOADERS = {
    "LoadImage": "image",
    "LoadImageMask": "image",
    "LoadImageOutput": "image",
    "LoadVideo": "video",
    "LoadAudio": "audio",
    "Load3D": "3d",
    "Load3DAnimation": "3d",
}
_SAVERS = (
    (re.compile(r"Save(Image|AnimatedPNG)|PreviewImage|ImageCompare|MaskPreview"), "image"),
    (re.compile(r"SaveVideo|SaveWEBM|SaveAnimatedWEBP|VHS_VideoCombine"), "video"),
    (re.compile(r"(Save|Preview)Audio"), "audio"),
    (re.compile(r"SaveGLB|Preview3D|SaveSplat|Save3D"), "3d"),
    (re.compile(r"SaveSVG"), "vector"),
    (re.compile(r"PreviewAny|SaveText|ShowText"), "text"),
)
_EDITOR_ONLY = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode"})


@dataclass(frozen=True)
class Template:
    """One template. `takes` and `makes` are the media that go in and come out, where known; `families` the models'
    names as people say them, `files` the model files where the list has them. `size` is of all its models in bytes.

    `partner`: it runs on a partner's service, which costs credits. `needs` is the ComfyUI version that it was made
    for, `usage` how often it is taken. `pack` is the folder of the node pack that brought it, and `is_own` tells that a
    user saved it on the server; else it is an official one.
    """

    name: str
    title: str
    description: str = ""
    category: str = ""
    takes: Media = ()
    makes: Media = ()
    tags: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    size: int | None = None
    partner: bool = False
    needs: str | None = None
    usage: int = 0
    pack: str | None = None
    is_own: bool = False

    @property
    def is_official(self) -> bool:
        return self.pack is None and not self.is_own

    @property
    def link(self) -> str | None:
        """Where the workflow of an official one can be had without a server."""
        return f"{REPOSITORY}/blob/main/templates/{quote(self.name, safe='')}.json" if self.is_official else None


# --- the server's index


def parse_index(raw: Any) -> list[Template]:
    """The templates of /templates/index.json: a list of categories, each with its `templates`.

    Raises TypeError for another shape; entries that are no templates are passed over. The format: index.schema.json of
    the official templates.
    """
    if not isinstance(raw, list):
        raise TypeError(f"a list of categories was expected, not {type(raw).__name__}")
    found: dict[str, Template] = {}
    for category in raw:
        entries = category.get("templates") if isinstance(category, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            template = _of_entry(entry, _text(category.get("title")))
            if template is not None and len(found) < _MANY:
                found.setdefault(template.name, template)
    return list(found.values())


def parse_pack_workflows(raw: Any) -> list[Template]:
    """The example workflows of node packs, as /workflow_templates lists them: {folder of the pack: [names]}.

    They are named "folder/name". Raises TypeError for another shape.
    """
    if not isinstance(raw, dict):
        raise TypeError(f"an object was expected, not {type(raw).__name__}")
    found: dict[str, Template] = {}
    for pack, names in raw.items():
        for name in names if isinstance(names, list) else ():
            if _is_name(pack) and _is_name(name) and len(found) < _MANY:
                title = re.sub(r"[_\s-]+", " ", name).strip()
                found.setdefault(f"{pack}/{name}", Template(f"{pack}/{name}", title or name, pack=pack))
    return list(found.values())


def _of_entry(entry: Any, category: str) -> Template | None:
    if not isinstance(entry, dict) or not _is_name(name := entry.get("name")):
        return None
    tags = _texts(entry.get("tags"))
    size, usage = entry.get("size"), entry.get("usage")
    io = entry.get("io")
    takes, makes = (_media_in(io.get(key) if isinstance(io, dict) else None) for key in ("inputs", "outputs"))
    told_takes, told_makes = media_of_tags(tags)
    is_api = entry.get("openSource") is False or "API" in tags or name.startswith("api_") or category.endswith(" API")
    return Template(
        name=name,
        title=_text(entry.get("title")) or name,
        description=_text(entry.get("description")),
        category=category,
        takes=takes or told_takes,
        makes=makes or told_makes,
        tags=tuple(tag for tag in tags if tag != "API"),
        families=tuple(family for family in _texts(entry.get("models")) if family != "None"),
        size=size if type(size) is int and 0 < size < 2**62 else None,
        partner=is_api,
        needs=_text(entry.get("minComfyUIVersion")) or None,
        usage=usage if type(usage) is int and 0 < usage < 2**53 else 0,
    )


def _is_name(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and name.strip(". ") != ""


def _text(value: Any) -> str:
    return " ".join(value[: 2 * _TEXT_KEPT].split())[:_TEXT_KEPT] if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    items = value[:30] if isinstance(value, list) else []
    return tuple(text for item in items if (text := _text(item)[:100]))


def _media_in(entries: Any) -> Media:
    """The media of `io.inputs` or `io.outputs`."""
    told = {str(entry.get("mediaType")) for entry in entries if isinstance(entry, dict)} if _is_list(entries) else set()
    return in_order(told)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def in_order(media: Iterable[str]) -> Media:
    there = set(media)
    return tuple(word for word in MEDIA if word in there)


def media_of_tags(tags: Iterable[str]) -> tuple[Media, Media]:
    """(what goes in, what comes out), as far as the tags tell: "Image to Video"."""
    known = [_MEDIA_OF_TAGS[tag.casefold()] for tag in tags if tag.casefold() in _MEDIA_OF_TAGS]
    return in_order(takes for takes, _ in known), in_order(makes for _, makes in known)


# --- which of many fit a request

# What people call the things that the official tags name.
_FAMILIES_CALLED = {
    "sd1.5": "stable diffusion 1.5",
    "sd3.5": "stable diffusion 3.5",
    "sdxl": "stable diffusion xl",
}
_ALSO_CALLED = {
    "3d": "mesh glb object",
    "anime": "manga cartoon",
    "audio to video": "talking avatar music video",
    "character reference": "consistent character same person",
    "character replacement": "face swap change person",
    "controlnet": "pose depth canny edges sketch guided control",
    "depth": "depth map",
    "depth estimation": "depth map",
    "flf2v": "first and last frame start end keyframes transition morph between two images",
    "frame interpolation": "smooth slow motion more frames per second fps",
    "image edit": "change modify replace instruction photo retouch",
    "image to 3d": "3d model from a photo mesh",
    "image to video": "animate a picture photo moving",
    "image upscale": "enlarge enhance increase resolution super sharper restore bigger old",
    "inpainting": "inpaint mask fill erase remove an object replace a part",
    "lip sync": "talking head avatar speak portrait mouth",
    "llm": "chat language model",
    "motion control": "camera movement dance transfer",
    "music": "song instrumental",
    "outpainting": "outpaint extend expand the borders uncrop",
    "portrait": "face person headshot",
    "relight": "light lighting shadow",
    "remove background": "cut out cutout matting transparent alpha rembg",
    "speech to text": "transcribe transcription subtitles",
    "style reference": "style transfer look of another picture",
    "style transfer": "look of another picture painting",
    "text generation": "chat llm caption describe write a prompt",
    "text to audio": "sound effect sfx foley",
    "text to music": "song sing lyrics instrumental compose",
    "text to speech": "voice speak read aloud narration tts",
    "upscale": "enlarge enhance increase resolution super sharper restore bigger old",
    "vector": "svg logo icon",
    "video edit": "change modify replace in a clip",
    "video extend": "longer continue",
    "video to video": "restyle a clip",
    "video upscale": "enlarge enhance increase resolution super sharper restore old",
    "virtual try-on": "clothes outfit dress garment fashion",
    "voice cloning": "copy a voice",
}
_CALLED = {
    "image": "image images photo photos picture pictures pic pics img portrait drawing sketch painting still frame",
    "video": "video videos movie film clip clips animation vid gif",
    "audio": "audio music song sound speech voice soundtrack",
    "3d": "3d mesh glb",
    "vector": "svg vector",
    "text": "text txt prompt words description",
}
_MEDIUM = {word: medium for medium, words in _CALLED.items() for word in words.split()}
_WORDS = re.compile(r"[a-z0-9]+")
_TURNS = frozenset(["to", "into", "2", "as"])
_OF = frozenset(["from", "out"])
# "t2v" is text to video, "img2img" image to image; in names they stand between underscores.
_SHORT = re.compile(r"(?<![a-z0-9])(t|i|v|a|txt|img|vid)2(i|v|a|img|vid|3d)(?![a-z0-9])")
_LONG = {"t": "text", "i": "image", "v": "video", "a": "audio", "txt": "text", "img": "image", "vid": "video"}
_MAKING = frozenset(["make", "create", "generate", "animate", "turn", "convert", "transform", "want", "new"])
_OWN, _THESE_MEDIA, _OTHER_MEDIA, _PARTNERS, _NEWER = 1.2, 1.1, 0.6, 0.9, 0.85
_NOT_NAMED = 0.3  # what does it and is not of the model or kind that is named
_NAMED_SO = 0.9  # how well one of the user's own fits that is called like what is wanted
_PLAIN_ONES = "Getting Started"  # the category of the basic ones
# "make me a picture of …", and not "make the picture bigger".
_OUT_OF_WORDS = re.compile(
    r"\b(?:make|create|generate|draw|paint|want|need|give)\b(?: (?:me|us|to|make|create|generate|have))*"
    r" (?:a|an|some|new|nice|beautiful)(?: [a-z]+)? ([a-z0-9]+)(?: (?:of|with|showing|that|where|about)\b|[.!?]?$)"
)
_TELLING = frozenset(["describe", "caption", "captions", "captioning"])
_MOST_TAKEN = 100_000  # how often the favourites are, about


def find(query: str, templates: Iterable[Template], version: str | None = None) -> Ranking:
    """The templates that fit a request in plain words, the best first.

    What is to be done decides ("turn this photo into a video"), then models and kinds that are named ("with flux").
    What is to be shown tells nothing of a template, and only breaks ties. Where several fit alike: own ones, then free
    ones before partners' ones, those that this `version` of ComfyUI can have before newer ones, plain ones before
    others, and those that are taken often. A request that does not tell what is to be done is searched for by all of
    its words.
    """
    known = list(templates)
    intent = wanted(query, known)
    if intent is not None and (ranking := _doing(intent, known, version)) is not None:
        return ranking
    takes, makes = media_of_request(query)
    items = [_item(template, takes, makes, version) for template in known]
    words = _words_to_find(query, takes, makes)
    ranking = rank(words, items, as_written=intent is not None)
    # Only a word of the trade is likely to be written wrong: a house is no horse.
    spelled = (
        _trade_words(known)
        | _MEDIUM.keys()
        | {word for each in known for tag in each.tags for word in _WORDS.findall(tag.casefold())}
    )
    if any(not spelled.intersection(_WORDS.findall(meant.casefold())) for meant in ranking.read_as.values()):
        return rank(words, items, as_written=True)
    return ranking


def wanted(query: str, templates: Iterable[Template]) -> Intent | None:
    """What a request wants done with templates like these, where it tells."""
    trade = _trade_words(templates)
    return intent_of(query, lambda word: bool(trade.intersection(_WORDS.findall(word))))


_COMMON = frozenset(
    _WORDS.findall(
        "a an the to from of and in on for with new one text image photo picture video audio 3d api real first last "
        "frame example workflow template templates multi input inputs default basic simple full dev max pro fast large "
        "model models edit generation generate create reference effects style extend replace motion virtual"
    )
)
_KINDS = frozenset(
    _WORDS.findall(
        "anime manga lora loras controlnet logo svg vector mockup panorama multiview instrumental instrumentals lyrics "
        "turbo packaging"
    )
)
_PREFIXES = frozenset(["api", "image", "video", "audio", "3d", "utility", "template", "templates"])


def _trade_words(templates: Iterable[Template]) -> frozenset[str]:
    """The words that name models and kinds of workflows, in small letters; a name begins with its model's."""
    words = set(_KINDS)
    for template in templates:
        if not template.is_official:
            continue
        for family in template.families:
            words.update(_WORDS.findall(family.casefold()))
        parts = [part for part in _WORDS.findall(template.name.casefold().replace("_", " ")) if part not in _PREFIXES]
        for part in parts[:1] if template.name.casefold().startswith(("template", "utility")) else parts[:2]:
            words.add(part)
            words.add(part.rstrip("0123456789") or part)
    return frozenset(word for word in words if not word.isdigit() and len(word) > 1) - _COMMON


def _doing(intent: Intent, templates: list[Template], version: str | None) -> Ranking | None:
    """The templates that do what is wanted; None where none does, or none of the kind that is named."""
    about = set(map(stem, intent.about))
    by_partner = not {"api", "partner"}.isdisjoint(intent.about)
    fits: dict[str, float] = {}
    items = []
    for place, template in enumerate(templates):
        fit = intent.fit(_says(template), _squared(f"{template.title} {template.name}"), template.takes, template.makes)
        named = len(about & said_in(template.title)) if about else 0
        if not template.is_official and named:
            fit = max(fit, _NAMED_SO)
        if fit:
            # What is less than a tenth only orders what fits alike.
            usual = template.usage / _MOST_TAKEN if template.usage else 1.0 - place / len(templates)
            plain = template.category == _PLAIN_ONES
            prior = 1.0 + 0.02 * min(usual, 1.0) + 0.02 * plain + 0.005 * min(named, 2)
            prior *= _OWN if template.is_own else _PARTNERS if template.partner != by_partner else 1.0
            fits[template.name] = fit * prior * (_NEWER if is_older(version, template.needs) else 1.0)
            items.append(_item(template, None, None, version))
    if not fits:
        return None
    named_so: list[Found] = []
    if intent.around:
        found = rank(" ".join(intent.around), items, as_written=True).found
        named_so = [Found(each.key, each.score * fits.pop(each.key), each.share) for each in found]
    rest = [Found(name, fit * (_NOT_NAMED if named_so else 1.0), 1.0) for name, fit in fits.items()]
    return Ranking([*sorted(named_so, key=_by_score), *sorted(rest, key=_by_score)])


def _by_score(found: Found) -> float:
    return -found.score


def _says(template: Template) -> str:
    """What a template says that it does, for Intent.fit."""
    texts = (
        template.title,
        template.name,
        *template.tags,
        *(f"{one} to {other}" for one, other in _turns(template.name)),
    )
    return _squared(" ".join(texts))


def _squared(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip()


def _item(template: Template, takes: str | None, makes: str | None, version: str | None) -> Item:
    prior = _OWN if template.is_own else 1.0 + min(template.usage, _MOST_TAKEN) / (10 * _MOST_TAKEN)
    if (makes and template.makes and makes not in template.makes) or (
        takes and template.takes and takes not in template.takes
    ):
        prior *= _OTHER_MEDIA
    elif makes and takes and makes in template.makes and (takes in template.takes or not template.takes):
        prior *= _THESE_MEDIA
    if takes == "text" and set(template.takes) & {"image", "video"}:
        prior *= _OTHER_MEDIA
    if template.partner:
        prior *= _PARTNERS
    if is_older(version, template.needs):
        prior *= _NEWER
    also = [_ALSO_CALLED.get(tag.casefold(), "") for tag in template.tags]
    families = f"{template.title} {' '.join(template.families)}".casefold()
    also += [called for family, called in _FAMILIES_CALLED.items() if family in families]
    also += [f"{first} to {second}" for first, second in _turns(template.name.casefold())]
    texts = (
        (" ".join(template.tags), 1.0),
        (" ".join(template.families), 1.0),
        (" ".join(also), 0.8),
        (" ".join((*template.takes, *template.makes, template.category)), 0.6),
        (template.description, 0.5),
        (" ".join(template.files), 0.4),
    )
    return Item(template.name, (template.title, template.name, *template.tags), texts, prior)


def media_of_request(query: str) -> tuple[str | None, str | None]:
    """(what goes in, what comes out) of a request, where it tells: "turn a photo into a video", "image to 3d", "a
    video from two pictures", "t2v"."""
    query = query[:_TEXT_KEPT].casefold()
    for short in _turns(query):
        return short
    words = _WORDS.findall(query)
    said = [(place, _MEDIUM[word]) for place, word in enumerate(words) if word in _MEDIUM]
    for (one, first), (other, second) in pairwise(said):
        between = set(words[one + 1 : other])
        if between & _TURNS:
            return first, second
        if between & _OF:
            return second, first
    media = {medium for _, medium in said}
    if "animate" in words and "video" not in media:
        return "image", "video"
    if "image" in media and _TELLING.intersection(words):
        return "image", "text"
    if (made := _OUT_OF_WORDS.search(query)) and (medium := _MEDIUM.get(made[1])) not in (None, "text"):
        return "text", medium
    if len(media) == 1 and set(words) & _MAKING:
        return None, said[0][1]
    return None, None


def _turns(text: str) -> Iterator[tuple[str, str]]:
    """What becomes what by the abbreviations in a text: i2v."""
    for found in _SHORT.finditer(text):
        yield _LONG[found[1]], _LONG.get(found[2], found[2])


def _words_to_find(query: str, takes: str | None, makes: str | None) -> str:
    """The query without the words that say nothing; what becomes what in the words of the titles and tags."""
    query = query[:_TEXT_KEPT].casefold()
    kept = [word for word in query.split() if word.strip(",.!?") not in _EMPTY_WORDS]
    if takes is not None and makes is not None and "audio" not in (takes, makes):  # music is not speech
        kept = [word for word in kept if word.strip(",.!?") not in _MEDIUM.keys() | _TURNS and not _SHORT.search(word)]
        kept = [takes, "to", makes, *kept]
    return " ".join(kept) or query


_SAID_OF_ALL = (
    "a an the of my some that it its for with me us give let out do want would like need please template templates "
    "workflow workflows generation generator other another"
)
_EMPTY_WORDS = (_MAKING - {"animate"}) | frozenset(_SAID_OF_ALL.split())


# --- what the workflow itself tells


@dataclass(frozen=True)
class Needs:
    """What a template's workflow needs: the classes of its nodes and, of the model files that they name, those that
    are installed and those that are not; and the media that it takes and makes."""

    class_types: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()
    takes: Media = ()
    makes: Media = ()


def needs_of(prompt: Prompt, node_classes: NodeClasses | None, installed: InstalledModels) -> Needs:
    """What a converted template needs.

    A model file is there where the input that names it offers it; where that cannot be told (an unknown class, a list
    that the server keeps to itself), where any folder has a file of that name.
    """
    class_types: dict[str, None] = {}
    files: dict[str, bool] = {}
    somewhere = {plain(file) for names in installed.values() for file in names}
    for node in prompt.values():
        class_type = str(node.get("class_type"))
        class_types[class_type] = None
        node_class = node_classes.get(class_type) if node_classes is not None else None
        for name, value in node["inputs"].items():
            if not is_model_file(value):
                continue
            spec = node_class.inputs.get(name) if node_class is not None else None
            if spec is not None and not spec.is_combo:
                continue  # a text that ends like a file
            options = spec.options if spec is not None else None
            offered = {plain(str(option)) for option in options} if options is not None else somewhere
            files[plain(value)] = files.get(plain(value), True) and plain(value) in offered
    takes, makes = media_of_classes(class_types)
    missing = tuple(file for file, is_there in files.items() if not is_there)
    return Needs(tuple(class_types), tuple(files), missing, takes, makes)


def plain(file: str) -> str:
    """A file name with "/" between folders, whoever wrote it."""
    return file.replace("\\", "/")


def media_of_classes(class_types: Iterable[str]) -> tuple[Media, Media]:
    """(what its loaders bring in, what its savers and previews give out)."""
    types = list(class_types)
    takes = {_LOADERS[name] for name in types if name in _LOADERS}
    makes = {medium for name in types for saver, medium in _SAVERS if saver.match(name)}
    if makes & {"video", "3d", "audio", "vector"}:
        makes -= {"image", "text"}  # previews on the way
    elif "image" in makes:
        makes -= {"text"}
    return in_order(takes), in_order(makes)


# --- references/templates.md

_COLUMNS = ("Template", "Title", "Media", "Tags", "Models", "Size", "Since", "About")
_ARROW = " → "
_PARTNER = "partner"


def list_text(templates: Iterable[Template], head: str) -> str:
    """The text of references/templates.md: one table for each category. parse_list reads it."""
    by_category: dict[str, list[Template]] = {}
    for template in templates:
        by_category.setdefault(template.category, []).append(template)
    lines = [head.rstrip("\n"), ""]
    for category, rows in by_category.items():
        lines += [f"## {category}", "", f"|{'|'.join(_COLUMNS)}|", "|---" * len(_COLUMNS) + "|"]
        lines += [_row(template) for template in rows]
        lines.append("")
    return "\n".join(lines)


def _row(template: Template) -> str:
    size = ", ".join(filter(None, [readable_size(template.size), _PARTNER if template.partner else None]))
    media = _ARROW.join((", ".join(template.takes), ", ".join(template.makes))).strip()
    tags, files = ", ".join(template.tags), ", ".join(template.files)
    cells = (template.name, template.title, media, tags, files, size, template.needs or "", template.description)
    return "|".join(["", *(cell.replace("|", "/") for cell in cells), ""])


def parse_list(text: str) -> list[Template]:
    """The templates of a text in the shape of references/templates.md. Nothing is raised."""
    found: dict[str, Template] = {}
    category = ""
    for line in text.splitlines():
        if line.startswith("## "):
            category = line[3:].strip()
        cells = [cell.strip() for cell in line.strip().split("|")[1:-1]]
        if len(cells) != len(_COLUMNS) or cells[0] == _COLUMNS[0] or not _is_name(cells[0]) or set(cells[0]) <= {"-"}:
            continue
        name, title, media, tags, files, size, needs, about = cells
        takes, _, makes = media.partition(_ARROW.strip())
        found.setdefault(
            name,
            Template(
                name=name,
                title=title or name,
                description=about,
                category=category,
                takes=in_order(_parts(takes)),
                makes=in_order(_parts(makes)),
                tags=tuple(_parts(tags)),
                files=tuple(_parts(files)),
                size=size_of(size),
                partner=_PARTNER in _parts(size),
                needs=needs or None,
            ),
        )
    # The index has first what is taken most.
    count = len(found)
    return [replace(each, usage=_MOST_TAKEN * (count - place) // count) for place, each in enumerate(found.values())]


def _parts(cell: str) -> Iterator[str]:
    return (part for each in cell.split(",") if (part := each.strip()))
