"""Nodes that wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

from comfyui_api.graph import Prompt, links_of, sources


def cycles(prompt: Prompt, starts: list[str]) -> list[list[str]]:
    """The groups of nodes that wait for each other, of those that `starts` depend on, in the order of the prompt.

    They are the graph's strongly connected components (Tarjan's walk, without recursion) that have a circle.
    """
    found = []
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    is_open: set[str] = set()
    for start in starts:
        walk: list[tuple[str, Iterator[str]]] = []
        entering: str | None = start if start not in number else None
        while entering is not None or walk:
            if entering is not None:
                number[entering] = low[entering] = len(number)
                open_nodes.append(entering)
                is_open.add(entering)
                walk.append((entering, (source for source in sources(prompt[entering]) if source in prompt)))
                entering = None
            node_id, waiting_for = walk[-1]
            for source in waiting_for:
                if source not in number:
                    entering = source
                    break
                if source in is_open:
                    low[node_id] = min(low[node_id], number[source])
            if entering is not None:
                continue
            walk.pop()
            if walk:
                below = walk[-1][0]
                low[below] = min(low[below], low[node_id])
            if low[node_id] == number[node_id]:
                group: list[str] = []
                while not group or group[-1] != node_id:
                    group.append(open_nodes.pop())
                is_open.difference_update(group)
                if len(group) > 1 or node_id in sources(prompt[node_id]):
                    found.append(group)
    place = {node_id: index for index, node_id in enumerate(prompt)}
    return sorted((sorted(group, key=place.__getitem__) for group in found), key=lambda group: place[group[0]])


def waiting_input(prompt: Prompt, node_id: str, group: list[str]) -> str | None:
    """The input by which a node waits for one of its group."""
    return next((name for name, link in links_of(prompt[node_id]) if len(link) == 2 and link[0] in group), None)
