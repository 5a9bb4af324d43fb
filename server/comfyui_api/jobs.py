"""state/jobs.json: which server each of our runs went to, so that a prompt_id alone is enough, also tomorrow."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comfyui_api.storage import read_state, write_atomic

KEPT = 1000
LOCK_SECONDS = 10


@dataclass(frozen=True)
class Job:
    """One run that we queued. `queued_at` is in seconds since 1970, by this machine's clock."""

    prompt_id: str
    server: str
    queued_at: float
    project: str | None = None
    name: str | None = None


class Jobs:
    """The runs of this and earlier processes, the newest KEPT of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine: dict[str, Job] = {}

    def find(self, prompt_id: str) -> Job | None:
        if prompt_id in self._mine:
            return self._mine[prompt_id]
        return _job(prompt_id, self._load().get(prompt_id))

    def add(self, job: Job) -> None:
        """Remember a run. Other processes may add theirs at the same time."""
        from filelock import FileLock  # noqa: PLC0415  # first needed when a run is queued

        self._mine[job.prompt_id] = job
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self._path) + ".lock", timeout=LOCK_SECONDS):
            entries = self._load()
            entry = asdict(job)
            del entry["prompt_id"]
            entries[job.prompt_id] = {key: value for key, value in entry.items() if value is not None}
            newest = dict(list(entries.items())[-KEPT:])
            write_atomic(self._path, json.dumps(newest, ensure_ascii=False))

    def _load(self) -> dict[str, Any]:
        content, _ = read_state(self._path)
        return content if isinstance(content, dict) else {}


def _job(prompt_id: str, entry: Any) -> Job | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("server"), str):
        return None
    queued_at = entry.get("queued_at")
    project, name = entry.get("project"), entry.get("name")
    return Job(
        prompt_id=prompt_id,
        server=entry["server"],
        queued_at=float(queued_at) if isinstance(queued_at, int | float) else 0.0,
        project=project if isinstance(project, str) else None,
        name=name if isinstance(name, str) else None,
    )
