"""Workflow templates: which fit a request, what they lack here, and one of them saved into the project."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from comfyui_api.client import EXTRA_SECONDS
from comfyui_api.documents import reference
from comfyui_api.errors import (
    ComfyError,
    ComfySilent,
    FileProblem,
    InvalidArgument,
    ServerError,
    UnknownName,
)
from comfyui_api.findings import Finding, Repair, errors_in
from comfyui_api.graph import Prompt
from comfyui_api.intents import TASKS, Intent
from comfyui_api.inventory.head import Models
from comfyui_api.known import Known, what_is_known, with_classes
from comfyui_api.main_inputs import MainInput, main_inputs
from comfyui_api.node_class import NodeClasses
from comfyui_api.prepare import converted, prepare
from comfyui_api.projects import DEFAULT_PROJECT, save_workflow
from comfyui_api.quantities import count, first_shown
from comfyui_api.repair import closest
from comfyui_api.repair.model_files import readable_size
from comfyui_api.repair.model_inputs import is_model_file
from comfyui_api.repair.names import listed, printable
from comfyui_api.repair.versions import is_older
from comfyui_api.results import TemplateInfo, TemplateList, WorkflowInput
from comfyui_api.saved_workflows import ON_SERVER, is_on_server, load_saved, server_workflows, stem_of
from comfyui_api.search import Ranking
from comfyui_api.templates import Needs, Template, find, needs_of, parse_index, parse_list, plain, wanted
from comfyui_api.verdict import judge
from comfyui_api.workflow_files import LoadedWorkflow, recognise
from comfyui_api.workspace import Connection, Workspace

MOST_SHOWN = 50
JUDGED = 20  # templates whose workflows are fetched, to see what they lack here
FETCHED_AT_ONCE = 4
LOOKING_SECONDS = 15.0  # for all of them; what has not come is not told
ABOUT_SHOWN = 150
NAMES_SHOWN = 5
INPUTS_SHOWN = 24
FINDINGS_SHOWN = 5
_FILES = {"image": "a picture", "video": "a video", "file": "a file"}
INPUT_FILES = ("image", "mask", "video", "audio", "3d", "file")
# Sections of references/workflows.md that take a file, by Intent.called: for servers whose templates do not.
PATTERNS = {
    "image edit": "editing-by-words",
    "image to 3D": "image-to-3d",
    "image to video": "image-to-video",
    "image upscale": "an-upscale-model",
    "inpainting": "inpainting",
    "outpainting": "outpainting",
    "remove background": "masks-and-backgrounds",
    "video edit": "video-to-video",
}


@dataclass(frozen=True)
class _Shelf:
    """The templates to choose from. `told_by`: who has the official ones; of the list there are no workflows."""

    templates: list[Template]
    known: Known
    told_by: str  # "server", "installation" or "list"
    remark: str | None = None
    own_unknown: str | None = None  # why the workflows that were saved on the server could not be listed

    @property
    def models(self) -> Models:
        return self.known.inventory.models if self.known.inventory is not None else {}

    @property
    def version(self) -> str | None:
        return self.known.inventory.comfyui_version if self.known.inventory is not None else None


@dataclass(frozen=True)
class _Hit:
    """A template with what it needs and lacks here, as far as that was looked at."""

    template: Template
    score: float
    files: tuple[str, ...] = ()
    missing_files: tuple[str, ...] | None = None
    missing_classes: tuple[str, ...] | None = None
    takes: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    partner: bool = False

    @property
    def runs_here(self) -> bool | None:
        """Whether nothing is missing; None where not all is known."""
        if self.missing_files or self.missing_classes:
            return False
        return None if self.missing_files is None or self.missing_classes is None else True


async def find_templates(
    workspace: Workspace, query: str, name: str | None, project: str | None, limit: int, server: str | None
) -> TemplateList:
    """The templates that fit a request; or the one called `name`, saved into the project.

    Raises UnknownName where no template is called so, and FileProblem where its workflow cannot be had or saved.
    """
    if limit < 1:
        raise InvalidArgument(f"limit is {limit}.", "Give a number of at least 1.")
    connection = workspace.connect(server, project=project)
    shelf = await _shelf(workspace, connection)
    if name:
        return await _get(workspace, connection, shelf, name, project)
    return await _search(connection, shelf, query, min(limit, MOST_SHOWN))


async def _shelf(workspace: Workspace, connection: Connection) -> _Shelf:
    """The server's templates and the example workflows of its packs; without them what this machine knows."""
    try:
        known = await what_is_known(workspace, connection)
    except ComfySilent as exc:
        known = Known(None, online=False, trouble=str(exc))
    official: list[Template] | None = None
    others: list[Template] = []
    own_unknown = None
    why = known.trouble or "The server was not asked."
    if known.online:
        began = anyio.current_time()
        official = await connection.client.templates()
        # None at the end of that time is no answer; before it, that there are none.
        late = anyio.current_time() - began >= EXTRA_SECONDS
        why = f"The server did not list its own within {EXTRA_SECONDS:g} s." if late else "The server tells none."
        own, own_unknown = await _own(connection)
        others = [*await connection.client.pack_workflows(), *own]
    if official is not None:
        return _Shelf([*official, *others], known, "server", own_unknown=own_unknown)
    index = await anyio.to_thread.run_sync(_installed_file, workspace, "index")
    if isinstance(index, list):
        remark = f"These are the templates of the installation on this machine. {why}"
        return _Shelf([*parse_index(index), *others], known, "installation", remark, own_unknown)
    templates = await anyio.to_thread.run_sync(_listed)
    remark = f"These are the official templates by our list. {why}"
    return _Shelf([*templates, *others], known, "list", remark, own_unknown)


