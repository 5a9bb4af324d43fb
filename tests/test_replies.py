"""Replies of a real server (tests/data/captures) as they are parsed, and replies of none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.exchange import MALFORMED
from comfyui_api.findings import findings_of
from comfyui_api.follow import failure_of, outputs_of, why_no_outputs
from comfyui_api.replies import history_entry, kind_of, queue_state, rejection, system_stats
from comfyui_api.runs import HistoryEntry
from tests.support import DATA


def capture(name: str) -> Any:
    return json.loads((DATA / "captures" / f"{name}.json").read_text(encoding="utf-8"))


def entry(name: str) -> HistoryEntry:
    data = capture(name)
    return history_entry("id", next(iter(data["body"].values())) if "body" in data else data)


@pytest.mark.parametrize(
    ("name", "state", "kinds"),
    [
        ("out_png_meta", "completed", ["image"]),
        ("out_video", "completed", ["video"]),
        ("out_gifs", "completed", ["video"]),
        ("out_latent", "completed", ["latent"]),
        ("out_load3d_missing", "completed", ["3d"]),
        ("out_text", "completed", ["text", "text"]),
        ("out_blocked_silent", "completed", []),
        ("out_error_partial_outputs", "failed", ["image"]),
        ("history_interrupted", "interrupted", []),
    ],
)
def test_history_tells_state_and_kinds_of_output(name: str, state: str, kinds: list[str]) -> None:
    seen = entry(name)
    assert (seen.state, [output.kind for output in outputs_of(seen)]) == (state, kinds)


def test_success_without_outputs_has_its_reason() -> None:
    assert why_no_outputs(entry("out_blocked_silent")) == "blocked"
    assert why_no_outputs(entry("history_cache_second_no_client")) == "cached"


def test_failure_names_the_node_and_cuts_the_tensors() -> None:
    failure = failure_of(entry("out_error_partial_outputs"))
    assert failure is not None
    assert (failure.node_id, failure.class_type, failure.exception_type) == ("3", "ADError", "ValueError")
    assert failure.message == "boom ünï"
    assert len(failure.remedy) < 1000


def test_queue_is_in_the_order_in_which_it_will_run() -> None:
    raw = capture("queue_running_pending")["body"]
    raw["queue_pending"] = [[number, f"p{number}", {}, {}, []] for number in (7, 3, -1, 5)]
    queue = queue_state(raw)
    assert [item.prompt_id for item in queue.pending] == ["p-1", "p3", "p5", "p7"]
    assert queue.position("p5") == 2
    assert queue.position(queue.running[0].prompt_id) is None


def test_system_stats() -> None:
    stats = system_stats(capture("get_system_stats")["body"])
    assert (stats.comfyui_version, stats.python_version, stats.devices[0].type) == ("0.3.75", "3.11.7", "cpu")


@pytest.mark.parametrize(
    ("name", "code", "node", "input_name"),
    [
        ("prompt_not_in_list", "value_not_in_list", "1", "ckpt_name"),
        ("prompt_link_missing_node", "exception_during_validation", "2", None),
        ("prompt_unknown_class", "invalid_prompt", None, None),
        ("prompt_cycle", "prompt_outputs_failed_validation", None, None),
    ],
)
def test_every_rejection_becomes_findings(name: str, code: str, node: str | None, input_name: str | None) -> None:
    finding = findings_of(rejection(capture(name)["body"]))[0]
    assert (finding.code, finding.node_id, finding.input) == (code, node, input_name)
    assert finding.message


def test_server_words_are_bounded() -> None:
    extra = {"input_name": "x", "received_value": "v" * 50_000}
    errors = [{"type": "odd", "message": "m" * 50_000, "details": "d" * 50_000, "extra_info": extra}]
    (fault,) = rejection({"error": {}, "node_errors": {"1": {"errors": errors, "class_type": "X"}}})
    assert len(repr(fault)) < 5_000


@pytest.mark.parametrize(
    ("name", "kind"), [("a.PNG", "image"), ("a.b.mp4", "video"), ("a", "file"), ("a.glb", "3d"), ("x.latent", "latent")]
)
def test_kind_goes_by_the_ending(name: str, kind: str) -> None:
    assert kind_of(name) == kind


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "outputs": ANYTHING | st.dictionaries(st.text(max_size=3), st.dictionaries(st.text(max_size=6), ANYTHING)),
            "status": ANYTHING | st.fixed_dictionaries({"status_str": st.text(), "messages": ANYTHING}),
            "prompt": ANYTHING,
        },
    )
    | ANYTHING
)
def test_any_history_is_parsed_or_refused_as_the_client_expects(raw: Any) -> None:
    try:
        parsed = history_entry("id", raw)
    except MALFORMED:
        return
    outputs_of(parsed)


@given(
    ANYTHING | st.fixed_dictionaries({"error": ANYTHING, "node_errors": st.dictionaries(st.text(max_size=2), ANYTHING)})
)
def test_any_rejection_is_parsed_or_refused_as_the_client_expects(raw: Any) -> None:
    try:
        findings_of(rejection(raw))
    except MALFORMED:
        return


@given(
    st.fixed_dictionaries(
        {"queue_running": st.lists(ANYTHING, max_size=2), "queue_pending": st.lists(st.lists(ANYTHING, max_size=5))}
    )
)
def test_any_queue_is_parsed_or_refused_as_the_client_expects(raw: Any) -> None:
    try:
        queue_state(raw)
    except MALFORMED:
        return
