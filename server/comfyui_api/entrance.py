"""What stands before a server and lets nobody in: refusals, login pages and certificates, with what to set for them."""

from __future__ import annotations

import html
import re
from urllib.parse import urljoin, urlsplit

PAGE_LOOKED_AT = 20_000
ENTRY = "the server's entry in servers.toml (in the configuration folder of comfyui-api)"
_LOGIN = re.compile(r"type=[\"']?password|log[ -]?in\b|sign[ -]?in\b|\bsso\b|oauth|saml|authenticat", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_NOT_SHOWN = re.compile(r"<(script|style)\b.*?(</\1>|\Z)|<!--.*?(-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>?")
# Services before a server that let a program in by headers of their own; what they are known by, in small letters.
_SERVICES = (
    (("cloudflareaccess.com", "cf-access"), "CF-Access-Client-Id and CF-Access-Client-Secret of a service token"),
    (("ngrok-free", "ngrok.com", "err_ngrok_6024"), "ngrok-skip-browser-warning, with any value"),
)


def refusal(status: int, challenge: str, page: str, *, sent: bool) -> str:
    """What to set where a server answered 401 or 403.

    `challenge` is its WWW-Authenticate header, `page` what it said, `sent` whether credentials went with the request.
    """
    scheme = challenge.strip().partition(" ")[0].casefold()
    if service := _service(page):
        ask = f"Give {ENTRY} these headers: {service}."
    elif scheme == "basic":
        ask = f"It wants a user and a password: set user and password in {ENTRY}, or write them into COMFYUI_URL."
    elif scheme == "bearer":
        ask = f"It wants a token: set token in {ENTRY}."
    elif is_login(page):
        ask = f"A proxy before it wants a login: set user and password, token or headers in {ENTRY}."
    else:
        ask = f"Set what it wants in {ENTRY}: user and password, token, headers, or key."
    if not sent:
        return f"No credentials were sent. {ask}"
    if status == 403:
        return f"Credentials were sent: they may not be enough for this. {ask}"
    return f"The credentials that were sent are not accepted: check them. {ask}"


def sent_on(asked: str, location: str) -> tuple[str, str]:
    """(where to, what to do) for a redirect from the address `asked`. Nothing is followed there."""
    try:
        target = urlsplit(urljoin(asked, location))
        here = urlsplit(asked)
        # Without its query: a login's carries the whole way back, and may carry more.
        shown = target._replace(query="", fragment="", netloc=target.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        return "an address that is none", "Check the address of the server."
    if service := _service(location):
        return shown, f"A login stands before the server. Give {ENTRY} these headers: {service}."
    if _LOGIN.search(f"{target.netloc} {target.path}"):
        return shown, f"A login stands before the server: set user and password, token or headers in {ENTRY}."
    if here.scheme == "http" and target.scheme == "https" and here.hostname == target.hostname:
        return shown, "Write the address of the server with https://."
    return shown, "If that is the server, use its address there; if it is a login, set the credentials in servers.toml."


def web_page(page: str) -> str:
    """What to do about a page where ComfyUI's answer should be."""
    if service := _service(page):
        return f"A page of another service stands before the server. Give {ENTRY} these headers: {service}."
    if is_login(page):
        return f"A login page stands before the server: set user and password, token or headers in {ENTRY}."
    return "This is not ComfyUI's API: another program has this address, or ComfyUI has it below another path."


def is_login(page: str) -> bool:
    """Whether a page looks like one that wants a login."""
    return _LOGIN.search(page[:PAGE_LOOKED_AT]) is not None


def readable(page: str) -> str:
    """The text of a page without its markup; other texts as they are."""
    page = page[:PAGE_LOOKED_AT]
    if not re.search(r"<(!doctype|html|head|body|title)\b", page, re.IGNORECASE):
        return page
    title = _TITLE.search(page)
    text = _TAG.sub(" ", _NOT_SHOWN.sub(" ", page))
    words = " ".join(html.unescape(text).split())
    return words or (html.unescape(title[1]).strip() if title else "")


def certificate(reason: str) -> tuple[str, str]:
    """(reason, what to do) for a certificate that is not accepted, by the reason that OpenSSL gives."""
    if "self-signed" in reason or "self signed" in reason or "issuer" in reason:
        step = f"If it is yours, name the file with its certificate authority as ca_file in {ENTRY}."
    elif "expired" in reason:
        step = "Renew the server's certificate; check the clock of this machine."
    elif "mismatch" in reason or "not valid for" in reason:
        step = "Use the name that the certificate is for in the address."
    else:
        step = f"Check the server's certificate; one of your own needs ca_file in {ENTRY}."
    return f"its certificate is not accepted ({reason.rstrip('.')})", step


def _service(text: str) -> str | None:
    small = text[:PAGE_LOOKED_AT].casefold()
    return next((headers for marks, headers in _SERVICES if any(mark in small for mark in marks)), None)
