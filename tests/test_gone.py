"""Why a run is gone, as far as the server's other runs tell it; and which run a cut id stands for."""

from __future__ import annotations

import pytest

from comfyui_api.gone import CLOCKS_APART, by_history, meant
from comfyui_api.jobs import Job
from comfyui_api.runs import HistoryEntry

QUEUED = 1_700_000_000.0


def entry(seconds: float, number: float | None) -> HistoryEntry:
    """A run that the server still knows, created so many seconds after ours."""
    return HistoryEntry("other", "completed", (), (), {}, number=number, created_ms=int((QUEUED + seconds) * 1000))


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ([], None),
        ([entry(-100, 3)], "deleted"),  # it has not forgotten what came before
        ([entry(-100, None)], "deleted"),
        ([entry(100, 0)], "restarted"),  # it counts from the beginning again
        ([entry(100, -2)], "restarted"),  # that one was put in front
        ([entry(100, 12)], None),  # its history was cleared, or it has run much since it restarted
        ([entry(100, None)], None),
        ([entry(CLOCKS_APART / 2, 0)], None),  # clocks differ by as much
        ([entry(-CLOCKS_APART / 2, 0)], None),
    ],
)
def test_runs_that_the_server_still_knows_tell_a_restart_from_a_deletion(
    known: list[HistoryEntry], reason: str | None
) -> None:
    assert by_history(Job("ours", "http://127.0.0.1", QUEUED, number=7), known) == reason


def test_without_its_number_nothing_tells_a_restart() -> None:
    assert by_history(Job("ours", "http://127.0.0.1", QUEUED), [entry(100, 0)]) is None


def test_cut_and_mistyped_ids_are_recognised_where_only_one_run_can_be_meant() -> None:
    ids = ["4a7b1c2d-0000-4000-8000-00000000000a", "4a7bffff-1111-4111-9111-11111111111b"]
    assert meant(ids[0][:6], ids) == ids[0]
    assert meant(ids[0][:-1] + "b", ids) == ids[0]
    assert meant("4a7", ids) is None
    assert meant("something else", ids) is None
    assert meant("x", []) is None
