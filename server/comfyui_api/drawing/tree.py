"""The nodes of a prompt as a tree: below each output what it is made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from comfyui_api.graph import Prompt, links_of, sources, upstream

DEEPEST = 12  # steps; what is deeper begins a tree of its own, as no terminal is so wide


class Branch(NamedTuple):
    """One line of the tree. `inputs` are those of the node above that take from this one; none for a root.

    `first`: what it is made from follows; `again`: it stands further up already; `below`: it has a tree of its own
    further down; `lost`: a link to a node that does not exist. `idle`: no output needs it, so that it never runs.
    """

    depth: int
    node_id: str
    inputs: tuple[str, ...]
    kind: Literal["first", "again", "below", "lost"]
    idle: bool = False


def tree(prompt: Prompt, outputs: Iterable[str]) -> list[Branch]:
    """All nodes of a prompt, each once as `first`: the outputs with what they are made from, then what never runs.

    Without outputs, as where no node classes are known, the nodes that nothing takes from are the roots.
    """
    taken = {source for node in prompt.values() for source in sources(node)}
    ends = [node_id for node_id in prompt if node_id not in taken]
    roots = [node_id for node_id in outputs if node_id in prompt] or ends
    running = upstream(prompt, roots)
    branches: list[Branch] = []
    seen: set[str] = set()
    for root in roots:
        _grow(prompt, root, branches, seen, idle=False)
    # What is not reached has ends of its own, or goes round in circles.
    for root in (*ends, *prompt):
        if root not in running and root not in seen:
            _grow(prompt, root, branches, seen, idle=True)
    return branches


def _grow(prompt: Prompt, root: str, branches: list[Branch], seen: set[str], *, idle: bool) -> None:
    """Add the tree of one root, and after it those of what lies too deep in it."""
    roots = [root]
    for start in roots:
        if start in seen:
            continue
        waiting = [Branch(0, start, (), "first", idle)]
        while waiting:
            branch = waiting.pop()
            if branch.node_id not in prompt:
                branches.append(branch._replace(kind="lost"))
            elif branch.node_id in seen:
                branches.append(branch._replace(kind="again"))
            elif branch.depth > DEEPEST and _made_from(prompt, branch.node_id):
                branches.append(branch._replace(kind="below"))
                roots.append(branch.node_id)
            else:
                seen.add(branch.node_id)
                branches.append(branch)
                made_from = _made_from(prompt, branch.node_id)
                waiting += [
                    Branch(branch.depth + 1, source, inputs, "first", idle)
                    for source, inputs in reversed(made_from.items())
                ]


def _made_from(prompt: Prompt, node_id: str) -> dict[str, tuple[str, ...]]:
    """The nodes that a node takes from, in the order of its inputs, with the inputs that do."""
    found: dict[str, tuple[str, ...]] = {}
    for name, link in links_of(prompt[node_id]):
        if len(link) == 2 and isinstance(link[0], str):
            found[link[0]] = (*found.get(link[0], ()), name)
    return found
