"""The budgets of the design, measured: each figure beside a bare one of the same run, as a ratio where there is one.

Start and memory against a bare server on the same SDK; queue to answer against a bare HTTP script on the same sandbox.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx2
import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from comfyui_api import sandbox
from comfyui_api.convert import convert_workflow
from comfyui_api.node_class import NodeClasses
from comfyui_api.tools import INSTRUCTIONS
from comfyui_api.validate import validate_prompt
from comfyui_api.workspace import read_settings
from scripts.agent_trial import REQUESTS, Trial, placeholders, trial, write_files

# A bare installation has no rich, which the SDK would load for its log.
BARE = """
import sys
sys.modules["rich"] = None
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare")
@server.tool()
def hello(name: str) -> str:
    return name
server.run()
"""
OURS = [sys.executable, "-m", "comfyui_api", "serve"]
RUNS = 15
# Asks a server for everything while a clock ticks; then, in a process of its own, reads the classes of a workflow.
REFRESH = """
import json, os, resource, sys, time
import anyio
from comfyui_api.stocktake import refresh_inventory
from comfyui_api.workspace import open_workspace

async def main():
    longest = 0.0

    async def tick():
        nonlocal longest
        while True:
            before = time.perf_counter()
            await anyio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    async with open_workspace(os.environ) as workspace, anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        began = time.perf_counter()
        inventory = (await refresh_inventory(workspace.connect())).inventory
        took = time.perf_counter() - began
        tasks.cancel_scope.cancel()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps([inventory.class_count, took, longest, peak]))

anyio.run(main)
"""
READ_AGAIN = """
import json, sys, time
from pathlib import Path
import comfyui_api.app, jsonschema
from comfyui_api.inventory import read_inventory
began = time.perf_counter()
inventory, _ = read_inventory(Path(sys.argv[1]))
classes = inventory.node_classes()
for name in json.loads(sys.argv[2]):
    assert classes.get(name)
