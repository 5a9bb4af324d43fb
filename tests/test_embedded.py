"""Files of every kind with a workflow in them, made by hand; and hostile ones."""

from __future__ import annotations

import html
import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyui_api.embedded import SIZE_LIMIT, Embedded, read_embedded
from comfyui_api.errors import WorkflowUnreadable

PROMPT = json.dumps({"1": {"class_type": "EmptyImage", "inputs": {"text": 'größe 日本 😀 ]]> "x" \\'}}})
WORKFLOW = json.dumps({"nodes": [{"type": "Nöte", "n": float("nan")}], "links": []}, ensure_ascii=False)
BOTH = [("prompt", PROMPT), ("workflow", WORKFLOW)]
TOGETHER = json.dumps({"custom": [1, {"a": "}"}], "prompt": PROMPT, "workflow": json.loads(WORKFLOW)})
"""Both in one comment, as Video Helper Suite writes them: the prompt as a text, the workflow as it is."""
PNG_START = b"\x89PNG\r\n\x1a\n"


# PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"".join([PNG_START, header, *chunks, chunk(b"IDAT", zlib.compress(b"\0\0")), chunk(b"IEND", b"")])


def itxt(key: str, text: str, *, compressed: bool) -> bytes:
    content = zlib.compress(text.encode()) if compressed else text.encode()
    return chunk(b"iTXt", key.encode() + bytes([0, compressed, 0]) + b"de\0Schl\xc3\xbcssel\0" + content)


def ztxt(key: str, content: bytes) -> bytes:
    return chunk(b"zTXt", key.encode() + b"\0\0" + content)


def pillow_png() -> bytes:
    info = PngInfo()
    for key, text in BOTH:
        info.add_text(key, text)
    return saved("PNG", pnginfo=info)


def animated_png() -> bytes:
    info = PngInfo()
    for key, text in BOTH:
        info.add(b"comf", key.encode() + b"\0" + text.encode(), after_idat=True)
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "green", "blue")]
    return saved("PNG", frames[0], pnginfo=info, save_all=True, append_images=frames[1:])


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or Image.new("RGB", (8, 8))).save(buffer, form, **options)
    return buffer.getvalue()


# EXIF


def exif(*texts: str, first: int = 0x0110, comment: bytes = b"") -> Image.Exif:
    data = Image.Exif()
    for offset, text in enumerate(texts):
        data[first - offset] = text
    if comment:
        data.get_ifd(0x8769)[0x9286] = comment
    return data


KEYED = (f"prompt:{PROMPT}", f"custom:{PROMPT}", f"workflow:{json.dumps(json.loads(WORKFLOW))}")


def little_endian_webp() -> bytes:
    """As other programs write it: in the other order of bytes, and without the start that Pillow puts before it."""
    texts = [f"{key}:{text}".encode() + b"\0" for key, text in BOTH]
    entries, data, place = b"", b"", 8 + 2 + 12 * len(texts) + 4
    for tag, text in zip((0x010E, 0x010F), texts, strict=True):
        entries += struct.pack("<HHII", tag, 2, len(text), place + len(data))
        data += text
    content = struct.pack("<4sIH", b"II*\0", 8, len(texts)) + entries + bytes(4) + data
    return riff(riff_chunk(b"VP8X", bytes(10)), riff_chunk(b"odd ", b"x"), riff_chunk(b"EXIF", content))


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def riff(*chunks: bytes) -> bytes:
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


# MP4 and Matroska


def box(kind: bytes | int, *content: bytes, size: int | None = None) -> bytes:
    name = kind.to_bytes(4, "big") if isinstance(kind, int) else kind
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8 if size is None else size) + name + body


def data_box(text: str) -> bytes:
    return box(b"data", struct.pack(">II", 1, 0), text.encode())


def keyed_meta(*tags: tuple[str, str], quicktime: bool = False) -> bytes:
    """The metadata that FFmpeg writes with use_metadata_tags; QuickTime's has no version before it."""
    keys = box(b"keys", struct.pack(">II", 0, len(tags)), *(box(b"mdta", key.encode()) for key, _ in tags))
    items = box(b"ilst", *(box(number, data_box(text)) for number, (_, text) in enumerate(tags, 1)))
    handler = box(b"hdlr", bytes(8) + b"mdta" + bytes(13))
    return box(b"meta", b"" if quicktime else bytes(4), handler, keys, items)


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
MDAT = box(b"mdat", bytes(100))