async def _own(connection: Connection) -> tuple[list[Template], str | None]:
    """(the workflows that were saved on the server, why they are not known: it does not tell them, or not soon)."""
    try:
        with anyio.fail_after(EXTRA_SECONDS):
            stems = [stem_of(file.name) for file in await server_workflows(connection)]
    except TimeoutError:
        return [], f"It did not answer within {EXTRA_SECONDS:g} s."
    except ServerError as exc:
        return [], str(exc)
    own = [
        Template(f"{ON_SERVER}{stem}", stem.rpartition("/")[2], "Saved on the server", is_own=True) for stem in stems
    ]
    return own, None


def _listed() -> list[Template]:
    return parse_list(reference("templates.md"))


def _installed_file(workspace: Workspace, name: str) -> Any:
    from comfyui_api.installation.templates import template_file  # noqa: PLC0415  # only without a server

    comfyui = workspace.settings.comfyui_path
    return template_file(name, Path(comfyui).expanduser() if comfyui else None)


# --- searching


async def _search(connection: Connection, shelf: _Shelf, query: str, limit: int) -> TemplateList:
    ranking = await anyio.to_thread.run_sync(find, query, shelf.templates, shelf.version)
    by_name = {template.name: template for template in shelf.templates}
    found = [_Hit(by_name[each.key], each.score) for each in ranking.found]
    looked_at, rest = found[: max(limit, JUDGED)], found[max(limit, JUDGED) :]
    hits = await _judged(connection, shelf, looked_at)
    if told := _told_by_workflows(hits):
        # What an index does not tell, a workflow does: one that upscales may make its own picture first.
        filled = [told.get(template.name, template) for template in shelf.templates]
        ranking = await anyio.to_thread.run_sync(find, query, filled, shelf.version)
        scores = {each.key: each.score for each in ranking.found}
        hits = [replace(hit, score=scores.get(hit.template.name, 0.0)) for hit in hits]
    # Of those that fit alike, what runs here comes first; what costs credits comes last.
    hits.sort(key=lambda hit: (-round(hit.score * 10), hit.partner, not hit.runs_here))
    shown = [*hits, *rest][:limit]
    return TemplateList(
        templates=[_info(hit, shelf) for hit in shown],
        message=_message(query, len(found), shown, ranking, shelf),
    )


def _told_by_workflows(hits: list[_Hit]) -> dict[str, Template]:
    """The templates of which only the workflow tells what they take and make."""
    return {
        hit.template.name: replace(hit.template, takes=hit.takes or ("text",), makes=hit.makes)
        for hit in hits
        if hit.makes and not hit.template.makes and not hit.template.takes
    }


