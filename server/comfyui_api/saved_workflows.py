"""The workflows that were saved in the editor, on the server: what there is, and each of them as `server:NAME`."""

from __future__ import annotations

from typing import Final

from comfyui_api.errors import ComfyUnreachable, UnknownName
from comfyui_api.repair import closest
from comfyui_api.repair.names import printable
from comfyui_api.runs import SavedWorkflowFile
from comfyui_api.workflow_files import LoadedWorkflow, parse
from comfyui_api.workspace import Connection

ON_SERVER: Final = "server:"
_ENDING = ".json"
_SHOWN = 20
_LETTERS_SHOWN = 120


def is_on_server(given: str) -> bool:
    """Whether a workflow is named by `server:NAME`, in any case."""
    return given[: len(ON_SERVER)].casefold() == ON_SERVER


async def server_workflows(connection: Connection) -> list[SavedWorkflowFile]:
    """What is saved in the editor of this server, the latest first; what has no time comes last, by name.

    `server:` and a file's name, with or without .json, is how every tool takes it. Raises what the client does:
    ComfyUnreachable where no server answers, AccessDenied where it keeps them by user.
    """
    files = await connection.client.saved_workflows()
    return sorted(files, key=lambda file: (-(file.modified or 0.0), file.name))


async def load_saved(connection: Connection, given: str) -> LoadedWorkflow:
    """The workflow `server:NAME`. NAME is its path in the editor's list, letter by letter; .json may be left out.

    Raises UnknownName with what is saved there, ComfyUnreachable where no server answers.
    """
    name = given[len(ON_SERVER) :].strip("/")
    try:
        files = await server_workflows(connection)
        file = next((file.name for file in files if file.name in (name, name + _ENDING)), None)
        content = await connection.client.saved_workflow(file) if file is not None else None
    except ComfyUnreachable as exc:
        shown = printable(given, _LETTERS_SHOWN)
        raise ComfyUnreachable(
            f"{exc.message} '{shown}' is saved on the server, and cannot be had without it.", exc.next_step
        ) from exc
    if file is None or content is None:
        raise _unknown(connection, name, [stem_of(file.name) for file in files])
    return parse(content, source=f"{ON_SERVER}{file}", name=stem_of(file).rpartition("/")[2])


def stem_of(name: str) -> str:
    """A file's name without .json."""
    return name[: -len(_ENDING)] if name.casefold().endswith(_ENDING) else name


def _unknown(connection: Connection, name: str, saved: list[str]) -> UnknownName:
    shown = printable(name, _LETTERS_SHOWN)
    if not saved:
        return UnknownName(
            f"No workflow is saved in the editor of {connection.url}.",
            "Save one there, or give the path of a file.",
        )
    below = [each for each in saved if each.startswith(f"{name}/")] if name else []
    if below:
        return UnknownName(f"'{shown}' is a folder there.", f"In it: {_listed(below)}.")
    if not name:
        return UnknownName(
            f"Write server:NAME. Saved on {connection.url}: {_listed(saved)}.", "Give one of these names."
        )
    near = closest(name, saved)
    return UnknownName(
        f"No workflow '{shown}' is saved on {connection.url}.",
        f"Did you mean {_listed(near)}?" if near else f"There are: {_listed(saved)}.",
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{ON_SERVER}{printable(name, _LETTERS_SHOWN)}'" for name in names[:_SHOWN]) + more
