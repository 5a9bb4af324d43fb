"""Whether the models that a run loads fit into the device's memory."""

from __future__ import annotations

from comfyui_api.findings import Finding
from comfyui_api.graph import Prompt
from comfyui_api.node_class import NodeClasses
from comfyui_api.quantities import count
from comfyui_api.repair.model_files import readable_size
from comfyui_api.repair.model_inputs import InstalledModels, is_model_file, model_folder
from comfyui_api.runs import Device


def will_it_fit(
    prompt: Prompt,
    reached: set[str],
    node_classes: NodeClasses,
    installed: InstalledModels,
    devices: tuple[Device, ...],
) -> Finding | None:
    """A warning with the figures where the model files of a run are larger than the free memory of the device; None
    where they fit, or where sizes or memory are not known. Sizes are those of the files: what a model takes in memory
    differs with its precision there."""
    device = devices[0] if devices else None
    if device is None or not device.vram_free:
        return None
    sizes = _sizes(prompt, reached, node_classes, installed)
    total = sum(sizes.values())
    if total <= device.vram_free:
        return None
    (_, largest), size = max(sizes.items(), key=lambda item: item[1])
    free = f"{readable_size(device.vram_free)} of {readable_size(device.vram_total)} are free on {device.name}"
    outcome = (
        "the largest alone is more than that: it will run from main memory in parts, slowly, or out of memory"
        if size > device.vram_free
        else "ComfyUI will load and unload them in turn"
    )
    return Finding(
        "warning",
        "memory",
        f"The {count(len(sizes), 'model file')} of this run take {readable_size(total)}, the "
        f"largest, {largest}, {readable_size(size)}; {free}: {outcome}.",
        fix="If it fails: free_vram, a smaller variant (fp8, gguf), or a smaller size or batch.",
    )


def _sizes(
    prompt: Prompt, reached: set[str], node_classes: NodeClasses, installed: InstalledModels
) -> dict[tuple[str, str], int]:
    """(folder, file) of every model that the nodes load, with its size in bytes where it is known."""
    folders: dict[tuple[str, str], str | None] = {}
    sizes: dict[tuple[str, str], int] = {}
    for node_id in reached:
        class_type = str(prompt[node_id].get("class_type"))
        for name, value in prompt[node_id]["inputs"].items():
            if not is_model_file(value):
                continue
            if (class_type, name) not in folders:
                node_class = node_classes.get(class_type)
                spec = node_class.inputs.get(name) if node_class is not None else None
                folders[class_type, name] = model_folder(class_type, spec, installed) if spec is not None else None
            folder = folders[class_type, name]
            size = installed.get(folder or "", {}).get(value.replace("\\", "/"))
            if folder is not None and size:
                sizes[folder, value] = size
    return sizes