def _message(query: str, total: int, shown: list[_Hit], ranking: Ranking, shelf: _Shelf) -> str:
    intent = wanted(query, shelf.templates)
    if not total:
        near = closest(query, [template.title for template in shelf.templates], NAMES_SHOWN)
        like = f" Titles like it: {listed(near)}." if near else ""
        return (
            f"No template fits '{printable(query)}'.{like}{_pattern(intent, shown)} Say in English what is to be made, "
            f"and of what; without words find_templates lists all {len(shelf.templates)}."
        )
    among = count(len(shelf.templates), "template")
    words = f"{total} of {among} {'fits' if total == 1 else 'fit'}" if query.strip() else among
    message = f"{words}{f', {first_shown(len(shown))}' if total > len(shown) else ''}."
    if intent is not None:
        message += f" Read as a request for {intent.called}; what it is to show is for the prompt."
    for word, meant in ranking.read_as.items():
        message += f" '{word}' was read as '{meant}'."
    if ranking.missing:
        message += f" None has {listed(ranking.missing)}."
    message += f"{_pattern(intent, shown)} find_templates(name=…) saves one and lists its inputs."
    return f"{message} {shelf.remark}" if shelf.remark else message


def _pattern(intent: Intent | None, shown: list[_Hit]) -> str:
    """Where a workflow stands that takes the user's file, when none of these does without costing credits."""
    if intent is None or intent.called not in PATTERNS:
        return ""
    medium = TASKS[intent.tasks[0]].takes
    if any(medium in hit.takes and not hit.partner for hit in shown):
        return ""
    return (
        f" No free one takes {_FILES[medium or 'file']}; a workflow that does, to write yourself: "
        f"comfyui://references/workflows.md/{PATTERNS[intent.called]}."
    )


async def _judged(connection: Connection, shelf: _Shelf, hits: list[_Hit]) -> list[_Hit]:
    """The hits with what their workflows need, where the server gives these; else by what the list says."""
    judged = [_by_list(hit, shelf) for hit in hits]
    known = shelf.known
    if known.node_classes is None:
        return judged
    workflows: dict[int, dict[str, Any]] = {}
    at_once = anyio.CapacityLimiter(FETCHED_AT_ONCE)

    async def fetch(place: int, template: Template) -> None:
        async with at_once:
            with suppress(ComfyError):  # what the index says of it does
                workflows[place] = await _fetched(connection, template)

    with anyio.move_on_after(LOOKING_SECONDS):
        async with anyio.create_task_group() as tasks:
            for place, hit in enumerate(hits[:JUDGED]):
                if shelf.told_by == "server" or not hit.template.is_official:
                    tasks.start_soon(fetch, place, hit.template)
    for place, content in workflows.items():
        try:
            # One after the other: they share the cache of the node classes, which may have to be asked for anew.
            known, needs = await with_classes(connection, known, partial(_needs, content, shelf.models))
        except ComfyError:
            continue
        judged[place] = _with_needs(hits[place], needs, known.node_classes)
    return judged


async def _fetched(connection: Connection, template: Template) -> dict[str, Any]:
    if template.is_own:
        return (await load_saved(connection, template.name)).content
    if template.pack is None:
        return await connection.client.template(template.name)
    return await connection.client.pack_workflow(template.pack, template.name.removeprefix(f"{template.pack}/"))


def _needs(content: dict[str, Any], installed: Models, node_classes: NodeClasses) -> Needs:
    return needs_of(_prompt_of(recognise(content), node_classes), node_classes, installed)


def _prompt_of(loaded: LoadedWorkflow, node_classes: NodeClasses) -> Prompt:
    return loaded.content if loaded.format == "api" else converted(loaded.content, node_classes).prompt


def _by_list(hit: _Hit, shelf: _Shelf) -> _Hit:
    template = hit.template
    hit = replace(hit, takes=template.takes, makes=template.makes, partner=template.partner, files=template.files)
    if not template.files or not shelf.models:
        return hit
    there = {plain(file).rpartition("/")[2] for files in shelf.models.values() for file in files}
    missing = tuple(file for file in template.files if file.rpartition("/")[2] not in there)
    return replace(hit, missing_files=missing)


