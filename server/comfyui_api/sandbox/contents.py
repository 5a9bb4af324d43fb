"""What is put into a sandbox's base directory: placeholder models, node packs, the tiny upscaler."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from comfyui_api.errors import SandboxError
from comfyui_api.sandbox.folders import remove_tree
from comfyui_api.sandbox.processes import environment_variables

TINY_UPSCALER = "tiny_esrgan_4x.safetensors"
_COPY_MARK = ".placed-by-comfyui-api"
_SCRIPT = Path(__file__).with_name("tiny_upscaler.py")


def model_paths(models: Sequence[str]) -> list[PurePosixPath]:
    """`FOLDER/NAME` entries as paths below models/. Raises SandboxError for one that would lead elsewhere."""
    paths = []
    for entry in models:
        parts = entry.replace("\\", "/").split("/")
        # A colon is a drive or a second stream of a file on Windows.
        odd = any(part in {"", ".", ".."} or ":" in part or not part.isprintable() for part in parts)
        if odd or len(parts) < 2:
            raise SandboxError(
                f"'{entry}' is not a model's folder and name.",
                "Write it as below models/, for example checkpoints/sd15.safetensors.",
            )
        paths.append(PurePosixPath(*parts))
    return paths


def add_placeholder_models(base_directory: Path, paths: Sequence[PurePosixPath]) -> list[Path]:
    """Make an empty file for each path that is not there yet; returns the new ones."""
    root = base_directory / "models"
    root.mkdir(parents=True, exist_ok=True)
    added = []
    for path in paths:
        file = root / path
        if not file.parent.resolve().is_relative_to(root.resolve()):
            raise SandboxError(
                f"'{path}' leads out of {root}, through a link.", "Remove the link, or choose another folder."
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.open("xb").close()
        except FileExistsError:
            continue
        added.append(file)
    return added


def find_packs(folders: Sequence[Path]) -> list[Path]:
    """The node packs that these folders are, or hold: folders with an __init__.py, and single .py files."""
    packs: list[Path] = []
    for given in folders:
        folder = given.expanduser().resolve()
        if _is_pack(folder):
            found = [folder]
        elif folder.is_dir():
            found = sorted(entry for entry in folder.iterdir() if _is_pack(entry) and not entry.name.startswith("."))
        else:
            found = []
        if not found:
            raise SandboxError(
                f"There is no node pack at {folder}.",
                "Name a folder with an __init__.py, or a folder that holds such folders.",
            )
        packs += [pack for pack in found if pack not in packs]
    names = [pack.name for pack in packs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SandboxError(f"Several node packs are called {', '.join(twice)}.", "Leave one of each, or rename them.")
    return packs


def _is_pack(path: Path) -> bool:
    return (path / "__init__.py").is_file() or (path.is_file() and path.suffix == ".py")


def place_packs(base_directory: Path, packs: Sequence[Path], placed_before: Collection[str]) -> None:
    """Make custom_nodes hold these packs: new ones in, those that an earlier start placed out, all others untouched.

    Packs are linked, so that a change in one shows after the next start, and copied where links are not allowed.
    """
    folder = base_directory / "custom_nodes"
    folder.mkdir(parents=True, exist_ok=True)
    for name in placed_before:
        _take_out(folder / Path(name).name)
    for pack in packs:
        place = folder / pack.name
        if place.is_symlink() and place.resolve() == pack:
            continue
        if place.exists() or place.is_symlink():
            raise SandboxError(
                f"{place} exists already and was not put there by an earlier start.",
                "Move it away, or start without this node pack.",
            )
        try:
            place.symlink_to(pack, target_is_directory=pack.is_dir())
        except OSError:
            # Windows lets only administrators and developers make links.
            _copy(pack, place)


def _copy(pack: Path, place: Path) -> None:
    if pack.is_dir():
        shutil.copytree(pack, place, ignore=shutil.ignore_patterns("__pycache__", ".git"))
        (place / _COPY_MARK).touch()
    else:
        shutil.copy2(pack, place)


def _take_out(place: Path) -> None:
    # A folder that the user has put in our link's or copy's place since then is theirs.
    if place.is_symlink() or place.is_file() or (place / _COPY_MARK).exists():
        remove_tree(place)


def add_tiny_upscaler(base_directory: Path, python: Path) -> None:
    """Write the tiny upscaler with the environment's torch, if it is not there yet."""
    file = base_directory / "models" / "upscale_models" / TINY_UPSCALER
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        [str(python), "-I", str(_SCRIPT), str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment_variables(),
        check=False,
    )
    if made.returncode != 0:
        said = made.stdout.decode("utf-8", "replace").strip().splitlines()
        raise SandboxError(
            f"The tiny upscaler could not be made: {said[-1] if said else f'exit status {made.returncode}'}.",
            "If the installation is damaged, remove the sandbox with its environment and start again.",
        )
