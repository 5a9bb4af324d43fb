"""Node classes as things to be found: what people call the ordinary ones, which come first, and which types fit."""

from __future__ import annotations

from collections.abc import Iterable

from comfyui_api.node_card import ANY, Card
from comfyui_api.search.ranking import Item
from comfyui_api.search.words import squeezed

# What people ask for, beside a class's own names: for the classes that most workflows are made of. Only recent servers
# have words of this kind (search_aliases), and not for all of them.
ORDINARY: dict[str, str] = {
    "AudioConcat": "join audio, append audio",
    "AudioMerge": "mix audio",
    "BasicScheduler": "sigmas, scheduler",
    "BatchImagesNode": "image batch, combine images, merge images",
    "BatchMasksNode": "mask batch, combine masks",
    "CFGGuider": "guider",
    "CLIPLoader": "load text encoder, clip loader, t5 loader",
    "CLIPSetLastLayer": "clip skip",
    "CLIPTextEncode": "prompt, text prompt, positive prompt, negative prompt, text encode, conditioning from text",
    "CLIPVisionEncode": "image to clip vision, encode image with clip vision",
    "CLIPVisionLoader": "clip vision loader",
    "Canny": "canny edges, edge detection, outline, lineart",
    "CheckpointLoaderSimple": "checkpoint, load model, model loader, ckpt loader, load sdxl, load sd",
    "CheckpointSave": "save model, export checkpoint",
    "ConditioningAverage": "blend prompts, mix prompts",
    "ConditioningCombine": "combine prompts, merge conditioning",
    "ConditioningConcat": "join prompts, concatenate conditioning",
    "ConditioningSetArea": "regional prompt, area prompt",
    "ConditioningSetMask": "masked prompt",
    "ConditioningZeroOut": "empty negative, no negative prompt, zero conditioning",
    "ControlNetApplyAdvanced": "controlnet, use controlnet, apply control, depth control, pose control",
    "ControlNetLoader": "controlnet, controlnet loader",
    "CreateVideo": "images to video, frames to video, make video, combine frames, video from images",
    "CropMask": "cut mask",
    "DualCLIPLoader": "flux text encoders, two clip loader, load clip and t5",
    "EmptyAceStepLatentAudio": "empty audio latent, music latent",
    "EmptyFlux2LatentImage": "flux 2 latent",
    "EmptyHunyuanLatentVideo": "empty video latent, text to video latent, video size, wan latent, video length",
    "EmptyImage": "blank image, solid color image",
    "EmptyLTXVLatentVideo": "ltx latent, empty video latent",
    "EmptyLatentAudio": "empty audio",
    "EmptyLatentImage": "empty latent, blank latent, image size, width height, resolution, batch size, txt2img size",
    "EmptySD3LatentImage": "sd3 latent, flux latent, empty latent",
    "FeatherMask": "soft mask edges, blur mask",
    "FluxGuidance": "flux cfg, distilled guidance",
    "FrameInterpolate": "frame interpolation, smooth video, more frames, increase fps",
    "GetImageSize": "image size, width and height, image dimensions",
    "GetVideoComponents": "video to frames, video to images, extract frames, split video, extract audio from video",
    "GrowMask": "expand mask, dilate mask, shrink mask, erode mask",
    "ImageBatch": "image batch, combine images",
    "ImageBlend": "blend images, mix images, overlay",
    "ImageBlur": "blur, gaussian blur",
    "ImageCompositeMasked": "paste image, overlay image, composite, put image onto another",
    "ImageCrop": "crop, cut image",
    "ImageCropV2": "crop, crop image, cut image",
    "ImageFlip": "flip, mirror image",
    "ImageFromBatch": "pick image, one image of a batch, frame from batch",
    "ImageInvert": "invert colors, negative image",
    "ImageOnlyCheckpointLoader": "svd loader, image to video checkpoint",
    "ImagePadForOutpaint": "outpaint, outpainting, extend image, pad image, expand canvas",
    "ImageRotate": "rotate, turn image",
    "ImageScale": "resize, resize image, upscale, upscale image, scale image, downscale, change image size",
    "ImageScaleBy": "upscale by factor, scale image by factor, double size",
    "ImageScaleToTotalPixels": "scale to megapixels, resize to megapixels",
    "ImageSharpen": "sharpen, sharpness",
    "ImageStitch": "side by side, concatenate images, join images",
    "ImageToMask": "image to mask, channel to mask",
    "ImageUpscaleWithModel": "upscale with model, upscaler, esrgan, super resolution, ai upscale, 4x upscale",
    "InpaintModelConditioning": "inpaint, inpainting, inpaint model, fill model",
    "InvertMask": "invert mask",
    "JoinImageWithAlpha": "add alpha, transparency, transparent image",
    "KSampler": "sampler, sampling, seed, denoise, steps, cfg, generate image, txt2img, diffusion",
    "KSamplerAdvanced": "advanced sampler, start at step, refiner sampling, two pass sampling",
    "KSamplerSelect": "sampler name, choose sampler",
    "LTXVImgToVideo": "ltx image to video, i2v",
    "LatentBlend": "blend latents",
    "LatentFromBatch": "pick latent",
    "LatentUpscale": "upscale latent, latent resize, hires fix",
    "LatentUpscaleBy": "upscale latent by factor, hires fix",
    "Load3D": "load 3d model, import mesh, load glb",
    "LoadAudio": "load audio, audio file, open sound, load music",
    "LoadBackgroundRemovalModel": "background removal model",
    "LoadImage": "load image, image, open image, import image, input image, read picture, img2img input",
    "LoadImageMask": "load mask, mask from file",
    "LoadImageOutput": "earlier result",
    "LoadVideo": "load video, open video, video file, import movie",
    "LoraLoader": "lora, load lora, apply lora, lora loader",
    "LoraLoaderModelOnly": "lora, load lora, lora without clip",
    "MaskComposite": "combine masks, add masks, subtract masks",
    "MaskPreview": "show mask, preview mask",
    "MaskToImage": "mask to image",
    "ModelMergeSimple": "merge models, merge checkpoints, model merge",
    "ModelSamplingFlux": "flux shift",
    "ModelSamplingSD3": "sd3 shift, model shift, wan shift",
    "Preview3D": "show 3d, view mesh",
    "PreviewAny": "show text, print value, display value, debug, show anything",
    "PreviewAudio": "play audio, listen",
    "PreviewImage": "preview, show image, view image, display image",
    "PrimitiveBoolean": "boolean, true false, switch value",
    "PrimitiveFloat": "float, number, decimal number",
    "PrimitiveInt": "int, integer, number",
    "PrimitiveString": "string, text value",
    "PrimitiveStringMultiline": "multiline text, long text, text box",
    "RandomNoise": "noise seed, noise",
    "ReferenceLatent": "reference image, kontext reference, image edit reference",
    "RemoveBackground": "remove background, background removal, cut out subject, rembg",
    "RepeatImageBatch": "repeat image, duplicate image",
    "RepeatLatentBatch": "repeat latent, more images of one latent",
    "ResizeImageMaskNode": "resize, resize image, resize mask, scale image",
    "SaveAnimatedWEBP": "save animation, animated webp, save gif",
    "SaveAudio": "save flac",
    "SaveAudioAdvanced": "save audio, write sound, export audio, save mp3, save flac, save wav",
    "SaveAudioMP3": "save mp3, save audio",
    "SaveGLB": "save 3d model, save mesh, export glb",
    "SaveImage": "save image, output, write png, export picture, image output",
    "SaveLatent": "save latent",
    "SaveVideo": "save video, export video, write mp4, video output",
    "SaveWEBM": "save webm",
    "SamplerCustom": "custom sampler, custom sampling",
    "SamplerCustomAdvanced": "custom sampler, advanced sampler, flux sampler",
    "SetLatentNoiseMask": "inpaint mask, latent mask, inpainting with mask",
    "SolidMask": "create mask, empty mask, full mask",
    "SplitImageWithAlpha": "remove alpha, extract alpha",
    "StringConcatenate": "join text, combine strings, append text",
    "StringReplace": "replace text, find and replace",
    "StyleModelApply": "style transfer, redux",
    "TextEncodeQwenImageEdit": "qwen edit, edit image by instruction",
    "TextEncodeQwenImageEditPlus": "qwen edit, edit images by instruction, several reference images",
    "TextGenerate": "llm, write a prompt, chat, describe image, caption",
    "TextOverlay": "draw text, write on image, caption on image",
    "TrimAudioDuration": "cut audio, trim audio, shorten sound",
    "UNETLoader": "load unet, load diffusion model, load flux, load wan, model loader",
    "UpscaleModelLoader": "load esrgan, upscaler model",
    "VAEDecode": "vae decode, latent to image, decode latent",
    "VAEDecodeAudio": "latent to audio",
    "VAEDecodeTiled": "decode with less memory, decode large image, tiled decode",
    "VAEEncode": "vae encode, image to latent, encode image, img2img, image to image",
    "VAEEncodeForInpaint": "inpaint, inpainting, encode with mask",
    "VAELoader": "vae, load vae, vae loader",
    "Video Slice": "cut video, trim video, shorten video",
    "Wan22ImageToVideoLatent": "wan image to video, i2v latent",
    "WanFirstLastFrameToVideo": "first and last frame to video, flf2v",
    "WanImageToVideo": "image to video, img2vid, i2v, animate image, wan i2v",
    "WanVaceToVideo": "vace, video to video, v2v, control video",
}

