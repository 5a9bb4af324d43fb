"""find_templates: which fit a request, what they lack here, and one of them saved; with little servers and without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
import pytest
from anyio.abc import SocketStream
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyui_api.app.answers import TEXT_LIMIT, fitted
from comfyui_api.documents import reference, sections
from comfyui_api.errors import ComfyError, ComfySilent, FileProblem, InvalidArgument, UnknownName
from comfyui_api.explore.templates import PATTERNS, find_templates
from comfyui_api.intents import TASKS
from comfyui_api.results import TemplateList, as_json
from comfyui_api.stocktake import refresh_offline
from comfyui_api.templates import (
    Template,
    find,
    list_text,
    media_of_request,
    parse_index,
    parse_list,
    parse_pack_workflows,
)
from comfyui_api.workspace import open_workspace
from tests.support import DATA, answering, environment_for, http_reply
from tests.template_requests import REQUESTS, SUBJECTS, hits, hits_of_subjects
from tests.terminal import on_a_terminal

NOBODY = "http://127.0.0.1:9"
CLASSES = DATA / "object_info_0.3.75_some.json"
LISTED = parse_list(reference("templates.md"))


def workflow(checkpoint: str = "sd15.safetensors", sampler: str = "KSampler") -> dict[str, Any]:
    """A saved workflow of the usual five nodes."""
    nodes = [
        ("CheckpointLoaderSimple", [checkpoint], [], ["MODEL", "CLIP", "VAE"]),
        ("CLIPTextEncode", ["a cat"], [(1, 1, "clip", "CLIP")], ["CONDITIONING"]),
        ("CLIPTextEncode", ["bad"], [(1, 1, "clip", "CLIP")], ["CONDITIONING"]),
        ("EmptyLatentImage", [512, 512, 1], [], ["LATENT"]),
        (
            sampler,
            [7, "fixed", 20, 8, "euler", "normal", 1],
            [
                (1, 0, "model", "MODEL"),
                (2, 0, "positive", "CONDITIONING"),
                (3, 0, "negative", "CONDITIONING"),
                (4, 0, "latent_image", "LATENT"),
            ],
            ["LATENT"],
        ),
        ("VAEDecode", [], [(5, 0, "samples", "LATENT"), (1, 2, "vae", "VAE")], ["IMAGE"]),
        ("SaveImage", ["cat"], [(6, 0, "images", "IMAGE")], []),
    ]
    made: list[dict[str, Any]] = []
    links: list[list[Any]] = []
    for node_id, (class_type, values, taken, given_types) in enumerate(nodes, 1):
        inputs = []
        for place, (origin, slot, name, kind) in enumerate(taken):
            links.append([len(links) + 1, origin, slot, node_id, place, kind])
            inputs.append({"name": name, "type": kind, "link": len(links)})
        outputs = [{"name": kind, "type": kind, "links": []} for kind in given_types]
        made.append(
            {
                "id": node_id,
                "type": class_type,
                "widgets_values": values,
                "inputs": inputs,
                "outputs": outputs,
                "mode": 0,
            }
        )
    return {"nodes": made, "links": links, "version": 0.4, "last_node_id": len(made), "last_link_id": len(links)}


def entry(name: str, title: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "title": title or name, "description": "", "tags": [], "models": [], **more}


def index(*entries: Any) -> list[Any]:
    return [{"title": "Image", "templates": list(entries)}]


@asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """The URL of a server that has these answers by path, and 404 for all else; the node classes of a real one."""
    object_info = json.loads(CLASSES.read_text("utf-8"))
    object_info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["sd15.safetensors"]
    known: dict[str, Any] = {
        "/object_info": object_info,
        "/system_stats": {"system": {"os": "linux", "comfyui_version": "0.3.75"}, "devices": []},
        "/models": ["checkpoints"],
        "/models/checkpoints": ["sd15.safetensors"],
        "/embeddings": [],
        **answers,
    }

    async def reply(stream: SocketStream, head: bytes) -> None:
        path = unquote(head.split(b" ", 2)[1].decode())
        if path.startswith("/object_info/"):
            name = path.removeprefix("/object_info/")
            content: Any = {name: known["/object_info"][name]} if name in known["/object_info"] else {}
        else:
            content = known.get(path)
        if content is None:
            await stream.send(http_reply("404 Not Found", "404: Not Found"))
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            await stream.send(http_reply("200 OK", text, "application/json"))

    async with answering(reply) as url:
        yield url


async def ask(
    home: Path, url: str, query: str = "", name: str | None = None, project: str | None = None, limit: int = 10
) -> TemplateList:
    async with open_workspace(environment_for(home, url)) as workspace:
        return await find_templates(workspace, query, name, project, limit, None)


def names(result: TemplateList) -> list[str]:
    return [template.name for template in result.templates]


# --- with a server that has templates


@pytest.mark.anyio
async def test_a_hit_tells_what_is_missing_here_and_what_is_not(home: Path) -> None:
    answers = {
        "/templates/index.json": index(entry("here"), entry("lacks_model"), entry("lacks_node")),
        "/templates/here.json": workflow(),
        "/templates/lacks_model.json": workflow("other.safetensors"),
        "/templates/lacks_node.json": workflow(sampler="SamplerOfNobody"),
    }
    async with serving(answers) as url:
        result = await ask(home, url)
    by_name = {template.name: template for template in result.templates}
    assert by_name["here"].runs_here is True
    assert by_name["here"].models == ["sd15.safetensors"]
    assert by_name["here"].media == "text → image"
    assert by_name["lacks_model"].missing_models == ["other.safetensors"]
    assert by_name["lacks_node"].missing_nodes == ["SamplerOfNobody"]
    assert {by_name[name].runs_here for name in ("lacks_model", "lacks_node")} == {False}


@pytest.mark.anyio
async def test_of_those_that_fit_alike_what_runs_here_comes_first_and_partners_last(home: Path) -> None:
    answers = {
        "/templates/index.json": index(
            entry("api_cat", "Cat picture", openSource=False), entry("aa", "Cat picture"), entry("zz", "Cat picture")
        ),
        "/templates/api_cat.json": workflow(sampler="SamplerOfPartner"),
        "/templates/aa.json": workflow("other.safetensors"),
        "/templates/zz.json": workflow(),
    }
    async with serving(answers) as url:
        result = await ask(home, url, "cat picture")
    assert names(result) == ["zz", "aa", "api_cat"]
    assert [template.partner for template in result.templates] == [None, None, True]


@pytest.mark.anyio
async def test_what_costs_credits_is_not_said_to_run_here(home: Path) -> None:
    object_info = json.loads(CLASSES.read_text("utf-8"))
    answers = {
        "/object_info": object_info | {"Paid": {**object_info["EmptyImage"], "api_node": True}},
        "/templates/index.json": index(
            entry("api_cat", "Cat picture", openSource=False, usage=90_000), entry("plain_cat", "Cat picture")
        ),
        "/templates/api_cat.json": {"1": {"class_type": "Paid", "inputs": {}}},
        "/templates/plain_cat.json": workflow("other.safetensors"),
    }
    async with serving(answers) as url:
        result = await ask(home, url, "cat picture")
    assert names(result) == ["plain_cat", "api_cat"]
    assert [(each.runs_here, each.partner) for each in result.templates] == [(False, None), (None, True)]


@pytest.mark.anyio
async def test_where_no_free_one_takes_a_picture_a_pattern_is_named(home: Path) -> None:
    upscaling = entry("hiresfix", "Hires fix upscale", tags=["Text to Image", "Upscale"])
    answers = {"/templates/index.json": index(upscaling), "/templates/hiresfix.json": workflow()}
    async with serving(answers) as url:
        message = (await ask(home, url, "upscale this picture")).message
        assert "No free one takes a picture" in message
        assert "comfyui://references/workflows.md/an-upscale-model" in message
        assert "No free one" not in (await ask(home, url, "make a picture of a cat")).message


def test_the_patterns_that_are_pointed_to_are_sections() -> None:
    assert set(PATTERNS.values()) <= set(sections(reference("workflows.md")))
    assert set(PATTERNS) <= {task.called for task in TASKS.values()}


@pytest.mark.anyio
async def test_a_request_that_nothing_fits_brings_what_to_do_next(home: Path) -> None:
    async with serving({"/templates/index.json": index(entry("flux"), entry("wan"))}) as url:
        message = (await ask(home, url, "Bild einer Katze vergrößern")).message
    assert "Say in English" in message
    assert "lists all 2" in message


@pytest.mark.anyio
@pytest.mark.parametrize(("query", "beginning"), [("cat", "1 of 1 template fits."), ("", "1 template.")])
async def test_one_template_is_counted_as_one(home: Path, query: str, beginning: str) -> None:
    async with serving({"/templates/index.json": index(entry("cat"))}) as url:
        assert (await ask(home, url, query)).message.startswith(beginning)


@pytest.mark.anyio
async def test_a_list_that_did_not_come_is_not_taken_for_an_empty_one(home: Path) -> None:
    """A server that answers all else, and neither its templates nor its users' workflows."""

    async def reply(stream: SocketStream, head: bytes) -> None:
        path = unquote(head.split(b" ", 2)[1].decode())
        if path.startswith(("/templates/", "/userdata")):
            await anyio.sleep_forever()
        answers = {
            "/object_info": json.loads(CLASSES.read_text("utf-8")),
            "/system_stats": {"system": {"os": "linux", "comfyui_version": "0.3.75"}, "devices": []},
        }
        await stream.send(http_reply("200 OK", json.dumps(answers.get(path, [])), "application/json"))

    async with answering(reply) as url:
        with pytest.raises(ComfySilent, match="'server:w7' is saved on the server cannot be told"):
            await ask(home, url, name="server:w7")
        assert "did not list its own within 5 s" in (await ask(home, url, "cat")).message


