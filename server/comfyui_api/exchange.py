"""One conversation with a server over HTTP: replies bounded and parsed, errors translated once.

What each dialect of a server says in it stands in `client` (ComfyUI itself), `cloud` and `comfy_v2`.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import anyio
import anyio.to_thread
import httpx2

from comfyui_api import entrance, replies
from comfyui_api.comfy_server import FileStream
from comfyui_api.entrance import PAGE_LOOKED_AT
from comfyui_api.errors import (
    AccessDenied,
    ComfyBusy,
    ComfyError,
    ComfyFailed,
    ComfySilent,
    ComfyUnreachable,
    FileGone,
    FileProblem,
    PaymentRequired,
    PromptRejected,
    UnexpectedReply,
)
from comfyui_api.settings import NO_SECRETS, Access
from comfyui_api.transport import ENDLESS, TooSlow, http_client, is_private

T = TypeVar("T")

REPLY_LIMIT = 64 * 2**20
RETRY_SECONDS = 10.0
# How long a read waits in all for a server that says it is asked too often: less than a look at a run may take
# (follow.LOOK_SECONDS), so that the server's words are told.
BUSY_SECONDS = 8.0
FIRST_BUSY_PAUSE = 1.0
NO_FILE = (400, 403, 404)  # what is answered for a file that is not there or not to be had
REDIRECTS = (301, 302, 303, 307, 308)
ERROR_TEXT_LIMIT = 64 * 2**10
PARSED_ASIDE = 2**20  # larger replies are parsed in a thread, so that others are served meanwhile

# What parsing a reply of another shape can raise.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
# Errors after which the request certainly did not reach a server; after any other one it may have.
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


class Refused(UnexpectedReply):
    """A status below 500 in a form that is not known: whatever was asked for was not done."""


class NotServed(Refused):
    """404 and 405: the server has no such route, or nothing under that name."""


class Exchange:
    """A connection to the server at `url`, with the credentials and certificates of `access` where it needs them.

    `timeout` is in seconds: without a byte, or with hardly any (see `transport`). `client_id` names this connection for
    its whole life: ComfyUI keeps one event stream a client id, so a server that is known under two names is met with
    two of them.

    Every method raises ComfyUnreachable where nobody listens, ComfySilent where no answer came, and the other
    ServerErrors by status. Reads that got no answer are asked once more, and later where the server is too busy;
    writes never are.
    """

    stores_elsewhere: ClassVar[bool] = False
    """Whether the server sends requests for files on to a storage of its own."""
    called: ClassVar[str] = "ComfyUI"
    if_absent: ClassVar[str] = "Start ComfyUI there, or give the right address in COMFYUI_URL or as `server`."
    """What to do where nobody listens at the address."""

    def __init__(self, url: str, *, timeout: float, access: Access = NO_SECRETS, below: str = "") -> None:
        """`below`: the path under which all of its routes are, e.g. /api."""
        self.url = url
        self.client_id = str(uuid.uuid4())
        self._timeout = timeout
        self._partner_key = access.partner_key
        self._shows_who = bool(access.basic or access.headers or access.api_key)
        self.http = http_client(url + below, access, timeout=timeout)

    async def close(self) -> None:
        await self.http.aclose()

    def socket_address(self) -> tuple[str, dict[str, str]]:
        """(address, query) of the WebSocket that tells of runs."""
        return "ws" + self.url.removeprefix("http") + "/ws", {"clientId": self.client_id}

    @property
    def has_account_key(self) -> bool:
        """Whether there is a key for partner nodes that may be sent to this server."""
        return self._partner_key is not None

    def account_data(self) -> dict[str, str]:
        """What a prompt's extra_data needs for partner nodes, where there is a key."""
        return {} if self._partner_key is None else {"api_key_comfy_org": self._partner_key}

    @asynccontextmanager
    async def _file_at(self, path: str, params: Mapping[str, str] | None, gone: FileGone) -> AsyncIterator[FileStream]:
        """A file as a stream, from here or from the storage that the server points to, which gets no credentials.

        Raises `gone` where there is none.
        """
        with self._translated(path):
            # Files are packed already; and where a packed answer breaks off, nothing tells.
            headers = {"Accept-Encoding": "identity"}
            async with self.http.stream("GET", path, params=params, headers=headers) as response:
                if response.status_code in NO_FILE:
                    raise gone
                target = response.headers.get("location")
                if response.status_code not in REDIRECTS or target is None or not self.stores_elsewhere:
                    await self._check(response, path)
                    yield response
                    return
            address = self._storage_address(target)
            async with (
                http_client(address, NO_SECRETS, timeout=self._timeout) as storage,
                storage.stream("GET", address, headers=headers) as response,
            ):
                if response.status_code in NO_FILE:
                    raise gone
                if response.status_code != 200:
                    # Neither its address nor its words are repeated: the address is a key of its own.
                    raise UnexpectedReply(
                        f"The storage of {self.url} answered with {response.status_code} in place of a file.",
                        "Try again: each try gets a new address there.",
                    )
                yield response

    @asynccontextmanager
    async def streaming(self, path: str, *, silence: float) -> AsyncIterator[httpx2.Response]:
        """An answer that goes on and on, as long as no `silence` in it is longer than so many seconds."""
        timeout = httpx2.Timeout(self._timeout, read=silence)
        with self._translated(path):
            headers = {"Accept": "text/event-stream"}
            async with self.http.stream(
                "GET", path, headers=headers, timeout=timeout, extensions={ENDLESS: True}
            ) as response:
                await self._check(response, path)
                yield response

    def _storage_address(self, target: str) -> str:
        """Where a redirect leads. Raises UnexpectedReply for an address that a server has no business to send us to."""
        here, address, host, sound = urlsplit(self.url), "", "", False
        with suppress(ValueError, httpx2.InvalidURL):
            address = str(httpx2.URL(urljoin(self.url + "/", target)))
            there = urlsplit(address)
            host = there.hostname or ""
            is_known = there.scheme == "https" or (there.scheme == "http" and here.scheme == "http")
            sound = bool(host) and is_known and there.port != 0
        if not sound or (is_private(host) and not is_private(here.hostname or "")):
            raise UnexpectedReply(
                f"{self.url} sends a request for a file on to an address that is not fetched from.",
                "Check what stands between here and the server: it may be a login page.",
            )
        return address

    async def _read(self, path: str, *, limit: int = REPLY_LIMIT) -> Any:
        deadline, least = time.monotonic() + BUSY_SECONDS, FIRST_BUSY_PAUSE
        while True:
            try:
                return await self._call("GET", path, limit=limit)
            except ComfyBusy as exc:
                pause = max(least, exc.retry_after or 0.0)
                if time.monotonic() + pause > deadline:
                    raise
                await anyio.sleep(pause)
                least *= 2
            except ComfySilent:
                # Once more, but not for another whole time limit: whoever called is waiting.
                with anyio.move_on_after(RETRY_SECONDS):
                    return await self._call("GET", path, limit=limit)
                raise

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        # Encoded here: prompts may hold NaN and lone surrogates. ComfyUI saves such ones and reads them again.
        content = json.dumps(body).encode("ascii")
        return await self._call("POST", path, content=content, headers={"Content-Type": "application/json"})

    async def _call(self, method: str, path: str, *, limit: int = REPLY_LIMIT, **body: Any) -> Any:
        with self._translated(path):
            async with self.http.stream(method, path, **body) as response:
                await self._check(response, path)
                content = await bounded(response, limit, path)
        if not content:
            return None
        try:
            if len(content) > PARSED_ASIDE:
                return await anyio.to_thread.run_sync(json.loads, content)
            return json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise self._not_comfyui(path, content) from exc

    def _translated(self, path: str) -> _Translation:
        if self.http.is_closed:
            # At the end of the program, for what goes on in the background.
            raise ComfySilent(f"The connection to {self.url} has been closed.", "Ask again.")
        return _Translation(self.url, path, self._timeout, self.called, self.if_absent)

    def _parse(self, parse: Callable[[Any], T], raw: Any) -> T:
        try:
            return parse(raw)
        except MALFORMED as exc:
            raise self._malformed(exc) from exc

    def _malformed(self, exc: Exception) -> UnexpectedReply:
        return UnexpectedReply(
            f"The server at {self.url} answered in a form that is not ComfyUI's ({type(exc).__name__}: {exc}).",
            "Check that the address is a ComfyUI server, and its version with check_status.",
        )

    async def _check(self, response: httpx2.Response, path: str) -> None:
        """Raise what a status other than 200 and 201 stands for."""
        status = response.status_code
        if status in (200, 201):
            return
        # In what is only to be read, shorter secrets are hidden than in data.
        text = self.http.mask.text((await _beginning(response, ERROR_TEXT_LIMIT)).decode("utf-8", "replace").strip())
        if (meant := self._meaning(status, text, _retry_after(response.headers.get("retry-after")))) is not None:
            raise meant
        if status == 400:
            raise self._rejection(text, path)
        if status in (401, 403):
            challenge = response.headers.get("www-authenticate", "")
            raise AccessDenied(
                f"The server at {self.url} refused access ({status}). It says: {excerpt(text)}.",
                entrance.refusal(status, challenge, text, sent=self._shows_who),
            )
        if status == 402:
            raise PaymentRequired(
                f"{self.url} wants to be paid for this (402). It says: {excerpt(text)}.",
                "Nothing was queued. Look at the credits and the plan of the account.",
            )
        if status == 429:
            raise busy(self.url, text, _retry_after(response.headers.get("retry-after")))
        if status == 413:
            raise FileProblem(
                f"The server takes nothing of this size. It says: {excerpt(text)}.",
                "Send less, or start ComfyUI with a higher --max-upload-size.",
            )
        if status in (502, 503, 504):
            raise ComfySilent(
                f"A proxy at {self.url} answered {status} instead of ComfyUI. It says: {excerpt(text)}.",
                "Check that ComfyUI itself is running behind it.",
            )
        if status >= 500:
            raise ComfyFailed(
                f"ComfyUI failed inside while answering {path} ({status}). It says: {excerpt(text)}.",
                "Look into ComfyUI's console or log for the cause; restart ComfyUI if it keeps failing.",
            )
        if 300 <= status < 400:
            target, step = entrance.sent_on(str(response.url), response.headers.get("location", ""))
            raise UnexpectedReply(f"The server at {self.url} sends {path} on to {target} ({status}).", step)
        kind = NotServed if status in (404, 405) else UnexpectedReply if status == 408 else Refused
        raise kind(
            f"The server at {self.url} answered {path} with {status}. It says: {excerpt(text)}.",
            "Check that this address is a ComfyUI server; routes may be missing in old versions.",
        )

    def _meaning(self, status: int, text: str, retry_after: float | None) -> ComfyError | None:
        """What a status stands for in a dialect of its own; None where it is what it usually is."""
        return None

    def _rejection(self, text: str, path: str) -> ComfyError:
        try:
            return PromptRejected(replies.rejection(json.loads(text)))
        except (*MALFORMED, RecursionError):
            return Refused(
                f"The server refused {path} (400). It says: {excerpt(text)}.", "Check the values that were sent."
            )

    def _not_comfyui(self, path: str, content: bytes | bytearray) -> UnexpectedReply:
        text = self.http.mask.text(content[:PAGE_LOOKED_AT].decode("utf-8", "replace"))
        kind = "a web page" if "<html" in text.lower() else "no JSON"
        return UnexpectedReply(
            f"The server at {self.url} answered {path} with {kind}: {excerpt(text)}.", entrance.web_page(text)
        )


