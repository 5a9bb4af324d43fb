"""The console before a real ComfyUI: a whole run at a terminal and in a pipe, Ctrl-C, and what people are shown."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import Prompt, environment_for, image_prompt
from tests.terminal import NOBODY, Terminal, on_a_terminal
from tests.test_cli import console

pytestmark = pytest.mark.live

QUEUED = re.compile(r"Queued as ([0-9a-f-]{36})")
LONG = 120.0  # seconds; no test waits for it


def written(home: Path, prompt: Prompt, name: str = "cat.json") -> str:
    (home / name).write_text(json.dumps(prompt), encoding="utf-8")
    return name


def slow_prompt(name: str, seconds: float = LONG) -> Prompt:
    """A prompt that takes its time, with a step each hundredth of it."""
    prompt = image_prompt(name)
    prompt["3"] = {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": seconds, "steps": 100}}
    prompt["2"]["inputs"]["images"] = ["3", 0]
    return prompt


def state_of(home: Path, prompt_id: str, url: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(console(home, "poll", prompt_id, "--wait", "10", url=url).stdout)
    return told


def id_in(text: str) -> str:
    found = QUEUED.search(text)
    assert found is not None, text
    return found[1]


def test_a_run_at_a_terminal_ends_with_the_paths_of_its_files(comfyui: str, home: Path) -> None:
    workflow = written(home, slow_prompt("seen", 1.0))
    with Terminal(home, "run", workflow, "--input", "1.width=96", url=comfyui, columns=200) as terminal:
        terminal.wait_for("Queued as")
        terminal.wait_for("TestSleep (3)")
        assert terminal.end() == 0, terminal.text
        assert "completed" in terminal.text
        saved = next((home / "output").glob("seen*.png"))
        assert f"{saved} (96 × 64" in terminal.text
        preview = next((home / "state" / "previews").iterdir())
        assert f"preview {preview}" in terminal.text


def test_in_a_pipe_the_same_is_json_and_the_id_comes_first_on_stderr(comfyui: str, home: Path) -> None:
    done = console(home, "run", written(home, image_prompt("piped")), "--directory", "output/mine", url=comfyui)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["state"] == "completed"
    assert id_in(done.stderr) == told["prompt_id"]
    (file,) = told["files"]
    assert Path(file["path"]).parent == home / "output" / "mine"
    assert (file["width"], file["height"]) == (64, 64)
    assert [Path(path).exists() for path in told["previews"]] == [True]
    quiet = console(home, "run", "cat.json", "--no-previews", "--input", "1.color=1", url=comfyui)
    assert "previews" not in json.loads(quiet.stdout)


def test_a_series_is_run_and_saved_together(comfyui: str, home: Path) -> None:
    sets = '[{"1.color": 1}, {"1.color": 2}, {"1.color": "random"}]'
    done = console(home, "run", written(home, image_prompt("row")), "--variations", sets, url=comfyui)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["states"] == {"completed": 3}
    assert len({file["path"] for file in told["files"]}) == 3
    assert list(told["seeds"][2]) == ["1.color"]


@pytest.mark.parametrize(
    ("change", "state"),
    [({"class_type": "TestBlock", "inputs": {"image": ["1", 0]}}, "completed"), ({"class_type": "Nothing"}, None)],
)
def test_a_run_that_gives_nothing_is_exit_code_1(
    comfyui: str, home: Path, change: dict[str, Any], state: str | None
) -> None:
    prompt = image_prompt("nothing")
    prompt["3"] = {"inputs": {}, **change}
    prompt["2"]["inputs"]["images"] = ["3", 0]
    done = console(home, "run", written(home, prompt), url=comfyui)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told.get("state") == state
    assert state is not None or told["status"] == "refused"
    assert (QUEUED.search(done.stderr) is not None) == (state is not None)


def test_a_failed_run_says_what_helps(comfyui: str, home: Path) -> None:
    prompt = image_prompt("failing")
    prompt["3"] = {"class_type": "TestFail", "inputs": {"image": ["1", 0], "message": "boom"}}
    prompt["2"]["inputs"]["images"] = ["3", 0]
    workflow = written(home, prompt)
    done = console(home, "run", workflow, url=comfyui)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["remedy"]
    code, text = on_a_terminal(home, "run", workflow, url=comfyui, columns=200)
    assert code == 1
    assert "What helps:" in text
    assert "poll_result" not in text, "a person has commands, not tools"


def test_without_a_server_the_workflow_is_saved_and_it_is_exit_code_1(home: Path) -> None:
    done = console(home, "run", written(home, image_prompt()), url=NOBODY)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["status"] == "saved_offline"
    assert Path(told["saved_path"]).exists()


def test_ctrl_c_asks_and_the_run_goes_on_where_it_is_watched_on(comfyui: str, home: Path) -> None:
    with Terminal(home, "run", written(home, slow_prompt("watched", 4.0)), url=comfyui) as terminal:
        terminal.wait_for("TestSleep")
        terminal.press_ctrl_c()
        terminal.wait_for("Stop the run")
        terminal.type("w\n")
        assert terminal.end() == 0, terminal.text
        assert next((home / "output").glob("watched*.png")).exists()


def test_ctrl_c_can_stop_the_run(comfyui: str, home: Path) -> None:
    with Terminal(home, "run", written(home, slow_prompt("stopped")), url=comfyui) as terminal:
        terminal.wait_for("TestSleep")
        terminal.press_ctrl_c()
        terminal.wait_for("Stop the run")
        terminal.type("s\n")
        assert terminal.end() == 1, terminal.text
        assert "interrupted" in terminal.text
        assert state_of(home, id_in(terminal.text), comfyui)["state"] == "interrupted"


@pytest.mark.parametrize("how", ["answer", "ctrl-c"])
def test_ctrl_c_can_leave_the_run_going(comfyui: str, home: Path, how: str) -> None:
    with Terminal(home, "run", written(home, slow_prompt("left")), url=comfyui) as terminal:
        terminal.wait_for("TestSleep")
        terminal.press_ctrl_c()
        terminal.wait_for("Stop the run")
        if how == "answer":
            terminal.type("l\n")
        else:
            terminal.press_ctrl_c()
        assert terminal.end() == 130, terminal.text
        prompt_id = id_in(terminal.text)
        assert f"comfyui-api poll {prompt_id}" in terminal.text
        assert "Traceback" not in terminal.text
    looked = console(home, "poll", prompt_id, "--wait", "0", url=comfyui)
    assert json.loads(looked.stdout)["state"] == "running"
    assert console(home, "interrupt", prompt_id, url=comfyui).returncode == 0


def test_where_nobody_can_be_asked_an_interrupt_leaves_the_run_going(comfyui: str, home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "comfyui_api", "run", written(home, slow_prompt("unasked"))],
        env={**os.environ, **environment_for(home, comfyui)},
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    prompt_id = id_in(first)
    assert "TestSleep" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert f"comfyui-api poll {prompt_id}" in stderr
    assert (json.loads(stdout)["status"], json.loads(stdout)["prompt_id"]) == ("left", prompt_id)
    assert console(home, "interrupt", prompt_id, url=comfyui).returncode == 0


def test_show_marks_what_is_wrong_and_lists_what_is_worth_changing(comfyui: str, home: Path) -> None:
    prompt = image_prompt()
    prompt["1"]["inputs"]["width"] = 0
    prompt["1"]["_meta"] = {"title": "[bold]A canvas"}
    workflow = written(home, prompt)
    told = json.loads(console(home, "show", workflow, url=comfyui).stdout)
    assert told["outputs"] == ["2"]
    assert told["nodes"]["1"]["title"] == "[bold]A canvas"
    assert "1.width" in [each["address"] for each in told["main_inputs"]]
    assert [(each["node_id"], each["input"]) for each in told["findings"]] == [("1", "width")]
    drawn = console(home, "show", workflow, "--mermaid", url=comfyui).stdout
    assert drawn.startswith("flowchart LR\n")
    assert "class n0 error" in drawn
    code, text = on_a_terminal(home, "show", workflow, url=comfyui)
    assert code == 0
    assert "└── images: [bold]A canvas (1)" in text
    # What was learned of the server does without it.
    again = console(home, "show", workflow, url=comfyui.replace("127.0.0.1", "localhost"))
    assert again.returncode == 0


def test_every_view_shows_people_what_json_tells_programs(comfyui: str, home: Path) -> None:
    workflow = written(home, image_prompt("views"))
    code, text = on_a_terminal(home, "status", url=comfyui)
    assert code == 0
    assert "ComfyUI 0.3.75" in text
    assert "node classes" in text
    code, text = on_a_terminal(home, "queue", workflow, url=comfyui)
    assert "One run queued" in text
    prompt_id = next(iter(json.loads((home / "state" / "jobs.json").read_text())))
    code, text = on_a_terminal(home, "poll", prompt_id, url=comfyui)
    assert code == 0
    assert f"comfyui-api get {prompt_id}" in text.replace("\n", " ")
    code, text = on_a_terminal(home, "get", prompt_id, url=comfyui, columns=200)
    saved = next((home / "output").glob("views*.png"))
    assert str(saved) in text
    for columns in (60, 120):
        code, text = on_a_terminal(home, "jobs", url=comfyui, columns=columns)
        assert prompt_id in text
        assert "ours" in text
    code, text = on_a_terminal(home, "upload", str(saved), url=comfyui)
    assert f"loader node: {saved.name}" in text
    code, text = on_a_terminal(home, "interrupt", prompt_id, url=comfyui)
    assert "already finished" in text
    code, text = on_a_terminal(home, "free", url=comfyui)
    assert code == 0
    assert "free" in text
    code, text = on_a_terminal(home, "status", "--json", url=comfyui)
    assert json.loads(text)["online"]


def test_the_doctor_finds_a_server_that_runs_healthy(comfyui: str, home: Path) -> None:
    assert console(home, "status", url=comfyui).returncode == 0
    done = console(home, "doctor", url=comfyui)
    assert done.returncode == 0, done.stdout
    checks = {check["about"]: check for check in json.loads(done.stdout)}
    assert checks["server"]["found"].startswith(f"{comfyui}: ComfyUI 0.3.75, answers in")
    assert checks["inventory"]["state"] == "ok"