@pytest.mark.anyio
async def test_one_by_name_is_saved_and_tells_its_inputs(home: Path) -> None:
    answers = {"/templates/index.json": index(entry("cat", "A cat")), "/templates/cat.json": workflow()}
    async with serving(answers) as url:
        result = await ask(home, url, name="cat", project="pets")
    assert result.workflow == str(home / "projects" / "pets" / "workflows" / "cat.json")
    assert json.loads(Path(result.workflow).read_text("utf-8")) == workflow()
    inputs = {entry.address: (entry.kind, entry.value) for entry in result.inputs or ()}
    assert inputs["2.text"] == ("prompt", "a cat")
    assert inputs["3.text"] == ("negative_prompt", "bad")
    assert inputs["5.seed"] == ("seed", 7)
    assert inputs["4.width"] == ("width", 512)
    assert result.repair is None
    assert 'queue_workflow with it and inputs={"2.text": …}' in result.message


@pytest.mark.anyio
async def test_what_is_missing_comes_with_how_to_have_it(home: Path) -> None:
    answers = {
        "/templates/index.json": index(entry("cat")),
        "/templates/cat.json": workflow("sd_xl_base_1.0.safetensors", "KSampler //Inspire"),
    }
    async with serving(answers) as url:
        result = await ask(home, url, name="cat")
    assert result.repair is not None
    assert [model.file for model in result.repair.models] == ["sd_xl_base_1.0.safetensors"]
    assert result.repair.models[0].url is not None
    assert result.repair.packs[0].class_types == ["KSampler //Inspire"]
    assert "Propose `repair` to the user." in result.message


