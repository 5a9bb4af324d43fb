"""The real ComfyUI web frontend as a judge of our conversion: fetching it, asking it, comparing with it."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias
from urllib.request import urlopen

import platformdirs
from filelock import FileLock

from comfyui_api import sandbox
from comfyui_api.sandbox import SandboxState
from comfyui_api.settings import Settings

Workflow: TypeAlias = dict[str, Any]
Prompt: TypeAlias = dict[str, Any]
ObjectInfo: TypeAlias = dict[str, Any]

FRONTEND = "comfyui-frontend-package==1.58.1"
TEMPLATES = "comfyui-workflow-templates-json==0.1.123"
RECENT = "0.33.0"
RECENT_FOLDER = "COMFYUI_API_ORACLE"
DEVIATIONS = Path(__file__).resolve().parent / "data" / "oracle_deviations.json"
DYNAMIC_INPUTS = DEVIATIONS.with_name("dynamic_inputs.json")
_TEST_NODES = DEVIATIONS.with_name("test_nodes")
_DRIVER = Path(__file__).resolve().parent.parent / "scripts" / "oracle"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Node types that the frontend knows and no server lists.
_VIRTUAL = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode"})


class OracleUnavailable(Exception):
    """This machine lacks what the real frontend needs; the message says what."""


class FrontendError(Exception):
    """The frontend did not convert a workflow; its own message."""


# --- what has to be there


def check_programs() -> None:
    """Raises OracleUnavailable where Node.js, npm or Chromium is missing."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise OracleUnavailable(f"{program} is missing: install Node.js 20 or newer.")
    named = os.environ.get("COMFYUI_API_CHROMIUM")
    if shutil.which(named) is None if named else not any(map(shutil.which, _BROWSERS)):
        raise OracleUnavailable("Chromium is missing: install it, or name it in COMFYUI_API_CHROMIUM.")


def frontend_root() -> Path:
    """The folder of the frontend's index.html, fetched once."""
    return _wheel(FRONTEND) / "comfyui_frontend_package" / "static"


def _wheel(requirement: str) -> Path:
    """The unpacked wheel of `name==version`, without what it depends on."""

    def fetch(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as downloads:
            # pip's own settings say where packages come from.
            _run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads, requirement)
            (wheel,) = Path(downloads).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)

    return _made_once(requirement.replace("==", "-"), fetch)


def _playwright() -> Path:
    """A folder in which Node.js finds the packages of scripts/oracle/package.json."""
    manifest = _DRIVER / "package.json"

    def fetch(folder: Path) -> None:
        shutil.copy(manifest, folder)
        npm = str(shutil.which("npm"))
        _run(npm, "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", cwd=folder)

    ((name, version),) = json.loads(manifest.read_text("utf-8"))["dependencies"].items()
    return _made_once(f"{name}-{version}", fetch)


def _made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache; it appears there only when it is whole."""
    cache = platformdirs.user_cache_path("comfyui-api", appauthor=False) / "oracle"
    folder = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if not folder.exists():
            partial = cache / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise OracleUnavailable(f"{' '.join(command)}: {said[-1]}")


@contextmanager
def oracle_sandbox(settings: Settings, say: Callable[[str], None]) -> Iterator[SandboxState]:
    """A sandbox of this process's own that serves the frontend and has the test nodes."""
    home = sandbox.default_home(settings)
    name = f"oracle-{os.getpid()}"
    state = sandbox.start(
        home,
        name=name,
        custom_nodes=[_TEST_NODES],
        frontend_root=frontend_root(),
        torch_index=settings.sandbox_torch_index,
        say=say,
        confirm=lambda _: False,
    )
    try:
        yield state
    finally:
        sandbox.stop(home, name=name)
        sandbox.remove(home, name=name)


def read_object_info(url: str) -> ObjectInfo:
    """All node classes of a server, as they come."""
    with urlopen(f"{url}/object_info") as reply:
        answer: ObjectInfo = json.load(reply)
    return answer


# --- the frontend


