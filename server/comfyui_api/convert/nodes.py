"""From saved nodes to live ones: slots and widgets of the class, with the file's links and values in them.

Source of the rules: the web frontend 1.58.1, LGraphNode.configure, ComfyNode.configure, migrateWidgetsValues,
normalizeConfiguredTopology and realignInputLinkSlots. Links belong to inputs by name; a saved slot number counts only
where no saved input names the link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comfyui_api.convert import packs
from comfyui_api.convert.layout import (
    CONTROLS,
    CUSTOM_COMBO,
    Layouts,
    add_option,
    choose,
    first_option,
    grow_to,
    is_left_out,
    lay_out,
    set_rows,
)
from comfyui_api.convert.live import Graph, Input, Link, Node, Subgraph, Widget
from comfyui_api.convert.notes import Notes, shown
from comfyui_api.convert.saved import SavedGraph, SavedNode
from comfyui_api.dynamic_inputs import DYNAMIC_GROUP
from comfyui_api.node_class import InputSpec, NodeClass

REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
VIRTUAL_TYPES = frozenset({REROUTE, PRIMITIVE, "Note", "MarkdownNote"})


def make_node(graph: Graph, saved: SavedNode, layouts: Layouts, notes: Notes, virtual: frozenset[str]) -> Node:
    """A node that is no subgraph instance, with its values. `virtual` are the types that only the editor knows."""
    layouts.size.grow(len(saved.inputs) + len(saved.values))
    node = Node(graph, saved.id, saved.type, saved.title, saved.mode)
    node.properties, node.raw = saved.properties, saved.raw
    node.saved_outputs = saved.outputs
    node_class = layouts.node_class(saved.type)
    if node_class is not None:
        node.title = node.title or node_class.display_name
        lay_out(node, node_class, layouts)
        if not packs.restore(node, saved):
            restore(node, node_class, saved, layouts, notes)
        return node
    node.inputs = [Input(slot.name, slot.type, slot.widget) for slot in saved.inputs]
    node.outputs = list(node.saved_outputs)
    node.virtual = saved.type in VIRTUAL_TYPES or saved.type in virtual
    node.title = node.title or saved.type
    if node.virtual:
        for place, value in enumerate(saved.values):
            node.widgets.append(Widget(f"value{place or ''}", "other", value))
            node.widgets[-1].homes = ((saved.values, place),)
            node.widgets[-1].restored = True
    elif packs.restore(node, saved):
        notes.add("unknown_class", f"No class {saved.type} is known here.", node.id)
    elif not node.skipped:
        _restore_unknown(node, saved, notes)
    return node


def attach(node: Node, saved: SavedNode, graph: SavedGraph, by_target: dict[str, dict[int, int]]) -> list[int]:
    """Link a node's inputs as saved; the ids of the links that lead nowhere are returned.

    `by_target` gives the link ids for a node id, by the slot numbers of the file.
    """
    inputs = _by_name(node)
    names = [slot.name for slot in node.inputs]
    named = set(names)
    dangling = []
    known = node.node_class is not None or node.subgraph is not None
    for place, slot in enumerate(saved.inputs):
        found = inputs.get(slot.name) if known else _at(node.inputs, place)
        if found is None and known and node.subgraph is None:
            count = len(node.inputs)
            if grow_to(node, slot.name):
                if len(node.inputs) > count:
                    inputs = _by_name(node)
            elif slot.widget is not None or is_left_out(node, slot.name):
                continue  # a widget that the class does not have (any more): nothing takes its link
            if slot.name not in inputs:  # nor in a group, or not of a name that the group can have
                node.inputs.append(Input(slot.name, slot.type))
                inputs[slot.name] = node.inputs[-1]
            found = inputs[slot.name]
        if slot.name not in named:
            named.add(slot.name)
            names.append(slot.name)
        if slot.link is None or found is None:
            continue
        link = graph.links.get(slot.link)
        if link is None or link.target_id != node.id:
            dangling.append(slot.link)
        elif found.link is None:
            found.link = Link.of(link)
    _attach_by_number(node, saved, graph, by_target, names)
    return dangling


def _attach_by_number(
    node: Node, saved: SavedNode, graph: SavedGraph, by_target: dict[str, dict[int, int]], names: list[str]
) -> None:
    """Links that no saved input claims go by the slot number in the file's table."""
    inputs = _by_name(node)
    claimed = {slot.link for slot in saved.inputs}
    for place, link_id in by_target.get(node.id, {}).items():
        if link_id in claimed or not 0 <= place < len(names):
            continue
        unclaimed = (_at(node.inputs, place) if node.node_class is None else None) or inputs.get(names[place])
        if unclaimed is not None and unclaimed.link is None:
            unclaimed.link = Link.of(graph.links[link_id])