@pytest.mark.anyio
@pytest.mark.parametrize("given_name", ["cat", "CAT", "cat.json", " cat ", "A Cat"])
async def test_a_name_is_taken_as_people_write_it(home: Path, given_name: str) -> None:
    answers = {"/templates/index.json": index(entry("cat", "A cat")), "/templates/cat.json": workflow()}
    async with serving(answers) as url:
        assert names(await ask(home, url, name=given_name)) == ["cat"]


@pytest.mark.anyio
async def test_a_saved_file_is_never_written_over(home: Path) -> None:
    answers = {"/templates/index.json": index(entry("cat")), "/templates/cat.json": workflow()}
    mine = home / "projects" / "default" / "workflows" / "cat.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    async with serving(answers) as url:
        first = await ask(home, url, name="cat")
        again = await ask(home, url, name="cat")
    assert mine.read_text() == "mine"
    assert first.workflow == again.workflow == str(mine.with_name("cat-2.json"))


@pytest.mark.anyio
async def test_a_wrong_name_brings_the_closest(home: Path) -> None:
    async with serving({"/templates/index.json": index(entry("image_flux2"))}) as url:
        with pytest.raises(UnknownName, match="Did you mean 'image_flux2'"):
            await ask(home, url, name="image_flux_2")
        with pytest.raises(
            UnknownName,
            match=r"not one of those here. It needs ComfyUI 0.11.0.*workflow_templates/blob/main/templates/",
        ):
            await ask(home, url, name="image_z_image_turbo")


