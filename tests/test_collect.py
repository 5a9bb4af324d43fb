"""Bringing results home from servers that behave well, badly and maliciously."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp_types import CallToolResult, ImageContent, TextContent
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyui_api.client import ComfyClient
from comfyui_api.collect import fetch
from comfyui_api.errors import ComfySilent, FileGone, FileProblem, UnexpectedReply
from comfyui_api.runs import OutputFile
from comfyui_api.workflow_files import load_file
from tests.comfy_files import ComfyFiles, comfy_files, picture_bytes, png, wav, write_video
from tests.file_server import GRACE, Handler, page, sent_on, sha256
from tests.support import Agent, agent, environment_for, image_prompt

pytestmark = pytest.mark.anyio

PIECE = bytes(1 << 20)
RUN = "0f9c2a55-1111-4222-8333-444455556666"
TEXT = "Ein längerer Satz. " * 300


@pytest.fixture
def comfy() -> Iterator[ComfyFiles]:
    with comfy_files() as server:
        yield server


async def deliver(comfy: ComfyFiles, home: Path, prompt_id: str | list[str] = RUN, **more: Any) -> dict[str, Any]:
    async with agent(environment_for(home, comfy.url)) as user:
        return await user.call("get_output", prompt_id=prompt_id, **more)


async def answer(user: Agent, **arguments: Any) -> CallToolResult:
    given = await user.client.call_tool("get_output", {"prompt_id": RUN, **arguments})
    assert isinstance(given, CallToolResult)
    assert not given.is_error
    return given


def pictures(given: CallToolResult) -> list[Image.Image]:
    """The pictures of an answer, each within its bounds."""
    found = []
    for block in given.content:
        if isinstance(block, ImageContent):
            content = base64.b64decode(block.data)
            assert len(content) <= 100_000
            image = Image.open(io.BytesIO(content))
            assert max(image.size) <= 512
            found.append(image.convert("RGB"))
    return found


def names(delivery: dict[str, Any]) -> list[str]:
    return [Path(file["path"]).name for file in delivery["files"]]


def nothing_left_over(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.name.endswith(".part")]


# What is saved


@pytest.mark.parametrize(
    ("key", "name", "kind"),
    [
        ("images", "a.png", "image"),
        ("images", "a.webp", "image"),
        ("images", "clip.mp4", "video"),
        ("gifs", "clip.webm", "video"),
        ("gifs", "clip.gif", "image"),
        ("audio", "sound.flac", "audio"),
        ("video", "clip.mov", "video"),
        ("3d", "mesh.glb", "3d"),
        ("latents", "a.latent", "latent"),
        ("a_packs_own_key", "points.ply", "3d"),
        ("files", "table.csv", "text"),
        ("files", "what.xyz", "file"),
    ],
)
async def test_files_are_saved_whatever_key_they_are_under(
    comfy: ComfyFiles, home: Path, key: str, name: str, kind: str
) -> None:
    comfy.files[name] = b"\x00content"
    delivery = await deliver(comfy, home, comfy.images(RUN, name, key=key))
    (file,) = delivery["files"]
    assert (file["kind"], Path(file["path"])) == (kind, home / "output" / name)
    assert Path(file["path"]).read_bytes() == b"\x00content"
    assert file["load_value"] == f"{name} [output]"


async def test_file_that_two_nodes_name_is_saved_once(comfy: ComfyFiles, home: Path) -> None:
    comfy.files["mesh.glb"] = b"glTF\x02"
    saved = {"3d": [{"filename": "mesh.glb", "subfolder": "3d", "type": "output"}]}
    comfy.run(RUN, {"1": saved, "2": {"result": ["3d/mesh.glb", {"position": 1}, None]}})
    delivery = await deliver(comfy, home)
    assert [(file["node_id"], file["kind"]) for file in delivery["files"]] == [("1", "3d")]
    assert len(comfy.asked) == 1
    assert "3D files (1 GLB) are not shown" in delivery["message"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/evil.png",
        "/etc/passwd.png",
        "C:\\Windows\\evil.png",
        "..",
        "con.png",
        "NUL",
        "a\nb\0c.png",
        "-rf",
        "~/x.png",
        ".bashrc",
        "x" * 1500 + ".png",
        "evil\u202egnp.exe",
        "a.png [temp]",
        "日本語.png",
    ],
)
async def test_hostile_names_are_harmless(comfy: ComfyFiles, home: Path, name: str) -> None:
    comfy.files[name] = b"content"
    delivery = await deliver(comfy, home, comfy.images(RUN, name))
    (file,) = delivery["files"]
    path = Path(file["path"])
    assert path.parent == home / "output"
    assert not path.name.startswith(".")
    assert {found.name for found in home.rglob("*") if found.is_file()} >= {path.name}
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("name", ["x" * 4000 + ".png", "\ud800.png", "a" * 70_000])
async def test_names_that_cannot_be_asked_for_are_said(comfy: ComfyFiles, home: Path, name: str) -> None:
    comfy.files["good.png"] = png()
    delivery = await deliver(comfy, home, comfy.images(RUN, name, "good.png"))
    assert names(delivery) == ["good.png"]
    (missing,) = delivery["missing"]
    assert "none that it could be asked for by" in missing["reason"]
    assert len(missing["filename"]) < 300


async def test_subfolder_of_the_server_leads_nowhere_here(comfy: ComfyFiles, home: Path) -> None:
    comfy.files["a.png"] = png()
    comfy.run(RUN, {"9": {"images": [{"filename": "a.png", "subfolder": "../../up", "type": "output"}]}})
    assert Path((await deliver(comfy, home))["files"][0]["path"]) == home / "output" / "a.png"


async def test_same_name_with_other_content_gets_a_number(comfy: ComfyFiles, home: Path) -> None:
    (home / "output").mkdir()
    (home / "output" / "a.png").symlink_to(home / "nowhere")
    comfy.files["a.png"] = png()
    assert names(await deliver(comfy, home, comfy.images(RUN, "a.png"))) == ["a-2.png"]
    assert names(await deliver(comfy, home)) == ["a-2.png"]
    assert not (home / "nowhere").exists()


# What a server may do instead


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"100000\r\n" + PIECE + b"\r\n")


def bomb(handler: Handler) -> None:
    """A few kilobytes that unpack to 256 MB, in two steps."""
    content = gzip.compress(gzip.compress(bytes(1 << 28), 1), 1)
    handler.say(200, content, {"Content-Encoding": "gzip, gzip"})


def of_length(says: int, gives: int) -> Any:
    return lambda handler: handler.say(200, b"x" * gives, length=says)


async def fetched(comfy: ComfyFiles, folder: Path, name: str = "a.png", limit: int = 64 << 20) -> Path:
    client = ComfyClient(comfy.url, timeout=5)
    try:
        return await fetch(client, OutputFile("9", "image", name, "", "output"), folder, limit=limit)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("behaviour", "error", "says"),
    [
        (endless, UnexpectedReply, "tells no length; it was not read further"),
        (of_length(1000, 10), ComfySilent, "broke"),
        (of_length(1 << 60, 10), FileProblem, "only"),
        (page(), UnexpectedReply, "gave a web page"),
        (page(body="\ufeff \n<!-- x --><HTML>", headers={"Content-Type": "text/html"}), UnexpectedReply, "a web page"),
        (page(body="<html>", headers={"Content-Type": "image/png"}), UnexpectedReply, "gave a web page"),
        (
            page(body='{"error": "login"}', headers={"Content-Type": "application/json"}),
            UnexpectedReply,
            "gave a text",
        ),
        (sent_on("http://example.com/login"), UnexpectedReply, "sends /view on to http://example.com/login"),
        (sent_on("/view"), UnexpectedReply, "sends /view on"),
        (page(404), FileGone, "no file 'a.png' in its output folder any more"),
        (page(500), Exception, "ComfyUI failed inside"),
        (page(502), ComfySilent, "proxy"),
        (page(401), Exception, "refused access (401)"),
        (page(206), UnexpectedReply, "206"),
    ],
)
async def test_what_is_no_file_is_told_and_leaves_nothing(
    comfy: ComfyFiles, tmp_path: Path, behaviour: Any, error: type[Exception], says: str
) -> None:
    comfy.files["a.png"] = behaviour
    with pytest.raises(error) as caught:
        await fetched(comfy, tmp_path / "output")
    assert says in str(caught.value)
    assert list((tmp_path / "output").iterdir()) == []


async def test_packed_answer_that_never_ends_is_not_unpacked_further(comfy: ComfyFiles, tmp_path: Path) -> None:
    comfy.files["a.png"] = bomb
    before = psutil.Process().memory_info().rss
    with pytest.raises(UnexpectedReply, match="tells no length"):
        await fetched(comfy, tmp_path, limit=32 << 20)
    assert psutil.Process().memory_info().rss - before < 64 << 20


async def test_packed_answer_is_unpacked(comfy: ComfyFiles, tmp_path: Path) -> None:
    content = png(size=(600, 600))
    comfy.files["a.png"] = lambda handler: handler.say(200, gzip.compress(content), {"Content-Encoding": "gzip"})
    assert (await fetched(comfy, tmp_path)).read_bytes() == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"<html>as text</html>"),
        ("page.html", b"<!doctype html>"),
        ("data.json", b'{"a": 1}'),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("mesh.obj", b"v 0 0 0"),
        ("scene.gltf", b'{"asset": {}}'),
        ("empty.png", b""),
    ],
)
async def test_texts_that_are_results_are_no_login_pages(
    comfy: ComfyFiles, tmp_path: Path, name: str, content: bytes
) -> None:
    comfy.files[name] = content
    assert (await fetched(comfy, tmp_path, name)).read_bytes() == content


SIZE = 2 << 30 if os.environ.get("COMFYUI_API_LARGE_FILES") else 192 << 20


def large(handler: Handler) -> None:
    handler.say(200, b"", {"Content-Type": "video/mp4"}, length=SIZE)
    for _ in range(SIZE // len(PIECE)):
        handler.wfile.write(PIECE)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_large_video_takes_no_memory(comfy: ComfyFiles, home: Path) -> None:
    """In a process of its own, so that nothing else counts: the peak with the video and without."""
    comfy.files |= {"big.mp4": large, "small.mp4": b"\0" * 1000}
    peaks = []
    for run, name in (("small", "small.mp4"), ("big", "big.mp4")):
        comfy.images(run, name)
        code = (
            "import re, sys; from comfyui_api.__main__ import main\n"
            f"sys.argv = ['comfyui-api', 'get', '{run}']\n"
            "try: main()\n"
            "finally: sys.stderr.write('peak ' + re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment_for(home, comfy.url)},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stderr.rpartition("peak ")[2]))
    assert (home / "output" / "big.mp4").stat().st_size == SIZE
    sys.stdout.write(f"\n  peak {peaks} kB for 1 kB and {SIZE >> 20} MB ")
    assert peaks[1] - peaks[0] < 16 << 10
    (home / "output" / "big.mp4").unlink()


async def test_broken_connection_is_tried_once_more(comfy: ComfyFiles, home: Path) -> None:
    content, tries = png(), list[int]()

    def unsteady(handler: Handler) -> None:
        tries.append(1)
        handler.say(200, content[: 10 if len(tries) == 1 else None], length=len(content))

    comfy.files["a.png"] = unsteady
    delivery = await deliver(comfy, home, comfy.images(RUN, "a.png"))
    assert Path(delivery["files"][0]["path"]).read_bytes() == content
    assert len(tries) == 2


async def test_one_bad_file_does_not_cost_the_others(comfy: ComfyFiles, home: Path) -> None:
    comfy.files |= {"a.png": png(), "b.png": page(), "c.png": png((1, 2, 3)), "d.png": sent_on("/login")}
    delivery = await deliver(comfy, home, comfy.images(RUN, "a.png", "b.png", "c.png", "d.png", "gone.png"))
    assert names(delivery) == ["a.png", "c.png"]
    assert [missing["filename"] for missing in delivery["missing"]] == ["b.png", "d.png", "gone.png"]
    assert "login page" in delivery["missing"][0]["reason"]
    assert "3 could not be fetched" in delivery["message"]
    assert nothing_left_over(home)


def die(handler: Handler) -> None:
    handler.close_connection = True


async def test_one_file_over_which_the_server_falls_silent_costs_no_other(comfy: ComfyFiles, home: Path) -> None:
    comfy.files = {"a.png": png(), "b.png": die, "c.png": png((1, 2, 3))}
    delivery = await deliver(comfy, home, comfy.images(RUN, *comfy.files))
    assert names(delivery) == ["a.png", "c.png"]
    assert "broke" in delivery["missing"][0]["reason"]


async def test_server_that_falls_silent_over_and_over_is_left_in_peace(comfy: ComfyFiles, home: Path) -> None:
    comfy.files = {"a.png": png(), **{f"{number}.png": die for number in range(50)}}
    delivery = await deliver(comfy, home, comfy.images(RUN, *comfy.files))
    assert names(delivery) == ["a.png"]
    assert "50 could not be fetched" in delivery["message"]
    assert len(comfy.asked) == 1 + 3 * 2  # three files, each once more


async def test_server_that_dies_in_between_is_not_asked_for_every_file(comfy: ComfyFiles, home: Path) -> None:
    comfy.files = {"a.png": png(), **{f"{number}.png": die for number in range(50)}}
    comfy.server.paths["/system_stats"] = die
    delivery = await deliver(comfy, home, comfy.images(RUN, *comfy.files))
    assert names(delivery) == ["a.png"]
    assert "50 could not be fetched" in delivery["message"]
    assert len(comfy.asked) == 1 + 2


async def test_history_that_is_a_login_page_is_told(comfy: ComfyFiles, home: Path) -> None:
    comfy.server.paths[f"/history/{RUN}"] = page()
    async with agent(environment_for(home, comfy.url)) as user:
        assert "a web page" in await user.fail("get_output", prompt_id=RUN)


async def test_folder_that_cannot_be_written_to_is_an_error(comfy: ComfyFiles, home: Path) -> None:
    comfy.files["a.png"] = png()
    (home / "output").write_text("a file")
    async with agent(environment_for(home, comfy.url)) as user:
        assert "is a file, not a folder" in await user.fail("get_output", prompt_id=comfy.images(RUN, "a.png"))
        long = "/".join(["x" * 200] * 30)
        assert "could not be written" in await user.fail("get_output", prompt_id=RUN, directory=long)


async def test_cancelled_call_leaves_nothing_behind(comfy: ComfyFiles, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def held(handler: Handler) -> None:
        handler.say(200, PIECE, length=10 * len(PIECE))
        begun.set()
        go_on.wait(GRACE)

    comfy.files["a.png"] = held
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetched, comfy, tmp_path)
            await anyio.to_thread.run_sync(begun.wait, GRACE)
            assert len(list(tmp_path.iterdir())) == 1
            tasks.cancel_scope.cancel()
    finally:
        go_on.set()
    assert list(tmp_path.iterdir()) == []


async def test_long_download_reports_how_far_it_is(comfy: ComfyFiles, home: Path) -> None:
    told, go_on = list[tuple[float, str | None]](), threading.Event()

    def held(handler: Handler) -> None:
        handler.say(200, 2 * PIECE, length=3 * len(PIECE))
        go_on.wait(GRACE)
        handler.wfile.write(PIECE)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total == 100
        told.append((progress, message))
        go_on.set()

    comfy.files |= {"a.png": png(), "b.mp4": held}
    comfy.images(RUN, *comfy.files)
    async with agent(environment_for(home, comfy.url)) as user:
        await user.client.call_tool("get_output", {"prompt_id": RUN}, progress_callback=on_progress)
    shares = [share for share, _ in told]
    assert shares == sorted(set(shares))
    assert 50 < shares[0] < 100
    assert told[0][1] == "b.mp4: 1 of 3 MB"


async def test_two_calls_at_once_save_one_file(comfy: ComfyFiles, home: Path) -> None:
    comfy.files |= {f"{number}.png": png((number, 0, 0)) for number in range(20)}
    comfy.images(RUN, *comfy.files)
    found = []

    async def get(user: Agent) -> None:
        found.append(names(await user.call("get_output", prompt_id=RUN)))

    async with (
        agent(environment_for(home, comfy.url)) as one,
        agent(environment_for(home, comfy.url)) as other,
        anyio.create_task_group() as tasks,
    ):
        for user in (one, other, one):
            tasks.start_soon(get, user)
    assert found == [list(comfy.files)] * 3
    assert len(list((home / "output").iterdir())) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_disk_that_fills_up_costs_only_what_has_no_room(comfy: ComfyFiles, home: Path) -> None:
    comfy.files |= {"small.png": png(), "big.mp4": b"\0" * (8 << 20), "last.png": png((1, 2, 3))}
    comfy.images(RUN, *comfy.files)
    code = (
        "import resource, sys; from comfyui_api.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, 1 << 22))\n"
        f"sys.argv = ['comfyui-api', 'get', '{RUN}', '--sidecar']\n"
        "main()"
    )
    environment = {**os.environ, **environment_for(home, comfy.url)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    delivery = json.loads(done.stdout)
    assert names(delivery) == ["small.png", "last.png"]
    assert "could not be written: File too large" in delivery["missing"][0]["reason"]
    assert nothing_left_over(home)


# Texts


async def test_long_text_is_shown_cut_and_saved_whole(comfy: ComfyFiles, home: Path) -> None:
    comfy.run(RUN, {"4": {"text": [TEXT]}, "5": {"string": ["short"]}})
    delivery = await deliver(comfy, home)
    long, short = delivery["texts"]
    assert len(long["text"]) < 1000
    assert "characters in all" in long["text"]
    assert Path(long["path"]).read_text(encoding="utf-8") == TEXT
    assert Path(long["path"]).name == "text_0f9c2a55_4.txt"
    assert short == {"node_id": "5", "text": "short"}
    assert [(file["kind"], file["node_id"], "load_value" in file) for file in delivery["files"]] == [
        ("text", "4", False)
    ]


@pytest.mark.parametrize("letter", ["y", '"', "\n"])
@pytest.mark.parametrize("gone", [range(0), range(200)], ids=["all there", "many missing"])
@pytest.mark.parametrize(("count", "length"), [(2, 1900), (3, 1900), (500, 10), (40, 150), (30, 5000)])
async def test_no_text_is_lost_however_many_there_are(
    comfy: ComfyFiles, home: Path, count: int, length: int, gone: range, letter: str
) -> None:
    texts = [f"{number:04}" + letter * (length - 4) for number in range(count)]
    outputs: dict[str, Any] = {"1": {"text": texts[: count // 2]}}
    outputs |= {f"n{text[:4]}": {"text": [text]} for text in texts}
    outputs["2"] = {"images": [{"filename": f"gone{number}.png", "subfolder": "", "type": "temp"} for number in gone]}
    comfy.run(RUN, outputs)
    async with agent(environment_for(home, comfy.url)) as user:
        given = await answer(user)
    assert isinstance(given.content[0], TextContent)
    assert len(given.content[0].text) <= 10_000
    delivery = given.structured_content
    assert isinstance(delivery, dict)
    kept = {entry["text"] for entry in delivery["texts"]}
    for path in (home / "output").glob("*"):
        content = path.read_text(encoding="utf-8")
        kept |= set(json.loads(content)) if path.suffix == ".json" else {content}
    assert kept >= set(texts)


async def test_texts_that_are_no_unicode_are_saved(comfy: ComfyFiles, home: Path) -> None:
    comfy.run(RUN, {"../4": {"text": ["\ud800" + TEXT]}})
    delivery = await deliver(comfy, home)
    path = Path(delivery["texts"][0]["path"])
    assert path.parent == home / "output"
    assert path.read_text(encoding="utf-8") == "\\ud800" + TEXT


async def test_text_files_are_shown_where_there_is_room(comfy: ComfyFiles, home: Path) -> None:
    comfy.files |= {"caption.txt": "ein Kätzchen".encode(), "long.md": TEXT.encode(), "no.txt": b"a\0b"}
    comfy.images(RUN, *comfy.files)
    texts = (await deliver(comfy, home))["texts"]
    assert [text["text"][:12] for text in texts] == ["ein Kätzchen", TEXT[:12]]
    assert "characters in all" in texts[1]["text"]
    assert texts[1]["path"].endswith("long.md")
    assert (await deliver(comfy, home, previews=False))["texts"] == []


# Pictures


async def test_first_four_are_shown_and_the_others_on_a_sheet(comfy: ComfyFiles, home: Path) -> None:
    for number in range(12):
        comfy.files[f"{number:02}.png"] = png((20 * number, 0, 0), size=(1500, 900))
    comfy.images(RUN, *comfy.files)
    async with agent(environment_for(home, comfy.url)) as user:
        given = await answer(user)
    shown = pictures(given)
    assert len(shown) == 5
    reds = [image.getpixel((200, 150)) for image in shown[:4]]
    assert [round(color[0], -1) for color in reds if isinstance(color, tuple)] == [0, 20, 40, 60]
    assert given.structured_content is not None
    assert "The first 4 pictures are shown, and 8 more on a sheet" in given.structured_content["message"]


async def test_videos_and_sounds_are_shown_too(comfy: ComfyFiles, home: Path, tmp_path: Path) -> None:
    comfy.files |= {
        "clip.mp4": write_video(tmp_path / "clip.mp4").read_bytes(),
        "sound.wav": wav(),
        "anim.webp": picture_bytes(
            Image.new("RGB", (64, 64), "red"), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), "blue")]
        ),
        "broken.mp4": b"\0\0\0\x18ftypisom" + bytes(500),
        "mesh.glb": b"glTF\x02",
    }
    comfy.images(RUN, *comfy.files)
    async with agent(environment_for(home, comfy.url)) as user:
        given = await answer(user)
    assert [image.size for image in pictures(given)] == [(511, 313), (512, 160), (512, 258)]
    assert given.structured_content is not None
    message = given.structured_content["message"]
    assert "No picture could be made of broken.mp4" in message
    assert "3D files (1 GLB) are not shown" in message


async def test_without_pyav_it_is_said_how_to_get_it(
    comfy: ComfyFiles, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comfy.files |= {"clip.mp4": write_video(tmp_path / "clip.mp4").read_bytes(), "sound.wav": wav(), "a.png": png()}
    monkeypatch.setitem(sys.modules, "av", None)  # as Python itself marks what cannot be imported
    comfy.images(RUN, *comfy.files)
    async with agent(environment_for(home, comfy.url)) as user:
        given = await answer(user)
    assert len(pictures(given)) == 2
    assert given.structured_content is not None
    assert "`pip install av`" in given.structured_content["message"]


# Sidecars


async def test_sidecar_makes_the_run_again(comfy: ComfyFiles, home: Path) -> None:
    prompt: dict[str, Any] = image_prompt("日本語", color=7)
    prompt["3"] = {"class_type": "KSampler", "inputs": {"seed": 42, "noise_seed": ["5", 0], "steps": 20}}
    prompt["5"] = {"class_type": "PrimitiveInt", "inputs": {"value": 7}}
    comfy.files["a.png"] = png()
    comfy.images(RUN, "a.png", prompt=prompt)
    (file,) = (await deliver(comfy, home, sidecar=True))["files"]
    assert file["sidecar"] == f"{file['path']}.json"
    record = json.loads(Path(file["sidecar"]).read_text(encoding="utf-8"))
    assert record["prompt"] == prompt
    assert record["seeds"] == {"3.seed": 42, "5.value": 7}
    assert record["sha256"] == sha256(png())
    assert (record["prompt_id"], record["server"], record["duration_seconds"]) == (RUN, comfy.url, 2.5)
    assert record["versions"]["comfyui"] == "0.3.75"
    assert (record["file"], record["bytes"], record["node_id"]) == ("a.png", len(png()), "9")
    loaded = load_file(Path(file["sidecar"]))
    assert (loaded.format, loaded.content, loaded.ui) == ("api", prompt, None)
    again = await deliver(comfy, home, sidecar=True)
    assert again["files"][0]["sidecar"] == file["sidecar"]
    assert len(list((home / "output").iterdir())) == 2


async def test_sidecar_has_the_ui_workflow_that_the_file_carries(comfy: ComfyFiles, home: Path) -> None:
    info, graph = PngInfo(), {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": []}
    info.add_text("prompt", json.dumps(image_prompt()))
    info.add_text("workflow", json.dumps(graph))
    comfy.files |= {
        "a.png": picture_bytes(Image.new("RGB", (8, 8)), "PNG", pnginfo=info),
        "b.mp4": b"\0\0\0\x18ftypisom",
    }
    comfy.images(RUN, "b.mp4", "a.png", prompt=image_prompt())
    for file in (await deliver(comfy, home, sidecar=True))["files"]:
        loaded = load_file(Path(file["sidecar"]))
        assert (loaded.content, loaded.ui) == (image_prompt(), graph)


async def test_sidecar_never_replaces_a_file(comfy: ComfyFiles, home: Path) -> None:
    (home / "output").mkdir()
    (home / "output" / "a.png.json").write_text("mine")
    prompt: dict[str, Any] = image_prompt()
    prompt["1"]["inputs"] |= {"width": float("nan"), "color": "\ud800"}
    comfy.files["a.png"] = png()
    comfy.images(RUN, "a.png", prompt=prompt)
    (file,) = (await deliver(comfy, home, sidecar=True))["files"]
    assert Path(file["sidecar"]).name == "a.png-2.json"
    assert (home / "output" / "a.png.json").read_text() == "mine"
    assert load_file(Path(file["sidecar"])).content["1"]["inputs"]["color"] == "\ud800"


# Several runs


async def test_many_runs_are_collected_into_one_answer(comfy: ComfyFiles, home: Path) -> None:
    ids = []
    for number in range(99):
        comfy.files[f"{number}.png"] = png((number, 0, 0))
        ids.append(comfy.images(f"{number:08}-1111-4222-8333-444455556666", f"{number}.png"))
    async with agent(environment_for(home, comfy.url)) as user:
        given = await answer(user, prompt_id=[*ids, ids[0]], sidecar=True)
    assert isinstance(given.content[0], TextContent)
    assert len(given.content[0].text) <= 10_000
    assert len(pictures(given)) == 5
    delivery = given.structured_content
    assert isinstance(delivery, dict)
    assert delivery["message"].startswith("99 runs: 99 completed. 99 files saved.")
    assert (delivery["states"], delivery["runs"], "prompt_id" in delivery) == ({"completed": 99}, [], False)
    assert [file["prompt_id"] for file in delivery["files"]] == ids[: len(delivery["files"])]
    assert len(list((home / "output").iterdir())) == 198


async def test_of_several_runs_the_troubled_ones_are_named(comfy: ComfyFiles, home: Path) -> None:
    comfy.files["a.png"] = png()
    good = comfy.images("good", "a.png")
    partly = comfy.images("partly", "a.png", "gone.png")
    empty = comfy.run("empty", {})
    failed = comfy.run("failed", {"4": {"text": ["made before"]}}, state="error")
    comfy.server.paths["/history/broken"] = page()
    delivery = await deliver(comfy, home, [good, partly, empty, failed, "broken", comfy.forget("unknown")])
    assert {run["prompt_id"]: run["state"] for run in delivery["runs"]} == {
        "partly": "completed",
        "empty": "completed",
        "failed": "failed",
        "broken": "unreachable",
        "unknown": "gone",
    }
    assert delivery["state"] == "unreachable"
    assert delivery["states"] == {"completed": 3, "failed": 1, "unreachable": 1, "gone": 1}
    assert [file["prompt_id"] for file in delivery["files"]] == ["good", "partly"]
    assert delivery["missing"][0]["prompt_id"] == "partly"
    assert delivery["texts"] == [{"node_id": "4", "text": "made before", "prompt_id": "failed"}]
    assert "6 runs: 3 completed, 1 failed, 1 unreachable, 1 gone." in delivery["message"]


@pytest.mark.parametrize("given", [[], ["x"] * 101, [""], [3], "", ["x" * 201]])
async def test_lists_that_are_none_of_runs_are_refused_in_words(comfy: ComfyFiles, home: Path, given: Any) -> None:
    async with agent(environment_for(home, comfy.url)) as user:
        text = await user.fail("get_output", prompt_id=given)
    assert "prompt_id" in text
    assert "pydantic" not in text


async def test_list_may_come_as_json_text(comfy: ComfyFiles, home: Path) -> None:
    comfy.files["a.png"] = png()
    ids = [comfy.images(f"run-{number:040}", "a.png") for number in range(60)]
    delivery = await deliver(comfy, home, json.dumps(ids))
    assert delivery["message"].startswith("60 runs: 60 completed.")


async def test_servers_that_stopped_answering_are_asked_once(home: Path) -> None:
    ids = [f"run-{number}" for number in range(50)]
    async with agent(environment_for(home, "http://127.0.0.1:9")) as user:
        delivery = await user.call("get_output", prompt_id=ids)
        assert {run["state"] for run in delivery["runs"]} == {"unreachable"}
        assert "No ComfyUI answers" in await user.fail("get_output", prompt_id=ids[0])


def test_console_takes_several_runs(comfy: ComfyFiles, home: Path) -> None:
    comfy.files["a.png"] = png()
    comfy.images("one", "a.png")
    comfy.images("two", "a.png")
    comfy.forget("three")
    command = [sys.executable, "-m", "comfyui_api", "get"]
    environment = {**os.environ, **environment_for(home, comfy.url)}
    both = subprocess.run([*command, "one", "two", "--sidecar"], env=environment, capture_output=True, check=False)
    assert (both.returncode, len(json.loads(both.stdout)["files"])) == (0, 2)
    unknown = subprocess.run([*command, "one", "three"], env=environment, capture_output=True, check=False)
    assert unknown.returncode == 1
    assert json.loads(unknown.stdout)["runs"][0]["state"] == "gone"
