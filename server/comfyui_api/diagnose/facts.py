"""What of a known kind of failure can be seen in this run: each function gives sentences or nothing.

The document names them in its `Shows` items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeGuard

from comfyui_api.diagnose.cases import KnownCase, searched_text
from comfyui_api.diagnose.run import FailedRun
from comfyui_api.diagnose.traceback import doing
from comfyui_api.import_failures import told_failure
from comfyui_api.import_failures.raised import clean
from comfyui_api.quantities import count
from comfyui_api.repair.model_inputs import is_model_file

Fact: TypeAlias = Callable[[FailedRun, KnownCase], Iterable[str]]

FACTS_SHOWN = 10
NODES_SHOWN = 5
NAME_SHOWN = 120
GIB = 2**30
LARGEST = 2**60  # bytes; servers say what they like

_SIZES = (
    "width",
    "height",
    "length",
    "num_frames",
    "frames",
    "frame_count",
    "video_frames",
    "batch_size",
    "megapixels",
    "scale_by",
    "upscale_by",
    "tile_size",
)
_NO_SIZE_ALONE = {"tile_size"}
_UNTILED = {"VAEDecode": "VAEDecodeTiled", "VAEEncode": "VAEEncodeTiled"}
_FILE_INPUTS = ("image", "video", "audio", "file", "filename", "path", "model_file", "mesh", "filename_prefix")
_PARTS = {
    "ckpt_name": "checkpoint",
    "unet_name": "diffusion model",
    "vae_name": "VAE",
    "clip_name": "text encoder",
    "text_encoder": "text encoder",
    "lora_name": "LoRA",
    "lora": "LoRA",
    "control_net_name": "ControlNet",
    "ipadapter_file": "IPAdapter",
    "style_model_name": "style model",
}
_MATRICES = re.compile(r"\((\d{1,9})x(\d{1,9}) and (\d{1,9})x(\d{1,9})\)")
_CHANNELS = re.compile(r"to have (\d{1,6}) channels, but got (\d{1,6}) channels")
_MODULE = re.compile(r"No module named '?([\w.\-]{1,200})")
_PATH = re.compile(r"'([^'\n]{1,400})'|File path: ([^\n]{1,400})|model type of: ([^\n]{1,400})")


def facts(run: FailedRun, case: KnownCase) -> list[str]:
    """What the run adds to its case, in the document's order, without repetition."""
    found = dict.fromkeys(fact for name in case.shows if name in FACTS for fact in FACTS[name](run, case))
    return list(found)[:FACTS_SHOWN]


def foreign_code(run: FailedRun) -> str | None:
    """That the failure is in the code of another pack than the node's, where it is."""
    if run.failing_pack is None or run.failing_pack == run.pack:
        return None
    return f"It failed in code of the pack '{run.failing_pack}', which takes part in this node's work."


def _memory(run: FailedRun, case: KnownCase) -> Iterator[str]:
    # Of this exception only, not of other words for the same (execution.py, execute).
    unloads = run.error.exception_type.endswith("OutOfMemoryError")
    after = ", after ComfyUI unloaded its models" if unloads else ""
    for device in run.asked.devices[:4]:
        free, total = (min(size, LARGEST) / GIB for size in (device.vram_free, device.vram_total))
        kind = "main memory" if device.type == "cpu" else "VRAM"
        measured = f"{free:.1f} of {total:.1f} GiB {kind} free on {clean(device.name, 80)}"
        yield f"Measured after the failure{after}: {measured}."


def _sizes(run: FailedRun, case: KnownCase) -> Iterator[str]:
    shown = 0
    for node_id, _ in run.upstream():
        inputs = run.inputs(node_id)
        sizes = {name: clean(str(inputs[name]), 12) for name in _SIZES if _is_number(inputs.get(name))}
        if not sizes.keys() - _NO_SIZE_ALONE:
            continue
        if "width" in sizes and "height" in sizes:
            sizes = {"size": f"{sizes.pop('width')} × {sizes.pop('height')}", **sizes}
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sizes.items())
        yield f"{_node(run, node_id)}: {words}."
        shown += 1
        if shown == NODES_SHOWN:
            return


def _decoder(run: FailedRun, case: KnownCase) -> Iterator[str]:
    node_id, class_type = run.error.node_id, run.error.class_type
    if (tiled := _UNTILED.get(class_type)) is not None:
        yield f"{_node(run, node_id)} works on the whole picture at once: {tiled} with tile_size 512 needs far less."
    elif class_type in _UNTILED.values() and (tile := _count(run.inputs(node_id).get("tile_size"))):
        yield f"{_node(run, node_id)} has tile_size {tile}: try {max(128, tile // 2 // 64 * 64)}."
        if (frames := _count(run.inputs(node_id).get("temporal_size"))) > 16:
            yield f"{_node(run, node_id)} takes up to {frames} frames at once (temporal_size): try 16."
    elif doing(run.frames) == "decoding latents":
        yield f"{_node(run, node_id)} failed while decoding: use its tiled variant, or decode with VAEDecodeTiled."


def _precision(run: FailedRun, case: KnownCase) -> Iterator[str]:
    for node_id, _ in run.upstream():
        inputs = run.inputs(node_id)
        weight_dtype = inputs.get("weight_dtype")
        files = [value for value in inputs.values() if is_model_file(value)]
        if isinstance(weight_dtype, str) and files:
            yield f"{_node(run, node_id)} loads {_name(files[0])} with weight_dtype {clean(weight_dtype, 40)}."
            return


