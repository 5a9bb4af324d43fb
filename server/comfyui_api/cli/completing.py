"""What the shell offers for an argument that is being typed: only what is known here, as nobody waits for a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from comfyui_api.cli.workplace import do
from comfyui_api.errors import ComfyError
from comfyui_api.known import class_names_known
from comfyui_api.servers import read_servers
from comfyui_api.workspace import Workspace

MOST = 200


def servers(incomplete: str) -> list[str]:
    return _known(incomplete, lambda space: read_servers(space.home, space.servers.config))


def servers_or_all(incomplete: str) -> list[str]:
    return [name for name in ("all",) if name.startswith(incomplete)] + servers(incomplete)


def projects(incomplete: str) -> list[str]:
    return _known(
        incomplete, lambda space: (path.name for path in sorted((space.home / "projects").glob("*")) if path.is_dir())
    )


def prompt_ids(incomplete: str) -> list[str]:
    """The runs that were queued from here, the newest first."""
    return _known(incomplete, lambda space: reversed(space.jobs.all()))


def class_types(incomplete: str) -> list[str]:
    """The node classes of the default server's inventory."""
    return _known(incomplete, lambda space: sorted(class_names_known(space)))


def _known(incomplete: str, names: Callable[[Workspace], Iterable[str]]) -> list[str]:
    """The names that begin as typed. What cannot be read offers nothing: a shell has no place for an error."""

    async def look(space: Workspace) -> list[str]:
        # One that would break the shell's line is no help there.
        return [name for name in names(space) if name.startswith(incomplete) and name.isprintable()][:MOST]

    try:
        return do(look)
    except (ComfyError, OSError):
        return []
