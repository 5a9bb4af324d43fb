"""Ten plain requests become queued, valid runs, by nothing but the tools' answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from scripts.agent_trial import REQUESTS, Trial, placeholders, trial, write_files

from tests.sandboxes import sandboxed
from tests.support import agent, environment_for

pytestmark = [pytest.mark.anyio, pytest.mark.live]

MOST_CALLS = 8
MOST_CHARACTERS = 40_000


@pytest.fixture(scope="module")
def well_stocked() -> Iterator[str]:
    """A ComfyUI with a placeholder for every model that is known."""
    with sandboxed("stocked", models=placeholders()) as url:
        yield url


async def test_plain_requests_become_queued_runs(
    well_stocked: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(home)
    trials: list[Trial] = []
    async with agent(environment_for(home, well_stocked)) as user, httpx2.AsyncClient() as http:
        for request in REQUESTS:
            done, prompt_id = await trial(user.client, request, home)
            trials.append(done)
            if prompt_id is not None:
                # In this order: a run goes from the queue to the history.
                queue = (await http.get(f"{well_stocked}/queue")).text
                known = (await http.get(f"{well_stocked}/history/{prompt_id}")).json()
                assert prompt_id in queue or prompt_id in known
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(f"  {done}" for done in trials) + "\n")
    assert [done.request for done in trials if done.status != "queued"] == []
    assert max(done.calls for done in trials) <= MOST_CALLS
    assert max(done.characters for done in trials) <= MOST_CHARACTERS
