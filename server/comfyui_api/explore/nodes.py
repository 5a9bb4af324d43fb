"""Node classes: found by words and by types, and one of them in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from comfyui_api.errors import FileProblem, InvalidArgument, ServerError, UnknownName
from comfyui_api.inventory import ClassStore, Inventory
from comfyui_api.knowledge import node_packs
from comfyui_api.known import Known, asked_again, class_names_known, what_is_known
from comfyui_api.node_card import Card, card_of
from comfyui_api.node_spec import Spec, spec_of
from comfyui_api.quantities import count, first_shown
from comfyui_api.repair.classes import PackKnowledge, fix_for, missing_class
from comfyui_api.repair.names import ALIKE, SLIP, closest, closest_classes, listed, printable
from comfyui_api.results import NodeInfo, NodeList, NodeSpec
from comfyui_api.search import Item, Ranking, rank
from comfyui_api.search.nodes import FITS_ANY, item, ordinary
from comfyui_api.search.nodes import accepts as fits_input
from comfyui_api.search.nodes import gives as fits_output
from comfyui_api.search.ranking import MOST_COMPARED
from comfyui_api.search.words import LONGEST_QUERY, asked, needles, squeezed
from comfyui_api.stocktake import refresh_inventory
from comfyui_api.workspace import Connection, Workspace

MOST = 50
MATCHING_SHOWN = 30  # options that fit a query
CATEGORIES_SHOWN = 30
ABOUT = 160  # letters of a description in a list
_ABOUT_IN_FULL, _LONG = 600, 5000
_LONGEST_VALUE = 200  # letters of an option that is shown
_LINKS = 300  # letters of a class's inputs or outputs in a list
_PATIENCE = 5.0  # seconds for the server to say how a class is now, where an inventory tells how it was
_PACKS_SHOWN, _CLASSES_COMPARED = 3, 20
_SURE = 0.95  # share of a query that a class of some pack must have to be named
_DOUBTFUL = 0.75  # share of a query below which what was found may not be what was meant
_SHOWN = 100  # letters of a name that was asked for

Result = TypeVar("Result")


async def find_nodes(
    workspace: Workspace,
    query: str = "",
    class_type: str | None = None,
    accepts: str | None = None,
    gives: str | None = None,
    limit: int = 10,
    server: str | None = None,
) -> NodeList:
    """The node classes that a query means, the ordinary ones first; or, with `class_type`, that one in full, where the
    query picks among the values of its inputs.

    Raises UnknownName for a class that is not there, with those like it and the packs that have it, and
    ComfyUnreachable where neither the server nor an inventory tells anything.
    """
    if limit < 1:
        raise InvalidArgument(f"limit is {limit}.", "Give a number of at least 1.")
    connection = workspace.connect(server)
    if class_type is not None and class_type.strip():
        # No class has a name that cannot be printed, and SQLite takes no text that is none.
        return await _described(workspace, connection, printable(class_type, LONGEST_QUERY), query)
    known, found = await _read(
        connection,
        await _known(workspace, connection),
        lambda store, inventory: _search(store, inventory, query, accepts, gives, min(limit, MOST)),
    )
    notes = [*(found.notes or ()), *_trouble(known)]
    return found.model_copy(update={"notes": notes or None, "message": f"{found.message}{_age(known)}"})


async def node_spec(workspace: Workspace, class_type: str, server: str | None = None) -> NodeSpec:
    """One class in full. Raises as find_nodes."""
    result = await find_nodes(workspace, class_type=class_type, server=server)
    assert result.node is not None
    return result.node


def class_names(workspace: Workspace, typed: str = "", limit: int = 100, server: str | None = None) -> list[str]:
    """Class names that begin like this, then those that have it in them; by what is known already, without asking.

    Raises FileProblem where the inventory is damaged.
    """
    wanted = typed.casefold()
    names = [name for name in class_names_known(workspace, server) if wanted in name.casefold()]
    return sorted(names, key=lambda name: (not name.casefold().startswith(wanted), name.casefold()))[:limit]


# --- what is known


async def _known(workspace: Workspace, connection: Connection) -> Known:
    known = await what_is_known(workspace, connection)
    if known.inventory is None or known.inventory.classes is None:
        raise known.lacking(
            "There are no node classes to search",
            "Start ComfyUI and call check_status; without it, a saved /object_info does: "
            "comfyui-api inventory refresh --object-info FILE.",
        )
    return known


async def _read(
    connection: Connection, known: Known, work: Callable[[ClassStore, Inventory], Result]
) -> tuple[Known, Result]:
    """Do some work over the kept classes, in a thread of its own. Where their file turns out to be damaged, the
    server's answer takes its place; raises FileProblem where it gives none."""

    def done(inventory: Inventory | None) -> Result:
        assert inventory is not None
        assert inventory.classes is not None
        return work(inventory.classes, inventory)

    try:
        return known, await anyio.to_thread.run_sync(done, known.inventory)
    except FileProblem as damage:
        try:
            inventory = (await refresh_inventory(connection)).inventory
        except ServerError:
            raise damage from None
    known = Known(inventory.node_classes(), inventory, fresh=True)
    return known, await anyio.to_thread.run_sync(done, inventory)


