"""Everything that can go wrong, as one tree: each error says what happened and what to do next.

ComfyError
├── InvalidArgument          an argument of the call has the wrong value
│   ├── WorkflowUnreadable   the workflow is no file, no JSON, or not in a format that can be read
│   ├── UnknownName          a name that nothing here answers to; the valid ones are listed
│   └── NotPermitted         a file or a server outside of what the settings allow
├── ServerError              the ComfyUI server
│   ├── ComfyUnreachable     nobody answers at the address: offline mode
│   ├── ComfySilent          connected, but no answer within the time limit, or the connection broke
│   │   └── ComfyBusy        429: asked too often, or too much is waiting there
│   ├── ComfyFailed          500: ComfyUI failed inside
│   ├── PromptRejected       400: the prompt was refused, with the node errors
│   ├── AccessDenied         401 and 403: credentials or origin
│   ├── PaymentRequired      402: the account's credits or plan do not allow it
│   ├── AlreadySent          the server has had this very submission before
│   ├── NotOffered           this kind of server cannot do that
│   ├── FileGone             the server does not have this file, or gave only a part of it
│   └── UnexpectedReply      an answer that is not ComfyUI's
├── FileProblem              a local file could not be read or written
├── DownloadFailed           a model file could not be had from where it is offered
└── SandboxError             the embedded ComfyUI could not be installed, started or stopped
"""

from __future__ import annotations

from typing import ClassVar

from comfyui_api.harmless import harmless
from comfyui_api.runs import NodeFault


class ComfyError(Exception):
    """An error that the caller can act on.

    `message` says what happened, `next_step` what to do about it; both are whole sentences. What they quote of others
    is made harmless here.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = harmless(message)
        self.next_step = harmless(next_step)

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class InvalidArgument(ComfyError):
    code = "invalid_argument"


class WorkflowUnreadable(InvalidArgument):
    code = "workflow_unreadable"


class UnknownName(InvalidArgument):
    code = "unknown_name"


class NotPermitted(InvalidArgument):
    code = "not_permitted"


class ServerError(ComfyError):
    code = "server_error"


class ComfyUnreachable(ServerError):
    code = "comfyui_unreachable"


class ComfySilent(ServerError):
    code = "comfyui_silent"


class ComfyBusy(ComfySilent):
    """`retry_after`: in how many seconds it may be tried again, where the server says so."""

    code = "comfyui_busy"

    def __init__(self, message: str, next_step: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, next_step)
        self.retry_after = retry_after


class ComfyFailed(ServerError):
    code = "comfyui_failed"


class PromptRejected(ServerError):
    """ComfyUI refused the prompt, for these reasons."""

    code = "prompt_rejected"

    def __init__(self, faults: tuple[NodeFault, ...]) -> None:
        super().__init__("ComfyUI refused the prompt.", "Mend the nodes that it names.")
        self.faults = faults


class AccessDenied(ServerError):
    code = "access_denied"


class PaymentRequired(ServerError):
    code = "payment_required"


class AlreadySent(ServerError):
    code = "already_sent"


class NotOffered(ServerError):
    code = "not_offered"


class FileGone(ServerError):
    code = "file_gone"


class UnexpectedReply(ServerError):
    code = "unexpected_reply"


class FileProblem(ComfyError):
    code = "file_problem"


class DownloadFailed(ComfyError):
    code = "download_failed"


class SandboxError(ComfyError):
    code = "sandbox_error"
