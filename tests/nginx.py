"""A real nginx before a server, as people put one there: TLS with an authority of its own, prefixes, credentials."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

START_SECONDS = 20.0

# One process that stays what it is: no change of user, no files outside of its folder.
_CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
    log_format asked '$status $request_method $uri';
    access_log {folder}/access.log asked;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 100m;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port} {tls};
        {certificate}
        proxy_http_version 1.1;
        proxy_set_header Host $host:$server_port;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        {rules}
    }}
}}
"""


@dataclass(frozen=True)
class Gate:
    """A running nginx. `url` is without the prefix; `authority` the certificate that its own comes from."""

    url: str
    folder: Path
    authority: Path

    def asked(self) -> list[str]:
        """What was asked so far, each as "status method path"."""
        return (self.folder / "access.log").read_text(encoding="utf-8").splitlines()


@contextmanager
def nginx(folder: Path, rules: str, *, tls: bool = True) -> Iterator[Gate]:
    """nginx with these rules of a `server` block, on a free port of this machine."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        _cannot("nginx is not installed (Debian: apt-get install nginx-light)")
    folder.mkdir()
    authority, certificate, key = _certificates(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            port=port,
            tls="ssl" if tls else "",
            certificate=f"ssl_certificate {certificate}; ssl_certificate_key {key};" if tls else "",
            rules=rules,
        ),
        encoding="utf-8",
    )
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
            stdout=console,
            stderr=console,
        )
    try:
        _until_it_listens(process, port, folder)
        yield Gate(f"{'https' if tls else 'http'}://127.0.0.1:{port}", folder, authority)
    finally:
        process.terminate()
        process.wait(20)


def _until_it_listens(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    told = (folder / "console.log").read_text() + "".join(path.read_text() for path in folder.glob("error.log"))
    pytest.fail(f"nginx did not start: {told}")


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    """(authority, certificate, key) for 127.0.0.1 and localhost, made for two days."""
    if shutil.which("openssl") is None:
        _cannot("openssl is not installed")
    authority, certificate = folder / "authority.pem", folder / "certificate.pem"
    keys = [folder / "authority.key", folder / "key.pem"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    own = ["-subj", "/CN=an authority of our own", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    subprocess.run([*new, *own, "-keyout", keys[0], "-out", authority], check=True, capture_output=True)
    request = folder / "request.pem"
    names = folder / "names"
    names.write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature,keyEncipherment\nauthorityKeyIdentifier=keyid\n"
    )
    ask = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*ask, "-keyout", keys[1], "-out", request], check=True, capture_output=True)
    sign: list[str | Path] = ["openssl", "x509", "-req", "-days", "2", "-CAcreateserial", "-extfile", names]
    subprocess.run(
        [*sign, "-in", request, "-CA", authority, "-CAkey", keys[0], "-out", certificate],
        check=True,
        capture_output=True,
    )
    ssl.create_default_context(cafile=str(authority))
    return authority, certificate, keys[1]


def _cannot(reason: str) -> NoReturn:
    """CI has all that is needed: there, a gate that cannot be built is a failure."""
    if os.environ.get("COMFYUI_API_ORACLE_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
