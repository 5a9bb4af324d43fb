"""A node pack for the tests: nodes that take their time, fail and block, so that the real server shows how."""

import time

import comfy.utils
from comfy_execution.graph import ExecutionBlocker
from PIL import Image

from . import failures


class TestSleep:
    """Passes an image on after some time, with a progress step every so often."""

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "seconds": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 600.0}),
                "steps": ("INT", {"default": 10, "min": 1, "max": 1000}),
            }
        }

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, image, seconds, steps):
        bar = comfy.utils.ProgressBar(steps)
        for _ in range(steps):
            time.sleep(seconds / steps)
            bar.update(1)
        return (image,)


class TestFail:
    """Raises the named exception."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "message": ("STRING", {"default": "boom"})}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, image, message):
        raise RuntimeError(message)


class TestBlock:
    """Blocks everything behind it, silently."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, image):
        return (ExecutionBlocker(None),)


class SaveImageWebsocket:
    """Sends its pictures as previews over the WebSocket only, as the node of this name that ComfyUI brings along."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",)}}

    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    CATEGORY = "tests"

    def run(self, images):
        bar = comfy.utils.ProgressBar(images.shape[0])
        for index, image in enumerate(images):
            picture = Image.fromarray((image * 255).clamp(0, 255).byte().numpy())
            bar.update_absolute(index, images.shape[0], ("PNG", picture, None))
        return {}


NODE_CLASS_MAPPINGS = {
    "TestSleep": TestSleep,
    "TestFail": TestFail,
    "TestBlock": TestBlock,
    "SaveImageWebsocket": SaveImageWebsocket,
    **failures.NODE_CLASS_MAPPINGS,
}
