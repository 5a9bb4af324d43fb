"""The console's `run`: queue a workflow, follow it with a bar, bring its files home; Ctrl-C asks what to do with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comfyui_api import control, results, submit
from comfyui_api.cli.asking import Presses, presses
from comfyui_api.cli.console import AsJson, Server, do, for_person, here, plain, print_json, terminal, workflow_given
from comfyui_api.cli.files import Directory, Sidecar, all_there, show_delivery
from comfyui_api.cli.following import Follower, follower
from comfyui_api.cli.ordering import (
    AllowPartial,
    Force,
    Front,
    Inputs,
    Named,
    Project,
    Variations,
    overrides,
    show_left_out,
    show_seeds,
    show_submission,
    variation_sets,
)
from comfyui_api.cli.runs import show_run
from comfyui_api.collect import get_output
from comfyui_api.errors import ComfyError, FileProblem
from comfyui_api.follow import poll_result
from comfyui_api.previews import Picture
from comfyui_api.results import Delivery, RunStatus, Submission
from comfyui_api.runs import FINAL_STATES
from comfyui_api.series import poll_results
from comfyui_api.storage import put_in_place, temporary_beside
from comfyui_api.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()

ONE_WAIT = 60.0  # seconds
SILENT_WAITS = 5  # of these, after which a server that does not answer is given up
LEFT = 130  # the exit code where Ctrl-C ended the watching
PREVIEWS_KEPT = 200


@dataclass
class Ran:
    """What became of an order: as far as it came."""

    submission: Submission
    status: RunStatus | None = None
    delivery: Delivery | None = None
    previews: list[str] = field(default_factory=list)
    left: bool = False
    """Whether Ctrl-C ended the watching, while the run goes on."""

    @property
    def exit_code(self) -> int:
        if self.left:
            return LEFT
        if self.submission.status != "queued" or self.status is None or self.delivery is None:
            return 1
        states = {self.status.state, *(run.state for run in self.status.runs or [])}
        has_something = bool(self.delivery.files or self.delivery.texts)
        return 0 if states == {"completed"} and has_something and all_there(self.delivery) else 1


@app.command()
def run(
    workflow: str,
    inputs: Inputs = [],
    project: Project = None,
    name: Named = None,
    front: Front = False,
    allow_partial: AllowPartial = False,
    force: Force = False,
    variations: Variations = None,
    directory: Directory = None,
    sidecar: Sidecar = False,
    previews: Annotated[bool, typer.Option(help="Keep small pictures of the files in state/previews.")] = True,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Queue a workflow, wait for it and save its files.

    Ctrl-C asks whether to stop the run or to leave it going; without a terminal it is left. Its id is told on stderr as
    soon as it is queued. Without a server the workflow is saved for loading by hand.

    Exit codes: 0 done and saved; 1 refused, failed, interrupted, without outputs, or saved offline; 2 an error;
    130 left going by Ctrl-C.
    """
    sets = variation_sets(variations)
    order = submit.Order(workflow_given(workflow), overrides(inputs), project, name, front, allow_partial, force, sets)
    folder = here(directory) if directory else None

    async def carried_out(space: Workspace, pressed: Presses) -> Ran:
        if folder is not None:
            space.writable_folder(folder)  # known before anything runs
        ran = Ran(await submit.queue_workflow(space, order, server))
        ids = _ids(ran.submission)
        if not ids:
            return ran
        sys.stderr.write(f"Queued as {' '.join(ids)}\n")
        try:
            with follower() as following:
                ran.status = await _followed(space, ids, server, following, pressed)
            if ran.status is not None and ran.status.state in FINAL_STATES:
                ran.delivery = await pressed.unless(lambda: _brought(space, ids, server, folder, sidecar, previews))
                ran.left = ran.delivery is None
            else:
                ran.left = ran.status is None
        except ComfyError:
            sys.stderr.write(_go_on(ids))
            raise
        if ran.delivery is not None:
            ran.previews = _kept(space, ran.delivery.pictures)
        if ran.left:
            sys.stderr.write(_go_on(ids))
        return ran

    async def work(space: Workspace) -> Ran | None:
        with presses() as pressed:
            return await carried_out(space, pressed)
        return None

    ran = do(work)
    if ran is None:
        sys.stderr.write("Whether it was queued is not known: comfyui-api jobs tells.\n")
        raise typer.Exit(LEFT)
    if not for_person(as_json=as_json):
        print_json(_as_json(ran))
    else:
        _show(ran, terminal())
    raise typer.Exit(ran.exit_code)


