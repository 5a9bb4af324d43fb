"""Conversion of whatever claims to be a workflow: it ends, within bounds, in a prompt or in WorkflowUnreadable."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfyui_api import Conversion, NodeClasses, convert_workflow
from comfyui_api.convert import size
from comfyui_api.convert.texts import resolve_choices
from comfyui_api.errors import WorkflowUnreadable
from tests.graphs import CLASSES, workflows
from tests.support import DATA

OBJECT_INFO = json.loads((DATA / "object_info_0.3.75_some.json").read_text(encoding="utf-8"))
NODE_CLASSES = NodeClasses.from_object_info(OBJECT_INFO)

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]


def outcome(workflow: Any, classes: NodeClasses = NODE_CLASSES) -> Conversion | None:
    """A conversion that keeps all that is promised; None where the workflow is refused."""
    before = json.dumps(workflow)
    try:
        conversion = convert_workflow(workflow, classes)
    except WorkflowUnreadable as refusal:
        assert refusal.message
        return None
    finally:
        assert json.dumps(workflow) == before, "the workflow was changed"
    json.dumps(conversion.prompt)
    for node_id, entry in conversion.prompt.items():
        assert isinstance(node_id, str)
        assert entry.keys() == {"class_type", "inputs", "_meta"}
        assert isinstance(entry["class_type"], str)
        assert all(isinstance(name, str) for name in entry["inputs"])
    assert len(conversion.notes) <= 1001
    assert all(len(note.message) <= 1000 for note in conversion.notes)
    return conversion


def converted_twice(workflow: Any, classes: NodeClasses = NODE_CLASSES) -> None:
    first, second = outcome(workflow, classes), outcome(workflow, classes)
    if first is None or second is None:
        assert first is second
    else:
        assert json.dumps(first.prompt) == json.dumps(second.prompt)
        assert first.notes == second.notes


def sent(conversion: Conversion | None) -> list[str]:
    """The classes of the nodes that are sent."""
    assert conversion is not None
    return [entry["class_type"] for entry in conversion.prompt.values()]


def codes(conversion: Conversion | None) -> set[str]:
    assert conversion is not None
    return {note.code for note in conversion.notes}


# -- arbitrary JSON, and mutations of real workflows and node classes

WORDS = [
    *("id", "type", "nodes", "links", "link", "name", "widget", "widgets_values", "widgets_values_named", "mode"),
    *("properties", "proxyWidgets", "proxyWidgetErrorQuarantine", "originalEntry", "hostValue", "definitions"),
    *("subgraphs", "inputs", "outputs", "linkIds", "origin_id", "origin_slot", "target_id", "target_slot", "title"),
    *("extra", "groupNodes", "external", "config", "Run widget replace on values", "last_node_id", "state"),
    *("required", "optional", "input", "output", "options", "key", "template", "prefix", "names", "min", "max", "step"),
    *("round", "default", "forceInput", "widgetType", "control_after_generate", "remote", "allowed_types"),
    *("template_id", "output_matchtypes", "multi_select", "multiline", "dynamicPrompts"),
]
TEXTS = [
    *("", "a", "*", "-1", "-10", "-20", "1", "2", "1:2", "INT", "IMAGE", "COMBO", "fixed", "randomize", "\ud800"),
    *("Reroute", "PrimitiveNode", "Note", "SetNode", "GetNode", "CustomCombo", "Anything Everywhere", "workflow>a"),
    *("%a.b%", "{a|{b", "/*", "\\", "1: 2: seed", "$$x", "image99999999", "COMFY_AUTOGROW_V3"),
    *("COMFY_DYNAMICCOMBO_V3", "COMFY_MATCHTYPE_V3", *CLASSES),
]
NUMBERS = [0, 1, 2, 3, -1, -10, -20, 4, 2**31, 2**53, 2**64, 10**400, -(10**4299), float("nan"), float("inf")]
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([*NUMBERS, 0.5, 1.0, float("-inf"), 5e-324, 1e308])
    | st.sampled_from(TEXTS)
    | st.text(st.characters(exclude_categories=()), max_size=5)
)
KEYS = st.sampled_from([*WORDS, *TEXTS])
JSON = st.recursive(
    SCALARS,
    lambda parts: st.lists(parts, max_size=6) | st.dictionaries(KEYS, parts, max_size=5),
    max_leaves=15,
)
SLOTS = st.fixed_dictionaries(
    {}, optional={"name": SCALARS, "type": SCALARS, "link": SCALARS, "widget": JSON, "linkIds": st.lists(SCALARS)}
)
NODES = st.fixed_dictionaries(
    {"id": SCALARS, "type": st.sampled_from(TEXTS) | SCALARS},
    optional={
        "mode": SCALARS,
        "inputs": st.lists(SLOTS | JSON, max_size=4) | JSON,
        "outputs": st.lists(SLOTS | JSON, max_size=3) | JSON,
        "widgets_values": st.lists(SCALARS, max_size=8) | JSON,
        "widgets_values_named": JSON,
        "properties": JSON,
        "title": JSON,
    },
)
LINKS = st.lists(SCALARS, min_size=5, max_size=6)
GRAPHS = {"nodes": st.lists(NODES | JSON, max_size=5), "links": st.lists(LINKS | JSON, max_size=5) | JSON}
DEFINITIONS = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "1", "*"]), **GRAPHS},
    optional={"inputs": st.lists(SLOTS | JSON, max_size=3), "outputs": st.lists(SLOTS | JSON, max_size=3)},
)
PARTS = st.fixed_dictionaries(
    GRAPHS,
    optional={
        "definitions": st.fixed_dictionaries({"subgraphs": st.lists(DEFINITIONS | JSON, max_size=3)}) | JSON,
        "extra": st.fixed_dictionaries({"groupNodes": st.dictionaries(st.just("a"), st.fixed_dictionaries(GRAPHS))}),
        "last_node_id": SCALARS,
    },
)


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: (the list or object, the position or key)."""
    found = []
    todo = [content]
    while todo:
        part = todo.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            found.append((part, key))
            if isinstance(part[key], dict | list):
                todo.append(part[key])
    return found


