"""An agent without a mind: from plain requests to queued runs, by the order of SKILL.md and what the tools answer.

It knows no node class, no template and no model: it searches with the words of the request, takes the first template
that runs here and takes a picture where one is given, or the pattern that the answer points to, gives it the prompt and
the files that its inputs ask for, and queues it. What that costs in calls and characters is the figure. It stands
beside the benchmark and the tests, which need the same trial.
"""

from __future__ import annotations

import json
import re
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client
from mcp_types import TextContent, TextResourceContents
from PIL import Image

from comfyui_api.knowledge import model_tables

REQUESTS = (
    "make a picture of a red fox in the snow",
    "turn this photo into a watercolour",
    "fill in the masked part of this picture",
    "upscale this picture",
    "a picture that follows the edges of this drawing",
    "edit this picture: make it night",
    "make a short video of waves on a beach",
    "animate this photo",
    "compose a song about rain",
    "make a 3D model from this picture",
)
GIVEN = re.compile(r"\bthis (picture|photo|drawing)\b")
PATTERN = re.compile(r"comfyui://references/[\w./-]*\w")
EXAMPLE = re.compile(r"```json\n(.*?)```", re.DOTALL)
FILES = {"image": "photo.png", "mask": "photo.png", "video": "clip.mp4", "audio": "sound.wav"}


@dataclass(frozen=True)
class Trial:
    """What one request took. `characters`: arguments and answers together; `status`: queue_workflow's, or why it never
    came to that."""

    request: str
    template: str
    calls: int
    characters: int
    status: str

    def __str__(self) -> str:
        cost = f"{self.calls} calls, {self.characters} characters"
        return f"{self.request}: {self.template or 'no template'}, {cost}, {self.status}"


class Simple:
    """Calls tools and counts what that costs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = 0
        self.characters = 0

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = await self._client.call_tool(tool, arguments)
        text = answer.content[0].text if isinstance(answer.content[0], TextContent) else ""
        self.calls += 1
        self.characters += len(json.dumps(arguments, ensure_ascii=False)) + len(text)
        return answer.structured_content or {"error": text}

    async def read(self, uri: str) -> str:
        (content,) = (await self._client.read_resource(uri)).contents
        text = content.text if isinstance(content, TextResourceContents) else ""
        self.calls += 1
        self.characters += len(uri) + len(text)
        return text


async def trial(client: Client, request: str, files: Path) -> tuple[Trial, str | None]:
    """(what a request took, the prompt_id of its run)."""
    agent, template = Simple(client), ""

    def ended(status: str, prompt_id: str | None = None) -> tuple[Trial, str | None]:
        return Trial(request, template, agent.calls, agent.characters, status), prompt_id

    status = await agent.call("check_status")
    if not status.get("online"):
        return ended("offline")
    answer = await agent.call("find_templates", query=request)
    found = answer.get("templates", [])
    usable = [each for each in found if each.get("runs_here") and not each.get("partner")]
    if GIVEN.search(request):
        usable = [each for each in usable if each.get("media", "").startswith("image")]
    pattern = PATTERN.search(answer.get("message", ""))
    if usable:
        template = usable[0]["name"]
        taken = await agent.call("find_templates", name=template)
    elif pattern is not None:
        template = pattern[0]
        taken = await _written(agent, template)
    else:
        return ended(f"none of {len(found)} templates runs here")
    inputs: dict[str, Any] = {}
    for entry in taken.get("inputs", []):
        kind, address = entry["kind"], entry["address"]
        if kind == "prompt" and request not in inputs.values():
            inputs[address] = request
        elif kind == "seed":
            inputs[address] = "random"
        elif kind in FILES:
            uploaded = await agent.call("upload_image", path=str(files / FILES[kind]))
            inputs[address] = uploaded.get("value", "")
    if "workflow" not in taken:
        return ended(str(taken.get("error", "nothing was saved"))[:200])
    queued = await agent.call("queue_workflow", workflow=taken["workflow"], inputs=inputs)
    if queued.get("status") != "queued":
        reasons = [finding["message"] for finding in queued.get("findings", []) if finding["severity"] == "error"]
        return ended(f"{queued.get('status', 'error')}: {(reasons or [queued.get('error', '')])[0][:160]}")
    return ended("queued", queued["prompt_id"])


async def _written(agent: Simple, pattern: str) -> dict[str, Any]:
    """What find_templates gives of a template, for the example of a pattern: the files that are missing are its
    inputs."""
    example = EXAMPLE.search(await agent.read(pattern))
    if example is None:
        return {"error": f"{pattern} has no example"}
    workflow = json.loads(example[1])
    findings = (await agent.call("validate_workflow", workflow=workflow)).get("findings", [])
    files = [each for each in findings if "upload_image" in (each.get("fix") or "")]
    inputs = [{"address": f"{each['node_id']}.{each['input']}", "kind": "image"} for each in files]
    return {"workflow": workflow, "inputs": inputs}


def placeholders() -> list[str]:
    """folder/file of every model that the references know: a machine that has them all, by name."""
    return sorted({f"{source.folder}/{source.file}" for source in model_tables(Path()) if source.folder})


def write_files(folder: Path) -> None:
    """What a user has at hand: a picture, a sound and a video."""
    import av  # noqa: PLC0415  # only the trial makes a video

    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGBA")
    picture.save(folder / "photo.png")
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    with av.open(str(folder / "clip.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_image(picture.convert("RGB"))  # type: ignore[no-untyped-call]  # PyAV's
        for _ in range(8):
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