def _ids(submission: Submission) -> list[str]:
    return submission.prompt_ids or ([submission.prompt_id] if submission.prompt_id is not None else [])


async def _followed(
    space: Workspace, ids: list[str], server: str | None, following: Follower, pressed: Presses
) -> RunStatus | None:
    """Where the runs stand when they have ended, or the server has been silent for long; None where they are left."""
    silent = 0

    async def wait() -> RunStatus:
        if len(ids) == 1:
            return await poll_result(space, ids[0], server, wait_seconds=ONE_WAIT, report=following.report)
        return await poll_results(space, ids, server, wait_seconds=ONE_WAIT, report=following.report)

    while True:
        status = await pressed.unless(wait)
        if status is None:
            with following.paused():
                wish = pressed.ask()
            if wish == "leave":
                return None
            if wish == "stop":
                for prompt_id in reversed(ids):  # none of the waiting ones is to move up meanwhile
                    await control.interrupt(space, prompt_id, server, everything=False)
            continue
        silent = silent + 1 if status.state == "unreachable" else 0
        if status.state in FINAL_STATES or silent >= SILENT_WAITS:
            return status


async def _brought(
    space: Workspace, ids: list[str], server: str | None, folder: str | None, sidecar: bool, previews: bool
) -> Delivery:
    which = ids[0] if len(ids) == 1 else ids
    return await get_output(space, which, server, directory=folder, previews=previews, sidecar=sidecar)


def _go_on(ids: list[str]) -> str:
    which = " ".join(ids)
    return f"To go on: comfyui-api poll {which}\nand then: comfyui-api get {which}\n"


def _kept(space: Workspace, pictures: tuple[Picture, ...]) -> list[str]:
    """The paths of the small pictures; the oldest ones of earlier runs go."""
    folder = space.state / "previews"
    paths: list[str] = []
    try:
        for picture in pictures:
            target = folder / f"{picture.path.stem[:80]}.{picture.media_type.rpartition('/')[2]}"
            with temporary_beside(target) as temporary:
                temporary.write_bytes(picture.content)
                paths.append(str(put_in_place(temporary, target)))
        old = sorted(folder.glob("[!.]*"), key=lambda path: path.stat().st_mtime)[:-PREVIEWS_KEPT]
        for path in old if paths else []:
            path.unlink(missing_ok=True)
    except (FileProblem, OSError) as exc:
        sys.stderr.write(f"No previews are kept: {exc}\n")
    return paths


def _as_json(ran: Ran) -> dict[str, Any]:
    """The last thing that is known of it: the order's answer, where nothing ran; else the run and its files."""
    found = results.as_json(ran.submission)
    if ran.left:
        return {**found, "status": "left", "message": "The run goes on; poll it, and then get its files."}
    if ran.status is None:
        return found
    kept = {key: found[key] for key in ("findings", "seeds", "dropped_outputs", "not_queued") if found.get(key)}
    if ran.submission.status == "partly_queued":
        kept["trouble"] = ran.submission.message
    of_run = results.as_json(ran.status)
    of_run.pop("outputs", None)
    delivered = results.as_json(ran.delivery) if ran.delivery is not None else {}
    if ran.status.state != "completed":  # then it says why, and what helps
        delivered.pop("message", None)
    runs = {"runs": of_run["runs"]} if "runs" in of_run else {}
    previews = {"previews": ran.previews} if ran.previews else {}
    return {**of_run, **kept, **delivered, **runs, **previews}


def _show(ran: Ran, console: Console) -> None:
    if ran.left:
        return
    if ran.status is None:
        show_submission(ran.submission, console)
        return
    show_left_out(ran.submission, console)
    show_seeds(ran.submission, console)
    # What was saved tells more than what could be saved.
    known = {"outputs": [], "message": ""} if ran.delivery is not None and ran.delivery.files else {"outputs": []}
    show_run(ran.status.model_copy(update=known), console)
    if ran.delivery is not None:
        show_delivery(ran.delivery, console)
    for path in ran.previews:
        console.print(f"[dim]preview[/] {plain(path)}", soft_wrap=True)
