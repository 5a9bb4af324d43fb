"""A little server of files that behaves as badly as a test asks it to, over real sockets."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TypeAlias

Headers: TypeAlias = Mapping[str, str]
GRACE = 30.0  # the longest that a handler waits for a test


def weights(size: int = 100_000, seed: int = 0) -> bytes:
    """A safetensors file of so many bytes: the length of its JSON header, the header, and noise."""
    header = json.dumps({"__metadata__": {"seed": str(seed)}}).encode()
    content = len(header).to_bytes(8, "little") + header
    return content + Random(seed).randbytes(size - len(content))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.files.asked.append((path, {name.casefold(): value for name, value in self.headers.items()}))
        behave = self.files.paths.get(path)
        with suppress(ConnectionError, ssl.SSLError):
            if behave is None:
                self.say(404)
            else:
                behave(self)

    def say(self, status: int, body: bytes = b"", headers: Headers | None = None, *, length: int | None = None) -> None:
        """An answer; `length` is what it says of itself. The connection is closed after it."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in (headers or {}):
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = True

    @property
    def start(self) -> int | None:
        """The first byte that is asked for; None where all is."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return int(wanted[1]) if wanted else None

    @property
    def is_look(self) -> bool:
        return self.headers.get("range") == "bytes=0-0"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # named so by the standard library
        pass


Behaviour = Callable[[Handler], None]


@dataclass
class FileServer:
    """`paths`: {path: what it does}. `asked`: (path, headers in lower case) of every request."""

    url: str = ""
    paths: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.split("//")[1]

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of every request for the file, without the looks at it."""
        ranges = [headers.get("range") for asked, headers in self.asked if asked == path]
        return [wanted for wanted in ranges if wanted != "bytes=0-0"]


@contextmanager
def file_server(paths: dict[str, Behaviour] | None = None, tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    files = FileServer(paths=paths or {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OurHandler", (Handler,), {"files": files}))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    files.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class File:
    """A file as a good server gives it: parts of it, and only of the version that is meant.

    `drop_at`: so many bytes from its start on, the connection breaks, once each; `held`: there the server waits
    instead until it is set.
    """

    content: bytes
    etag: str | None = None
    drop_at: list[int] = field(default_factory=list)
    headers: Headers = field(default_factory=dict)
    takes_ranges: bool = True
    heeds_if_range: bool = True
    pause_at: int | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: Handler) -> None:
        etag = self.etag or f'"{sha256(self.content)[:16]}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes", **self.headers}
        start = handler.start if self.takes_ranges else None
        if self.heeds_if_range and handler.headers.get("if-range", etag) != etag:
            start = None
        if start is not None and start >= len(self.content):
            handler.say(416, headers={"Content-Range": f"bytes */{len(self.content)}"})
            return
        end = 1 if handler.is_look and start is not None else len(self.content)
        begin = start or 0
        body, status = self.content[begin:end], 200
        if start is not None:
            headers["Content-Range"], status = f"bytes {begin}-{end - 1}/{len(self.content)}", 206
        if handler.is_look:
            handler.say(status, body, headers)
        elif self.pause_at is not None and begin < self.pause_at:
            handler.say(status, body[: self.pause_at - begin], headers, length=len(body))
            self.reached.set()
            if self.go_on.wait(GRACE):
                handler.wfile.write(body[self.pause_at - begin :])
        elif self.drop_at and begin <= self.drop_at[0]:
            handler.say(status, body[: self.drop_at.pop(0) - begin], headers, length=len(body))
        else:
            handler.say(status, body, headers)


def page(
    status: int = 200, body: str = "<!DOCTYPE html><html>Log in</html>", headers: Headers | None = None
) -> Behaviour:
    """Something that is no file."""
    return lambda handler: handler.say(status, body.encode(), {"Content-Type": "text/html", **(headers or {})})


def sent_on(location: str, status: int = 302, headers: Headers | None = None) -> Behaviour:
    return lambda handler: handler.say(status, headers={"Location": location, **(headers or {})})