def _parts(run: FailedRun, case: KnownCase) -> Iterator[str]:
    """The loaders that bring model, text encoder, VAE and adapters, by the input of the failed node they come in by."""
    shown = 0
    for node_id, through in run.upstream():
        named = {name: value for name, value in _flat(run.inputs(node_id)) if is_model_file(value)}
        if not named:
            continue
        files = ", ".join(f"{_part(name, run.class_type(node_id))} {_name(file)}" for name, file in named.items())
        way = f" (for its input '{clean(through, 60)}')" if through else ""
        yield f"{_node(run, node_id)} brings {files}{way}."
        shown += 1
        if shown == 2 * NODES_SHOWN:
            return


def _widths(run: FailedRun, case: KnownCase) -> Iterator[str]:
    if found := _MATRICES.search(searched_text(run.error)):
        given, wanted = int(found[2]), int(found[3])
        yield f"Given was the width {given}{_meaning(given, case)}."
        yield f"The model expects {wanted}{_meaning(wanted, case)}."


def _channels(run: FailedRun, case: KnownCase) -> Iterator[str]:
    if found := _CHANNELS.search(searched_text(run.error)):
        wanted, given = int(found[1]), int(found[2])
        yield f"Given were {given} channels{_meaning(given, case)}."
        yield f"Expected are {wanted}{_meaning(wanted, case)}."


def _package(run: FailedRun, case: KnownCase) -> Iterator[str]:
    error = run.error
    line = f"{error.exception_type}: {error.exception_message[:1000]}"
    pack = run.failing_pack or run.pack
    failure = told_failure(pack or "", f"Traceback (most recent call last):\n{line}")
    if pack is None or failure is None:
        if found := _MODULE.search(line):
            yield f"The Python module is '{found[1]}'."
        return
    yield f"Pack '{pack}': {failure.reason}"
    yield failure.advice


def _model_file(run: FailedRun, case: KnownCase) -> Iterator[str]:
    yield from _said_file(run)
    node_id = run.error.node_id
    for name, value in _flat(run.inputs(node_id)):
        if is_model_file(value):
            yield f"{_node(run, node_id)} was told {clean(name, 60)} = {_name(value)}."


def _file(run: FailedRun, case: KnownCase) -> Iterator[str]:
    yield from _said_file(run)
    node_id = run.error.node_id
    for name, value in _flat(run.inputs(node_id)):
        if isinstance(value, str) and value and (name in _FILE_INPUTS or is_model_file(value)):
            yield f"{_node(run, node_id)} was told {clean(name, 60)} = {_name(value)}."


def _said_file(run: FailedRun) -> Iterator[str]:
    for found in _PATH.finditer(searched_text(run.error)):
        path = next(group for group in found.groups() if group is not None).strip()
        if re.search(r"\.\w{1,12}$", path) or "/" in path or "\\" in path:
            yield f"The file is {_name(path)}."
            return


def _inputs(run: FailedRun, case: KnownCase) -> Iterator[str]:
    empty = [clean(name, 60) for name, values in run.given.items() if not values or values[0] is None]
    if empty:
        yield f"Empty inputs of {_node(run, run.error.node_id)}: {', '.join(empty[:10])}."


def _done(run: FailedRun, case: KnownCase) -> Iterator[str]:
    """What need not be done again."""
    if done := len({*run.error.executed, *run.cached} & run.prompt.keys()):
        yield (
            f"{done} of {count(len(run.prompt), 'node')} {'was' if done == 1 else 'were'} done before it and "
            "stay in ComfyUI's cache: "
            "a run that changes only later nodes goes on from there."
        )


FACTS: Mapping[str, Fact] = {
    "memory": _memory,
    "sizes": _sizes,
    "decoder": _decoder,
    "precision": _precision,
    "parts": _parts,
    "widths": _widths,
    "channels": _channels,
    "package": _package,
    "model_file": _model_file,
    "file": _file,
    "inputs": _inputs,
    "done": _done,
}


def _node(run: FailedRun, node_id: str) -> str:
    return f"{clean(run.class_type(node_id) or run.error.class_type, 80)} ({clean(node_id, 40)})"


def _name(file: str) -> str:
    """A file's name or the end of its path: what tells one from another stands last."""
    return clean(file if len(file) <= NAME_SHOWN else f"…{file[-NAME_SHOWN:]}", NAME_SHOWN + 1)


def _part(input_name: str, class_type: str) -> str:
    if class_type == "CLIPVisionLoader":
        return "CLIP vision"
    return _PARTS.get(input_name.rsplit(".", 1)[-1].rstrip("0123456789_"), "file")


def _meaning(number: int, case: KnownCase) -> str:
    words = case.meanings.get(number)
    return f": {words}" if words else ""


def _flat(inputs: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Inputs with those inside of objects: packs keep LoRAs as {"lora_1": {"on": true, "lora": "x.safetensors"}}."""
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            if value.get("on") is not False:
                yield from ((f"{name}.{inner}", inside) for inner, inside in value.items())
        else:
            yield str(name), value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: object) -> int:
    """A whole number of a sensible size; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6 else 0
