"""The node packs in an installation, by what lies in their folders: pyproject.toml, .git and the registry's marks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from comfyui_api.packs import InstalledPack

TEXT_LIMIT = 2**20  # bytes of a file that is read
LENGTH_LIMIT = 500  # characters of a version, an id or an address
DISABLED = ".disabled"  # ending of a disabled pack's name, or the folder that a Manager moves it to
NO_PACKS = ("__pycache__",)

_REMOTE_URL = re.compile(r"^\s*url\s*=\s*(\S+)\s*$", re.MULTILINE)
_SECTION = re.compile(r'^\s*\[remote "([^"\n]*)"\]([^\[]*)', re.MULTILINE)
_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!/)([\w./~-]+)")


def node_packs(folders: list[Path], troubles: list[str]) -> dict[str, InstalledPack]:
    """The packs in these custom_nodes folders by name; a disabled copy does not hide an enabled one."""
    packs: dict[str, InstalledPack] = {}
    for folder in folders:
        for path, enabled in _candidates(folder, troubles):
            name = path.name.removesuffix(DISABLED)
            if not path.is_dir():
                name = name.removesuffix(".py")
            elif not enabled and path.parent.name == DISABLED:
                name = name.partition("@")[0]  # a Manager keeps them as name@version
            if name and (enabled or name not in packs):
                packs[name] = _pack(path, enabled=enabled) if path.is_dir() else InstalledPack(enabled=enabled)
    return packs


def _candidates(folder: Path, troubles: list[str]) -> list[tuple[Path, bool]]:
    """(path, whether it is enabled) of everything in a custom_nodes folder that ComfyUI loads, or would if enabled."""
    found = []
    for path in _sorted(folder, troubles):
        if path.name == DISABLED:
            found += [(below, False) for below in _sorted(path, troubles) if below.is_dir()]
        elif path.name in NO_PACKS or path.name.startswith("."):
            continue
        elif path.is_dir() or path.name.removesuffix(DISABLED).endswith(".py"):
            found.append((path, not path.name.endswith(DISABLED)))
    # The enabled ones last, so that they count.
    return sorted(found, key=lambda entry: entry[1])


def _sorted(folder: Path, troubles: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        troubles.append(f"{folder} could not be read: {exc.strerror}.")
        return []


def _pack(folder: Path, *, enabled: bool) -> InstalledPack:
    project = project_of(folder)
    git = folder / ".git"
    urls = project.get("urls")
    named = urls.get("Repository") if isinstance(urls, dict) else None
    return InstalledPack(
        version=_short(project.get("version")) or _commit(git),
        cnr_id=_short(read_text(git / ".cnr-id")) or (_short(project.get("name")) if _registered(folder) else None),
        repository=_remote(git) or _short(named),
        enabled=enabled,
    )


def project_of(folder: Path) -> dict[str, Any]:
    """The table [project] of the pyproject.toml in a folder; empty where there is none."""
    project = _toml(folder).get("project")
    return project if isinstance(project, dict) else {}


def _registered(folder: Path) -> bool:
    """Whether the pack's own name is its id in the registry: it came from there, or declares who publishes it."""
    tool = _toml(folder).get("tool")
    comfy = tool.get("comfy") if isinstance(tool, dict) else None
    publisher = comfy.get("PublisherId") if isinstance(comfy, dict) else None
    return bool(publisher) or (folder / ".tracking").is_file()


def _toml(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(folder / "pyproject.toml") or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _remote(git: Path) -> str | None:
    """The address that a checkout came from, "origin" before others, without the credentials that may be in it."""
    remotes = dict(reversed(_SECTION.findall(read_text(git / "config") or "")))
    for section in (remotes.get("origin", ""), *remotes.values()):
        if (found := _REMOTE_URL.search(section)) and (address := _public(found[1])):
            return address
    return None


def _public(address: str) -> str | None:
    """An address on the web without user and password; git@host:owner/name as https."""
    if len(address) > LENGTH_LIMIT:
        return None
    if "://" not in address:
        scp = _SCP.fullmatch(address)
        return f"https://{scp[1]}/{scp[2].removesuffix('.git')}" if scp else None
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https", "ssh", "git") or not host:
        return None
    over_web = parts.scheme in ("http", "https")
    place = f"{host}:{port}" if port and over_web else host
    scheme = parts.scheme if over_web else "https"
    return urlunsplit((scheme, place, parts.path.removesuffix(".git"), "", ""))


def _commit(git: Path) -> str | None:
    """The commit that a checkout stands at."""
    head = (read_text(git / "HEAD") or "").strip()
    if not head.startswith("ref: "):
        return _hash(head)
    ref = head.removeprefix("ref: ")
    if ".." in ref or not ref.startswith("refs/"):
        return None
    for line in (read_text(git / "packed-refs") or "").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return _hash(read_text(git / ref) or commit)
    return _hash(read_text(git / ref) or "")


def _hash(text: str) -> str | None:
    text = text.strip()
    return text if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) else None


def _short(value: Any) -> str | None:
    """A text of one line and sensible length, or None."""
    text = value.strip() if isinstance(value, str) else ""
    return text if text and len(text) <= LENGTH_LIMIT and text.isprintable() else None


def read_text(path: Path) -> str | None:
    """The text of a small file; None where there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > TEXT_LIMIT:
            return None
        with path.open("rb") as file:
            return file.read(TEXT_LIMIT).decode("utf-8-sig", "replace")
    except (OSError, ValueError):
        return None
