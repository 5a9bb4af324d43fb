"""Things ranked by a query of plain words: by how much of it they have, where, and how little else they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from math import log
from typing import NamedTuple

from comfyui_api.search.words import (
    FILLERS,
    Needles,
    Title,
    asked,
    chunks,
    forms,
    needles_of,
    other_words,
    said_in,
    squeezed,
    stem,
    title_of,
    typed,
)

EXACT, SYNONYM, BEGINNING, INSIDE, SLIP = 1.0, 0.7, 0.8, 0.5, 0.75  # how well a word fits the one that was asked for
_SHORTEST_BEGINNING, _SHORTEST_INSIDE, _SHORTEST_SLIP, _SHORTER = 3, 4, 4, 2
_SMALL = 0.3  # how much a letter, a number or a word that says nothing counts among the words of a title
_REORDERED = 0.97
_KEPT = 0.6  # share of what the best one has of the query, below which nothing is a hit
_ALIKE = 0.75
MOST_COMPARED = 1000  # items that are compared word by word


@dataclass(frozen=True, slots=True)
class Item:
    """A thing to be found.

    `titles` are the phrases that it goes by, in any spelling ("LoadImage", "Load Image"). `texts` is what else is said
    of it, each with how much a word counts there, from 0 to 1. `prior` is what its score is multiplied by: 1 for the
    ordinary, less for what should come later.
    """

    key: str
    titles: tuple[str, ...]
    texts: tuple[tuple[str, float], ...] = ()
    prior: float = 1.0


class Found(NamedTuple):
    """`share` is how much of the query it has, from 0 to 1; rare words count more."""

    key: str
    score: float
    share: float


@dataclass(frozen=True)
class Ranking:
    """What was found, the best first. `read_as`: words that nothing has, and the likeliest ones meant, which were taken
    in their place; `missing`: words that nothing has in any way."""

    found: list[Found]
    read_as: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class _Cut(NamedTuple):
    """An item in words."""

    item: Item
    titles: list[Title]
    texts: list[tuple[set[str], float]]


_Meant = Mapping[str, list[tuple[int, float]]]
"""For a word of an item: which words of the query it answers, and how well."""


def rank(
    query: str, items: Iterable[Item], limit: int | None = None, *, as_written: bool = False, among: int = 0
) -> Ranking:
    """The items that have the words of a query, the best first; where it has no words all of them, by their priors.
    `among` how many they are, where only those are given that may be found.

    Words in any order, in other forms, cut otherwise (ControlNet, control net), common synonyms; a word that no item
    has is read as the one most like it, unless the query is to be taken `as_written`.
    """
    words = asked(query)
    every = list(items)
    if not words:
        ordered = sorted(every, key=lambda item: -item.prior)
        return Ranking([Found(item.key, item.prior, 1.0) for item in ordered[:limit]])
    cut, meant = _answering(words, every)
    read_as: dict[str, str] = {}
    unanswered = _unanswered(words, meant)
    if unanswered and not as_written:
        read_as = _slips(unanswered, every)
        if read_as:
            cut, meant = _answering([read_as.get(word, word) for word in words], every)
    sure = [SLIP if word in read_as else 1.0 for word in words]
    shares = [(each, share) for each in cut if (share := _shares(each, meant, sure))]
    weights = _weights(shares, words, max(among, len(every)))
    whole = sum(weights)
    has = [
        (each, sum(weight * value for weight, value in zip(weights, share, strict=True)) / whole)
        for each, share in shares
    ]
    least = max((share for _, share in has), default=0.0) * _KEPT
    found = [
        Found(
            each.item.key,
            # What has half of the query is far less than half as likely to be meant.
            share**2
            * (share + max((_phrase(title, meant, weights, whole) for title in each.titles), default=0.0))
            / 2
            * each.item.prior,
            share,
        )
        for each, share in has
        if share >= least
    ]
    found.sort(key=lambda each: (-each.score, len(each.key), each.key))
    return Ranking(found[:limit], read_as, [word for word in unanswered if word not in read_as])


def _answering(words: list[str], items: list[Item]) -> tuple[list[_Cut], _Meant]:
    """The items that may have a word of the query, in words, and what of these means it. Of very many those that seem
    likeliest at a first look."""
    wanted = [needles_of(word) for word in words]
    looked_at = [(score, item) for item in items if (score := _first_look(item, wanted))]
    if len(looked_at) > MOST_COMPARED:
        looked_at.sort(key=lambda pair: -pair[0])
    cut = [_cut(item) for _, item in looked_at[:MOST_COMPARED]]
    return cut, _meant(words, {token for each in cut for token in _tokens(each)})


def _first_look(item: Item, wanted: list[Needles]) -> float:
    """Roughly how much of a query an item has: 0 where it has none of it for sure."""
    called = squeezed("\n".join(item.titles))
    said = squeezed("\n".join([text for text, _ in item.texts]))
    score = 0.0
    for word in wanted:
        if any(needle in called for needle in word.own):
            score += EXACT
        elif any(needle in called for needle in word.others):
            score += SYNONYM
        elif any(needle in said for needles in word for needle in needles):
            score += INSIDE
    return score * item.prior


def _cut(item: Item) -> _Cut:
    titles = [title_of(title) for title in dict.fromkeys(item.titles)]
    return _Cut(item, titles, [(said_in(text), weight) for text, weight in item.texts if text])


def _tokens(cut: _Cut) -> set[str]:
    found: set[str] = set()
    for title in cut.titles:
        found.update(title.found_by)
    for text, _ in cut.texts:
        found |= text
    return found


def _meant(words: list[str], vocabulary: set[str]) -> _Meant:
    """What in the vocabulary answers the words of a query, and how well."""
    meant: dict[str, dict[int, float]] = {}

    def means(token: str, index: int, fit: float) -> None:
        fits = meant.setdefault(token, {})
        fits[index] = max(fit, fits.get(index, 0.0))

    for index, (one, other) in enumerate(pairwise(words)):
        if (joined := stem(one + other)) in vocabulary:
            means(joined, index, EXACT)
            means(joined, index + 1, EXACT)
    for index, word in enumerate(words):
        for token, fit in _fitting(word, vocabulary).items():
            means(token, index, fit)
    return {token: list(fits.items()) for token, fits in meant.items()}


def _fitting(word: str, vocabulary: set[str]) -> dict[str, float]:
    """The words of the vocabulary that a word may mean, and how well each fits."""
    wanted, beginning = stem(word), typed(word)
    fitting: dict[str, float] = {}
    shorter = 0 if beginning.isascii() else _SHORTER  # scripts with a sign a syllable or a word
    if len(beginning) >= _SHORTEST_BEGINNING - shorter and not beginning.isdigit():
        for token in vocabulary:
            if token.startswith(beginning):
                fitting[token] = BEGINNING * (0.5 + 0.5 * len(beginning) / len(token))
            elif len(beginning) >= _SHORTEST_INSIDE - shorter and beginning in token:
                fitting[token] = INSIDE
    for other in other_words(word):
        if other in vocabulary:
            fitting[other] = max(SYNONYM, fitting.get(other, 0.0))
    if wanted in vocabulary:
        fitting[wanted] = EXACT
    return fitting


def _unanswered(words: list[str], meant: _Meant) -> list[str]:
    answered = {index for fits in meant.values() for index, _ in fits}
    return [word for index, word in enumerate(words) if index not in answered]


def _slips(words: list[str], items: list[Item]) -> dict[str, str]:
    """The words of titles that were meant where a letter slipped, as they are written there."""
    written: dict[str, str] = {}
    for chunk in sorted({chunk for item in items for title in item.titles for chunk in chunks(title)}):
        for one_form, word in forms(chunk):
            written.setdefault(one_form, word)
    return {word: written[near] for word in words if (near := _near(stem(word), written)) is not None}


def _near(wanted: str, vocabulary: Iterable[str]) -> str | None:
    if len(wanted) < _SHORTEST_SLIP:
        return None
    pairs = set(pairwise(wanted))
    # Measuring the likeness takes long: only of those that share many pairs of letters.
    likely = [
        token
        for token in vocabulary
        if abs(len(token) - len(wanted)) <= 2 and 3 * len(pairs.intersection(pairwise(token))) >= len(pairs)
    ]
    near = get_close_matches(wanted, sorted(likely), n=1, cutoff=_ALIKE)
    return near[0] if near else None


def _shares(cut: _Cut, meant: _Meant, sure: list[float]) -> list[float]:
    """How much of each word of the query the item has; empty where it has none."""
    shares = [0.0] * len(sure)
    has = False
    for title in cut.titles:
        for token in title.found_by:
            if token in meant:
                for index, fit in meant[token]:
                    shares[index] = max(shares[index], fit * sure[index])
                    has = True
    for text, weight in cut.texts:
        for token in text:
            if token in meant:
                for index, fit in meant[token]:
                    shares[index] = max(shares[index], fit * weight * sure[index])
                    has = True
    return shares if has else []


def _weights(shares: list[tuple[_Cut, list[float]]], words: list[str], count: int) -> list[float]:
    """How much each word of the query counts: the rarer, the more; a number or a letter little."""
    weights = []
    for index, word in enumerate(words):
        having = sum(share[index] > 0 for _, share in shares)
        small = _SMALL if len(word) == 1 else 1.0
        weights.append(small * (1.0 + log((count + 1) / (having + 1)) / 4))
    return weights


def _phrase(title: Title, meant: _Meant, weights: list[float], whole: float) -> float:
    """How well a title is the query: how much it has of it, and how little else, as the mean of both (F1); a little
    less where its words stand in another order, as text to speech is not speech to text."""
    hits = [(place, meant[token]) for token, place in title.found_by.items() if token in meant]
    if not hits:
        return 0.0
    fits = [0.0] * len(weights)
    places = [-1] * len(weights)
    hit = [0.0] * len(title.words)
    for (start, end), answers in hits:
        for index, fit in answers:
            if fit > fits[index]:
                fits[index], places[index] = fit, start
            for place in range(start, end):
                hit[place] = max(hit[place], fit)
    has = sum(weight * fit for weight, fit in zip(weights, fits, strict=True)) / whole
    sizes = [_SMALL if len(word) == 1 or word.isdigit() or word.casefold() in FILLERS else 1.0 for word in title.words]
    said = sum(size * fit for size, fit in zip(sizes, hit, strict=True)) / sum(sizes)
    found = [place for place in places if place >= 0]
    return 2 * has * said / (has + said) * (1.0 if found == sorted(found) else _REORDERED)
