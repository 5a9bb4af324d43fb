"""Finding things by plain words: what is meant comes first, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.search import Item, Ranking, rank
from comfyui_api.search.words import needles, squeezed

NODES = [
    Item("LoadImage", ("LoadImage", "Load Image")),
    Item("LoadImageMask", ("LoadImageMask", "Load Image (as Mask)")),
    Item("SaveImage", ("SaveImage", "Save Image"), (("Saves the images to a folder.", 0.35),)),
    Item("ImageScale", ("ImageScale", "Upscale Image"), (("image/upscaling", 0.5),)),
    Item("ControlNetApply", ("ControlNetApply", "Apply Controlnet")),
    Item("LoraLoader", ("LoraLoader", "Load LoRA")),
    Item("KSampler", ("KSampler",)),
    Item("ColorMatch", ("ColorMatch", "Match Colors")),
    Item("Normalize", ("Normalize",), prior=0.5),
]


def found(query: str, items: list[Item] = NODES) -> list[str]:
    return [each.key for each in rank(query, items).found]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("load image", "LoadImage"),
        ("image load", "LoadImage"),
        ("loading images", "LoadImage"),
        ("LoadImage", "LoadImage"),
        ("load_image", "LoadImage"),
        ("how do I load an image?", "LoadImage"),
        ("image as mask", "LoadImageMask"),
        ("upscaling", "ImageScale"),
        ("upscaler", "ImageScale"),
        ("upsc", "ImageScale"),
        ("controlnet", "ControlNetApply"),
        ("control net", "ControlNetApply"),
        ("ControlNet", "ControlNetApply"),
        ("lora", "LoraLoader"),
        ("LORAs", "LoraLoader"),
        ("k sampler", "KSampler"),
        ("sampling", "KSampler"),
        ("colour", "ColorMatch"),
        ("normalise", "Normalize"),
        ("save picture", "SaveImage"),
        ("open a photo", "LoadImage"),
    ],
)
def test_what_is_meant_comes_first_however_it_is_written(query: str, first: str) -> None:
    assert found(query)[0] == first


def test_a_slip_of_the_pen_is_read_as_the_likeliest_word_and_said() -> None:
    ranking = rank("contrlnet", NODES)
    assert ranking.found[0].key == "ControlNetApply"
    assert ranking.read_as == {"contrlnet": "Controlnet"}
    assert rank("contrlnet", NODES, as_written=True).missing == ["contrlnet"]


def test_a_word_that_nothing_has_is_said_and_the_others_are_looked_for() -> None:
    ranking = rank("load xyzzyq image", NODES)
    assert ranking.found[0].key == "LoadImage"
    assert ranking.missing == ["xyzzyq"]


def test_what_has_all_the_words_comes_before_what_has_some_of_them() -> None:
    items = [Item("a", ("mask",), prior=1.2), Item("b", ("grow the mask of a thing",), prior=0.6)]
    assert found("grow mask", items) == ["b"]


def test_a_face_is_no_factor_though_both_begin_alike() -> None:
    assert found("face", [Item("a", ("scale factor",))]) == []


def test_without_words_all_come_the_likeliest_first() -> None:
    assert found("", [Item("a", ("a",), prior=0.5), Item("b", ("b",))]) == ["b", "a"]
    assert found("?!", [Item("a", ("a",))]) == ["a"]


def test_a_query_of_fillers_alone_is_taken_by_its_word() -> None:
    assert found("node", [Item("a", ("Node",)), Item("b", ("other",))]) == ["a"]


def test_other_scripts_are_found_as_they_are() -> None:
    assert found("图像", [Item("a", ("加载图像",)), Item("b", ("保存",))]) == ["a"]
    assert found("加载图像", [Item("a", ("加载图像",)), Item("b", ("保存",))]) == ["a"]
    assert found("größe", [Item("a", ("Größe ändern",))]) == ["a"]


def test_of_very_many_those_are_compared_that_seem_likeliest() -> None:
    items = [Item(f"Other{number}", (f"Thing {number}",), (("an image of it", 0.3),)) for number in range(3000)]
    assert found("load image", [*items, *NODES])[0] == "LoadImage"


texts = st.text(max_size=60) | st.sampled_from(["LoadImage", "a_b-c", "SD3.5", "\ud800", "x" * 500, "İı", "ﬁnd", "..."])
items = st.builds(
    Item,
    texts,
    st.lists(texts, max_size=4).map(tuple),
    st.lists(st.tuples(texts, st.floats(0, 1)), max_size=3).map(tuple),
    st.sampled_from([0.4, 1.0, 1.2]),
)


@given(texts | st.text(max_size=2000), st.lists(items, max_size=8), st.none() | st.integers(0, 3))
def test_any_query_over_anything_gives_a_ranking_of_it(query: str, given_items: list[Item], limit: int | None) -> None:
    ranking = rank(query, given_items, limit)
    assert isinstance(ranking, Ranking)
    assert {each.key for each in ranking.found} <= {item.key for item in given_items}
    scores = [each.score for each in ranking.found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= each.share <= 1.0001 for each in ranking.found)
    assert limit is None or len(ranking.found) <= limit


words = st.from_regex(r"[A-Za-z]{3,12}", fullmatch=True)


@given(words, st.lists(words, max_size=3))
def test_the_quick_look_passes_over_nothing_that_has_a_word_of_the_query(word: str, others: list[str]) -> None:
    assert any(needle in squeezed(" ".join([*others, word])) for needle in needles([word]))


@given(words)
def test_a_thing_is_found_by_its_own_name(word: str) -> None:
    assert [each.key for each in rank(word, [Item("it", (word,))]).found] == ["it"]
