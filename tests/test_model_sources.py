"""Where models can be had: reading the tables, what workflows and Managers say, and finding in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts.update_references import models_text

from comfyui_api.documents import reference
from comfyui_api.model_sources import ModelSource, ModelSources, direct_link, size_of
from comfyui_api.sandbox import default_home
from comfyui_api.settings import Settings
from tests import oracle

FILE = "https://huggingface.co/owner/models/resolve/main/sub/a.safetensors"
DIGEST = "0123456789abcdef" * 4
LOADERS = {
    "CheckpointLoaderSimple": "checkpoints",
    "CLIPLoader": "text_encoders",
    "CLIPVisionLoader": "clip_vision",
    "ControlNetLoader": "controlnet",
    "DualCLIPLoader": "text_encoders",
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "QuadrupleCLIPLoader": "text_encoders",
    "UNETLoader": "diffusion_models",
    "UpscaleModelLoader": "upscale_models",
    "VAELoader": "vae",
}
MODEL_FILE = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|gguf|bin|onnx)$", re.IGNORECASE)


@pytest.fixture(scope="module")
def references() -> ModelSources:
    return ModelSources.parse(reference("models.md"))


# --- tables


def only(text: str) -> ModelSource:
    sources = ModelSources.parse(text)
    assert sources.problems == ()
    (source,) = sources
    return source


def test_a_row_is_a_source_in_the_folder_of_its_heading() -> None:
    text = f"""# Models