_ORDINARY, _CORE, _OTHERS = 1.2, 1.0, 0.9  # an ordinary class before another of core, before those of packs
_DEPRECATED, _PARTNER, _EXPERIMENTAL = 0.4, 0.6, 0.95
FITS_ANY = 0.4  # how well an input or output fits that takes or gives anything
_CATEGORY, _DESCRIPTION, _TYPES, _ALIASES = 0.5, 0.35, 0.2, 0.9


def ordinary(having: Iterable[str]) -> frozenset[str]:
    """The ordinary classes that people call by a name with one of these texts in it."""
    parts = tuple(having)
    return frozenset(name for name, called in ORDINARY.items() if any(part in squeezed(called) for part in parts))


def item(card: Card, fit: float = 1.0) -> Item:
    """A class as a thing to be found; `fit` is how well it fits what else is asked for."""
    usual = tuple(ORDINARY.get(card.class_type, "").split(", ")) if card.is_core else ()
    names = (card.class_type, card.display_name, *card.aliases.splitlines(), *usual)
    texts = (
        (card.category, _CATEGORY),
        (card.description, _DESCRIPTION),
        (f"{card.links} {card.outputs}", _TYPES),
        (card.python_module.removeprefix("custom_nodes.") if not card.is_core else "", _CATEGORY),
    )
    return Item(card.class_type, names, texts, prior(card) * fit)


