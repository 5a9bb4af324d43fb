"""A workflow as a drawing: the tree has every node, and the real Mermaid draws what is written for it."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.drawing import flowchart, tree
from comfyui_api.drawing.tree import DEEPEST
from comfyui_api.findings import Finding
from comfyui_api.node_class import NodeClasses
from comfyui_api.portrait import sketch
from tests.mermaid import drawn
from tests.oracle import OracleUnavailable
from tests.support import Prompt, image_prompt

CLASSES = NodeClasses.from_object_info(
    {
        "EmptyImage": {"input": {}, "output": ["IMAGE"], "output_name": ["IMAGE"], "display_name": "Empty Image"},
        "Two": {"input": {}, "output": ["MODEL", "CLIP"], "output_name": ["MODEL", "CLIP"]},
        "SaveImage": {"input": {}, "output": [], "output_node": True, "display_name": "Save Image"},
    }
)
HOSTILE = [
    'a "quoted" [x] {y} (z)',
    "end",
    '<img src=x onerror="window.hacked=1">',
    "#quot; #35; &amp;",
    '%%{init: {"theme":"dark"}}%%',
    "$$x^2$$",
    "`**bold**`",
    "**bold** _it_ *x*",
    "1. first",
    "- item",
    "12) x",
    'style x:"y";',
    "classDef a:#fff;",
    "graph TD; A-->B",
    'click n0 "javascript:alert(1)"',
    "fa:fa-car",
    "😀 漢字 עברית",
    "subgraph",
    "|x| A --> B",
    "ﬂ°lt¶ß ﬂ°°60¶ß",
    "back\\slash",
    "@{ shape: x }",
    ":::error",
    'n0["',
    "https://example.org/x",
    "# heading",
    "> quote",
    "[x](javascript:alert(1))",
    "---",
    "<br/>",
]


def chain(length: int) -> Prompt:
    """A prompt in which each node takes from the one before; the last one is the output."""
    prompt: Prompt = {"0": {"class_type": "EmptyImage", "inputs": {}}}
    for number in range(1, length):
        prompt[str(number)] = {"class_type": "SaveImage", "inputs": {"images": [str(number - 1), 0]}}
    return prompt


def outline(prompt: Prompt, outputs: list[str]) -> list[str]:
    return [f"{'  ' * branch.depth}{branch.node_id} {branch.kind}" for branch in tree(prompt, outputs)]


def test_below_each_output_stands_what_it_is_made_from() -> None:
    prompt = image_prompt()
    prompt["3"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "more": ["77", 0]}}
    assert outline(prompt, ["2", "3"]) == ["2 first", "  1 first", "3 first", "  1 again", "  77 lost"]
    # Without node classes, nobody knows the outputs: what nothing takes from.
    assert outline(image_prompt(), []) == ["2 first", "  1 first"]


def test_what_no_output_needs_comes_last_as_idle() -> None:
    prompt = image_prompt()
    prompt["8"] = {"class_type": "EmptyImage", "inputs": {}}
    prompt["9"] = {"class_type": "Two", "inputs": {"a": ["9", 0]}}
    assert [(branch.node_id, branch.idle) for branch in tree(prompt, ["2"])] == [
        ("2", False),
        ("1", False),
        ("8", True),
        ("9", True),
        ("9", True),
    ]


def test_a_tree_deeper_than_a_terminal_goes_on_below() -> None:
    branches = tree(chain(40), ["39"])
    assert max(branch.depth for branch in branches) == DEEPEST + 1
    assert [branch.node_id for branch in branches if branch.kind == "below"] == ["26", "13"]
    assert [branch.node_id for branch in branches if branch.depth == 0] == ["39", "26", "13"]


ids = st.sampled_from(["1", "2", "3", "4:5", "end", 'q"'])
values: st.SearchStrategy[Any] = st.one_of(
    st.tuples(ids, st.integers(-1, 3)).map(list), st.lists(st.integers(), max_size=3), st.none(), st.text(max_size=5)
)
nodes: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"class_type": st.sampled_from(["EmptyImage", "Two", "SaveImage", "Gone", None, 3])},
        optional={
            "inputs": st.one_of(st.none(), st.dictionaries(st.text(max_size=3), values, max_size=4)),
            "_meta": st.one_of(st.none(), st.fixed_dictionaries({"title": st.one_of(st.none(), st.text())})),
        },
    ),
    st.none(),
    st.text(max_size=3),
)


@given(st.dictionaries(ids, nodes, max_size=6), st.lists(ids, max_size=3))
def test_every_node_of_any_prompt_is_drawn_once(prompt: Prompt, outputs: list[str]) -> None:
    assert sorted(branch.node_id for branch in tree(prompt, outputs) if branch.kind == "first") == sorted(prompt)
    text = flowchart(prompt, CLASSES, outputs, [Finding("error", "code", "", next(iter(prompt), None))]).text
    assert sum(line.startswith("  n") and '["' in line and "-->" not in line for line in text.splitlines()) == len(
        prompt
    )


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=3)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.sampled_from(["nodes", "links", "id", "inputs", "link", "name", "type"]), inner),
        ),
    ),
    st.lists(st.dictionaries(st.sampled_from(["id", "type", "title", "inputs"]), st.integers()), max_size=3),
)
def test_any_graph_can_be_sketched(links: Any, given_nodes: list[Any]) -> None:
    assert isinstance(sketch({"nodes": links, "links": links}), dict)
    tree(sketch({"nodes": given_nodes, "links": links}), [])


def test_a_sketch_has_the_links_of_the_editor() -> None:
    ui = {
        "nodes": [
            {"id": 1, "type": "EmptyImage"},
            {"id": 2, "type": "SaveImage", "title": "Keep", "inputs": [{"name": "images", "link": 7}]},
            {"id": 3, "type": "Note"},
        ],
        "links": [[7, 1, 0, 2, 0, "IMAGE"]],
    }
    assert sketch(ui) == {
        "1": {"class_type": "EmptyImage", "inputs": {}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "Keep"}},
    }


def test_findings_are_marked_and_types_stand_on_links_where_there_are_several() -> None:
    prompt: Prompt = {
        "1": {"class_type": "Two", "inputs": {}},
        "2": {"class_type": "SaveImage", "inputs": {"a": ["1", 0], "b": ["1", 1], "c": ["1", 1]}},
        "3": {"class_type": "EmptyImage", "inputs": {}},
    }
    findings = [
        Finding("error", "value_not_in_list", "…", "1", "Two", "name"),
        Finding("warning", "unused", "…", "2"),
        Finding("error", "prompt_no_outputs", "…"),
    ]
    assert flowchart(prompt, CLASSES, ["2"], findings).text.splitlines() == [
        "flowchart LR",
        '  n0["Two (1)<br/>✗ name value not in list"]',
        '  n1["Save Image (2)<br/>⚠ unused"]',
        '  n2["Empty Image (3)"]',
        '  n0 -->|"MODEL, CLIP"| n1',
        "  classDef error fill:#ffd7d5,stroke:#cf222e,stroke-width:2px,color:#1f2328",
        "  class n0 error",
        "  classDef warning fill:#fff3c4,stroke:#9a6700,stroke-width:2px,color:#1f2328",
        "  class n1 warning",
        "  classDef output stroke-width:3px",
        "  class n1 output",
        "  classDef idle stroke-dasharray:4 3",
        "  class n2 idle",
    ]


def test_of_a_large_workflow_subgraphs_are_drawn_as_one_and_the_nearest_nodes() -> None:
    prompt = chain(300)
    for number in range(200):
        prompt[f"300:{number}"] = {"class_type": "EmptyImage", "inputs": {"a": [f"300:{number - 1}", 0]}}
    prompt["299"]["inputs"]["more"] = ["300:199", 0]
    made = flowchart(prompt, CLASSES, ["299"], [Finding("error", "code", "…", "5")])
    assert (made.folded, made.left_out) == (200, 301 - 150)
    assert "Subgraph 300#58; 200 nodes" in made.text
    assert '["Save Image (299)"]' in made.text
    assert '["Save Image (5)<br/>✗ code"]' in made.text
    assert '["Save Image (150)"]' not in made.text
    assert len(made.text) < 50_000
    assert flowchart(prompt, CLASSES, ["299"]).text == flowchart(prompt, CLASSES, ["299"]).text


def test_the_real_mermaid_draws_hostile_labels_as_they_are() -> None:
    prompt = {
        str(number): {
            "class_type": "Two",
            "inputs": {"a": [str(number - 1), 0]} if number else {},
            "_meta": {"title": title},
        }
        for number, title in enumerate(HOSTILE)
    }
    wide = {f"{number}": {"class_type": "Two", "inputs": {"a": ["0", 0], "b": ["1", 1]}} for number in range(2, 400)}
    wide |= {"0": {"class_type": "Two", "inputs": {}}, "1": {"class_type": "Two", "inputs": {}}}
    lost: Prompt = {'"]': {"class_type": "SaveImage", "inputs": {"x": ['no"]', 0]}}}
    finding = Finding("error", "value_not_in_list", "…", "0", "Two", '<b>"]')
    texts = [
        flowchart(prompt, CLASSES, ["3"], [finding]).text,
        flowchart(wide, CLASSES, ["0"]).text,
        flowchart(lost, CLASSES, ['"]']).text,
        flowchart({}, CLASSES, []).text,
        flowchart(wide, CLASSES, ["0"], most=1000).text,
    ]
    try:
        hostile, many, missing, nothing, every = drawn(texts)
    except OracleUnavailable as exc:
        if os.environ.get("COMFYUI_API_ORACLE_REQUIRED") == "1":
            pytest.fail(str(exc))
        pytest.skip(str(exc))
    labels = [f"{title} ({number})" for number, title in enumerate(HOSTILE)]
    labels[0] += '✗ <b>"] value not in list'
    assert hostile["labels"] == [label.replace("ﬂ°", "fl°").replace("¶ß", "¶ ß") for label in labels]
    assert (hostile["links"], hostile["foreign"]) == (len(HOSTILE) - 1, 0)
    assert set(hostile["link_labels"]) == {"MODEL"}
    assert "error" not in many, many
    assert len(many["labels"]) == 151
    assert sorted(missing["labels"]) == ['Save Image ("])', 'missing (no"])']
    assert nothing["labels"] == []
    assert "error" not in every, every
