"""Fetching model files: from servers that behave badly, onto a disk that never has half a file under its name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyui_api.errors import ComfyError, FileProblem, InvalidArgument, NotPermitted
from comfyui_api.model_downloads import Hosts, Remote, fetch, kept_so_far, place_of, tokens_of
from comfyui_api.model_downloads.names import folder_word
from comfyui_api.model_sources import ModelSource, ModelSources
from tests.file_server import Behaviour, File, FileServer, Handler, file_server, page, sent_on, sha256, weights

ROOT = Path(__file__).resolve().parent.parent
NAME = "model.safetensors"
AT = f"/repo/resolve/main/{NAME}"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "größe loras" / NAME


@asynccontextmanager
async def remote_to(
    *servers: FileServer, timeout: float = 10, tokens: Mapping[str, str] | None = None
) -> AsyncIterator[Remote]:
    hosts = Hosts(tuple(server.host for server in servers))
    async with Remote(hosts, tokens or {}, timeout=timeout) as remote:
        yield remote


def source_of(files: FileServer, path: str = AT, file: str = NAME, **more: object) -> ModelSource:
    return ModelSource(file, "loras", url=files.url + path, **more)  # type: ignore[arg-type]


async def got(source: ModelSource, target: Path, *servers: FileServer, timeout: float = 10, tries: int = 3) -> str:
    async with remote_to(*servers, timeout=timeout) as remote:
        return await fetch(remote, source, target, lambda *_: None, pauses=(0,) * tries)


async def fails(source: ModelSource, target: Path, *servers: FileServer, timeout: float = 10, tries: int = 3) -> str:
    """The error's text. Nothing stands under the file's name afterwards."""
    with pytest.raises(ComfyError) as caught:
        await got(source, target, *servers, timeout=timeout, tries=tries)
    assert not target.exists()
    assert caught.value.next_step
    return str(caught.value)


def left_in(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


@pytest.mark.anyio
async def test_a_file_comes_whole_and_leaves_nothing_beside_it(files: FileServer, target: Path) -> None:
    content = weights(9_000_000)
    files.paths[AT] = File(content)
    reports: list[tuple[int, int | None, str]] = []
    async with remote_to(files) as remote:
        found = await fetch(remote, source_of(files), target, lambda *report: reports.append(report))
    assert found == sha256(content)
    assert target.read_bytes() == content
    assert left_in(target) == {NAME}
    assert reports[0] == (0, len(content), "fetching")
    assert reports[-1] == (len(content), len(content), "fetching")
    assert files.asked[0][1]["accept-encoding"] == "identity"
    assert files.asked[0][1]["user-agent"].startswith("comfyui-api/")


@pytest.mark.anyio
async def test_a_download_that_breaks_off_goes_on_where_it_was(files: FileServer, target: Path) -> None:
    content = weights()
    files.paths[AT] = File(content, drop_at=[30_000, 70_000])
    assert await got(source_of(files), target, files) == sha256(content)
    assert target.read_bytes() == content
    assert files.ranges(AT) == [None, "bytes=30000-", "bytes=70000-"]
    assert files.asked[1][1]["if-range"] == f'"{sha256(content)[:16]}"'


@pytest.mark.anyio
async def test_a_server_that_cannot_give_parts_gives_the_whole_again(files: FileServer, target: Path) -> None:
    content = weights()
    files.paths[AT] = File(content, drop_at=[30_000], takes_ranges=False)
    await got(source_of(files), target, files)
    assert target.read_bytes() == content


@pytest.mark.anyio
async def test_a_server_that_always_drops_is_given_up_and_the_part_kept(files: FileServer, target: Path) -> None:
    files.paths[AT] = File(weights(), drop_at=[30_000] * 99, takes_ranges=False)
    text = await fails(source_of(files), target, files)
    assert "broke" in text
    assert len(files.asked) == 4
    assert kept_so_far(target) == 30_000


@pytest.mark.anyio
async def test_many_breaks_are_no_matter_while_it_gets_on(files: FileServer, target: Path) -> None:
    piece = 17 * 2**20
    content = weights(5 * piece)
    files.paths[AT] = File(content, drop_at=[piece, 2 * piece, 3 * piece, 4 * piece])
    assert await got(source_of(files), target, files, tries=1) == sha256(content)


@pytest.mark.anyio
@pytest.mark.parametrize("heeds_if_range", [True, False])
async def test_a_file_that_changed_between_two_tries_is_fetched_anew(
    files: FileServer, target: Path, heeds_if_range: bool
) -> None:
    old, new = weights(seed=1), weights(seed=2)
    later = File(new, heeds_if_range=heeds_if_range)

    def old_then_new(handler: Handler) -> None:
        if len(files.asked) == 1:
            File(old, drop_at=[50_000])(handler)
        else:
            later(handler)

    files.paths[AT] = old_then_new
    await got(source_of(files), target, files)
    assert target.read_bytes() == new


@pytest.mark.anyio
async def test_a_file_that_changes_at_every_try_is_given_up(files: FileServer, target: Path) -> None:
    def another(handler: Handler) -> None:
        content = weights(seed=len(files.asked))
        File(content, drop_at=[50_000 + len(files.asked)], heeds_if_range=False)(handler)

    files.paths[AT] = another
    assert "keeps changing" in await fails(source_of(files), target, files, tries=20)
    assert len(files.asked) < 10


@pytest.mark.anyio
async def test_without_an_etag_a_part_is_gone_on_with_only_where_a_hash_will_tell(
    files: FileServer, target: Path
) -> None:
    content = weights()
    weak = File(content, etag='W/"x"', drop_at=[30_000, 30_000])
    files.paths[AT] = weak
    await got(source_of(files), target, files)
    assert files.ranges(AT) == [None, None, None]
    target.unlink()
    files.asked.clear()
    weak.drop_at = [30_000]
    await got(source_of(files, sha256=sha256(content).upper()), target, files)
    assert files.ranges(AT) == [None, "bytes=30000-"]
    assert target.read_bytes() == content


@pytest.mark.anyio
async def test_wrong_bytes_are_thrown_away(files: FileServer, target: Path) -> None:
    files.paths[AT] = File(weights(seed=1))
    text = await fails(source_of(files, sha256=sha256(weights(seed=2))), target, files)
    assert "wrong content" in text
    assert left_in(target) == set()


@pytest.mark.anyio
async def test_the_hash_that_the_hub_names_is_checked_too(files: FileServer, target: Path) -> None:
    content = weights()
    linked = {"X-Linked-Etag": f'"{sha256(weights(seed=3))}"', "X-Linked-Size": str(len(content))}
    files.paths[AT] = sent_on("/storage", headers=linked)
    files.paths["/storage"] = File(content)
    assert "wrong content" in await fails(source_of(files), target, files)
    text = await fails(source_of(files, sha256=sha256(content)), target, files)
    assert "has another model.safetensors than the list says" in text
    assert left_in(target) == set()


@pytest.mark.anyio
async def test_a_part_from_one_storage_of_the_hub_is_gone_on_with_from_another(files: FileServer, target: Path) -> None:
    content, new = weights(), weights(seed=7)
    files.paths["/one"] = File(content, etag='"one"', drop_at=[50_000])
    files.paths["/two"] = File(content, etag='"two"', drop_at=[70_000])
    files.paths["/new"] = File(new, etag='"two"')
    hops = iter([("/one", content), ("/two", content), ("/new", new)])

    def hub(handler: Handler) -> None:
        storage, whole = next(hops)
        sent_on(storage, headers={"X-Linked-ETag": f'"{sha256(whole)}"'})(handler)

    files.paths[AT] = hub
    await fails(source_of(files), target, files, tries=0)
    await fails(source_of(files), target, files, tries=0)
    assert files.ranges("/two") == ["bytes=50000-"]
    assert kept_so_far(target) == 70_000
    hops = iter([("/new", new), ("/new", new)])
    assert await got(source_of(files), target, files) == sha256(new)
    assert target.read_bytes() == new


@pytest.mark.anyio
async def test_a_damaged_part_from_before_costs_only_another_try(files: FileServer, target: Path) -> None:
    content = weights()
    files.paths[AT] = File(content, drop_at=[60_000])
    source = source_of(files, sha256=sha256(content))
    await fails(source, target, files, tries=0)
    part = target.with_name(f"{NAME}.part")
    with part.open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    await got(source, target, files)
    assert target.read_bytes() == content


@pytest.mark.anyio
@pytest.mark.parametrize("known", [True, False])
async def test_a_part_that_was_all_there_is_only_moved(files: FileServer, target: Path, known: bool) -> None:
    content = weights()
    files.paths[AT] = File(content, drop_at=[99_000])
    source = source_of(files, sha256=sha256(content)) if known else source_of(files)
    await fails(source, target, files, tries=0)
    target.with_name(f"{NAME}.part").write_bytes(content)
    files.asked.clear()
    assert await got(source, target, files) == sha256(content)
    assert files.ranges(AT) == [f"bytes={len(content)}-"]
    assert left_in(target) == {NAME}


@pytest.mark.anyio
async def test_a_part_longer_than_the_file_is_begun_anew(files: FileServer, target: Path) -> None:
    content = weights()
    files.paths[AT] = File(content, drop_at=[99_000])
    await fails(source_of(files), target, files, tries=0)
    target.with_name(f"{NAME}.part").write_bytes(content + b"more")
    await got(source_of(files), target, files)
    assert target.read_bytes() == content


@pytest.mark.anyio
async def test_less_than_announced_never_gets_the_name(files: FileServer, target: Path) -> None:
    content = weights()
    files.paths[AT] = lambda handler: handler.say(200, content, length=len(content) + 1)
    assert "broke" in await fails(source_of(files), target, files)


def in_chunks(content: bytes, end: bytes = b"0\r\n\r\n") -> Behaviour:
    def behave(handler: Handler) -> None:
        body = b"".join(
            b"%x\r\n%s\r\n" % (len(piece), piece)
            for piece in (content[at : at + 50_000] for at in range(0, len(content), 50_000))
        )
        handler.say(200, body + end, {"Transfer-Encoding": "chunked"})

    return behave


@pytest.mark.anyio
async def test_a_file_of_untold_length_comes_whole_or_not_at_all(files: FileServer, target: Path) -> None:
    content = weights()
    files.paths[AT] = in_chunks(content)
    await got(source_of(files), target, files)
    assert target.read_bytes() == content
    target.unlink()
    files.paths[AT] = in_chunks(content, end=b"")
    assert "broke" in await fails(source_of(files), target, files)
    target.with_name(f"{NAME}.part").unlink()
    files.paths[AT] = in_chunks(content)
    assert "of about 9,000,000 bytes" in await fails(source_of(files, size=9_000_000), target, files)


@pytest.mark.anyio
async def test_more_than_the_hub_announced_is_refused(files: FileServer, target: Path) -> None:
    files.paths[AT] = sent_on("/storage", headers={"X-Linked-Size": "60000"})
    files.paths["/storage"] = in_chunks(weights())
    assert "More of model.safetensors comes" in await fails(source_of(files), target, files)


@pytest.mark.anyio
async def test_a_size_far_from_the_listed_one_is_refused_a_rounded_one_is_not(files: FileServer, target: Path) -> None:
    content = weights(3_000_000)
    files.paths[AT] = File(content)
    assert "not about 9,000,000" in await fails(source_of(files, size=9_000_000), target, files)
    assert kept_so_far(target) == 0
    await got(source_of(files, size=2_900_000), target, files)


@pytest.mark.anyio
async def test_a_slow_server_is_asked_again_and_gives_the_rest(files: FileServer, target: Path) -> None:
    content = weights()
    slow = File(content, pause_at=40_000)
    files.paths[AT] = slow
    await got(source_of(files), target, files, timeout=0.3)
    slow.go_on.set()
    assert files.ranges(AT) == [None, "bytes=40000-"]
    assert target.read_bytes() == content


@pytest.mark.anyio
async def test_nobody_there_is_said(tmp_path: Path, target: Path) -> None:
    with file_server() as gone:
        source = source_of(gone)
    text = await fails(source, target, gone)
    assert "127.0.0.1 cannot be reached" in text


@pytest.mark.anyio
async def test_a_server_in_trouble_is_asked_again(files: FileServer, target: Path) -> None:
    content, answers = weights(), iter([503, 429, 500])

    def behave(handler: Handler) -> None:
        status = next(answers, None)
        if status is None:
            File(content)(handler)
        else:
            handler.say(status, headers={"Retry-After": "0"})

    files.paths[AT] = behave
    await got(source_of(files), target, files)
    assert target.read_bytes() == content


# --- redirects, hosts, tokens


@pytest.mark.anyio
async def test_redirects_are_followed_and_only_the_host_itself_sees_the_token(files: FileServer, target: Path) -> None:
    content = weights()
    with file_server({"/storage": File(content)}) as storage:
        files.paths[AT] = sent_on("/renamed", 307, {"Set-Cookie": "session=secret; Path=/"})
        files.paths["/renamed"] = sent_on(f"{storage.url}/storage")
        async with remote_to(files, storage, tokens={files.host: "t0ken"}) as remote:
            await fetch(remote, source_of(files), target, lambda *_: None)
    assert target.read_bytes() == content
    assert [headers.get("authorization") for _, headers in files.asked] == ["Bearer t0ken", "Bearer t0ken"]
    assert "authorization" not in storage.asked[0][1]
    assert not any("cookie" in headers for _, headers in files.asked + storage.asked)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "location",
    ["http://localhost:1/x", "https://evil.example/x", "//evil.example/x", "file:///etc/passwd", "ftp://127.0.0.1/x"],
)
async def test_a_redirect_off_the_list_is_refused_before_it_is_followed(
    files: FileServer, target: Path, location: str
) -> None:
    files.paths[AT] = sent_on(location)
    text = await fails(source_of(files), target, files)
    assert "not on the list" in text
    assert len(files.asked) == 1


@pytest.mark.anyio
async def test_redirects_are_counted(files: FileServer, target: Path) -> None:
    files.paths[AT] = sent_on(AT)
    assert "sent on more than" in await fails(source_of(files), target, files)
    assert len(files.asked) == 7
    files.paths[AT] = sent_on("http://a:b/")
    assert "no link" in await fails(source_of(files), target, files)


@pytest.mark.parametrize(
    ("link", "allowed"),
    [
        ("https://huggingface.co/a/b/resolve/main/c.safetensors", True),
        ("https://HuggingFace.co:443/x", True),
        ("https://us.aws.cdn.hf.co/x", True),
        ("https://cas-bridge.xethub.hf.co/x", True),
        ("https://civitai-delivery-worker-prod.5ac0637cfd0766c97916cefa3764fbdf.r2.cloudflarestorage.com/x", True),
        ("https://release-assets.githubusercontent.com/x", True),
        ("https://cdn-lfs-cn-1.modelscope.cn/x", True),
        ("http://huggingface.co/x", False),
        ("https://huggingface.co:8443/x", False),
        ("https://huggingface.co.evil.example/x", False),
        ("https://evilhf.co/x", False),
        ("https://evil.example\\@huggingface.co/x", False),
        ("https://huggingface.co@evil.example/x", False),
        ("https://user:pass@huggingface.co/x", False),
        ("https://someone.r2.cloudflarestorage.com/x", False),
        ("https://127.0.0.1/x", False),
        ("http://127.0.0.1:8188/x", False),
        ("https://[::1]/x", False),
        ("https://169.254.169.254/latest/meta-data", False),
        ("file:///etc/passwd", False),
        ("huggingface.co/x", False),
        ("", False),
    ],
)
def test_only_https_from_hosts_on_the_list(link: str, allowed: bool) -> None:
    try:
        Hosts.of(("default",)).permit(httpx2.URL(link))
    except (NotPermitted, httpx2.InvalidURL):
        assert not allowed
    else:
        assert allowed


def test_the_list_of_hosts_can_be_set() -> None:
    hosts = Hosts.of(("default", "Mirror.example", "*.lab.example:8443", "[::1]:9"))
    for link in ("https://huggingface.co/x", "https://mirror.example/x", "https://a.b.lab.example:8443/x"):
        hosts.permit(httpx2.URL(link))
    hosts.permit(httpx2.URL("http://[::1]:9/x"))
    for link in ("https://lab.example:8443/x", "https://a.lab.example/x", "https://sub.mirror.example/x"):
        with pytest.raises(NotPermitted, match="COMFYUI_API_DOWNLOAD_HOSTS"):
            hosts.permit(httpx2.URL(link))
    with pytest.raises(NotPermitted, match="not https"):
        hosts.permit(httpx2.URL("http://mirror.example:80/x"))
    for wrong in ("https://mirror.example", "*", "a b", "mirror.example/models"):
        with pytest.raises(InvalidArgument, match="no host"):
            Hosts.of((wrong,))


def test_every_link_of_the_references_is_on_the_list() -> None:
    sources = ModelSources.parse((ROOT / "references" / "models.md").read_text("utf-8"))
    links = [source.url for source in sources if source.url]
    assert len(links) > 500
    for link in links:
        Hosts.of(("default",)).permit(httpx2.URL(link))


def test_tokens_are_those_of_the_environment_and_a_broken_one_is_not_repeated() -> None:
    assert tokens_of({"HF_TOKEN": " hf_x\n", "CIVITAI_API_TOKEN": "c"}) == {
        "huggingface.co": "hf_x",
        "civitai.com": "c",
    }
    assert tokens_of({"HF_TOKEN": ""}) == {}
    with pytest.raises(InvalidArgument) as caught:
        tokens_of({"HF_TOKEN": "hf_secret\nX-Evil: 1"})
    assert "HF_TOKEN" in str(caught.value)
    assert "secret" not in str(caught.value)


# --- what is no file

PLAIN = {"Content-Type": "application/octet-stream"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("behave", "says"),
    [
        (page(), "gives a web page"),
        (page(200, "<HTML>log in", PLAIN), "gives a web page"),
        (page(200, "\ufeff\n <!doctype html>" + "x" * 9000, PLAIN), "gives a web page"),
        (page(200, "version https://git-lfs.github.com/spec/v1\noid sha256:0", PLAIN), "Git LFS"),
        (page(200, '{"error": "log in"}', PLAIN), "no safetensors file"),
        (page(200, "", PLAIN), "an empty file"),
        (page(404), "does not have model.safetensors"),
        (page(410), "does not have model.safetensors"),
        (page(204), "answered 204"),
        (page(451), "may not give"),
        (page(401), "does not give model.safetensors out"),
        (page(403), "does not give model.safetensors out"),
        (page(206, "x", PLAIN), "without saying which"),
        (page(206, "x", {**PLAIN, "Content-Range": "bytes 5-9/10"}), "not asked for"),
        (page(200, "x", {**PLAIN, "Content-Encoding": "gzip"}), "another encoding"),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), "broke"),
        (lambda handler: handler.say(200, length=-5), "broke"),
    ],
)
async def test_what_is_no_file_is_told_and_not_kept(
    files: FileServer, target: Path, behave: Behaviour, says: str
) -> None:
    files.paths[AT] = behave
    text = await fails(source_of(files, page="https://example.org/about"), target, files)
    assert says in text
    assert left_in(target) == set()


@pytest.mark.anyio
async def test_a_link_to_a_page_about_the_file_is_told_with_the_right_one(files: FileServer, target: Path) -> None:
    at = f"/owner/repo/blob/main/{NAME}"
    files.paths[at] = page()
    assert "/resolve/" in await fails(source_of(files, at), target, files)


@pytest.mark.anyio
async def test_a_gguf_and_other_endings_are_taken_for_what_they_are(files: FileServer, target: Path) -> None:
    files.paths["/a.gguf"] = File(b"no gguf at all")
    assert "no gguf file" in await fails(source_of(files, "/a.gguf", "a.gguf"), target.with_name("a.gguf"), files)
    files.paths["/a.gguf"] = File(b"GGUF" + bytes(50))
    await got(source_of(files, "/a.gguf", "a.gguf"), target.with_name("a.gguf"), files)
    files.paths["/a.yaml"] = File(b"x: 1")
    await got(source_of(files, "/a.yaml", "a.yaml"), target.with_name("a.yaml"), files)


ODD = [
    "",
    '"é"',
    "-1",
    "0",
    "1",
    "9" * 40,
    "bytes 0-0/1",
    "bytes */*",
    "bytes 5-2/9",
    '"x"',
    "W/",
    "é",
    "Thu, 99",
    "x" * 9000,
]


@settings(max_examples=60, deadline=None)
@given(
    status=st.sampled_from([200, 203, 206, 302, 304, 416, 429, 500, 999, 100]),
    headers=st.dictionaries(
        st.sampled_from(["Content-Length", "Content-Range", "ETag", "Last-Modified", "Retry-After", "Location"])
        | st.sampled_from(["X-Linked-Size", "X-Linked-ETag", "Transfer-Encoding", "Content-Type", "Content-Encoding"]),
        st.sampled_from(ODD).filter(lambda value: value != "9" * 40)
        | st.sampled_from(["/other", "chunked", "text/html"]),
        max_size=4,
    ),
    body=st.sampled_from([b"", b"x", weights(200), b"<html>", bytes(5000)]),
)
def test_any_answer_is_a_file_or_an_error_that_says_so(
    tmp_path_factory: pytest.TempPathFactory, status: int, headers: dict[str, str], body: bytes
) -> None:
    head = f"HTTP/1.1 {status} odd\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    def odd(handler: Handler) -> None:
        handler.wfile.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        handler.close_connection = True

    target = tmp_path_factory.mktemp("odd") / NAME
    with file_server({AT: odd, "/other": odd}) as server:
        try:
            anyio.run(lambda: got(source_of(server), target, server, timeout=2, tries=1))
        except ComfyError as exc:
            assert exc.next_step
            assert not target.exists()
        else:
            assert target.read_bytes() == body


# --- the disk


@pytest.mark.anyio
async def test_one_process_at_a_time_fetches_a_file(files: FileServer, target: Path) -> None:
    content = weights()
    slow = File(content, pause_at=40_000)
    files.paths[AT] = slow

    async def first() -> None:
        await got(source_of(files), target, files)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.to_thread.run_sync(slow.reached.wait)
        assert "Another process" in await fails(source_of(files), target, files)
        slow.go_on.set()
    assert target.read_bytes() == content
    assert left_in(target) == {NAME}


@pytest.mark.anyio
async def test_what_stands_there_is_never_written_over(files: FileServer, target: Path) -> None:
    slow = File(weights(), pause_at=40_000)
    files.paths[AT] = slow
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(FileProblem, match="exists already"):
        await got(source_of(files), target, files)
    assert files.asked == []
    target.unlink()

    async def appear() -> None:
        await anyio.to_thread.run_sync(slow.reached.wait)
        target.write_bytes(b"mine")
        slow.go_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appear)
        with pytest.raises(FileProblem, match="appeared meanwhile"):
            await got(source_of(files), target, files)
    assert target.read_bytes() == b"mine"


@pytest.mark.anyio
async def test_a_cancelled_download_keeps_its_part_and_goes_on_later(files: FileServer, target: Path) -> None:
    content = weights()
    slow = File(content, pause_at=40_000)
    files.paths[AT] = slow
    some_has_come = anyio.Event()

    def report(done: int, size: int | None, what: str) -> None:
        if done:
            some_has_come.set()

    async with remote_to(files) as remote, anyio.create_task_group() as tasks:
        tasks.start_soon(fetch, remote, source_of(files), target, report)
        await some_has_come.wait()
        tasks.cancel_scope.cancel()
    slow.go_on.set()
    kept = kept_so_far(target)
    assert 0 < kept <= 40_000
    assert not target.exists()
    slow.pause_at = None
    await got(source_of(files), target, files)
    assert files.ranges(AT) == [None, f"bytes={kept}-"]
    assert target.read_bytes() == content


@pytest.mark.anyio
async def test_a_part_of_somebody_else_is_left_alone(files: FileServer, target: Path, tmp_path: Path) -> None:
    files.paths[AT] = File(weights())
    target.parent.mkdir(parents=True)
    part = target.with_name(f"{NAME}.part")
    part.write_bytes(b"a browser is at it")
    assert "did not come from here" in await fails(source_of(files), target, files)
    assert part.read_bytes() == b"a browser is at it"
    part.unlink()
    precious = tmp_path / "precious"
    precious.write_bytes(b"x")
    part.symlink_to(precious)
    assert "in the way" in await fails(source_of(files), target, files)
    target.with_name(f"{NAME}.part.json").write_text(json.dumps({"link": "x"}))
    await fails(source_of(files), target, files)
    assert precious.read_bytes() == b"x"


@pytest.mark.anyio
async def test_a_part_of_another_link_is_not_mixed_in(files: FileServer, target: Path) -> None:
    files.paths[AT] = File(weights(seed=1), etag='"same"', drop_at=[50_000])
    await fails(source_of(files), target, files, tries=0)
    files.paths["/other"] = File(weights(seed=2), etag='"same"')
    await got(source_of(files, "/other"), target, files)
    assert target.read_bytes() == weights(seed=2)


@pytest.mark.anyio
async def test_a_part_survives_another_link_that_gives_nothing(files: FileServer, target: Path) -> None:
    files.paths[AT] = File(weights(), drop_at=[50_000])
    await fails(source_of(files), target, files, tries=0)
    await fails(source_of(files, "/gone"), target, files)
    assert kept_so_far(target) == 50_000


@pytest.mark.anyio
async def test_what_would_not_fit_is_refused_before_it_comes(files: FileServer, target: Path) -> None:
    files.paths[AT] = lambda handler: handler.say(200, weights(), length=10**15)
    text = await fails(source_of(files), target, files)
    assert "1,000,000.0 GB more would come" in text
    assert kept_so_far(target) == 0


APART = """
import anyio, psutil, resource, sys
from pathlib import Path
from comfyui_api.model_downloads import Hosts, Remote, fetch
from comfyui_api.model_sources import ModelSource
url, host, target, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
seen = [0]
def report(done, size, what):
    if done >> 25 != seen[-1] >> 25:
        seen[-1:] = [psutil.Process().memory_info().rss, done]
