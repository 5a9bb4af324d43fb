from __future__ import annotations

import pytest

from comfyui_api.diagnose import known_cases, remedy_for
from comfyui_api.documents import reference
from comfyui_api.runs import ExecutionError

CASES = known_cases(reference("troubleshooting.md"))


@pytest.mark.parametrize(
    ("exception", "message", "title"),
    [
        ("torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory.", "Out of memory"),
        ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB", "Out of memory"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'x.png'", "A file is missing"),
        (
            "safetensors_rust.SafetensorError",
            "Error while deserializing header: HeaderTooLarge",
            "A model file is broken",
        ),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied (77x768 and 2048x640)", "The models do not go"),
        ("ModuleNotFoundError", "No module named 'insightface'", "A Python package is missing"),
        ("OSError", "[Errno 28] No space left on device", "The disk is full"),
        ("ExecutionBlocked", "Execution Blocked: stopped", "A branch was blocked"),
    ],
)
def test_known_failure_gets_its_remedy(exception: str, message: str, title: str) -> None:
    remedy = remedy_for(ExecutionError("3", "KSampler", exception, message), CASES)
    assert remedy.startswith(title)
    assert len(remedy) > len(title) + 20


def test_unknown_failure_says_where_it_happened() -> None:
    error = ExecutionError("3", "X", "ValueError", "odd", ("first\n", '  File "pack/node.py", line 7, in run\n'))
    assert 'pack/node.py", line 7' in remedy_for(error, CASES)


def test_every_case_of_the_document_is_read() -> None:
    text = reference("troubleshooting.md")
    assert len(CASES) == text.count("\n- Matches:") == text.count("\n- Remedy:")
    assert all(case.patterns and case.remedy for case in CASES)
