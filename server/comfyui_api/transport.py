"""The HTTP client for one server: its credentials, its certificates, and what it may repeat of them made unreadable."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import httpx2

from comfyui_api.errors import InvalidArgument
from comfyui_api.masking import Mask, secrets_of
from comfyui_api.settings import Access

if TYPE_CHECKING:
    import ssl

LEAST_RATE = 1000  # bytes a second, below which a reply is no reply: some servers give one byte now and then for ever
SENT_AT_ONCE = 2**16
ENDLESS = "endless"
"""What a request is marked with (`extensions`) whose answer may be as slow as it likes: a stream of events."""


def http_client(url: str, access: Access, *, timeout: float) -> MaskedClient:
    """The client for the server at `url`. It follows no redirects: credentials go to this address only.

    `timeout` is in seconds: without a byte, for a reply to begin, and of waiting for a reply in which less than
    LEAST_RATE comes. Raises InvalidArgument for what cannot be an address, and for certificates and proxies of the
    machine's settings that cannot be used.
    """
    # A proxy of the environment is for the outside world, not for a server on this machine or the LAN.
    outside = not is_private(urlsplit(url).hostname or "")
    try:
        return MaskedClient(
            Mask(secrets_of(access)),
            base_url=url,
            timeout=timeout,
            auth=access.basic,
            headers=dict(access.headers),
            trust_env=outside,
            # Where nothing can be encrypted, reading the machine's certificates would only cost its 20 ms.
            verify=_certificates(access.ca_file) if outside or not url.startswith("http://") else False,
        )
    except (httpx2.InvalidURL, ValueError) as exc:
        raise InvalidArgument(f"'{url}' is no address of a server: {exc}.", "Write http://host:8188.") from exc
    except (ImportError, OSError) as exc:
        # A kind of proxy that needs a package of its own, or a certificate file that is not there.
        raise InvalidArgument(
            f"The proxy or certificate settings of this machine cannot be used: {exc}.",
            "Correct HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and the like.",
        ) from exc


class TooSlow(httpx2.ReadTimeout):
    """Something came, but so slowly that it would never end."""


class MaskedClient(httpx2.AsyncClient):
    """A client whose responses and errors hold none of the secrets that it sends. What comes over a WebSocket is
    masked by whoever reads it.

    Reading from it raises ReadTimeout where a reply does not begin, TooSlow where it does not go on in earnest.
    """

    def __init__(self, mask: Mask, **settings: Any) -> None:
        super().__init__(**settings)
        self.mask = mask

    async def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        with _masked_errors(self.mask):
            seconds: float | None = request.extensions["timeout"]["read"]
            response = await self._begun(request, seconds, **more)
        if seconds is not None and ENDLESS not in request.extensions:
            assert isinstance(response.stream, httpx2.AsyncByteStream), "an asynchronous client has no other"
            response.stream = _Paced(response.stream, seconds, request)
        if not self.mask.hides_data:
            if not stream:
                await _read_whole(response)
            return response
        masked = MaskedResponse(
            response.status_code,
            headers=[(name, self.mask.data(value)) for name, value in response.headers.raw],
            stream=response.stream,
            request=response.request,
            extensions=response.extensions,
            history=response.history,
        )
        masked.mask = self.mask
        if not stream:
            await _read_whole(masked)
        return masked

    async def _begun(self, request: httpx2.Request, seconds: float | None, **more: Any) -> httpx2.Response:
        """The response, once its headers are there. They have to come within the time limit of one read: the HTTP
        library would wait as long again after each byte of them."""
        if seconds is None:
            return await super().send(request, stream=True, **more)
        with anyio.CancelScope() as waiting:
            # What is uploaded takes its time: each piece of it has a limit of its own.
            assert isinstance(request.stream, httpx2.AsyncByteStream), "an asynchronous client sends no other"
            request.stream = _Sent(request.stream, waiting, seconds)
            return await super().send(request, stream=True, **more)
        raise httpx2.ReadTimeout(f"no whole header within {seconds:g} s", request=request)


class _Sent(httpx2.AsyncByteStream):
    """The content of a request, in small pieces, as each has a time limit of its own; after the last of them the answer
    is waited for so many seconds."""

    def __init__(self, content: httpx2.AsyncByteStream, waiting: anyio.CancelScope, seconds: float) -> None:
        self._content, self._waiting, self._seconds = content, waiting, seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._content:
            for start in range(0, len(piece), SENT_AT_ONCE):
                yield piece[start : start + SENT_AT_ONCE]
        self._waiting.deadline = anyio.current_time() + self._seconds

    async def aclose(self) -> None:
        await self._content.aclose()


class _Paced(httpx2.AsyncByteStream):
    """What a server sends, as long as at least LEAST_RATE of it comes in each so many seconds of waiting. The time in
    which the pieces are worked on does not count."""

    def __init__(self, content: httpx2.AsyncByteStream, seconds: float, request: httpx2.Request) -> None:
        self._content, self._seconds, self._request = content, seconds, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received, waited, asked = 0, 0.0, time.monotonic()
        async for piece in self._content:
            received, waited = received + len(piece), waited + time.monotonic() - asked
            if waited >= self._seconds:
                if received < LEAST_RATE * waited:
                    raise TooSlow(f"only {received} bytes in {waited:.0f} s", request=self._request)
                received, waited = 0, 0.0
            yield piece
            asked = time.monotonic()

    async def aclose(self) -> None:
        await self._content.aclose()


async def _read_whole(response: httpx2.Response) -> None:
    try:
        await response.aread()
    finally:
        await response.aclose()


class MaskedResponse(httpx2.Response):
    """A response that is read without the secrets. Its length stays the same."""

    mask: Mask

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes]:
        """The decoded content. Only the beginning of what may be a secret waits for the next piece."""
        held = b""
        with _masked_errors(self.mask):
            async with aclosing(super().aiter_bytes(chunk_size)) as pieces:
                async for chunk in pieces:
                    content = self.mask.data(held + chunk)
                    begun = self.mask.begun(content)
                    held = content[len(content) - begun :]
                    if len(content) > begun:
                        yield content[: len(content) - begun]
        if held:
            yield held


@contextmanager
def _masked_errors(mask: Mask) -> Iterator[None]:
    """Errors of the HTTP library quote what came: a header line of a server that is none, for one."""
    try:
        yield
    except httpx2.HTTPError as exc:
        exc.args = tuple(mask.text(arg) if isinstance(arg, str) else arg for arg in exc.args)
        raise


def _certificates(ca_file: str | None) -> ssl.SSLContext | bool:
    """What the server's certificate must come from; True for the machine's own authorities."""
    if ca_file is None:
        return True
    import ssl  # noqa: PLC0415  # for those who have a certificate of their own

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:  # ssl's own errors are of this kind too
        reason = os.strerror(exc.errno) if exc.errno and not isinstance(exc, ssl.SSLError) else "it has no certificate"
        raise InvalidArgument(
            f"The certificates in {ca_file} cannot be used: {reason}.",
            "Give a file in PEM form as ca_file in servers.toml.",
        ) from exc


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def is_private(host: str) -> bool:
    """Whether a host is this machine or an address of a private network."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host.casefold() == "localhost" or host.casefold().endswith(".local")
