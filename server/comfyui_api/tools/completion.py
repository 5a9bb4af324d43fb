"""What an argument may become, while a person types it: class names, saved workflows, runs."""

from __future__ import annotations

from dataclasses import dataclass

from comfyui_api.documents import reference, sections
from comfyui_api.known import class_names_known
from comfyui_api.tools.resources import BY_SECTION
from comfyui_api.workspace import Workspace

MOST = 100  # values in one answer, by the protocol


@dataclass(frozen=True)
class Completions:
    """The first values that fit, and how many there are."""

    values: list[str]
    total: int


async def complete(workspace: Workspace, argument: str, typed: str) -> Completions:
    """Values for an argument of a prompt or of a resource's address; none where nothing is known of it."""
    if argument == "class_type":
        return _fitting(sorted(class_names_known(workspace)), typed)
    if argument == "prompt_id":
        return _fitting(list(reversed(workspace.jobs.all())), typed)
    if argument == "workflow":
        files = sorted(workspace.home.glob("projects/*/workflows/*.json"))
        return _fitting([file.relative_to(workspace.home).as_posix() for file in files], typed)
    if argument == "document":
        return _fitting(list(BY_SECTION), typed)
    if argument == "section":
        return _fitting([anchor for name in BY_SECTION for anchor in sections(reference(name))], typed)
    return Completions([], 0)


def _fitting(names: list[str], typed: str) -> Completions:
    """Those that begin so come first, then those that have it in them; case does not count."""
    wanted = typed.casefold()
    begin = [name for name in names if name.casefold().startswith(wanted)]
    within = [name for name in names if wanted in name.casefold() and not name.casefold().startswith(wanted)]
    found = begin + within
    return Completions(found[:MOST], len(found))
