"""Keep a workflow: in the project, or on the server where the editor lists it."""

from __future__ import annotations

import json
from itertools import count
from typing import Any, Literal, TypeAlias

from comfyui_api.errors import ComfySilent, ComfyUnreachable, FileProblem, ServerError
from comfyui_api.findings import Note
from comfyui_api.graph import WorkflowFormat
from comfyui_api.offline import WorkflowOnDisk, file_name
from comfyui_api.prepare import load_workflow, prepare
from comfyui_api.projects import DEFAULT_PROJECT
from comfyui_api.projects import save_workflow as save_in_project
from comfyui_api.repair.names import printable
from comfyui_api.results import SavedWorkflow
from comfyui_api.saved_workflows import ON_SERVER, server_workflows, stem_of
from comfyui_api.workflow_files import LoadedWorkflow
from comfyui_api.workspace import Connection, Workspace

SaveFormat: TypeAlias = Literal["as_is", "api"]


async def save_workflow(
    workspace: Workspace,
    workflow: str | dict[str, Any],
    server: str | None,
    *,
    project: str | None = None,
    name: str | None = None,
    as_format: SaveFormat = "as_is",
    on_server: bool = False,
) -> SavedWorkflow:
    """Write a workflow to projects/{project}/workflows/{name}.json, or with `on_server` to the editor's workflows.

    Nothing is written over, and the same content is not saved twice: in a project another one is called `name-2` and
    so on, on the server it is FileProblem. Raises
    ComfyUnreachable where it has to be converted and no node classes are known, and where the server is asked for and
    not there; NotOffered where its kind tells none, or keeps no workflows.
    """
    connection = workspace.connect(server, project=project)
    loaded = await load_workflow(workspace, connection, workflow)
    content, form, notes = await _in_format(workspace, connection, loaded, as_format)
    chosen = file_name(name or loaded.name)
    renamed = ""
    if name and stem_of(name) != chosen:
        renamed = f" '{printable(name)}' cannot be a file's name: it is called '{chosen}'."
    if on_server:
        return await _on_server(connection, chosen, content, form, notes, renamed)
    folder = project or workspace.settings.project or DEFAULT_PROJECT
    saved = WorkflowOnDisk(save_in_project(workspace.home, folder, chosen, content), form)
    taken = f" Another workflow has the name {chosen}." if saved.path.stem != chosen else ""
    return SavedWorkflow(
        workflow=str(saved.path),
        format=form,
        notes=notes or None,
        message=f"{saved.how_to_load()}{renamed}{taken} It was not validated.",
    )


async def _in_format(
    workspace: Workspace, connection: Connection, loaded: LoadedWorkflow, wanted: SaveFormat
) -> tuple[dict[str, Any], WorkflowFormat, list[Note]]:
    """(content, format, what was lost in converting it). As it is, a picture's workflow is the UI graph in it, with
    which a person can go on."""
    if wanted == "as_is":
        return (loaded.ui, "ui", []) if loaded.ui is not None else (loaded.content, loaded.format, [])
    prepared = await prepare(workspace, connection, loaded, {})
    if prepared.prompt is None:
        raise prepared.lacking("The workflow cannot be converted", "Start the server once, or save it as it is.")
    return prepared.prompt, "api", prepared.notes


async def _on_server(
    connection: Connection,
    name: str,
    content: dict[str, Any],
    form: WorkflowFormat,
    notes: list[Note],
    renamed: str,
) -> SavedWorkflow:
    saved = f"Saved in {form.upper()} format"
    try:
        await connection.client.save_workflow(f"{name}.json", _encoded(content))
    except FileProblem as exc:
        if not await _is_there(connection, name, content):
            raise FileProblem(exc.message, await _another_name(connection, name)) from exc
        saved = "It was there already, with the same content,"
    except ComfyUnreachable as exc:
        raise ComfyUnreachable(
            f"{exc.message} It was not saved.", "Save it in the project instead, or start the server."
        ) from exc
    except ComfySilent as exc:
        raise ComfySilent(
            f"{exc.message} It cannot be told whether the workflow was saved.",
            f"Look for '{ON_SERVER}{name}' with validate_workflow before trying again: nothing is written over.",
        ) from exc
    opens = "The editor lists it among its workflows, once its page is loaded anew."
    if form == "api":
        opens = (
            "Tools take it from there, but the editor opens only UI format from its list: for a person, save a file "
            "and drop that onto the canvas."
        )
    return SavedWorkflow(
        workflow=f"{ON_SERVER}{name}",
        format=form,
        notes=notes or None,
        message=f"{saved} as workflows/{name}.json on {connection.url}.{renamed} {opens}",
    )


async def _is_there(connection: Connection, name: str, content: dict[str, Any]) -> bool:
    """Whether this very workflow is saved on the server under this name."""
    try:
        there = await connection.client.saved_workflow(f"{name}.json")
        return there is not None and bool(json.loads(there) == json.loads(_encoded(content)))
    except (ServerError, ValueError, RecursionError):
        return False


async def _another_name(connection: Connection, name: str) -> str:
    """What to do about a name that is taken there."""
    try:
        taken = {stem_of(file.name).casefold() for file in await server_workflows(connection)}
    except ServerError:
        return "Give another name."
    free = next(each for number in count(2) if (each := f"{name}-{number}").casefold() not in taken)
    return f"Give another name, e.g. '{free}'."


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return json.dumps(content, ensure_ascii=False, indent=2).encode()
    except UnicodeEncodeError:  # lone surrogates, which only escapes can carry
        return json.dumps(content, indent=2).encode("ascii")