def _by_name(node: Node) -> dict[str, Input]:
    """A node's inputs, the first of each name."""
    return {slot.name: slot for slot in reversed(node.inputs)}


def _at(inputs: list[Input], place: int) -> Input | None:
    return inputs[place] if place < len(inputs) else None


# -- values


def restore(node: Node, node_class: NodeClass, saved: SavedNode, layouts: Layouts, notes: Notes) -> None:
    """Put the file's values into the widgets, in order; by name where the file has only names."""
    for slot in saved.inputs if node.autogrow is not None else ():
        if slot.link is not None:
            grow_to(node, slot.name)
    if not saved.values:
        _put_named(node, saved.named_values or {})
    else:
        places = _migrated(node, layouts.specs(node_class), saved.values)
        used = _put_in_order(node, saved, places)
        if misfits := _misfits(node):
            _restore_otherwise(node, node_class, saved, layouts, misfits, notes)
        elif left := [saved.values[place] for place in places[used:] if not _says_nothing(saved.values[place])]:
            listed = ", ".join(shown(value) for value in left[:3])
            notes.add(
                "surplus_values",
                f"The file has {len(places)} values for this {node.type}, which takes {used}: left out {listed}.",
                node.id,
            )
    missing = [widget.name for widget in node.widgets if _lacks_value(widget)]
    if missing:
        notes.add(
            "default_filled",
            f"The file has no value for {', '.join(missing)} of this {node.type}: the class's defaults were taken.",
            node.id,
        )


def _says_nothing(value: Any) -> bool:
    """Whether a value may be left out without a word: empty, or what upload buttons leave."""
    return value in (None, "", "image")


def _lacks_value(widget: Widget) -> bool:
    return widget.in_prompt and widget.in_file and not widget.restored and widget.kind not in ("editor", "option")


def _put(node: Node, widget: Widget, value: Any) -> None:
    if widget.kind == "dynamic_combo":
        choose(node, widget, value)
    elif widget.kind == "rows":
        set_rows(node, widget, value)
    else:
        widget.put(value)
        if widget.kind == "option" and value and widget is node.widgets[-1]:
            add_option(node)
    widget.restored = True


def _put_in_order(node: Node, saved: SavedNode, places: Sequence[int], *, controls: bool = True) -> int:
    """Give each widget that takes a place in the file the next of these places' values; how many were used.

    Dynamic combos add widgets on the way.
    """
    number = used = 0
    while number < len(node.widgets) and used < len(places):
        widget = node.widgets[number]
        number += 1
        if widget.in_file and (controls or widget.kind != "control"):
            _put(node, widget, saved.values[places[used]])
            widget.homes = ((saved.values, places[used]),)
            if saved.named_values is not None and widget.name in saved.named_values:
                widget.homes += ((saved.named_values, widget.name),)
            used += 1
    return used


def _put_named(node: Node, named: dict[str, Any]) -> None:
    place = 0
    while place < len(node.widgets):
        widget = node.widgets[place]
        place += 1
        if widget.in_file and widget.name in named:
            _put(node, widget, named[widget.name])
            widget.homes = ((named, widget.name),)


