"""Several servers in one call: which are meant, and what is said where none of them can tell anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import agent, environment_for, image_prompt, settings_file

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ([], "list of servers is empty"),
        (["gpu", " "], "list of servers is empty"),
        ([f"s{number}" for number in range(60)], "60 servers are too many"),
        ('["gpu"', "no list of names"),
        ("[1]", "no list of names"),
        (["gpu", "cpu"], "No server is configured under the name 'gpu'"),
        ('["gpu", "cpu"]', "No server is configured under the name 'gpu'"),
        (["http://far.example"], "neither on this machine nor an allowed host"),
        ("all", "Connection refused"),
        (7, "server is 7"),
    ],
)
async def test_what_cannot_be_asked_is_said(home: Path, server: Any, words: str) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        assert words in await user.fail("validate_workflow", workflow=image_prompt(), server=server)


async def test_a_workflow_that_cannot_be_read_is_said_once(home: Path) -> None:
    async with agent(environment_for(home, NOBODY)) as user:
        error = await user.fail("validate_workflow", workflow="nowhere.json", server=[NOBODY, "http://127.0.0.1:8"])
        assert error.startswith("workflow_unreadable")


async def test_many_servers_that_are_away_cost_little_time_and_text(home: Path) -> None:
    settings_file(home).parent.mkdir()
    entries = "".join(f'[s{number}]\nurl = "http://127.0.0.1:{number + 10}"\n' for number in range(45))
    (settings_file(home).parent / "servers.toml").write_text(entries)
    async with agent(environment_for(home, NOBODY)) as user:
        status = await user.call("check_status")
        assert not status["online"]
        assert all("Connection refused" in row["reason"] for row in status["servers"])
        assert "of 45" in status["cut"]["servers"]
        assert "cannot be validated by any" in await user.fail(
            "validate_workflow", workflow=image_prompt(), server="all"
        )
