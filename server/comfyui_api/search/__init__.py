"""Finding things by plain words: names, titles and descriptions ranked by a query. No index and no list of languages:
the words are cut, folded and compared when they are asked for."""

from comfyui_api.search.ranking import Found, Item, Ranking, rank
from comfyui_api.search.words import stem

__all__ = ["Found", "Item", "Ranking", "rank", "stem"]
