"""The main job, shown: an MCP client drives comfyui-api against a real ComfyUI, from status to pictures on disk.

Uses the server that COMFYUI_URL names, else the sandbox, which it starts and stops. The pictures are left in
demo-output/.
"""

from __future__ import annotations

import copy
import os
import sys
import time
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent
from PIL import Image, ImageDraw, ImageFont

from comfyui_api import sandbox
from comfyui_api.previews import contact_sheet
from comfyui_api.workspace import read_settings

CAPTIONS = {"5": "blended with its negative", "6": "inverted", "9": "upscaled 4 × by an untrained model"}
OUTPUT = Path(__file__).resolve().parent.parent / "demo-output"


def make_picture(path: Path) -> None:
    """A small landscape: something to see in the contact sheet, made here so that the demo needs no file."""
    width, height = 384, 256
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        draw.line((0, y, width, y), fill=(255 - y // 2, 120 + y // 4, 90 + y // 2))
    draw.ellipse((250, 30, 320, 100), fill=(255, 240, 190))
    draw.polygon([(0, 256), (110, 110), (220, 256)], fill=(60, 74, 108))
    draw.polygon([(120, 256), (250, 140), (384, 256)], fill=(42, 54, 84))
    draw.text((12, 10), "comfyui-api", font=ImageFont.load_default(size=24), fill=(255, 255, 255))
    image.save(path)


def make_workflow(picture: str, upscale_model: str | None) -> dict[str, Any]:
    """Load, scale, invert and blend a picture; with a model also upscale it. One value is wrong on purpose."""
    run = f"comfyui-api-demo-{int(time.time())}"  # a new prefix, so that nothing comes from ComfyUI's cache
    workflow: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {"image": ["1", 0], "upscale_method": "lancos", "width": 768, "height": 512, "crop": "disabled"},
        },
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "4": {
            "class_type": "ImageBlend",
            "inputs": {"image1": ["2", 0], "image2": ["3", 0], "blend_factor": 0.35, "blend_mode": "overlay"},
        },
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": f"{run}-blend"}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": f"{run}-invert"}},
    }
    if upscale_model:
        workflow["7"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": upscale_model}}
        workflow["8"] = {
            "class_type": "ImageUpscaleWithModel",
            "inputs": {"upscale_model": ["7", 0], "image": ["2", 0]},
        }
        workflow["9"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": f"{run}-upscale"}}
    return workflow


async def run_main_job(url: str, upscale_model: str | None) -> None:
    """The tool calls of the main job, each with what it answered."""
    source = OUTPUT / "input.png"
    make_picture(source)
    environment = {**os.environ, "COMFYUI_URL": url, "COMFYUI_API_HOME": str(OUTPUT)}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "comfyui_api", "serve"], env=environment, cwd=OUTPUT
    )
    async with Client(server) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            return expect_result(tool, await client.call_tool(tool, arguments, progress_callback=show_progress))

        step("check_status")
        status = await call("check_status")
        if not status["online"]:
            sys.exit(f"No ComfyUI: {status['offline_reason']}")
        device = status["devices"][0]
        print(f"  ComfyUI {status['comfyui_version']} at {status['server']}, {device['name']}, ", end="")
        print(f"{status['inventory']['node_classes']} node classes, {status['inventory']['models']} models")

        step("upload_image")
        picture = await call("upload_image", path=str(source))
        print(f"  LoadImage takes it as '{picture['value']}'")

        step("validate_workflow, with one mistake planted")
        workflow = make_workflow(picture["value"], upscale_model)
        verdict = await call("validate_workflow", workflow=workflow)
        for finding in verdict["findings"]:
            print(f"  {finding['severity']}: node {finding['node_id']} ({finding['class_type']}): {finding['message']}")
            print(f"  fix: {finding['fix']}")
        if verdict["valid"]:
            sys.exit("The planted mistake was not found.")

        step("queue_workflow, mended as the fix says")
        mended = copy.deepcopy(workflow)
        mended["2"]["inputs"]["upscale_method"] = "lanczos"
        queued = await call("queue_workflow", workflow=mended)
        if queued["status"] != "queued":
            sys.exit(f"It was {queued['status']}: {queued['message']} {queued['findings']}")
        print(f"  queued as {queued['prompt_id']}")

        step("poll_result")
        result = await call("poll_result", prompt_id=queued["prompt_id"])
        while result["state"] in ("queued", "running"):
            result = await call("poll_result", prompt_id=queued["prompt_id"])
        if result["state"] != "completed":
            sys.exit(f"The run {result['state']}: {result.get('error')}")
        print(f"  {result['state']} in {result['elapsed_seconds']} s")

        step("get_output")
        delivery = await call("get_output", prompt_id=queued["prompt_id"], directory=str(OUTPUT))
        files = {file["node_id"]: Path(file["path"]) for file in delivery["files"]}
        for path in files.values():
            print(f"  {path}")
    sheet = OUTPUT / "contact-sheet.png"
    contact_sheet([("input", source), *((CAPTIONS[node], path) for node, path in sorted(files.items()))], sheet)
    print(f"\nContact sheet: {sheet}")


def step(title: str) -> None:
    print(f"\n{title}")


async def show_progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"  {progress:5.1f} of {total:g}  {message}")


def expect_result(tool: str, answer: CallToolResult) -> dict[str, Any]:
    if answer.is_error or not isinstance(answer.structured_content, dict):
        text = answer.content[0].text if answer.content and isinstance(answer.content[0], TextContent) else answer
        sys.exit(f"{tool} failed: {text}")
    return answer.structured_content


def main() -> None:
    OUTPUT.mkdir(exist_ok=True)
    if url := os.environ.get("COMFYUI_URL"):
        anyio.run(run_main_job, url, None)
        return
    settings = read_settings(os.environ)
    home = sandbox.default_home(settings)
    was_running = sandbox.status(home, name="demo").state == "running"
    state = sandbox.start(
        home,
        name="demo",
        tiny_upscaler=True,
        torch_index=settings.sandbox_torch_index,
        say=lambda text: print(f"sandbox: {text}", flush=True),
        confirm=ask,
    )
    try:
        anyio.run(run_main_job, expect_url(state), sandbox.TINY_UPSCALER)
    finally:
        if not was_running:
            sandbox.stop(home, name="demo")


def expect_url(state: sandbox.SandboxState) -> str:
    if state.url is None:
        sys.exit(f"The sandbox has no address; its log is {state.log_file}")
    return state.url


def ask(question: str) -> bool:
    return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    main()
