"""MCP over HTTP, for agents that run on another machine than the files and the GPU.

On this machine's own loopback address it needs no token; on any other address it is not served without one. Host and
Origin are checked by the SDK, so that a web page cannot talk to it through the user's browser.
"""

from __future__ import annotations

import hmac
import logging
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing

import psutil
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from comfyui_api.app import build_server
from comfyui_api.errors import InvalidArgument
from comfyui_api.transport import is_loopback
from comfyui_api.workspace import open_workspace, read_settings

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERYWHERE = ("0.0.0.0", "::", "")  # served there only with a token
LAST_SECONDS = 3  # that open streams have to end in
SHORTEST_TOKEN = 16
MOST_SESSIONS = 200  # of clients that went without a word; they are forgotten after half an hour
MOST_CONNECTIONS = 500


async def serve_http(
    environment: Mapping[str, str], host: str, port: int, token: str | None, names: Sequence[str] = ()
) -> None:
    """Serve MCP at http://host:port/mcp until the process is told to end; `names` are more Host headers to accept.

    Raises InvalidArgument for an address beyond this machine without a token, and for one that cannot be had.
    """
    if token is None and not is_loopback(host):
        raise InvalidArgument(
            f"{host or 'This address'} can be reached from other machines, and no token is set.",
            "Set COMFYUI_API_HTTP_TOKEN or give --token-file; agents then send it as 'Authorization: Bearer …'.",
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise InvalidArgument(
            f"The token should have at least {SHORTEST_TOKEN} printable ASCII characters.",
            "Make one, for example with: openssl rand -hex 24",
        )
    settings = read_settings(environment)
    logging.basicConfig(level=settings.log_level.upper(), stream=sys.stderr)
    async with open_workspace(environment) as workspace:
        listener = _listener(host, port)
        with closing(listener):
            at = listener.getsockname()[1]
            hosts = _known_as(host, names)
            app: ASGIApp = build_server(environment, workspace).streamable_http_app(
                streamable_http_path=PATH, transport_security=_security(hosts), max_sessions=MOST_SESSIONS
            )
            config = uvicorn.Config(
                app if token is None else BearerOnly(app, token),
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=LAST_SECONDS,
            )
            shown = f"[{host}]" if ":" in host else host or "0.0.0.0"
            sys.stderr.write(f"comfyui-api: MCP at http://{shown}:{at}{PATH}\n")
            if host in EVERYWHERE:
                sys.stderr.write(f"It answers to {', '.join(hosts)}; --known-as adds a name.\n")
            sys.stderr.flush()
            await uvicorn.Server(config).serve(sockets=[listener])


class BearerOnly:
    """Lets requests through that carry the token; 401 for all others."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = [value for name, value in scope["headers"] if name == b"authorization"]
            scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
                headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b"A bearer token is needed.\n"})
                return
        await self._app(scope, receive, send)


def _known_as(host: str, names: Sequence[str]) -> list[str]:
    """What requests may call this server: this machine, the address that is listened at, and `names`."""
    if host not in EVERYWHERE:
        own = [host]
    else:
        addresses = (address for each in psutil.net_if_addrs().values() for address in each)
        internet = (socket.AF_INET, socket.AF_INET6)
        own = [address.address.partition("%")[0] for address in addresses if address.family in internet]
        own += [socket.gethostname(), f"{socket.gethostname()}.local"]
    # A page cannot make a browser name an address that is not its own: only names can be turned towards this machine.
    return list(dict.fromkeys([*LOOPBACK, *(f"[{each}]" if ":" in each else each for each in [*own, *names])]))


def _security(hosts: Sequence[str]) -> TransportSecuritySettings:
    """Requests must name one of these hosts; each with any port, as tunnels change it."""
    origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*hosts, *(f"{host}:*" for host in hosts)],
        allowed_origins=[*origins, *(f"{origin}:*" for origin in origins)],
    )


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # there it would let two programs listen at one address
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen()
    except (OSError, OverflowError) as exc:
        raise InvalidArgument(
            f"{host}:{port} cannot be listened at: {exc}.", "Give another --port, or an address of this machine."
        ) from exc
    return listener
