"""Secrets do not come back, in whatever form and in however many pieces a server repeats them."""

from __future__ import annotations

import gzip
import json
import logging
from base64 import b64encode
from urllib.parse import quote

import httpx2
import pytest
from anyio.abc import SocketStream
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.masking import Mask, hidden_in_logs, secrets_of
from comfyui_api.settings import Access
from comfyui_api.transport import http_client
from tests.support import answering, http_reply

KEY = "sk-9f/8e+7d=6c5b4a39"
TOKEN = "tok_31415926535897"
PASSWORD = "correct-horse-battery"
ACCESS = Access("v2", {"Authorization": f"Bearer {TOKEN}"}, ("anna", PASSWORD), KEY)
FORMS = [
    KEY,
    quote(KEY, safe=""),
    quote(KEY),
    KEY.replace("/", "\\/"),
    TOKEN,
    f"Bearer {TOKEN}",
    PASSWORD,
    b64encode(f"anna:{PASSWORD}".encode()).decode(),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_which_a_secret_travels_is_hidden(form: str) -> None:
    mask = Mask(secrets_of(ACCESS))
    assert form not in mask.text(f"before {form} after")
    hidden = mask.data(f"before {form} after".encode())
    assert form.encode() not in hidden
    assert len(hidden) == len(f"before {form} after".encode())


@given(
    before=st.binary(max_size=30),
    form=st.sampled_from(FORMS),
    after=st.binary(max_size=30),
    sizes=st.lists(st.integers(1, 12), min_size=1),
)
def test_a_secret_in_pieces_is_hidden_and_nothing_else_is_changed(
    before: bytes, form: str, after: bytes, sizes: list[int]
) -> None:
    mask, content = Mask(secrets_of(ACCESS)), before + form.encode() + after
    out, held, place, turn = b"", b"", 0, 0
    while place < len(content):
        size = sizes[turn % len(sizes)]
        piece = mask.data(held + content[place : place + size])
        begun = mask.begun(piece)
        out, held = out + piece[: len(piece) - begun], piece[len(piece) - begun :]
        place, turn = place + size, turn + 1
    out += held
    assert out == mask.data(content)
    assert form.encode() not in out


def test_what_could_be_a_word_stays_as_it_is() -> None:
    mask = Mask(secrets_of(Access(basic=("me", "comfy"))))
    assert mask.text("ComfyUI and comfy") == "ComfyUI and comfy"
    mask = Mask(secrets_of(Access(basic=("me", "SaveImage"))))
    assert mask.data(b'{"class_type": "SaveImage"}') == b'{"class_type": "SaveImage"}'
    assert b64encode(b"me:SaveImage") not in mask.data(b64encode(b"me:SaveImage"))


def test_nothing_waits_that_is_not_the_beginning_of_a_secret() -> None:
    mask = Mask([KEY])
    assert mask.begun(b"event: done\n\n") == 0
    assert mask.begun(b"... " + KEY[:5].encode()) == 5


@pytest.mark.anyio
@pytest.mark.parametrize("packed", [False, True])
async def test_a_reply_that_repeats_the_request_has_no_secret(packed: bool) -> None:
    async def echo(stream: SocketStream, head: bytes) -> None:
        body, encoding = json.dumps({"told": head.decode()}).encode(), ""
        if packed:
            body, encoding = gzip.compress(body), "Content-Encoding: gzip\r\n"
        told = head.decode().partition("authorization: ")[2].partition("\r\n")[0]
        lines = f"HTTP/1.1 200 OK\r\n{encoding}X-Told: {told}\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send(lines.encode() + body)

    async with answering(echo) as url:
        client = http_client(url, Access(headers={"Authorization": f"Bearer {TOKEN}"}), timeout=5)
        async with client:
            response = await client.get("/x")
            assert "x-told" in response.headers
            assert TOKEN not in str(response.headers.raw)
            assert TOKEN not in response.text
            assert "authorization" in response.json()["told"].casefold()


@pytest.mark.anyio
async def test_an_error_of_the_http_library_has_no_secret() -> None:
    async with (
        answering(f"HTTP/1.1 200 OK\r\nno header {TOKEN}\r\n\r\n".encode()) as url,
        http_client(url, Access(headers={"X-Token": TOKEN}), timeout=5) as client,
    ):
        with pytest.raises(httpx2.RemoteProtocolError) as caught:
            await client.get("/x")
        assert TOKEN not in str(caught.value)


@pytest.mark.anyio
async def test_a_redirect_is_not_followed() -> None:
    asked: list[bytes] = []

    async def other(stream: SocketStream, head: bytes) -> None:
        asked.append(head)
        await stream.send(http_reply("200 OK", "{}"))

    async with answering(other) as elsewhere:
        redirect = http_reply("302 Found", "", extra=[f"Location: {elsewhere}/?token={TOKEN}"])
        async with (
            answering(redirect) as url,
            http_client(url, Access(headers={"X-Token": TOKEN}, basic=("anna", PASSWORD)), timeout=5) as client,
        ):
            response = await client.get("/x")
            assert response.status_code == 302
            assert TOKEN not in response.headers["location"]
    assert not asked


def test_the_log_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    mask = Mask([TOKEN])
    with caplog.at_level(logging.DEBUG), hidden_in_logs(mask):
        logging.getLogger("anywhere").debug("sent %r", [("X-Token", TOKEN)])
        try:
            int(TOKEN)
        except ValueError:
            logging.getLogger("anywhere").exception("failed")
    assert TOKEN not in caplog.text
    assert caplog.text.count("*" * len(TOKEN)) == 2
