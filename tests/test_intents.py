"""What plain requests want done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.intents import TASKS, Intent, intent_of
from comfyui_api.templates import Template, find

TRADE = {"flux", "wan", "anime", "runway"}


def intent(request: str) -> Intent | None:
    return intent_of(request, lambda word: word in TRADE)


@pytest.mark.parametrize(
    ("request_", "task"),
    [
        ("draw a cat", "text to image"),
        ("please draw me a cat", "text to image"),
        ("a castle on a cliff, fantasy art", "text to image"),
        ("movie of a rocket launch", "text to video"),
        ("make my cat in this picture walk", "image to video"),
        ("make a video of my dog from this photo", "image to video"),
        ("make the sky of this picture pink", "image edit"),
        ("make the dog in this photo bigger", "image edit"),
        ("make this photo bigger", "image upscale"),
        ("make an old video sharper", "video upscale"),
        ("remove the background of my video", "remove video background"),
        ("change the background of my photo to a beach", "image edit"),
        ("replace a part of a picture", "image edit"),
        ("combine these two pictures into one", "image edit"),
        ("turn this sketch into a photo", "image edit"),
        ("a picture that follows the edges of this drawing", "edges"),
        ("depth map of this photo", "depth map"),
        ("make a 3d model of this toy car", "image to 3d"),
        ("a 3d model of a wooden chair", "text to 3d"),
        ("background music for a video", "text to music"),
        ("a picture of a woman who plays a song", "text to image"),
        ("let this person say hello", "talking"),
        ("make a video from this audio and this picture", "talking"),
        ("describe what is in this photo", "image to text"),
    ],
)
def test_what_is_to_be_done_is_read_from_plain_words(request_: str, task: str) -> None:
    found = intent(request_)
    assert found is not None
    assert found.tasks[0] == task


@pytest.mark.parametrize(
    "request_", ["", "  ", "fox", "flux", "longer video", "sdxl", "hunyuan video", "what now?", ",;,"]
)
def test_words_that_tell_nothing_of_a_task_are_left_to_the_search(request_: str) -> None:
    assert intent(request_) is None


def test_a_model_counts_where_it_is_named_and_not_where_it_is_shown() -> None:
    named = [
        intent(words) for words in ("a flux picture of a fox", "a picture of a fox with flux", "a fox on a runway")
    ]
    assert [found.around if found else None for found in named] == [("flux",), ("flux",), None]
    shown = intent("a picture of a fox on a runway")
    assert shown is not None
    assert shown.around == ()
    assert "fox" in shown.about


def test_what_makes_another_medium_does_not_fit_and_tricks_fit_less() -> None:
    wanted = intent("draw a cat")
    assert wanted is not None
    plain = wanted.fit("text to image", "flux", ["text"], ["image"])
    assert plain == 1.0
    assert wanted.fit("text to image", "flux lora", ["text"], ["image"]) < plain
    assert wanted.fit("text to image", "svd", ["text"], ["video"]) == 0
    assert wanted.fit("image edit", "kontext", ["image"], ["image"]) == 0


def test_all_that_also_does_a_task_is_a_task() -> None:
    for words in ("draw a cat", "erase the car in this photo", "put this dress on the woman in the photo"):
        found = intent(words)
        assert found is not None
        assert set(found.tasks) <= TASKS.keys()


@given(st.text(max_size=900))
def test_any_request_is_read(text: str) -> None:
    found = intent(text)
    assert found is None or found.tasks


SOME = """a the this my picture video song 3d mesh draw make turn into from of with in , remove background cat flux say
edges first last mask svg text to image for speech voice sketch bigger two 2.2 slow down"""
WORDS = st.sampled_from(SOME.split())


@given(st.lists(WORDS, max_size=14), st.text(max_size=20), st.lists(st.sampled_from(["image", "text", "video"])))
def test_any_sentence_finds_without_fault(words: list[str], title: str, media: list[str]) -> None:
    request = " ".join(words)
    found = intent(request)
    assert found is None or (found.tasks and set(found.tasks) <= TASKS.keys() and found.called)
    template = Template("t", title, tags=("Text to Image",), takes=tuple(media), makes=tuple(media))
    assert all(each.score >= 0 for each in find(request, [template]).found)
