"""The console: the same operations as the tools, printed as JSON, and the sandbox.

Exit codes: 0 done; 1 findings, a run that failed or is not there, or a file that could not be had; 2 an error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import typer

from comfyui_api import __version__, control, sandbox, status, submit, upload, verdict
from comfyui_api.collect import get_output
from comfyui_api.convert import Conversion
from comfyui_api.errors import ComfyError, FileProblem, InvalidArgument, UnknownName
from comfyui_api.export import export_prompt
from comfyui_api.follow import poll_result
from comfyui_api.results import ToolResult, as_json
from comfyui_api.storage import stands, write_new
from comfyui_api.workspace import Workspace, open_workspace, read_settings

Result = TypeVar("Result", bound=ToolResult | Conversion)

app = typer.Typer(
    name="comfyui-api",
    help="Operate ComfyUI. Without a command and without a terminal it is the MCP server.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
sandbox_app = typer.Typer(
    help=f"A real ComfyUI on the CPU, to try things on. {sandbox.LICENCE_NOTE}", no_args_is_help=True
)
app.add_typer(sandbox_app, name="sandbox")

Server = Annotated[str | None, typer.Option(help="Another server: configured name or URL.")]
Name = Annotated[str, typer.Option(help="Which sandbox.")]


def run() -> None:
    """Run the console. A ComfyError is one sentence on stderr and exit code 2."""
    try:
        app()
    except ComfyError as exc:
        sys.stderr.write(f"comfyui-api: {exc}\n")
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        print(f"comfyui-api {__version__}")
        raise typer.Exit


@app.command()
def serve() -> None:
    """Serve MCP over standard input and output."""
    from comfyui_api.app import serve_stdio  # noqa: PLC0415  # the console does without MCP otherwise

    anyio.run(serve_stdio, dict(os.environ))


@app.command("status")
def _status(
    refresh: Annotated[bool, typer.Option(help="Write the inventory anew.")] = False, server: Server = None
) -> None:
    """Is the server there: version, devices, queue, inventory."""
    result = _do(lambda workspace: status.check_status(workspace, server, refresh=refresh))
    _show(result)
    raise typer.Exit(0 if result.online else 1)


@app.command()
def validate(workflow: str, server: Server = None) -> None:
    """What ComfyUI would refuse in a workflow, with the fixes."""
    result = _do(lambda workspace: verdict.validate_workflow(workspace, _workflow(workflow), server))
    _show(result)
    raise typer.Exit(0 if result.valid else 1)


@app.command()
def convert(
    workflow: str,
    object_info: Annotated[str | None, typer.Option(help="A saved /object_info, in place of the server.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="New file for the prompt.")] = None,
    server: Server = None,
) -> None:
    """The prompt (API format) that ComfyUI's editor would send for a workflow; remarks go to stderr."""
    classes = _here(object_info) if object_info else None
    conversion = _do(lambda space: export_prompt(space, _workflow(workflow), server, classes))
    for note in conversion.notes:
        place = f"node {note.node_id}" + (f", {note.input}" if note.input else "") if note.node_id else "workflow"
        sys.stderr.write(f"{place}: {note.message}\n")
    if output is None:
        _print_json(conversion.prompt)
    else:
        write_new(Path(_here(output)), json.dumps(conversion.prompt, indent=2) + "\n")


@app.command()
def queue(
    workflow: str,
    inputs: Annotated[
        list[str], typer.Option("--input", help="Override a value: 6.text=a cat (value as JSON or text).")
    ] = [],
    project: Annotated[str | None, typer.Option(help="Project whose server to use and to save under.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the workflow if it is saved.")] = None,
    front: Annotated[bool, typer.Option(help="Before all waiting runs.")] = False,
    allow_partial: Annotated[bool, typer.Option(help="Run the sound outputs, leave faulty ones out.")] = False,
    force: Annotated[bool, typer.Option(help="Let the server decide in spite of findings.")] = False,
    server: Server = None,
) -> None:
    """Validate a workflow and queue it; without a server, save it for loading by hand."""
    order = submit.Order(_workflow(workflow), _overrides(inputs), project, name, front, allow_partial, force)
    result = _do(lambda workspace: submit.queue_workflow(workspace, order, server))
    _show(result)
    raise typer.Exit(1 if result.status == "refused" else 0)


@app.command()
def poll(
    prompt_id: str,
    wait: Annotated[float, typer.Option(min=0, help="Longest wait in seconds.")] = 50,
    server: Server = None,
) -> None:
    """Wait for a run and tell its state."""

    async def report(percent: float, _: float | None, sentence: str) -> None:
        sys.stderr.write(f"{percent:5.1f} %  {sentence}\n")

    result = _do(lambda workspace: poll_result(workspace, prompt_id, server, wait_seconds=wait, report=report))
    _show(result)
    raise typer.Exit(1 if result.state in ("failed", "gone", "unreachable") else 0)


@app.command()
def get(
    prompt_id: str,
    directory: Annotated[str | None, typer.Option(help="Folder to save to, default output/.")] = None,
    server: Server = None,
) -> None:
    """Save the files of a finished run."""
    folder = _here(directory) if directory else None
    result = _do(lambda workspace: get_output(workspace, prompt_id, server, directory=folder, previews=False))
    _show(result)
    raise typer.Exit(1 if result.missing or result.state in ("gone", "queued", "running") else 0)


