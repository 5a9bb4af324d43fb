"""What is known of a failed run besides the error: its prompt as a graph, and the devices' memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comfyui_api.diagnose.traceback import Frame, pack_of, read_frames
from comfyui_api.import_failures.raised import clean
from comfyui_api.runs import Device, ExecutionError, Progress

NODES_WALKED = 5000


@dataclass(frozen=True)
class AskedAfter:
    """What the server was asked after a failure: the memory of its `devices`, where that matters, and the
    `python_module` of the failed node's class, as /object_info tells it; None where it is not known."""

    devices: tuple[Device, ...] = ()
    python_module: str | None = None


@dataclass(frozen=True)
class FailedRun:
    """An execution error with the prompt it happened in.

    `cached` are the nodes that need not run, `progress` is what was last heard of the run.
    """

    error: ExecutionError
    prompt: Mapping[str, Any]
    cached: frozenset[str] = frozenset()
    progress: Progress | None = None
    asked: AskedAfter = AskedAfter()

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        return read_frames(self.error.traceback)

    @cached_property
    def pack(self) -> str | None:
        """The node's pack, by its class, else by the traceback: "rgthree-comfy", "comfy_extras.nodes_audio"; None for
        a core node."""
        if module := self.asked.python_module:
            return None if module == "nodes" else clean(module.removeprefix("custom_nodes."), 255)
        packs = [pack for frame in self.frames if (pack := pack_of(frame))]
        return packs[0] if packs else None

    @cached_property
    def failing_pack(self) -> str | None:
        """The pack whose code the failure is in, which may have put itself into another node's work; None for
        ComfyUI's own code."""
        own = [frame for frame in self.frames if not frame.is_library]
        return pack_of(own[-1]) if own else self.pack

    @cached_property
    def given(self) -> Mapping[str, tuple[Any, ...]]:
        """The values that the failed node got for the inputs that it has in the prompt. ComfyUI adds its hidden ones:
        the whole prompt, the workflow, the user's tokens (execution.py, get_input_data)."""
        own = self.inputs(self.error.node_id)
        if not own:
            return self.error.inputs
        # Dynamic inputs are "mode" and "mode.text" in the prompt, and may come as one.
        names = {*own, *(str(name).partition(".")[0] for name in own)}
        return {name: values for name, values in self.error.inputs.items() if name in names}

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """A node's inputs as they stand in the prompt; none where it is no node."""
        node = self.prompt.get(node_id)
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        return inputs if isinstance(inputs, Mapping) else {}

    def class_type(self, node_id: str) -> str:
        node = self.prompt.get(node_id)
        return str(node.get("class_type", "")) if isinstance(node, Mapping) else ""

    def upstream(self) -> Iterator[tuple[str, str]]:
        """The failed node and all it depends on, as (id, the failed node's input it comes in by); nearest first."""
        waiting: list[tuple[str, str]] = [(self.error.node_id, "")]
        seen: set[str] = set()
        while waiting and len(seen) < NODES_WALKED:
            following: list[tuple[str, str]] = []
            for node_id, through in waiting:
                if node_id in seen or node_id not in self.prompt:
                    continue
                seen.add(node_id)
                yield node_id, through
                for name, value in self.inputs(node_id).items():
                    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
                        following.append((value[0], through or str(name)))
            waiting = following
