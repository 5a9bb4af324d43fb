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
