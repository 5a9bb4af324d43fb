"""What ComfyUI's log tells of packs that failed: logs of real servers, and texts that are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.import_failures import ImportFailure, import_failures, read_startup, told_failure
from comfyui_api.import_failures.log import LOG_LENGTH
from tests.support import DATA

LOADING = """Traceback (most recent call last):
  File "/srv/comfyui/nodes.py", line 2146, in load_custom_node
    module_spec.loader.exec_module(module)
  File "<frozen importlib._bootstrap_external>", line 940, in exec_module
"""
CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


def log_of(ending: str, pack: str = "Pack", line: int = 3) -> str:
    """The log of a pack whose import ended with these lines."""
    frame = f'  File "/srv/comfyui/custom_nodes/{pack}/nodes.py", line {line}, in <module>\n    import this\n'
    words = ending.partition(": ")[2]
    return (
        f"{LOADING}{frame}{ending}\n\nCannot import /srv/comfyui/custom_nodes/{pack} module for custom nodes: {words}\n"
        f"\nImport times for custom nodes:\n   0.0 seconds (IMPORT FAILED): /srv/comfyui/custom_nodes/{pack}\n\n"
    )


def the_failure(log: str) -> ImportFailure:
    (failure,) = import_failures(log)
    return failure


def test_the_log_of_a_real_server_names_the_parts_of_comfyui_that_failed() -> None:
    body = json.loads((DATA / "captures" / "internal_logs.json").read_text(encoding="utf-8"))["body"]
    startup = read_startup(body)
    assert startup.imported == ("websocket_image_save",)
    assert [failure.pack for failure in startup.failures] == [
        "comfy_extras.nodes_audio",
        "comfy_extras.nodes_audio_encoder",
    ]
    assert "OSError: Could not load this library: " in startup.failures[0].reason
    assert "Update ComfyUI. " in startup.failures[0].advice
    assert "pip install -r requirements.txt" in startup.failures[0].advice


@pytest.mark.parametrize(
    ("ending", "missing", "reason", "advice"),
    [
        (
            "ModuleNotFoundError: No module named 'cv2'",
            "cv2",
            "'cv2', which is not installed (nodes.py, line 3)",
            "pip install opencv-python.",
        ),
        (
            "ModuleNotFoundError: No module named 'onnxruntime'",
            "onnxruntime",
            "not installed",
            "pip install onnxruntime.",
        ),
        (
            "ModuleNotFoundError: No module named 'faster_whisper'",
            "faster_whisper",
            "not installed",
            "pip install faster-whisper.",
        ),
        (
            "ModuleNotFoundError: No module named 'google.genai'",
            "google.genai",
            "not installed",
            "pip install google-genai.",
        ),
        (
            "ModuleNotFoundError: No module named 'moviepy.editor'",
            "moviepy.editor",
            "not installed",
            'pip install "moviepy<2".',
        ),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "pkg_resources", "not installed", '"setuptools<81"'),
        ("ModuleNotFoundError: No module named 'impl'", "impl", "not installed", "do not guess"),
        (
            "ModuleNotFoundError: No module named 'flash_attn'",
            "flash_attn",
            "not installed",
            "fits ComfyUI's PyTorch and CUDA",
        ),
        ("ModuleNotFoundError: No module named 'imp'", None, "this version of Python no longer has", "Update the pack"),
        ("ModuleNotFoundError: No module named 'comfy_api.latest'", None, "a part of ComfyUI", "Update ComfyUI"),
        (
            "ModuleNotFoundError: No module named 'utils.mine'; 'utils' is not a package",
            None,
            "finds ComfyUI's 'utils'",
            "Update the pack",
        ),
        (
            "ModuleNotFoundError: No module named 'diffusers.models.new'",
            None,
            "the installed version of 'diffusers'",
            "requirements.txt",
        ),
        ("ModuleNotFoundError: No module named 'Pack.inner.file'", None, "own file 'inner.file' is missing", "anew"),
        ("ModuleNotFoundError: No module named 'custom_nodes.Pack.inner'", None, "own file 'inner' is missing", "anew"),
        (
            "ModuleNotFoundError: No module named 'custom_nodes.Other'",
            None,
            "needs the node pack 'Other'",
            "Install 'Other'",
        ),
        (
            "ImportError: cannot import name 'X' from 'comfy.utils' (/srv/comfyui/comfy/utils.py)",
            None,
            "ComfyUI's 'comfy.utils'",
            "Update ComfyUI",
        ),
        (
            "ImportError: cannot import name 'X' from partially initialized module 'torch' (most likely)",
            None,
            "'X' of 'torch'",
            "Update the pack",
        ),
        (
            "AttributeError: module 'pkgutil' has no attribute 'ImpImporter'",
            None,
            "this version of Python does not have",
            "Update the pack",
        ),
        ("AttributeError: module 'numpy' has no attribute 'float'", None, "'float' of 'numpy'", "requirements.txt"),
        (
            "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
            None,
            "lacks the library libGL.so.1",
            "libgl1",
        ),
        ("ImportError: DLL load failed while importing onnx: not found", None, "Windows could not load", "Visual C++"),
        ("KeyError: 'x'", None, "failed with KeyError: 'x' (nodes.py, line 3).", "its authors"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory", None, "torch.cuda.OutOfMemoryError", "its authors"),
    ],
)
def test_every_kind_of_exception_has_its_reason_and_advice(
    ending: str, missing: str | None, reason: str, advice: str
) -> None:
    failure = the_failure(log_of(ending))
    assert (failure.pack, failure.stage, failure.missing_module) == ("Pack", "import", missing)
    assert reason in failure.reason
    assert advice in failure.advice
    assert failure.exception == ending


def test_a_log_of_windows_is_read_on_any_system() -> None:
    folder = "C:\\Users\\me\\ComfyUI\\custom_nodes"
    log = (
        "Traceback (most recent call last):\r\n"
        '  File "C:\\Users\\me\\ComfyUI\\nodes.py", line 2112, in load_custom_node\r\n'
        f'  File "{folder}\\My-Pack\\py\\a.py", line 7, in <module>\r\n'
        "ModuleNotFoundError: No module named 'C:\\\\Users\\\\me\\\\ComfyUI\\\\custom_nodes\\\\My-Pack.py.gone'\r\n\r\n"
        f"Cannot import {folder}\\My-Pack module for custom nodes: "
        "No module named 'C:\\\\Users\\\\me\\\\ComfyUI\\\\custom_nodes\\\\My-Pack.py.gone'\r\n"
        f"Cannot import {folder}/huggingface module for custom nodes: [Errno 2] No such file or directory: "
        "'C:\\\\Users\\\\me\\\\ComfyUI\\\\custom_nodes\\\\huggingface\\\\__init__.py'\r\n"
        "\r\nImport times for custom nodes:\r\n"
        f"   0.0 seconds: {folder}\\single_file.py\r\n"
        f"   0.1 seconds (IMPORT FAILED): {folder}\\My-Pack\r\n"
    )
    startup = read_startup(log)
    assert startup.imported == ("single_file",)
    own, empty = startup.failures
    assert (own.pack, own.reason) == ("My-Pack", "Its own file 'py.gone' is missing (py/a.py, line 7).")
    assert (empty.pack, empty.reason) == ("huggingface", "Its folder has no __init__.py, so that it is no node pack.")


def test_levels_colours_stamps_and_progress_before_the_words_do_not_hide_them() -> None:
    log = log_of("ModuleNotFoundError: No module named 'cv2'")
    plain = the_failure(log)
    levels = log.replace("Traceback", "[WARNING] Traceback").replace("Cannot", "[ERROR] Cannot")
    coloured = log.replace("Cannot import", "\x1b[33;1mCannot import").replace("named 'cv2'", "named 'cv2'\x1b[0m")
    stamped = "".join(f"2026-11-21T22:21:22.733270 - {line}" for line in log.splitlines(keepends=True))
    in_the_middle = stamped.replace("Cannot import", "Cannot 2026-11-21T22:21:22 - import")
    progress = log.replace("Traceback", " 50%|#####     | 5/10\rTraceback").replace("Cannot", "fetching …Cannot")
    for changed in (levels, coloured, stamped, in_the_middle, progress):
        assert the_failure(changed) == plain


def test_a_missing_module_that_another_exception_is_raised_for_is_named() -> None:
    first = f"{LOADING}ModuleNotFoundError: No module named 'onnxruntime'\n"
    caused = the_failure(first + CAUSED + log_of("RuntimeError: please read the manual"))
    assert caused.missing_module == "onnxruntime"
    assert caused.exception == "RuntimeError: please read the manual"
    assert "(RuntimeError: please read the manual)" in caused.reason

    named = the_failure(first + DURING + log_of("ImportError: Unable to import dependency onnxruntime. "))
    assert named.missing_module == "onnxruntime"

    other = the_failure(first + DURING + log_of("ValueError: of something else"))
    assert other.missing_module is None


def test_an_exception_of_several_lines_is_told_in_one() -> None:
    failure = the_failure(
        log_of("RuntimeError: Failed to import transformers because of the following error:\nNo module named 'einops'")
    )
    assert failure.missing_module == "einops"
    assert failure.exception == (
        "RuntimeError: Failed to import transformers because of the following error: No module named 'einops'"
    )


def test_a_traceback_of_something_else_is_not_taken_for_the_packs() -> None:
    other = f"{LOADING}ValueError: caught by the pack itself\n\n"
    failure = the_failure(f"{other}Cannot import /c/custom_nodes/Pack module for custom nodes: No module named 'cv2'\n")
    assert (failure.exception, failure.missing_module) == ("No module named 'cv2'", "cv2")


def test_where_the_log_has_lost_the_beginning_the_failure_is_still_told() -> None:
    whole = log_of("ModuleNotFoundError: No module named 'cv2'")
    cannot = whole[whole.index("Cannot import") :]
    assert the_failure(cannot).missing_module == "cv2"
    summary = the_failure(whole[whole.index("Import times") :])
    assert summary.reason == "ComfyUI could not import it; its log no longer says why."
    assert import_failures("got prompt\n100%|##########| 20/20\nPrompt executed in 3.20 seconds\n") == []


def test_a_pack_that_failed_before_the_start_and_works_all_the_same_is_told_as_both() -> None:
    folder = "/srv/comfyui/custom_nodes"
    startup = read_startup(
        f"Failed to execute startup-script: {folder}/Pack/prestartup_script.py / No module named 'git'\n"
        f"\nPrestartup times for custom nodes:\n   0.0 seconds: {folder}/Other\n"
        f"   0.0 seconds (PRESTARTUP FAILED): {folder}/Pack\n"
        f"\nImport times for custom nodes:\n   0.0 seconds: {folder}/Pack\n"
    )
    assert startup.imported == ("Pack",)
    (failure,) = startup.failures
    assert (failure.stage, failure.missing_module) == ("prestartup", "git")
    assert "pip install GitPython" in failure.advice


def test_the_import_that_failed_counts_more_than_the_script_before_it() -> None:
    script = "Failed to execute startup-script: /srv/custom_nodes/Pack/prestartup_script.py / first\n"
    assert the_failure(script + log_of("ValueError: second")).stage == "import"


def test_packs_that_comfyui_was_told_to_leave_out_are_told() -> None:
    log = (
        "Prestartup Skipping Pack due to disable_all_custom_nodes and whitelist_custom_nodes\n"
        "Skipping Pack due to disable_all_custom_nodes and whitelist_custom_nodes\n"
    )
    failure = the_failure(log)
    assert (failure.pack, failure.stage) == ("Pack", "skipped")
    assert "--whitelist-custom-nodes" in failure.advice


def test_the_words_that_a_manager_keeps_are_enough() -> None:
    words = log_of("ModuleNotFoundError: No module named 'cv2'").partition("Cannot import")[0]
    assert told_failure("Pack", f"some warning\n{words}") == the_failure(
        log_of("ModuleNotFoundError: No module named 'cv2'")
    )
    assert told_failure("Pack", "some warning") is None


@pytest.mark.parametrize("pack", ["x; rm -rf ~", "$(reboot)", "--index-url=x", "a b", "`x`", "..", "x'\""])
def test_a_hostile_folder_name_stays_out_of_the_command(pack: str) -> None:
    failure = the_failure(log_of("ModuleNotFoundError: No module named 'cv2'", pack=pack))
    assert failure.pack == pack
    assert "-r custom_nodes/" not in failure.advice
    assert pack not in failure.advice or pack == ".."


@pytest.mark.parametrize("module", ["x; rm -rf ~", "--pre", "x y", "ａ", "$(x)", "x\u202ey"])
def test_a_hostile_module_name_is_nothing_to_install(module: str) -> None:
    failure = the_failure(log_of(f"ModuleNotFoundError: No module named '{module}'"))
    assert failure.missing_module is None
    assert module not in failure.advice


def test_words_of_others_are_in_one_line_and_bounded() -> None:
    failure = the_failure(log_of(f"ValueError: {'long ' * 5000}\nand \x07 more\u2028again"))
    assert len(failure.reason) < 1500
    assert (failure.reason + str(failure.exception)).isprintable()


def test_only_the_end_of_a_huge_log_is_read() -> None:
    log = log_of("KeyError: 'x'")
    assert import_failures(log + "x" * LOG_LENGTH) == []
    assert len(import_failures("x" * LOG_LENGTH + "\n" + log)) == 1


PIECES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        '  File "/c/custom_nodes/P/a.py", line 1, in x',
        "    import x",
        "E: ",
        "ModuleNotFoundError: No module named '",
        "cannot import name 'x' from '",
        "Cannot import ",
        "/custom_nodes/P",
        "C:\\custom_nodes\\P",
        " module for custom nodes: ",
        "Skip ",
        " module for custom nodes due to the lack of ",
        "Error while calling comfy_entrypoint in ",
        "comfy_entrypoint in ",
        " did not return ",
        "Failed to execute startup-script: ",
        " / ",
        "   0.0 seconds (IMPORT FAILED): ",
        "   0.0 seconds: ",
        "IMPORT FAILED: ",
        "WARNING: some comfy_api_nodes/ nodes did not import",
        CAUSED,
        DURING,
        "2026-11-21T22:21:22.733270 - ",
        "\x1b[0m",
        "\r",
        "\n",
        "\n",
    ]
)


@given(st.text() | st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join))
def test_any_text_gives_a_list_of_failures_that_can_be_shown(text: str) -> None:
    failures = import_failures(text)
    assert len({failure.pack for failure in failures}) == len(failures)
    for failure in failures:
        assert failure.pack
        assert failure.reason.endswith(".")
        assert failure.advice.endswith(".")
        assert (failure.pack + failure.reason + failure.advice + str(failure.exception)).isprintable()
    told = told_failure("P", text)
    assert told is None or told.exception
