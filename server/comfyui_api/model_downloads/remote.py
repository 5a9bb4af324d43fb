"""The server that has a file: asked hop by hop, each hop checked, and what its answers mean."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType

import httpx2

from comfyui_api import __version__
from comfyui_api.errors import DownloadFailed, InvalidArgument
from comfyui_api.model_downloads.hosts import TOKENS, Hosts
from comfyui_api.model_downloads.names import shown
from comfyui_api.model_sources import ModelSource

REDIRECTS = 6  # the hubs need one or two
LONGEST_WAIT = 120.0
"""The longest wait that a server may ask for (Retry-After), in seconds."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class Broken(DownloadFailed):
    """What another try may mend. `wait`: how many seconds the server asks to wait before it, 0 where it does not."""

    def __init__(
        self, message: str, next_step: str = "Try again later: it goes on from there.", wait: float = 0
    ) -> None:
        super().__init__(message, next_step)
        self.wait = wait


@dataclass(frozen=True)
class Offer:
    """What a server says of a file before it gives it.

    `size` of the whole file in bytes; `sha256` where the hub names it; `offset`: the byte that the answer begins with;
    `validator`: what it calls this content, fit for If-Range (RFC 9110 13.1.5: a strong ETag, or a date).
    """

    size: int | None = None
    sha256: str | None = None
    offset: int = 0
    validator: str | None = None


class Unreachable(Broken):
    """Nobody answers at this host, or this machine is not on the internet."""


class RangeRefused(Exception):
    """416: the server has nothing from this byte on, but says what it has."""

    def __init__(self, offer: Offer) -> None:
        super().__init__()
        self.offer = offer


