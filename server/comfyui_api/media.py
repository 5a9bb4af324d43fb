"""What a file is, by its first bytes."""

from __future__ import annotations

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
    b"\x76\x2f\x31\x01": "image/x-exr",
    b"\x1aE\xdf\xa3": "video/webm",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"\xff\xf3": "audio/mpeg",
    b"\xff\xf2": "audio/mpeg",
    b"\xff\xfa": "audio/mpeg",
    b"\xff\xf1": "audio/aac",
    b"\xff\xf9": "audio/aac",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"glTF": "model/gltf-binary",
    b"ply\n": "model/ply",
    b"ply\r\n": "model/ply",
    b"Kaydara FBX Binary": "model/fbx",
}
_RIFF_KINDS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"avif": "image/avif", b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}
HEAD_BYTES = 32


def media_type(head: bytes) -> str | None:
    """The media type of a picture, video, sound or 3D file by its first bytes; None for anything else."""
    if head[:4] == b"RIFF":
        return _RIFF_KINDS.get(head[8:12])
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # two letters alone are also how a text may begin
        return "image/bmp"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    return next((kind for start, kind in _STARTS.items() if head.startswith(start)), None)


# For what has no beginning of its own, or is a text.
_ENDINGS = {
    "csv": "text/csv",
    "gltf": "model/gltf+json",
    "hdr": "image/vnd.radiance",
    "json": "application/json",
    "md": "text/markdown",
    "obj": "model/obj",
    "srt": "application/x-subrip",
    "stl": "model/stl",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "usdz": "model/vnd.usdz+zip",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
_PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta")
_TEXT_STARTS = (b"{", b"[", b"<")
_BINARY = (
    "png jpg jpeg webp gif bmp tif tiff avif exr mp4 webm mov mkv avi m4v wav mp3 flac ogg opus m4a aac glb latent "
    "fbx usdz"
)
_HELD_AS_BYTES = frozenset(_BINARY.split())


def media_type_of(head: bytes, name: str) -> str:
    """The media type of a file by its first bytes, else by its name's ending."""
    return media_type(head) or _ENDINGS.get(_ending(name), "application/octet-stream")


def intruder(head: bytes, content_type: str, name: str) -> str | None:
    """What came in place of a file, by its first bytes and what the server calls it: "a web page" or "a text"; None
    where it may well be the file.

    ComfyUI itself gives every file as what its ending says, and web pages never as such (server.py, view_image).
    """
    ending, start = _ending(name), head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if ending in ("html", "htm", "xhtml"):
        return None
    if content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        return "a web page"
    if start.lower().startswith(_PAGE_STARTS) and ending not in ("txt", "md", "xml", "svg", "json", "csv"):
        return "a web page"
    if ending in _HELD_AS_BYTES and start.startswith(_TEXT_STARTS) and media_type(head) is None and _is_text(head):
        return "a text"
    return None


def _is_text(head: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\n\r\x0c" for byte in head)


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()
