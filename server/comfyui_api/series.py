"""Several runs followed at once: one summary, states counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

import anyio

from comfyui_api.comfy_server import Look
from comfyui_api.errors import InvalidArgument
from comfyui_api.follow import (
    LONGEST_WAIT,
    LOOK_SECONDS,
    POLL_SECONDS,
    Report,
    failure_of,
    in_time,
    outputs_of,
    with_what_we_know,
)
from comfyui_api.quantities import count
from comfyui_api.results import RunStatus, RunSummary
from comfyui_api.runs import ATTENTION, FINAL_STATES
from comfyui_api.workspace import Connection, Workspace

MOST_RUNS = 100


async def poll_results(
    workspace: Workspace, prompt_ids: Sequence[str], server: str | None, *, wait_seconds: float, report: Report | None
) -> RunStatus:
    """Wait until all of these runs have ended, at most `wait_seconds`, and sum up where they stand.

    Raises InvalidArgument for none, too many, and runs of different servers.
    """
    ids = list(dict.fromkeys(prompt_ids))
    if not 0 < len(ids) <= MOST_RUNS:
        raise InvalidArgument(f"{len(ids)} runs were named.", f"Name 1 to {MOST_RUNS} at a time.")
    connection = workspace.connect(server, prompt_id=ids[0])
    if other := next((each for each in ids if workspace.connect(server, prompt_id=each) is not connection), None):
        raise InvalidArgument(
            f"The runs {ids[0]} and {other} are on different servers.",
            "Ask for each server's runs in a call of its own.",
        )
    deadline = time.monotonic() + min(wait_seconds, LONGEST_WAIT)
    ended: dict[str, Look] = {}
    with connection.events.watch(*ids) as watch:
        while True:
            began = time.monotonic()
            open_ids = [each for each in ids if each not in ended]
            patience = max(LOOK_SECONDS, deadline - began)
            asked = await in_time(connection, patience, partial(connection.client.looks, open_ids))
            looks = dict.fromkeys(open_ids, asked) if isinstance(asked, Look) else asked
            looks = {each: with_what_we_know(workspace, connection, each, seen) for each, seen in looks.items()}
            ended |= {each: seen for each, seen in looks.items() if seen.state in FINAL_STATES}
            now = time.monotonic()
            left = deadline - now
            if report is not None:
                await report(100 * len(ended) / len(ids), 100.0, f"{len(ended)} of {count(len(ids), 'run')} ended")
            if len(ended) == len(ids) or left <= 0:
                return _summed_up(connection, ids, ended | looks)
            # A queue that takes long to tell is asked the less often; what comes meanwhile is seen at the next look.
            calm = min(now - began, POLL_SECONDS, left)
            await anyio.sleep(calm)
            until = time.monotonic() + min(POLL_SECONDS, max(0.0, left - calm))
            while (rest := until - time.monotonic()) > 0:
                if not await watch.changed(rest) or watch.may_have_ended():
                    break


def _summed_up(connection: Connection, ids: Sequence[str], looks: dict[str, Look]) -> RunStatus:
    counted = Counter(seen.state for seen in looks.values())
    state = next(state for state in ATTENTION if counted[state])
    words = ", ".join(f"{count} {name}" for name in ATTENTION if (count := counted[name]))
    left = sum(count for name, count in counted.items() if name not in FINAL_STATES)
    then = "Call poll_result again." if left else "get_output saves what was made."
    return RunStatus(
        state=state,
        server=connection.url,
        states={str(name): count for name, count in counted.items()},
        runs=[_summary(each, looks[each]) for each in ids],
        message=f"{words}. {then}",
    )


def _summary(prompt_id: str, seen: Look) -> RunSummary:
    failure = failure_of(seen.entry) if seen.entry is not None else None
    error = failure.message if failure is not None else seen.trouble.message if seen.trouble is not None else None
    return RunSummary(
        prompt_id=prompt_id,
        state=seen.state,
        queue_position=seen.position,
        outputs=len(outputs_of(seen.entry)) if seen.entry is not None else None,
        error=error if error is None else error[:200],
    )