@pytest.mark.anyio
@pytest.mark.parametrize("bad", ["../../secret", "..", "/etc/passwd", "a/../../b", "%2e%2e/x", "x\0y", "x" * 4000])
async def test_no_name_leads_out_of_the_templates(home: Path, bad: str) -> None:
    async with serving({"/templates/index.json": index(entry("cat"))}) as url:
        with pytest.raises(UnknownName):
            await ask(home, url, name=bad)
    assert not list(home.glob("projects/**/*.json"))


@pytest.mark.anyio
async def test_a_server_that_names_its_template_maliciously_writes_nothing_elsewhere(home: Path) -> None:
    names_of_it = ["../../../evil", "..", "a/b", "C:evil", "evil\n", "~/evil", "con"]
    answers: dict[str, Any] = {"/templates/index.json": index(*(entry(name) for name in names_of_it))}
    answers |= {f"/templates/{name}.json": workflow() for name in names_of_it}
    async with serving(answers) as url:
        for name in names_of_it:
            try:
                result = await ask(home, url, name=name)
            except ComfyError:
                continue
            assert Path(str(result.workflow)).parent == home / "projects" / "default" / "workflows"
    assert all(path.is_relative_to(home / "projects") for path in home.parent.glob("**/*evil*"))


@pytest.mark.anyio
async def test_packs_bring_workflows_of_their_own(home: Path) -> None:
    answers = {
        "/api/workflow_templates": {"my-pack": ["upscale twice"]},
        "/api/workflow_templates/my-pack/upscale twice.json": workflow(),
    }
    async with serving(answers) as url:
        result = await ask(home, url, "upscale twice")
        assert names(result)[0] == "my-pack/upscale twice"
        assert result.templates[0].runs_here is True
        saved = await ask(home, url, name="my-pack/upscale twice")
    assert Path(str(saved.workflow)).name == "my-pack-upscale twice.json"


@pytest.mark.anyio
async def test_a_packs_workflow_may_be_in_api_format(home: Path) -> None:
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    answers = {
        "/api/workflow_templates": {"p": ["plain"]},
        "/api/workflow_templates/p/plain.json": {"prompt": prompt},
    }
    async with serving(answers) as url:
        result = await ask(home, url, name="p/plain")
    assert json.loads(Path(str(result.workflow)).read_text("utf-8")) == prompt
    assert "1.width" in {entry.address for entry in result.inputs or ()}


@pytest.mark.anyio
async def test_a_terminal_is_not_steered_by_a_title(home: Path) -> None:
    answers = {"/templates/index.json": index(entry("cat", "\x1b[2J\x1b]0;owned\x07 [red]cat[/]"))}
    async with serving(answers) as url:
        _, shown = await anyio.to_thread.run_sync(lambda: on_a_terminal(home, "templates", "cat", url=url))
    assert "owned" in shown
    assert "[red]cat" in shown
    assert "\x1b[2J" not in shown


@pytest.mark.anyio
async def test_workflows_that_were_saved_on_the_server_are_found_and_not_copied(home: Path) -> None:
    answers = {
        "/templates/index.json": index(entry("cat picture")),
        "/templates/cat picture.json": workflow(),
        "/userdata?dir=workflows&recurse=true&split=false&full_info=true": [
            {"path": "my cat picture.json", "size": 10, "modified": 1}
        ],
        "/userdata/workflows/my cat picture.json": workflow(),
    }
    async with serving(answers) as url:
        assert names(await ask(home, url, "cat picture"))[0] == "server:my cat picture"
        result = await ask(home, url, name="server:my cat picture")
    assert result.workflow == "server:my cat picture"
    assert result.inputs
    assert not (home / "projects").exists()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "broken", ["{", "[]", "null", '"text"', "{}", '{"nodes": 3}', '{"nodes": [[[]]]}', "<html></html>", "[" * 3000]
)
async def test_a_template_that_is_none_hides_no_other_and_is_said_by_name(home: Path, broken: str) -> None:
    answers = {
        "/templates/index.json": index(entry("good"), entry("bad")),
        "/templates/good.json": workflow(),
        "/templates/bad.json": broken,
    }
    async with serving(answers) as url:
        assert set(names(await ask(home, url))) == {"good", "bad"}
        try:
            await ask(home, url, name="bad")
        except ComfyError as exc:
            assert exc.message  # some may also be read as an empty workflow