## text_encoders
| File | Size | Licence | Link | SHA-256 |
|---|---|---|---|---|
| `a.safetensors` | 6.94 GB | MIT | {FILE} | {DIGEST.upper()} |
"""
    assert only(text) == ModelSource(
        "a.safetensors", "text_encoders", FILE, size=6_940_000_000, sha256=DIGEST, licence="MIT"
    )


def test_rows_of_the_working_folder_say_so() -> None:
    (source,) = ModelSources.parse(f"## vae\n| File | Link |\n|--|--|\n| a.pt | {FILE} |", "working folder")
    assert source.origin == "working folder"


@pytest.mark.parametrize(
    "table",
    [
        f"| Link | File |\n|---|---|\n| {FILE} | a.safetensors |",
        f"File | URL\n:--|--:\na.safetensors | {FILE}",
        f"|Name|Download|Notes|\n|-|-|-|\n|**a.safetensors**|[here]({FILE})|fast, use it|",
        f"| Model file | Remarks |\n|---|---|\n| [a.safetensors]({FILE}) | with its link |",
        f"| filename | link |\n|---|---|\n| `a.safetensors` | <{FILE}?download=true> |",
        f"| Link |\n|---|\n| {FILE.replace('resolve', 'blob')} |",
    ],
    ids=["other order", "no outer bars", "marks", "link on the name", "download=true", "link only"],
)
def test_tables_that_people_write_are_understood(table: str) -> None:
    source = only(f"## loras\n\nSome words | with a bar.\n\n{table}\n\nMore words.\n")
    assert (source.file, source.folder, source.url) == ("a.safetensors", "loras", FILE)


@pytest.mark.parametrize(
    ("heading", "folder"),
    [
        ("## text_encoders", "text_encoders"),
        ("## Text encoders", "text_encoders"),
        ("### The LoRAs: `loras`", "loras"),
        ("## clip", "text_encoders"),
        ("## unet ##", "diffusion_models"),
        ("## models/checkpoints/", "checkpoints"),
        ("# Checkpoints", "checkpoints"),
        ("## ipadapter", "ipadapter"),
        ("## loras\n### My favourites", "loras"),
        ("## loras\n### vae", "vae"),
    ],
)
def test_a_heading_names_the_folder_in_comfyuis_word(heading: str, folder: str) -> None:
    assert only(f"{heading}\n| File | Link |\n|---|---|\n| a.safetensors | {FILE} |").folder == folder


def test_a_column_names_the_folder_and_subfolders_belong_to_the_file() -> None:
    source = only(f"| File | Folder | Link |\n|---|---|---|\n| a.pt | ComfyUI/models/unet/Flux | {FILE} |")
    assert (source.folder, source.file) == ("diffusion_models", "Flux/a.pt")


def test_a_page_is_told_apart_from_a_link_to_a_file() -> None:
    source = only("## vae\n| File | Link |\n|---|---|\n| a.pt | https://huggingface.co/owner/models |")
    assert (source.url, source.page) == (None, "https://huggingface.co/owner/models")


def test_terms_to_accept_make_a_source_gated() -> None:
    page = "https://huggingface.co/owner/models"
    table = f"## vae\n| File | Terms | Link |\n|---|---|---|\n| a.pt | [accept them]({page}) | {FILE} |\n"
    source, free = ModelSources.parse(f"{table}| b.pt | no | {FILE} |")
    assert (source.gated, source.page, source.url) == (True, page, FILE)
    assert not free.gated


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("| a.pt | nowhere |", "no link to it is given"),
        ("| a.pt | ftp://example.com/a.pt |", "no link to it is given"),
        ("| a.pt | javascript:alert(1) |", "no link to it is given"),
        ("| a.pt | https://user:word@example.com/a.pt |", "no link to it is given"),
        ("| ../a.pt | https://example.com/a.pt |", "no plain path"),
        ("| C:\\a.pt | https://example.com/a.pt |", "no plain path"),
        ("| /etc/a.pt | https://example.com/a.pt |", "no plain path"),
        ("| | https://huggingface.co/owner/models |", "names no file"),
    ],
)
def test_a_broken_row_is_passed_over_and_said(row: str, reason: str) -> None:
    table = f"## vae\n| File | Link |\n|---|---|\n{row}\n| good.pt | https://example.com/good.pt |\n"
    sources = ModelSources.parse(table)
    assert [source.file for source in sources] == ["good.pt"]
    (problem,) = sources.problems
    assert problem.startswith("Line 4: ")
    assert reason in problem


def test_a_row_without_a_folder_is_passed_over_and_said() -> None:
    sources = ModelSources.parse("# My models\n| File | Link |\n|---|---|\n| a.pt | https://example.com/a.pt |")
    assert not sources.sources
    assert "no folder is given" in sources.problems[0]


def test_examples_in_code_are_no_rows() -> None:
    text = "## vae\n```markdown\n| File | Link |\n|---|---|\n| a.pt | https://example.com/a.pt |\n```\n"
    sources = ModelSources.parse(text)
    assert (sources.sources, sources.problems) == ((), ())


def test_a_flood_of_broken_rows_is_told_in_bounds() -> None:
    rows = "| a.pt | nowhere |\n" * 5_000
    sources = ModelSources.parse(f"## vae\n| File | Link |\n|---|---|\n{rows}")
    assert len(sources.problems) == 101
    assert sources.problems[-1] == "There are 4900 more such problems."


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6.94 GB", 6_940_000_000),
        ("6.46 GiB", 6_936_372_183),
        ("335MB", 335_000_000),
        ("6,5 GB", 6_500_000_000),
        ("253,806 KB", 253_806_000),
        ("12345 bytes", 12345),
        ("12345", 12345),
        ("100 B", 100),
        ("6.5", None),
        ("some", None),
        ("0 GB", None),
        ("9" * 15 + " TB", None),
    ],
)
def test_sizes_are_bytes(text: str, size: int | None) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize(
    ("link", "direct"),
    [
        ("https://huggingface.co/o/r/blob/main/a/b.pt", "https://huggingface.co/o/r/resolve/main/a/b.pt"),
        ("https://huggingface.co/o/r/resolve/main/b.pt?download=true", "https://huggingface.co/o/r/resolve/main/b.pt"),
        ("https://huggingface.co/o/r", None),
        ("https://huggingface.co/o/r/tree/main/a", None),
        ("https://github.com/o/r/releases/download/v1/b.pth", "https://github.com/o/r/releases/download/v1/b.pth"),
        ("https://github.com/o/r/blob/main/b.pth", "https://github.com/o/r/raw/main/b.pth"),
        ("https://github.com/o/r", None),
        (
            "https://civitai.com/api/download/models/5637?type=Model",
            "https://civitai.com/api/download/models/5637?type=Model",
        ),
        ("https://civitai.com/models/5637", None),
        ("https://example.com/b.safetensors", "https://example.com/b.safetensors"),
        ("https://example.com/about.html", None),
        ("file:///etc/passwd", None),
        ("https://", None),
        ("https://[::1/b.pt", None),
        ("https://example.com/a b.pt", None),
    ],
)
def test_only_links_to_files_are_direct(link: str, direct: str | None) -> None:
    assert direct_link(link) == direct


# --- finding


@pytest.fixture
def some() -> ModelSources:
    return ModelSources(
        [
            ModelSource("ae.safetensors", "vae", "https://example.com/1/ae.safetensors"),
            ModelSource("Flux/ae.safetensors", "vae", "https://example.com/2/ae.safetensors"),
            ModelSource("AE.safetensors", "checkpoints", "https://example.com/3/AE.safetensors"),
            ModelSource("clip_l.safetensors", "text_encoders", "https://example.com/4/clip_l.safetensors"),
        ]
    )


@pytest.mark.parametrize(
    ("file", "folder", "expected"),
    [
        ("ae.safetensors", None, "132"),
        ("ae.safetensors", "vae", "123"),
        ("ae.safetensors", "checkpoints", "312"),
        ("flux\\AE.safetensors", "vae", "213"),
        ("Flux/ae.safetensors", None, "213"),
        ("CLIP_L.SAFETENSORS", "clip", "4"),
        ("b.safetensors", None, ""),
        ("", None, ""),
    ],
)
def test_the_file_that_fits_best_comes_first(some: ModelSources, file: str, folder: str | None, expected: str) -> None:
    found = [source.url or "" for source in some.find(file, folder)]
    order = "".join(url.split("/")[3] for url in found)
    assert order == expected or (order[:1] == expected[:1] and sorted(order) == sorted(expected))


def test_one_file_is_named_only_where_it_is_certain(some: ModelSources, references: ModelSources) -> None:
    def url(file: str, folder: str | None = None) -> str | None:
        found = some.find_one(file, folder)
        return None if found is None else (found.url or "").split("/")[3]

    assert url("ae.safetensors", "vae") == "1"
    assert url("FLUX/ae.safetensors", "vae") == "2"
    assert url("Clip_L.safetensors", "clip") == "4"
    assert url("Clip_L.safetensors", "vae") is None
    assert url("b.safetensors") is None
    assert references.find_one("diffusion_pytorch_model.safetensors", "controlnet") is None
    assert (
        references.find_one("FLUX.1/jasperai-dev-Depth/diffusion_pytorch_model.safetensors", "controlnet") is not None
    )


def test_every_word_of_a_search_has_to_fit(some: ModelSources) -> None:
    assert [source.file for source in some.search("flux ae")] == ["Flux/ae.safetensors"]
    assert [source.folder for source in some.search("AE", "checkpoints")] == ["checkpoints"]
    assert len(some.search("")) == 4
    assert some.search("nothing like it") == []


def test_what_is_merged_in_comes_first_and_keeps_what_was_known() -> None:
    known = ModelSources([ModelSource("a.pt", "vae", FILE, size=5, licence="MIT"), ModelSource("b.pt", "vae", FILE)])
    other = "https://example.com/a.pt"
    own = ModelSources([ModelSource("a.pt", "vae", other), ModelSource("a.pt", "vae", FILE, origin="workflow")])
    merged = known.merged(own)
    assert [source.url for source in merged.find("a.pt", "vae")] == [other, FILE]
    assert merged.find("a.pt")[1] == ModelSource("a.pt", "vae", FILE, size=5, licence="MIT", origin="workflow")
    assert len(merged) == 3


# --- workflows and Managers


def node(*models: Any) -> dict[str, Any]:
    return {"id": 1, "type": "VAELoader", "properties": {"models": list(models)}}


def test_a_workflow_names_its_models_at_every_depth() -> None:
    def model(name: str) -> dict[str, Any]:
        return {"name": name, "url": FILE, "directory": "vae", "hash": DIGEST, "hash_type": "SHA256"}

    workflow = {
        "nodes": [node(model("a.pt"))],
        "models": [model("b.pt")],
        "definitions": {"subgraphs": [{"nodes": [node(model("c.pt"))]}]},
        "extra": {"groupNodes": {"mine": {"nodes": [node(model("d.pt"))]}}},
    }
    sources = ModelSources.of_workflow(workflow)
    assert sorted(source.file for source in sources) == ["a.pt", "b.pt", "c.pt", "d.pt"]
    assert {source.sha256 for source in sources} == {DIGEST}
    assert {source.origin for source in sources} == {"workflow"}


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "../../a.pt", "url": FILE, "directory": "vae"},
        {"name": "a.pt", "url": FILE, "directory": "../custom_nodes"},
        {"name": "a.pt", "url": FILE, "directory": "/etc"},
        {"name": "a.pt", "url": FILE},
        {"name": "a.pt", "url": "file:///etc/passwd", "directory": "vae"},
        {"name": "a.pt\nb", "url": FILE, "directory": "vae"},
        {"url": FILE, "directory": "vae"},
        "a.pt",
        None,
    ],
)
def test_hostile_entries_of_a_workflow_are_passed_over_and_said(entry: Any) -> None:
    sources = ModelSources.of_workflow({"nodes": [node(entry)]})
    assert sources.sources == ()
    assert len(sources.problems) == 1
    assert sources.problems[0].isprintable()


def test_a_hash_counts_only_where_it_is_a_sha256() -> None:
    entry = {"name": "a.pt", "url": FILE, "directory": "vae", "hash": DIGEST, "hash_type": "MD5"}
    (source,) = ModelSources.of_workflow({"nodes": [node(entry)]})
    assert source.sha256 is None


def test_a_managers_list_gets_comfyuis_folders() -> None:
    def entry(save_path: str, kind: str, filename: str = "a.pt") -> dict[str, Any]:
        page = "https://huggingface.co/owner/models"
        return {
            "filename": filename,
            "save_path": save_path,
            "type": kind,
            "url": FILE,
            "reference": page,
            "size": "2GB",
        }

    snapshot = {**entry("diffusers/owner", "x", "<huggingface>"), "url": "owner/models"}
    models = [entry("default", "clip"), entry("unet/Flux", "diffusion_model"), snapshot, entry("..", "x"), 3]
    sources = ModelSources.of_manager({"models": models})
    assert [(source.folder, source.file) for source in sources] == [
        ("text_encoders", "a.pt"),
        ("diffusion_models", "Flux/a.pt"),
        ("diffusers", "owner/models"),
    ]
    assert sources.sources[0].size == 2_000_000_000
    assert (sources.sources[2].url, sources.sources[2].page) == (None, "https://huggingface.co/owner/models")
    assert len(sources.problems) == 2


# --- whatever others wrote

lines = st.text(alphabet="|-:`#[]()<>\\/. \nabAB1_:", max_size=300)
cells = st.sampled_from(
    ["File", "Link", "Folder", "Size", "SHA-256", "Terms", "a.pt", "..\\a.pt", FILE, "<x>", "`b`", "1,5 GB", "[x](y)"]
)
tables = st.lists(st.lists(cells, max_size=5).map(lambda row: f"|{'|'.join(row)}|"), max_size=12).map(
    lambda rows: "## vae\n" + "\n|---|---|\n".join(rows)
)


def is_sound(source: ModelSource) -> bool:
    parts = [source.folder, *source.file.split("/")]
    return all(part not in ("", ".", "..") and "\\" not in part for part in parts) and bool(source.url or source.page)


@given(st.one_of(st.text(max_size=300), lines, tables))
def test_any_text_is_read_into_sound_sources(text: str) -> None:
    sources = ModelSources.parse(text)
    assert all(map(is_sound, sources))
    assert all(problem.isprintable() for problem in sources.problems)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=20,
)
names = st.sampled_from(
    ["nodes", "properties", "models", "name", "url", "directory", "hash", "hash_type", "definitions"]
)
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.sampled_from([FILE, "a.pt", "vae", "../x", DIGEST, "SHA256"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=6)),
    max_leaves=30,
)


@given(st.one_of(json_values, values, st.builds(lambda entry: {"nodes": [node(entry)]}, values)))
def test_any_workflow_is_read_into_sound_sources(workflow: Any) -> None:
    assert all(map(is_sound, ModelSources.of_workflow(workflow)))


@given(st.one_of(json_values, values))
def test_any_list_of_a_manager_is_read_into_sound_sources(model_list: Any) -> None:
    assert all(map(is_sound, ModelSources.of_manager(model_list)))


@given(st.text(max_size=60), st.one_of(st.none(), st.text(max_size=20)))
def test_any_name_can_be_looked_for(file: str, folder: str | None) -> None:
    known = ModelSources([ModelSource("a.pt", "vae", FILE)])
    assert len(known.find(file, folder)) <= 1
    assert len(known.search(file, folder)) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "#" * 200_000,
        "|" * 200_000,
        "`" * 200_000,
        "[" * 200_000,
        f"## vae\n|File|Link|\n|-|-|\n|{'[' * 3_000}|x|\n" * 50,
    ],
    ids=["headings", "bars", "backquotes", "brackets", "rows of brackets"],
)
def test_tables_made_to_take_long_come_to_an_end(text: str) -> None:
    assert ModelSources.parse(text).sources == ()


# --- the references themselves


def test_the_references_are_read_whole(references: ModelSources) -> None:
    assert references.problems == ()
    assert len(references) > 900
    assert len(reference("models.md").encode()) < 200_000


def test_the_references_are_written_as_the_script_writes_them(references: ModelSources) -> None:
    text = reference("models.md")
    head = text[: text.index("\n## ", text.rindex("```"))]
    assert models_text(list(references), head) == text


def test_every_link_of_the_references_leads_to_a_file(references: ModelSources) -> None:
    for source in references:
        assert is_sound(source)
        assert source.url or source.page
        for link in filter(None, (source.url, source.page)):
            assert urlsplit(link).scheme in ("http", "https"), source
        if source.url is not None:
            assert direct_link(source.url) == source.url, source
        if source.gated:
            assert source.page, source


def test_no_row_of_the_references_stands_twice(references: ModelSources) -> None:
    keys = [(source.folder, source.file, source.url or source.page) for source in references]
    assert len(keys) == len(set(keys))


def test_the_references_know_what_everybody_uses(references: ModelSources) -> None:
    base = references.find("sd_xl_base_1.0.safetensors", "checkpoints")[0]
    assert base.url is not None
    assert "stabilityai/stable-diffusion-xl-base-1.0" in base.url
    assert base.size == pytest.approx(6_938_078_334, rel=0.01)
    schnell = references.find("flux1-schnell.safetensors", "diffusion_models")
    assert any(source.gated and source.page for source in schnell)


def named_by(workflow: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Every model file that a workflow names, with its folder where the workflow says it: in the models of its nodes,
    in widgets, and in the links of its notes."""
    graphs = [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]
    for each in [each for graph in graphs for each in graph["nodes"]]:
        for model in each.get("properties", {}).get("models") or []:
            yield model["name"], model["directory"]
        for text in texts_in(each.get("widgets_values")):
            if each["type"] in ("MarkdownNote", "Note"):
                for link in re.findall(r"https?://[^\s)\]>\"'`]+", text):
                    file = unquote(urlsplit(link).path).rpartition("/")[2]
                    if MODEL_FILE.search(file) and "/tree/" not in link:
                        yield file, None
            elif MODEL_FILE.search(text) and "\n" not in text and "://" not in text:
                yield text, LOADERS.get(each["type"])


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)