def _trouble(known: Known) -> list[str]:
    if known.online and known.trouble:
        return [f"This was not kept for working offline: {known.trouble}"]
    return [] if known.online else [f"This is by the inventory alone: {known.trouble}"]


def _age(known: Known) -> str:
    """How old the knowledge is, as the end of a message; nothing where it is new."""
    inventory = known.inventory
    if known.fresh or inventory is None:
        return ""
    asked_at = inventory.classes_updated or inventory.last_updated
    minutes = int(max(0.0, (datetime.now(UTC) - asked_at).total_seconds()) // 60)
    if minutes < 1:
        return ""
    ago = (
        f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
    )
    return f" By an inventory of {ago} ago."


# --- searching


def _search(
    store: ClassStore, inventory: Inventory, query: str, accepts: str | None, gives: str | None, limit: int
) -> NodeList:
    words = asked(query)
    has_types = bool((accepts or "").strip() or (gives or "").strip())
    if not words and not has_types:
        return _overview(store.cards(), store.count())
    having = needles(words)
    fitting, ranking = _ranked(store, store.cards(having, ordinary(having)), query, accepts, gives)
    if ranking.missing:  # a word that no class has as it is written: looked for in the words of all of them
        fitting, ranking = _ranked(store, store.cards(), query, accepts, gives, as_written=False)
    shown = [fitting[found.key] for found in ranking.found[:limit]]
    notes = [f"'{word}' was read as '{meant}'." for word, meant in ranking.read_as.items()]
    if ranking.missing:
        notes.append(f"No class{' with these types' if has_types else ''} has {listed(ranking.missing)}.")
    notes += _wrong_types(store, accepts, gives, shown)
    if words and not has_types and (not shown or ranking.found[0].share < _DOUBTFUL):
        notes += _packs_with(query, words, store, inventory)
    if not shown:
        return NodeList(nodes=[], notes=notes or None, message=f"None of the {store.count():,} node classes fits.")
    total = len(ranking.found)
    least = "Over " if words and total >= MOST_COMPARED else ""
    fit = "fits" if total == 1 else "fit"
    said = f"{least}{total} of {count(store.count(), 'node class', 'node classes')} {fit}"
    said += f"; {first_shown(len(shown))}" if total > len(shown) else ""
    return NodeList(
        nodes=[_info(card, inventory) for card in shown],
        notes=notes or None,
        message=f"{said}. find_nodes(class_type=…) shows one in full.",
    )


def _ranked(
    store: ClassStore,
    cards: list[Card],
    query: str,
    accepts: str | None,
    gives: str | None,
    *,
    as_written: bool = True,
) -> tuple[dict[str, Card], Ranking]:
    """Those of the cards that have these types, by name, and their ranking."""
    fits = {card.class_type: _fit(card, accepts, gives) for card in cards}
    fitting = {card.class_type: card for card in cards if fits[card.class_type] > 0}
    items = (item(card, fits[card.class_type]) for card in fitting.values())
    return fitting, rank(query, items, as_written=as_written, among=store.count())


def _fit(card: Card, accepts: str | None, gives: str | None) -> float:
    taken = fits_input(card, accepts) if accepts else 1.0
    return taken * fits_output(card, gives) if gives and taken else taken


def _overview(cards: list[Card], total: int) -> NodeList:
    """What there is, by the first word of the category: the answer to a call that asks for nothing."""
    categories = Counter(card.category.partition("/")[0] or "none" for card in cards)
    said = ", ".join(f"{name} {number}" for name, number in categories.most_common(CATEGORIES_SHOWN))
    return NodeList(
        nodes=[],
        message=f"{count(total, 'node class', 'node classes')}, by category: {said}. "
        "Ask by query, accepts, gives or class_type.",
    )


def _wrong_types(store: ClassStore, accepts: str | None, gives: str | None, shown: list[Card]) -> list[str]:
    """Of the types that were asked for, those that no class knows, with what they may be called."""
    notes = []
    for what, wanted, kinds_of, fit in (
        ("accepts", accepts, Card.accepted, fits_input),
        ("gives", gives, Card.given, fits_output),
    ):
        if not wanted or any(fit(card, wanted) > FITS_ANY for card in shown):
            continue
        known = {part.strip() for card in store.cards() for kind in kinds_of(card) for part in kind.split(",")}
        folded = {kind.casefold() for kind in known}
        for kind in (part.strip() for part in wanted[:LONGEST_QUERY].split(",")):
            if kind and kind.casefold() not in folded:
                near = closest(kind, sorted(known), 3)
                also = f" Types like it: {listed(near)}." if near else ""
                notes.append(f"No class {what} '{_short(kind, _SHOWN)}' by name.{also}")
    return notes


def _packs_with(query: str, words: list[str], store: ClassStore, inventory: Inventory) -> list[str]:
    """Node packs with classes of this name, or with all of these words in their names, that are not installed."""
    packs = node_packs()
    name = query.strip()
    if packs.that_have(name):
        names = [name]
    else:
        found = rank(
            query, (Item(each, (each,)) for each in packs.class_names()), _CLASSES_COMPARED, as_written=True
        ).found
        names = [each.key for each in found if each.share >= _SURE]
    known = PackKnowledge(packs, inventory.custom_nodes, comfyui_version=inventory.comfyui_version)
    missing = [
        (class_type, pack)
        for class_type in names
        if not store.has(class_type) and (pack := missing_class(class_type, None, known)) is not None
    ]
    # A pack of the registry before one that only has a link.
    missing.sort(key=lambda pair: not (pair[1].command or "").startswith("comfy "))
    said: dict[str, str] = {}
    for class_type, pack in missing:
        state = pack.state.replace("_", " ")
        command = f", `{pack.command}`" if pack.command else ""
        said.setdefault(pack.title, f"{class_type} of {pack.title} ({state}{command})")
    shown = list(said.values())[:_PACKS_SHOWN]
    return [f"Classes of node packs that are called so: {'; '.join(shown)}."] if shown else []


def _info(card: Card, inventory: Inventory) -> NodeInfo:
    return NodeInfo(
        class_type=card.class_type,
        name=card.display_name if card.display_name != card.class_type else None,
        category=card.category or None,
        inputs=_short(", ".join(card.links.splitlines()), _LINKS) or None,
        outputs=_short(", ".join(card.outputs.splitlines()), _LINKS) or None,
        about=_short(card.description, ABOUT) or None,
        pack=_pack(card, inventory),
        marks=_marks(card),
    )


def _marks(card: Card) -> list[str] | None:
    return [mark for mark in card.marks.splitlines() if mark != "output"] or None


def _pack(card: Card, inventory: Inventory) -> str | None:
    """The pack of a class with its version; None for ComfyUI's own."""
    if card.is_core:
        return None
    folder = card.python_module.removeprefix("custom_nodes.") or "custom_nodes"
    pack = inventory.custom_nodes.get(folder)
    return f"{folder} {pack.version}" if pack is not None and pack.version else folder


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip(' ,.')}…"


