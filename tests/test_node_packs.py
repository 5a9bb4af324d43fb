"""Which pack has a node class: the data, what a workflow says, and which commands come of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts.update_references import packs_text

from comfyui_api.documents import reference
from comfyui_api.node_packs import CORE, CORE_ID, NodePack, NodePacks

SAMPLE = json.loads(Path(__file__).with_name("data").joinpath("pack_classes.json").read_text("utf-8"))
GITHUB = "https://github.com/"
# A command is plain words: no shell finds anything in it to act on, and no word of it but the program's own begins an
# option.
SAFE_COMMAND = re.compile(
    r"comfy update comfy|comfy node install [A-Za-z0-9][A-Za-z0-9._-]*|cm-cli install https://[A-Za-z0-9._/-]+"
)


@pytest.fixture(scope="module")
def packs() -> NodePacks:
    return NodePacks.parse(reference("node_packs.json"))


def packs_of(*told: dict[str, Any]) -> NodePacks:
    return NodePacks.parse(json.dumps({"packs": list(told)}))


def pack(name: str, *classes: str, **more: Any) -> dict[str, Any]:
    return {"repository": f"{GITHUB}owner/{name}", "title": name, "classes": list(classes), **more}


def titles(found: list[NodePack]) -> list[str]:
    return [each.title for each in found]


# --- without a word of the workflow


def test_a_class_leads_to_its_pack_and_the_command() -> None:
    (found,) = packs_of(pack("mine", "Blur")).that_have("Blur")
    assert found == NodePack(f"{GITHUB}owner/mine", "mine", install=f"cm-cli install {GITHUB}owner/mine")


def test_a_class_that_nobody_has_leads_nowhere() -> None:
    assert packs_of(pack("mine", "Blur")).that_have("Blurr") == []


def test_comfyuis_own_class_means_to_update_it() -> None:
    core = {"repository": CORE, "title": "ComfyUI", "core": True, "classes": ["KSampler"]}
    found = packs_of(pack("copy", "KSampler", stars=10**6), core).that_have("KSampler")
    assert found[0] == NodePack(CORE, "ComfyUI", is_core=True, install="comfy update comfy")
    assert titles(found) == ["ComfyUI", "copy"]


def test_of_several_packs_the_agreed_one_comes_first_then_the_best_known_ones() -> None:
    crowd = [f"Other{number}" for number in range(200)]
    some = packs_of(
        pack("collection", "Blur", *crowd, stars=1_000),
        pack("origin", "Blur", stars=300),
        pack("split-off", "Blur", stars=4),
        pack("unknown", "Blur"),
        pack("agreed", "Blur", preempts=["Blur"]),
    )
    assert titles(some.that_have("Blur")) == ["agreed", "origin", "collection", "split-off", "unknown"]


def test_packs_that_have_a_pattern_for_the_name_come_after_those_that_have_the_name() -> None:
    some = packs_of(pack("patterned", patterns=[r" \(mine\)$"], stars=900), pack("named", "Blur (mine)"))
    assert titles(some.that_have("Blur (mine)")) == ["named", "patterned"]
    assert titles(some.that_have("Sharpen (mine)")) == ["patterned"]


def test_packs_that_had_a_class_once_come_last_and_say_so() -> None:
    found = packs_of(pack("past", formerly=["Blur"], stars=900), pack("present", "Blur")).that_have("Blur")
    assert [(each.title, each.formerly) for each in found] == [("present", False), ("past", True)]
    found = packs_of(pack("past", formerly=["Blur"])).that_have("Blur", cnr_id="past")
    assert [(each.registry_id, each.formerly) for each in found] == [("past", True)]


def test_a_pack_that_is_a_file_to_copy_has_no_command() -> None:
    (found,) = packs_of(pack("file", "Blur", file="https://example.com/blur.py")).that_have("Blur")
    assert found.install is None


def test_a_name_in_the_registry_makes_the_command() -> None:
    (found,) = packs_of(pack("mine", "Blur", registry="my-pack", id="other")).that_have("Blur")
    assert (found.registry_id, found.install) == ("my-pack", "comfy node install my-pack")


def test_a_name_in_the_managers_list_makes_none() -> None:
    (found,) = packs_of(pack("mine", "Blur", id="other")).that_have("Blur")
    assert found.registry_id is None


# --- what a workflow says


def test_the_pack_that_the_workflow_names_comes_first() -> None:
    some = packs_of(pack("famous", "Blur", stars=900), pack("mine", "Blur"))
    assert titles(some.that_have("Blur", aux_id="Owner/Mine")) == ["mine", "famous"]
    found = some.that_have("Blur", cnr_id="mine")
    assert found[0] == NodePack(f"{GITHUB}owner/mine", "mine", "mine", install="comfy node install mine")
    assert titles(found) == ["mine", "famous"]


def test_a_name_that_the_data_does_not_know_is_still_a_pack() -> None:
    some = packs_of(pack("famous", "Blur"))
    registered, *rest = some.that_have("Blur", cnr_id="brand-new")
    assert registered.install == "comfy node install brand-new"
    assert registered.repository == "https://registry.comfy.org/nodes/brand-new"
    assert titles(rest) == ["famous"]
    (hosted,) = some.that_have("Nothing", aux_id="someone/some_pack")
    assert (hosted.repository, hosted.title) == (f"{GITHUB}someone/some_pack", "some_pack")
    assert hosted.install == f"cm-cli install {GITHUB}someone/some_pack"
    (both,) = some.that_have("Nothing", cnr_id="Some_pack", aux_id=f"{GITHUB}someone/some_pack.git")
    assert (both.repository, both.install) == (f"{GITHUB}someone/some_pack", "comfy node install Some_pack")


def test_a_command_never_stands_with_the_repository_of_another_pack() -> None:
    some = packs_of(pack("famous", "Blur", registry="famous-pack"))
    first, second = some.that_have("Blur", cnr_id="evil", aux_id="owner/famous")
    assert (first.repository, first.install) == ("https://registry.comfy.org/nodes/evil", "comfy node install evil")
    assert (second.repository, second.install) == (f"{GITHUB}owner/famous", "comfy node install famous-pack")
    first, second = some.that_have("Blur", cnr_id="famous-pack", aux_id="someone/evil")
    assert (first.repository, first.install) == (f"{GITHUB}owner/famous", "comfy node install famous-pack")
    assert second.install == f"cm-cli install {GITHUB}someone/evil"


def test_a_registry_name_of_a_fork_is_not_taken_for_the_origins() -> None:
    some = packs_of(pack("origin", registry="suite"), {**pack("suite", "Blur"), "repository": f"{GITHUB}fork/suite"})
    assert some.that_have("Blur", cnr_id="suite")[0].repository == f"{GITHUB}owner/origin"


def test_core_is_named_like_a_pack() -> None:
    for said in ({"cnr_id": CORE_ID}, {"aux_id": "comfyanonymous/ComfyUI"}, {"aux_id": "Comfy-Org/ComfyUI"}):
        found = packs_of(pack("copy", "KSampler")).that_have("KSampler", **said)
        assert (found[0].is_core, found[0].install, found[1].title) == (True, "comfy update comfy", "copy")


@pytest.mark.parametrize("said", [None, 3, "", " ", [], {"a": 1}])
def test_what_says_nothing_changes_nothing(said: Any) -> None:
    some = packs_of(pack("mine", "Blur"))
    assert some.that_have("Blur", cnr_id=said, aux_id=said) == some.that_have("Blur")


HOSTILE = [
    "x; rm -rf /",
    "--upload-pack=x",
    "-x",
    "a b",
    "a\nb",
    "$(reboot)",
    "`reboot`",
    "a|b",
    "a&b",
    "../x",
    "a'b",
    'a"b',
    "a\x00b",
    "ä",
    "a" * 500,
    "https://example.com/x",
    "@latest",
    "a@--x",
]


@pytest.mark.parametrize("said", HOSTILE)
def test_no_hostile_name_gets_into_a_command(said: str) -> None:
    some = packs_of(pack("mine", "Blur"))
    for found in (some.that_have("Blur", cnr_id=said), some.that_have("Blur", aux_id=f"owner/{said}")):
        assert found[0].title == "mine"
        assert (found[-1].install, found[-1].registry_id) == (None, None)
        assert found[-1].repository.isprintable()
        assert len(found[-1].repository) <= 201


@pytest.mark.parametrize("said", [*HOSTILE, "owner", "a/b/c", "-a/b", "a/..", "a/.", "a/-b", "a/b;c", "owner/"])
def test_no_hostile_repository_gets_into_a_command(said: str) -> None:
    (found,) = NodePacks.none().that_have("Blur", aux_id=said)
    assert found.install is None


@pytest.mark.parametrize(
    "repository",
    [
        "https://github.com/owner/x;reboot",
        "https://github.com/owner/..",
        "http://github.com/owner/x",
        "git@github.com:owner/x",
        "https://github.com/owner/x/tree/main",
        "https://user:word@github.com/owner/x",
        "https://github.com/owner/x?a=b",
        "--upload-pack=x",
    ],
)
def test_no_odd_repository_of_the_data_gets_into_a_command(repository: str) -> None:
    (found,) = packs_of({"repository": repository, "classes": ["Blur"]}).that_have("Blur")
    assert (found.install, found.repository) == (None, repository)


# --- whatever others wrote

names = st.sampled_from(
    ["packs", "repository", "title", "classes", "patterns", "preempts", "formerly", "registry", "id", "stars", "core"]
)
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["(", "Blur", CORE])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=8)),
    max_leaves=30,
)


@given(
    st.one_of(st.text(max_size=100), values.map(json.dumps), st.lists(values).map(lambda v: json.dumps({"packs": v})))
)
def test_any_data_is_read_and_asked_without_an_error(text: str) -> None:
    some = NodePacks.parse(text)
    for found in some.that_have("Blur"):
        assert found.install is None or SAFE_COMMAND.fullmatch(found.install)


@given(st.one_of(st.text(max_size=40), values), st.one_of(st.text(max_size=40), values))
def test_any_workflows_word_gives_safe_commands_only(cnr_id: Any, aux_id: Any) -> None:
    for found in packs_of(pack("mine", "Blur")).that_have("Blur", cnr_id=cnr_id, aux_id=aux_id):
        assert found.install is None or SAFE_COMMAND.fullmatch(found.install)


def test_a_very_long_name_is_nobodys() -> None:
    some = packs_of(pack("mine", patterns=["a.*a.*b"]))
    assert titles(some.that_have("aab")) == ["mine"]
    assert some.that_have("a" * 1_000_000) == []


def test_deeply_nested_data_is_a_problem_and_no_crash() -> None:
    some = NodePacks.parse("[" * 200_000)
    assert len(some) == 0
    assert len(some.problems) == 1


# --- the references themselves


def test_the_references_are_read_whole(packs: NodePacks) -> None:
    text = reference("node_packs.json")
    assert packs.problems == ()
    assert len(packs) > 3_000
    assert len(text.encode()) < 1_900_000


def test_the_references_are_written_as_the_script_writes_them() -> None:
    text = reference("node_packs.json")
    content = json.loads(text)
    assert packs_text(content["packs"], content["source"]) == text


def test_no_pack_of_the_references_stands_twice() -> None:
    told = json.loads(reference("node_packs.json"))["packs"]
    keys = [(each["repository"].casefold(), each.get("file")) for each in told]
    assert len(keys) == len(set(keys))
    assert [each["repository"] for each in told if each.get("core")] == [CORE]


def test_almost_every_pack_can_be_installed_by_a_command(packs: NodePacks) -> None:
    told = json.loads(reference("node_packs.json"))["packs"]
    having = [each for each in told if each.get("classes") and "file" not in each and not each.get("core")]
    commands = [
        next(found.install for found in packs.that_have(each["classes"][0]) if found.repository == each["repository"])
        for each in having
    ]
    assert all(command is None or SAFE_COMMAND.fullmatch(command) for command in commands)
    assert commands.count(None) < len(commands) / 100


@pytest.mark.parametrize("repository", SAMPLE["packs"])
def test_the_right_pack_comes_first_for_the_classes_of_its_source(packs: NodePacks, repository: str) -> None:
    first = {name: packs.that_have(name)[0].repository.casefold() for name in SAMPLE["packs"][repository]}
    assert first == dict.fromkeys(first, f"{GITHUB}{repository}".casefold())


@pytest.mark.parametrize("repository", SAMPLE["formerly"])
def test_the_pack_that_had_a_class_once_is_among_those_found(packs: NodePacks, repository: str) -> None:
    for name in SAMPLE["formerly"][repository]:
        found = {each.repository.casefold(): each.formerly for each in packs.that_have(name)}
        assert found[f"{GITHUB}{repository}".casefold()], name


def test_classes_that_the_data_does_not_know_lead_to_no_wrong_pack(packs: NodePacks) -> None:
    unknown = [name for names in SAMPLE["unknown"].values() for name in names]
    assert [name for name in unknown if packs.that_have(name)] == []


def test_the_sample_is_large_and_wide() -> None:
    assert len(SAMPLE["packs"]) >= 50
    assert sum(map(len, SAMPLE["packs"].values())) >= 300
