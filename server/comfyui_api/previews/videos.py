"""Frames of videos and samples of sounds, by PyAV where the extra `video` is installed."""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfyui_api.media import HEAD_BYTES, media_type
from comfyui_api.previews.picture import LONGEST_SIDE, UNREADABLE, Picture, encoded
from comfyui_api.previews.sheets import FRAMES, sheet

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image as ImageFile

SECONDS = 8.0  # what one preview may take; a frame that is further than that is not looked for
PIXEL_LIMIT = 50_000_000
SEEK_FROM = 8.0  # seconds of video; less is decoded through, as there may be no key frame between
SAMPLE_RATE = 8000
LONGEST_SOUND = 1200.0  # seconds that are decoded
# The demuxer is named, never guessed: a "video" may be a play list, which would make FFmpeg open what it lists.
_DEMUXERS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "matroska",
    "video/x-msvideo": "avi",
    "audio/mp4": "mp4",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
}

log = logging.getLogger(__name__)


def can_decode() -> bool:
    """Whether PyAV is installed, which the extra `video` brings."""
    try:
        import av  # noqa: F401, PLC0415  # optional, and slow to load
    except ImportError:
        return False
    return True


def video_preview(path: Path, frames: int = FRAMES) -> Picture | None:
    """A sheet of so many frames, evenly spread over the video; None where it cannot be decoded here."""
    with _opened(path) as container:
        if container is None or not container.streams.video:
            return None
        found: list[tuple[float, ImageFile]] = []
        try:
            for moment, frame in _spread(container, container.streams.video[0], frames):
                found.append((moment, _image(frame)))
        except _decoding_errors() as exc:
            log.info("%s is not decoded further: %s", path, exc)  # what was decoded before is shown
    if not found:
        return None
    return encoded(sheet([image for _, image in found], [clock(moment) for moment, _ in found]), path)


def samples(path: Path) -> Iterator[array[int]]:
    """A sound's 16 bit samples, mixed to one channel at SAMPLE_RATE, in pieces; nothing where it cannot be decoded."""
    with _opened(path) as container:
        if container is None or not container.streams.audio:
            return
        import av  # noqa: PLC0415

        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        until, left = time.monotonic() + SECONDS, int(LONGEST_SOUND * SAMPLE_RATE)
        try:
            for frame in container.decode(container.streams.audio[0]):
                for piece in resampler.resample(frame):
                    values = array("h")
                    values.frombytes(bytes(piece.planes[0])[: 2 * piece.samples])
                    left -= len(values)
                    yield values
                if left <= 0 or time.monotonic() > until:
                    return
        except _decoding_errors() as exc:
            log.info("%s is not decoded further: %s", path, exc)


def clock(seconds: float) -> str:
    """A moment as people write it: 0:03.5, 1:02:03."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{int(rest):02}" if hours else f"{minutes}:{rest:04.1f}"


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer | None]:
    """A media file; None for what is none, and where PyAV is not installed."""
    if not can_decode():
        yield None
        return
    import av  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            demuxer = _DEMUXERS.get(media_type(file.read(HEAD_BYTES)) or "")
        container = av.open(str(path), format=demuxer, options={"protocol_whitelist": "file"}) if demuxer else None
    except _decoding_errors() as exc:
        log.info("%s cannot be decoded: %s", path, exc)
        container = None
    if container is None:
        yield None
        return
    with container:
        yield container


def _spread(container: InputContainer, stream: VideoStream, wanted: int) -> Iterator[tuple[float, VideoFrame]]:
    """(seconds from the start, frame) of so many moments of a video.

    Short ones are decoded through; in long ones the key frame before each moment is taken.
    """
    if stream.width * stream.height > PIXEL_LIMIT or stream.time_base is None:
        return
    stream.thread_type = "AUTO"
    start = float((stream.start_time or 0) * stream.time_base)
    length = _length(container, stream) or float(wanted)
    until = time.monotonic() + SECONDS
    last = -1.0
    frames = container.decode(stream)
    for index in range(wanted):
        moment, sought = length * (index + 0.5) / wanted, False
        if moment - last > SEEK_FROM:
            container.seek(int((start + moment) / stream.time_base), stream=stream)
            frames, sought = container.decode(stream), True
        latest = None
        for frame in frames:
            seconds = (frame.time if frame.time is not None else start) - start
            latest = (max(0.0, seconds), frame)
            if (sought and seconds > last) or seconds >= moment or time.monotonic() > until:
                break
        if latest is None or latest[0] <= last:
            return
        last = latest[0]
        yield latest


def _length(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds that the video lasts, where it is told."""
    if stream.duration and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration and container.duration > 0 else None


def _image(frame: VideoFrame) -> ImageFile:
    scale = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    size = {"width": max(1, round(frame.width * scale)), "height": max(1, round(frame.height * scale))}
    image: ImageFile = frame.to_image(**size)  # type: ignore[no-untyped-call]  # PyAV leaves its arguments open
    return image


def _decoding_errors() -> tuple[type[Exception], ...]:
    import av  # noqa: PLC0415

    errors: tuple[Any, ...] = (av.FFmpegError, EOFError, *UNREADABLE)
    return errors