def prior(card: Card) -> float:
    """How likely a class is the one that is meant, whatever was asked."""
    usual = _ORDINARY if card.class_type in ORDINARY else _CORE
    value = usual if card.is_core else _OTHERS
    marks = card.marks.splitlines()
    if "partner" in marks or card.python_module.startswith("comfy_api_nodes"):
        value *= _PARTNER
    if "deprecated" in marks or "deprecated" in card.display_name.casefold():
        value *= _DEPRECATED
    return value * _EXPERIMENTAL if "experimental" in marks else value


def accepts(card: Card, wanted: str) -> float:
    """How well an input of the class takes what is of this type: 1 where it is made for it, less for one with a widget
    or that takes anything, 0 for none."""
    links = [link.rpartition(":")[2] for link in card.links.splitlines()]
    return max(_fits(links, wanted), 0.8 * _fits(card.widgets.splitlines(), wanted))


def gives(card: Card, wanted: str) -> float:
    """How well an output of the class is of this type: 1 for its first, less for a later one or one of any type, 0
    for none."""
    outputs = card.outputs.splitlines()
    return max(_fits(outputs[:1], wanted), 0.8 * _fits(outputs[1:], wanted))


def _fits(types: list[str], wanted: str) -> float:
    """Unions fit by what they have in common, and "*" fits all, as on the server (validate_node_input); here for the
    first less the more types it stands for."""
    asked = _union(wanted)
    best = 0.0
    for declared in types:
        kinds = _union(declared)
        if kinds == asked:
            return 1.0
        if ANY in kinds | asked:
            best = max(best, FITS_ANY)
        elif not kinds.isdisjoint(asked):
            best = max(best, 0.9)
    return best


def _union(types: str) -> set[str]:
    return {part for part in (kind.strip().casefold() for kind in types.split(",")) if part}