def _with_needs(hit: _Hit, needs: Needs, node_classes: NodeClasses | None) -> _Hit:
    classes = node_classes if node_classes is not None else NodeClasses(frozenset(), lambda _: None)
    known = [found for name in needs.class_types if (found := classes.get(name)) is not None]
    missing = tuple(name for name in needs.class_types if name not in classes)
    return replace(
        hit,
        files=needs.files,
        missing_files=needs.missing_files,
        missing_classes=missing,
        takes=hit.template.takes or needs.takes,
        makes=hit.template.makes or needs.makes,
        # An index says so of some that only belong to a partner's tour; the classes are sure.
        partner=any(each.is_partner_node for each in known) or (hit.template.partner and bool(missing)),
    )


def _info(hit: _Hit, shelf: _Shelf) -> TemplateInfo:
    template, missing = hit.template, hit.missing_files
    about = template.description
    media = " → ".join(", ".join(words) for words in (hit.takes or ("text",), hit.makes)) if hit.makes else None
    return TemplateInfo(
        name=template.name,
        title=template.title,
        about=(f"{about[:ABOUT_SHOWN]}…" if len(about) > ABOUT_SHOWN else about) or None,
        media=media,
        runs_here=None if hit.partner and hit.runs_here else hit.runs_here,  # that is a matter of credits
        models=[file for file in hit.files if file not in (missing or ())] or None,
        missing_models=list(missing or ()) or None,
        missing_nodes=list(hit.missing_classes or ()) or None,
        size=template.size,
        partner=hit.partner or None,
        needs_comfyui=template.needs if is_older(shelf.version, template.needs) else None,
    )


# --- getting one


async def _get(
    workspace: Workspace, connection: Connection, shelf: _Shelf, name: str, project: str | None
) -> TemplateList:
    template = _named(shelf, name)
    content, origin = await _workflow_of(workspace, connection, shelf, template)
    plain_name = template.name.replace("/", "-")
    loaded = recognise(content, source=origin, name=plain_name)
    workflow = template.name
    if not template.is_own:
        place = project or workspace.settings.project or DEFAULT_PROJECT
        path = await anyio.to_thread.run_sync(save_workflow, workspace.home, place, plain_name, loaded.content)
        workflow = str(path)
    loaded = replace(loaded, source=workflow)
    prepared = await prepare(workspace, connection, loaded, {}, shelf.known if shelf.known.node_classes else None)
    hit = _by_list(_Hit(template, 0.0), shelf)
    prompt = prepared.prompt
    if prompt is None:
        why = prepared.trouble or "nothing is known of the server."
        return TemplateList(
            templates=[_info(hit, shelf)],
            workflow=workflow,
            message=f"Saved as {workflow}. What it needs and its inputs are not known: {why} validate_workflow tells "
            "them once check_status has reached a server.",
        )
    known = prepared.known or shelf.known
    if known.node_classes is not None:
        known, needs = await with_classes(connection, known, lambda classes: needs_of(prompt, classes, shelf.models))
        _, inputs = await with_classes(connection, known, lambda classes: main_inputs(prompt, classes))
    else:
        needs, inputs = needs_of(prompt, None, shelf.models), main_inputs(prompt, None)
    verdict = await judge(workspace, connection, prompt, replace(prepared, known=known))
    hit = _with_needs(hit, needs, verdict.node_classes)
    files = [entry.address for entry in inputs if entry.kind in INPUT_FILES]
    others = [
        each
        for each in errors_in(verdict.findings)
        if not _is_mended(each, verdict.repair) and _address(each) not in files
    ]
    remarks = [
        *map(_told, others[:FINDINGS_SHOWN]),
        *([shelf.remark] if shelf.remark else []),
        *(f"Not checked: {each}" for each in verdict.not_checked),
    ]
    return TemplateList(
        templates=[_info(hit, shelf)],
        workflow=workflow,
        inputs=[_input(entry) for entry in inputs[:INPUTS_SHOWN]],
        repair=verdict.plan,
        message=" ".join([_what_next(workflow, hit, verdict.repair, inputs, files), *remarks]),
    )


