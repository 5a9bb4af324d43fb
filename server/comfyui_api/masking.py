"""Secrets made unreadable in what others wrote: servers repeat what they were sent, in error pages and elsewhere."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote

from comfyui_api.settings import Access

# A short secret may be a word: it is left alone in texts, and a longer one in data, where a class or a file may have
# that very name. What is sent of a short password, with the user's name and in base64, is longer.
SHORTEST_IN_TEXTS = 8
SHORTEST_IN_DATA = 12
# An address that lets whoever has it in, such as a storage's for a single file.
_SIGNED = re.compile(r"\?[^\s\"'<>]*(?:sign|sig=|token|credential|policy)[^\s\"'<>]*", re.IGNORECASE)
PUBLIC_HEADERS = frozenset({"comfy-user"})


class Mask:
    """Replaces secrets, in the forms in which they travel, by as many asterisks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._texts: list[str] = []
        self._data: list[bytes] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)} | set(self._texts)
        # The longest first, since one may be a part of another.
        self._texts = sorted((form for form in forms if len(form) >= SHORTEST_IN_TEXTS), key=len, reverse=True)
        self._data = [form.encode() for form in self._texts if len(form) >= SHORTEST_IN_DATA]

    @property
    def hides_data(self) -> bool:
        return bool(self._data)

    def text(self, text: str) -> str:
        """A text for people or agents without the secrets."""
        for form in self._texts:
            if form in text:
                text = text.replace(form, "*" * len(form))
        return text

    def data(self, content: bytes) -> bytes:
        """Content of the same length without the longer secrets."""
        for form in self._data:
            if form in content:
                content = content.replace(form, b"*" * len(form))
        return content

    def begun(self, content: bytes) -> int:
        """How many of the last bytes may be the beginning of a secret that goes on in the next piece."""
        longest = max((len(form) for form in self._data), default=1) - 1
        tail = content[-longest:] if longest else b""
        for start in range(len(tail)):
            if any(form.startswith(tail[start:]) for form in self._data):
                return len(tail) - start
        return 0


class _Hidden(logging.Filter):
    """Rewrites what is logged, whoever logs it: the HTTP library tells headers and addresses at DEBUG and INFO."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask
        self._plain = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _SIGNED.sub("?…", self._mask.text(record.getMessage())), None
        if record.exc_info:
            record.exc_text = self._mask.text(record.exc_text or self._plain.formatException(record.exc_info))
        return True


@contextmanager
def hidden_in_logs(mask: Mask) -> Iterator[None]:
    """Keep the secrets out of the log of this process while the block lasts."""
    hidden, handlers = _Hidden(mask), list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(hidden)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(hidden)


def secrets_of(access: Access) -> Iterator[str]:
    """The secrets in it as they travel, and as a server may tell them after decoding."""
    yield from filter(None, (access.api_key, access.partner_key))
    for name, value in access.headers.items():
        if name.casefold() not in PUBLIC_HEADERS:
            yield value
            yield value.partition(" ")[2]  # without `Bearer`
    if access.basic is not None:
        user, password = access.basic
        yield password
        yield b64encode(f"{user}:{password}".encode()).decode()
    if access.inventory_access is not None:
        yield from secrets_of(access.inventory_access)


def has_secrets(access: Access) -> bool:
    """Whether anything secret is sent to this very server."""
    return any(True for _ in secrets_of(replace(access, inventory_access=None)))


def _forms(secret: str) -> Iterator[str]:
    """A secret as it stands, in an address, in a form and in JSON."""
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield json.dumps(secret)[1:-1]
    yield secret.replace("/", "\\/")