def _migrated(node: Node, specs: list[InputSpec], values: list[Any]) -> Sequence[int]:
    """The places of the values without those of inputs that were widgets once, and of players that took a place once
    (migrateWidgetsValues)."""
    fits = len(values) == sum(widget.in_file for widget in node.widgets)
    if fits and not any(spec.config.get("forceInput") for spec in specs):
        return range(len(values))
    if any(spec.type == DYNAMIC_GROUP for spec in specs):
        return range(len(values))
    unsaved = {widget.name for widget in node.widgets if not widget.in_file}
    names = {widget.name for widget in node.widgets} - unsaved
    drop = []
    for spec in specs:
        forced = bool(spec.config.get("forceInput"))
        if spec.name in names or (forced and spec.name not in unsaved):
            drop.append(forced)
            if spec.config.get("control_after_generate"):
                drop.append(False)
    if fits and True not in drop:
        return range(len(values))
    kept = [place for place in range(len(values)) if place >= len(node.widgets) or node.widgets[place].in_file]
    fitting = kept if len(kept) == len(drop) else range(len(values))
    if len(fitting) != len(drop):
        return range(len(values))
    return [place for place, dropped in zip(fitting, drop, strict=True) if not dropped]


def _misfits(node: Node) -> list[str]:
    """The widgets whose value is of another kind than the class declares."""
    return [widget.name for widget in node.widgets if widget.restored and not _fits(node, widget)]


def _fits(node: Node, widget: Widget) -> bool:
    value = widget.value
    if value is None or isinstance(value, dict | list):
        return True  # left as it is: the server says what it thinks of it
    if widget.kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if widget.kind == "toggle":
        return isinstance(value, bool)
    if widget.kind == "combo":
        options = widget.spec.options if widget.spec is not None else None
        if not options or node.layouts is None:
            return True
        choices = node.layouts.choices(options)
        # A name that is not among the options may be a model that is not installed here.
        return choices.texts if isinstance(value, str) else value in choices.values
    if widget.kind == "control" and widget.name == "control_after_generate":
        return isinstance(value, bool) or value in CONTROLS
    return True


def _restore_otherwise(
    node: Node, node_class: NodeClass, saved: SavedNode, layouts: Layouts, misfits: list[str], notes: Notes
) -> None:
    """Where the values in order do not fit, look for the one reading that fits them all; else leave them in order.

    Files of scripts and of old editors leave out the entry of control_after_generate, which shifts all that follow.
    """
    every = range(len(saved.values))
    readings: list[tuple[str, Callable[[], bool]]] = [
        ("by the names that the file has for them", lambda: bool(saved.named_values) and _read_named(node, saved)),
        (
            "with the entries of control_after_generate left out",
            lambda: _put_in_order(node, saved, every, controls=False) == len(every),
        ),
    ]
    for how, read in readings:
        _reset(node, node_class, layouts)
        if read() and not _misfits(node):
            notes.add("shifted_values", f"The values of this {node.type} fit only {how}: read so.", node.id)
            return
    _reset(node, node_class, layouts)
    _put_in_order(node, saved, _migrated(node, layouts.specs(node_class), saved.values))
    notes.add(
        "shifted_values",
        f"The values of this {node.type} do not fit its inputs ({', '.join(misfits[:5])}): they were left in the "
        "file's order. The class may have changed since the file was saved; compare them.",
        node.id,
        misfits[0],
    )


def _read_named(node: Node, saved: SavedNode) -> bool:
    _put_named(node, saved.named_values or {})
    return True


def _reset(node: Node, node_class: NodeClass, layouts: Layouts) -> None:
    node.inputs, node.widgets, node.autogrow, node.match_outputs = [], [], None, None
    lay_out(node, node_class, layouts)