@pytest.mark.anyio
@pytest.mark.parametrize("broken", ["{", "{}", "null", "<html>", '[{"templates": 3}, 4, {"templates": [null, {}]}]'])
async def test_a_broken_index_is_done_without(home: Path, broken: str) -> None:
    async with serving({"/templates/index.json": broken}) as url:
        result = await ask(home, url, "text to image")
    assert result.message


# --- without a server, or without its templates


@pytest.mark.anyio
async def test_without_a_server_the_list_is_searched_and_says_what_is_missing(home: Path) -> None:
    comfyui = home.parent / "ComfyUI"
    (comfyui / "models" / "text_encoders").mkdir(parents=True)
    (comfyui / "models" / "text_encoders" / "qwen_3_4b.safetensors").touch()
    (comfyui / "comfyui_version.py").write_text('__version__ = "0.3.75"')
    async with open_workspace(environment_for(home, NOBODY)) as workspace:
        await refresh_offline(workspace, None, CLASSES, comfyui)
    result = await ask(home, NOBODY, "z image turbo")
    template = next(each for each in result.templates if each.name == "image_z_image_turbo")
    assert template.models == ["qwen_3_4b.safetensors"]
    assert template.missing_models == ["ae.safetensors", "z_image_turbo_bf16.safetensors"]
    assert template.needs_comfyui == "0.11.0"
    assert "by our list" in result.message
    with pytest.raises(FileProblem, match=r"templates/image_z_image_turbo\.json"):
        await ask(home, NOBODY, name="image_z_image_turbo")


@pytest.mark.anyio
async def test_where_nothing_is_known_templates_are_found_all_the_same(home: Path) -> None:
    result = await ask(home, NOBODY, "music")
    assert result.templates
    assert {template.runs_here for template in result.templates} == {None}


@pytest.mark.anyio
async def test_an_installation_on_this_machine_gives_the_workflow(home: Path) -> None:
    packages = home.parent / "ComfyUI" / "venv" / "lib" / "python3.12" / "site-packages"
    folder = packages / "comfyui_workflow_templates_json" / "templates"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps(index(entry("cat"))))
    (folder / "cat.json").write_text(json.dumps(workflow()))
    environment = environment_for(home, NOBODY, COMFYUI_API_COMFYUI_PATH=str(home.parent / "ComfyUI"))
    async with open_workspace(environment) as workspace:
        await refresh_offline(workspace, None, CLASSES, None)
        result = await find_templates(workspace, "", "cat", None, 10, None)
        assert (await find_templates(workspace, "cat", None, None, 10, None)).templates[0].name == "cat"
    assert json.loads(Path(str(result.workflow)).read_text("utf-8")) == workflow()
    assert result.inputs is not None
    assert result.inputs[0].address == "2.text"


@pytest.mark.anyio
async def test_a_limit_below_one_is_refused(home: Path) -> None:
    with pytest.raises(InvalidArgument, match="at least 1"):
        await ask(home, NOBODY, limit=0)


@pytest.mark.anyio
async def test_hundreds_of_templates_stay_a_short_answer(home: Path) -> None:
    for limit in (10, 50):
        result = as_json(await ask(home, NOBODY, limit=limit))
        cut = fitted(result, TEXT_LIMIT)
        assert len(json.dumps(cut, ensure_ascii=False, separators=(",", ":"))) <= TEXT_LIMIT
        assert len(cut["templates"]) >= 10


# --- the list, the index and the ranking


def test_the_list_has_the_official_templates_and_stays_compact() -> None:
    assert len(LISTED) > 600
    assert len(reference("templates.md").encode()) < 150_000
    assert all(template.makes for template in LISTED)
    assert sum(bool(template.files) for template in LISTED if not template.partner) > 200
    assert sum(template.partner for template in LISTED) > 300


