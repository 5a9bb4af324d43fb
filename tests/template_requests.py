"""What people ask for, in their own words, and the names of the templates that answer it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from comfyui_api.templates import Template, find


class Request(NamedTuple):
    """`older` fits names among the templates of ComfyUI 0.3.75, `newer` among those of references/templates.md; None
    where there is nothing of the kind."""

    words: str
    older: str | None
    newer: str | None


T2I, I2V, T2V = "t2i|text_to_image", "i2v|image_to_video", "t2v|text_to_video"
BACKGROUND = "remove_.*background|background_removal"
REQUESTS = (
    Request("text to image with flux", "flux.*(text_to_image|schnell|krea|dev)", "flux.*(t2i|text_to_image)"),
    Request("turn a photo into a video", I2V, I2V),
    Request("remove the background", None, BACKGROUND),
    Request("music", "audio_ace_step.*t2a|audio_stable", "music|ace_step|yue|t2m|wan_dancer"),
    Request("3d model from an image", "3d_hunyuan", "3d.*image_to_model|image_to_3d"),
    Request("inpaint", "inpaint|inp$|fill", "inpaint|inp$|fill"),
    Request("upscale a picture", "esrgan|upscale|hiresfix|topaz_image", "upscale|seedvr2|esrgan|enhance"),
    Request("face swap", None, "swap|replac"),
    Request("generate an image from a prompt", f"{T2I}|default|image|flux", f"{T2I}|image|flux"),
    Request("sdxl", "sdxl", "sdxl"),
    Request("stable diffusion 3.5", r"sd3\.5", r"sd3\.5"),
    Request("qwen image", "qwen", "qwen"),
    Request("edit a photo with instructions", "edit|kontext|e1_", "edit|kontext|e1_"),
    Request("extend the borders of an image", "outpaint", "outpaint|expand"),
    Request("outpainting", "outpaint", "outpaint|fill|expand"),
    Request("animate a picture", f"{I2V}|animate", f"{I2V}|animate|ia2v"),
    Request("text to video", f"{T2V}|ti2v|text_to_video", T2V),
    Request("wan 2.2 image to video", "wan2_2.*i2v", "wan2_2.*i2v"),
    Request("video from a first and a last frame", "flf2v|start_end|first_last|flf", "flf2v|flf|start_end|first_last"),
    Request("make a song with lyrics", "song|ace_step", "ace_step|music|yue|t2m"),
    Request("sound effects", "audio", "sfx|audio|sound|foley"),
    Request("lip sync", "humo|s2v", "lip|sync|talk|infinitetalk|ia2v|id_lora|humo"),
    Request("pose controlnet", "pose|controlnet", "pose|controlnet|control"),
    Request("depth map to image", "depth", "depth|control"),
    Request("canny edges", "canny", "canny|control"),
    Request("use a lora", "lora", "lora"),
    Request("several loras", "lora_multiple", None),
    Request("anime picture", "anime|netayume|lumina", "anim|netayume|lumina"),
    Request("vector graphic svg", "vector", "vector|svg"),
    Request("product mockup", "flux2_fp8|mockup", "product|mockup|packag|flux2_fp8"),
    Request("style transfer", "style|redux|uso", "style"),
    Request("hunyuan video", "hunyuan_video", "hunyuan_video"),
    Request("ltx video", "ltx", "ltx"),
    Request("3d from several views", "multiview", "multi_?view|multiview"),
    Request("camera movement in a video", "camera", "camera|motion"),
    Request("chat with a language model", "chat|gemini$", "llm|chat|gpt|gemini|claude|openrouter|text_gen|qwen"),
    Request("img2img", "image2image|i2i|img", "i2i|image2image|img2img|edit|image_to_image"),
    Request("replace a part of a picture", "inpaint|edit|fill|kontext", "inpaint|edit|fill|kontext|swap|replac"),
    Request("t2v wan", "wan.*(t2v|ti2v)|text_to_video_wan|wan_text", "wan.*t2v|text_to_video_wan|wan_text"),
    Request(
        "make an old video sharper", "topaz_video", "video.*(upscale|enhance)|upscale_video|seedvr2|flashvsr|topaz"
    ),
    Request("text to speech", None, "speech|tts|voice|t2s|elevenlabs"),
    Request("virtual try on clothes", None, "try|cloth|outfit|fashion"),
    Request("smooth slow motion", None, "interpol|rife|film"),
    Request("transcribe audio", None, "speech_to_text|transcri|stt|s2t|scribe"),
    Request("logo", "vector|recraft|.*", "logo|vector|svg|brand|recraft"),
    Request("consistent character in several pictures", "ref|kontext|uso|multi", "character|reference|ref"),
    Request("audio driven video of a person", "s2v|humo", "s2v|humo|audio|ia2v|talk|sync"),
    Request("z image turbo", "z_image", "z_image"),
    Request("kontext", "kontext", "kontext"),
    Request("open pose worship", "pose", "pose"),
    Request("longer video", ".*", "extend|continuation|long|extension"),
    Request("caption an image", ".*", "caption|vl|describe|llm|qwen|gemma|text_gen|gpt|gemini|claude"),
    Request("relight a portrait", None, "relight"),
    Request("transparent background video", "alpha", "transparent|background|alpha|green_screen"),
)


class Hits(NamedTuple):
    first: int
    in_three: int
    asked: int
    missed: list[str]


def hits(templates: Iterable[Template], *, newer: bool) -> Hits:
    """How often a template that answers the request comes first, and among the first three."""
    known = list(templates)
    first = in_three = asked = 0
    missed = []
    for request in REQUESTS:
        fitting = request.newer if newer else request.older
        if fitting is None or fitting == ".*":
            continue
        asked += 1
        names = [found.key for found in find(request.words, known).found[:3]]
        right = [bool(re.search(fitting, name)) for name in names]
        first += right[:1] == [True]
        in_three += any(right)
        if not any(right):
            missed.append(f"{request.words}: {names}")
    return Hits(first, in_three, asked, missed)


# --- requests with a subject, which no template is about

KINDS = {
    # What is wanted, and what a template that answers it says of itself: "name | title | tags | takes > makes".
    "picture": (
        r"^(?!.*(lora|control|depth|embedding|area|gligen|layout|bbox|upscal"
        r"|inpaint|mockup)).*\| (text(, image)?)? > (image|vector)$"
    ),
    "flux picture": r"^(?=.*flux)(?!.*(lora|control|depth|inpaint|mockup)).*\| (text(, image)?)? > image$",
    "wan video": r"^(?=.*wan).*(text to video|t2v|ti2v)",
    "anime": r"anim[ae]|netayume|illustration",
    "video": r"text to video|t2v|ti2v",
    "moving picture": r"(image to video|i2v|ti2v|r2v).*> video$",
    "music": r"song|music|ace.step|t2m|yue|instrumental",
    "sound": r"stable.audio|text to audio|sfx|sound|foley|t2a",
    "speech": r"speech|tts|voice",
    "edit": r"(?<!video )edit.*> image$|kontext|image to image|image2image|i2i",
    "style": r"style|redux|uso|illustration",
    "inpaint": r"inpaint|erase|object removal|fill",
    "cut out": r"remove.background|background.removal|background",
    "bigger": r"(upscal|esrgan|hiresfix|enhance)(?!.*video)",
    "pose": r"pose|controlnet|union|control",
    "edges": r"canny|scribble|lineart|controlnet|union|edge|any control",
    "depth": r"depth",
    "wider": r"outpaint|expand|fill",
    "picture to 3d": r"image(, \w+)? > 3d$",
    "3d": r"text > 3d$|text to 3d|text to model",
    "talk": r"lip|talk|humo|s2v|audio.driven|ia2v|avatar",
    "video edit": (
        r"video edit|character replacement|vace.*(inpaint|v2v)|animate"
        r"|fun.control|video to video|video.*(edit|replac)"
    ),
    "slower": r"interpol|rife|film",
    "try on": r"try|fashion|outfit",
    "first and last": r"flf|first.last|start.end",
    "vector": r"vector|svg",
    "caption": r"caption|describe|llm|text gen|> text",
    "sharper video": r"upscal|enhance|seedvr|flashvsr",
}


class Subject(NamedTuple):
    """`older` and `newer` as in Request, but KINDS: a template of any of them is right."""

    words: str
    older: str | None
    newer: str | None


SUBJECTS = (
    Subject("draw a lighthouse in a storm", "picture", "picture"),
    Subject("I need a photo of a mountain lake at dawn", "picture", "picture"),
    Subject("paint an oil painting of a sailing ship", "picture", "picture"),
    Subject("generate an illustration of a dragon reading a book", "picture", "picture"),
    Subject("a portrait of a young woman with freckles", "picture", "picture"),
    Subject("create a poster for a jazz concert with the title BLUE NIGHT", "picture", "picture"),
    Subject("wallpaper with planets and stars", "picture", "picture"),
    Subject("a realistic picture of a horse running through a river", "picture", "picture"),
    Subject("three kittens in a basket, watercolor", "picture", "picture"),
    Subject("give me a picture of a bridge over a canyon", "picture", "picture"),
    Subject("a cartoon of a robot cooking pasta", "picture", "picture"),
    Subject("film of a train crossing a desert", "video", "video"),
    Subject("a five second clip of a candle burning", "video", "video"),
    Subject("generate a video of a dog catching a frisbee", "video", "video"),
    Subject("make this photo of my grandmother move", "moving picture", "moving picture"),
    Subject("bring this painting to life", "moving picture", "moving picture"),
    Subject("let the clouds in this picture drift", "moving picture", "moving picture"),
    Subject("write a lullaby for my daughter", "music", "music"),
    Subject("a sad piano piece for a film scene", "music", "music"),
    Subject("rock song with guitar about the sea", "music", "music"),
    Subject("the sound of thunder and heavy rain", "sound", "sound"),
    Subject("read this text aloud in a calm voice", None, "speech"),
    Subject("give the man in this photo a red hat", "edit", "edit"),
    Subject("remove the car from this picture", "edit, inpaint", "edit, inpaint"),
    Subject("change the background of my photo to a beach", "edit", "edit, cut out"),
    Subject("make this photo look like a van gogh painting", "edit, style", "edit, style"),
    Subject("colorize this old black and white photo", "edit", "edit"),
    Subject("cut the chair out of this photo", None, "cut out"),
    Subject("make this small photo four times bigger", "bigger", "bigger"),
    Subject("sharpen this blurry picture of my cat", "bigger", "bigger"),
    Subject("a dancer in the same pose as in this photo", "pose", "pose"),
    Subject("color my sketch of a castle", "edit, edges", "edit, edges"),
    Subject("a living room with the same depth as this photo", "depth", "depth"),
    Subject("show more of the landscape around this photo", "wider", "wider"),
    Subject("make a 3d model of this toy car", "picture to 3d", "picture to 3d"),
    Subject("a 3d model of a wooden chair", "3d", "3d"),
    Subject("make the woman in this photo speak my recording", "talk", "talk"),
    Subject("replace the dog in this video with a wolf", "video edit", "video edit"),
    Subject("slow this clip down smoothly", None, "slower"),
    Subject("put this dress on the woman in the photo", "edit", "edit, try on"),
    Subject("video that starts with this picture and ends with that one", "first and last", "first and last"),
    Subject("an icon of a leaf as svg", "vector", "vector"),
    Subject("describe what is in this photo", None, "caption"),
    Subject("make a picture of a red fox in the snow", "picture", "picture"),
    Subject("make a picture from a text", "picture", "picture"),
    Subject("draw a cat", "picture", "picture"),
    Subject("a photo of a house at night", "picture", "picture"),
    Subject("paint a portrait of an old man", "picture", "picture"),
    Subject("generate a logo with the text HELLO", "picture, vector", "picture, vector"),
    Subject("make a short video of waves on a beach", "video", "video"),
    Subject("compose a song about rain", "music", "music"),
    Subject("background music for a video", "music", "music"),
    Subject("turn this photo into a watercolour", "edit, style", "edit, style"),
    Subject("a picture that follows the edges of this drawing", "edges", "edges"),
    Subject("make the sky of this picture pink", "edit", "edit"),
    Subject("let this person say hello", "talk", "talk"),
    Subject("fill in the masked part of this picture", "inpaint", "inpaint"),
    Subject("upscale this picture", "bigger", "bigger"),
    Subject("edit this picture: make it night", "edit", "edit"),
    Subject("animate this photo", "moving picture", "moving picture"),
    Subject("make a 3D model from this picture", "picture to 3d", "picture to 3d"),
    Subject("sketch a knight on a hill", "picture", "picture"),
    Subject("a castle on a cliff, fantasy art", "picture", "picture"),
    Subject("picture of a sunset with flux", "flux picture", "flux picture"),
    Subject("a video of a bird using wan", "wan video", "wan video"),
    Subject("turn this sketch into a photo", "edit, edges", "edit, edges, style"),
    Subject("remove the background of this photo of a shoe", None, "cut out"),
    Subject("make the people in this photo dance", "moving picture", "moving picture"),
    Subject("photo of a woman in the same pose as this picture", "pose", "pose"),
    Subject("make me a happy ukulele tune", "music", "music"),
    Subject("an anime girl with blue hair", "anime", "anime"),
    Subject("please draw me a dinosaur wearing sunglasses", "picture", "picture"),
    Subject("I want a nice image of a waterfall", "picture", "picture"),
    Subject("an astronaut riding a bicycle, photo", "picture", "picture"),
    Subject("book cover with a wizard", "picture", "picture"),
    Subject("can you make a picture that shows a market in Marrakesh", "picture", "picture"),
    Subject("photorealistic portrait, old fisherman", "picture", "picture"),
    Subject("movie of a rocket launch", "video", "video"),
    Subject("create a short clip where a fox jumps over a fence", "video", "video"),
    Subject("make my cat in this picture walk", "moving picture", "moving picture"),
    Subject("turn my drawing into an animation", "moving picture", "moving picture"),
    Subject("from this photo make a 4 second video", "moving picture", "moving picture"),
    Subject("happy birthday song for Anna", "music", "music"),
    Subject("relaxing music with birds", "music", "music"),
    Subject("sound effect of a door closing", "sound", "sound"),
    Subject("make her dress blue in this photo", "edit", "edit"),
    Subject("delete the tourists from my photo", "edit, inpaint", "edit, inpaint"),
    Subject("add a moon to the picture", "edit", "edit"),
    Subject("make my selfie look like a comic", "edit, style", "edit, style"),
    Subject("increase the resolution of my photo", "bigger", "bigger"),
    Subject("generate a house that follows the outlines of my sketch", "edges", "edges"),
    Subject("a knight with the pose of this statue photo", "pose", "pose"),
    Subject("extend this landscape photo to the left", "wider", "wider"),
    Subject("a 3d mesh from a photo of my shoe", "picture to 3d", "picture to 3d"),
    Subject("make the man in my picture talk", "talk", "talk"),
    Subject("change the car in my video to a horse", "video edit", "video edit"),
    Subject("combine these two pictures into one", "edit", "edit"),
    Subject("what is shown in this picture", None, "caption"),
    Subject("cut out the dog from this photo", None, "cut out"),
    Subject("make this video sharper", None, "sharper video"),
    Subject("put my product photo on a wooden table", "edit", "edit"),
)


def hits_of_subjects(templates: Iterable[Template], *, newer: bool) -> Hits:
    """How often a template of the right kind comes first, and among the first three."""
    known = {template.name: template for template in templates}
    first = in_three = asked = 0
    missed = []
    for subject in SUBJECTS:
        kinds = subject.newer if newer else subject.older
        if kinds is None:
            continue
        asked += 1
        found = [known[each.key] for each in find(subject.words, known.values()).found[:3]]
        right = [any(re.search(KINDS[kind], _line(template)) for kind in kinds.split(", ")) for template in found]
        first += right[:1] == [True]
        in_three += any(right)
        if not any(right):
            missed.append(f"{subject.words}: {[template.name for template in found]}")
    return Hits(first, in_three, asked, missed)


def _line(template: Template) -> str:
    media = f"{', '.join(template.takes)} > {', '.join(template.makes)}"
    return f"{template.name} | {template.title} | {', '.join(template.tags)} | {media}".lower()
