"""Runs inside the sandbox's own environment: `python -P launcher.py COMFYUI_FOLDER [its arguments]`.

On Linux PyPI's torchvision and torchaudio are built for CUDA. Beside a CPU build of torch, torchvision's library of
C++ operators cannot be loaded, and `import torchvision` fails because it then refers to operators that nobody defined.
ComfyUI calls none of them, so their names are enough. torchaudio does not load at all: an empty module stands in for
it, so that the audio nodes that do without it exist.
"""

import importlib.machinery
import importlib.util
import io
import runpy
import sys
from pathlib import Path

import torch  # type: ignore[import-not-found, unused-ignore]  # it is in the sandbox's environment only


def define_missing_operators() -> None:
    """Define torchvision's operators by name where its own library does not load."""
    torchvision = importlib.util.find_spec("torchvision")
    if torchvision is None or torchvision.origin is None:
        return
    for library in Path(torchvision.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def stand_in_for_torchaudio() -> None:
    """Put an empty module in torchaudio's place where it is not installed."""
    if importlib.util.find_spec("torchaudio") is None:
        # With a spec: transformers looks the module up by it, and a module without one is an error there.
        spec = importlib.machinery.ModuleSpec("torchaudio", loader=None)
        sys.modules["torchaudio"] = importlib.util.module_from_spec(spec)


def main() -> None:
    folder = sys.argv.pop(1)
    # Line by line, or what a node pack prints would be in the log late, and not at all after a crash.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    # ComfyUI expects its folder first, as for a script started from there. Python is started with -P, so that this
    # file's own folder, whose other files are none of ComfyUI's modules, is not on the path.
    sys.path.insert(0, folder)
    define_missing_operators()
    stand_in_for_torchaudio()
    sys.argv[0] = str(Path(folder) / "main.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
