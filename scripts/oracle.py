"""Our conversion against the real web frontend's, on all official templates that can be run.

Starts a sandbox with the frontend, converts every workflow with both, and compares what the server takes notice of.
Two more rounds give the frontend other node classes than the server's: the handmade workflows of
tests/data/dynamic_inputs.json, and, where COMFYUI_API_ORACLE names a folder with the data of a recent server, all
templates that its classes suffice for.
Exits 1 if they differ anywhere but where tests/data/oracle_deviations.json says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.oracle import (
    ABSENT,
    RECENT,
    Deviations,
    Difference,
    Frontend,
    FrontendError,
    ObjectInfo,
    OracleUnavailable,
    Prompt,
    Workflow,
    check_programs,
    differences,
    dynamic_inputs,
    known_deviations,
    oracle_sandbox,
    read_object_info,
    recent_data,
    recent_templates,
    templates,
)

from comfyui_api.convert import convert_workflow
from comfyui_api.node_class import NodeClasses
from comfyui_api.settings import Settings
from comfyui_api.workspace import read_settings

TABS = 2
# Of {a|b} in a prompt, both sides take the first.
RANDOM = 0.0
SHOWN_DIFFERENCES = 6
SHOWN_LETTERS = 60


@dataclass
class Verdict:
    """How a workflow went: what differs without being listed, and what is listed without differing."""

    unlisted: list[Difference] = field(default_factory=list)
    listed: list[Difference] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, found: list[Difference], known: Deviations) -> Verdict:
        places = {(each.node, each.input) for each in found}
        return cls(
            unlisted=[each for each in found if (each.node, each.input) not in known],
            listed=[each for each in found if (each.node, each.input) in known],
            gone=sorted(known.keys() - places),
            reasons=list(dict.fromkeys(reason for place, reason in known.items() if place in places)),
        )

    @property
    def word(self) -> str:
        if self.unlisted:
            return "DIFFERS"
        return "known" if self.listed else "equal"

    def as_json(self) -> dict[str, Any]:
        parts = {"unlisted": self.unlisted, "listed": self.listed}
        shown = {name: [each._asdict() for each in found] for name, found in parts.items()}
        return {"verdict": self.word, **shown, "gone": self.gone, "reasons": self.reasons}


class Comparison:
    """Workflows, both ways, with the time that our way took. `left_out` are the sets that could not be compared."""

    def __init__(self) -> None:
        self._known = known_deviations()
        self.verdicts: dict[str, Verdict] = {}
        self.left_out: dict[str, str] = {}
        self.our_seconds = 0.0

    def run(self, frontend: Frontend, workflows: dict[str, Workflow], object_info: ObjectInfo) -> None:
        node_classes = NodeClasses.from_object_info(object_info)
        for name, theirs in frontend.convert_all(workflows, RANDOM):
            began = time.perf_counter()
            ours = convert(workflows[name], node_classes)
            self.our_seconds += time.perf_counter() - began
            verdict = Verdict.of(compare(ours, theirs, object_info), self._known.get(name, {}))
            self.verdicts[name] = verdict
            print_verdict(name, verdict)

    def unknown_names(self) -> list[str]:
        """Deviations listed for workflows that the sets compared do not have."""
        sets = {set_of(name) for name in self.verdicts}
        return sorted(name for name in self._known if set_of(name) in sets and name not in self.verdicts)


def set_of(name: str) -> str:
    return name.partition("/")[0]


def convert(workflow: Workflow, node_classes: NodeClasses) -> Prompt | Exception:
    try:
        return convert_workflow(workflow, node_classes).prompt
    except Exception as exc:  # noqa: BLE001  (a crash of ours is one more finding)
        return exc


def compare(ours: Prompt | Exception, theirs: Prompt | FrontendError, object_info: ObjectInfo) -> list[Difference]:
    if isinstance(ours, Exception) or isinstance(theirs, FrontendError):
        return [Difference("", "error", outcome(ours), outcome(theirs))]
    return differences(ours, theirs, object_info)


def outcome(result: Prompt | Exception) -> str:
    return repr(result)[:500] if isinstance(result, Exception) else "converted"


def print_verdict(name: str, verdict: Verdict) -> None:
    shown = [f"{each.node} {each.input}: {cut(each.ours)} ≠ {cut(each.theirs)}" for each in verdict.unlisted]
    if len(shown) > SHOWN_DIFFERENCES:
        shown[SHOWN_DIFFERENCES:] = [f"… {len(shown) - SHOWN_DIFFERENCES} more"]
    shown += [f"listed, but equal: {node} {each}" for node, each in verdict.gone]
    shown += verdict.reasons
    print(f"{verdict.word:8}{name}" + (f": {'; '.join(shown)}" if shown else ""), flush=True)


def cut(value: Any) -> str:
    text = repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"


def print_summary(comparison: Comparison, seconds: float) -> None:
    verdicts = comparison.verdicts
    for part in sorted({set_of(name) for name in verdicts}):
        words = [verdict.word for name, verdict in verdicts.items() if set_of(name) == part]
        print(
            f"oracle {part}: {words.count('equal')} of {len(words)} equal, {words.count('known')} deviate as listed, "
            f"{words.count('DIFFERS')} differ"
        )
    for part, reason in comparison.left_out.items():
        print(f"oracle {part}: left out. {reason}")
    print(f"oracle: {seconds:.1f} s, of which our conversion {comparison.our_seconds:.1f} s")


def rounds(
    settings: Settings, url: str, left_out: dict[str, str]
) -> Iterator[tuple[dict[str, Workflow], ObjectInfo, bool]]:
    """Workflows, the node classes to convert them with, and whether those stand in for the server's own."""
    own = read_object_info(url)
    yield templates(settings, own), own, False
    classes, cases = dynamic_inputs()
    yield {name: case["workflow"] for name, case in cases.items()}, classes, True
    try:
        recent = recent_data("object_info")
    except OracleUnavailable as exc:
        left_out[RECENT] = str(exc)
    else:
        yield recent_templates(recent), recent, True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only workflows with this in their set/name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there as well")
    arguments = parser.parse_args()
    settings = read_settings(os.environ)
    comparison = Comparison()
    seconds = 0.0
    try:
        check_programs()
        with oracle_sandbox(settings, print) as state:
            began = time.perf_counter()
            url = str(state.url)
            for every, object_info, stands_in in rounds(settings, url, comparison.left_out):
                workflows = {name: workflow for name, workflow in every.items() if arguments.only in name}
                if workflows:
                    with Frontend(url, object_info=object_info if stands_in else None, tabs=TABS) as frontend:
                        comparison.run(frontend, workflows, object_info)
            seconds = time.perf_counter() - began
    except OracleUnavailable as exc:
        sys.exit(str(exc))
    if not arguments.only:
        for name in comparison.unknown_names():
            print(f"listed, but there is no such workflow: {name}")
    print_summary(comparison, seconds)
    if arguments.json:
        content = {name: verdict.as_json() for name, verdict in sorted(comparison.verdicts.items())}
        arguments.json.write_text(json.dumps(content, indent=1, default=repr) + "\n", encoding="utf-8")
    sys.exit(any(verdict.unlisted for verdict in comparison.verdicts.values()))


if __name__ == "__main__":
    main()