def _named(shelf: _Shelf, name: str) -> Template:
    """The template of this name, in any case, with or without .json; or with this title where only one has it."""
    given = name.strip().removesuffix(".json")
    wanted = given.casefold()
    by_name = {template.name.casefold(): template for template in shelf.templates}
    exact = next((template for template in shelf.templates if template.name == given), None)
    if (found := exact or by_name.get(wanted)) is not None:
        return found
    titled = [template for template in shelf.templates if template.title.casefold() == wanted]
    if len(titled) == 1:
        return titled[0]
    if is_on_server(given) and shelf.own_unknown is not None:
        raise ComfySilent(
            f"Whether '{printable(given)}' is saved on the server cannot be told: {shelf.own_unknown}",
            "Ask again, or give the path of a file.",
        )
    near = closest(name, [template.name for template in shelf.templates], NAMES_SHOWN)
    near = near or [found.key for found in find(name, shelf.templates).found[:NAMES_SHOWN]]
    newer = next((each for each in _listed() if each.name.casefold() == wanted), None)
    if newer is not None:
        needs = f" It needs ComfyUI {newer.needs} or newer." if newer.needs else ""
        raise UnknownName(
            f"'{newer.name}' is an official template, but not one of those here.{needs}",
            f"Its workflow: {newer.link}.",
        )
    raise UnknownName(
        f"No template is called '{printable(name)}'.{f' Did you mean {listed(near)}?' if near else ''}",
        "find_templates(query) searches them by words.",
    )


async def _workflow_of(
    workspace: Workspace, connection: Connection, shelf: _Shelf, template: Template
) -> tuple[dict[str, Any], str]:
    """The workflow of a template and where it is from. Raises FileProblem where it cannot be had."""
    reason = "the server does not have it" if shelf.known.online else shelf.known.trouble or "the server is not there"
    if shelf.told_by == "server" or not template.is_official:
        try:
            return await _fetched(connection, template), "the server"
        except ServerError as exc:
            reason = str(exc)
    if template.is_official:
        content = await anyio.to_thread.run_sync(_installed_file, workspace, template.name)
        if isinstance(content, dict):
            return content, "the installation on this machine"
    raise FileProblem(
        f"The workflow of the template '{template.name}' cannot be had here: {reason.rstrip('.')}.",
        f"It is at {template.link}: download it and give the tools its path; a server with its templates gives it too."
        if template.link
        else "Ask again when the server is there.",
    )


def _is_mended(finding: Finding, repair: Repair) -> bool:
    """Whether the plan says how to mend it: then it need not be told twice."""
    if finding.code == "missing_node_type":
        return any(finding.received in pack.class_types for pack in repair.packs)
    return is_model_file(finding.received) and any(_address(finding) in model.inputs for model in repair.models)


def _told(finding: Finding) -> str:
    place = f"Node {finding.node_id}: " if finding.node_id else ""
    return f"{place}{finding.message} {finding.fix or ''}".strip()


def _address(finding: Finding) -> str:
    return f"{finding.node_id}.{finding.input}"


def _input(entry: MainInput) -> WorkflowInput:
    return WorkflowInput(entry.address, entry.kind, entry.value, entry.title or None, entry.note or None)


def _what_next(workflow: str, hit: _Hit, repair: Repair, inputs: list[MainInput], files: list[str]) -> str:
    sentences = [f"It is {workflow}." if workflow.startswith(ON_SERVER) else f"Saved as {workflow}."]
    if hit.partner:
        sentences.append("It runs on a partner's service: each run costs credits, so ask the user first.")
    if repair.packs or hit.missing_classes:
        sentences.append(f"Missing here: {count(len(hit.missing_classes or ()), 'node class', 'node classes')}.")
    if to_get := [model for model in repair.models if not model.use]:
        size = sum(model.size or 0 for model in to_get)
        total = f" ({readable_size(size)} or more)" if size else ""
        sentences.append(f"Missing here: {count(len(to_get), 'model')}{total}.")
    if repair.packs or repair.models:
        sentences.append("Propose `repair` to the user.")
    if files:
        sentences.append(
            f"It takes files of yours: upload_image gives the values for {', '.join(files[:NAMES_SHOWN])}."
        )
    example = next((entry.address for entry in inputs), None)
    shown = f' and inputs={{"{example}": …}}' if example else ""
    sentences.append(f"Then queue_workflow with it{shown}.")
    return " ".join(sentences)
