"""What is known of the checks that node packs make themselves, held against the real server.

A pack made here has classes with the names of the table, each with a VALIDATE_INPUTS of the form that its namesake
has. The real server judges prompts with them through the route of tests/data/judge, so that nothing is queued.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from comfyui_api.findings import Finding, errors_in
from comfyui_api.node_class import NodeClasses
from comfyui_api.validate import files_to_look_up, validate_prompt
from comfyui_api.validate.files import LoadValue
from comfyui_api.validate.own_checks import is_file, is_free
from comfyui_api.validate.pack_checks import (
    FAMILIES,
    PACK_CHECKS,
    gives_as_well,
    judges_itself,
    looks_for_file,
    own_rules,
    takes_link,
)
from tests.sandboxes import sandboxed
from tests.support import DATA, Prompt

FORMS = DATA / "pack_checks"  # the made-up pack


@pytest.mark.parametrize("class_type", PACK_CHECKS)
def test_every_rule_says_something_and_contradicts_nothing(class_type: str) -> None:
    own = PACK_CHECKS[class_type]

    assert own.pack
    assert own.names or own.every or own.any_links or own.takes or own.gives
    assert own.every or own.files <= own.names, "a file that the class does not judge"
    assert not (own.every and own.names), "all inputs and some of them"
    assert not own.any_links or not own.takes, "all links and some of them"
    for types in (*own.takes.values(), *own.gives.values()):
        assert types
        assert all(name == name.upper() for name in types)
    assert class_type == class_type.strip()


UNLISTED = {"LoadVideoAndSegment_"}  # in its pack's source, but not in the list of all packs


def test_every_rule_is_of_a_class_that_its_pack_has() -> None:
    listed = json.loads((Path(__file__).parent.parent / "references" / "node_packs.json").read_text(encoding="utf-8"))
    packs = {pack["repository"].rpartition("/")[2]: pack for pack in listed["packs"]}
    for class_type, own in PACK_CHECKS.items():
        pack = packs[own.pack]
        known = class_type in pack.get("classes", ()) or any(
            re.search(pattern, class_type) for pattern in pack.get("patterns", ())
        )
        assert known != (class_type in UNLISTED), f"{own.pack}: {class_type}"
    for ending, own in FAMILIES.items():
        assert any(name.endswith(ending) for name in packs[own.pack]["classes"])


def test_a_family_of_classes_shares_its_rules() -> None:
    for ending, own in FAMILIES.items():
        assert own_rules(f"ANYTHING{ending}") == own
    assert takes_link("ADJUST: BLUR (JOV)", "pixel", "INT")
    assert not takes_link("ADJUST: BLUR", "pixel", "INT")


def test_a_class_without_rules_leaves_all_to_the_server() -> None:
    assert own_rules("KSampler") is None
    assert not judges_itself("KSampler", "steps")
    assert not looks_for_file("KSampler", "steps")
    assert not takes_link("KSampler", "model", "CLIP")
    assert gives_as_well("KSampler", 0) == frozenset()


def test_only_the_named_inputs_are_free() -> None:
    assert is_free("VHS_LoadVideo", "video")
    assert not is_free("VHS_LoadVideo", "frame_load_cap")
    assert is_free("VHS_LoadImages", "image_load_cap")
    assert is_file("VHS_LoadVideo", "video")
    assert not is_file("VHS_LoadImages", "directory")


CLASSES: dict[str, Any] = {
    "VHS_LoadVideo": {
        "input": {
            "required": {
                "video": [["a.mp4"], {}],
                "force_rate": ["FLOAT", {"min": 0, "max": 60}],
                "frame_load_cap": ["INT", {"min": 0}],
            }
        },
        "output": ["IMAGE", "INT"],
        "output_node": True,
        "python_module": "custom_nodes.ComfyUI-VideoHelperSuite",
    },
}


def load_video(**inputs: Any) -> Prompt:
    values = {"video": "a.mp4", "force_rate": 0, "frame_load_cap": 0} | inputs
    return {"1": {"class_type": "VHS_LoadVideo", "inputs": values}}


def test_a_file_of_a_pack_is_looked_up_where_the_server_can_be_asked() -> None:
    prompt = load_video(video="sub/new.mp4")

    assert [found.value for found in files_to_look_up(prompt, NodeClasses.of(CLASSES))] == ["sub/new.mp4"]
    assert validate_prompt(prompt, CLASSES) == []
    assert validate_prompt(prompt, CLASSES, {"sub/new.mp4": True}) == []
    (missing,) = validate_prompt(prompt, CLASSES, {"sub/new.mp4": False})
    assert (missing.code, missing.input) == ("custom_validation_failed", "video")


def test_what_a_pack_does_not_judge_itself_is_still_checked() -> None:
    (found,) = validate_prompt(load_video(frame_load_cap=-1), CLASSES)
    assert found.code == "value_smaller_than_min"


def test_a_file_of_a_pack_that_leads_out_of_its_folder_is_refused() -> None:
    (found,) = validate_prompt(load_video(video="../../secret.mp4"), CLASSES, {"../../secret.mp4": True})
    assert found.code == "custom_validation_failed"


class Case(NamedTuple):
    """A node of a class of the made-up pack, and how we are to stand to the server's verdict on it."""

    name: str
    class_type: str
    inputs: Mapping[str, Any]
    refused: bool  # by the server
    ours: str = "same"  # or "not checked": the server refuses what only the class itself can tell


