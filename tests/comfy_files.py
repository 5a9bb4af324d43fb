"""A little server that has runs in its history and gives their files, as badly as a test asks it to."""

from __future__ import annotations

import io
import json
import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from tests.file_server import Behaviour, FileServer, Handler, file_server
from tests.support import Prompt

STATS = {"system": {"os": "posix", "comfyui_version": "0.3.75", "python_version": "3.12.1 (x)"}, "devices": []}


@dataclass
class ComfyFiles:
    """`files`: {name: content, or what asking for it does}. `asked`: the query of every request for a file."""

    server: FileServer
    files: dict[str, bytes | Behaviour] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    def run(self, prompt_id: str, outputs: dict[str, Any], prompt: Prompt | None = None, state: str = "success") -> str:
        """Put a run into the history."""
        messages = [["execution_start", {"timestamp": 1_000}], ["execution_success", {"timestamp": 3_500}]]
        status = {"status_str": state, "completed": state == "success", "messages": messages}
        entry = {"prompt": [0, prompt_id, prompt or {}, {}, []], "outputs": outputs, "status": status}
        self.server.paths[f"/history/{prompt_id}"] = partial(_say, content={prompt_id: entry})
        return prompt_id

    def forget(self, prompt_id: str) -> str:
        """Know nothing of a run, as ComfyUI answers for it."""
        self.server.paths[f"/history/{prompt_id}"] = partial(_say, content={})
        return prompt_id

    def images(self, prompt_id: str, *names: str, key: str = "images", prompt: Prompt | None = None) -> str:
        """Put a run into the history whose node 9 left these files."""
        files = [{"filename": name, "subfolder": "", "type": "output"} for name in names]
        return self.run(prompt_id, {"9": {key: files}}, prompt)

    def _view(self, handler: Handler) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
        self.asked.append(query)
        found = self.files.get(query["filename"])
        if found is None:
            handler.say(404)
        elif isinstance(found, bytes):
            handler.say(200, found, {"Content-Type": "application/octet-stream"})
        else:
            found(handler)


def _say(handler: Handler, content: Any) -> None:
    handler.say(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


@contextmanager
def comfy_files() -> Iterator[ComfyFiles]:
    with file_server() as server:
        comfy = ComfyFiles(server)
        server.paths["/view"] = comfy._view
        server.paths["/queue"] = partial(_say, content={"queue_running": [], "queue_pending": []})
        server.paths["/system_stats"] = partial(_say, content=STATS)
        yield comfy


def png(color: tuple[int, int, int] = (200, 40, 40), size: tuple[int, int] = (64, 48)) -> bytes:
    return picture_bytes(Image.new("RGB", size, color), "PNG")


def picture_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def wav(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """A saw tooth of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(array("h", (index % 200 * 300 - 30_000 for index in range(int(seconds * rate)))).tobytes())
    return buffer.getvalue()


def write_video(path: Path, seconds: float = 2.0, codec: str = "libx264", key_frames: int = 12) -> Path:
    """A video that goes from blue to red, by PyAV."""
    import av  # noqa: PLC0415  # slow to load

    rate = 12
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 96, "yuv420p", key_frames
        count = int(seconds * rate)
        for index in range(count):
            red = 255 * index // count
            frame = av.VideoFrame.from_image(Image.new("RGB", (160, 96), (red, 0, 255 - red)))  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
