"""What a request in plain words wants done: a picture of something, this photo as a video, a song. What the result is
to show is for the prompt, and tells nothing of the workflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_LONGEST = 600  # letters of a request that are looked at
_WORDS = re.compile(r"[,;]|[^\s,;:!?()\"“”]+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


class Task(NamedTuple):
    """Something to be done. `says` is what a template that does it says of itself; `takes` and `makes` are the media,
    where they belong to it: `takes` "text" is one that needs no file."""

    called: str
    says: re.Pattern[str]
    makes: str | None = None
    takes: str | None = None


def _task(called: str, says: str, makes: str | None = None, takes: str | None = None) -> Task:
    return Task(called, re.compile(says), makes, takes)


TASKS = {
    "text to image": _task("text to image", r"text to image|t2i|image generation", "image", "text"),
    "anime": _task("text to image", r"anime", "image", "text"),
    "image edit": _task("image edit", r"(?<!video )\bedit|kontext|chronoedit", "image", "image"),
    "image to image": _task("image edit", r"image to image|image2image|i2i|reference", "image", "image"),
    "style": _task("style transfer", r"style|redux|illustration to", "image", "image"),
    "inpainting": _task("inpainting", r"inpaint|fill|erase|object removal", "image", "image"),
    "outpainting": _task("outpainting", r"outpaint|expand image", "image", "image"),
    "remove background": _task("remove background", r"remov\w* (image )?background|background removal", None, "image"),
    "remove video background": _task("remove background", r"background", "video", "video"),
    "relight": _task("relight", r"relight", "image", "image"),
    "image upscale": _task("image upscale", r"upscal|esrgan|hiresfix|image enhance", "image", "image"),
    "edges": _task("edges ControlNet", r"canny|scribble|line ?art|edges", "image"),
    "pose": _task("pose ControlNet", r"^(?!.*(pose map|pose detection)).*\bpose", "image"),
    "depth": _task("depth ControlNet", r"^(?!.*(estimation|lotus)).*depth", "image"),
    "depth map": _task("depth estimation", r"depth (estimation|anything)|lotus depth", "image", "image"),
    "union": _task("ControlNet", r"union control|instantx union|any control|mixing controlnets", "image"),
    "controlnet": _task("ControlNet", r"controlnet|control net", "image"),
    "virtual try-on": _task("virtual try-on", r"try on|outfit|clothes|garment", "image", "image"),
    "text to video": _task("text to video", r"text to video|\bt2v|ti2v", "video", "text"),
    "image to video": _task("image to video", r"image to video|\bi2v|ti2v|\br2v", "video", "image"),
    "first and last frame": _task("first and last frame to video", r"flf|first last|start end", "video", "image"),
    "talking": _task("lip sync", r"lip sync|talk|humo\b|s2v|audio driven|ia2v|avatar", "video"),
    "video edit": _task(
        "video edit", r"video edit|character replac|video to video|v2v|video.*inpaint", "video", "video"
    ),
    "video upscale": _task("video upscale", r"video (upscal|enhance)|upscale video", "video", "video"),
    "interpolation": _task("frame interpolation", r"interpolat|\brife\b|\bfilm\b", "video", "video"),
    "text to music": _task("text to music", r"music|song|instrumental|\bt2m\b|ace step|yue", "audio", "text"),
    "text to sound": _task("text to audio", r"text to audio|t2a|sfx|sound effect|foley", "audio", "text"),
    "text to speech": _task("text to speech", r"text to speech|\btts\b|voice", "audio"),
    "speech to text": _task("speech to text", r"speech to text|transcri", "text", "audio"),
    "image to 3d": _task("image to 3D", r"3d|mesh|to model", "3d", "image"),
    "text to 3d": _task("text to 3D", r"3d|mesh|to model", "3d", "text"),
    "vector": _task("vector graphic", r"vector|svg"),
    "image to text": _task("image to text", r"caption|describ|image to text", "text", "image"),
}
_BY_MEDIA = frozenset(
    [
        "text to image",
        "image edit",
        "image to text",
        "text to video",
        "image to video",
        "video edit",
        "text to 3d",
        "image to 3d",
    ]
)
"""The tasks that are done by whatever has their media."""
ALSO = {
    # What else does a task, the likelier first, where it is said in words that mean several.
    "style": ("image edit", "image to image"),
    "image edit": ("image to image",),
    "remove background": ("image edit",),
    "erase": ("image edit", "inpainting", "image to image"),
    "virtual try-on": ("image edit",),
    "relight": ("image edit",),
    "sketch": ("image edit", "edges", "image to image"),
    "edges": ("union", "controlnet"),
    "pose": ("union", "controlnet"),
    "depth": ("union", "controlnet"),
    "anime": ("text to image",),
}
_ALSO_FITS = 0.9  # how well each further task fits, of the one before
_NOT_TOLD = 0.95  # what says so, and not what it takes and makes
_MEDIA_ALONE = 0.5  # what has the media and does not say that it does it
_OTHER_MEDIA = 0.75  # what says so, and has other media
_SPECIAL = 0.7  # what has a trick that nobody asked for
_TRICKS = re.compile(
    r"\b(loras?|control(net)?s?|depth|embedding|area|gligen|layout|bbox(es)?|upscal\w*|hiresfix|refiner|revision|adapter"
    r"|product|mockup|style|inpaint\w*|outpaint\w*|anime|illustration|panorama|vector|alpha|camera|fun|vace|multi\w*"
    r"|reference|ref2v|face|songs?|music|instrumentals?|ace step|character|replacement|motion"
    r"|logo|cover|inflation|angles?|turnaround|sheet|swap|effects?|material|retopo\w*|uv)\b"
)


@dataclass(frozen=True)
class Intent:
    """What is wanted: `tasks` of TASKS, the likeliest first. `around` are the words that may name a model or a kind of
    it ("flux", "anime"), `about` those of what it is to show."""

    tasks: tuple[str, ...]
    around: tuple[str, ...] = ()
    about: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        return TASKS[self.tasks[0]].called

    def fit(self, text: str, title: str, takes: Iterable[str], makes: Iterable[str]) -> float:
        """How well a template fits, from 0 to 1, that says `text` of itself and is called `title` (both in small
        letters, with single blanks between the words)."""
        goes_in, comes_out = frozenset(takes), frozenset(makes)
        best = 0.0
        for place, name in enumerate(self.tasks):
            task = TASKS[name]
            if fits := _fit(task, text, goes_in, comes_out, name in _BY_MEDIA):
                asked = f"{task.says.pattern} {' '.join(self.around)}"
                tricks = [found[0] for found in _TRICKS.finditer(title) if found[0][:5] not in asked]
                best = max(best, fits * _ALSO_FITS**place * (_SPECIAL if tricks else 1.0))
        return best


def _fit(task: Task, text: str, takes: frozenset[str], makes: frozenset[str], by_media: bool) -> float:
    is_made = task.makes is None or task.makes in makes
    needs_no_file = "text" in takes or not takes & {"image", "video", "audio", "3d"}
    is_taken = task.takes is None or (needs_no_file if task.takes == "text" else task.takes in takes)
    if task.says.search(text):
        if makes and not is_made:
            return 0.0
        if is_made and is_taken:
            return 1.0
        if not takes and not makes:
            return _NOT_TOLD
        # What makes it from nothing may still take a picture, where it is told so.
        return 0.0 if task.takes in ("text", "video", "audio") else _OTHER_MEDIA
    return _MEDIA_ALONE if by_media and takes and makes and is_made and is_taken else 0.0


# --- what a request says

_PICTURES = (
    "image images photo photos photograph picture pictures pic pics portrait drawing sketch painting illustration "
    "poster wallpaper cartoon artwork art watercolor watercolour comic selfie snapshot render rendering banner logo "
    "collage screenshot headshot artworks illustrations drawings paintings sketches portraits photographs posters"
)
_VIDEOS = "video videos movie film clip clips animation gif footage vid timelapse"
_MUSIC = (
    "music song songs tune melody lullaby instrumental soundtrack jingle ballad symphony beat anthem soundscape sonata"
)
_SOUNDS = "sound sounds noise noises sfx"
_SPEECH = "speech voiceover narration"
_SOLIDS = "3d mesh glb"
_NOUNS = {
    word: medium
    for medium, words in {
        "image": _PICTURES,
        "video": _VIDEOS,
        "music": _MUSIC,
        "sound": _SOUNDS,
        "speech": _SPEECH,
        "audio": "audio recording mp3",
        "3d": _SOLIDS,
        "vector": "svg vector",
        "text": "text prompt caption captions",
    }.items()
    for word in words.split()
}
_COVERED = _set("book album magazine record game")
_SKETCHES = _set("sketch drawing lineart scribble sketches drawings")
_THESE = _set("this that these those my our his her their your")
_DETERMINERS = _THESE | _set("the a an one two three several some another both its")
_CONNECTING = _set(
    "of about showing with where that for in on at from by into as to and or who which is like using via through "
    "over under near"
)
# What is done to something that is there: "turn a photo into …", "upscale a picture".
_DOING = _set(
    "from turn turns convert transform animate edit upscale enlarge sharpen restore colorize colourize retouch relight "
    "describe caption transcribe extend expand change modify fix enhance improve remove restyle between denoise"
)
_STOPPING = (_DETERMINERS | _CONNECTING | _DOING | {",", ";"}) - {"and", "or"}
_INTRODUCING = _set("of about showing with where that which")
_VERBS = _set("make create generate produce render draw paint write compose give")
_DRAWING = _set("draw paint sketch illustrate depict doodle")
_MAKING = _set(
    "make create generate produce give want need render get show design i me us a an please can you could to"
)
_MOTION = _set(
    "move moves moving dance dances dancing drift drifts walk walks walking run runs fly flies flow flows wave waves "
    "waving blink blinks sway sways breathe alive jump jumps animated motion spin spins swim swims drive drives"
)
_SPEAKING = _set("say says speak speaks talk talks talking sing sings singing speaking saying")
_PEOPLE = _set("person man woman girl boy face avatar character head people lips actor guy lady kid child")
_CLOTHES = _set("dress clothes outfit shirt jacket coat garment skirt suit clothing costume sweater shoes")
_INSTRUMENTS = _set("piano guitar violin drums orchestra orchestral flute cello ukulele synth jazz techno")
_EDITING = _set("edit edits editing retouch")
# Whoever begins so does it to something that is there: "replace a part of a picture".
_ACTING = _set(
    "add put replace swap change remove erase delete edit modify fix give insert crop clean fill mask "
    "combine blend merge mix"
)
_FOR = re.compile(
    r"\bfor (?:a|an|the|my|our|this|your)(?: [\w-]+){0,2}? (?:video|film|movie|clip|game|scene|website|podcast)s?\b.*"
)
_BIGGER = re.compile(
    r"\b(upscal\w*|enlarge\w*|bigger|larger|sharpen\w*|sharper|resolution|enhance\w*|super ?res\w*|restore|blurry|4k)\b"
)
_AROUND = re.compile(
    r"\b(outpaint\w*|uncrop\w*|show more of|(?:extend|expand|widen|continue)\w*\b.*\b(?:borders?|edges?|canvas|frame"
    r"|sides?|around|wider|background|beyond|left|right)"
    r"|(?:outside|beyond) the (?:borders?|edges?|frame|picture|photo|image))\b"
)
_SAYS = {
    # In the order in which they are asked: the first that is said decides. A request needs no more words than these.
    "outpainting": _AROUND,
    "remove background": re.compile(
        r"\b(?:remov\w*|delet\w*|eras\w*|without|cut\w*|transparent|rid of)\b.{0,20}\bbackground|\bbackground remov"
        r"|\bcut\b.{0,40}\bout\b|\bcut ?outs?\b|\bisolate\b"
    ),
    "inpainting": re.compile(r"\binpaint\w*|\bmask(?:ed)?\b|\bfill(?:s|ing)? (?:in|the|this)\b"),
    "first and last frame": re.compile(
        r"\b(?:first|start\w*|begin\w*)\b.*\b(?:last|end\w*|finish\w*)\b|\bbetween (?:these|two|both|my)\b|\bmorph"
    ),
    "interpolation": re.compile(r"\binterpolat\w*|\bslow motion\b|\bslow\b.{0,25}\bdown\b|\bfps\b|\bmore frames\b"),
    "talking": re.compile(r"\blip ?sync\w*|\b(?:audio|speech)[ -]driven|\btalking (?:head|avatar)"),
    "virtual try-on": re.compile(r"\b(?:virtual )?try(?:ing)?[ -]on\b"),
    "relight": re.compile(r"\brelight\w*"),
    "speech to text": re.compile(r"\btranscri\w+"),
    "text to speech": re.compile(r"\b(?:read|speak|say)\b.*\b(?:aloud|out loud|voice)\b|\bnarrate\b|\bvoice ?over\b"),
}
_EDGES = re.compile(r"\b(edges?|outlines?|line ?art|contours?|canny|scribbles?|lines of)\b")
_POSE = re.compile(r"\b(same pose|pose (?:of|as|from|in|like)|posture|stance|openpose|skeleton)\b|\bposed? like\b")
_DEPTH = re.compile(r"\bdepth\b")
_DEPTH_MAP = re.compile(r"\bdepth (?:map )?(?:of|from|estimation)\b")
_LOOK = re.compile(
    r"\b(look|looks|style|styled)\b|\b(?:into|as|to) (?:a |an )?(?:[\w-]+ ){0,2}?(?:painting|watercolou?r|drawing"
    r"|sketch|cartoon|comic|anime|manga|illustration|photo)\b"
)
_ERASE = re.compile(r"\b(?:remove|erase|delete|rid of|take away|retouch out)\b")
_TELL = re.compile(r"\b(?:describe|caption|what(?: is|'s| does| do| are))\b")
_TO_LIFE = re.compile(r"\b(?:to life|come alive|animate\w*|into motion)\b")
_TURNS = re.compile(
    r"\b(text|prompt|image|picture|photo|video|audio)s? to (image|picture|video|3d|audio|speech|music|text)s?\b"
)
_TURN_TASKS = {
    ("text", "image"): "text to image",
    ("text", "video"): "text to video",
    ("text", "3d"): "text to 3d",
    ("text", "speech"): "text to speech",
    ("text", "music"): "text to music",
    ("image", "video"): "image to video",
    ("image", "3d"): "image to 3d",
}


@dataclass
class _Said:
    """The media of a request: those `made` and those that are there already, each with its place."""

    made: list[tuple[int, str]] = field(default_factory=list)
    given: list[tuple[int, str]] = field(default_factory=list)

    @property
    def is_given(self) -> frozenset[str]:
        return frozenset(medium for _, medium in self.given)

    @property
    def first_made(self) -> str | None:
        return self.made[0][1] if self.made else None


def intent_of(query: str, is_trade: Callable[[str], bool]) -> Intent | None:
    """What a request wants done, or None where it does not tell. `is_trade` tells the words that name models and kinds
    of workflows: only these are looked for, and in what is to be shown only after "with" or "using"."""
    text = " ".join(query[:_LONGEST].casefold().split())
    asked = _FOR.sub("", text).strip() or text
    words = [word.strip(".'’") for word in _WORDS.findall(asked)]
    words = [word.removesuffix("'s").removesuffix("’s") for word in words if word]
    said = _said(words)
    found = _tasks(asked, words, said)
    if not found:
        return None
    names, start = (0, 0) if said.given and not _TURNS.search(asked) else _subject(words, said)
    around = [words[place] for place in range(names, start) if _counts(words, place, is_trade)]
    around += _named(words[start:], is_trade)
    meant = frozenset(word for task in found for word in _spoken(task, asked))
    around = [word for word in around if word not in meant and not any(TASKS[task].says.search(word) for task in found)]
    about = [word for word in words if len(word) > 2 and word not in _CONNECTING | _DETERMINERS | _NOUNS.keys()]
    return Intent(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(around)), tuple(dict.fromkeys(about)))


def _spoken(task: str, text: str) -> list[str]:
    """The words of a request that say the task itself."""
    found = _SAYS[task].search(text) if task in _SAYS else None
    return found[0].split() if found is not None else []


def _said(words: list[str]) -> _Said:
    said = _Said()
    for place, word in enumerate(words):
        medium = "image" if word == "cover" and place and words[place - 1] in _COVERED else _NOUNS.get(word)
        if medium is None or (word in _DRAWING and _is_verb(words, place)):
            continue
        before = place - 1
        while before >= 0 and place - before < 6 and words[before] not in _STOPPING:
            before -= 1
        determiner = words[before] if before >= 0 and words[before] not in ",;" else ""
        acted = words[before - 1] if before > 0 and determiner in _DETERMINERS else determiner
        is_given = (
            not {determiner, acted}.isdisjoint(_THESE)
            or (determiner == "the" and medium in ("image", "video"))
            or (acted in _ACTING - {"give"} and determiner != acted)
            or (acted in _DOING and determiner not in ("into", "as"))
            or (acted in ("of", "in", "on", "to") and _first_verb(words) in _ACTING)
        )
        if is_given:
            said.given.append((place, medium))
        elif (
            acted not in ("in", "on", "for")
            and _is_asked_for(words, place, medium, determiner)
            and not (acted == "with" and medium == "text")
        ):
            said.made.append((place, medium))
    return said


def _first_verb(words: list[str]) -> str:
    return next((word for word in words if word not in ("please", "i", "want", "to", "can", "you", "need")), "")


def _is_asked_for(words: list[str], place: int, medium: str, determiner: str) -> bool:
    """Whether a noun is what is to be made, and not one word of a title or a list: "longer video"."""
    after = words[place + 1] if place + 1 < len(words) else ""
    parted = "," in words[:place] and place > words.index(",")
    return (
        medium in ("music", "sound", "speech")
        or bool(determiner)
        or parted
        or after in _INTRODUCING | {","}
        or any(word in _VERBS for word in words[:place])
    )


def _is_verb(words: list[str], place: int) -> bool:
    after = words[place + 1] if place + 1 < len(words) else ""
    return after in _DETERMINERS | {"me", "us"} and all(word in _MAKING for word in words[:place])


def _tasks(text: str, words: list[str], said: _Said) -> list[str]:
    """The tasks that a request may mean, the likeliest first."""
    if turned := _TURNS.search(text):
        media = [_NOUNS.get(word, word) for word in turned.groups()]
        media = [word if word in ("speech", "music") else {"sound": "audio"}.get(word, word) for word in media]
        task = _TURN_TASKS.get((media[0], media[1]))
        return [task] if task is not None else []
    there, given, made = frozenset(words), said.is_given, said.first_made
    is_of_video = "video" in given or ("image" not in given and any(_NOUNS.get(word) == "video" for word in words))
    for task, pattern in _SAYS.items():
        if (spoken := pattern.search(text)) and _is_meant(task, spoken[0], given, made):
            return ["remove video background"] if task == "remove background" and is_of_video else _with_others(task)
    if "image" in given and _TELL.search(text):
        return ["image to text"]
    if (
        there & _SPEAKING
        and made is None
        and (given & {"image", "video"} or (there & _PEOPLE and there & {*_THESE, "the"}))
    ):
        return ["talking"]
    if (
        (bigger := _BIGGER.search(text))
        and _is_whole(words, said)
        and (given or made is None or _is_at_end(text, bigger))
    ):
        return ["video upscale" if is_of_video else "image upscale"]
    if "video" not in given and made in (None, "image"):
        for task, pattern in (("depth map", _DEPTH_MAP), ("edges", _EDGES), ("pose", _POSE), ("depth", _DEPTH)):
            if pattern.search(text) and (given or made):
                return _with_others(task)
    if "image" in given or ("3d" in (made or "") and there & _THESE):
        return _of_a_picture(text, words, said)
    if "video" in given:
        return _of_a_video(made)
    return _of_nothing(text, words, made)


def _is_meant(task: str, said: str, given: frozenset[str], made: str | None) -> bool:
    """Whether words that mean other things too mean this task here."""
    if task == "first and last frame":
        return "image" in given or made == "video"
    if task == "interpolation":
        return made != "image"
    if task == "remove background":
        return made is None and (bool(given) or said != "transparent background")
    if task in ("inpainting", "outpainting"):
        return "video" not in given and made in (None, "image")
    return task != "text to speech" or "image" not in given | {made}


def _with_others(task: str) -> list[str]:
    first = [task] if task in TASKS else []
    return [*first, *ALSO.get(task, ())]


def _is_whole(words: list[str], said: _Said) -> bool:
    """Whether it is about the whole of what is given, and not about something in it."""
    return not any({"in", "on"}.intersection(words[max(0, place - 3) : place]) for place, _ in said.given)


def _is_at_end(text: str, said: re.Match[str]) -> bool:
    """Whether a request ends so: "make a picture bigger"."""
    return not text[said.end() :].strip(" .!?")


def _of_a_picture(text: str, words: list[str], said: _Said) -> list[str]:
    made = {medium for _, medium in said.made}
    there = frozenset(words)
    if "3d" in made or there & {"3d", "mesh", "glb"}:
        return ["image to 3d"]
    if "vector" in made:
        return ["vector"]
    if "video" in made and said.is_given & {"audio", "speech", "music"}:
        return ["talking", "image to video"]
    if "video" in made or _TO_LIFE.search(text) or there & _MOTION:
        return ["image to video"]
    if made & {"music", "sound"}:
        return _of_nothing(text, words, said.first_made)
    if there & _CLOTHES and there & {"put", "wear", "wearing", "dressed", "try"}:
        return _with_others("virtual try-on")
    if any(words[place] in _SKETCHES for place, _ in said.given):
        return _with_others("sketch")
    if _ERASE.search(text):
        return _with_others("erase")
    if _LOOK.search(text):
        return _with_others("style") if "style" in there else ["image edit", "style", "image to image"]
    return _with_others("image edit")


def _of_a_video(made: str | None) -> list[str]:
    return ["text to music"] if made == "music" else ["video edit"]


def _of_nothing(text: str, words: list[str], made: str | None) -> list[str]:
    there = frozenset(words)
    if "vector" in there or "svg" in there:
        return ["vector"]
    if made == "image":
        if there & _EDITING:
            return _with_others("image edit")
        return ["text to image"]
    if made is not None:
        return {
            "video": ["text to video"],
            "music": ["text to music"],
            "sound": ["text to sound"],
            "speech": ["text to speech"],
            "3d": ["text to 3d"],
        }.get(made, [])
    if there & _DRAWING and any(word in _DRAWING and _is_verb(words, place) for place, word in enumerate(words)):
        return ["text to image"]
    if "compose" in there or (there & _INSTRUMENTS and there & {"piece", "solo", "loop", "track"}):
        return ["text to music"]
    if there & {"anime", "manga"}:
        return _with_others("anime")
    if _TO_LIFE.search(text):
        return ["image to video"]
    return []


def _subject(words: list[str], said: _Said) -> tuple[int, int]:
    """Where what is to be made begins to be named, and where what it is to show begins: after "picture of", "draw"."""
    for place, word in enumerate(words):
        if word in _DRAWING and _is_verb(words, place):
            return place, place + 1
    noun = said.made[0][0] if said.made else 0
    names = max((place + 1 for place in range(noun) if words[place] in ",;"), default=0)
    for place in range(noun + bool(said.made), len(words)):
        if words[place] in _CONNECTING or words[place] in ",;":
            return names, place
    return names, len(words)


def _counts(words: list[str], place: int, is_trade: Callable[[str], bool]) -> bool:
    word = words[place]
    if word[0].isdigit():
        return place > 0 and is_trade(words[place - 1]) and word not in _NOUNS
    return word not in _NOUNS and word not in _MAKING and is_trade(word)


def _named(words: list[str], is_trade: Callable[[str], bool]) -> list[str]:
    """The models that are named: "with flux", "using wan 2.2"."""
    found: list[str] = []
    for place, word in enumerate(words):
        if word not in ("with", "using", "by", "via"):
            continue
        for offset in range(place + 1, min(place + 5, len(words))):
            if not (is_trade(words[offset]) or (found and words[offset][0].isdigit())):
                break
            found.append(words[offset])
    return found
