"""Our conversion against the real web frontend's, on all official templates that the sandbox can run.

Starts a sandbox with the frontend, converts every template with both, and compares what the server takes notice of.
Exits 1 if they differ anywhere but where tests/data/oracle_deviations.json says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.oracle import (
    ABSENT,
    Deviation,
    Difference,
    Frontend,
    FrontendError,
    ObjectInfo,
    OracleUnavailable,
    Prompt,
    Workflow,
    check_programs,
    differences,
    known_deviations,
    oracle_sandbox,
    read_object_info,
    templates,
)

from comfyui_api.convert import convert_workflow
from comfyui_api.node_class import NodeClasses
from comfyui_api.workspace import read_settings

TABS = 2
# Of {a|b} in a prompt, both sides take the first.
RANDOM = 0.0
SHOWN_DIFFERENCES = 6
SHOWN_LETTERS = 60


@dataclass
class Verdict:
    """How a template went: what differs without being listed, and what is listed without differing."""

    unlisted: list[Difference] = field(default_factory=list)
    listed: list[Difference] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    reason: str = ""

    @classmethod
    def of(cls, found: list[Difference], known: Deviation | None) -> Verdict:
        allowed = known.differences if known else frozenset()
        places = {(each.node, each.input) for each in found}
        return cls(
            unlisted=[each for each in found if (each.node, each.input) not in allowed],
            listed=[each for each in found if (each.node, each.input) in allowed],
            gone=sorted(allowed - places),
            reason=known.reason if known else "",
        )

    @property
    def word(self) -> str:
        if self.unlisted:
            return "DIFFERS"
        return "known" if self.listed else "equal"

    def as_json(self) -> dict[str, Any]:
        parts = {"unlisted": self.unlisted, "listed": self.listed}
        shown = {name: [each._asdict() for each in found] for name, found in parts.items()}
        return {"verdict": self.word, **shown, "gone": self.gone, "reason": self.reason}


class Comparison:
    """All templates, both ways, with the time that each way took."""

    def __init__(self, object_info: ObjectInfo) -> None:
        self._object_info = object_info
        self._node_classes = NodeClasses.from_object_info(object_info)
        self._known = known_deviations()
        self.verdicts: dict[str, Verdict] = {}
        self.our_seconds = 0.0

    def run(self, frontend: Frontend, workflows: dict[str, Workflow]) -> None:
        for name, theirs in frontend.convert_all(workflows, RANDOM):
            began = time.perf_counter()
            ours = self._convert(workflows[name])
            self.our_seconds += time.perf_counter() - began
            verdict = Verdict.of(self._compare(ours, theirs), self._known.get(name))
            self.verdicts[name] = verdict
            print_verdict(name, verdict)

    def _convert(self, workflow: Workflow) -> Prompt | Exception:
        try:
            return convert_workflow(workflow, self._node_classes).prompt
        except Exception as exc:  # noqa: BLE001  (a crash of ours is one more finding)
            return exc

    def _compare(self, ours: Prompt | Exception, theirs: Prompt | FrontendError) -> list[Difference]:
        if isinstance(ours, Exception) or isinstance(theirs, FrontendError):
            return [Difference("", "error", outcome(ours), outcome(theirs))]
        return differences(ours, theirs, self._object_info)

    def unknown_names(self, workflows: dict[str, Workflow]) -> list[str]:
        """Deviations listed for templates that there are not."""
        return sorted(set(self._known) - set(workflows))


def outcome(result: Prompt | Exception) -> str:
    return repr(result)[:500] if isinstance(result, Exception) else "converted"


def print_verdict(name: str, verdict: Verdict) -> None:
    shown = [f"{each.node} {each.input}: {cut(each.ours)} ≠ {cut(each.theirs)}" for each in verdict.unlisted]
    if len(shown) > SHOWN_DIFFERENCES:
        shown[SHOWN_DIFFERENCES:] = [f"… {len(shown) - SHOWN_DIFFERENCES} more"]
    shown += [f"listed, but equal: {node} {each}" for node, each in verdict.gone]
    if verdict.listed:
        shown.append(verdict.reason)
    print(f"{verdict.word:8}{name}" + (f": {'; '.join(shown)}" if shown else ""), flush=True)


def cut(value: Any) -> str:
    text = repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"


def print_summary(comparison: Comparison, seconds: float) -> None:
    verdicts = comparison.verdicts
    for part in sorted({name.partition("/")[0] for name in verdicts}):
        words = [verdict.word for name, verdict in verdicts.items() if name.startswith(f"{part}/")]
        print(
            f"oracle {part}: {words.count('equal')} of {len(words)} equal, {words.count('known')} deviate as listed, "
            f"{words.count('DIFFERS')} differ"
        )
    print(f"oracle: {seconds:.1f} s, of which our conversion {comparison.our_seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only templates with this in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there as well")
    arguments = parser.parse_args()
    settings = read_settings(os.environ)
    try:
        check_programs()
        with oracle_sandbox(settings, print) as state:
            object_info = read_object_info(str(state.url))
            every = templates(settings, object_info)
            workflows = {name: workflow for name, workflow in every.items() if arguments.only in name}
            comparison = Comparison(object_info)
            began = time.perf_counter()
            with Frontend(str(state.url), tabs=TABS) as frontend:
                comparison.run(frontend, workflows)
            seconds = time.perf_counter() - began
    except OracleUnavailable as exc:
        sys.exit(str(exc))
    for name in comparison.unknown_names(every):
        print(f"listed, but there is no such template: {name}")
    print_summary(comparison, seconds)
    if arguments.json:
        content = {name: verdict.as_json() for name, verdict in sorted(comparison.verdicts.items())}
        arguments.json.write_text(json.dumps(content, indent=1, default=repr) + "\n", encoding="utf-8")
    sys.exit(any(verdict.unlisted for verdict in comparison.verdicts.values()))


if __name__ == "__main__":
    main()