def missing_links(references: ModelSources, workflows: dict[str, dict[str, Any]]) -> set[tuple[str, str | None]]:
    named = {each for workflow in workflows.values() for each in named_by(workflow)}
    return {
        (file, folder)
        for file, folder in named
        if not any(source.url and folder in (None, source.folder) for source in references.find(file, folder))
    }


def workflows_in(folders: list[Path]) -> dict[str, dict[str, Any]]:
    return oracle._workflows(file for folder in folders for file in folder.glob("*.json"))


def test_every_model_of_the_newest_templates_has_a_link_and_a_folder(references: ModelSources) -> None:
    try:
        package = oracle._wheel(oracle.TEMPLATES)
    except oracle.OracleUnavailable as exc:
        pytest.skip(str(exc))
    workflows = workflows_in([package / "comfyui_workflow_templates_json" / "templates"])
    assert len(workflows) == 644
    assert missing_links(references, workflows) == set()


def test_every_model_of_the_older_templates_has_a_link_but_where_nodes_fetch_it(references: ModelSources) -> None:
    environment = default_home(Settings()) / "env"
    folders = list(environment.glob("lib/python*/site-packages/comfyui_workflow_templates_media_*/templates"))
    if not folders:
        pytest.skip("The sandbox, which brings these templates, is not installed.")
    fetched_by_their_nodes = {("yolox_l.onnx", None), ("dw-ll_ucoco_384_bs5.torchscript.pt", None)}
    # Their owner took them down, and no link to a copy of these files is known: there is a page.
    taken_down = {"512-inpainting-ema.safetensors", "v2-1_768-ema-pruned.safetensors"}
    missing = missing_links(references, workflows_in(folders)) - fetched_by_their_nodes
    assert {file for file, _ in missing} == taken_down
    assert all(references.find(file, "checkpoints")[0].page for file in taken_down)
