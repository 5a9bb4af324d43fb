"""Small pictures of files of every kind, and of files that are broken on purpose."""

from __future__ import annotations

import io
import random
import struct
import sys
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from comfyui_api.media import intruder, media_type_of
from comfyui_api.previews import (
    LONGEST_SIDE,
    SIZE_LIMIT,
    Picture,
    contact_sheet,
    dimensions,
    overview,
    preview,
    video_preview,
    waveform,
)
from tests.comfy_files import picture_bytes, png, wav, write_video


def opened(picture: Picture | None) -> Image.Image:
    """A picture, within its bounds."""
    assert picture is not None
    assert len(picture.content) <= SIZE_LIMIT
    image = Image.open(io.BytesIO(picture.content))
    assert max(image.size) <= LONGEST_SIDE
    return image.convert("RGB")


def near(image: Image.Image, place: tuple[float, float], color: tuple[int, int, int]) -> bool:
    """Whether a picture has about this colour at a place given in shares of its sides."""
    found = image.getpixel((int(place[0] * image.width), int(place[1] * image.height)))
    return isinstance(found, tuple) and all(abs(a - b) < 40 for a, b in zip(found, color, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (4000, 10), (3, 5000), (2000, 2000)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_pictures_become_small_ones(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(picture_bytes(Image.new("RGB", size, (200, 40, 40)), kind))
    assert near(opened(preview(path)), (0.5, 0.5), (200, 40, 40))
    assert dimensions(path) == size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "LAB"])
def test_every_mode_can_be_shown(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    Image.new(mode, (30, 20)).save(path)
    assert opened(preview(path)).size == (30, 20)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_that_lie_on_their_side_are_shown_upright(tmp_path: Path, kind: str) -> None:
    image = Image.new("RGB", (800, 400), (200, 40, 40))
    image.paste((40, 40, 200), (0, 0, 400, 400))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    path = tmp_path / "a"
    path.write_bytes(picture_bytes(image, kind, exif=exif))
    shown = opened(preview(path))
    assert shown.size == (256, 512)
    assert near(shown, (0.5, 0.2), (40, 40, 200))


def test_noise_stays_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.frombytes("RGB", (1200, 1200), random.Random(1).randbytes(1200 * 1200 * 3)).save(path)
    opened(preview(path))


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG"])
def test_animations_show_frames_from_first_to_last(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (120, 90), (250 * number // 29, 0, 0)) for number in range(30)]
    path = tmp_path / "anim"
    path.write_bytes(picture_bytes(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    sheet = opened(preview(path))
    assert near(sheet, (0.2, 0.2), (0, 0, 0))
    assert near(sheet, (0.9, 0.9), (230, 0, 0))
    assert near(opened(preview(path, frames=1)), (0.5, 0.5), (0, 0, 0))


@pytest.mark.parametrize(
    ("name", "codec", "seconds", "key_frames"),
    [
        ("short.mp4", "libx264", 2, 12),
        ("one_frame.mp4", "libx264", 0.09, 1),
        ("long.mp4", "libx264", 100, 12),
        ("one_key_frame.mp4", "libx264", 40, 10_000),
        ("clip.webm", "libvpx", 2, 12),
        ("clip.mkv", "libx264", 2, 12),
        ("clip.mov", "mpeg4", 2, 12),
        ("clip.avi", "mpeg4", 2, 12),
    ],
)
def test_videos_show_frames_from_start_to_end(
    tmp_path: Path, name: str, codec: str, seconds: float, key_frames: int
) -> None:
    path = write_video(tmp_path / name, seconds, codec, key_frames)
    sheet = opened(video_preview(path))
    if seconds > 1:
        assert near(sheet, (0.2, 0.2), (20, 0, 235))
        assert near(sheet, (0.9, 0.9), (235, 0, 20))
    assert near(opened(video_preview(path, frames=1)), (0.5, 0.7), (125, 0, 130)) or seconds < 1


def test_play_list_called_a_video_opens_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4")
    path = tmp_path / "clip.mp4"
    path.write_text("#EXTM3U\n#EXTINF:2,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    assert video_preview(path) is None
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    assert video_preview(path) is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_a_video_shows_what_there_is_or_nothing(tmp_path: Path, share: float) -> None:
    for name in ("a.mp4", "a.webm"):
        path = write_video(tmp_path / name, 3, "libx264" if name == "a.mp4" else "libvpx")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        if (shown := video_preview(path)) is not None:
            opened(shown)


def test_without_pyav_videos_are_not_shown_and_wav_still_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "a.mp4")
    (tmp_path / "a.wav").write_bytes(wav())
    monkeypatch.setitem(sys.modules, "av", None)  # as Python itself marks what cannot be imported
    assert video_preview(video) is None
    opened(waveform(tmp_path / "a.wav"))


def wav_of(code: int, bits: int, samples: bytes, channels: int = 1, *, extensible: bool = False) -> bytes:
    form = struct.pack("<HHIIHH", code, channels, 8000, 8000 * channels * bits // 8, channels * bits // 8, bits)
    if extensible:
        form = struct.pack("<H", 0xFFFE) + form[2:] + struct.pack("<HHIH", 22, bits, 0, code) + bytes(14)
    chunks = [(b"LIST", b"odd"), (b"fmt ", form), (b"data", samples)]
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


HALVES = [0.0] * 4000 + [0.9, -0.9] * 2000


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("code", "bits", "samples"),
    [
        (1, 8, bytes(int(128 + 127 * value) for value in HALVES)),
        (1, 16, array("h", (int(32767 * value) for value in HALVES)).tobytes()),
        (1, 24, b"".join(int(8388607 * value).to_bytes(3, "little", signed=True) for value in HALVES)),
        (1, 32, array("i", (int(2147483647 * value) for value in HALVES)).tobytes()),
        (3, 32, array("f", HALVES).tobytes()),
        (3, 64, array("d", [*HALVES[:-1], float("nan")]).tobytes()),
    ],
)
def test_wav_of_every_kind_shows_its_waveform(
    tmp_path: Path, code: int, bits: int, samples: bytes, extensible: bool
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_of(code, bits, samples, extensible=extensible))
    image = opened(waveform(path))
    assert near(image, (0.25, 0.25), (32, 34, 38))
    assert near(image, (0.25, 0.5), (120, 190, 255))
    assert near(image, (0.75, 0.25), (120, 190, 255))


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "m4a"])
def test_sounds_of_other_kinds_show_their_waveform(tmp_path: Path, kind: str) -> None:
    import av  # noqa: PLC0415  # slow to load

    source, path = tmp_path / "a.wav", tmp_path / f"a.{kind}"
    source.write_bytes(wav(3, rate=48_000))
    codecs = {"flac": "flac", "mp3": "mp3", "ogg": "libopus", "m4a": "aac"}
    with av.open(str(source)) as sound, av.open(str(path), "w", format="mp4" if kind == "m4a" else None) as container:
        stream = container.add_stream(codecs[kind], rate=48_000)
        assert isinstance(stream, av.AudioStream)
        for frame in sound.decode(sound.streams.audio[0]):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert near(opened(waveform(path)), (0.5, 0.5), (120, 190, 255))


def test_hours_of_sound_are_quick_and_small(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(48_000)
        sound.setnframes(48_000 * 3600)
    with path.open("r+b") as file:  # a hole: as long as hours, and takes no room
        file.truncate(44 + 48_000 * 3600 * 4)
        file.seek(40)
        file.write(struct.pack("<I", 48_000 * 3600 * 4))
    assert near(opened(waveform(path)), (0.5, 0.5), (120, 190, 255))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * 5000,
        b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff",
        wav_of(1, 16, b""),
        wav_of(1, 16, b"\1"),
        wav_of(1, 12, bytes(100)),
        wav_of(1, 16, bytes(100), channels=0),
        wav_of(2, 4, bytes(100)),
    ],
)
def test_broken_sounds_show_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert waveform(path) is None


SAMPLES = [
    png(),
    wav(0.05),
    picture_bytes(Image.new("RGB", (9, 9)), "WEBP"),
    picture_bytes(Image.new("P", (9, 9)), "GIF"),
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12))
def test_damaged_files_never_do_harm(tmp_path: Path, content: bytes, damage: list[tuple[int, int]]) -> None:
    broken = bytearray(content)
    for place, value in damage:
        broken[place % len(broken)] = value
    path = tmp_path / "damaged"
    path.write_bytes(broken)
    for shown in (preview(path), video_preview(path), waveform(path)):
        if shown is not None:
            opened(shown)


def test_picture_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    content = bytearray(png())
    content[16:24] = struct.pack(">II", 12_000, 12_000)
    path.write_bytes(content)
    assert preview(path) is None
    content[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    path.write_bytes(content)
    assert preview(path) is None
    assert dimensions(path) == (None, None)


@pytest.mark.parametrize("count", [1, 2, 4, 25])
def test_overview_shows_all_in_their_order(tmp_path: Path, count: int) -> None:
    found = []
    for number in range(count):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png((10 * number, 200, 0), (300, 300)))
        picture = preview(path)
        assert picture is not None
        found.append((str(number), picture))
    sheet = opened(overview(found))
    assert near(sheet, (0.1, 0.1), (0, 200, 0))
    if count in (4, 25):
        assert near(sheet, (0.95, 0.95), (10 * (count - 1), 200, 0))


def test_contact_sheet_names_what_it_cannot_show(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    target = tmp_path / "sheets" / "all.png"
    contact_sheet([("a" * 500, tmp_path / "a.png"), ("none", tmp_path / "none.png")], target)
    with Image.open(target) as image:
        assert image.width > image.height


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.glb", b"glTF\x02", "model/gltf-binary"),
        ("a.obj", b"v 0 0 0", "model/obj"),
        ("a.STL", b"solid", "model/stl"),
        ("a.txt", b"hello", "text/plain"),
        ("a.txt", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a", b"", "application/octet-stream"),
    ],
)
def test_media_type_goes_by_content_and_then_by_ending(name: str, head: bytes, kind: str) -> None:
    assert media_type_of(head, name) == kind


@pytest.mark.parametrize(
    ("head", "content_type", "name", "what"),
    [
        (b"<!DOCTYPE HTML>", "text/html", "a.png", "a web page"),
        (b"", "text/html; charset=utf-8", "a.txt", "a web page"),
        (b"<?xml version='1.0'?><html>", "application/xhtml+xml", "a.png", "a web page"),
        (b"\xef\xbb\xbf\r\n <html>", "", "a.glb", "a web page"),
        (b"<html>", "", "mesh.obj", "a web page"),
        (b'{"detail": "no"}', "", "a.mp4", "a text"),
        (b"<?xml", "", "a.webp", "a text"),
        (b"<html>", "text/plain", "a.txt", None),
        (b"<html>", "text/html", "report.html", None),
        (b"{}", "", "a.gltf", None),
        (b"<svg", "image/svg+xml", "a.svg", None),
        (b"{\0\1", "", "a.mp3", None),
        (b"\x89PNG\r\n\x1a\n", "text/plain", "a.jpg", None),
        (b"", "", "a.png", None),
    ],
)
def test_what_came_in_place_of_a_file_is_recognised(
    head: bytes, content_type: str, name: str, what: str | None
) -> None:
    assert intruder(head, content_type, name) == what