CASES = [
    # VALIDATE_INPUTS(s, video): looks for the file
    Case("file, listed", "VHS_LoadVideo", {"video": "listed.mp4"}, refused=False),
    Case("file, in no list", "VHS_LoadVideo", {"video": "there.bin"}, refused=False),
    Case("file in a folder", "VHS_LoadVideo", {"video": "sub/deep.mp4"}, refused=False),
    Case("file of another folder", "VHS_LoadVideo", {"video": "none.mp4 [output]"}, refused=True),
    Case("no such file", "VHS_LoadVideo", {"video": "none.mp4"}, refused=True),
    Case("no such file in a folder", "VHS_LoadVideo", {"video": "sub/none.mp4"}, refused=True),
    Case("a number for a file", "VHS_LoadVideo", {"video": 3}, refused=True),
    Case("nothing for a file", "VHS_LoadVideo", {"video": None}, refused=True),
    Case("other input below its minimum", "VHS_LoadVideo", {"frame_load_cap": -1}, refused=True),
    Case("other input not in its list", "VHS_LoadVideo", {"mode": "odd"}, refused=True),
    Case("other input no number", "VHS_LoadVideo", {"frame_load_cap": "many"}, refused=True),
    Case("required input left out", "VHS_LoadVideo", {"mode": ...}, refused=True),
    # VALIDATE_INPUTS(s, **kwargs): says yes
    Case("all free: no option", "ReroutePrimitive|pysssss", {"choice": "odd"}, refused=False),
    Case("all free: above its maximum", "ReroutePrimitive|pysssss", {"count": 99}, refused=False),
    Case("all free: below its minimum", "ReroutePrimitive|pysssss", {"count": -99}, refused=False),
    Case("all free: no number all the same", "ReroutePrimitive|pysssss", {"count": "many"}, refused=True),
    Case("all free: left out all the same", "ReroutePrimitive|pysssss", {"choice": ...}, refused=True),
    Case("all free: of a wrong link", "ReroutePrimitive|pysssss", {"count": ["9", 0]}, refused=True),
    # VALIDATE_INPUTS(s, audio, **kwargs): looks for the file; all else is free too
    Case("file and all free: in no list", "VHS_LoadAudioUpload", {"audio": "there.bin"}, refused=False),
    Case("file and all free: missing", "VHS_LoadAudioUpload", {"audio": "none.wav"}, refused=True),
    Case("file and all free: above its maximum", "VHS_LoadAudioUpload", {"duration": 99.0}, refused=False),
    # VALIDATE_INPUTS(s, directory, **kwargs): a text where something is wrong, by its own rule
    Case("own rule: fine", "VHS_LoadImages", {"directory": "sub"}, refused=False),
    Case("own rule: a text back", "VHS_LoadImages", {"directory": "no folder"}, refused=True, ours="not checked"),
    Case("own rule: others free", "VHS_LoadImages", {"image_load_cap": -5}, refused=False),
    # VALIDATE_INPUTS(self, root_dir, file, **kwargs): raises
    Case("raises: fine", "LoadText|pysssss", {"file": "a.txt"}, refused=False),
    Case("raises", "LoadText|pysssss", {"file": "../out.txt"}, refused=True, ours="not checked"),
    # VALIDATE_INPUTS(s, image, link_id, …): no file where it says so
    Case("no file but data", "ImageReceiver", {"image": "#DATA"}, refused=False),
    Case("named: above its maximum", "ImageReceiver", {"link_id": 10**6}, refused=False),
    Case("named: refused by a text", "ImageReceiver", {"image": "none.png"}, refused=True, ours="not checked"),
    # validate_inputs(cls, **kwargs) of a V3 class: True or False
    Case("V3: any text", "Combo Clone", {"combo": "of another combo"}, refused=False),
    Case("V3: False back", "Combo Clone", {"combo": 3}, refused=True, ours="not checked"),
    # VALIDATE_INPUTS(s, input_types): all links, but no value is free
    Case("links free: no option all the same", "DisplayAny", {"mode": "odd"}, refused=True),
    # Without a VALIDATE_INPUTS
    Case("nothing free: no option", "VHS_VideoCombine", {"format": "odd"}, refused=True),
]


