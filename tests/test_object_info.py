"""/object_info in pieces: whatever the pieces, the entries are those that json.loads gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api import object_info
from comfyui_api.object_info import Entry, ObjectInfoSplitter

CLASS = {"input": {"required": {"seed": ["INT", {"default": 0}]}}, "output": ["IMAGE"], "python_module": "nodes"}


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def split(content: bytes, size: int = 7) -> tuple[list[Entry], int]:
    splitter = ObjectInfoSplitter()
    entries = [entry for piece in pieces(content, size) for entry in splitter.feed(piece)]
    return entries + splitter.finish(), splitter.passed_over


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
descriptions = st.dictionaries(st.sampled_from(["input", "output", "python_module", "x"]), json_values)
layouts: Any = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 1]), "ensure_ascii": st.booleans(), "separators": st.just((" ,\t", " :\n"))}
)


@given(st.dictionaries(st.text(), descriptions | json_values, max_size=5), layouts, st.integers(1, 60))
def test_any_pieces_give_the_entries_of_the_whole(content: dict[str, Any], layout: Any, size: int) -> None:
    entries, passed_over = split(json.dumps(content, **layout).encode("utf-8", "surrogatepass"), size)
    sound = {
        name: value
        for name, value in content.items()
        if isinstance(value, dict) and value.keys() & {"input", "output"} and name.isprintable()
    }
    assert [entry.class_type for entry in entries] == list(sound)
    assert passed_over == len(content) - len(sound)
    for entry in entries:  # NaN is not equal to itself: as text it is
        assert json.dumps(json.loads(entry.description)) == json.dumps(sound[entry.class_type])


@given(st.binary(max_size=200) | st.text('{}[]",:\\ aN1').map(str.encode), st.integers(1, 20))
def test_anything_else_is_a_value_error_or_no_entries(content: bytes, size: int) -> None:
    try:
        entries, _ = split(content, size)
    except ValueError:
        return
    assert all(isinstance(json.loads(entry.description), dict) for entry in entries)


@given(st.integers(0, 400))
def test_a_reply_that_breaks_off_is_never_taken_for_whole(length: int) -> None:
    content = json.dumps({"One": CLASS, "Two": CLASS, "Three": CLASS}).encode()
    if length < len(content):
        with pytest.raises(ValueError, match=r"ends in the middle|is empty"):
            split(content[:length])


def test_nan_and_infinity_stay_as_they_are() -> None:
    text = '{"A": {"input": {}, "x": [NaN, Infinity, -Infinity]}}'
    (entry,), _ = split(text.encode())
    assert entry.description == '{"input": {}, "x": [NaN, Infinity, -Infinity]}'


def test_a_broken_entry_costs_only_itself() -> None:
    text = '{"A": {"input": {}}, "B": {"input": [nothing]}, "C": 5, "\\ud800": {"input": {}}, "D": {"input": {}}}'
    entries, passed_over = split(text.encode())
    assert [entry.class_type for entry in entries] == ["A", "D"]
    assert passed_over == 3


def test_bytes_that_are_no_utf_8_cost_only_themselves() -> None:
    (entry,), _ = split(b'\xef\xbb\xbf{"A": {"input": {}, "description": "caf\xe9"}}')
    assert json.loads(entry.description)["description"] == "caf\ufffd"


def test_an_entry_beyond_the_limit_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_info, "ENTRY_LIMIT", 1000)
    huge = {"input": {"required": {f"in{n}": [["x" * 30] * 20] for n in range(20)}}}
    content = json.dumps({"A": CLASS, "Huge": huge, "B": CLASS}).encode()
    for size in (1, 100, 100_000):
        splitter = ObjectInfoSplitter()
        entries, kept = [], 0
        for piece in pieces(content, size):
            entries += splitter.feed(piece)
            kept = max(kept, len(splitter._buffer))
        entries += splitter.finish()
        assert [entry.class_type for entry in entries] == ["A", "B"]
        assert splitter.passed_over == 1
        assert kept <= 2500 or size > 2500


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"[]",
        b"null",
        b"<html>",
        b'{"a": {}',
        b'{"a": {}}}',
        b'{"a": {}, }',
        b'{"a": , "b": {}}',
        b"{a: {}}",
        b"{" + b'"' + b"x" * 100_000,
        b'{"a": "' + b"x" * 100_000,
        b'{"a": ' + b"[" * 1000,
        b'{"a": {}} {"b": {}}',
    ],
)
def test_what_is_no_json_object_is_said(content: bytes) -> None:
    for size in (1, 50_000):
        with pytest.raises(ValueError, match=r"\w"):
            split(content, size)


def test_work_grows_with_the_length_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a text is cut into pieces, each byte is looked at a few times: counted, not timed."""
    looked_at = 0

    class Counting:
        def __init__(self, pattern: Any) -> None:
            self.pattern = pattern

        def match(self, buffer: bytearray, at: int) -> Any:
            nonlocal looked_at
            match = self.pattern.match(buffer, at)
            looked_at += 1 if match is None else match.end() - at + 1
            return match

    content = json.dumps({"A": {"input": {"required": {"file": [["x" * 200_000, *["y" * 40] * 5000], {}]}}}}).encode()
    monkeypatch.setattr(object_info, "_BALANCED", Counting(object_info._BALANCED))
    entries, _ = split(content, 100)
    assert len(entries) == 1
    assert looked_at < 4 * len(content)


@pytest.mark.parametrize("size", [7, 4096])
def test_a_class_that_is_nested_too_deeply_costs_that_one_only(size: int) -> None:
    deep = b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b', "output": []}'
    whole = b'{"A": {"input": {}}, "Deep": ' + deep + b', "B": {"output": []}}'
    entries, passed_over = split(whole, size)
    assert [entry.class_type for entry in entries] == ["A", "B"]
    assert passed_over == 1
