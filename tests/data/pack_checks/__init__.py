"""A node pack for the tests: classes named as those of well-known packs, that judge their inputs in the same form.

Each input has in its "sound", or in its default, a value that every check takes.
"""

from pathlib import Path

import folder_paths
from comfy_api.latest import io


class Anything(str):
    """A type that fits all others."""

    def __ne__(self, other):
        return False


class OneOf(str):
    """A type that says by itself which others fit."""

    def __new__(cls, name, fitting):
        made = super().__new__(cls, name)
        made.fitting = fitting
        return made

    def __ne__(self, other):
        return other not in self.fitting


IMAGE_OR_LATENT = OneOf("IMAGE", ["IMAGE", "LATENT"])
FLOAT_OR_INT = OneOf("FLOAT", ["FLOAT", "INT"])


def files(ending):
    return [file.name for file in Path(folder_paths.get_input_directory()).glob(f"*{ending}")]


def found(value):
    return True if folder_paths.exists_annotated_filepath(value) else f"There is no {value}."


class Node:
    RETURN_TYPES = ()
    FUNCTION = "run"
    CATEGORY = "tests"
    OUTPUT_NODE = True

    def run(self, **inputs):
        return ()


class LoadVideo(Node):
    RETURN_TYPES = (IMAGE_OR_LATENT, "INT")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "video": (files(".mp4"), {"sound": "listed.mp4"}),
                "force_rate": (FLOAT_OR_INT, {"min": 0, "max": 60, "sound": 0}),
                "frame_load_cap": ("INT", {"min": 0, "max": 100, "sound": 0}),
                "mode": (["a", "b"], {"sound": "a"}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, video):
        return found(video)


class VideoCombine(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": (IMAGE_OR_LATENT, {"sound": ["8", 0]}),
                "frame_rate": (FLOAT_OR_INT, {"min": 1, "sound": 8}),
                "format": (["image/gif", "image/webp"], {"sound": "image/gif"}),
            }
        }


class Reroute(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "choice": (["a", "b"], {"sound": "a"}),
                "count": ("INT", {"min": 0, "max": 10, "sound": 1}),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, **inputs):
        return True


class LoadAudioUpload(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"audio": (files(".wav"), {"sound": "there.bin"})},
            "optional": {"duration": ("FLOAT", {"min": 0, "max": 10, "sound": 0})},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, audio, **others):
        return found(audio)


class LoadImages(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"directory": (["listed"], {"sound": "sub"})},
            "optional": {"image_load_cap": ("INT", {"min": 0, "sound": 0})},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, directory, **others):
        return True if Path(folder_paths.get_annotated_filepath(directory)).is_dir() else "That is no folder."


class LoadText(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "root_dir": (["input"], {"sound": "input"}),
                "file": (["[none]"], {"sound": "[none]"}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root_dir, file, **others):
        if ".." in file:
            raise ReferenceError
        return True


class ImageReceiver(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": (files(".png"), {"sound": "#DATA"}),
                "link_id": ("INT", {"min": 0, "max": 10, "sound": 0}),
                "image_data": ("STRING", {"sound": ""}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, image, link_id, image_data):
        return image == "#DATA" or found(image)


class ComboClone(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Combo Clone",
            category="tests",
            inputs=[io.Combo.Input("combo", options=["nothing"], default="nothing")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, **inputs):
        return isinstance(inputs.get("combo"), str)

    @classmethod
    def execute(cls, combo):
        return io.NodeOutput()


class DisplayAny(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {"sound": ""}), "mode": (["raw", "shape"], {"sound": "raw"})}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True


class TestAnything(Node):
    RETURN_TYPES = (Anything("*"),)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}


class TestInt(Node):
    RETURN_TYPES = ("INT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}


class TestMask(Node):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"mask": ("MASK", {"sound": ["8", 0]})}}


NODE_CLASS_MAPPINGS = {
    "VHS_LoadVideo": LoadVideo,
    "VHS_VideoCombine": VideoCombine,
    "VHS_LoadAudioUpload": LoadAudioUpload,
    "VHS_LoadImages": LoadImages,
    "ReroutePrimitive|pysssss": Reroute,
    "LoadText|pysssss": LoadText,
    "ImageReceiver": ImageReceiver,
    "Combo Clone": ComboClone,
    "DisplayAny": DisplayAny,
    "ADJUST: TEST (JOV)": DisplayAny,
    "TestAnything": TestAnything,
    "TestInt": TestInt,
    "TestMask": TestMask,
}
