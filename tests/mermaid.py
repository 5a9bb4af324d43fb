"""The real Mermaid library as a judge of our flowcharts: it draws them in headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests import oracle

VERSION = "11.17.2"
PATIENCE = 180  # seconds


def drawn(texts: list[str]) -> list[dict[str, Any]]:
    """What the library makes of each text (scripts/oracle/mermaid.mjs says its form). Raises OracleUnavailable where
    Node.js or Chromium is missing."""
    oracle.check_programs()
    named = os.environ.get("COMFYUI_API_CHROMIUM")
    browser = next(filter(None, map(shutil.which, [named] if named else oracle._BROWSERS)))
    driver = oracle._DRIVER / "mermaid.mjs"
    done = subprocess.run(
        [str(shutil.which("node")), str(driver), str(_library()), browser],
        cwd=oracle._playwright(),
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _library() -> Path:
    """The library as one script, fetched once; without what it would be built from."""

    def fetch(folder: Path) -> None:
        oracle._run(str(shutil.which("npm")), "pack", "--silent", f"mermaid@{VERSION}", cwd=folder)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as package, (folder / "mermaid.min.js").open("wb") as script:
            member = package.extractfile("package/dist/mermaid.min.js")
            assert member is not None
            shutil.copyfileobj(member, script)
        archive.unlink()

    return oracle._made_once(f"mermaid-{VERSION}", fetch) / "mermaid.min.js"
