"""The sandbox: what it refuses and survives without an installation, and what the installed one really does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from comfyui_api import sandbox
from comfyui_api.errors import SandboxError
from comfyui_api.sandbox import contents, downloads, install, lifecycle, pip, processes
from comfyui_api.sandbox.folders import Home
from comfyui_api.settings import parse_settings

WAIT_SECONDS = 120.0


def quiet(_: str) -> None:
    return


def never(question: str) -> bool:
    raise AssertionError(f"asked: {question}")


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def write_record(home: Path, name: str, **fields: Any) -> Path:
    """The record of a start, as `start` leaves it."""
    file = Home.at(home).sandbox(name).record_file
    file.parent.mkdir(parents=True)
    record = {"pid": None, "create_time": 0.0, "port": None, "frontend_root": None, "packs": []} | fields
    file.write_text(json.dumps(record), encoding="utf-8")
    return file


@pytest.fixture
def stranger() -> Iterator[psutil.Popen]:
    """A running process that is no sandbox."""
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        if process.poll() is None:
            process.kill()


# Whose process is it


def test_a_process_that_took_over_the_recorded_number_is_left_alone(tmp_path: Path, stranger: psutil.Popen) -> None:
    write_record(tmp_path, "default", pid=stranger.pid, create_time=stranger.create_time() - 3600, port=20001)

    assert sandbox.status(tmp_path, name="default").state == "not_installed"
    state = sandbox.stop(tmp_path, name="default")

    assert state.state == "not_installed"
    assert state.pid is None
    assert stranger.poll() is None


def test_the_recorded_process_is_running_and_is_ended(tmp_path: Path, stranger: psutil.Popen) -> None:
    write_record(tmp_path, "default", pid=stranger.pid, create_time=stranger.create_time(), port=20001)

    state = sandbox.status(tmp_path, name="default")
    assert (state.state, state.url, state.pid) == ("running", "http://127.0.0.1:20001", stranger.pid)

    assert sandbox.stop(tmp_path, name="default").state == "not_installed"
    assert stranger.wait(10) != 0


@pytest.mark.parametrize(
    "text", ["", '{"pid": ', "[]", '{"pid": "7"}', '{"pid": 7, "create_time": 1, "packs": [2]}', "\0"]
)
def test_an_unreadable_record_is_a_stopped_sandbox(tmp_path: Path, text: str) -> None:
    write_record(tmp_path, "default").write_text(text, encoding="utf-8")

    assert sandbox.stop(tmp_path, name="default").pid is None
    assert [state.name for state in sandbox.list_sandboxes(tmp_path)] == ["default"]
    sandbox.remove(tmp_path, name="default")
    assert sandbox.list_sandboxes(tmp_path) == []


def test_a_server_whose_record_is_unreadable_is_found_by_its_command_line(tmp_path: Path) -> None:
    base = Home.at(tmp_path).sandbox("default").base_directory
    command = [sys.executable, "-c", "input()", "--base-directory", str(base), "--port", "20002"]
    write_record(tmp_path, "default").write_text("{", encoding="utf-8")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        assert sandbox.status(tmp_path, name="default").url == "http://127.0.0.1:20002"
        sandbox.stop(tmp_path, name="default")
        assert server.wait(10) != 0


def test_ending_a_process_ends_what_it_started(tmp_path: Path) -> None:
    child_number = tmp_path / "child"
    script = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        f"pathlib.Path({str(child_number)!r}).write_text(str(child.pid))\n"
        "child.wait()"
    )
    with psutil.Popen([sys.executable, "-c", script]) as parent:
        wait_for(lambda: child_number.exists() and child_number.read_text())
        child = psutil.Process(int(child_number.read_text()))
        processes.end(parent)
        assert not processes.is_alive(child)


def test_the_server_is_spared_this_process_python_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PIP_INDEX_URL", "kept")

    variables = processes.environment_variables()

    assert not {"PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV"} & set(variables)
    assert variables["PIP_INDEX_URL"] == "kept"


# What may be asked for


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a\\b", "-a", "a.", "sand box", "ä", "x" * 65])
def test_a_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SandboxError, match="cannot be the name"):
        sandbox.start(tmp_path, name=name, say=quiet, confirm=never)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "model",
    [
        "../x/y.safetensors",
        "checkpoints/../../y.safetensors",
        "checkpoints\\..\\..\\y.safetensors",
        "/etc/y.safetensors",
        "C:/y.safetensors",
        "checkpoints/y.safetensors:z",
        "checkpoints//y.safetensors",
        "checkpoints/",
        "y.safetensors",
        "checkpoints/y\n.safetensors",
        "",
    ],
)
def test_a_model_outside_of_the_models_folder_is_refused_before_anything_is_done(tmp_path: Path, model: str) -> None:
    with pytest.raises(SandboxError, match="not a model's folder and name"):
        sandbox.start(tmp_path, models=[model], say=quiet, confirm=never)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_exists_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "models" / "checkpoints" / "sub" / "a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")

    added = contents.add_placeholder_models(
        tmp_path, contents.model_paths(["checkpoints/sub/a.safetensors", "vae\\b.safetensors"])
    )

    assert file.read_bytes() == b"weights"
    assert added == [tmp_path / "models" / "vae" / "b.safetensors"]
    assert added[0].read_bytes() == b""


def test_a_models_folder_that_is_linked_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "base" / "models").mkdir(parents=True)
    (tmp_path / "base" / "models" / "loras").symlink_to(elsewhere, target_is_directory=True)

    with pytest.raises(SandboxError, match="leads out of"):
        contents.add_placeholder_models(tmp_path / "base", contents.model_paths(["loras/a.safetensors"]))

    assert list(elsewhere.iterdir()) == []


def make_pack(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", encoding="utf-8")
    return folder


def test_node_packs_are_the_folder_named_or_those_inside_of_it(tmp_path: Path) -> None:
    one, two = make_pack(tmp_path / "packs" / "one"), make_pack(tmp_path / "packs" / "two")
    (tmp_path / "packs" / "notes").mkdir()

    assert contents.find_packs([one]) == [one]
    assert contents.find_packs([tmp_path / "packs", two]) == [one, two]
    with pytest.raises(SandboxError, match="no node pack"):
        contents.find_packs([tmp_path / "packs" / "notes"])
    with pytest.raises(SandboxError, match="called one"):
        contents.find_packs([one, make_pack(tmp_path / "more" / "one")])


def test_packs_of_an_earlier_start_go_and_the_users_own_stay(tmp_path: Path) -> None:
    one, two = make_pack(tmp_path / "packs" / "one"), make_pack(tmp_path / "packs" / "two")
    own = make_pack(tmp_path / "base" / "custom_nodes" / "own")

    contents.place_packs(tmp_path / "base", [one], placed_before=[])
    contents.place_packs(tmp_path / "base", [one, two], placed_before=[])
    assert sorted(entry.name for entry in own.parent.iterdir()) == ["one", "own", "two"]
    contents.place_packs(tmp_path / "base", [two], placed_before=["one", "own", "two"])

    assert sorted(entry.name for entry in own.parent.iterdir()) == ["own", "two"]
    assert (one / "__init__.py").exists()
    with pytest.raises(SandboxError, match="exists already"):
        contents.place_packs(tmp_path / "base", [make_pack(tmp_path / "more" / "own")], placed_before=[])


def test_a_folder_without_a_frontend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no frontend"):
        sandbox.start(tmp_path, frontend_root=tmp_path, say=quiet, confirm=never)


def test_a_free_port_can_be_listened_on_and_is_not_one_that_is_taken() -> None:
    port = lifecycle.free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
    assert lifecycle.free_port(taken=range(20000, 30000)) not in range(20000, 30000)


def test_removing_a_sandbox_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    write_record(tmp_path, "one")
    with pytest.raises(SandboxError, match="These exist: one"):
        sandbox.remove(tmp_path, name="two")


def test_removing_everything_leaves_files_that_are_not_the_sandboxs(tmp_path: Path) -> None:
    for foreign in ("env/bin", "sandboxes/photos"):
        (tmp_path / foreign).mkdir(parents=True)
    (tmp_path / "sandboxes" / "photos" / "cat.png").touch()
    write_record(tmp_path, "one")
    (tmp_path / "locks").mkdir()

    sandbox.remove(tmp_path, name=None)

    assert (tmp_path / "env" / "bin").is_dir()
    assert (tmp_path / "sandboxes" / "photos" / "cat.png").exists()
    assert not (tmp_path / "sandboxes" / "one").exists()


# The installation


def test_an_interrupted_installation_is_broken_and_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.at(tmp_path)
    assert install.inspect_environment(home) == "missing"
    leftover = home.environment / "lib" / "half-a-package"
    leftover.mkdir(parents=True)
    home.mark.touch()
    assert install.inspect_environment(home) == "broken"
    assert sandbox.status(tmp_path, name="default").state == "broken"

    unreachable_index(monkeypatch)
    said: list[str] = []
    with pytest.raises(SandboxError):
        sandbox.start(tmp_path, say=said.append, confirm=never)

    assert any("unfinished" in line for line in said)
    assert install.inspect_environment(home) == "missing"


def test_a_stamp_counts_only_for_these_packages_and_with_its_files(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    python = install.environment_python(home.environment)
    comfyui = home.environment / "comfyui"
    stamp = home.environment / "comfyui-api-sandbox.json"
    for file in (python, comfyui / "main.py"):
        file.parent.mkdir(parents=True)
        file.touch()
    written = {"fingerprint": install.fingerprint(), "comfyui": "comfyui", "comfyui_version": "0.3.75"}

    stamp.write_text(json.dumps(written), encoding="utf-8")
    assert install.inspect_environment(home) == "installed"
    stamp.write_text(json.dumps(written | {"fingerprint": "of an older list"}), encoding="utf-8")
    assert install.inspect_environment(home) == "broken"
    stamp.write_text(json.dumps(written), encoding="utf-8")
    (comfyui / "main.py").unlink()
    assert install.inspect_environment(home) == "broken"


def test_a_folder_of_somebody_else_in_the_environments_place_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "env" / "precious.txt"
    theirs.parent.mkdir()
    theirs.touch()
    with pytest.raises(SandboxError, match="not a sandbox installation"):
        sandbox.start(tmp_path, say=quiet, confirm=never)
    assert theirs.exists()


def unreachable_index(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://somebody:secret@127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "1")


def test_without_a_network_the_error_names_the_package_and_pips_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable_index(monkeypatch)
    said: list[str] = []

    with pytest.raises(SandboxError) as caught:
        sandbox.start(tmp_path / "höme with spaces", say=said.append, confirm=never)

    assert caught.value.message.startswith(
        f"pip=={install.pins()['pip']} could not be fetched: No matching distribution"
    )
    assert "refused" in caught.value.message
    assert "\n" not in caught.value.message
    assert "PIP_INDEX_URL" in caught.value.next_step
    log = (tmp_path / "höme with spaces" / "install.log").read_text(encoding="utf-8")
    assert "No matching distribution" in log
    assert "secret" not in log + str(caught.value)
    assert sandbox.LICENCE_NOTE in said


@pytest.mark.parametrize(
    ("lines", "position"),
    [
        (["Collecting torch==2.13.0"], "looking up torch==2.13.0"),
        (["  Downloading torch-2.13.0-cp311-cp311-win_amd64.whl (530.1 MB)"], "fetching torch-2.13.0 (530.1 MB)"),
        (
            ["Downloading torch-2.13.0-cp311-cp311-win_amd64.whl (530.1 MB)", "Progress 265000000 of 530100000"],
            "fetching torch-2.13.0 (530.1 MB): 265 of 530 MB",
        ),
        (["Using cached numpy-2.4.6-cp311-cp311-win_amd64.whl (12.0 MB)"], "fetching numpy-2.4.6 (12.0 MB)"),
        (["Processing /opt/wheels/torch-2.13.0+cpu-cp311-cp311-linux.whl"], "unpacking torch-2.13.0+cpu"),
        (["Installing collected packages: a, b, c"], "installing 3 packages"),
    ],
)
def test_pips_lines_tell_where_it_stands(lines: list[str], position: str) -> None:
    output = pip.PipOutput()
    for line in lines:
        output.read(line)
    assert output.position == position


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            [
                "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.8.0)",
                "ERROR: No matching distribution found for torch==2.13.0",
            ],
            ["torch==2.13.0 could not be fetched", "no build of it for Python"],
        ),
        (
            [
                "Downloading torch-2.13.0-cp311-cp311-win_amd64.whl (530.1 MB)",
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            ],
            ["pip failed while fetching torch-2.13.0 (530.1 MB)", "No space left on device"],
        ),
        (["Installing collected packages: torch"], ["pip failed while installing 1 package", "ended with status -9"]),
    ],
)
def test_a_failure_of_pip_names_what_it_was_about(lines: list[str], words: list[str]) -> None:
    output = pip.PipOutput()
    for line in lines:
        output.read(line)
    text = str(pip.failure(output, -9, Path("install.log")))
    for part in [*words, "install.log"]:
        assert part in text


def test_a_cuda_build_is_sized_and_asked_about(tmp_path: Path) -> None:
    wheel = tmp_path / "torch 1.whl"
    wheel.write_bytes(b"0" * 3_000_000)

    def item(name: str, address: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "download_info": {"url": address}}

    plain = downloads.measure({"install": [item("torch", wheel.as_uri())]})
    assert str(plain) == "1 package, 3 MB"
    downloads.agree_to(plain, "", never)

    cuda = downloads.measure(
        {"install": [item("torch", wheel.as_uri()), item("nvidia_cublas", "http://127.0.0.1:9/nvidia_cublas.whl")]}
    )
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    downloads.agree_to(cuda, "", agree)
    assert "2 packages, 3 MB and 1 of unknown size, 1 of them for CUDA" in asked[0]
    with pytest.raises(SandboxError, match="COMFYUI_API_SANDBOX_TORCH_INDEX"):
        downloads.agree_to(cuda, "", lambda _: False)


def test_calls_at_the_same_time_take_turns(tmp_path: Path) -> None:
    place = Home.at(tmp_path)
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with place.turn_for_environment(lambda _: waiting.set()):
            order.append("second")

    with place.turn_for_environment():
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(WAIT_SECONDS)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_a_home_that_cannot_be_made_is_a_sandbox_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match="could not be read or written"):
        sandbox.start(tmp_path / "file" / "home", say=quiet, confirm=never)


def test_importing_the_sandbox_leaves_the_heavy_modules_out() -> None:
    script = "import sys, comfyui_api.sandbox; print({'psutil', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The installed sandbox

START = """
import json, sys
from pathlib import Path
from comfyui_api import sandbox
home, name, models = sys.argv[1:]
state = sandbox.start(
    Path(home), name=name, models=json.loads(models), tiny_upscaler=True,
    say=lambda line: print(line, file=sys.stderr), confirm=lambda _: False,
)
print(json.dumps([state.state, state.url, state.pid]))
"""


def start_from_a_process_of_its_own(home: Path, name: str, models: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, str(home), name, json.dumps(models)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def default_home() -> Path:
    return sandbox.default_home(parse_settings(os.environ))


@pytest.fixture(scope="module")
def started_twice(default_home: Path) -> Iterator[tuple[sandbox.SandboxState, list[Any]]]:
    """A sandbox that two processes started at the same time, and what each of them was told."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    told = []
    try:
        pair = [start_from_a_process_of_its_own(default_home, name, ["checkpoints/sd15.safetensors"]) for _ in range(2)]
        for process in pair:
            with process:
                output, _ = process.communicate(timeout=900)
                assert process.returncode == 0
                told.append(json.loads(output))
        yield sandbox.status(default_home, name=name), told
    finally:
        if name in Home.at(default_home).names():
            sandbox.remove(default_home, name=name)


