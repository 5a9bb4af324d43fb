"""Why a run failed and what helps: an execution error against the cases of references/troubleshooting.md, with what
the prompt, the traceback and the server's memory tell of this run."""

from comfyui_api.diagnose.cases import KnownCase, known_case, known_cases
from comfyui_api.diagnose.diagnosis import Diagnosis, diagnose
from comfyui_api.diagnose.run import AskedAfter, FailedRun

__all__ = ["AskedAfter", "Diagnosis", "FailedRun", "KnownCase", "diagnose", "known_case", "known_cases"]