class _Translation:
    """Turns the HTTP library's errors into ours, in the one place where they can arise."""

    def __init__(self, url: str, path: str, timeout: float, called: str, if_absent: str) -> None:
        self._url, self._path, self._timeout = url, path, timeout
        self._called, self._if_absent = called, if_absent

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, TooSlow):
            raise ComfySilent(
                f"ComfyUI at {self._url} answers {self._path} so slowly that it was given up: {exc}.",
                "It may be overloaded, or something on the way to it be broken: wait a little and try again.",
            ) from exc
        if isinstance(exc, httpx2.ReadTimeout | httpx2.WriteTimeout | httpx2.PoolTimeout):
            raise ComfySilent(
                f"ComfyUI at {self._url} gave no answer to {self._path} within {self._timeout:g} s.",
                "It may be loading a large model or be stuck: wait a little and try again.",
            ) from exc
        if isinstance(exc, httpx2.DecodingError):
            raise UnexpectedReply(
                f"The answer of {self._url} to {self._path} cannot be decoded: {_reason(exc)}.",
                "A proxy on the way may be breaking it.",
            ) from exc
        if isinstance(exc, httpx2.HTTPError) and not isinstance(exc, _NEVER_SENT):
            raise ComfySilent(
                f"The connection to ComfyUI at {self._url} broke during {self._path}: {_reason(exc)}.",
                "It may have stopped or restarted: check_status tells.",
            ) from exc
        if isinstance(exc, _NEVER_SENT):
            if (refused := _certificate_refused(exc)) is not None:
                reason, step = entrance.certificate(refused)
                raise ComfyUnreachable(f"ComfyUI at {self._url} cannot be trusted: {reason}.", step) from exc
            raise ComfyUnreachable(
                f"No {self._called} answers at {self._url}: {_reason(exc)}.", self._if_absent
            ) from exc