def mutate(draw: Callable[[st.SearchStrategy[Any]], Any], content: Any) -> None:
    """Replace, delete, double, copy or swap some parts of a JSON value, in place."""
    for _ in range(draw(st.integers(1, 6))):
        listed = places(content)
        if not listed:
            return
        container, key = draw(st.sampled_from(range(len(listed))).map(listed.__getitem__))
        other, other_key = draw(st.sampled_from(range(len(listed))).map(listed.__getitem__))
        match draw(st.sampled_from(["replace", "replace", "delete", "double", "copy", "swap"])):
            case "replace":
                container[key] = draw(JSON)
            case "delete":
                del container[key]
            case "double" if isinstance(container, list):
                container.insert(key, copy.deepcopy(container[key]))
            case "swap":
                container[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(container[key])
            case _:
                container[key] = copy.deepcopy(other[other_key])


@st.composite
def mutated_workflows(draw: Any) -> Any:
    workflow = draw(workflows(OBJECT_INFO, colliding=draw(st.booleans())))
    mutate(draw, workflow)
    return workflow


INPUT_SPECS = st.recursive(
    st.tuples(st.sampled_from(["INT", "FLOAT", "STRING", "IMAGE", "COLOR", "CURVE", "BOUNDING_BOX"]) | JSON, JSON),
    lambda inner: st.tuples(
        st.sampled_from(["COMFY_AUTOGROW_V3", "COMFY_DYNAMICCOMBO_V3", "COMFY_MATCHTYPE_V3", "COMBO", "INT"]),
        st.fixed_dictionaries(
            {},
            optional={
                "template": st.fixed_dictionaries(
                    {"input": st.fixed_dictionaries({"required": st.dictionaries(KEYS, inner, max_size=2)})},
                    optional={
                        "min": SCALARS,
                        "max": SCALARS,
                        "names": JSON,
                        "prefix": SCALARS,
                        "allowed_types": SCALARS,
                        "template_id": SCALARS,
                    },
                ),
                "options": st.lists(
                    st.fixed_dictionaries(
                        {"key": SCALARS, "inputs": st.fixed_dictionaries({"optional": st.dictionaries(KEYS, inner)})}
                    )
                    | SCALARS,
                    max_size=3,
                ),
                **dict.fromkeys(("min", "max", "step", "round", "default", "remote", "multi_select"), JSON),
            },
        ),
    ),
    max_leaves=4,
)


@st.composite
def mutated_classes(draw: Any) -> Any:
    object_info = copy.deepcopy(OBJECT_INFO)
    for class_type in draw(st.lists(st.sampled_from(CLASSES), min_size=3, max_size=8)):
        inputs = object_info[class_type]["input"].setdefault("required", {})
        for name in draw(st.lists(st.sampled_from([*inputs, "new"]), max_size=3)):
            inputs[name] = list(draw(INPUT_SPECS))
    mutate(draw, object_info)
    return json.loads(json.dumps(object_info))


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(JSON | st.dictionaries(KEYS, JSON))
def test_any_json_is_converted_or_refused(workflow: Any) -> None:
    converted_twice(workflow)


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(PARTS)
def test_any_json_as_a_part_of_a_workflow_is_converted(workflow: Any) -> None:
    assert outcome(workflow) is not None


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(mutated_workflows())
def test_workflows_with_random_faults_are_converted_or_refused(workflow: Any) -> None:
    converted_twice(workflow)


@settings(max_examples=70, deadline=None, suppress_health_check=SLOW)
@given(workflows(OBJECT_INFO), mutated_classes())
def test_node_classes_with_random_faults_are_coped_with(workflow: Any, object_info: Any) -> None:
    converted_twice(workflow, NodeClasses.from_object_info(object_info))


# -- workflows that run away


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit that is reached without building a workflow that takes seconds to read."""
    monkeypatch.setattr(size, "LIMIT", 50_000)
    return 50_000


def slot(name: str, kind: str = "*", link: Any = None, widget: str | None = None) -> Any:
    return {"name": name, "type": kind, "link": link, **({"widget": {"name": widget}} if widget else {})}


def node(node_id: Any, class_type: str, *inputs: Any, values: Any = None, **more: Any) -> Any:
    return {"id": node_id, "type": class_type, "inputs": list(inputs), "widgets_values": values, **more}


def link(link_id: int, origin: Any, target: Any, place: int = 0, origin_slot: int = 0) -> Any:
    return [link_id, origin, origin_slot, target, place, "*"]


def definition(name: str, nodes: Iterable[Any], links: Iterable[Any] = (), inputs: Any = (), outputs: Any = ()) -> Any:
    return {"id": name, "nodes": list(nodes), "links": list(links), "inputs": list(inputs), "outputs": list(outputs)}


def saved(nodes: Iterable[Any], links: Iterable[Any] = (), subgraphs: Iterable[Any] = (), **more: Any) -> Any:
    return {"nodes": list(nodes), "links": list(links), "definitions": {"subgraphs": list(subgraphs)}, **more}


def classes(**inputs: Any) -> NodeClasses:
    """One class "X" with these inputs."""
    return NodeClasses.from_object_info({"X": {"input": {"required": inputs}, "output": ["IMAGE"]}})


IMAGE = node(1, "EmptyImage", values=[64, 64, 1, 0], outputs=[{"name": "IMAGE", "type": "IMAGE"}])


def test_a_subgraph_that_contains_itself_is_left_out() -> None:
    conversion = outcome(saved([node(1, "a")], subgraphs=[definition("a", [node(2, "a"), node(3, "PreviewAny")])]))
    assert sent(conversion) == ["PreviewAny"]
    assert "cycle" in codes(conversion)


def test_subgraphs_in_a_circle_are_left_out_where_it_closes() -> None:
    inner = [definition("a", [node(20, "b")]), definition("b", [node(30, "c")])]
    closing = definition("c", [node(40, "a"), node(41, "PreviewAny")])
    conversion = outcome(saved([node(1, "a"), node(2, "b")], subgraphs=[*inner, closing]))
    assert sent(conversion) == ["PreviewAny", "PreviewAny"]
    assert "cycle" in codes(conversion)


def test_a_subgraph_that_shows_widgets_of_itself_is_left_out() -> None:
    shows = {"proxyWidgets": [["2", "seed"], ["3", "seed"]]}
    inner = [node(2, "a", properties=shows), node(3, "KSampler")]
    ports = [{"name": "seed", "type": "INT", "linkIds": [1]}, {"name": "b", "type": "INT", "linkIds": []}]
    conversion = outcome(saved([node(1, "a", properties=shows)], subgraphs=[definition("a", inner, [], ports)]))
    assert sent(conversion) == ["KSampler"]


@pytest.mark.parametrize("innermost", [[], [node(9999, "PreviewAny")]], ids=["empty", "one node"])
def test_two_to_the_thirtieth_instances_are_refused(innermost: list[Any]) -> None:
    doubling = [definition(f"s{k}", [node(k, f"s{k + 1}"), node(k + 100, f"s{k + 1}")]) for k in range(30)]
    assert outcome(saved([node(500, "s0")], subgraphs=[*doubling, definition("s30", innermost)])) is None


@pytest.mark.parametrize(("depth", "within"), [(1000, True), (10_000, False)])
def test_a_thousand_subgraphs_in_each_other_are_converted_and_ten_thousand_refused(depth: int, within: bool) -> None:
    """Each id of the prompt names all the instances around a node."""
    around = [definition(f"s{k}", [node(k, f"s{k + 1}")]) for k in range(depth)]
    innermost = definition(f"s{depth}", [node("z", "PreviewAny")])
    conversion = outcome(saved([node("a", "s0")], subgraphs=[*around, innermost]))
    assert (conversion is not None) == within
    assert not within or sent(conversion) == ["PreviewAny"]


def chain(length: int, class_type: str, mode: int, fan: int) -> Any:
    """An image through that many nodes to that many previews."""
    kind = "IMAGE" if mode else "*"
    between = [
        node(place, class_type, slot("image", kind, place), mode=mode, outputs=[{"name": "", "type": "IMAGE"}])
        for place in range(2, length + 2)
    ]
    ends = [
        node(place, "PreviewImage", slot("images", "IMAGE", place)) for place in range(length + 2, length + fan + 2)
    ]
    links = [link(place, min(place - 1, length + 1), place) for place in range(2, length + fan + 2)]
    return saved([IMAGE, *between, *ends], links)


@pytest.mark.parametrize(("class_type", "mode"), [("Reroute", 0), ("ImageInvert", 4)])
@pytest.mark.parametrize(("length", "fan"), [(10_000, 1), (1000, 10_000)])
def test_long_ways_are_followed_to_their_end(class_type: str, mode: int, length: int, fan: int) -> None:
    conversion = outcome(chain(length, class_type, mode, fan))
    assert conversion is not None
    ends = [entry["inputs"] for entry in conversion.prompt.values() if entry["class_type"] == "PreviewImage"]
    assert ends == [{"images": ["1", 0]}] * fan


def test_ten_thousand_inputs_behind_a_circle_of_reroutes_are_dropped() -> None:
    workflow = chain(1000, "Reroute", 0, 10_000)
    workflow["links"][0] = link(2, 1001, 2)
    conversion = outcome(workflow)
    assert sent(conversion) == ["EmptyImage", *["PreviewImage"] * 10_000]
    assert codes(conversion) == {"cycle"}


def test_setters_getters_and_primitives_in_circles_send_nothing() -> None:
    nodes = [
        node(1, "SetNode", slot("a", "*", 1), values=["x"]),
        node(2, "GetNode", values=["x"], outputs=[{"name": "*", "type": "*"}]),
        node(3, "PreviewAny", slot("source", "*", 2)),
        node(4, "PrimitiveNode", slot("a", "INT", 3, "a"), values=[1]),
        node(5, "PrimitiveNode", slot("a", "INT", 4, "a"), values=[2]),
    ]
    conversion = outcome(saved(nodes, [link(1, 2, 1), link(2, 2, 3), link(3, 5, 4), link(4, 4, 5)]))
    assert conversion is not None
    assert conversion.prompt["3"]["inputs"] == {}
    assert "cycle" in codes(conversion)


def many_shown(entries: list[Any], instances: int = 1, inner: int = 10_000) -> Any:
    images = [node(k, "EmptyImage", slot("width", "INT", None, "width"), values=[64, 64, 1, 0]) for k in range(inner)]
    shows = {"proxyWidgets": entries}
    values = list(range(len(entries)))
    hosts = [node(20_000 + k, "a", values=values, properties=shows) for k in range(instances)]
    return saved(hosts, subgraphs=[definition("a", images)])


def test_ten_thousand_shown_widgets_get_their_values() -> None:
    conversion = outcome(many_shown([[str(k), "width"] for k in range(10_000)]))
    assert conversion is not None
    assert [entry["inputs"]["width"] for entry in conversion.prompt.values()] == list(range(10_000))


def test_one_widget_shown_ten_thousand_times_has_the_last_value() -> None:
    conversion = outcome(many_shown([["0", "width"]] * 10_000, inner=1))
    assert conversion is not None
    assert conversion.prompt["20000:0"]["inputs"]["width"] == 9999


@pytest.mark.parametrize("name", ["1: " * 30_000 + "width", "1: " * 30_000 + "\n", "1" * 100_000, " " * 100_000 + "1"])
def test_long_prefixes_of_shown_widgets_are_read_in_one_go(name: str) -> None:
    conversion = outcome(many_shown([["0", name]], inner=1))
    assert conversion is not None
    assert conversion.prompt["20000:0"]["inputs"]["width"] == (0 if name.endswith("width") else 64)


def test_widgets_that_multiply_with_instances_are_refused(small_limit: int) -> None:
    many = small_limit // 200
    assert outcome(many_shown([[str(k), "width"] for k in range(many)], instances=many, inner=many)) is None


def test_five_thousand_shown_primitives_are_replaced() -> None:
    count = 5000
    primitives = [node(k, "PrimitiveNode", values=[k], outputs=[{"name": "", "type": "INT"}]) for k in range(count)]
    fed = [node(count + k, "EmptyImage", slot("width", "INT", k, "width")) for k in range(count)]
    inner = definition("a", primitives + fed, [link(k, k, count + k) for k in range(count)])
    shows = {"proxyWidgets": [[str(k), "value"] for k in range(count)]}
    conversion = outcome(saved([node("a", "a", properties=shows)], subgraphs=[inner]))
    assert conversion is not None
    assert [entry["inputs"]["width"] for entry in conversion.prompt.values()] == list(range(count))


def test_a_hundred_thousand_faults_end_in_a_thousand_remarks_and_a_count() -> None:
    conversion = outcome(saved([None, node(1, "Nobody", *(slot("a", "*", k) for k in range(100_000)))], [[]] * 10))
    assert conversion is not None
    assert len(conversion.notes) == 1001
    assert conversion.notes[-1].message == "… and 99,003 more remarks (dangling_link)."


def test_ten_thousand_nodes_of_one_id_get_ids_of_their_own() -> None:
    same = [node(1, "PreviewAny") for _ in range(10_000)]
    conversion = outcome(saved(same, subgraphs=[definition("a", same)], last_node_id=2**62))
    assert len(set(sent(conversion))) == 1
    assert len(sent(conversion)) == 10_000


@pytest.mark.parametrize("known", [True, False])
def test_twenty_thousand_inputs_of_one_node_are_linked(known: bool) -> None:
    count = 20_000
    many = node(2, "PreviewAny" if known else "Nobody", *(slot(f"x{k}", "*", k) for k in range(count)))
    conversion = outcome(saved([IMAGE, many], [link(k, 1, 2, k) for k in range(count)]))
    assert conversion is not None
    assert sum(value == ["1", 0] for value in conversion.prompt["2"]["inputs"].values()) == count


@pytest.mark.parametrize("inner", [{"type": "EmptyImage", "widgets_values": [64, 64, 1, 0]}, None])
def test_group_nodes_that_multiply_are_refused(inner: Any, small_limit: int) -> None:
    many = {"nodes": [inner] * 1000, "links": [], "external": []}
    nodes = [node(k, "workflow>g") for k in range(small_limit // 1000)]
    assert outcome(saved(nodes, extra={"groupNodes": {"g": many}})) is None


def test_a_group_of_ten_thousand_linked_nodes_is_unpacked() -> None:
    invert = {"type": "ImageInvert", "inputs": [{"name": "image", "type": "IMAGE"}]}
    links = [[k, 0, k + 1, 0, 0, "IMAGE"] for k in range(9999)]
    group = {"nodes": [invert] * 10_000, "links": links, "external": []}
    conversion = outcome(saved([node(1, "workflow>g")], extra={"groupNodes": {"g": group}}))
    assert sent(conversion) == ["ImageInvert"] * 10_000
    assert conversion is not None
    assert sum("image" in entry["inputs"] for entry in conversion.prompt.values()) == 9999


def test_texts_that_name_each_other_twice_stay_within_bounds() -> None:
    replaces = {"Run widget replace on values": True}
    nodes, links = [], []
    for k in range(50):
        text = f"%T{k - 1}.value%%T{k - 1}.value%" if k else "x" * 10
        made = [{"name": "STRING", "type": "STRING"}]
        nodes.append(node(k, "PrimitiveNode", values=[text], properties=replaces, outputs=made))
        nodes.append(node(100 + k, "PrimitiveString", slot("value", "STRING", k, "value"), title=f"T{k}"))
        links.append(link(k, k, 100 + k))
    conversion = outcome(saved(nodes, links))
    assert conversion is not None
    lengths = [len(entry["inputs"]["value"]) for entry in conversion.prompt.values()]
    assert lengths[:5] == [10, 20, 40, 80, 160]
    assert sum(lengths) < 20_000_000


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("{" * 100_000, "{" * (100_000 - 100)),
        ("}" * 100_000, "}" * 100_000),
        ("{}" * 50_000, ""),
        ("{a|" * 33_000, "a"),
        ("{a|b}" * 20_000, "a" * 20_000),
        ("{" * 99 + "x" * 100_000 + "}" * 99, "x" * 100_000),
        ("{" * 50_000 + "}" * 50_000, "{" * (50_000 - 100) + "}" * (50_000 - 100)),
        ("|" * 100_000, "|" * 100_000),
        ("\\{" * 50_000, "{" * 50_000),
        ("/* " * 33_000, "/* " * 33_000),
        ("/* " * 33_000 + "*/", ""),
        ("//" * 50_000, ""),
        ("/*/ */" * 17_000, ""),
        ("a//b\n" * 20_000, "a\n" * 20_000),
    ],
    ids=lambda text: f"{text[:6]!r}",
)
def test_texts_with_a_hundred_thousand_marks_are_read_once(text: str, resolved: str) -> None:
    made: list[int] = []

    def first(count: int) -> int:
        made.append(count)
        return 0

    assert resolve_choices(text, first) == resolved
    assert len(made) <= 50_000


# -- node classes that run away


def test_a_combo_of_a_hundred_thousand_options_is_searched_cheaply() -> None:
    """A tuple would be searched from its start, by each node; an option that counts shows that none is."""
    asked: list[int] = []

    class Option(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            asked.append(1)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    options = [Option(f"models\\{k}.safetensors") for k in range(100_000)]
    nodes = [node(k, "X", values=[f"models/{99_999 - k}.safetensors"]) for k in range(1000)]
    conversion = convert_workflow({"nodes": nodes}, classes(name=[options]))
    assert conversion.prompt["7"]["inputs"] == {"name": "models\\99992.safetensors"}
    assert len(asked) < 5000


def autogrow(inner: Any, **template: Any) -> Any:
    return ["COMFY_AUTOGROW_V3", {"template": {"prefix": "image", "input": {"required": {"one": inner}}, **template}}]


def dynamic(*options: Any) -> Any:
    listed = [{"key": f"k{k}", "inputs": {"required": {"one": option}}} for k, option in enumerate(options)]
    return ["COMFY_DYNAMICCOMBO_V3", {"options": listed}]


@pytest.mark.parametrize("number", ["7", "99999999", "9" * 5000, "0" * 5000, "٣"])
@pytest.mark.parametrize("most", [10, 10**9, -1, float("nan"), "x", None])
def test_numbers_in_autogrow_names_grow_no_more_than_the_group_may(number: str, most: Any) -> None:
    many = node(2, "X", slot(f"group.image{number}", "IMAGE", 1))
    conversion = outcome(saved([IMAGE, many], [link(1, 1, 2)]), classes(group=autogrow(["IMAGE", {}], max=most)))
    assert conversion is not None
    assert len(conversion.prompt["2"]["inputs"]) <= 1


@pytest.mark.parametrize("least", [0, 10**12, -(10**12), float("inf"), "x", [], True])
@pytest.mark.parametrize("names", [None, [], ["a", "a", None, {}, 1], {"a": 1}, ["x"] * 5000])
def test_autogrow_groups_of_any_size_are_laid_out(least: Any, names: Any) -> None:
    group = autogrow(["INT", {"default": 3}], min=least, max=10**12, names=names)
    conversion = outcome(saved([node(1, "X", values=[])]), classes(group=group))
    assert conversion is not None
    assert len(conversion.prompt["1"]["inputs"]) <= 1000


def test_autogrow_groups_in_autogrow_groups_are_refused_when_they_explode() -> None:
    spec: Any = ["IMAGE", {}]
    for _ in range(8):
        spec = autogrow(spec, min=9)
    assert outcome(saved([node(1, "X")]), classes(group=spec)) is None


def test_nodes_that_all_grow_to_their_limit_are_refused(small_limit: int) -> None:
    group = autogrow(["INT", {}], min=900, max=900)
    assert outcome(saved([node(k, "X") for k in range(small_limit // 900 + 1)]), classes(group=group)) is None


def test_dynamic_combos_in_dynamic_combos_are_chosen_to_the_last() -> None:
    spec: Any = ["INT", {}]
    for _ in range(12):
        spec = dynamic(["INT", {}], spec)
    conversion = outcome(saved([node(1, "X", values=["k1"] * 12 + [7])]), classes(a=spec))
    assert conversion is not None
    inputs = conversion.prompt["1"]["inputs"]
    assert inputs["a" + ".one" * 12] == 7
    assert len(inputs) == 13


def test_dynamic_combos_deeper_than_python_can_follow_are_refused() -> None:
    spec: Any = ["INT", {}]
    for _ in range(2000):
        spec = dynamic(spec)
    with pytest.raises(WorkflowUnreadable, match="nested too deeply"):
        convert_workflow({"nodes": [node(1, "X")]}, classes(a=spec))


def test_match_types_that_stand_for_themselves_are_refused() -> None:
    own = ["COMFY_MATCHTYPE_V3", {"template": {"allowed_types": "COMFY_MATCHTYPE_V3", "template_id": "t"}}]
    assert outcome(saved([node(1, "X")]), classes(a=own)) is None


ODD_NUMBERS = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    0,
    10**400,
    -(10**400),
    5e-324,
    1e308,
    "x",
    None,
    True,
    [],
]


@pytest.mark.parametrize("kind", ["INT", "FLOAT"])
@pytest.mark.parametrize(
    "value", [5, 2.5, 10**400, 10**4299, float("nan"), float("inf"), 1e308, -5], ids=lambda value: f"{value!r:.9}"
)
def test_primitives_put_any_number_into_inputs_of_any_range(kind: str, value: float) -> None:
    object_info: dict[str, Any] = {}
    for number in ODD_NUMBERS:
        for other in ODD_NUMBERS:
            config = {"min": number, "max": other, "step": number, "round": other, "default": other}
            object_info[f"X{len(object_info)}"] = {"input": {"required": {"a": [kind, config]}}, "output": []}
    taking = [node(1000 + k, f"X{k}", slot("a", kind, k, "a")) for k in range(len(object_info))]
    made = [{"name": kind, "type": kind}]
    alone = [node(k, "PrimitiveNode", values=[value], outputs=made) for k in range(len(taking))]
    for giving, shared in ((alone, False), (alone[:1], True)):
        links = [link(k, 0 if shared else k, 1000 + k) for k in range(len(taking))]
        conversion = outcome(saved([*giving, *taking], links), NodeClasses.from_object_info(object_info))
        assert len(sent(conversion)) == len(taking)


@pytest.mark.parametrize("depth", [50, 900])
def test_deeply_nested_values_are_sent_or_refused(depth: int) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    nodes = [node(k, class_type, values=[value] * 4) for k, class_type in enumerate(("CLIPTextEncode", "Nobody", "X"))]
    deep = classes(a=["COLORS", {"default": value}], b=["STRING", {"default": value, "multiline": True}])
    assert depth > 100 or outcome(saved(nodes)) is not None
    outcome(saved(nodes))
    outcome(saved([node(1, "X")]), deep)
