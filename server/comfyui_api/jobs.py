"""state/jobs.json: which server each of our runs went to, so that a prompt_id alone is enough, also tomorrow."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from comfyui_api.errors import FileProblem
from comfyui_api.storage import read_state, set_aside, write_atomic

KEPT = 1000
LOCK_SECONDS = 5


@dataclass(frozen=True)
class Job:
    """One run that we queued or stopped. `queued_at` is in seconds since 1970, by this machine's clock.

    `stopped`: taken out of the queue before it began, which leaves no trace on the server. `number` is the server's
    count of its prompts, which begins anew when it restarts. `doubled`: it arrived twice, and the second was taken out.
    `unsure`: it was sent, and whether it arrived could not be told. `server` is an address without credentials,
    `server_name` its name in servers.toml, by which they are found again.
    """

    prompt_id: str
    server: str
    queued_at: float
    project: str | None = None
    name: str | None = None
    stopped: bool = False
    number: float | None = None
    doubled: bool = False
    unsure: bool = False
    server_name: str | None = None


class Jobs:
    """The runs of this and earlier processes, the newest KEPT of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine: dict[str, Job] = {}

    def find(self, prompt_id: str) -> Job | None:
        if prompt_id in self._mine:
            return self._mine[prompt_id]
        return _job(prompt_id, self._load().get(prompt_id))

    def all(self) -> dict[str, Job]:
        """All runs that are remembered, the newest last."""
        kept = {prompt_id: _job(prompt_id, entry) for prompt_id, entry in self._load().items()}
        return {prompt_id: job for prompt_id, job in kept.items() if job is not None} | self._mine

    def expect(self, job: Job) -> None:
        """Remember a run in this process, before it is known whether it was queued."""
        self._mine[job.prompt_id] = job
        for oldest in list(self._mine)[:-KEPT]:
            del self._mine[oldest]

    def forget(self, prompt_id: str) -> None:
        """The run that was expected is known by another id, or is none."""
        self._mine.pop(prompt_id, None)

    async def add(self, *jobs: Job) -> str | None:
        """Remember runs for later processes too. Others may add theirs at the same time.

        Returns what went wrong, if it could not be written: the run itself is not to fail of that.
        """
        for job in jobs:
            self.expect(job)
        try:
            await anyio.to_thread.run_sync(self._write, jobs)
        except (OSError, FileProblem) as exc:
            return f"{self._path} could not be written ({str(exc).rstrip('.')})"
        return None

    def _write(self, jobs: tuple[Job, ...]) -> None:
        from filelock import FileLock  # noqa: PLC0415  # first needed when a run is queued

        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self._path) + ".lock", timeout=LOCK_SECONDS):
            entries = self._load()
            if not entries and self._path.exists():
                # Unreadable for the moment, as while a scanner holds it: it must not be taken for empty.
                raise OSError(f"{self._path.name} cannot be read")
            for job in jobs:
                entry = asdict(job)
                del entry["prompt_id"]
                entries[job.prompt_id] = {
                    key: value for key, value in entry.items() if value is not None and value is not False
                }
            write_atomic(self._path, json.dumps(dict(list(entries.items())[-KEPT:])))

    def _load(self) -> dict[str, Any]:
        content, _ = read_state(self._path)
        if content is not None and not isinstance(content, dict):
            set_aside(self._path, "no list of runs")
        return content if isinstance(content, dict) else {}


def _job(prompt_id: str, entry: Any) -> Job | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("server"), str):
        return None
    queued_at = entry.get("queued_at")
    project, name, number = entry.get("project"), entry.get("name"), entry.get("number")
    server_name = entry.get("server_name")
    return Job(
        prompt_id=prompt_id,
        server=entry["server"],
        queued_at=float(queued_at) if isinstance(queued_at, int | float) and 0 < queued_at < 1e12 else 0.0,
        project=project if isinstance(project, str) else None,
        name=name if isinstance(name, str) else None,
        stopped=entry.get("stopped") is True,
        number=number if isinstance(number, int | float) else None,
        doubled=entry.get("doubled") is True,
        unsure=entry.get("unsure") is True,
        server_name=server_name if isinstance(server_name, str) else None,
    )