@pytest.fixture(scope="module")
def server(started_twice: tuple[sandbox.SandboxState, list[Any]]) -> Iterator[httpx2.Client]:
    url = started_twice[0].url
    assert url is not None
    with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


@pytest.mark.live
def test_two_starts_at_the_same_time_give_one_server_that_outlives_them(
    started_twice: tuple[sandbox.SandboxState, list[Any]], server: httpx2.Client
) -> None:
    state, told = started_twice
    assert told == [["running", state.url, state.pid]] * 2
    assert state.comfyui_version == server.get("/system_stats").json()["system"]["comfyui_version"] == "0.3.75"
    assert "Starting server" in state.log_file.read_text(encoding="utf-8")
    assert (state.base_directory / "user" / "comfyui.db").exists()


@pytest.mark.live
def test_the_server_listens_on_loopback_only(started_twice: tuple[sandbox.SandboxState, list[Any]]) -> None:
    listening = [c for c in psutil.Process(started_twice[0].pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


@pytest.mark.live
def test_the_audio_nodes_exist_without_torchaudio(server: httpx2.Client) -> None:
    node_classes = server.get("/object_info").json()
    assert "SaveAudio" in node_classes
    assert len(node_classes) == 533


@pytest.mark.live
def test_the_tiny_upscaler_runs_for_real(
    started_twice: tuple[sandbox.SandboxState, list[Any]], server: httpx2.Client
) -> None:
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0x8040C0}},
        "2": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": sandbox.TINY_UPSCALER}},
        "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "upscaled"}},
    }
    reply = server.post("/prompt", json={"prompt": prompt, "client_id": str(uuid.uuid4())})
    assert reply.status_code == 200, reply.text
    prompt_id = reply.json()["prompt_id"]
    wait_for(lambda: server.get(f"/history/{prompt_id}").json())
    entry = server.get(f"/history/{prompt_id}").json()[prompt_id]

    assert entry["status"]["status_str"] == "success"
    picture = started_twice[0].base_directory / "output" / entry["outputs"]["4"]["images"][0]["filename"]
    header = picture.read_bytes()[:24]
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (64, 64)


