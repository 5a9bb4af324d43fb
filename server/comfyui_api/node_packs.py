"""Which pack of custom nodes has a node class: by the data of references/node_packs.json and by the workflow itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

CORE = "https://github.com/comfyanonymous/ComfyUI"
# What a workflow's nodes have as cnr_id where they are ComfyUI's own (ComfyUI_frontend, node properties).
CORE_ID = "comfy-core"

_CORE_HOMES = frozenset({"comfyanonymous/comfyui", "comfy-org/comfyui"})
_UPDATE_CORE = "comfy update comfy"
_REGISTRY = "https://registry.comfy.org/nodes/"
_GITHUB = "https://github.com/"
# Only names and links of these forms are put into a command: no shell reads anything in them as more than letters,
# and none can begin like an option.
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_OWNER_AND_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})/[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}")
_GIT_LINK = re.compile(
    r"https://(?:github\.com|gitlab\.com|gitee\.com|codeberg\.org|huggingface\.co|git\.[a-z0-9-]{1,60}\.[a-z]{2,10})"
    r"/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}"
)
_SHOWN_LETTERS = 200
# Longer names are not matched: some patterns take the square of the length.
_LONGEST_NAME = 500


@dataclass(frozen=True)
class NodePack:
    """A pack of custom nodes, or ComfyUI itself (`is_core`: what has to be done is to update it).

    `repository` is where it lives, as it is said by whoever named it; a page of the registry where only the registry
    id is known. `registry_id` is its name in the Comfy registry, where that is certain. `install` is the command that
    installs it (or updates ComfyUI), to be run by a person who approves of it; None where no name or link of a safe
    form is known. `formerly`: only an older version of it had the class, so installing it may not help.
    """

    repository: str
    title: str
    registry_id: str | None = None
    is_core: bool = False
    install: str | None = None
    formerly: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """A pack as the data has it. `fame` is how well known it is for each of its classes, `listed_as` the Manager's
    name for it."""

    repository: str
    title: str
    registry_id: str | None = None
    is_core: bool = False
    is_git: bool = True
    fame: float = 0.0
    listed_as: str | None = None


class NodePacks:
    """Packs with the classes that they have. `problems` says what was passed over when they were read."""

    def __init__(self, entries: list[tuple[_Entry, dict[str, Any]]], problems: list[str]) -> None:
        self.problems = tuple(problems)
        self._entries = [entry for entry, _ in entries]
        self._having: dict[str, list[int]] = {}
        self._preempting: dict[str, int] = {}
        self._formerly: dict[str, list[int]] = {}
        self._patterns: list[tuple[str, int]] = []
        self._by_repository: dict[str, _Entry] = {}
        self._by_registry_id: dict[str, _Entry] = {}
        for index, (entry, told) in enumerate(entries):
            for name in told["classes"]:
                if name in self._having:
                    self._having[name].append(index)
                else:
                    self._having[name] = [index]
            for name in _texts(told.get("preempts")):
                self._preempting.setdefault(name, index)
            for name in _texts(told.get("formerly")):
                self._formerly.setdefault(name, []).append(index)
            self._patterns += [(pattern, index) for pattern in _texts(told.get("patterns"))]
            self._by_repository.setdefault(_same_repository(entry.repository), entry)
            if entry.registry_id is not None:
                self._by_registry_id.setdefault(entry.registry_id.casefold(), entry)

    def __len__(self) -> int:
        return len(self._entries)

    def class_names(self) -> Iterable[str]:
        """The names of all classes that packs have."""
        return self._having.keys()

    @classmethod
    def none(cls) -> NodePacks:
        """No packs: then only what a workflow says itself is known."""
        return cls([], [])

    @classmethod
    def parse(cls, text: str) -> NodePacks:
        """The packs of a text in the form of references/node_packs.json. Nothing is raised.

        {"packs": [pack, …]}, a pack being {repository, title?, classes?, formerly?, registry?, id?, stars?, patterns?,
        preempts?, core?, file?}: `formerly` are classes that older versions had; `registry` is a name in the Comfy
        registry, `id` only the Manager's name for it; `patterns` are regular expressions for classes that have no fixed
        names; `preempts` are classes that are its own whoever else claims them; `file` stands where there is no git
        repository to clone, but a file to copy.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as exc:
            return cls([], [f"The data of the node packs is no JSON: {exc}."])
        packs = content.get("packs") if isinstance(content, dict) else None
        if not isinstance(packs, list):
            return cls([], ["The data of the node packs has no list “packs”."])
        entries: list[tuple[_Entry, dict[str, Any]]] = []
        broken = 0
        for pack in packs:
            entry = _entry(pack)
            if entry is None:
                broken += 1
            else:
                entries.append((entry, pack))
        return cls(entries, [f"{broken} of the {len(packs)} node packs could not be read."] if broken else [])

    def that_have(self, class_type: str, *, cnr_id: Any = None, aux_id: Any = None) -> list[NodePack]:
        """All packs that have a node class, the one that is most likely meant first; empty where none is known.

        `cnr_id` and `aux_id` are what the workflow says of the node (properties.cnr_id, a name in the registry, and
        properties.aux_id, "owner/repository" on GitHub): the pack that they name comes first, also when the data does
        not know it. Without them ComfyUI itself comes first, then the pack whose class it is by agreement, then the
        others by how well they are known; then packs that have a pattern for such names, then those of which only an
        older version had it. What has no safe form is listed at the end, as it was said and without a command.
        """
        claiming = self._claiming(class_type)
        former = [entry for entry in self._ranked(self._formerly.get(class_type, ())) if entry not in claiming]
        named, doubtful = self._named(claiming + former, cnr_id, aux_id)
        gone = {_same_repository(entry.repository) for entry in former}
        distinct: dict[str, NodePack] = {}
        for pack in [*named, *map(_pack, claiming + former), *doubtful]:
            repository = _same_repository(pack.repository)
            distinct.setdefault(repository, replace(pack, formerly=repository in gone))
        return list(distinct.values())

    def _claiming(self, class_type: str) -> list[_Entry]:
        own = self._preempting.get(class_type)
        having = set(self._having.get(class_type, ())) | ({own} if own is not None else set())
        matching = {index for pattern, index in self._patterns if _matches(pattern, class_type)} - having
        return self._ranked(having, own) + self._ranked(matching)

    def _ranked(self, indexes: Iterable[int], own: int | None = None) -> list[_Entry]:
        def rank(index: int) -> tuple[bool, bool, float, int]:
            entry = self._entries[index]
            return not entry.is_core, index != own, -entry.fame, index

        return [self._entries[index] for index in sorted(indexes, key=rank)]

    def _named(self, claiming: list[_Entry], cnr_id: Any, aux_id: Any) -> tuple[list[NodePack], list[NodePack]]:
        """The packs that a workflow names, and what it names that is no pack.

        A command and the repository that is shown with it have to be of one pack: who approves of the one approves of
        the other. So where nothing tells that both names are one pack's, each stands for itself.
        """
        said, hosted = (value.strip() if isinstance(value, str) else "" for value in (cnr_id, aux_id))
        hosted = hosted.removeprefix(_GITHUB).removesuffix(".git")
        doubtful = []
        if said == CORE_ID or hosted.casefold() in _CORE_HOMES:
            return [_CORE_PACK], []
        if hosted and not _is_owner_and_name(hosted):
            doubtful.append(NodePack(_shown(hosted), _shown(hosted)))
            hosted = ""
        if said and not _ID.fullmatch(said):
            doubtful.append(NodePack(_shown(said), _shown(said)))
            said = ""
        entry = self._hosted(hosted) if hosted else None
        if entry is not None and said and _may_be_called(entry, said):
            return [_registered(entry, said)], doubtful
        named = [_registered(self._called(said, claiming), said)] if said else []
        return named + ([_pack(entry)] if entry is not None else []), doubtful

    def _hosted(self, owner_and_name: str) -> _Entry:
        """The pack of a repository on GitHub, known or not."""
        repository = _GITHUB + owner_and_name
        return self._by_repository.get(_same_repository(repository)) or _Entry(repository, _name_in(repository))

    def _called(self, registry_id: str, claiming: list[_Entry]) -> _Entry | None:
        """The pack of that name in the registry, as far as it is known."""
        known = self._by_registry_id.get(registry_id.casefold())
        # A name in the Manager's list is often none in the registry, so it only counts where the class fits.
        return known or next((each for each in claiming if _may_be_called(each, registry_id)), None)


