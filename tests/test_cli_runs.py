"""The console on series of runs and on the list of jobs."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.support import image_prompt
from tests.terminal import Terminal
from tests.test_cli import console


def test_without_a_server_every_variation_is_saved(home: Path) -> None:
    (home / "cat.json").write_text(json.dumps(image_prompt()), encoding="utf-8")
    (home / "sets.json").write_text('[{"1.color": "random"}, {"1.color": 2}]', encoding="utf-8")
    for given in ("@sets.json", '[{"1.color": 3}, {"1.color": 4}]'):
        done = console(home, "queue", "cat.json", "--variations", given)
        assert done.returncode == 0, done.stderr
        assert "All 2 variations are saved" in json.loads(done.stdout)["message"]
    assert len(list((home / "projects" / "default" / "workflows").glob("*.json"))) == 4


@pytest.mark.parametrize("given", ["{}", "[1]", "nonsense", "@nothing.json", "[]"])
def test_variations_that_are_none_are_told_in_words(home: Path, given: str) -> None:
    (home / "cat.json").write_text(json.dumps(image_prompt()), encoding="utf-8")
    done = console(home, "queue", "cat.json", "--variations", given)
    assert done.returncode != 0
    assert "variations" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_a_run_is_queued_waits_for_what_comes_of_it_and_a_second_one_ends_at_once(home: Path) -> None:
    (home / "cat.json").write_text(json.dumps(image_prompt()), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Terminal(home, "run", "cat.json", url=url) as terminal:
            connection, _ = silent.accept()
            with connection:
                terminal.press_ctrl_c()
                terminal.wait_for("It is being queued")
                terminal.press_ctrl_c()
                assert terminal.end() == 130, terminal.text
                assert "Traceback" not in terminal.text


def test_jobs_without_a_server_say_why(home: Path) -> None:
    done = console(home, "jobs")
    assert done.returncode != 0
    assert "Connection refused" in done.stderr


def test_several_runs_are_polled_together(home: Path) -> None:
    done = console(home, "poll", "one", "two", "--wait", "0")
    assert done.returncode == 1
    assert json.loads(done.stdout)["states"] == {"unreachable": 2}
