"""Mending: which pack, which file, which version, by what is known; as advice only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.findings import Finding, Repair
from comfyui_api.import_failures import ImportFailure
from comfyui_api.model_sources import ModelSources
from comfyui_api.node_class import NodeClasses
from comfyui_api.node_packs import NodePacks
from comfyui_api.packs import ClaimingPack, InstalledPack, NodeReplacement
from comfyui_api.repair.classes import PackKnowledge
from comfyui_api.repair.model_files import alternatives
from comfyui_api.repair.plan import Knowledge, mended
from comfyui_api.repair.versions import is_older
from comfyui_api.runs import Device
from comfyui_api.validate import output_nodes, validate_prompt
from tests.support import Prompt

OBJECT_INFO: dict[str, Any] = {
    "CheckpointLoaderSimple": {
        "input": {
            "required": {"ckpt_name": [["sd15.safetensors", "sub/sdxl.safetensors", "flux1-dev-fp8.safetensors"]]}
        },
        "output": ["MODEL", "CLIP", "VAE"],
    },
    "CLIPTextEncode": {"input": {"required": {"text": ["STRING"], "clip": ["CLIP"]}}, "output": ["CONDITIONING"]},
    "Show": {"input": {"required": {"any": ["*"]}}, "output": [], "output_node": True},
    "NewName": {"input": {}, "output": ["IMAGE"]},
}
CLASSES = NodeClasses.from_object_info(OBJECT_INFO)
PACKS = """{"packs": [
    {"title": "ComfyUI", "repository": "https://github.com/comfyanonymous/ComfyUI", "core": true,
     "classes": ["NewCore"]},
    {"title": "KJNodes", "repository": "https://github.com/kijai/ComfyUI-KJNodes", "stars": 900,
     "registry": "comfyui-kjnodes", "classes": ["ImageResizeKJ", "Shared"]},
    {"title": "Other", "repository": "https://github.com/x/other", "stars": 3, "classes": ["Shared", "OnlyOther"]}
]}"""
FLUX = "https://huggingface.co/bfl/FLUX.1-dev/resolve/main/flux1-dev.safetensors"
MODELS = f"""
## checkpoints
| File | Link | Size | Terms |
|---|---|---|---|
| flux1-dev.safetensors | {FLUX} | 23.8 GB | https://huggingface.co/bfl/FLUX.1-dev |
| paged.safetensors | https://civitai.com/models/1 | | |
## vae
| File | Link |
|---|---|
| only_vae.safetensors | https://example.org/only_vae.safetensors |
"""
INSTALLED = {"checkpoints": {"sd15.safetensors": 4 * 10**9, "sub/sdxl.safetensors": 7 * 10**9}, "vae": {"x.pt": 1}}


def prompt_of(class_type: str, meta: dict[str, str] | None = None, **inputs: Any) -> Prompt:
    return {
        "1": {"class_type": class_type, "inputs": inputs, "_meta": meta or {}},
        "2": {"class_type": "Show", "inputs": {"any": ["1", 0]}},
    }


def mend(prompt: Prompt, **known: Any) -> tuple[list[Finding], Repair]:
    packs = PackKnowledge(NodePacks.parse(PACKS), **known.pop("packs", {}))
    knowledge = Knowledge(packs, ModelSources.parse(MODELS), **{"models": INSTALLED, **known})
    return mended(validate_prompt(prompt, CLASSES), prompt, output_nodes(prompt, CLASSES), CLASSES, knowledge)


def fix_of(prompt: Prompt, **known: Any) -> str:
    findings, _ = mend(prompt, **known)
    assert findings[0].fix is not None
    return findings[0].fix


# -- classes


def test_a_missing_class_comes_with_its_pack_its_address_and_the_install_command() -> None:
    findings, repair = mend(prompt_of("ImageResizeKJ"))
    assert findings[0].severity == "error"
    assert "comfy node install comfyui-kjnodes" in (findings[0].fix or "")
    assert "https://github.com/kijai/ComfyUI-KJNodes" in (findings[0].fix or "")
    assert [(pack.title, pack.state, pack.class_types) for pack in repair.packs] == [
        ("KJNodes", "not_installed", ["ImageResizeKJ"])
    ]
    assert "Restart ComfyUI" in (repair.afterwards or "")


def test_packs_that_share_a_class_are_all_shown_the_likeliest_first() -> None:
    _, repair = mend(prompt_of("Shared"))
    assert repair.packs[0].title == "KJNodes"
    assert [other.title for other in repair.packs[0].others or ()] == ["Other"]


def test_what_the_workflow_says_of_its_node_comes_first() -> None:
    _, repair = mend(prompt_of("Shared", {"aux_id": "x/other"}))
    assert repair.packs[0].title == "Other"
    _, repair = mend(prompt_of("NobodyKnows", {"cnr_id": "some-pack"}))
    assert repair.packs[0].command == "comfy node install some-pack"


@pytest.mark.parametrize("hostile", ["x; rm -rf ~", "--help", "a\nb", "$(id)", "`id`", "x && y"])
def test_what_a_workflow_says_never_becomes_a_command_of_another_kind(hostile: str) -> None:
    for meta in ({"cnr_id": hostile}, {"aux_id": f"x/{hostile}"}, {"cnr_id": "ok", "aux_id": hostile}):
        _, repair = mend(prompt_of("NobodyKnows", meta))
        for pack in repair.packs:
            assert pack.command in (None, "comfy node install ok")


def test_a_core_class_that_is_missing_means_to_update_comfyui() -> None:
    findings, repair = mend(
        prompt_of("NewCore", {"cnr_id": "comfy-core", "ver": "0.9.0"}), packs={"comfyui_version": "0.3.75"}
    )
    assert repair.packs[0].state == "core_outdated"
    assert [(update.what, update.installed, update.wanted) for update in repair.updates] == [
        ("ComfyUI", "0.3.75", "0.9.0")
    ]
    assert any(finding.code == "version_mismatch" and finding.severity == "warning" for finding in findings)


def test_an_installed_pack_that_failed_to_import_gives_its_error_instead_of_an_install_command() -> None:
    failure = ImportFailure(
        "ComfyUI-KJNodes", "It needs scipy.", "ModuleNotFoundError: scipy", "scipy", "Install scipy."
    )
    findings, repair = mend(prompt_of("ImageResizeKJ"), packs={"failures": (failure,)})
    assert repair.packs[0].state == "failed_to_import"
    assert repair.packs[0].command is None
    assert "It needs scipy. Install scipy." in (findings[0].fix or "")


@pytest.mark.parametrize(
    ("installed", "state"),
    [
        (InstalledPack(version="1.0.0", cnr_id="comfyui-kjnodes"), "outdated"),
        (InstalledPack(repository="https://github.com/Kijai/comfyui-kjnodes.git"), "outdated"),
        (InstalledPack(cnr_id="comfyui-kjnodes", enabled=False), "disabled"),
        (InstalledPack(cnr_id="something-else"), "not_installed"),
    ],
)
def test_a_pack_that_is_there_is_updated_or_enabled_rather_than_installed(installed: InstalledPack, state: str) -> None:
    _, repair = mend(prompt_of("ImageResizeKJ"), packs={"installed": {"some-folder": installed}})
    assert repair.packs[0].state == state


def test_a_pack_of_the_servers_own_list_is_taken_where_ours_has_none() -> None:
    claims = {"Private": [ClaimingPack(repository="https://github.com/me/mine", title="Mine")]}
    _, repair = mend(prompt_of("Private"), packs={"claims": claims})
    assert repair.packs[0].command == "cm-cli install https://github.com/me/mine"


def test_a_renamed_class_is_what_the_server_replaces_itself() -> None:
    new = NodeReplacement("NewName", {"image": "old_image"})
    findings, repair = mend(prompt_of("OldName"), replacements={"OldName": new})
    assert findings[0].severity == "warning"
    assert "Use 'NewName' (inputs: old_image → image)" in (findings[0].fix or "")
    assert not repair.packs
    findings, _ = mend(prompt_of("OldName"), replacements={"OldName": NodeReplacement("NotThere")})
    assert findings[0].severity == "error"


def test_a_slip_of_the_pen_is_told_from_a_missing_pack() -> None:
    assert "Did you mean 'CLIPTextEncode'?" in fix_of(prompt_of("ClipTextEncode"))
    assert "Did you mean" not in fix_of(prompt_of("OnlyOther"))


def test_a_class_that_is_missing_many_times_is_explained_once() -> None:
    prompt = prompt_of("ImageResizeKJ") | {"3": {"class_type": "ImageResizeKJ", "inputs": {}}}
    findings, repair = mend(prompt)
    assert findings[1].fix == "As for node 1: `comfy node install comfyui-kjnodes`."
    assert len(repair.packs) == 1


@pytest.mark.parametrize(
    ("guess", "meant"),
    [
        ("LoadCheckpoint", "CheckpointLoaderSimple"),
        ("checkpointloadersimple", "CheckpointLoaderSimple"),
        ("TextEncode", "CLIPTextEncode"),
        ("clip_text_encode", "CLIPTextEncode"),
    ],
)
def test_a_guessed_class_leads_to_the_one_of_the_same_words(guess: str, meant: str) -> None:
    assert fix_of(prompt_of(guess)).startswith(f"Did you mean '{meant}'")


@pytest.mark.parametrize(
    "class_type", ["PrimitiveNode", "Note", "Reroute", "GetNode", "workflow>x", "0a1b2c3d-0000-4000-8000-00000000000a"]
)
def test_nodes_of_the_editor_only_are_told_from_missing_packs(class_type: str) -> None:
    findings, repair = mend(prompt_of(class_type))
    assert "exists only in ComfyUI's editor" in (findings[0].fix or "")
    assert not repair.packs
    assert "exists only in ComfyUI's editor" in (validate_prompt(prompt_of(class_type), CLASSES)[0].fix or "")


def test_what_only_the_workflow_says_is_told_as_such() -> None:
    findings, repair = mend(prompt_of("Shared", {"aux_id": "evil/ComfyUI-KJNodes"}))
    assert "The workflow says that it is of" in (findings[0].fix or "")
    assert "look before you install" in (findings[0].fix or "")
    assert [other.title for other in repair.packs[0].others or ()] == ["KJNodes", "Other"]
    findings, _ = mend(prompt_of("Shared", {"aux_id": "kijai/ComfyUI-KJNodes"}))
    assert "look before you install" not in (findings[0].fix or "")


def test_what_cannot_be_a_pack_is_not_repeated_as_one() -> None:
    _, repair = mend(prompt_of("Shared", {"cnr_id": "x; rm -rf ~."}))
    assert [repair.packs[0].title, *(other.title for other in repair.packs[0].others or ())] == ["KJNodes", "Other"]


def test_a_link_that_would_make_a_circle_is_not_advised() -> None:
    object_info = {**OBJECT_INFO, "Through": {"input": {"required": {"image": ["IMAGE"]}}, "output": ["IMAGE"]}}
    prompt = {
        "1": {"class_type": "Through", "inputs": {}},
        "2": {"class_type": "Through", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "Show", "inputs": {"any": ["2", 0]}},
        "4": {"class_type": "NewName", "inputs": {}},
    }
    finding = validate_prompt(prompt, object_info)[0]
    assert finding.fix == 'Link an output of type IMAGE: ["4", 0] (NewName).'


# -- models


def test_a_missing_model_comes_with_file_folder_size_link_and_command() -> None:
    findings, repair = mend(prompt_of("CheckpointLoaderSimple", ckpt_name="FLUX1-dev.safetensors"))
    model = repair.models[0]
    assert (model.folder, model.url, model.size, model.gated) == ("checkpoints", FLUX, 23_800_000_000, True)
    assert model.command is not None
    assert model.command.startswith(f"comfy model download --url {FLUX} --relative-path models/checkpoints")
    assert FLUX in (findings[0].fix or "")
    assert repair.afterwards == (
        "On ComfyUI's machine `comfyui-api models get --workflow FILE` fetches the models. "
        "Once the files are there, call check_status(refresh_inventory=true)."
    )


@pytest.mark.parametrize(
    ("asked", "use"),
    [
        ("sdxl.safetensors", ["sub/sdxl.safetensors"]),
        ("other\\sdxl.safetensors", ["sub/sdxl.safetensors"]),
        ("SD15.safetensors", ["sd15.safetensors"]),
        ("flux1-dev.safetensors", ["flux1-dev-fp8.safetensors"]),
    ],
)
def test_a_file_that_is_there_under_another_name_gives_the_exact_value(asked: str, use: list[str]) -> None:
    findings, repair = mend(prompt_of("CheckpointLoaderSimple", ckpt_name=asked))
    assert repair.models[0].use == use
    assert f"'{use[0]}'" in (findings[0].fix or "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("flux1-dev.safetensors", "flux1-dev-Q4_K_S.gguf", True),
        ("t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn_scaled.safetensors", True),
        ("v1-5-pruned-emaonly.safetensors", "v1-5-pruned-emaonly-fp16.safetensors", True),
        ("flux1-dev.safetensors", "flux1-schnell.safetensors", False),
        ("wan2.1_t2v_14B_fp16.safetensors", "wan2.1_i2v_14B_fp16.safetensors", False),
        ("wan2.1_t2v_14B.safetensors", "wan2.1_t2v_1.3B.safetensors", False),
    ],
)
def test_variants_of_a_model_are_told_from_other_models(one: str, other: str, same: bool) -> None:
    assert alternatives(one, [other]) == ([other] if same else [])


def test_a_link_to_a_page_is_told_from_a_link_to_a_file() -> None:
    fix = fix_of(prompt_of("CheckpointLoaderSimple", ckpt_name="paged.safetensors"))
    assert "Get it from this page" in fix
    assert "https://civitai.com/models/1" in fix


def test_a_file_of_the_same_name_for_another_folder_is_not_offered() -> None:
    _, repair = mend(prompt_of("CheckpointLoaderSimple", ckpt_name="only_vae.safetensors"))
    assert repair.models[0].url is None


def test_a_model_in_the_wrong_folder_is_found() -> None:
    assert "lies in models/vae" in fix_of(prompt_of("CheckpointLoaderSimple", ckpt_name="x.pt"))


def test_a_file_that_was_seen_after_the_classes_were_asked_is_there() -> None:
    prompt = prompt_of("CheckpointLoaderSimple", ckpt_name="new.safetensors")
    models = {"checkpoints": {"new.safetensors": 1, **INSTALLED["checkpoints"]}}
    assert mend(prompt, models=models, models_are_newer=True)[0] == []
    assert mend(prompt, models=models)[0][0].code == "value_not_in_list"


def test_the_files_of_classes_that_are_missing_are_listed_as_well() -> None:
    _, repair = mend(prompt_of("ImageResizeKJ", model="only_vae.safetensors", installed="sd15.safetensors"))
    assert [(model.file, model.folder) for model in repair.models] == [("only_vae.safetensors", "vae")]


def test_the_workflows_own_link_comes_first_and_is_marked() -> None:
    ui = {
        "nodes": [
            {
                "properties": {
                    "models": [
                        {
                            "name": "flux1-dev.safetensors",
                            "directory": "checkpoints",
                            "url": "https://example.org/flux1-dev.safetensors",
                        }
                    ]
                }
            }
        ]
    }
    prompt = prompt_of("CheckpointLoaderSimple", ckpt_name="flux1-dev.safetensors")
    sources = ModelSources.parse(MODELS).merged(ModelSources.of_workflow(ui))
    _, repair = mended(validate_prompt(prompt, CLASSES), prompt, ["2"], CLASSES, Knowledge(sources=sources))
    assert repair.models[0].url == "https://example.org/flux1-dev.safetensors"
    assert repair.models[0].from_workflow


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "-x.safetensors", "a;b.safetensors", "$(id).safetensors", "a'b.safetensors", "x\n.pt"]
)
def test_names_that_mean_something_to_a_shell_get_no_command(name: str) -> None:
    url = "https://huggingface.co/a/b/resolve/main/x.safetensors"
    ui = {"models": [{"name": name, "directory": "checkpoints", "url": url}]}
    prompt = prompt_of("CheckpointLoaderSimple", ckpt_name=name)
    knowledge = Knowledge(sources=ModelSources.of_workflow(ui))
    _, repair = mended(validate_prompt(prompt, CLASSES), prompt, ["2"], CLASSES, knowledge)
    assert all(model.command is None for model in repair.models)


def test_a_link_of_the_workflow_to_an_unknown_host_gets_no_command() -> None:
    ui = {"models": [{"name": "a.safetensors", "directory": "vae", "url": "https://evil.example/a.safetensors"}]}
    prompt = prompt_of("CheckpointLoaderSimple", ckpt_name="sub\\a.safetensors")
    knowledge = Knowledge(sources=ModelSources.of_workflow(ui))
    findings, repair = mended(validate_prompt(prompt, CLASSES), prompt, ["2"], CLASSES, knowledge)
    assert repair.models[0].command is None
    assert "look before you download" in (findings[0].fix or "")
    assert "to models/checkpoints/sub." in (findings[0].fix or "")


# -- versions, memory, embeddings


@pytest.mark.parametrize(
    ("one", "other", "older"),
    [
        ("0.3.9", "0.3.10", True),
        ("v1.2", "1.2.1", True),
        ("1.2.0", "1.2", False),
        ("0.3.75", "0.3.75", False),
        ("2.0.0", "1.9.9", False),
        ("abc123f", "1.0.0", False),
        (None, "1.0.0", False),
        ("1.0.0", "nightly", False),
        ("9" * 5000, "1.0", False),
    ],
)
def test_versions_are_compared_by_their_numbers(one: Any, other: Any, older: bool) -> None:
    assert is_older(one, other) is older


def test_a_pack_older_than_the_workflow_is_a_warning_with_the_update() -> None:
    prompt = prompt_of("NewName", {"cnr_id": "comfyui-kjnodes", "ver": "1.1.0"})
    installed = {"KJ": InstalledPack(version="1.0.9", cnr_id="comfyui-kjnodes")}
    findings, repair = mend(prompt, packs={"installed": installed})
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "version_mismatch")]
    assert repair.updates[0].command == "comfy node update comfyui-kjnodes"


def test_models_larger_than_the_free_memory_are_a_warning_with_the_figures() -> None:
    prompt = prompt_of("CheckpointLoaderSimple", ckpt_name="sub/sdxl.safetensors")
    small, large = (Device("GPU", "cuda", 24 * 10**9, free) for free in (6 * 10**9, 8 * 10**9))
    findings, _ = mend(prompt, devices=(small,))
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "memory")]
    assert "7.0 GB" in findings[0].message
    assert "6.0 GB of 24.0 GB are free on GPU" in findings[0].message
    assert mend(prompt, devices=(large,))[0] == []
    assert mend(prompt, devices=())[0] == []


def test_embeddings_that_a_text_names_are_looked_for() -> None:
    prompt = prompt_of("CLIPTextEncode", text="a cat, embedding:bad/Hands, (embedding:nope:1.2)", clip=["3", 1])
    prompt["3"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}}
    findings, _ = mend(prompt, embeddings=frozenset({"bad\\hands"}))
    assert [(finding.code, finding.received) for finding in findings] == [("embedding_missing", "nope")]
    assert mend(prompt)[0] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from([*OBJECT_INFO, "Shared", "Nothing"])},
    optional={
        "inputs": st.dictionaries(st.sampled_from(["ckpt_name", "text", "clip", "any"]), JSON) | JSON,
        "_meta": st.dictionaries(st.sampled_from(["cnr_id", "aux_id", "ver"]), JSON) | JSON,
    },
)


@given(JSON | st.dictionaries(st.sampled_from(["1", "2", "3"]), NODES | JSON))
def test_any_prompt_is_mended_without_an_exception(prompt: Any) -> None:
    if isinstance(prompt, dict):
        findings, repair = mend(prompt, embeddings=frozenset())
        assert all(finding.message for finding in findings)
        assert isinstance(repair, Repair)
