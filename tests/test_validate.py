"""The verdict's rules over a few node classes; live/test_verdict.py lets the real server judge the same rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.findings import Finding, errors_in
from comfyui_api.graph import sources, upstream
from comfyui_api.node_class import NodeClasses
from comfyui_api.validate import dropped_outputs, stops_the_server, validate_prompt
from comfyui_api.validate.cycles import cycles


def described(inputs: dict[str, Any], outputs: list[str], **more: Any) -> dict[str, Any]:
    return {"input": {"required": inputs, **more.pop("groups", {})}, "output": outputs, **more}


OBJECT_INFO = {
    "Load": described({"name": [["a.safetensors", "sub/b.safetensors"], {}]}, ["MODEL", "VAE"]),
    "Number": described({"value": ["INT", {"default": 20, "min": 1, "max": 100}]}, ["INT"]),
    "Sample": described(
        {"model": ["MODEL"], "steps": ["INT", {"min": 1, "max": 100}], "cfg": ["FLOAT", {"min": 0.0}]},
        ["LATENT"],
        groups={"optional": {"mode": ["COMBO", {"options": ["x", "y"]}], "both": ["INT,FLOAT"], "any": ["*"]}},
    ),
    "Save": described({"latent": ["LATENT"]}, [], output_node=True),
    "LoadImage": described({"image": [["x.png"], {"image_upload": True}]}, ["IMAGE"]),
}
CLASSES = NodeClasses.from_object_info(OBJECT_INFO)


def sound() -> dict[str, Any]:
    return {
        "1": {"class_type": "Load", "inputs": {"name": "a.safetensors"}},
        "2": {"class_type": "Sample", "inputs": {"model": ["1", 0], "steps": 20, "cfg": 7.5}},
        "3": {"class_type": "Save", "inputs": {"latent": ["2", 0]}},
    }


def only(findings: list[Finding]) -> Finding:
    """The one error among them."""
    errors = errors_in(findings)
    assert len(errors) == 1, findings
    return errors[0]


def warnings(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings if finding.severity == "warning"]


def test_sound_prompt_has_no_findings() -> None:
    assert validate_prompt(sound(), CLASSES) == []


@pytest.mark.parametrize(
    ("node", "name", "value", "code"),
    [
        ("1", "name", "c.safetensors", "value_not_in_list"),
        ("2", "steps", 0, "value_smaller_than_min"),
        ("2", "steps", 101, "value_bigger_than_max"),
        ("2", "steps", "many", "invalid_input_type"),
        ("2", "steps", None, "invalid_input_type"),
        ("2", "steps", float("inf"), "invalid_input_type"),
        ("2", "cfg", -0.1, "value_smaller_than_min"),
        ("2", "model", ["1"], "bad_linked_input"),
        ("2", "model", ["9", 0], "exception_during_validation"),
        ("2", "model", [1, 0], "exception_during_validation"),
        ("2", "model", ["1", 2], "exception_during_validation"),
        ("2", "model", ["1", "0"], "exception_during_validation"),
        ("2", "model", ["1", 1], "return_type_mismatch"),
        ("2", "mode", "z", "value_not_in_list"),
        ("2", "both", ["1", 0], "return_type_mismatch"),
    ],
)
def test_each_fault_is_named_with_node_and_input(node: str, name: str, value: Any, code: str) -> None:
    prompt = sound()
    prompt[node]["inputs"][name] = value
    finding = only(validate_prompt(prompt, CLASSES))
    assert (finding.code, finding.node_id, finding.input) == (code, node, name)
    assert finding.severity == "error"
    assert finding.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", "64"), ("steps", 64.7), ("steps", True), ("cfg", "7"), ("mode", {"__value__": "x"}), ("any", ["1", 1])],
)
def test_values_are_coerced_as_the_server_does(name: str, value: Any) -> None:
    prompt = sound()
    prompt["2"]["inputs"][name] = value
    assert validate_prompt(prompt, CLASSES) == []


def test_union_input_takes_any_of_its_types() -> None:
    prompt = sound()
    prompt["4"] = {"class_type": "Number", "inputs": {"value": 3}}
    prompt["2"]["inputs"]["both"] = ["4", 0]
    assert validate_prompt(prompt, CLASSES) == []


def test_missing_required_input_says_what_to_link() -> None:
    prompt = sound()
    del prompt["2"]["inputs"]["model"]
    finding = only(validate_prompt(prompt, CLASSES))
    assert finding.code == "required_input_missing"
    assert finding.fix is not None
    assert '["1", 0]' in finding.fix


def test_mistyped_node_class_is_an_error_with_suggestion() -> None:
    prompt = sound()
    prompt["2"]["class_type"] = "Smaple"
    finding = only(validate_prompt(prompt, CLASSES))
    assert finding.code == "missing_node_type"
    assert finding.fix is not None
    assert "'Sample'" in finding.fix


def test_faults_before_an_unknown_class_are_found_too() -> None:
    prompt = sound()
    prompt["3"]["class_type"] = "Svae"
    prompt["2"]["inputs"]["steps"] = 0
    assert {finding.code for finding in validate_prompt(prompt, CLASSES)} == {
        "missing_node_type",
        "value_smaller_than_min",
    }


def test_prompt_without_output_node_is_refused() -> None:
    prompt = sound()
    del prompt["3"]
    assert only(validate_prompt(prompt, CLASSES)).code == "prompt_no_outputs"


def test_what_no_output_depends_on_is_no_error_but_is_said() -> None:
    prompt = sound()
    prompt["9"] = {"class_type": "Number", "inputs": {"value": 1000}}
    findings = validate_prompt(prompt, CLASSES)
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "not_reached")]
    assert "9" in findings[0].message


def test_cycle_is_found() -> None:
    object_info = {**OBJECT_INFO, "Through": described({"latent": ["LATENT"]}, ["LATENT"])}
    prompt = {
        "1": {"class_type": "Through", "inputs": {"latent": ["2", 0]}},
        "2": {"class_type": "Through", "inputs": {"latent": ["1", 0]}},
        "3": {"class_type": "Save", "inputs": {"latent": ["2", 0]}},
    }
    findings = validate_prompt(prompt, NodeClasses.from_object_info(object_info))
    assert [(finding.code, finding.node_id, finding.input) for finding in findings] == [
        ("dependency_cycle", "1", "latent"),
        ("dependency_cycle", "2", "latent"),
    ]


def test_nodes_of_circles_that_share_a_node_are_all_named() -> None:
    object_info = {**OBJECT_INFO, "Both": described({"one": ["LATENT"], "two": ["LATENT"]}, ["LATENT"])}
    prompt = {
        "1": {"class_type": "Both", "inputs": {"one": ["2", 0], "two": ["3", 0]}},
        "2": {"class_type": "Both", "inputs": {"one": ["1", 0], "two": ["1", 0]}},
        "3": {"class_type": "Both", "inputs": {"one": ["4", 0], "two": ["4", 0]}},
        "4": {"class_type": "Both", "inputs": {"one": ["1", 0], "two": ["1", 0]}},
        "5": {"class_type": "Save", "inputs": {"latent": ["1", 0]}},
    }
    findings = validate_prompt(prompt, object_info)
    assert [finding.node_id for finding in findings] == ["1", "2", "3", "4"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_groups_that_wait_for_each_other_are_those_that_reach_themselves(links: list[tuple[int, int]]) -> None:
    prompt: dict[str, Any] = {str(node): {"class_type": "X", "inputs": {}} for node in range(10)}
    for number, (taker, source) in enumerate(links):
        prompt[str(taker)]["inputs"][f"i{number}"] = [str(source), 0]
    reached = {node: upstream(prompt, list(sources(prompt[node]))) for node in prompt}
    expected = {node for node in prompt if node in reached[node]}
    groups = cycles(prompt, list(prompt))
    assert {node for group in groups for node in group} == expected
    for group in groups:
        assert all(set(group) <= reached[node] for node in group)


DYNAMIC = {
    "Make": described({}, ["IMAGE"]),
    "Show": described(
        {
            "mode": [
                "COMFY_DYNAMICCOMBO_V3",
                {
                    "options": [
                        {"key": "size", "inputs": {"required": {"width": ["INT", {"min": 1, "max": 9}]}}},
                        {"key": "file", "inputs": {"optional": {"kind": ["COMBO", {"options": ["png", "jpg"]}]}}},
                    ]
                },
            ],
            "images": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 1, "max": 3}},
            ],
        },
        [],
        output_node=True,
    ),
}


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({"mode": "size", "mode.width": 3}, []),
        ({"mode": "size", "mode.width": 30}, [("value_bigger_than_max", "mode.width")]),
        ({"mode": "size"}, [("required_input_missing", "mode.width")]),
        ({"mode": "file"}, []),
        ({"mode": "file", "mode.kind": "gif"}, [("value_not_in_list", "mode.kind")]),
        ({"mode": "other"}, [("value_not_in_list", "mode")]),
        ({}, [("required_input_missing", "mode")]),
        ({"mode": "file", "images.image0": 3}, [("invalid_input_type", "images.image0")]),
        ({"mode": "file", "images.image2": ["9", 0]}, [("exception_during_validation", "images.image2")]),
        ({"mode": "file", "images.image3": ["1", 0]}, [("unknown_input", "images.image3")]),
    ],
)
def test_inputs_that_appear_by_choice_are_judged_under_their_whole_names(
    inputs: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    prompt = {
        "1": {"class_type": "Make", "inputs": {}},
        "2": {"class_type": "Show", "inputs": {"images.image0": ["1", 0], **inputs}},
    }
    errors = errors_in(validate_prompt(prompt, DYNAMIC))
    assert [(finding.code, finding.input) for finding in errors] == found
    assert all(finding.fix for finding in errors)


def test_a_group_that_grows_must_have_its_first_inputs() -> None:
    prompt = {"2": {"class_type": "Show", "inputs": {"mode": "file"}}}
    assert only(validate_prompt(prompt, DYNAMIC)).input == "images.image0"


@pytest.mark.parametrize(
    ("value", "files", "code"),
    [
        ("x.png", {}, None),
        ("y.png", {}, "custom_validation_failed"),
        ("y.png", {"y.png": True}, None),
        ("sub/y.png", {}, None),
        ("sub/y.png", {"sub/y.png": False}, "custom_validation_failed"),
        ("y.png [output]", {}, None),
        ("y.png [output]", {"y.png [output]": False}, "custom_validation_failed"),
        ("../y.png", {"../y.png": True}, "custom_validation_failed"),
        ("/y.png", {"/y.png": True}, "custom_validation_failed"),
        ("C:\\y.png", {"C:\\y.png": True}, "custom_validation_failed"),
        ("", {}, "custom_validation_failed"),
        (3, {}, "exception_during_validation"),
    ],
)
def test_input_files_are_looked_for(value: Any, files: dict[str, bool], code: str | None) -> None:
    object_info = {**OBJECT_INFO, "Show": described({"image": ["IMAGE"]}, [], output_node=True)}
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": value}},
        "2": {"class_type": "Show", "inputs": {"image": ["1", 0]}},
    }
    errors = errors_in(validate_prompt(prompt, object_info, files))
    assert [finding.code for finding in errors] == ([code] if code else [])
    assert all(finding.fix for finding in errors)


def test_an_input_whose_name_went_wrong_is_told_from_the_editors_own() -> None:
    prompt = sound()
    prompt["2"]["inputs"]["mod"] = "x"
    prompt["2"]["inputs"]["upload"] = "image"
    findings = validate_prompt(prompt, CLASSES)
    assert warnings(findings) == ["unknown_input"]
    assert findings[0].fix == "Did you mean 'mode'?"


def test_a_link_to_an_input_that_a_core_class_does_not_have_makes_the_run_fail() -> None:
    prompt = sound()
    prompt["2"]["inputs"]["extra"] = ["1", 0]
    finding = only(validate_prompt(prompt, CLASSES))
    assert (finding.code, finding.input) == ("unknown_input", "extra")
    assert "the run fails" in finding.message


def test_nodes_that_only_a_run_reaches_are_judged_and_it_is_said() -> None:
    prompt = sound()
    prompt["4"] = {"class_type": "Number", "inputs": {}}
    prompt["2"]["inputs"]["extra"] = ["4", 0]
    object_info = {**OBJECT_INFO, "Sample": {**OBJECT_INFO["Sample"], "python_module": "custom_nodes.pack"}}
    finding = only(validate_prompt(prompt, object_info))
    assert (finding.node_id, finding.code) == ("4", "required_input_missing")
    assert finding.message.count("the run fails") == 1


def test_the_name_of_a_file_cannot_come_by_a_link() -> None:
    object_info = {**OBJECT_INFO, "Show": described({"image": ["IMAGE"]}, [], output_node=True)}
    object_info["Name"] = described({}, ["*"])
    prompt = {
        "0": {"class_type": "Name", "inputs": {}},
        "1": {"class_type": "LoadImage", "inputs": {"image": ["0", 0]}},
        "2": {"class_type": "Show", "inputs": {"image": ["1", 0]}},
    }
    finding = only(validate_prompt(prompt, object_info))
    assert (finding.code, finding.input) == ("exception_during_validation", "image")
    assert finding.fix


@pytest.mark.parametrize("module", ["nodes", "custom_nodes.pack"])
def test_a_link_to_nowhere_at_an_undeclared_input_is_never_sent(module: str) -> None:
    prompt = sound()
    prompt["2"]["inputs"]["extra"] = ["99", 0]
    object_info = {**OBJECT_INFO, "Sample": {**OBJECT_INFO["Sample"], "python_module": module}}
    finding = only(validate_prompt(prompt, object_info))
    assert (finding.node_id, finding.input) == ("2", "extra")
    assert "would stop working" in finding.message
    classes = NodeClasses.from_object_info(object_info)
    assert stops_the_server(prompt, classes) == ["2"]
    prompt["2"]["inputs"]["extra"] = ["hello", "x"]  # no link to a run: its slot is no number
    assert errors_in(validate_prompt(prompt, object_info)) == []
    assert stops_the_server(prompt, classes) == []


@pytest.mark.parametrize(
    ("prefix", "leads_out"),
    [
        ("a/b", False),
        ("a/../b", False),
        ("..", True),
        ("../x", True),
        ("a/../../x", True),
        ("/x/y", True),
        ("sub\\x", False),
        ("%date%/x", False),
    ],
)
def test_a_prefix_that_leads_out_of_the_output_folder_makes_the_run_fail(prefix: str, leads_out: bool) -> None:
    object_info = {"Save": described({"filename_prefix": ["STRING"]}, [], output_node=True)}
    errors = errors_in(
        validate_prompt({"1": {"class_type": "Save", "inputs": {"filename_prefix": prefix}}}, object_info)
    )
    assert [error.input for error in errors] == (["filename_prefix"] if leads_out else [])
    assert all("the run fails" in error.message and error.fix for error in errors)


def test_what_a_pack_may_check_itself_says_so() -> None:
    prompt = sound()
    prompt["2"]["inputs"]["steps"] = 101
    object_info = {**OBJECT_INFO, "Sample": {**OBJECT_INFO["Sample"], "python_module": "custom_nodes.pack"}}
    assert "force=true leaves that to the server" in only(validate_prompt(prompt, object_info)).message
    assert "force=true" not in only(validate_prompt(prompt, CLASSES)).message


def test_types_that_packs_compare_by_rules_of_their_own_fit() -> None:
    object_info = {
        "EmptyLatentImage": described({}, ["LATENT"]),
        "VHS_VideoCombine": described({"images": ["IMAGE"], "frame_rate": ["FLOAT"]}, [], output_node=True),
    }
    prompt = {
        "1": {"class_type": "EmptyLatentImage", "inputs": {}},
        "2": {"class_type": "VHS_VideoCombine", "inputs": {"images": ["1", 0], "frame_rate": 8}},
    }
    assert validate_prompt(prompt, object_info) == []


def test_partner_nodes_are_named_as_spending_credits() -> None:
    object_info = {**OBJECT_INFO, "Paid": described({}, [], output_node=True, api_node=True)}
    findings = validate_prompt({"1": {"class_type": "Paid", "inputs": {}}}, object_info)
    assert [(finding.severity, finding.code, finding.node_id) for finding in findings] == [
        ("warning", "partner_node", "1")
    ]


def test_only_outputs_behind_a_fault_are_dropped() -> None:
    prompt = sound()
    prompt["4"] = {"class_type": "Sample", "inputs": {"model": ["1", 0], "steps": 0, "cfg": 1}}
    prompt["5"] = {"class_type": "Save", "inputs": {"latent": ["4", 0]}}
    findings = validate_prompt(prompt, CLASSES)
    assert dropped_outputs(prompt, findings, CLASSES) == ["5"]


def test_dropped_outputs_of_a_large_prompt_are_found_in_one_walk() -> None:
    object_info = {**OBJECT_INFO, "Through": described({"latent": ["LATENT"]}, ["LATENT"])}
    classes = NodeClasses.from_object_info(object_info)
    prompt: dict[str, Any] = {"0": {"class_type": "Sample", "inputs": {}}}
    for index in range(1, 2000):
        prompt[str(index)] = {"class_type": "Through", "inputs": {"latent": [str(index - 1), 0]}}
        prompt[f"s{index}"] = {"class_type": "Save", "inputs": {"latent": [str(index), 0]}}
    findings = validate_prompt(prompt, classes)
    assert len(dropped_outputs(prompt, findings, classes)) == 1999


def test_deep_chain_needs_no_recursion() -> None:
    object_info = {**OBJECT_INFO, "Through": described({"latent": ["LATENT"]}, ["LATENT"])}
    prompt: dict[str, Any] = {"0": {"class_type": "Sample", "inputs": {"model": ["m", 0], "steps": 1, "cfg": 1}}}
    prompt["m"] = {"class_type": "Load", "inputs": {"name": "a.safetensors"}}
    for index in range(1, 10_000):
        prompt[str(index)] = {"class_type": "Through", "inputs": {"latent": [str(index - 1), 0]}}
    prompt["save"] = {"class_type": "Save", "inputs": {"latent": ["9999", 0]}}
    assert validate_prompt(prompt, NodeClasses.from_object_info(object_info)) == []


def test_values_nested_without_end_are_only_faults() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    prompt = sound()
    prompt["2"]["inputs"] |= {"steps": {"__value__": deep}, "model": [deep, deep], "mode": {"a": deep}}
    assert {finding.input for finding in errors_in(validate_prompt(prompt, CLASSES))} == {"steps", "model", "mode"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=25,
)
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from([*OBJECT_INFO, "Nothing"])},
    optional={
        "inputs": st.dictionaries(
            st.sampled_from(["name", "model", "steps", "cfg", "mode", "both", "any", "latent", "image", "value"]),
            JSON | st.lists(st.sampled_from(["1", "2", "3", 0, 1, -1]), max_size=3),
        )
        | JSON
    },
)


@given(JSON | st.dictionaries(st.sampled_from(["1", "2", "3"]), NODES | JSON))
def test_any_json_gives_findings_and_never_an_exception(prompt: Any) -> None:
    for finding in validate_prompt(prompt, CLASSES):
        assert finding.message


@given(st.dictionaries(st.sampled_from(["Load", "Save"]), JSON), st.dictionaries(st.text(max_size=3), NODES))
def test_any_object_info_is_survived(object_info: dict[str, Any], prompt: dict[str, Any]) -> None:
    classes = NodeClasses.from_object_info(object_info)
    for name in classes:
        classes.get(name)
    assert isinstance(validate_prompt(prompt, classes), list)