@pytest.mark.live
def test_models_can_be_added_to_a_running_sandbox_but_other_options_cannot(
    started_twice: tuple[sandbox.SandboxState, list[Any]], server: httpx2.Client, default_home: Path, tmp_path: Path
) -> None:
    state = started_twice[0]
    assert server.get("/models/checkpoints").json() == ["sd15.safetensors"]

    again = sandbox.start(
        default_home, name=state.name, models=["checkpoints/new.safetensors"], say=quiet, confirm=never
    )
    assert again == state
    assert sorted(server.get("/models/checkpoints").json()) == ["new.safetensors", "sd15.safetensors"]

    pack = make_pack(tmp_path / "pack")
    (tmp_path / "index.html").touch()
    others: list[dict[str, Any]] = [{"port": 20003}, {"custom_nodes": [pack]}, {"frontend_root": tmp_path}]
    for other in others:
        with pytest.raises(SandboxError, match=r"other options.*Stop it first"):
            sandbox.start(default_home, name=state.name, say=quiet, confirm=never, **other)


@pytest.mark.live
def test_a_port_that_is_taken_is_refused_at_once(
    started_twice: tuple[sandbox.SandboxState, list[Any]], default_home: Path
) -> None:
    name = f"{started_twice[0].name}-b"
    with pytest.raises(SandboxError, match="cannot be used"):
        sandbox.start(default_home, name=name, port=started_twice[0].port, say=quiet, confirm=never)
    assert name not in Home.at(default_home).names()
    Home.at(default_home).drop_lock(name)


