"""The main job, shown: an MCP client drives comfyui-api against a real ComfyUI, from status to pictures on disk.

Uses the server that COMFYUI_URL names, else the sandbox, which it starts and stops. The pictures are left in
demo-output/, and beside them demo.svg, what was printed; scripts/demo.svg, the README's picture, is a copy of one.
"""

from __future__ import annotations

import base64
import copy
import os
import re
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.padding import Padding
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from comfyui_api import sandbox
from comfyui_api.previews import contact_sheet
from comfyui_api.workspace import read_settings

CAPTIONS = {"5": "blended with its negative", "6": "inverted", "9": "upscaled 4x by an untrained model"}
ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "demo-output"
# Not installed in the sandbox, and its 67 MB are not for a demo to fetch.
REAL_UPSCALER = "RealESRGAN_x4plus.safetensors"
# rich's own drawing, without the fonts that it would fetch from the web.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />\
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
terminal = Console(record=True, width=104, highlight=False, markup=False, emoji=False)


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
    """Load, scale, invert and blend a picture; with a model also upscale it. One option is wrong on purpose."""
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
        tell(f"ComfyUI {status['comfyui_version']} at {status['server']}, {device['name']}")

        step("upload_image")
        picture = await call("upload_image", path=str(source))
        tell(f"LoadImage takes it as '{picture['value']}'")

        workflow = make_workflow(picture["value"], REAL_UPSCALER if upscale_model else None)
        step("validate_workflow, with mistakes planted")
        show_findings(await call("validate_workflow", workflow=workflow), expected={"2", "7"} & set(workflow))

        step("queue_workflow, mended")
        mended = copy.deepcopy(workflow)
        mended["2"]["inputs"]["upscale_method"] = "lanczos"
        if upscale_model:
            mended["7"]["inputs"]["model_name"] = upscale_model
        queued = await call("queue_workflow", workflow=mended)
        if queued["status"] != "queued":
            sys.exit(f"It was {queued['status']}: {queued['message']} {queued['findings']}")
        tell(f"queued as {queued['prompt_id']}")

        step("poll_result")
        result = await call("poll_result", prompt_id=queued["prompt_id"])
        while result["state"] in ("queued", "running"):
            result = await call("poll_result", prompt_id=queued["prompt_id"])
        if result["state"] != "completed":
            sys.exit(f"The run {result['state']}: {result.get('error')}")
        tell(f"{result['state']} in {result['elapsed_seconds']} s", "green")

        step("get_output")
        delivery = await call("get_output", prompt_id=queued["prompt_id"], directory=str(OUTPUT))
        files = {file["node_id"]: Path(file["path"]) for file in delivery["files"]}
        for path in files.values():
            tell(path.relative_to(ROOT).as_posix())
    sheet = OUTPUT / "contact-sheet.png"
    contact_sheet([("input", source), *((CAPTIONS[node], path) for node, path in sorted(files.items()))], sheet)
    tell(sheet.relative_to(ROOT).as_posix())
    drawing = OUTPUT / "demo.svg"
    drawing.write_text(draw(sheet), "utf-8")
    print(f"\nContact sheet: {sheet}\nWhat was printed: {drawing}")


def draw(sheet: Path) -> str:
    """An SVG of what was printed, with the contact sheet below."""
    drawing = terminal.export_svg(title="make demo", theme=DIMMED_MONOKAI, code_format=SVG, unique_id="demo")
    (box,) = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)
    width, height = float(box[0]), float(box[1])
    jpeg = BytesIO()
    with Image.open(sheet) as picture:
        below = width * picture.height / picture.width
        small = picture.convert("RGB")
    small.thumbnail((900, 900))
    small.save(jpeg, "JPEG", quality=70)
    link = f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
    image = f'<image y="{height}" width="{width}" height="{below:.1f}" href="{link}" />'
    whole = drawing.replace(f'viewBox="0 0 {box[0]} {box[1]}"', f'viewBox="0 0 {width} {height + below:.1f}"')
    return whole.replace("</svg>\n", f"{image}\n</svg>\n")


def show_findings(verdict: dict[str, Any], *, expected: set[str]) -> None:
    """What is wrong and how to mend it; the nodes of `expected` must have been found, and no others."""
    for finding in verdict["findings"]:
        tell(f"node {finding['node_id']} ({finding['class_type']}): {finding['message']}", "red")
        tell(f"fix: {finding['fix']}", "green")
    if expected != {finding["node_id"] for finding in verdict["findings"]}:
        sys.exit("The planted mistakes are not what was found.")


def step(title: str) -> None:
    terminal.print(f"\n{title}", style="bold cyan")


def tell(text: str, style: str = "") -> None:
    terminal.print(Padding(Text(text, style), (0, 0, 0, 2), expand=False))


async def show_progress(progress: float, total: float | None, message: str | None) -> None:
    tell(f"{progress:5.1f} of {total:g}  {message}", "bright_black")


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
