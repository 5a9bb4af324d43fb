"""Prompts that a person picks in the agent's menu: words to the agent, filled in with what the person names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from comfyui_api.errors import InvalidArgument


@dataclass(frozen=True)
class PromptArgument:
    name: str
    about: str
    required: bool


@dataclass(frozen=True)
class AgentPrompt:
    """`text` makes the words from the arguments; those that were left out are empty."""

    name: str
    title: str
    about: str
    arguments: tuple[PromptArgument, ...]
    text: Callable[[dict[str, str]], str]

    def filled(self, given: dict[str, str]) -> str:
        """The words for these arguments. Raises InvalidArgument for a missing or an unknown one."""
        names = [argument.name for argument in self.arguments]
        missing = [each.name for each in self.arguments if each.required and not given.get(each.name, "").strip()]
        unknown = [name for name in given if name not in names]
        if missing or unknown:
            trouble = f"needs '{missing[0]}'" if missing else f"has no argument '{unknown[0][:100]}'"
            raise InvalidArgument(f"The prompt {self.name} {trouble}.", f"It takes: {', '.join(names)}.")
        return self.text({name: given.get(name, "").strip() for name in names})


def _run(given: dict[str, str]) -> str:
    changes = f"\nChange this, and nothing else: {given['changes']}" if given["changes"] else ""
    return (
        f"Run this ComfyUI workflow for me: {given['workflow']}{changes}\n"
        "First call validate_workflow on it. Where something is missing or wrong, show me each finding with its fix, "
        "and the commands and links of `repair`, and let me decide: install and download nothing, and replace no "
        "model, seed or size of mine. Otherwise call queue_workflow, then poll_result until the state is final, then "
        "get_output, and tell me where the files are."
    )


def _why(given: dict[str, str]) -> str:
    run = f"the run {given['prompt_id']}" if given["prompt_id"] else "my last run that failed (list_jobs finds it)"
    return (
        f"Find out why {run} failed on ComfyUI. Call poll_result on it with wait_seconds=0 and read `error`: the node, "
        "what it was doing, cause and remedy. Where that is not enough, read the section of "
        "references/troubleshooting.md (comfyui://references/troubleshooting.md) that the remedy names, and "
        "check_status for free memory. Say what you saw, what you conclude from it and what you propose, in this "
        "order. Do not run it again before I agree."
    )


PROMPTS = {
    prompt.name: prompt
    for prompt in (
        AgentPrompt(
            "run_workflow_file",
            "Run a workflow",
            "Validate a workflow file, run it and bring the results home",
            (
                PromptArgument("workflow", "Path of a JSON file, picture or video, or server:NAME", required=True),
                PromptArgument("changes", "What to change in it, in your words", required=False),
            ),
            _run,
        ),
        AgentPrompt(
            "why_did_it_fail",
            "Why did a run fail?",
            "Find out why a run failed, and what would help",
            (PromptArgument("prompt_id", "The run; the last failed one otherwise", required=False),),
            _why,
        ),
    )
}
