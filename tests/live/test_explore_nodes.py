"""find_nodes on real servers' classes: sixty plain requests and more, each answered among the first three."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from comfyui_api.app.answers import TEXT_LIMIT
from comfyui_api.node_card import card_of
from comfyui_api.search import rank
from comfyui_api.search.nodes import item
from tests.oracle import OracleUnavailable, read_object_info, recent_data
from tests.support import agent, environment_for

pytestmark = [pytest.mark.anyio, pytest.mark.live]

# What people ask for, and the classes of which one should come first, "|" between them. Of versions that do not have
# any of them a request is left out.
REQUESTS = """
load image = LoadImage
open a picture = LoadImage
upscale = ImageScale|ImageUpscaleWithModel
upscaling images = ImageScale|ImageUpscaleWithModel
upscale image with a model = ImageUpscaleWithModel
save video = SaveVideo
vae decode = VAEDecode
latent to image = VAEDecode
vae encode = VAEEncode
img2img = VAEEncode
image to latent = VAEEncode
ksampler = KSampler
sampler = KSampler
k sampler = KSampler
seed = KSampler|RandomNoise|SeedNode
denoise = KSampler
lora = LoraLoader|LoraLoaderModelOnly
load loras = LoraLoader|LoraLoaderModelOnly
controlnet = ControlNetLoader|ControlNetApplyAdvanced
control net = ControlNetLoader|ControlNetApplyAdvanced
apply controlnet = ControlNetApplyAdvanced
load checkpoint = CheckpointLoaderSimple
checkpoint = CheckpointLoaderSimple
ckpt loader = CheckpointLoaderSimple
load model = CheckpointLoaderSimple|UNETLoader
load diffusion model = UNETLoader
unet = UNETLoader
inpaint = InpaintModelConditioning|VAEEncodeForInpaint|SetLatentNoiseMask
inpainting = InpaintModelConditioning|VAEEncodeForInpaint|SetLatentNoiseMask
text prompt = CLIPTextEncode
prompt = CLIPTextEncode
negative prompt = CLIPTextEncode
encode text = CLIPTextEncode
empty latent = EmptyLatentImage
image size = EmptyLatentImage|GetImageSize
mask = SolidMask|LoadImageMask|MaskComposite|GrowMask|InvertMask|ImageToMask|MaskToImage|CropMask
invert mask = InvertMask
grow mask = GrowMask
load mask = LoadImageMask
audio = LoadAudio|SaveAudio|SaveAudioAdvanced|AudioMerge|AudioConcat
load audio = LoadAudio
save audio = SaveAudio|SaveAudioMP3|SaveAudioAdvanced
save image = SaveImage
preview image = PreviewImage
show a picture = PreviewImage
resize image = ImageScale|ResizeImageMaskNode
scale an image = ImageScale|ImageScaleBy|ResizeImageMaskNode
crop image = ImageCrop|ImageCropV2
crop = ImageCrop|ImageCropV2
rotate image = ImageRotate
flip image = ImageFlip
blur = ImageBlur
blend images = ImageBlend
invert colours = ImageInvert
outpaint = ImagePadForOutpaint
pad image for outpainting = ImagePadForOutpaint
edge detection = Canny
canny = Canny
clip skip = CLIPSetLastLayer
load vae = VAELoader
load clip = CLIPLoader
text encoder loader = CLIPLoader
flux text encoders = DualCLIPLoader
flux guidance = FluxGuidance
style model = StyleModelApply|StyleModelLoader
clip vision = CLIPVisionLoader|CLIPVisionEncode
upscale latent = LatentUpscale|LatentUpscaleBy
upscale model loader = UpscaleModelLoader
image to video = WanImageToVideo|LTXVImgToVideo|HunyuanImageToVideo|MiniMaxH3ImageToVideo|HunyuanVideo15ImageToVideo
animate image = WanImageToVideo|WanAnimateToVideo|WanAnimate2ToVideo
load video = LoadVideo
video to frames = GetVideoComponents
frames to video = CreateVideo
images to video = CreateVideo
combine prompts = ConditioningCombine
regional prompt = ConditioningSetArea|ConditioningSetMask
merge models = ModelMergeSimple
save checkpoint = CheckpointSave
batch images = ImageBatch|BatchImagesNode
composite images = ImageCompositeMasked
image to mask = ImageToMask
mask to image = MaskToImage
empty video latent = EmptyHunyuanLatentVideo|EmptyLTXVLatentVideo
advanced sampler = KSamplerAdvanced|SamplerCustomAdvanced
scheduler = BasicScheduler
random noise = RandomNoise
save 3d model = SaveGLB|Save3DAdvanced
show text = PreviewAny
concatenate text = StringConcatenate
replace text = StringReplace|RegexReplace|ReplaceText
integer = PrimitiveInt
number = PrimitiveInt|PrimitiveFloat
boolean = PrimitiveBoolean
lod image = LoadImage
chekpoint = CheckpointLoaderSimple
contolnet = ControlNetLoader|ControlNetApplyAdvanced
save vidoe = SaveVideo
remove background = RemoveBackground
frame interpolation = FrameInterpolate
qwen image edit = TextEncodeQwenImageEdit|TextEncodeQwenImageEditPlus
tiled vae decode = VAEDecodeTiled
LoadCheckpoint = CheckpointLoaderSimple
Load_Lora = LoraLoader|LoraLoaderModelOnly
how do I save my image to a file = SaveImage
which node decodes a latent = VAEDecode
add noise to latent = AddNoise
quantise colors = ImageQuantize
ddim scheduler = KSamplerSelect|BasicScheduler|KarrasScheduler
karras scheduler = KarrasScheduler
split sigmas = SplitSigmas
crop a latent = LatentCrop
feather mask edges = FeatherMask
combine two masks = MaskComposite
threshold a mask = ThresholdMask
convert mask to picture = MaskToImage
train a lora = TrainLoraNode
save lora weights = SaveLoRA|LoraSave
load a text encoder for sd3 = CLIPLoader|TripleCLIPLoader
sdxl refiner prompt = CLIPTextEncodeSDXLRefiner
stitch two images together = ImageStitch
make a grid of images = ImageGrid
brightness = AdjustBrightness
contrast = AdjustContrast
flip latent = LatentFlip
get image dimensions = GetImageSize
repeat image batch = RepeatImageBatch
pick one frame from batch = ImageFromBatch
svd image to video conditioning = SVD_img2vid_Conditioning
wan first last frame = WanFirstLastFrameToVideo
wan vace = WanVaceToVideo
wan camera = WanCameraImageToVideo|WanCameraEmbedding
hunyuan video empty latent = EmptyHunyuanLatentVideo
ltxv scheduler = LTXVScheduler
gligen = GLIGENLoader|GLIGENTextBoxApply
photomaker = PhotoMakerLoader|PhotoMakerEncode
perturbed attention guidance = PerturbedAttentionGuidance
freeu = FreeU|FreeU_V2
hypernetwork = HypernetworkLoader
load style model = StyleModelLoader
redux style transfer = StyleModelApply
merge clip = CLIPMergeSimple
webcam = WebcamCapture
record microphone = RecordAudio
change volume = AudioAdjustVolume
trim audio = TrimAudioDuration
regex = RegexMatch|RegexReplace|RegexExtract
uppercase text = CaseConverter|TextToUppercase
text length = StringLength
preview 3d = Preview3D
voxel to mesh = VoxelToMesh|VoxelToMeshBasic
save glb = SaveGLB|Save3DAdvanced
animated webp = SaveAnimatedWEBP
export webm = SaveWEBM
torch compile = TorchCompileModel
teacache speed up = EasyCache|LazyCache
model sampling flux = ModelSamplingFlux
guidance for flux = FluxGuidance
inpaint controlnet = ControlNetInpaintingAliMamaApply
union controlnet type = SetUnionControlNetType
depth anything = DA3Inference|LoadDA3Model
segment anything = SAM3_Detect|SAM3_VideoTrack
compare two images = ImageCompare
if else switch = ComfySwitchNode
math expression = ComfyMathExpression
kling video = KlingTextToVideoNode|KlingImage2VideoNode|KlingVideoNode
dall-e = OpenAIDalle2|OpenAIDalle3
veo = VeoVideoGenerationNode|Veo3VideoGenerationNode
nano banana = GeminiImageNode|GeminiImage2Node|GeminiNanoBanana2|GeminiNanoBanana2V2
remove the background of a photo = RemoveBackground|RecraftRemoveBackgroundNode
zoom out image = ImagePadForOutpaint|ImageScaleBy|ImageScale
load gguf = UNETLoader
prompt for qwen = CLIPTextEncode|TextEncodeQwenImageEdit
"""
LEAST_FIRST = 0.9  # share of the requests whose very first answer is one of them


def requests(object_info: Mapping[str, Any]) -> dict[str, set[str]]:
    table = (line.split(" = ") for line in REQUESTS.strip().splitlines())
    wanted = {query: set(classes.split("|")) & object_info.keys() for query, classes in table}
    return {query: classes for query, classes in wanted.items() if classes}


def judge(object_info: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    items = [item(card_of(name, entry)) for name, entry in object_info.items()]
    places = {}
    for query, classes in requests(object_info).items():
        found = [each.key for each in rank(query, items, 10).found]
        places[query] = min((found.index(name) for name in classes if name in found), default=99)
    shares = [sum(place < depth for place in places.values()) / len(places) for depth in (1, 3, 10)]
    with capsys.disabled():
        said = ", ".join(f"hit@{depth} {share:.1%}" for depth, share in zip((1, 3, 10), shares, strict=True))
        print(f"\n  {len(places)} requests over {len(items)} node classes: {said} ", end="")  # noqa: T201
    assert {query: place for query, place in places.items() if place >= 3} == {}
    assert shares[0] >= LEAST_FIRST


def test_plain_requests_find_their_class(comfyui: str, capsys: pytest.CaptureFixture[str]) -> None:
    judge(read_object_info(comfyui), capsys)


@pytest.mark.parametrize("data", ["object_info"])
def test_plain_requests_find_their_class_on_a_recent_server(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        judge(recent_data(data), capsys)
    except OracleUnavailable as exc:
        pytest.skip(str(exc))


async def test_every_class_of_a_real_server_is_told_in_one_answer(comfyui: str, home: Path) -> None:
    names = list(read_object_info(comfyui))
    async with agent(environment_for(home, comfyui)) as client:
        for name in names:
            result = await client.call("find_nodes", class_type=name)
            assert result["node"]["class_type"] == name
            assert "cut" not in result
            assert len(json.dumps(result, ensure_ascii=False)) <= TEXT_LIMIT


async def test_a_class_is_told_as_the_server_has_it_now(comfyui: str, home: Path) -> None:
    picture = home / "just uploaded.png"
    picture.write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
            "a5f645400000000049454e44ae426082"
        )
    )
    async with agent(environment_for(home, comfyui)) as client:
        await client.call("find_nodes", query="load image")  # from here on an inventory is known
        uploaded = await client.call("upload_image", path=str(picture))
        result = await client.call("find_nodes", class_type="LoadImage", query="just uploaded")
        assert uploaded["value"] in result["node"]["matching"]["image"]
        assert "notes" not in result


async def test_a_deprecated_class_and_an_unknown_one_are_explained(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as client:
        old = await client.call("find_nodes", class_type="ControlNetApply")
        assert old["notes"][0].startswith("Deprecated")
        assert "Did you mean 'KSampler'" in await client.fail("find_nodes", class_type="KSamplr")
        assert "comfyui-impact-pack" in await client.fail("find_nodes", class_type="FaceDetailer")


async def test_what_was_asked_once_is_found_without_the_server(comfyui: str, home: Path) -> None:
    async with agent(environment_for(home, comfyui)) as client:
        online = await client.call("find_nodes", query="upscale", accepts="IMAGE", gives="IMAGE")
    kept, address = home / "state" / "inventory.json", "http://127.0.0.1:9"
    kept.write_text(kept.read_text().replace(comfyui, address))
    async with agent(environment_for(home, address)) as client:
        offline = await client.call("find_nodes", query="upscale", accepts="IMAGE", gives="IMAGE")
        assert offline["nodes"] == online["nodes"]
        spec = await client.call("find_nodes", class_type="ImageScale")
        assert "by the inventory alone" in spec["notes"][-1]
