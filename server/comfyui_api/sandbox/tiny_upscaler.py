"""Runs inside the sandbox's own environment: `python tiny_upscaler.py FILE` writes a small, untrained 4x upscaler.

The file is an ESRGAN state dict (old naming, one block, four filters) that ComfyUI's UpscaleModelLoader reads. Its
weights are random, from a fixed seed: the pictures are coloured noise of the right size, the way there is the real one.
"""

import os
import sys
from pathlib import Path

import torch  # type: ignore[import-not-found, unused-ignore]  # these two are in the sandbox's environment only
from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]

FILTERS = 4
GROWTH = 32  # fixed by the architecture: what each convolution of a dense block adds
SEED = 20260101


def layers() -> dict[str, tuple[int, int]]:
    """Every convolution of the network: its name, channels in and channels out."""
    table = {"model.0": (3, FILTERS)}
    for block in (1, 2, 3):
        for step in range(1, 6):
            out = GROWTH if step < 5 else FILTERS
            table[f"model.1.sub.0.RDB{block}.conv{step}.0"] = (FILTERS + (step - 1) * GROWTH, out)
    table["model.1.sub.1"] = (FILTERS, FILTERS)
    # Two doublings and the two last convolutions; the numbers between belong to layers without weights.
    table |= {"model.3": (FILTERS, FILTERS), "model.6": (FILTERS, FILTERS)}
    table |= {"model.8": (FILTERS, FILTERS), "model.10": (FILTERS, 3)}
    return table


def main() -> None:
    target = Path(sys.argv[1])
    generator = torch.Generator().manual_seed(SEED)
    state = {}
    for name, (inside, outside) in layers().items():
        spread = (2 / (inside * 9)) ** 0.5
        state[f"{name}.weight"] = (torch.randn(outside, inside, 3, 3, generator=generator) * spread).half()
        state[f"{name}.bias"] = (torch.rand(outside, generator=generator) * 0.1).half()
    # Around mid-grey, or most of a picture would be cut off at black.
    state["model.10.bias"] += 0.5
    partial = target.with_name(target.name + f".{os.getpid()}.partial")
    save_file(state, str(partial))
    partial.replace(target)


if __name__ == "__main__":
    main()