def mp4(*user_data: bytes) -> bytes:
    return FTYP + MDAT + box(b"moov", box(b"mvhd", bytes(100)), box(b"trak", bytes(50)), box(b"udta", *user_data))


def element(identifier: int, *content: bytes, size: bytes = b"") -> bytes:
    body = b"".join(content)
    length = size or (len(body) | 1 << 56).to_bytes(8, "big")
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + length + body


def webm(*content: bytes, size: bytes = b"") -> bytes:
    return element(0x1A45DFA3, element(0x4282, b"webm")) + element(0x18538067, *content, size=size)


def tags(*pairs: tuple[str, str]) -> bytes:
    simple = [element(0x67C8, element(0x45A3, key.encode()), element(0x4487, text.encode())) for key, text in pairs]
    return element(0x1254C367, element(0x7373, element(0x63C0), *simple))


CAPITALS = [(key.upper(), text) for key, text in BOTH]
CLUSTER = element(0x1F43B675, element(0xE7, b"\0"), element(0xA3, bytes(50)))
UNKNOWN = b"\x01" + b"\xff" * 7


# Sounds


def vorbis_comments(*pairs: tuple[str, str]) -> bytes:
    comments = [f"{key}={text}".encode() for key, text in pairs]
    parts = [struct.pack("<I", len(comment)) + comment for comment in comments]
    return struct.pack("<I", 4) + b"Lavf" + struct.pack("<I", len(parts)) + b"".join(parts)


def flac(*pairs: tuple[str, str]) -> bytes:
    blocks = [(0, bytes(34)), (4, vorbis_comments(*pairs)), (0x81, bytes(100))]
    return b"fLaC" + b"".join(struct.pack(">I", kind << 24 | len(content)) + content for kind, content in blocks)