class Judge(NamedTuple):
    """A ComfyUI with the made-up pack, and its node classes."""

    client: httpx2.Client
    classes: NodeClasses

    def refusals(self, prompts: list[Prompt]) -> list[dict[str, Any] | None]:
        """For each prompt the faulty nodes that the server names; None where it takes the whole prompt."""
        reply = self.client.post("/tests/verdicts", content=json.dumps(prompts)).raise_for_status()
        return [faulty if error or faulty else None for _, error, _, faulty in reply.json()]

    def findings(self, prompt: Prompt) -> list[Finding]:
        """Ours, with the files looked up as the verdict's online part does."""
        files = {place.value: self._has(place.value) for place in files_to_look_up(prompt, self.classes)}
        return errors_in(validate_prompt(prompt, self.classes, files))

    def _has(self, value: str) -> bool:
        named = LoadValue.of(value)
        params = {"filename": named.filename, "subfolder": named.subfolder, "type": named.folder}
        return self.client.get("/view", params=params).status_code == 200


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with (
        sandboxed("pack-checks", custom_nodes=[DATA / "judge", FORMS]) as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        for subfolder, file in (("", "listed.mp4"), ("", "there.bin"), ("sub", "deep.mp4")):
            upload = {"image": (file, b"x", "application/octet-stream")}
            client.post("/upload/image", files=upload, data={"subfolder": subfolder}).raise_for_status()
        classes = NodeClasses.from_object_info(client.get("/object_info").raise_for_status().json())
        yield Judge(client, classes)


def prompt_of(class_type: str, changes: Mapping[str, Any], classes: NodeClasses) -> Prompt:
    """A node of that class with sound values, some changed, beside nodes that it may be linked to; `...` leaves out."""
    node_class = classes.get(class_type)
    assert node_class is not None
    values: dict[str, Any] = {
        name: spec.config.get("sound", spec.config.get("default")) for name, spec in node_class.inputs.items()
    }
    inputs = {name: value for name, value in {**values, **changes}.items() if value is not ...}
    return {
        "1": {"class_type": class_type, "inputs": inputs},
        "8": {"class_type": "TestAnything", "inputs": {}},
        "9": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    }


@pytest.mark.live
def test_our_verdict_is_the_servers_for_every_form_of_validate_inputs(judge: Judge) -> None:
    prompts = [prompt_of(case.class_type, case.inputs, judge.classes) for case in CASES]
    assert len({case.name for case in CASES}) == len(CASES)
    for case, prompt, refusal in zip(CASES, prompts, judge.refusals(prompts), strict=True):
        assert (refusal is not None) == case.refused, f"{case.name}: the server says {refusal}"
        ours = judge.findings(prompt)
        expected = case.refused and case.ours == "same"
        assert bool(ours) == expected, f"{case.name}: we say {ours}, the server {refusal}"
        assert {finding.node_id for finding in ours} <= {"1"}, case.name


@pytest.mark.live
def test_links_of_other_types_are_taken_where_the_table_says_so(judge: Judge) -> None:
    links: list[tuple[str, str, str, bool]] = [
        ("VHS_VideoCombine", "images", "LATENT", True),
        ("VHS_VideoCombine", "images", "INT", False),
        ("VHS_VideoCombine", "frame_rate", "INT", True),
        ("VHS_VideoCombine", "frame_rate", "INT of V3", False),
        ("VHS_VideoCombine", "frame_rate", "LATENT", False),
        ("VHS_LoadVideo", "force_rate", "INT", True),
        ("VHS_LoadVideo", "frame_load_cap", "LATENT", False),
        ("DisplayAny", "text", "LATENT", True),  # input_types: any
        ("DisplayAny", "text", "INT of V3", True),
        ("ADJUST: TEST (JOV)", "text", "LATENT", True),
        ("ReroutePrimitive|pysssss", "count", "LATENT", False),  # **kwargs is no input_types
    ]
    sources: dict[str, Any] = {
        "INT": {"class_type": "TestInt", "inputs": {}},
        "INT of V3": {"class_type": "PrimitiveInt", "inputs": {"value": 3}},
        "LATENT": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    }
    prompts = [
        {**prompt_of(kind, {name: ["2", 0]}, judge.classes), "2": sources[given]} for kind, name, given, _ in links
    ]
    for (kind, name, given, taken), refusal in zip(links, judge.refusals(prompts), strict=True):
        assert (refusal is None) == taken, f"{kind}.{name}: the server says {refusal}"
        ours = takes_link(kind, name, given.removesuffix(" of V3"), from_v3=given.endswith("V3"))
        assert ours == taken, f"{kind}.{name}"


@pytest.mark.live
def test_an_output_stands_for_other_types_where_the_table_says_so(judge: Judge) -> None:
    video = prompt_of("VHS_LoadVideo", {}, judge.classes)["1"]
    targets = {
        "LATENT": {"class_type": "SaveLatent", "inputs": {"samples": ["2", 0], "filename_prefix": "x"}},
        "IMAGE": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        "MASK": {"class_type": "TestMask", "inputs": {"mask": ["2", 0]}},
    }
    refusals = judge.refusals([{"1": target, "2": video} for target in targets.values()])
    taken = {kind for kind, refusal in zip(targets, refusals, strict=True) if refusal is None}
    assert taken == {"IMAGE"} | gives_as_well("VHS_LoadVideo", 0)


@pytest.mark.live
def test_the_made_up_pack_has_every_form_of_the_table(judge: Judge) -> None:
    """So that a rule of the table that names an input is held against that very input."""
    tried = {case.class_type: PACK_CHECKS[case.class_type] for case in CASES if case.class_type in PACK_CHECKS}
    for class_type, own in tried.items():
        node_class = judge.classes.get(class_type)
        assert node_class is not None
        assert own.files <= set(node_class.inputs)
        assert not node_class.is_core, "the verdict names every class of a pack among what was not checked"
    assert any(own.every for own in tried.values())
    assert any(own.names for own in tried.values())
    assert any(own.files for own in tried.values())
    assert any(own.any_links for own in tried.values())