class Frontend:
    """The frontend that a server serves, in a browser. To be closed, or used in a `with`.

    `object_info` stands in for the server's node classes. `tabs` workflows are converted at the same time by
    `convert_all`. Raises OracleUnavailable where it cannot start.
    """

    def __init__(
        self, url: str, *, object_info: ObjectInfo | None = None, tabs: int = 1, timeout: float = 60.0
    ) -> None:
        check_programs()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        command = [str(shutil.which("node")), str(_DRIVER / "frontend.mjs"), url]
        command += ["--tabs", str(tabs), "--timeout", str(timeout)]
        with tempfile.TemporaryDirectory() as folder:
            if object_info is not None:
                file = Path(folder, "object_info.json")
                file.write_text(json.dumps(object_info), encoding="utf-8")
                command += ["--object-info", str(file)]
            self._process = subprocess.Popen(
                command, cwd=_playwright(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
            try:
                # By then it has read the file.
                self.node_types: int = self._read()["node_types"]
            except FrontendError as exc:
                self.close()
                raise OracleUnavailable(str(exc)) from exc

    def convert(self, workflow: Workflow, random: float | None = None) -> Prompt:
        """The prompt for a workflow. `random` is what Math.random gives meanwhile. Raises FrontendError."""
        self._write("", workflow, random)
        return _prompt_of(self._read())

    def convert_all(
        self, workflows: Mapping[str, Workflow], random: float | None = None
    ) -> Iterator[tuple[str, Prompt | FrontendError]]:
        """Each workflow's prompt, or why there is none, in the order in which they are done."""

        def feed() -> None:
            for name, workflow in workflows.items():
                self._write(name, workflow, random)

        # The driver answers while it is fed, and pipes hold little.
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            for _ in workflows:
                answer = self._read()
                try:
                    prompt: Prompt | FrontendError = _prompt_of(answer)
                except FrontendError as exc:
                    prompt = exc
                yield answer["name"], prompt
        except GeneratorExit:
            # Given up half-way: nobody would read the rest of the answers.
            self._process.terminate()
            raise
        finally:
            feeder.join()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(15)
        except (OSError, subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Frontend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, name: str, workflow: Workflow, random: float | None) -> None:
        assert self._process.stdin is not None
        line = json.dumps({"name": name, "workflow": workflow, "random": random})
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            # It has ended: reading tells why.
            return

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            raise FrontendError(f"The driver of the browser ended: {said[-1] if said else 'it said nothing'}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _prompt_of(answer: dict[str, Any]) -> Prompt:
    if "error" in answer:
        raise FrontendError(answer["error"])
    prompt: Prompt = answer["output"]
    return prompt


# --- a recent server, which cannot be installed


def recent_data(name: str) -> Any:
    """One of the files that a recent server's answers are kept in, e.g. "object_info". Raises OracleUnavailable."""
    folder = os.environ.get(RECENT_FOLDER)
    if not folder:
        raise OracleUnavailable(f"{RECENT_FOLDER} is not set: it names a folder with data of ComfyUI {RECENT}.")
    file = Path(folder, f"{name}-{RECENT}.json.xz")
    try:
        with lzma.open(file, "rt", encoding="utf-8") as opened:
            return json.load(opened)
    except OSError as exc:
        raise OracleUnavailable(f"{RECENT_FOLDER}: {exc}") from exc


# --- the templates


def templates(settings: Settings, object_info: ObjectInfo) -> dict[str, Workflow]:
    """All official templates that the sandbox's ComfyUI can run, by `set/file`; a set is called by its version.

    0.7.25: those of comfyui-workflow-templates, which the sandbox's environment holds.
    0.1.123: those of comfyui-workflow-templates-json whose node classes the server has.
    """
    environment = sandbox.default_home(settings) / "env"
    older = _workflows(
        file
        for packages in ("lib/python*/site-packages", "Lib/site-packages")
        for file in environment.glob(f"{packages}/comfyui_workflow_templates_media_*/templates/*.json")
    )
    newer = _fitting_templates(object_info)
    return {f"0.7.25/{name}": each for name, each in older.items()} | {
        f"{TEMPLATES.partition('==')[2]}/{name}": each for name, each in newer.items()
    }


def recent_templates(object_info: ObjectInfo) -> dict[str, Workflow]:
    """The official templates that a recent server can run, by `set/file`; the set is called by the server's version."""
    return {f"{RECENT}/{name}": each for name, each in _fitting_templates(object_info).items()}


def dynamic_inputs() -> tuple[ObjectInfo, dict[str, Any]]:
    """Handmade workflows with inputs that come and go: their node classes, and by `set/name` the workflow and the
    prompt that the frontend sent for it when it was given these classes."""
    data = json.loads(DYNAMIC_INPUTS.read_text("utf-8"))
    return data["object_info"], {f"dynamic inputs/{name}": case for name, case in data["cases"].items()}


def newest_templates() -> Path:
    """The folder of comfyui-workflow-templates-json: a file for each template, and index.json; fetched once."""
    return _wheel(TEMPLATES) / "comfyui_workflow_templates_json" / "templates"


def _fitting_templates(object_info: ObjectInfo) -> dict[str, Workflow]:
    """The templates of comfyui-workflow-templates-json whose node classes a server has."""
    known = _VIRTUAL | set(object_info)
    every = _workflows(newest_templates().glob("*.json"))
    return {name: workflow for name, workflow in every.items() if _node_types(workflow) <= known}


def _workflows(files: Iterable[Path]) -> dict[str, Workflow]:
    """The workflows among JSON files; the others are indexes and the like."""
    found = {}
    for file in sorted(files, key=lambda file: file.name):
        content = json.loads(file.read_text("utf-8"))
        if isinstance(content, dict) and "nodes" in content:
            found[file.name] = content
    return found


def _node_types(workflow: Workflow) -> set[str]:
    """The types of all nodes, also of those inside subgraphs, without the subgraphs themselves."""
    subgraphs = workflow.get("definitions", {}).get("subgraphs", [])
    nodes = [node for graph in (workflow, *subgraphs) for node in graph["nodes"]]
    return {node["type"] for node in nodes} - {subgraph["id"] for subgraph in subgraphs}


# --- the comparison


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


class Difference(NamedTuple):
    """One input that two prompts have differently; `input` is "class_type" for a whole node."""

    node: str
    input: str
    ours: Any
    theirs: Any


def differences(ours: Prompt, theirs: Prompt, object_info: ObjectInfo) -> list[Difference]:
    """Where two prompts differ in what the server takes notice of: nodes, their classes, their declared inputs."""
    found = []
    for node in sorted({*ours, *theirs}):
        our_class, their_class = (
            prompt[node].get("class_type") if node in prompt else ABSENT for prompt in (ours, theirs)
        )
        if our_class != their_class:
            found.append(Difference(node, "class_type", our_class, their_class))
            continue
        our_inputs, their_inputs = ours[node]["inputs"], theirs[node]["inputs"]
        for name in sorted({*our_inputs, *their_inputs}):
            pair = our_inputs.get(name, ABSENT), their_inputs.get(name, ABSENT)
            if _is_declared(name, object_info.get(str(our_class))) and not same_json(*pair):
                found.append(Difference(node, name, *pair))
    return found


def _is_declared(name: str, node_class: Any) -> bool:
    """Whether a class declares an input, or the dynamic one that it stands below. Unknown classes take anything."""
    if node_class is None:
        return True
    declared = {*node_class["input"].get("required", {}), *node_class["input"].get("optional", {})}
    return name in declared or any(name.startswith(f"{each}.") for each in declared)


def same_json(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


Deviations: TypeAlias = Mapping[tuple[str, str], str]
"""Where one workflow may differ, by (node, input), and why."""


def known_deviations() -> dict[str, Deviations]:
    """The deviations from the frontend that are meant to be: what oracle_deviations.json allows, by `set/file`."""
    listed = json.loads(DEVIATIONS.read_text("utf-8"))
    return {name: _deviations(entries, listed["reasons"]) for name, entries in listed["deviations"].items()}


def _deviations(entries: list[dict[str, Any]], reasons: dict[str, str]) -> Deviations:
    return {
        (node, each): " ".join(filter(None, [entry.get("here"), reasons[entry["reason"]]]))
        for entry in entries
        for node, each in entry["differences"]
    }