_CORE_PACK = NodePack(CORE, "ComfyUI", is_core=True, install=_UPDATE_CORE)


def _entry(pack: Any) -> _Entry | None:
    """A pack of the data; None where it is no pack."""
    if not isinstance(pack, dict):
        return None
    repository, title, classes = pack.get("repository"), pack.get("title"), pack.get("classes", [])
    if not isinstance(repository, str) or not isinstance(classes, list):
        return None
    if not all(isinstance(name, str) for name in classes):
        return None
    pack["classes"] = classes
    registry_id, listed_as, stars = pack.get("registry"), pack.get("id"), pack.get("stars")
    return _Entry(
        repository=repository,
        title=title if isinstance(title, str) and title else _name_in(repository),
        registry_id=registry_id if isinstance(registry_id, str) and _ID.fullmatch(registry_id) else None,
        is_core=pack.get("core") is True,
        is_git="file" not in pack,
        # A collection's stars are shared by its classes; a small pack is known for the few that it has. The power is
        # between none (collections win over the packs they copied from) and 1 (a split-off wins over its collection).
        fame=stars / max(1, len(classes)) ** 0.75 if isinstance(stars, int) and stars < 10**9 else 0.0,
        listed_as=listed_as if isinstance(listed_as, str) else None,
    )


def _pack(entry: _Entry) -> NodePack:
    if entry.is_core:
        return _CORE_PACK
    install = _install(entry.repository, entry.registry_id) if entry.is_git else None
    return NodePack(entry.repository, entry.title, entry.registry_id, install=install)