print(time.perf_counter() - began)
"""
LARGE = 100_000_000  # bytes of /object_info


def seconds_to_initialize(command: list[str], environment: dict[str, str]) -> float:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}) + "\n"
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        process.stdout.readline()
        took = time.perf_counter() - began
        process.stdin.close()
        process.wait(10)
    return took


def bench_start(environment: dict[str, str]) -> None:
    ratios, ours, bares = [], [], []
    for _ in range(RUNS):
        bare = seconds_to_initialize([sys.executable, "-c", BARE], environment)
        own = seconds_to_initialize(OURS, environment)
        ratios.append(own / bare)
        ours.append(own)
        bares.append(bare)
    row(
        "start to initialize",
        f"{median(ours):.3f} s",
        f"{median(bares):.3f} s",
        median(ratios),
        "≤ 1.15 × a bare server",
    )


async def bench_listing(environment: dict[str, str]) -> None:
    server = StdioServerParameters(command=OURS[0], args=OURS[1:], env=environment)
    before = {child.pid for child in psutil.Process().children()}
    async with Client(server, mode="legacy") as client:
        tools = (await client.list_tools()).tools
        (process,) = [child for child in psutil.Process().children() if child.pid not in before]
        memory = process.memory_info().rss + sum(child.memory_info().rss for child in process.children(recursive=True))
    listed = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    size = len(json.dumps(listed, ensure_ascii=False, separators=(",", ":"))) + len(INSTRUCTIONS)
    row("tools/list + instructions", f"{size} characters", "", None, "≤ 16,000 characters")
    row("memory after tools/list", f"{memory / 2**20:.0f} MB", "", None, "≤ 75 MB")


def prompt(size: int) -> dict[str, Any]:
    """A run that takes the longer the larger the picture: scaling up is plain work for the CPU."""
    color = random.randrange(0xFFFFFF)  # never from the cache
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {
                "image": ["1", 0],
                "upscale_method": "lanczos",
                "width": size,
                "height": size,
                "crop": "disabled",
            },
        },
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


def bare_run(http: httpx2.Client, size: int) -> float:
    """What a script would do: POST /prompt, ask /history as fast as it can."""
    prompt_id = str(uuid.uuid4())
    began = time.perf_counter()
    http.post("/prompt", json={"prompt": prompt(size), "prompt_id": prompt_id, "client_id": "bench"}).raise_for_status()
    while not http.get(f"/history/{prompt_id}").json():
        time.sleep(0.002)
    return time.perf_counter() - began


async def bench_runs(url: str, environment: dict[str, str]) -> None:
    server = StdioServerParameters(command=OURS[0], args=OURS[1:], env=environment)
    with httpx2.Client(base_url=url) as http:
        async with Client(server) as client:

            async def own_run(size: int) -> float:
                began = time.perf_counter()
                queued = await client.call_tool("queue_workflow", {"workflow": prompt(size)})
                assert isinstance(queued.structured_content, dict)
                arguments = {"prompt_id": queued.structured_content["prompt_id"]}
                done = await client.call_tool("poll_result", arguments)
                assert isinstance(done.structured_content, dict)
                assert done.structured_content["state"] == "completed"
                return time.perf_counter() - began

            for size in (64, 2048):
                await own_run(size)  # the first one reads the inventory and opens the socket
                pairs = [(bare_run(http, size), await own_run(size)) for _ in range(RUNS)]
                bare, own = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
                extra = median([pair[1] - pair[0] for pair in pairs]) * 1000
                ratio = median([pair[1] / pair[0] for pair in pairs])
                goal = "≤ + 15 ms, and ≤ 1.2 × from 100 ms on"
                row(f"queue to answer ({extra:+.1f} ms)", f"{own:.3f} s", f"{bare:.3f} s", ratio, goal)


def bench_validate(url: str) -> None:
    with httpx2.Client(base_url=url) as http:
        classes = NodeClasses.from_object_info(http.get("/object_info").json())
    chain: dict[str, Any] = {"0": {"class_type": "EmptyImage", "inputs": {}}}
    chain["0"]["inputs"] = {"width": 64, "height": 64, "batch_size": 1, "color": 0}
    for index in range(1, 999):
        link = [str(index - 1), 0]
        chain[str(index)] = {"class_type": "ImageBlend", "inputs": {"image1": link, "image2": link}}
        chain[str(index)]["inputs"] |= {"blend_factor": 0.5, "blend_mode": "normal"}
    chain["999"] = {"class_type": "PreviewImage", "inputs": {"images": ["998", 0]}}
    assert validate_prompt(chain, classes) == []
    took = median([timed(lambda: validate_prompt(chain, classes)) for _ in range(RUNS)])
    row("validate 1,000 nodes", f"{took * 1000:.1f} ms", "", None, "≤ 50 ms")
    for index, node in enumerate(chain.values()):
        node["inputs"] = {name: value for name, value in node["inputs"].items() if not name.startswith("blend")}
        node["class_type"] = "ImageBlendd" if index % 3 == 1 else node["class_type"]
    took = median([timed(lambda: validate_prompt(chain, classes)) for _ in range(RUNS)])
    row("the same, all of them broken", f"{took * 1000:.1f} ms", "", None, "≤ 50 ms")


def bench_convert(url: str) -> None:
    with httpx2.Client(base_url=url) as http:
        classes = NodeClasses.from_object_info(http.get("/object_info").json())
    took = {}
    for size in (1_000, 10_000):
        workflow = ui_chain(size)
        assert len(convert_workflow(workflow, classes).prompt) == size
        took[size] = median([timed(lambda: convert_workflow(workflow, classes)) for _ in range(RUNS)])  # noqa: B023  # called at once
    row("convert 1,000 nodes", f"{took[1_000] * 1000:.1f} ms", "", None, "≤ 50 ms")
    row(
        "convert 10,000 nodes, against ten times that",
        f"{took[10_000] * 1000:.0f} ms",
        f"{took[1_000] * 10_000:.0f} ms",
        took[10_000] / took[1_000] / 10,
        "linear",
    )


def ui_chain(size: int) -> dict[str, Any]:
    """A workflow as the editor saves it: samplers, scalers and texts in long chains, a fifth of them linked widgets."""
    nodes: list[dict[str, Any]] = []
    links: list[list[Any]] = []
    for index in range(size):
        kind = index % 4
        slots: list[dict[str, Any]] = []
        if kind == 0:
            entry = {"type": "EmptyImage", "widgets_values": [64, 64, 1, 0]}
        elif kind == 1:
            entry = {"type": "ImageScale", "widgets_values": ["nearest-exact", 64, 64, "disabled"]}
            slots = [{"name": "image", "type": "IMAGE", "link": len(links)}]
        elif kind == 2:
            entry = {"type": "KSampler", "widgets_values": [7, "fixed", 20, 8, "euler", "normal", 1]}
        else:
            entry = {"type": "ImageBlend", "widgets_values": [0.5, "normal"]}
            slots = [
                {"name": name, "type": "IMAGE", "link": len(links) + at} for at, name in enumerate(("image1", "image2"))
            ]
        origin = index - 2 if kind == 3 else index - 1
        for at, _ in enumerate(slots):
            links.append([len(links), origin, 0, index, at, "IMAGE"])
        nodes.append({"id": index, "mode": 0, "inputs": slots, "outputs": [], "properties": {}, **entry})
    return {"nodes": nodes, "links": links, "version": 0.4}


def tiny_classes() -> Iterator[tuple[str, Any]]:
    """Node classes of half a kilobyte without end."""
    inputs = {
        "model": ["MODEL", {"tooltip": "The model used for denoising the input latent."}],
        "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
        "mode": [["a", 'b "x"', "c"]],
    }
    for number in itertools.count():
        entry = {"input": {"required": inputs}, "output": ["LATENT"], "output_name": ["LATENT"], "output_node": False}
        yield f"Tiny{number}", {**entry, "name": f"Tiny{number}", "python_module": f"custom_nodes.pack{number % 300}"}


def classes_with_lists() -> Iterator[tuple[str, Any]]:
    """Node classes with lists of 3,000 files without end; one of them, with 80 such lists, is of 20 MB."""
    files = [f"some/folder/of/models/model-number-{number:05d}-fp16.safetensors" for number in range(3000)]
    for number in itertools.count():
        inputs = {f"file{at}": [files, {"tooltip": "x"}] for at in range(80 if number == 5 else 4)}
        yield f"List{number}", {"input": {"required": inputs}, "output": ["MODEL"], "python_module": "nodes"}


def bench_large(environment: dict[str, str]) -> None:
    """A server that describes itself in 100 MB: asked once, then read from our own cache by a second process."""
    for what, classes in (("tiny classes", tiny_classes()), ("lists of 3,000 files", classes_with_lists())):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_replies(folder, classes)
            command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
            with subprocess.Popen(
                [command[0], "-u", *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as server:
                try:
                    assert server.stdout is not None
                    port = server.stdout.readline().split(" port ")[1].split()[0]
                    own = {**environment, "COMFYUI_API_HOME": str(folder), "COMFYUI_URL": f"http://127.0.0.1:{port}"}
                    asked = subprocess.run(
                        [sys.executable, "-c", REFRESH], env=own, stdout=subprocess.PIPE, text=True, check=True
                    )
                finally:
                    server.kill()
            count, took, longest, peak = json.loads(asked.stdout)
            row(f"100 MB, {what}: {count} classes", f"{took:.1f} s", "", None, "works")
            row("… its peak of memory", f"{peak / 2**20:.0f} MB", "", None, "≤ 300 MB")
            row("… longest wait of others", f"{longest * 1000:.0f} ms", "", None, "")
            first = next(classes)[0].rstrip("0123456789")
            names = json.dumps([f"{first}{number}" for number in (*range(5), *range(6, 12))])
            command = [sys.executable, "-c", READ_AGAIN, str(folder / "state" / "inventory.json"), names]
            runs = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(5)]
            row(
                "… second start, 11 classes",
                f"{median([float(run) for run in runs]) * 1000:.0f} ms",
                "",
                None,
                "≤ 150 ms",
            )


def bench_requests(place: Path, torch_index: str) -> None:
    """What plain requests cost an agent up to the queued run, on a server that has every model by name."""
    name = "bench-stocked"
    state = sandbox.start(
        place,
        name=name,
        models=placeholders(),
        torch_index=torch_index,
        say=lambda _: None,
        confirm=lambda _: False,
    )

    async def ask() -> list[Trial]:
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder))
            environment = {**os.environ, "COMFYUI_API_HOME": folder, "COMFYUI_URL": str(state.url)}
            async with Client(StdioServerParameters(command=OURS[0], args=OURS[1:], env=environment)) as client:
                return [(await trial(client, request, Path(folder)))[0] for request in REQUESTS]

    try:
        trials = anyio.run(ask)
    finally:
        sandbox.stop(place, name=name)
        sandbox.remove(place, name=name)
    print("\nplain requests, from check_status to the queued run:")
    for done in trials:
        print(f"  {done}")
    calls, characters = [done.calls for done in trials], [done.characters for done in trials]
    print(
        f"  {sum(done.status == 'queued' for done in trials)} of {len(trials)} queued; median {median(calls):g} calls, "
        f"{median(characters):,.0f} characters"
    )


def write_replies(folder: Path, classes: Iterator[tuple[str, Any]]) -> None:
    """The routes of a server as files."""
    (folder / "system_stats").write_text(json.dumps({"system": {"os": "posix"}, "devices": []}))
    (folder / "embeddings").write_text("[]")
    (folder / "models").write_text("[]")
    with (folder / "object_info").open("w") as file:
        written = file.write("{")
        for name, entry in classes:
            written += file.write(f"{', ' if written > 1 else ''}{json.dumps(name)}: {json.dumps(entry)}")
            if written > LARGE:
                break
        file.write("}")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def row(what: str, own: str, bare: str, ratio: float | None, goal: str) -> None:
    print(f"{what:<30} {own:>18} {bare:>10} {f'{ratio:.2f} ×' if ratio else '':>8}   {goal}", flush=True)


def main() -> None:
    settings = read_settings(os.environ)
    place = sandbox.default_home(settings)
    state = sandbox.start(
        place, name="bench", torch_index=settings.sandbox_torch_index, say=print, confirm=lambda _: False
    )
    try:
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "COMFYUI_API_HOME": home, "COMFYUI_URL": str(state.url)}
            print(f"\n{'':<30} {'comfyui-api':>18} {'bare':>10} {'ratio':>8}   budget")
            bench_start(environment)
            anyio.run(bench_listing, environment)
            anyio.run(bench_runs, str(state.url), environment)
            bench_validate(str(state.url))
            bench_convert(str(state.url))
            bench_large(environment)
        bench_requests(place, settings.sandbox_torch_index)
    finally:
        sandbox.stop(place, name="bench")


if __name__ == "__main__":
    main()