def _restore_unknown(node: Node, saved: SavedNode, notes: Notes) -> None:
    """The values of a class that is not known, under the names that the file has for them."""
    values, how = saved.named_values, "by the names in the file"
    if values is None and saved.values:
        names = [slot.widget for slot in saved.inputs if slot.widget is not None]
        plain = [value for value in saved.values if value not in CONTROLS]
        if len(names) == len(saved.values):
            values = dict(zip(names, saved.values, strict=True))
        elif len(names) == len(plain):
            values = dict(zip(names, plain, strict=True))
        how = "as the file lists its inputs"
    elif values is None:
        values, how = {}, ""
    if values is None:
        listed = ", ".join(shown(value) for value in saved.values[:5])
        message = f"No class {saved.type} is known here, so that its values could not be named: {listed}."
    else:
        node.widgets = [Widget(name, "other", value) for name, value in values.items() if value not in CONTROLS]
        taken = f"its values were taken over {how}" if how else "the file has no values for it"
        message = f"No class {saved.type} is known here; {taken}."
    notes.add("unknown_class", message, node.id)


# -- what the editor puts right after loading


def mend(node: Node, layouts: Layouts, notes: Notes) -> None:
    """The replacements that the editor makes in a loaded graph (app.ts), and separators of the other system."""
    for widget in [*node.widgets, *(slot.promoted for slot in node.inputs if slot.promoted is not None)]:
        if widget.kind == "combo":
            _mend_combo(node, widget, layouts, notes)
        elif widget.kind == "dynamic_combo" and widget.value is None and widget in node.widgets:
            choose(node, widget, first_option(node, widget))
            if widget.restored:
                _note_first(node, widget, notes)
        if node.type in ("KSampler", "KSamplerAdvanced") and widget.name == "sampler_name":
            value = widget.value
            if isinstance(value, str) and value.startswith("sample_"):
                widget.value = value[len("sample_") :]
                notes.add("replaced_value", f"{shown(value)} is an old name of {widget.value!r}.", node.id, widget.name)


def _note_first(node: Node, widget: Widget, notes: Notes) -> None:
    message = f"The file has no choice here: ComfyUI takes the first, {shown(widget.value)}."
    notes.add("replaced_value", message, node.id, widget.name)


def _mend_combo(node: Node, widget: Widget, layouts: Layouts, notes: Notes) -> None:
    options = widget.spec.options if widget.spec is not None else None
    if node.type == CUSTOM_COMBO:
        options = tuple(option.value for option in node.widgets if option.kind == "option" and option.value)
    if not options:
        return
    value = widget.value
    if value is None:
        widget.value = options[0]
        if widget.in_prompt and widget.restored:
            _note_first(node, widget, notes)
    elif isinstance(value, str) and ("\\" in value or "/" in value):
        known = layouts.choices(options).values
        for other in (value.replace("\\", "/"), value.replace("/", "\\")) if value not in known else ():
            if other in known:
                widget.value = other
                notes.add("replaced_value", f"{value!r} is called {other!r} here.", node.id, widget.name)


def link_targets(graph: SavedGraph) -> dict[str, dict[int, int]]:
    """The link id for each input that a file's link table names, the first where several claim it."""
    found: dict[str, dict[int, int]] = {}
    for link in graph.links.values():
        found.setdefault(link.target_id, {}).setdefault(link.target_slot, link.id)
    return found


def drop_foreign_links(graph: Graph, ports: int, notes: Notes) -> None:
    """Links whose origin is no node of the graph lead nowhere."""
    inside = isinstance(graph, Subgraph)
    for node in graph.nodes.values():
        for slot in node.inputs:
            link = slot.link
            if link is None or link.origin_id in graph.nodes:
                continue
            if inside and link.origin_id == "-10" and 0 <= link.origin_slot < ports:
                continue
            slot.link = None
            notes.add(
                "dangling_link", f"Its link comes from node {link.origin_id}, which is not there.", node.id, slot.name
            )