async def main():
    async with Remote(Hosts((host,)), {}, timeout=10) as remote:
        await fetch(remote, ModelSource("model.safetensors", "loras", url), Path(target), report)
    print(max(seen[:-1], default=0) // 2**20)
anyio.run(main)
"""


def fetched_apart(source: ModelSource, files: FileServer, target: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Fetch it in a process of its own that may write files of `limit` bytes; it prints its peak memory in MB."""
    arguments = [source.url or "", files.host, str(target), str(limit)]
    return subprocess.run(
        [sys.executable, "-c", APART, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a matter of POSIX")
def test_a_disk_that_takes_no_more_is_said_and_what_came_is_kept(files: FileServer, target: Path) -> None:
    content = weights(9_000_000)
    files.paths[AT] = File(content)
    done = fetched_apart(source_of(files), files, target, 6_000_000)
    assert "could not be written: File too large" in done.stderr
    assert not target.exists()
    kept = kept_so_far(target)
    assert 0 < kept <= 6_000_000
    anyio.run(got, source_of(files), target, files)
    assert files.ranges(AT) == [None, f"bytes={kept}-"]
    assert target.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a matter of POSIX")
def test_memory_stays_the_same_however_large_the_file_is(files: FileServer, target: Path) -> None:
    head, blank, size = weights(2**20), bytes(2**20), 2 * 2**30

    def large(handler: Handler) -> None:
        handler.say(200, head, length=size)
        for _ in range(size // len(head) - 1):
            handler.wfile.write(blank)

    files.paths[AT] = large
    done = fetched_apart(source_of(files), files, target, 2 * size)
    assert done.returncode == 0, done.stderr
    assert target.stat().st_size == size
    assert 0 < int(done.stdout) < 120
    target.unlink()


# --- names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../x.safetensors", "leads out of the folder"),
        ("a/../../x.safetensors", "leads out of the folder"),
        ("..\\x.safetensors", "leads out of the folder"),
        ("/etc/x.safetensors", "no name below"),
        ("\\\\server\\x.safetensors", "no name below"),
        ("C:\\x.safetensors", "no name below"),
        ("C:x.safetensors", "no name below"),
        ("", "no name below"),
        ("a//x.safetensors", "an empty part"),
        ("./x.safetensors", "an empty part"),
        ("a/", "an empty part"),
        ("con.safetensors", "a device"),
        ("a/NUL.pt", "a device"),
        ("lpt1.tar.pt", "a device"),
        ("x.safetensors:stream", "letters that"),
        ("x\n.safetensors", "letters that"),
        ("x\x00.safetensors", "letters that"),
        ("x\u202ephp.safetensors", "letters that"),
        ("x\ud800.safetensors", "letters that"),
        ("a?.pt", "letters that"),
        (".safetensors", "begins or ends"),
        ("x.safetensors ", "begins or ends"),
        ("x.safetensors.", "begins or ends"),
        ("x" * 4000 + ".pt", "4,003 letters"),
        ("x" * 300 + ".pt", "more than 200 bytes"),
        ("__init__.py", "'.py'"),
        ("x.exe", "'.exe'"),
        ("x", "no ending"),
    ],
)
def test_a_name_that_is_none_of_a_model_is_refused_with_the_reason(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(NotPermitted) as caught:
        place_of(tmp_path, name)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_good_names_and_their_subfolders_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("x.safetensors", "FLUX1/ae.sft", "größe 1.5 (fp8) [x]+y,z.GGUF", "_x.pt", "a/b/c/d.onnx"):
        assert place_of(tmp_path, name).relative_to(tmp_path).as_posix() == name
    assert place_of(tmp_path, "sub\\x.pt") == tmp_path / "sub" / "x.pt"


@given(st.text(max_size=60) | st.from_regex(r"[./\\a:]{0,12}\.pt", fullmatch=True))
def test_any_name_stays_below_the_folder_or_is_refused(name: str) -> None:
    folder = Path("models").absolute()
    try:
        place = place_of(folder, name)
    except NotPermitted:
        return
    assert Path(os.path.normpath(place)).is_relative_to(folder)
    assert place != folder


@pytest.mark.parametrize(
    "word", ["", "..", "a/b", "custom_nodes", "Custom_Nodes", "con", ".git", "a\n", "x" * 200, "a."]
)
def test_a_folder_is_a_word_and_never_that_of_programs(word: str) -> None:
    with pytest.raises(NotPermitted):
        folder_word(word)


def test_folders_of_the_references_are_folders() -> None:
    sources = ModelSources.parse((ROOT / "references" / "models.md").read_text("utf-8"))
    for source in sources:
        assert folder_word(source.folder) == source.folder
        if source.url and not source.file.endswith(".py"):
            assert place_of(Path("models"), source.file).name == re.split("/", source.file)[-1]