@app.command("upload")
def _upload(
    path: str,
    subfolder: Annotated[str | None, typer.Option(help="Folder below ComfyUI's input folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file of the same name.")] = False,
    server: Server = None,
) -> None:
    """Bring a file to ComfyUI's input folder."""
    _show(_do(lambda space: upload.upload_image(space, _here(path), server, subfolder=subfolder, overwrite=overwrite)))


@app.command()
def interrupt(
    prompt_id: Annotated[str | None, typer.Argument(help="The run to stop.")] = None,
    everything: Annotated[bool, typer.Option(help="Stop all runs on the server.")] = False,
    server: Server = None,
) -> None:
    """Stop a run."""
    result = _do(lambda workspace: control.interrupt(workspace, prompt_id, server, everything=everything))
    _show(result)
    raise typer.Exit(1 if result.state == "running" or (prompt_id and result.state == "gone") else 0)


@app.command()
def free(
    unload_models: Annotated[bool, typer.Option(help="Unload models from VRAM.")] = True,
    free_memory: Annotated[bool, typer.Option(help="Also drop cached node results.")] = False,
    server: Server = None,
) -> None:
    """Let ComfyUI give memory back."""
    _show(_do(lambda space: control.free_vram(space, server, unload_models=unload_models, free_memory=free_memory)))


@sandbox_app.command("start")
def sandbox_start(
    name: Name = "default",
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; a free one is taken otherwise.")] = None,
    frontend_root: Annotated[Path | None, typer.Option(help="Folder of another web frontend to serve.")] = None,
    custom_nodes: Annotated[list[Path], typer.Option(help="Folder of a node pack to add; may be repeated.")] = [],
    models: Annotated[list[str], typer.Option(help="FOLDER/NAME of a placeholder model; may be repeated.")] = [],
    tiny_upscaler: Annotated[bool, typer.Option(help="Add a small upscaling model that really works.")] = False,
    torch_index: Annotated[str, typer.Option(help="Package index with a CPU build of PyTorch.")] = "",
    yes: Annotated[bool, typer.Option(help="Do not ask before a large download.")] = False,
) -> None:
    """Install ComfyUI for trying things on (once, about a minute) and start it."""
    settings = read_settings(os.environ)
    state = sandbox.start(
        sandbox.default_home(settings),
        name=name,
        port=port,
        frontend_root=frontend_root,
        custom_nodes=custom_nodes,
        models=models,
        tiny_upscaler=tiny_upscaler,
        torch_index=torch_index or settings.sandbox_torch_index,
        say=lambda text: typer.echo(text, err=True),
        confirm=lambda question: yes or (sys.stdin.isatty() and typer.confirm(question, err=True)),
    )
    _show_sandboxes([state])


@sandbox_app.command("status")
def sandbox_status(name: Annotated[str | None, typer.Option(help="Only this sandbox.")] = None) -> None:
    """Which sandboxes there are, and which of them run."""
    if name:
        _show_sandboxes([sandbox.status(_existing(name), name=name)])
    else:
        _show_sandboxes(sandbox.list_sandboxes(sandbox.default_home(read_settings(os.environ))))


@sandbox_app.command("stop")
def sandbox_stop(name: Name = "default") -> None:
    """Stop a sandbox."""
    _show_sandboxes([sandbox.stop(_existing(name), name=name)])


@sandbox_app.command("remove")
def sandbox_remove(
    name: Annotated[str | None, typer.Option(help="This sandbox.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All sandboxes and the installation.")] = False,
) -> None:
    """Stop and delete a sandbox, or all of them with the installation."""
    if bool(name) == everything:
        raise InvalidArgument("Nothing was named to be removed.", "Give --name NAME, or --all.")
    sandbox.remove(sandbox.default_home(read_settings(os.environ)), name=name)


def _do(operation: Callable[[Workspace], Coroutine[Any, Any, Result]]) -> Result:
    async def in_workspace() -> Result:
        async with open_workspace(os.environ) as workspace:
            return await operation(workspace)

    return anyio.run(in_workspace)


def _overrides(entries: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        address, sign, text = entry.partition("=")
        if not sign:
            raise InvalidArgument(f"--input {entry} has no value.", "Write --input '6.text=a cat'.")
        try:
            found[address] = json.loads(text)
        except ValueError:
            found[address] = text
    return found


def _here(path: str) -> str:
    """A path as the shell means it: from its own folder, which need not be the working folder."""
    if not path:
        raise InvalidArgument("The path is empty.", "Give the path of a file.")
    try:
        return str(Path.cwd() / path)
    except OSError as exc:
        raise FileProblem(f"The shell's folder is not there any more: {exc.strerror}.", "Go to another one.") from exc


def _workflow(given: str) -> str:
    """A workflow's path as the shell means it, or its JSON as it is."""
    is_json = given.lstrip()[:1] in ("{", "[") and not stands(Path(given))
    return given if is_json or not given.strip() else _here(given)


def _existing(name: str) -> Path:
    """The home of sandboxes, if there is one of that name."""
    home = sandbox.default_home(read_settings(os.environ))
    names = [state.name for state in sandbox.list_sandboxes(home)]
    if name not in names:
        raise UnknownName(f"There is no sandbox '{name}'.", f"These exist: {', '.join(names) or 'none'}.")
    return home


def _show(result: ToolResult) -> None:
    _print_json(as_json(result))


def _show_sandboxes(states: list[sandbox.SandboxState]) -> None:
    entries = [{key: str(value) for key, value in vars(state).items() if value is not None} for state in states]
    _print_json(entries)


def _print_json(content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # a console that does not speak UTF-8
        text = json.dumps(content, indent=2)
    print(text)