@pytest.fixture
def odd_home(
    tmp_path: Path, default_home: Path, started_twice: tuple[sandbox.SandboxState, list[Any]]
) -> Iterator[Path]:
    """A home with a path that needs care, with the environment of the default one."""
    home = tmp_path / "Höme mit Leerzeichen, 100% #1"
    home.mkdir()
    Home.at(home).mark.touch()
    (home / "env").symlink_to(Home.at(default_home).environment, target_is_directory=True)
    yield home
    sandbox.remove(home, name=None)
    assert not home.exists()


@pytest.mark.live
def test_a_killed_server_is_stopped_and_can_be_started_again_with_other_options(odd_home: Path) -> None:
    pack = odd_home.parent / "päck"
    pack.mkdir()
    (pack / "__init__.py").write_text('NODE_CLASS_MAPPINGS = {}\nprint("the pack was here")\n', encoding="utf-8")
    frontend = odd_home.parent / "my frontend"
    frontend.mkdir()
    (frontend / "index.html").write_text("another frontend", encoding="utf-8")

    first = sandbox.start(odd_home, say=quiet, confirm=never)
    psutil.Process(first.pid).kill()
    wait_for(lambda: sandbox.status(odd_home, name="default").state == "stopped")

    second = sandbox.start(
        odd_home, port=lifecycle.free_port(), frontend_root=frontend, custom_nodes=[pack], say=quiet, confirm=never
    )
    assert second.url is not None
    assert httpx2.get(second.url, trust_env=False).text == "another frontend"
    assert "the pack was here" in second.log_file.read_text(encoding="utf-8")
    assert [entry.name for entry in pack.iterdir()] == ["__init__.py"]

    stopped = sandbox.stop(odd_home, name="default")
    assert (stopped.state, stopped.pid, stopped.url) == ("stopped", None, None)
    assert not psutil.pid_exists(second.pid or 0)
    sandbox.remove(odd_home, name="default")
    assert not second.base_directory.exists()


@pytest.mark.live
def test_a_server_that_dies_at_the_start_is_told_with_the_end_of_its_log(odd_home: Path) -> None:
    pack = odd_home.parent / "deadly"
    pack.mkdir()
    (pack / "__init__.py").write_text('import os\nprint("last words")\nos._exit(3)\n', encoding="utf-8")
    with pytest.raises(SandboxError, match=r"(?s)ended while it was starting.*last words"):
        sandbox.start(odd_home, custom_nodes=[pack], say=quiet, confirm=never)
    assert sandbox.status(odd_home, name="default").state == "stopped"
