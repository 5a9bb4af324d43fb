"""Which texts say what is wanted and which what is not: told by the inputs that they lead to.

From every sampler and guider the conditioning is followed back to the texts. Nodes that change a pair of both
(ControlNetApplyAdvanced, WanImageToVideo) give each one on in its own slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from comfyui_api.main_inputs.kinds import NEGATIVE
from comfyui_api.main_inputs.wiring import Wiring

_CARRIED = ("CONDITIONING", "STRING", "WAN_TEXT_EMBEDS", "WANVIDEOTEXTEMBEDS", "HYVIDEMBEDS")
_POSITIVE = re.compile(r"(^|_)(pos|positive|cond\d*|conditioning(_.*)?)($|_|\d)", re.IGNORECASE)
_ERASES = ("ConditioningZeroOut",)  # of the text nothing is left


class Polarity:
    """For each node, whether its texts reach samplers as what is wanted, as what is not, or both."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.wanted: set[str] = set()
        self.unwanted: set[str] = set()
        for node_id in wiring.nodes:
            if self._is_end(node_id):
                for name, source, slot in wiring.links(node_id):
                    # Guiders of pictures that are edited take what is not wanted as `cond2` too.
                    if name != "cond2" and self._carries(node_id, name):
                        negative = NEGATIVE.search(name) is not None
                        self._follow(source, slot, self.unwanted if negative else self.wanted, negative=negative)

    def _is_end(self, node_id: str) -> bool:
        """Whether a node uses conditioning and gives none on."""
        node_class = self._wiring.node_class(node_id)
        if node_class is not None:
            return not any(made in _CARRIED for made in node_class.outputs)
        takers = self._wiring.takers.get(node_id, [])
        return not any(NEGATIVE.search(taker.input) or _POSITIVE.search(taker.input) for taker in takers)

    def _carries(self, node_id: str, name: str) -> bool:
        """Whether conditioning comes in at a linked input."""
        kind = self._wiring.linked_type(node_id, name)
        if kind is not None:
            return kind in _CARRIED[:1] or kind in _CARRIED[2:]
        return bool(NEGATIVE.search(name) or _POSITIVE.search(name))

    def _follow(self, start: str, slot: int, found: set[str], *, negative: bool) -> None:
        seen: set[tuple[str, int]] = set()
        waiting = [(start, slot)]
        while waiting:
            place = waiting.pop()
            node_id = place[0]
            if place in seen or self._wiring.class_type(node_id) in _ERASES:
                continue
            seen.add(place)
            found.add(node_id)
            waiting += self._before(*place, negative=negative)

    def _before(self, node_id: str, slot: int, *, negative: bool) -> Iterator[tuple[str, int]]:
        """What a node's output at this slot is made of, as far as texts go."""
        wiring = self._wiring
        links = [
            (name, source, at)
            for name, source, at in wiring.links(node_id)
            if (kind := wiring.linked_type(node_id, name)) in _CARRIED or (kind is None and self._may_carry(name))
        ]
        unwanted = {name for name, _, _ in links if NEGATIVE.search(name)}
        wanted = {name for name, _, _ in links if _POSITIVE.search(name)} - unwanted
        for name, source, at in links:
            if unwanted and wanted and name in unwanted | wanted:
                if (name in unwanted) == self._gives_unwanted(node_id, slot, negative=negative):
                    yield source, at
            else:
                yield source, at

    def _gives_unwanted(self, node_id: str, slot: int, *, negative: bool) -> bool:
        """Whether a node that takes a pair gives the unwanted half at this slot."""
        node_class = self._wiring.node_class(node_id)
        if node_class is None:
            return slot == 1
        name = node_class.output_names[slot] if 0 <= slot < len(node_class.output_names) else ""
        if NEGATIVE.search(name):
            return True
        return False if _POSITIVE.search(name) else negative

    @staticmethod
    def _may_carry(name: str) -> bool:
        """Whether an input of an unknown type may bring a text or a conditioning."""
        last = name.rpartition(".")[2].casefold()
        return bool(NEGATIVE.search(last) or _POSITIVE.search(last)) or any(
            word in last for word in ("text", "prompt", "string", "cond", "t5xxl", "clip_l", "value", "on_", "input")
        )
