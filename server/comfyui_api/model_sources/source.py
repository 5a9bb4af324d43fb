"""One model file and where it can be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Origin: TypeAlias = Literal["workflow", "references", "working folder", "manager"]


@dataclass(frozen=True)
class ModelSource:
    """One model file and where it can be had.

    `folder` is the folder below models/ in ComfyUI's own word ("checkpoints", "text_encoders"), `file` the name that
    it has there, with "/" where it lies in a subfolder. `url` is a direct link to the file, `page` a page to read
    (a licence to accept, an account to have); at least one of them is given. `size` in bytes where known, as exact as
    the source has it. `gated`: an account or an accepted licence is needed to download it.
    """

    file: str
    folder: str
    url: str | None = None
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    licence: str | None = None
    gated: bool = False
    origin: Origin = "references"