# --- one class


async def _described(workspace: Workspace, connection: Connection, wanted: str, query: str) -> NodeList:
    known = await _known(workspace, connection)
    known = await _asked_now(connection, known, {wanted})
    known, (name, raw) = await _read(connection, known, lambda store, _: _named(store, wanted))
    if raw is None:
        raise await anyio.to_thread.run_sync(_unknown, known, wanted)
    if name != wanted:
        known = await _asked_now(connection, known, {name})
    assert known.inventory is not None
    spec = await anyio.to_thread.run_sync(spec_of, name, raw)
    card = card_of(name, raw)
    description = raw.get("description")
    description = description[:_LONG] if isinstance(description, str) else ""
    notes = (
        [f"There is no class '{_short(wanted, _SHOWN)}': this is the one that is called so."] if name != wanted else []
    )
    matching = await anyio.to_thread.run_sync(_matching, spec, query) if query.strip() else None
    if query.strip() and not matching:
        notes.append(f"No value of its inputs fits '{_short(query.strip(), _SHOWN)}'.")
    notes += await _said_of(connection, known, card)
    node = NodeSpec(
        class_type=name,
        inputs=spec.inputs,
        outputs=spec.outputs,
        example=spec.example,
        matching=matching,
        name=card.display_name if card.display_name != name else None,
        category=card.category or None,
        about=_short(" ".join(description.split()), _ABOUT_IN_FULL) or None,
        pack=_pack(card, known.inventory),
        marks=[mark if mark != "output" else "output node" for mark in card.marks.splitlines()] or None,
    )
    message = "To copy: example, with the links set to [node id, slot]."
    return NodeList(node=node, notes=[*notes, *_trouble(known)] or None, message=f"{message}{_age(known)}")


