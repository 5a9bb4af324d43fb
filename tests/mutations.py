"""Sound prompts, broken in every way that a verdict must see: one rule at a time, and several at once."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from comfyui_api.dynamic_inputs import DYNAMIC_COMBO, choices_of, expanded
from comfyui_api.node_class import InputSpec, NodeClasses
from tests.support import Prompt

Change = Callable[["Ground"], str | None]
"""Breaks the prompt that it is given, and says where; None where there is nothing of the kind to break."""

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.5, 64, 10**30, -(10**30), 1e308),
    *("", "abc", "64", " 7 ", "1e3", "nan", "inf", "no such option", "../x.png", "sub/x.png", "x.png [output]"),
    *("/etc/hostname", "x.png [temp]", "sub\\x.png"),
    *({}, {"a": 1}, {"__value__": 32}, {"__value__": "normal"}, {"__value__": ["1", 0]}, {"__value__": []}),
    *([], ["1"], [[], []], [None, 0], ["1", 0, 0], [["1", 0], 0]),
]


class Ground(NamedTuple):
    """What a change works on: the prompt, what the server has, and the dice."""

    prompt: Prompt
    classes: NodeClasses
    dice: random.Random

    def specs(self, node_id: str) -> list[InputSpec]:
        node = self.prompt[node_id]
        node_class = self.classes.get(node["class_type"])
        return list(expanded(node_class.inputs.values(), node["inputs"])) if node_class is not None else []

    def choose(self, fits: Callable[[str, InputSpec, Any], bool]) -> tuple[str, InputSpec] | None:
        """An input that is given and fits."""
        found = [
            (node_id, spec)
            for node_id, node in self.prompt.items()
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node
            for spec in self.specs(node_id)
            if spec.name in node["inputs"] and fits(node_id, spec, node["inputs"][spec.name])
        ]
        return self.dice.choice(found) if found else None

    def set(self, place: tuple[str, InputSpec] | None, value: Any) -> str | None:
        if place is None:
            return None
        node_id, spec = place
        self.prompt[node_id]["inputs"][spec.name] = value
        return f"{node_id}.{spec.name}={value!r}"[:120]

    def a_node(self) -> str:
        return self.dice.choice(list(self.prompt))


def is_link(_: str, __: InputSpec, value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def is_value(_: str, __: InputSpec, value: Any) -> bool:
    return not isinstance(value, list)


def drop(ground: Ground) -> str | None:
    place = ground.choose(lambda *_: True)
    if place is None:
        return None
    node_id, spec = place
    del ground.prompt[node_id]["inputs"][spec.name]
    return f"{node_id}.{spec.name}"


def drop_link(ground: Ground) -> str | None:
    place = ground.choose(is_link)
    if place is None:
        return None
    del ground.prompt[place[0]]["inputs"][place[1].name]
    return f"{place[0]}.{place[1].name}"


def too_small(ground: Ground) -> str | None:
    place = ground.choose(lambda _, spec, value: "min" in spec.config and not isinstance(value, list))
    return ground.set(place, place[1].config["min"] - 1 if place else None)


def too_big(ground: Ground) -> str | None:
    place = ground.choose(lambda _, spec, value: "max" in spec.config and not isinstance(value, list))
    return ground.set(place, place[1].config["max"] + 1 if place else None)


def off_step(ground: Ground) -> str | None:
    place = ground.choose(lambda _, spec, value: "step" in spec.config and isinstance(value, int | float))
    return ground.set(place, ground.prompt[place[0]]["inputs"][place[1].name] + 0.001 if place else None)


def no_option(ground: Ground) -> str | None:
    return ground.set(ground.choose(lambda _, spec, __: spec.is_combo), ground.dice.choice(VALUES))


def another_option(ground: Ground) -> str | None:
    place = ground.choose(lambda _, spec, __: bool(spec.options))
    return ground.set(place, ground.dice.choice(place[1].options or ()) if place else None)


def any_value(ground: Ground) -> str | None:
    return ground.set(ground.choose(is_value), ground.dice.choice(VALUES))


def value_for_link(ground: Ground) -> str | None:
    return ground.set(ground.choose(is_link), ground.dice.choice(VALUES))


def choice(ground: Ground) -> str | None:
    place = ground.choose(lambda _, spec, __: spec.type == DYNAMIC_COMBO)
    keys = [*choices_of(place[1]), "no such key"] if place else [""]
    return ground.set(place, ground.dice.choice([*keys, *VALUES[:6]]))


def retarget(ground: Ground) -> str | None:
    """To any output of any node: most do not fit, some make a circle."""
    source = ground.a_node()
    node_class = ground.classes.get(str(ground.prompt[source].get("class_type")))
    count = len(node_class.outputs) if node_class is not None else 0
    return ground.set(ground.choose(is_link), [source, ground.dice.randrange(count)]) if count else None


def link_for_value(ground: Ground) -> str | None:
    source = ground.a_node()
    node_class = ground.classes.get(str(ground.prompt[source].get("class_type")))
    count = len(node_class.outputs) if node_class is not None else 0
    return ground.set(ground.choose(is_value), [source, ground.dice.randrange(count)]) if count else None


def dangling(ground: Ground) -> str | None:
    bad = ground.dice.choice([["99999", 0], [99999, 0], [None, 0], ["", 0]])
    return ground.set(ground.choose(lambda *_: True), bad)


def bad_slot(ground: Ground) -> str | None:
    place = ground.choose(is_link)
    slot = ground.dice.choice([9, 99, "0", 0.0, None, -1, -9, True])
    return ground.set(place, [ground.prompt[place[0]]["inputs"][place[1].name][0], slot] if place else None)


def circle(ground: Ground) -> str | None:
    """A link from a node back to one that depends on it."""
    place = ground.choose(is_link)
    if place is None:
        return None
    source = ground.prompt[place[0]]["inputs"][place[1].name][0]
    if not isinstance(source, str) or source not in ground.prompt:
        return None
    back = ground.choose(lambda node_id, _, value: node_id == source and isinstance(value, list))
    return ground.set(back, [place[0], 0])


def unknown_class(ground: Ground) -> str | None:
    node_id = ground.a_node()
    ground.prompt[node_id]["class_type"] = ground.dice.choice(["NoSuchClass", "Ksampler", "", 3, None])
    return node_id


def no_class(ground: Ground) -> str | None:
    node_id = ground.a_node()
    ground.prompt[node_id].pop("class_type", None)
    return node_id


def gone(ground: Ground) -> str | None:
    node_id = ground.a_node()
    del ground.prompt[node_id]
    return node_id


def no_outputs(ground: Ground) -> str | None:
    outputs = [
        node_id
        for node_id, node in ground.prompt.items()
        if (node_class := ground.classes.get(str(node.get("class_type")))) is not None and node_class.is_output_node
    ]
    for node_id in outputs[ground.dice.randrange(2) :]:
        del ground.prompt[node_id]
    return f"{len(outputs)} outputs"


def unknown_input(ground: Ground) -> str | None:
    node_id = ground.a_node()
    inputs = ground.prompt[node_id].get("inputs")
    if not isinstance(inputs, dict):
        return None
    inputs["no such input"] = ground.dice.choice([*VALUES, [ground.a_node(), 0]])
    return node_id


CHANGES: dict[str, Change] = {
    change.__name__: change
    for change in (
        *(drop, drop_link, too_small, too_big, off_step, no_option, another_option, any_value, value_for_link),
        *(choice, retarget, link_for_value, dangling, bad_slot, circle, unknown_class, no_class, gone, no_outputs),
        unknown_input,
    )
}


def mutations(
    prompts: Mapping[str, Prompt], classes: NodeClasses, *, each: int = 1, seed: int = 0
) -> Iterator[tuple[str, Prompt]]:
    """Every prompt as it is, then `each` times with every change, then as often with two or three changes at once."""
    dice = random.Random(seed)
    names = list(CHANGES)
    for name, prompt in prompts.items():
        yield f"{name}|base", copy.deepcopy(prompt)
        for _ in range(each):
            plans = [*([one] for one in names), *(dice.sample(names, dice.choice((2, 3))) for _ in range(4))]
            for plan in plans:
                ground = Ground(copy.deepcopy(prompt), classes, dice)
                done = []
                for change in plan:
                    if not ground.prompt:
                        break
                    where = CHANGES[change](ground)
                    if where is not None:
                        done.append(f"{change}:{where}")
                if done:
                    yield f"{name}|{' + '.join(done)}", ground.prompt
