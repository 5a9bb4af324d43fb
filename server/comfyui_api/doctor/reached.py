"""The servers: reachable, how old, how far away, and what is known of each."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out

import anyio

from comfyui_api.doctor.check import Check, State
from comfyui_api.errors import AccessDenied, ComfyError, NotOffered, ServerError
from comfyui_api.inventory import read_head
from comfyui_api.masking import has_secrets
from comfyui_api.servers import read_servers
from comfyui_api.transport import is_private
from comfyui_api.workspace import Connection, Workspace

PATIENCE = 10.0  # seconds for one server; all are asked side by side
SLOW = 1.0  # seconds
# Since then /interrupt takes a prompt_id: before, it stops whatever runs.
STOPS_ONE = (0, 3, 64)
KINDS = {"local": "ComfyUI", "cloud": "Comfy Cloud, ComfyUI", "v2": "API v2, ComfyUI"}


async def check_servers(workspace: Workspace, environment: Mapping[str, str]) -> list[Check]:
    """Ask the default server and those of servers.toml, side by side."""
    checks: dict[str | None, list[Check]] = {None: []}
    names: list[str | None] = [None]
    try:
        names += sorted(read_servers(workspace.home, workspace.servers.config))
    except ComfyError as exc:
        checks[None].append(Check("servers", "problem", exc.message, exc.next_step or None))
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(_look, workspace, environment, name, checks)
    return [check for name in names for check in checks.get(name, [])]


async def _look(
    workspace: Workspace, environment: Mapping[str, str], name: str | None, checks: dict[str | None, list[Check]]
) -> None:
    about = f"server '{name}'" if name is not None else "server"
    found = checks.setdefault(name, [])
    try:
        connection = workspace.connect(name)
    except ComfyError as exc:
        found.append(Check(about, "warn", exc.message, exc.next_step or None))
        return
    found.append(await _asked(connection, about, is_default=name is None))
    if _tells_all_on_the_way(connection):
        said = f"what is sent to {connection.url}, keys and passwords included, can be read on its way: it is http"
        found.append(Check(about, "warn", said, "Use its https:// address, or reach it through a tunnel."))
    if (proxy := _proxy(connection.url, environment)) is not None:
        mend = "Where it should be asked directly, add its host to NO_PROXY."
        found.append(Check(about, "ok", f"it is asked through the proxy {proxy} of the environment", mend))
    found.append(await _inventory(connection, f"inventory of '{name}'" if name is not None else "inventory"))


def _tells_all_on_the_way(connection: Connection) -> bool:
    """Whether secrets go to a server elsewhere without encryption. A private network is the user's own affair."""
    parts = urlsplit(connection.url)
    return parts.scheme == "http" and not is_private(parts.hostname or "") and has_secrets(connection.access)


async def _asked(connection: Connection, about: str, *, is_default: bool) -> Check:
    absent: State = "problem" if is_default else "warn"
    began = time.monotonic()
    try:
        with anyio.fail_after(PATIENCE):
            await connection.client.system_stats()
            began = time.monotonic()  # the first answer includes connecting
            stats = await connection.client.system_stats()
            took = time.monotonic() - began
            try:
                await connection.client.queue()
            except AccessDenied:
                raise  # what it tells everybody does not show that we may use it
            except ServerError:
                pass
    except TimeoutError:
        found = f"{connection.url} gave no answer within {PATIENCE:.0f} s."
        return Check(about, absent, found, "Look at ComfyUI's own log, or restart it.")
    except ComfyError as exc:
        return Check(about, absent, exc.message, exc.next_step or None)
    kind = connection.access.kind
    version_told = KINDS[kind] + f" {stats.comfyui_version}"
    if stats.comfyui_version == "unknown" and kind != "local":
        version_told = KINDS[kind].partition(",")[0]
    told = f"{connection.url}: {version_told}, answers in {1000 * took:.0f} ms"
    # The others have a way of their own to stop one run.
    if kind == "local" and (version := _numbers(stats.comfyui_version)) and version < STOPS_ONE:
        least = ".".join(map(str, STOPS_ONE))
        mend = f"Update ComfyUI: before {least} interrupting one run stops whatever runs."
        return Check(about, "warn", told, mend)
    if took > SLOW:
        return Check(about, "warn", told, "It is busy or far away: waiting and saving files will take long.")
    return Check(about, "ok", told)


async def _inventory(connection: Connection, about: str) -> Check:
    mend = "comfyui-api status --refresh, while the server runs."
    inventory, trouble = read_head(connection.inventory_path)
    if inventory is None and connection.access.kind == "v2" and (untold := await _untold(connection)) is not None:
        return Check(about, "warn", untold.message, untold.next_step)
    if inventory is None:
        found = trouble or "none yet: without it nothing can be checked while the server does not run"
        return Check(about, "warn", found, mend)
    now = datetime.now(UTC)
    hours = inventory.age_seconds(now) / 3600
    age = f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
    told = f"{inventory.class_count} node classes, {inventory.model_count} models, {age} old"
    if inventory.server not in (None, connection.url):
        return Check(about, "warn", f"{inventory.path.name} is of another server, {inventory.server}", mend)
    if trouble is not None:
        return Check(about, "warn", f"{told}. {trouble}", mend)
    if inventory.is_stale(now):
        return Check(about, "ok", f"{told}; it is asked anew at the next check")
    return Check(about, "ok", told)


async def _untold(connection: Connection) -> NotOffered | None:
    """That an API v2 does not tell its node classes, where it is so: then no refreshing helps."""
    try:
        with anyio.move_on_after(PATIENCE):
            async with aclosing(connection.client.object_info()) as pieces:
                async for _ in pieces:
                    return None
    except NotOffered as exc:
        return exc
    except ComfyError:
        return None  # told by the line of the server itself
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,6}", version)[:3])


def _proxy(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy of the environment that requests to a server go through, without its credentials. Servers on this
    machine and in a private network are asked directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_private(host):
        return None
    proxies = {
        name[: -len("_proxy")].casefold(): value
        for name, value in environment.items()
        if name.casefold().endswith("_proxy") and value
    }
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass_environment(host, proxies):
        return None
    place = urlsplit(proxy)
    return f"{place.scheme or 'http'}://{place.hostname or '?'}" + (f":{place.port}" if _has_port(place.netloc) else "")


def _has_port(netloc: str) -> bool:
    return re.search(r":\d{1,5}$", netloc) is not None