async def _asked_now(connection: Connection, known: Known, names: set[str]) -> Known:
    """What is known after asking the server how these classes are now: their lists of files change all the time."""
    if known.fresh or not known.online:
        return known
    with anyio.move_on_after(_PATIENCE) as patience:
        try:
            return replace(await asked_again(connection, known, names), fresh=True)
        except ServerError as exc:
            return replace(known, online=False, trouble=str(exc))
    assert patience.cancelled_caught
    return replace(known, online=False, trouble=f"the server did not answer within {_PATIENCE:g} s.")


def _named(store: ClassStore, wanted: str) -> tuple[str, Any]:
    """The class of this name, else the only one that is called so but for the case, or on the screen."""
    if isinstance(raw := store.read(wanted), dict):
        return wanted, raw
    said = wanted.strip().casefold()
    if not said:
        return wanted, None
    for names in (
        [name for name in store.names() if name.casefold() == said],
        [card.class_type for card in store.cards([squeezed(said)]) if card.display_name.casefold() == said],
    ):
        if len(names) == 1 and isinstance(raw := store.read(names[0]), dict):
            return names[0], raw
    return wanted, None


def _unknown(known: Known, wanted: str) -> UnknownName:
    """That there is no such class, with those like it and what would bring it."""
    inventory = known.inventory
    assert inventory is not None
    assert inventory.classes is not None
    known_packs = PackKnowledge(node_packs(), inventory.custom_nodes, comfyui_version=inventory.comfyui_version)
    pack = missing_class(wanted, None, known_packs)
    # Where a pack is known to have it, only a slip of the pen suggests another class.
    near = closest_classes(wanted, inventory.classes.names(), 3, ALIKE if pack is None else SLIP)
    fix = fix_for(pack, near, None, known_packs)
    return UnknownName(f"There is no node class '{_short(wanted, _SHOWN)}' on this server.", fix)


def _matching(spec: Spec, query: str) -> dict[str, list[Any]] | None:
    """The values that fit a query, by input: of those inputs that have any."""
    found: dict[str, list[Any]] = {}
    for name, options in spec.options.items():
        texts = {str(option): option for option in options if isinstance(option, str | int | float)}
        items = (Item(text, (text,)) for text in texts if len(text) <= _LONGEST_VALUE)
        left = MATCHING_SHOWN - sum(map(len, found.values()))
        if left > 0 and (ranking := rank(query, items, left)).found:
            found[name] = [texts[each.key] for each in ranking.found]
    return found or None


async def _said_of(connection: Connection, known: Known, card: Card) -> list[str]:
    """What to know before using the class."""
    notes = []
    marks = card.marks.splitlines()
    if "partner" in marks:
        notes.append("A partner node: a run needs a Comfy account and spends its credits.")
    if "deprecated" in marks:
        successor = None
        if known.online:
            replacements = await connection.client.node_replacements()
            successor = next((each.new_class for each in replacements.get(card.class_type, ())), None)
        notes.append(f"Deprecated: use {successor} in its place." if successor else "Deprecated: look for another one.")
    return notes