def _certificate_refused(exc: BaseException | None) -> str | None:
    """Why the server's certificate is not accepted, where that is the reason of an error."""
    while exc is not None:
        if message := getattr(exc, "verify_message", None):  # ssl.SSLCertVerificationError
            return str(message)
        exc = exc.__cause__ or exc.__context__
    return None


async def _beginning(response: httpx2.Response, limit: int) -> bytes:
    """The first part of an error page: the status counts, however long the page is."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])


async def bounded(response: httpx2.Response, limit: int, path: str) -> bytearray:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > limit:
            raise too_large(path, limit)
    return content


async def pieces(response: httpx2.Response, size: int) -> AsyncIterator[bytearray]:
    """The content in pieces of at least this size, but for the last."""
    piece = bytearray()
    async for chunk in response.aiter_bytes():
        piece += chunk
        if len(piece) >= size:
            yield piece
            piece = bytearray()
    yield piece


def too_large(path: str, limit: int) -> UnexpectedReply:
    return UnexpectedReply(
        f"The answer to {path} is larger than {limit // 2**20} MB and was not read further.",
        "Check that this address is a ComfyUI server.",
    )


def _reason(exc: BaseException) -> str:
    """The deepest reason that a chain of exceptions gives, e.g. "Connection refused"."""
    if isinstance(exc, httpx2.ConnectTimeout):
        return "no connection in time"
    reason = str(exc) or type(exc).__name__
    below: BaseException | None = exc
    while below is not None:
        # asyncio words these errors itself ("Connect call failed"); people search for the system's words.
        if isinstance(below, ConnectionRefusedError):
            reason = "Connection refused"
        elif isinstance(below, OSError) and below.errno and getattr(below, "library", None) is None:  # ssl's are none
            known = below.errno > 0 and os.name == "posix"
            reason = os.strerror(below.errno) if known else below.strerror or reason
        below = below.__cause__ or below.__context__
    return reason.rstrip(".")


def quoted(segment: str) -> str:
    # Dots too: a segment of two of them would lead out of the route.
    return quote(segment, safe="", errors="replace").replace(".", "%2E")


def excerpt(text: str, length: int = 600) -> str:
    text = " ".join(entrance.readable(text).split()).rstrip(".")
    return f"{text[:length]}…" if len(text) > length else text or "nothing"


def busy(url: str, text: str, retry_after: float | None) -> ComfyBusy:
    """What 429 stands for."""
    when = f"in {retry_after:.0f} s" if retry_after else "in a little while"
    return ComfyBusy(
        f"{url} takes no more requests for the moment (429). It says: {excerpt(text)}.",
        f"Try again {when}; if something was to be queued, look first whether it was (list_jobs).",
        retry_after,
    )


def _retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header, which has a number or a date (RFC 9110)."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return None
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        seconds = max(0.0, (when - datetime.now(UTC)).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