class Remote:
    """Connections to the hosts that models come from. `tokens`: {host: token}, sent to that very host only.

    `timeout` is in seconds without a byte. Raises Broken for what may go better next time, DownloadFailed for what
    will not, NotPermitted for an address or a redirect that leads off the list.
    """

    def __init__(self, hosts: Hosts, tokens: Mapping[str, str], *, timeout: float) -> None:
        self._hosts, self._tokens, self._timeout = hosts, tokens, timeout
        try:
            # A pool for two: the file, and the look at another one.
            self._http = httpx2.AsyncClient(timeout=timeout, follow_redirects=False)
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as exc:
            raise InvalidArgument(
                f"The proxy or certificate settings of this machine cannot be used: {exc}.",
                "Correct HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and the like.",
            ) from exc

    async def __aenter__(self) -> Remote:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def look(self, source: ModelSource) -> Offer:
        """What is offered, without fetching it."""
        try:
            # Not HEAD: the storages behind the hubs sign their links for GET, and answer nothing else.
            async with self.opened(source, {"Range": "bytes=0-0"}) as (offer, _):
                return offer
        except RangeRefused as refused:
            return refused.offer

    @asynccontextmanager
    async def opened(
        self, source: ModelSource, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[Offer, AsyncIterator[bytes]]]:
        """The answer for a file: what is offered, and the bytes from `offer.offset` on.

        Raises RangeRefused for 416.
        """
        url = _parsed(source.url or "")
        linked: dict[str, str] = {}
        for _ in range(REDIRECTS + 1):
            self._hosts.permit(url)
            try:
                async with self._asked(url, headers) as response:
                    linked.update(_linked(response.headers))
                    if response.is_redirect:
                        url = _next(url, response.headers.get("location", ""))
                        continue
                    if response.status_code == 416:
                        raise RangeRefused(_offer(response, linked))
                    _check(response, source, token_sent="authorization" in response.request.headers)
                    yield _offer(response, linked), response.aiter_raw()
                    return
            except httpx2.HTTPError as exc:  # also those of whoever reads the bytes, within the yield
                raise _broken(exc, url.host, self._timeout) from exc
        raise DownloadFailed(
            f"The link to {_name(source)} is sent on more than {REDIRECTS} times.", "Look for another link."
        )

    @asynccontextmanager
    async def _asked(self, url: httpx2.URL, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        # Nothing that one host said is carried to the next: no cookies, no token.
        self._http.cookies.clear()
        own = {"User-Agent": f"comfyui-api/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        place = url.host if url.port is None else f"{url.host}:{url.port}"
        if token := self._tokens.get(place):
            own["Authorization"] = f"Bearer {token}"
        async with self._http.stream("GET", url, headers={**own, **headers}) as response:
            yield response


def _parsed(link: str) -> httpx2.URL:
    # What is checked is what will be asked: one parser for both.
    try:
        return httpx2.URL(link)
    except (httpx2.InvalidURL, ValueError, TypeError) as exc:
        raise DownloadFailed(f"'{shown(link)}' is no link.", "Correct it, or look for another one.") from exc


def _next(url: httpx2.URL, location: str) -> httpx2.URL:
    try:
        return url.join(location)
    except (httpx2.InvalidURL, ValueError, TypeError) as exc:
        raise DownloadFailed(
            f"{url.host} sends the download on to '{shown(location)}', which is no link.", "Look for another link."
        ) from exc


def _linked(headers: httpx2.Headers) -> dict[str, str]:
    """What Hugging Face says of a large file on the way to its storage: size and SHA-256."""
    names = ("x-linked-size", "x-linked-etag")
    return {name: headers[name].strip('"') for name in names if name in headers}


def _check(response: httpx2.Response, source: ModelSource, *, token_sent: bool) -> None:
    """Raise what an answer other than a file stands for."""
    status, host, headers = response.status_code, response.url.host, response.headers
    if status in (401, 403, 451):
        raise _closed(status, host, headers, source, token_sent=token_sent)
    if status in (404, 410):
        raise DownloadFailed(
            f"{host} does not have {_name(source)} ({status}).", _read(source, "Look for another link to it.")
        )
    if status == 429 or status in (408, 425) or status >= 500:
        why = "asks to wait" if status == 429 else "has trouble"
        raise Broken(f"{host} {why} ({status}).", wait=_wait(headers))
    if status not in (200, 206):
        raise DownloadFailed(f"{host} answered {status} and gave no file.", _read(source, "Look for another link."))
    if headers.get("content-type", "").split(";")[0].strip().casefold() in ("text/html", "application/xhtml+xml"):
        raise web_page(host, source)
    if headers.get("content-encoding", "identity").strip().casefold() not in ("", "identity"):
        raise DownloadFailed(
            f"{host} gives {_name(source)} in another encoding ({shown(headers['content-encoding'], 20)}) than asked "
            "for, so its size cannot be checked.",
            "Fetch it with a browser.",
        )


def web_page(host: str, source: ModelSource) -> DownloadFailed:
    """The error for a page in place of a file: a login, or a link that was never one to a file."""
    link = source.url or ""
    if "/blob/" in link:
        step = "It is a link to a page about the file: write /resolve/ (Hugging Face) or /raw/ (GitHub) for /blob/."
    elif variable := TOKENS.get(host):
        step = f"It may want a login: set {variable} to a token of your account."
    else:
        step = "It is a login page, or no link to a file."
    return DownloadFailed(f"{host} gives a web page in place of {_name(source)}.", _read(source, step))


def _closed(
    status: int, host: str, headers: httpx2.Headers, source: ModelSource, *, token_sent: bool
) -> DownloadFailed:
    """401, 403 and 451: an account, a licence, or nothing to be done. Hugging Face says which (X-Error-Code)."""
    variable = TOKENS.get(host)
    reason = headers.get("x-error-code", "")
    page = source.page or _hub_page(source.url or "", host)
    if status == 451:
        return DownloadFailed(f"{host} may not give {_name(source)} out here (451).", "Look for another link to it.")
    if variable is None:
        return DownloadFailed(
            f"{host} does not give {_name(source)} out ({status}).", _read(source, "It may want an account.")
        )
    if reason == "RepoNotFound" and token_sent:
        return DownloadFailed(
            f"{host} has no such repository, or it is private ({status}).", _read(source, "Look for another link.")
        )
    if not token_sent:
        licence = "an account that has accepted its licence" if source.gated or reason == "GatedRepo" else "an account"
        return DownloadFailed(
            f"{host} wants {licence} for {_name(source)} ({status}).",
            f"Log in at {shown(page)} and accept what is asked there; then set {variable} to a token of that account.",
        )
    return DownloadFailed(
        f"{host} does not give {_name(source)} to the account of {variable} ({status}).",
        f"Accept its licence at {shown(page)} with that account, or see that the token is valid and may read it.",
    )


def _hub_page(link: str, host: str) -> str:
    repository = re.match(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/", link)
    return f"https://huggingface.co/{repository[1]}" if repository else f"https://{host}"


def _offer(response: httpx2.Response, linked: Mapping[str, str]) -> Offer:
    headers = response.headers
    size, offset = _number(linked.get("x-linked-size")), 0
    if response.status_code in (206, 416):
        span = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if response.status_code == 206 and (span is None or span[1] is None):
            raise Broken(f"{response.url.host} gave a part of the file without saying which.")
        if span is not None:
            offset = int(span[1] or 0)
            size = int(span[3]) if span[3] != "*" else size
    elif (length := _number(headers.get("content-length"))) is not None:
        size = length
    sha256 = linked.get("x-linked-etag", "")
    return Offer(size, sha256.lower() if _SHA256.fullmatch(sha256) else None, offset, _validator(headers))


def _validator(headers: httpx2.Headers) -> str | None:
    etag = headers.get("etag", "")
    if etag.startswith('"') and len(etag) < 500 and etag.isprintable() and etag.isascii():
        return etag
    modified = headers.get("last-modified", "")
    try:
        parsedate_to_datetime(modified)
    except ValueError:
        return None
    return modified if len(modified) < 100 else None


def _wait(headers: httpx2.Headers) -> float:
    """Seconds that the server asks to wait; a date in place of them is passed over."""
    seconds = _number(headers.get("retry-after"))
    return min(float(seconds), LONGEST_WAIT) if seconds is not None else 0.0


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


def _broken(exc: httpx2.HTTPError, host: str, timeout: float) -> DownloadFailed:
    if isinstance(exc, httpx2.TimeoutException):
        return Broken(f"{host} gave nothing for {timeout:g} s.")
    reason = str(exc).rstrip(".") or type(exc).__name__
    if isinstance(exc, httpx2.ConnectError):
        below: BaseException | None = exc
        while below is not None:
            if isinstance(below, ssl.SSLCertVerificationError):
                return DownloadFailed(
                    f"{host} cannot prove that it is {host}: {below.verify_message}.",
                    "Something on the way (a proxy, a login page) may answer in its place: see what a browser says.",
                )
            below = below.__cause__ or below.__context__
        return Unreachable(f"{host} cannot be reached: {reason}.", "Check the connection to the internet, try again.")
    return Broken(f"The connection to {host} broke: {reason}.")


def _name(source: ModelSource) -> str:
    return shown(source.file, 120)


def _read(source: ModelSource, otherwise: str) -> str:
    return f"{otherwise} Its page is {shown(source.page)}." if source.page else otherwise