def _registered(entry: _Entry | None, registry_id: str) -> NodePack:
    """A pack of that name in the registry, which has a page for each."""
    repository, title = (entry.repository, entry.title) if entry is not None else (_REGISTRY + registry_id, registry_id)
    return NodePack(repository, title, registry_id, install=f"comfy node install {registry_id}")


def _may_be_called(entry: _Entry, registry_id: str) -> bool:
    """Whether a pack may have that name in the registry: it has, or no other is known and it is called so elsewhere."""
    if entry.registry_id is not None:
        return entry.registry_id.casefold() == registry_id.casefold()
    return registry_id.casefold() in (_name_in(entry.repository).casefold(), (entry.listed_as or "").casefold())


def _install(repository: str, registry_id: str | None) -> str | None:
    if registry_id is not None:
        return f"comfy node install {registry_id}"
    return f"cm-cli install {repository}" if _is_git_link(repository) else None


def _is_git_link(link: str) -> bool:
    return bool(_GIT_LINK.fullmatch(link)) and link.rpartition("/")[2].strip(".") != ""


def _is_owner_and_name(text: str) -> bool:
    return bool(_OWNER_AND_NAME.fullmatch(text)) and text.partition("/")[2].strip(".") != ""


def _name_in(repository: str) -> str:
    return repository.rstrip("/").rpartition("/")[2].removesuffix(".git")


def _same_repository(repository: str) -> str:
    """One spelling for the links to one repository: hosts and their names do not tell cases apart."""
    return repository.casefold().rstrip("/").removesuffix(".git").replace("http://", "https://")


def _matches(pattern: str, class_type: str) -> bool:
    try:
        return len(class_type) <= _LONGEST_NAME and re.search(pattern, class_type) is not None
    except (re.error, RecursionError, OverflowError):
        return False


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, str))


def _shown(text: str) -> str:
    """What a workflow said, fit to be shown: one line of bounded length."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN_LETTERS + 1])
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"
