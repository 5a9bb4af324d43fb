"""How many of something, in words."""

from __future__ import annotations

import pytest

from comfyui_api.quantities import count, first_shown


@pytest.mark.parametrize(("number", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1234, "1,234 runs")])
def test_one_is_no_several(number: int, words: str) -> None:
    assert count(number, "run") == words


def test_words_have_their_own_form_for_several() -> None:
    assert count(1, "node class", "node classes") == "1 node class"
    assert count(2, "node class", "node classes") == "2 node classes"


def test_a_single_one_is_shown() -> None:
    assert [first_shown(number) for number in (1, 20)] == ["the first is shown", "the first 20 are shown"]
