"""Nodes that fail as nodes fail in life: each way is a real operation of PyTorch, safetensors, Pillow or the system."""

import subprocess
import tempfile
import time
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import comfy.utils
import numpy
import torch
from comfy_api_nodes.util import client as partner_client
from PIL import Image
from safetensors.torch import load_file, save_file


def _file(content, ending):
    path = Path(tempfile.mkdtemp()) / f"broken{ending}"
    path.write_bytes(content)
    return str(path)


def _truncated_pickle():
    path = _file(b"", ".pt")
    torch.save({"weight": torch.zeros(64, 64)}, path)
    Path(path).write_bytes(Path(path).read_bytes()[:4000])
    return torch.load(path, weights_only=True)


def _truncated_safetensors():
    path = _file(b"", ".safetensors")
    save_file({"weight": torch.zeros(64, 64)}, path)
    Path(path).write_bytes(Path(path).read_bytes()[:4000])
    return load_file(path)


def _disk_full():
    Path("/dev/full").write_bytes(b"x" * 100_000)


def _partner(status):
    raise Exception(partner_client._friendly_http_message(status, None))  # noqa: TRY002  # as the client itself does


def _import_missing():
    import insightface_of_nobody  # noqa: F401, PLC0415  # packs often import what they need only when they run


def _nothing():
    image = None
    return image.shape


def _out_of_memory():
    raise comfy.model_management.OOM_EXCEPTION("Allocation on device ")


def _stopped():
    raise comfy.model_management.InterruptProcessingException


def _wrong_arguments():
    return comfy.utils.common_upscale(torch.zeros(1, 3, 8, 8), 4, 4, "area")


WAYS = {
    "text_encoder": lambda: torch.nn.Linear(768, 320)(torch.zeros(77, 2048)),
    "channels": lambda: torch.nn.Conv2d(4, 4, 1)(torch.zeros(1, 16, 64, 64)),
    "state_dict": lambda: torch.nn.Linear(4, 8).load_state_dict(torch.nn.Linear(4, 4).state_dict()),
    "add": lambda: torch.zeros(2, 3) + torch.zeros(2, 4),
    "cat": lambda: torch.cat([torch.zeros(2, 3), torch.zeros(3, 2)]),
    "stack": lambda: torch.stack([torch.zeros(2, 3), torch.zeros(3, 2)]),
    "broadcast": lambda: numpy.zeros((2, 3)) + numpy.zeros((2, 4)),
    "view": lambda: torch.zeros(12).view(5, 5),
    "linear_dtype": lambda: torch.nn.Linear(4, 4)(torch.zeros(1, 4, dtype=torch.float16)),
    "conv_dtype": lambda: torch.nn.Conv2d(3, 3, 1).half()(torch.zeros(1, 3, 8, 8)),
    "float8": lambda: torch.nn.functional.gelu(torch.zeros(4).to(torch.float8_e4m3fn)),
    "cuda": lambda: torch.zeros(1, device="cuda"),
    "main_memory": lambda: torch.empty(2**48),
    "array_memory": lambda: numpy.zeros((2**20, 2**20, 2**6)),
    "html_safetensors": lambda: load_file(_file(b"<!DOCTYPE html>" * 100, ".safetensors")),
    "empty_safetensors": lambda: load_file(_file(b"", ".safetensors")),
    "cut_safetensors": _truncated_safetensors,
    "html_pickle": lambda: torch.load(_file(b"<!DOCTYPE html>" * 100, ".pt"), weights_only=True),
    "cut_pickle": _truncated_pickle,
    "text_picture": lambda: Image.open(_file(b"no picture at all", ".png")),
    "cut_picture": lambda: Image.open(_file(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ".png")).load(),
    "missing_file": lambda: Path("/nowhere/at/all.png").read_bytes(),
    "missing_program": lambda: subprocess.run(["ffmpeg"], env={"PATH": ""}, check=True),
    "missing_package": _import_missing,
    "disk_full": _disk_full,
    "folder": lambda: Path(tempfile.mkdtemp()).write_bytes(b"x"),
    "not_logged_in": lambda: _partner(401),
    "no_credits": lambda: _partner(402),
    "too_often": lambda: _partner(429),
    "nothing": _nothing,
    "out_of_memory": _out_of_memory,
    "stopped": _stopped,
    "wrong_arguments": _wrong_arguments,
    "unknown": lambda: {}["a key of nobody"],
}


class TestFailReally:
    """Fails in one of the ways, after some steps of work."""

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "way": (list(WAYS),),
                "steps": ("INT", {"default": 0, "min": 0, "max": 100}),
            },
            "optional": {"mask": ("MASK",)},
        }

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, image, way, steps, mask=None):
        bar = comfy.utils.ProgressBar(steps + 2)
        for _ in range(steps):
            time.sleep(0.1)
            bar.update(1)
        WAYS[way]()
        return (image,)


class TestNothing:
    """Gives nothing where a model, a text encoder and a VAE are expected, as loaders do that do not know a file."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": ("INT", {"default": 0})}}

    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, seed):
        return (None, None, None)


class TestTinyModel:
    """A diffusion model of SD 1.5's kind and a VAE for it, tiny and untrained, with conditioning of any width."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {"default": 768, "min": 1, "max": 8192})}}

    RETURN_TYPES = ("MODEL", "VAE", "CONDITIONING")
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, width):
        config = comfy.supported_models.SD15(
            {
                "image_size": 32,
                "in_channels": 4,
                "out_channels": 4,
                "model_channels": 32,
                "num_res_blocks": [1],
                "channel_mult": [1],
                "num_heads": 4,
                "use_spatial_transformer": True,
                "transformer_depth": [1],
                "transformer_depth_output": [1, 1],
                "transformer_depth_middle": 1,
                "context_dim": 768,
                "use_linear_in_transformer": False,
                "legacy": False,
                "adm_in_channels": None,
                "dtype": torch.float32,
            }
        )
        device = torch.device("cpu")
        model = comfy.model_patcher.ModelPatcher(config.get_model({}, ""), device, device)
        vae = comfy.sd.VAE(sd=comfy.taesd.taesd.TAESD(latent_channels=4).state_dict())
        return (model, vae, [[torch.zeros(1, 77, width), {}]])


NODE_CLASS_MAPPINGS = {"TestFailReally": TestFailReally, "TestNothing": TestNothing, "TestTinyModel": TestTinyModel}
