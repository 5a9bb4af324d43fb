"""A node pack for the tests: a node whose outputs stand under the keys that node packs use."""

import wave
from pathlib import Path

import folder_paths
from PIL import Image

TEXT = "Ein Kätzchen auf einem Dach. " * 200


class TestOutputs:
    """Saves a GIF as Video Helper Suite does, a sound, a 3D file that it shows, a caption; shows a long text."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"prefix": ("STRING", {"default": "many"}), "seed": ("INT", {"default": 0})}}

    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    CATEGORY = "tests"

    def run(self, prefix, seed):
        root = Path(folder_paths.get_output_directory()) / "many"
        root.mkdir(exist_ok=True)

        def place(name):
            return {"filename": f"{prefix}_{name}", "subfolder": "many", "type": "output"}

        def path(name):
            return root / f"{prefix}_{name}"

        frames = [Image.new("RGB", (32, 24), (seed % 256, 40 * number, 0)) for number in range(6)]
        frames[0].save(path("a.gif"), save_all=True, append_images=frames[1:], duration=100)
        with wave.open(str(path("s.wav")), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(b"\x00\x40\x00\xc0" * 4000)
        path("m.glb").write_bytes(b"glTF\x02\x00\x00\x00\x0c\x00\x00\x00")
        path("c.txt").write_text("ein Kätzchen", encoding="utf-8")
        gif = {**place("a.gif"), "format": "image/gif", "frame_rate": 10, "fullpath": str(path("a.gif"))}
        return {
            "ui": {
                "gifs": [gif],
                "audio": [place("s.wav")],
                "3d": [place("m.glb")],
                "result": [f"many/{prefix}_m.glb", {"position": {"x": 1}}, None],
                "own_key": [place("c.txt")],
                "text": [TEXT],
            }
        }


NODE_CLASS_MAPPINGS = {"TestOutputs": TestOutputs}