def ogg_page(serial: int, number: int, content: bytes, *, ends: bool = True) -> bytes:
    lengths = [255] * (len(content) // 255) + ([len(content) % 255] if ends else [])
    head = struct.pack("<4sBBQIIIB", b"OggS", 0, 0, 0, serial, number, 0, len(lengths))
    return head + bytes(lengths) + content


def ogg(start: bytes, *pairs: tuple[str, str]) -> bytes:
    """The comments on pages of one lacing value each, and another stream's pages between them."""
    packet = start + vorbis_comments(*pairs)
    cuts = range(0, len(packet), 255)
    pages = [
        ogg_page(7, number, packet[cut : cut + 255], ends=cut + 255 > len(packet)) for number, cut in enumerate(cuts, 1)
    ]
    other = ogg_page(8, 0, b"another stream")
    assert len(packet) % 255, "then one more page would have to end it"
    return ogg_page(7, 0, b"OpusHead") + other + other.join(pages)


def seven_bits(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def mp3(*pairs: tuple[str, str], version: int = 4, flags: int = 0) -> bytes:
    frames = b""
    for key, text in [*pairs, ("more", "x")]:
        content = b"\x03" + key.encode() + b"\0" + text.encode() + b"\0"
        size = seven_bits(len(content)) if version == 4 else struct.pack(">I", len(content))
        frames += b"TXXX" + size + bytes(2) + content
    extended = {4: seven_bits(6) + b"\1\0", 3: struct.pack(">I", 6) + bytes(6)}[version] if flags & 0x40 else b""
    content = extended + frames + bytes(20)
    return b"ID3" + bytes([version, 0, flags]) + seven_bits(len(content)) + content + b"\xff\xfb" + bytes(100)


# JSON headers, SVG


def latent(header: dict[str, Any]) -> bytes:
    return latent_text(json.dumps(header)) + bytes(64)


def latent_text(header: str) -> bytes:
    return struct.pack("<Q", len(header.encode())) + header.encode()


def glb(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return b"glTF" + struct.pack("<III", 2, 20 + len(text), len(text)) + b"JSON" + text + bytes(64)


SVG = '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">\n{}<rect/></svg>'
TOGETHER_INDENTED = json.dumps({key: json.loads(text) for key, text in BOTH}, indent=2)
SVG_METADATA = f"<metadata>\n <![CDATA[\n{TOGETHER_INDENTED}\n ]]>\n</metadata>"

FILES: dict[str, tuple[bytes, str]] = {
    "png by Pillow": (pillow_png(), "a PNG picture"),
    "png with UTF-8": (png(*(chunk(b"tEXt", f"{key}\0{text}".encode()) for key, text in BOTH)), "a PNG picture"),
    "png, capital keys": (png(*(chunk(b"tEXt", f"{key}\0{text}".encode()) for key, text in CAPITALS)), "a PNG picture"),
    "png, iTXt": (png(*(itxt(key, text, compressed=key == "prompt") for key, text in BOTH)), "a PNG picture"),
    "png, zTXt": (png(*(ztxt(key, zlib.compress(text.encode())) for key, text in BOTH)), "a PNG picture"),
    "png, animated": (animated_png(), "a PNG picture"),
    "webp by Pillow": (saved("WEBP", exif=exif(*KEYED)), "a WEBP picture"),
    "webp, other order": (little_endian_webp(), "a WEBP picture"),
    "jpeg": (saved("JPEG", exif=exif(*KEYED)), "a JPEG picture"),
    "jpeg, user comment": (
        saved("JPEG", exif=exif(comment=b"ASCII\0\0\0" + TOGETHER.encode())),
        "a JPEG picture",
    ),
    "jpeg, UTF-16": (
        saved("JPEG", exif=exif(comment=b"UNICODE\0" + TOGETHER.encode("utf-16-be"))),
        "a JPEG picture",
    ),
    "jpeg, UTF-16 with a mark": (
        saved("JPEG", exif=exif(comment=b"UNICODE\0" + ("\ufeff" + TOGETHER).encode("utf-16-be"))),
        "a JPEG picture",
    ),
    "jpeg, comment": (saved("JPEG", comment=TOGETHER.encode()), "a JPEG picture"),
    "tiff": (saved("TIFF", exif=exif(*KEYED)), "a TIFF picture"),
    "svg": (SVG.format(SVG_METADATA).encode(), "an SVG picture"),
    "mp4": (mp4(keyed_meta(("custom", "1"), *BOTH)), "an MP4 video"),
    "mp4, movie first": (mp4(keyed_meta(*BOTH)).replace(FTYP + MDAT, FTYP) + MDAT, "an MP4 video"),
    "mp4, long box": (
        FTYP + box(b"mdat", struct.pack(">Q", 116), bytes(100), size=1) + mp4(keyed_meta(*BOTH))[len(FTYP) :],
        "an MP4 video",
    ),
    "mp4, box to the end": (
        FTYP + box(b"moov", box(b"udta", keyed_meta(*BOTH)), size=0),
        "an MP4 video",
    ),
    "mp4, comment": (
        mp4(box(b"meta", bytes(4), box(b"hdlr", bytes(25)), box(b"ilst", box(b"\xa9cmt", data_box(TOGETHER))))),
        "an MP4 video",
    ),
    "mp4, key of Apple's": (
        mp4(keyed_meta(("com.apple.quicktime.comment", TOGETHER), quicktime=True), bytes(4)),
        "an MP4 video",
    ),
    "mov, comment": (
        box(b"ftyp", b"qt  \0\0\2\0qt  ") + mp4(box(b"\xa9cmt", b"\0\0\x55\xc4", TOGETHER.encode()))[len(FTYP) :],
        "a QuickTime video",
    ),
    "webm": (webm(tags(*CAPITALS), CLUSTER), "a WEBM or Matroska video"),
    "webm, tags at the end": (webm(CLUSTER, CLUSTER, tags(*BOTH)), "a WEBM or Matroska video"),
    "webm, live": (
        webm(element(0x1F43B675, element(0xA3, bytes(50)), size=UNKNOWN), tags(*CAPITALS), size=UNKNOWN),
        "a WEBM or Matroska video",
    ),
    "webm, comment": (webm(tags(("COMMENT", TOGETHER))), "a WEBM or Matroska video"),
    "flac": (flac(*BOTH), "a FLAC sound"),
    "opus": (ogg(b"OpusTags", *BOTH), "an Ogg sound"),
    "vorbis": (ogg(b"\x03vorbis", *CAPITALS), "an Ogg sound"),
    "flac in ogg": (ogg(b"\x04\0\0\0", *BOTH), "an Ogg sound"),
    "mp3": (mp3(*BOTH), "an MP3 sound"),
    "mp3, older": (mp3(*BOTH, version=3), "an MP3 sound"),
    "mp3, extended": (mp3(*BOTH, flags=0x40), "an MP3 sound"),
    "mp3, older and extended": (mp3(*BOTH, version=3, flags=0x40), "an MP3 sound"),
    "latent": (
        latent({"t": {"dtype": "F32", "shape": [], "data_offsets": [0, 64]}, "__metadata__": dict(BOTH)}),
        "a latent or another safetensors file",
    ),
    "glb": (glb({"buffers": [{}], "asset": {"version": "2.0", "extras": dict(BOTH)}}), "a GLB model"),
}


def read(content: bytes) -> Embedded | None:
    return read_embedded(io.BytesIO(content), len(content), "the file")


def refusal(content: bytes) -> str:
    with pytest.raises(WorkflowUnreadable) as caught:
        read(content)
    assert caught.value.next_step
    return caught.value.message


@pytest.mark.parametrize("name", FILES)
def test_both_texts_are_read(name: str) -> None:
    content, kind = FILES[name]
    embedded = read(content)
    assert embedded is not None
    assert embedded.kind == kind
    assert json.loads(embedded.prompt or "") == json.loads(PROMPT)
    assert repr(json.loads(embedded.workflow or "")) == repr(json.loads(WORKFLOW))  # NaN is not equal to itself


def test_one_text_is_enough() -> None:
    embedded = read(png(chunk(b"tEXt", b"prompt\0" + PROMPT.encode())))
    assert embedded == Embedded(PROMPT, None, "a PNG picture")


def test_plain_text_of_a_png_may_be_latin() -> None:
    text = '{"nodes": ["gr\xf6\xdfe"]}'
    embedded = read(png(chunk(b"tEXt", b"workflow\0" + text.encode("latin-1"))))
    assert embedded is not None
    assert embedded.workflow == text


def test_text_that_looks_like_json_is_preferred() -> None:
    """Other programs have a 'prompt' too: the words."""
    embedded = read(png(*(chunk(b"tEXt", b"Prompt\0" + text) for text in (b"", b"a cat", b"a dog", b"{}", b"{1}"))))
    assert embedded is not None
    assert embedded.prompt == "{}"


def test_drawing_of_the_graph_has_the_ui_workflow() -> None:
    embedded = read(SVG.format(f"<desc>not this</desc><desc>{html.escape(WORKFLOW)}</desc>").encode("utf-8-sig"))
    assert embedded is not None
    assert (embedded.prompt, embedded.workflow) == (None, WORKFLOW)


@pytest.mark.parametrize(
    ("content", "others"),
    [
        (
            png(chunk(b"tEXt", b"parameters\0a cat\nSteps: 20"), chunk(b"tEXt", b"Software\0x")),
            ("parameters", "Software"),
        ),
        (saved("JPEG", exif=exif(comment=b"UNICODE\0" + "a cat\nSteps: 20".encode("utf-16-le"))), ("parameters",)),
        (saved("JPEG", exif=exif("Canon", comment=b"taken in Rome")), ()),
        (saved("JPEG", comment=b"{so it is}"), ()),
        (mp3(), ("more",)),
        (bytes.fromhex("fffb9064") + bytes(100), ()),
        (latent({"t": {}}), ()),
        (glb({"asset": {"version": "2.0"}}), ()),
        (glb({}), ()),
        (webm(CLUSTER), ()),
        (mp4(), ()),
    ],
)
def test_file_without_a_workflow_has_neither_text(content: bytes, others: tuple[str, ...]) -> None:
    embedded = read(content)
    assert embedded is not None
    assert (embedded.prompt, embedded.workflow, embedded.others) == (None, None, others)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"1": {}}', b"[" * 40, "{}".encode("utf-16"), b"<html></html>"])
def test_what_is_no_media_file_is_left_to_others(content: bytes) -> None:
    assert read(content) is None


def test_kinds_that_no_workflow_is_read_from_say_so() -> None:
    assert refusal(saved("GIF")) == "the file is of the type image/gif, which no workflow is read from."


# Damaged files


@pytest.mark.parametrize("name", FILES)
def test_cut_off_anywhere_gives_whole_texts_or_a_clear_error(name: str) -> None:
    content, _ = FILES[name]
    whole = read(content)
    assert whole is not None
    for end in range(len(content)):
        try:
            embedded = read(content[:end])
        except WorkflowUnreadable as exc:
            assert exc.next_step
            assert "damaged" in exc.message or "cut off" in exc.message
        else:
            if embedded is not None:
                assert embedded.prompt in (None, whole.prompt)
                assert embedded.workflow in (None, whole.workflow)


@pytest.mark.parametrize("name", ["png by Pillow", "mp4, movie first", "webm", "latent"])
def test_texts_before_the_cut_count(name: str) -> None:
    content, _ = FILES[name]
    assert read(content[:-1]) == read(content)


@pytest.mark.parametrize("name", ["png, animated", "webp by Pillow", "mp4", "webm, tags at the end", "flac", "opus"])
def test_cut_before_the_texts_says_so(name: str) -> None:
    content, kind = FILES[name]
    start = min(content.find(key) for key in (b"prompt", b"workflow", b"custom") if key in content)
    says = f"the file is {kind}, and no workflow can be read from it: it is damaged or cut off"
    assert refusal(content[:start]).startswith(says)


def test_text_with_a_wrong_checksum_is_not_taken() -> None:
    content = FILES["png with UTF-8"][0].replace(b"EmptyImage", b"EmptyImagf")
    assert "checksum" in refusal(content)


@given(st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=8))
def test_flipped_bits_give_texts_or_a_clear_error(name: str, flips: list[tuple[int, int]]) -> None:
    content = bytearray(FILES[name][0])
    for place, bits in flips:
        content[place % len(content)] ^= bits
    texts_or_error(bytes(content))


STARTS = [
    PNG_START,
    PNG_START + b"\0\0\0\x09tEXtprompt\0",
    PNG_START + b"\0\0\0\x20zTXtprompt\0\0",
    PNG_START + b"\0\0\0\x20iTXtprompt\0\1\0",
    b"RIFF\xff\0\0\0WEBP",
    b"RIFF\xff\0\0\0WEBPEXIF\x40\0\0\0MM\0*\0\0\0\x08\0\x02",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe1\x01\0Exif\0\0II*\0\x08\0\0\0\x03\0",
    b"II*\0",
    b"MM\0*",
    FTYP,
    FTYP + b"\0\0\1\0moov\0\0\0\x90udta\0\0\0\x80meta\0\0\0\0",
    b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67",
    b"\x1aE\xdf\xa3\x80\x12\x54\xc3\x67\xc0\x73\x73\xb0\x67\xc8",
    b"fLaC\x84\0\0\x40",
    b"OggS" + bytes(22) + b"\2\5\x20OpusHOpusTags",
    b"ID3\x04\0\0\0\0\x01\0TXXX",
    b"glTF\2\0\0\0\0\0\0\0\x20\0\0\0JSON{",
    b"\x20\0\0\0\0\0\0\0{",
    b"<svg><metadata><![CDATA[",
]


@pytest.mark.parametrize("start", STARTS)
@given(rest=st.binary(max_size=300) | st.text('{}[]":, \\prompt1', max_size=60).map(str.encode))
def test_anything_after_a_known_start_gives_texts_or_a_clear_error(start: bytes, rest: bytes) -> None:
    texts_or_error(start + rest)


def texts_or_error(content: bytes) -> None:
    try:
        read(content)
    except WorkflowUnreadable as exc:
        assert exc.next_step


# Hostile files


GIANT_LENGTHS = {
    "png": PNG_START + b"\xff\xff\xff\xfftEXtprompt\0{}",
    "webp": b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xffMM\0*",
    "jpeg": b"\xff\xd8\xff\xe1\xff\xffExif\0\0MM\0*\0\0\0\x08\0\1\1\x10\0\2\xff\xff\xff\xff\xff\xff\xff\xff",
    "tiff": b"MM\0*\0\0\0\x08\0\1\1\x10\0\2\xff\xff\xff\xff\0\0\0\0",
    "mp4": FTYP + b"\xff\xff\xff\xffmoov",
    "mp4, long": FTYP + b"\0\0\0\1moov" + b"\xff" * 8,
    "mp4, long and short": FTYP + b"\0\0\0\1moov" + bytes(8),
    "mp4, too short": FTYP + b"\0\0\0\5moov",
    "mp4, keys": mp4(box(b"meta", bytes(4), box(b"hdlr"), box(b"keys", bytes(4) + b"\xff" * 4))),
    "webm": webm(b"\x12\x54\xc3\x67\x01\xff\xff\xff\xff\xff\xff\xfe"),
    "webm, no number": webm(b"\0\0\0\0"),
    "webm, text without end": webm(element(0x67C8, element(0x4487, size=UNKNOWN))),
    "flac": b"fLaC\4\xff\xff\xff",
    "flac, comments": b"fLaC\x84\0\0\x08" + bytes(4) + b"\xff" * 4,
    "ogg": b"OggS" + bytes(22) + b"\xff" + b"\xff" * 255,
    "mp3": b"ID3\4\0\0\x7f\x7f\x7f\x7f",
    "mp3, frame": b"ID3\4\0\0\0\0\0\x0aTXXX\x7f\x7f\x7f\x7f\0\0",
    "mp3, no such number": b"ID3\4\0\0\xff\xff\xff\xff",
    "mp3, extension": b"ID3\3\0\x40\0\0\0\x0a\xff\xff\xff\xff" + bytes(6),
    "glb": b"glTF" + bytes(8) + b"\xff\xff\xff\xffJSON{}",
    "latent": b"\xff\xff\xff\xff\0\0\0\0{}",
}


@pytest.mark.parametrize("name", GIANT_LENGTHS)
def test_lengths_beyond_the_end_are_a_clear_error(name: str) -> None:
    message = refusal(GIANT_LENGTHS[name])
    assert "damaged" in message or "a part of it" in message


def measured(work: Callable[[], object]) -> int:
    """The most memory that was in use, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@cache
def packed_zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 1)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_zip_bomb_is_an_error_and_takes_no_more_memory_than_a_text_may(kind: bytes) -> None:
    packed = packed_zeros(8 * SIZE_LIMIT)
    head = b"prompt\0\0" if kind == b"zTXt" else b"prompt\0\1\0\0\0"
    content = png(chunk(kind, head + packed))
    message: list[str] = []
    assert measured(lambda: message.append(refusal(content))) < 3 * SIZE_LIMIT
    assert "more than any workflow" in message[0]


def test_many_bombs_below_the_limit_are_stopped_together() -> None:
    packed = packed_zeros(SIZE_LIMIT - 1)
    content = png(*(ztxt("prompt", packed) for _ in range(20)))
    assert "more parts" in refusal(content)


def test_text_above_the_limit_is_an_error_before_it_is_read() -> None:
    content = png(chunk(b"tEXt", b"prompt\0" + bytes(SIZE_LIMIT)))
    assert measured(lambda: refusal(content)) < 1 << 20
    assert "more than any workflow" in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        PNG_START + chunk(b"IDAT", b"") * 1_000_000,
        b"RIFF\xff\xff\xff\xffWEBP" + riff_chunk(b"ANMF", b"") * 1_000_000,
        b"\xff\xd8" + b"\xff" * 1_000_000,
        b"\xff\xd8" + b"\xff\xd0" * 1_000_000,
        FTYP + box(b"free") * 1_000_000,
        webm() + element(0xEC, size=b"\x80") * 1_000_000,
        ogg_page(1, 0, b"x") + ogg_page(2, 0, b"x") * 1_000_000,
        b"ID3\4\0\0" + seven_bits(10_000_000) + (b"TPE1" + bytes(6)) * 1_000_000,
        flac()[:42] + b"\1\0\0\0" * 1_000_000,
    ],
    ids=["png", "webp", "jpeg, fill", "jpeg", "mp4", "webm", "ogg", "mp3", "flac"],
)
def test_a_million_parts_are_not_walked_to_the_end(content: bytes) -> None:
    assert "more parts than any file" in refusal(content)


def test_deep_nesting_is_an_error() -> None:
    boxes = b""
    elements = b""
    for _ in range(1000):
        boxes = box(b"moov", boxes)
        elements = element(0x1254C367, elements)
    for content in (FTYP + boxes, webm(elements)):
        assert "nested deeper" in refusal(content)
    value = "[" * 1_000_000 + "]" * 1_000_000
    embedded = read(latent_text(f'{{"a": {value}, "__metadata__": {{"prompt": {value}}}}}'))
    assert embedded is not None
    assert embedded.prompt == value


def test_directory_that_points_to_itself_ends() -> None:
    entry = struct.pack(">HHII", 0x8769, 4, 1, 8)
    content = b"MM\0*\0\0\0\x08" + struct.pack(">H", 0xFFFF) + entry * 0xFFFF
    assert "more parts" in refusal(content)


def test_hostile_json_header_takes_a_small_multiple_of_its_size() -> None:
    text = '{"a":[' + "[]," * 100_000 + '0],"__metadata__":{"prompt":"{}"}}'
    content = latent_text(text)
    found: list[Embedded | None] = []
    assert measured(lambda: found.append(read(content))) < 4 * len(text)
    assert found[0] is not None
    assert found[0].prompt == "{}"


@pytest.mark.parametrize(
    "text",
    ['{"a":[' + "[]," * 6_000_000, "{" + '"a":1,' * 2_000_000, "{" + "[" * 1000, '{"a":' + "[" * 6_000_000, "{1:2}"],
    ids=["lists", "members", "no key", "deep", "number"],
)
def test_json_header_that_is_none_or_has_too_many_parts_is_an_error(text: str) -> None:
    assert "its JSON" in refusal(latent_text(text))


class Hollow(io.RawIOBase):
    """A file with a gap of zeros that is only pretended; counts what is read."""

    def __init__(self, head: bytes, gap: int, tail: bytes) -> None:
        self.head, self.gap, self.tail = head, gap, tail
        self.place = self.was_read = 0

    @property
    def size(self) -> int:
        return len(self.head) + self.gap + len(self.tail)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        end = min(self.place + size, self.size)
        parts = [self.head[self.place : end]]
        start, after = len(self.head), len(self.head) + self.gap
        parts.append(bytes(max(0, min(end, after) - max(self.place, start))))
        parts.append(self.tail[max(0, self.place - after) : max(0, end - after)])
        data = b"".join(parts)
        self.place += len(data)
        self.was_read += len(data)
        return data


LARGE = 5 << 30


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (FTYP + b"\0\0\0\1mdat" + struct.pack(">Q", LARGE + 16), mp4(keyed_meta(*BOTH))[len(FTYP) :]),
        (
            webm(size=UNKNOWN) + b"\x1f\x43\xb6\x75" + (LARGE | 1 << 56).to_bytes(8, "big"),
            tags(*CAPITALS),
        ),
        (latent({"__metadata__": dict(BOTH)}), b""),
    ],
    ids=["mp4", "webm", "safetensors"],
)
def test_large_files_are_read_by_seeking(head: bytes, tail: bytes) -> None:
    file = Hollow(head, LARGE, tail)
    embedded = read_embedded(file, file.size, "large")  # type: ignore[arg-type]  # all of BinaryIO that is needed
    assert embedded is not None
    assert (embedded.prompt, embedded.workflow) == (PROMPT, WORKFLOW)
    assert file.was_read < 10_000


def test_pixels_are_not_read() -> None:
    noise = Image.effect_noise((1000, 1000), 90)
    info = PngInfo()
    info.add(b"comf", b"prompt\0" + PROMPT.encode(), after_idat=True)
    content = saved("PNG", noise, pnginfo=info)
    file = Hollow(content, 0, b"")
    embedded = read_embedded(file, file.size, "noise")  # type: ignore[arg-type]
    assert embedded == Embedded(PROMPT, None, "a PNG picture")
    assert file.was_read < len(content) / 100