def test_the_list_reads_back_as_it_was_written() -> None:
    again = parse_list(list_text(LISTED, "# Head\n"))
    assert again == LISTED


def test_requests_in_plain_words_find_their_templates() -> None:
    found = hits(LISTED, newer=True)
    assert found.asked >= 40
    assert found.in_three >= 0.94 * found.asked, found.missed
    assert found.first >= 0.8 * found.asked


def test_what_a_picture_is_to_show_does_not_choose_its_template() -> None:
    found = hits_of_subjects(LISTED, newer=True)
    assert found.asked >= 60
    assert found.in_three >= 0.96 * found.asked, found.missed
    assert found.first >= 0.92 * found.asked


def test_a_house_is_no_slip_of_a_horse() -> None:
    assert find("house", LISTED).read_as == {}
    assert "kontekst" in find("kontekst", LISTED).read_as


def test_among_templates_that_do_the_same_the_plain_local_one_comes_first() -> None:
    lora = Template(
        "lora", "LoRA", category="Getting Started", tags=("Text to Image",), takes=("text",), makes=("image",)
    )
    plain = replace(lora, name="default", title="Image Generation")
    partner = replace(plain, name="api_x", title="Text to Image", partner=True)
    found = find("make a picture of a red fox in the snow", [lora, partner, plain]).found
    assert [each.key for each in found] == ["default", "api_x", "lora"]


def test_a_model_that_is_named_is_preferred_and_others_still_follow() -> None:
    found = [each.key for each in find("a picture of a runway with flux", LISTED).found]
    assert "flux" in found[0]
    assert "image_z_image_turbo" in found
    assert find("text to music api", LISTED).found[0].key.startswith("api_")
    assert "runway" not in find("a picture of a runway", LISTED).found[0].key


def test_ones_own_workflow_is_found_by_its_subject() -> None:
    own = Template("server:red_fox", "red_fox", "Saved on the server", is_own=True)
    assert find("make a picture of a red fox", [*LISTED, own]).found[0].key == "server:red_fox"


@pytest.mark.parametrize(
    ("request_", "takes", "makes"),
    [
        ("turn a photo into a video", "image", "video"),
        ("image to 3d", "image", "3d"),
        ("a video from two pictures", "image", "video"),
        ("i2v", "image", "video"),
        ("img2img", "image", "image"),
        ("animate my drawing", "image", "video"),
        ("make a movie", "text", "video"),
        ("make me a nice picture of a cat", "text", "image"),
        ("make the picture bigger", None, "image"),
        ("describe this photo", "image", "text"),
        ("upscale", None, None),
    ],
)
def test_a_request_tells_what_becomes_what(request_: str, takes: str | None, makes: str | None) -> None:
    assert media_of_request(request_) == (takes, makes)


TEXTS = st.text(max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["name", "title", "description", "tags", "models", "size", "io", "openSource", "usage", "minComfyUIVersion"]
)
ENTRIES = st.dictionaries(KEYS, VALUES | TEXTS, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["title", "templates"]), VALUES | st.lists(ENTRIES, max_size=4))))
def test_any_index_is_read_without_harm(raw: list[Any]) -> None:
    for template in parse_index(raw):
        assert "/" not in template.name
        assert "\\" not in template.name
        assert template.name.strip(". ")
        assert find("cat video", [template]).found is not None


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_list_of_pack_workflows_is_read_without_harm(raw: dict[str, Any]) -> None:
    assert all(template.pack for template in parse_pack_workflows(raw))


@settings(max_examples=200, deadline=None)
@given(st.text() | st.lists(st.lists(TEXTS, min_size=8, max_size=8).map("|".join)).map("\n".join))
def test_any_text_is_read_as_a_list_without_harm(text: str) -> None:
    assert all(template.name for template in parse_list(text))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_request_is_answered(query: str) -> None:
    find(query, LISTED[:40])


def test_every_request_of_the_table_is_distinct() -> None:
    words = [request.words for request in (*REQUESTS, *SUBJECTS)]
    assert len(set(words)) == len(words)


def test_a_template_knows_where_it_can_be_had() -> None:
    assert str(Template("a b", "A").link).endswith("/templates/a%20b.json")
    assert Template("p/a", "A", pack="p").link is None
