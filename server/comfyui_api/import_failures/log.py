"""Reading a log: which packs it tells of, and what of each."""

from __future__ import annotations

import re

from comfyui_api.import_failures import meaning
from comfyui_api.import_failures.failure import ImportFailure, StartupLog
from comfyui_api.import_failures.meaning import CORE_FOLDERS, NAME_KEPT, Pack
from comfyui_api.import_failures.raised import Block, Raised, clean

LOG_LENGTH = 2**20  # characters of a log that are read: its last ones

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})? - ")
_COLOUR = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_TIMES = re.compile(r"(?:^|\s)\d+\.\d seconds(?: \((IMPORT|PRESTARTUP) FAILED\))?: (.+)")


def import_failures(log: str) -> list[ImportFailure]:
    """The packs that failed, in the order of the log, each once. Any text may be given; most hold none."""
    return list(read_startup(log).failures)


def read_startup(log: str) -> StartupLog:
    """All that a log tells of the packs at the start."""
    reader = _Reader()
    for line in _lines(log):
        reader.read(line)
    failed = {name for name, failure in reader.failures.items() if failure.stage != "prestartup"}
    return StartupLog(tuple(name for name in reader.imported if name not in failed), tuple(reader.failures.values()))


def told_failure(pack: str, words: str) -> ImportFailure | None:
    """The failure of a pack by what it wrote while it was imported, which is what ComfyUI-Manager keeps of it.

    None where the words hold no exception.
    """
    block = Block()
    for line in _lines(words):
        block.read(line)
    raised = block.raised()
    return meaning.of(Pack(clean(pack, NAME_KEPT)), raised) if raised.type else None


def _lines(log: str) -> list[str]:
    # A stamp stands before each write, not before each line: also within one.
    text = _COLOUR.sub("", _STAMP.sub("", log[-LOG_LENGTH:]))
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


class _Reader:
    """Reads a log line by line. Its lines may begin in the middle of one: what a pack prints without an end stands
    before ComfyUI's words."""

    def __init__(self) -> None:
        self.imported: dict[str, None] = {}
        self.failures: dict[str, ImportFailure] = {}
        self._block = Block()
        self._core_folder = CORE_FOLDERS[0]
        self._is_prestartup = False

    def read(self, line: str) -> None:
        """Take one more line."""
        if not line:
            self._block.read(line)
        elif found := _between(line, "Cannot import ", " module for custom nodes"):
            self._add(meaning.of(Pack.at(found[0]), self._block.raised(found[1].lstrip(":").strip())))
            self._block = Block()
        elif found := _between(line, "Skip ", " module for custom nodes due to the lack of "):
            self._add(meaning.without_nodes(Pack.at(found[0]), "it defines no node classes"))
        elif found := _between(line, "Error while calling comfy_entrypoint in ", ": "):
            self._add(meaning.of(Pack.at(found[0]), Raised(message=clean(found[1]))))
        elif found := _between(line, "comfy_entrypoint in ", " is not callable, skipping"):
            self._add(meaning.without_nodes(Pack.at(found[0]), "its comfy_entrypoint is no function"))
        elif found := _between(line, "comfy_entrypoint in ", " did not return "):
            self._add(meaning.without_nodes(Pack.at(found[0]), "its comfy_entrypoint gives no node classes"))
        elif found := _between(line, "Failed to execute startup-script: ", " / "):
            folder = re.sub(r"[/\\][^/\\]*$", "", found[0])
            self._add(meaning.of(Pack.at(folder), Raised(message=clean(found[1])), "prestartup"))
        elif found := _between(line, "Skipping ", " due to disable_all_custom_nodes"):
            self._add(meaning.skipped(Pack.at(found[0])))
        elif (match := _TIMES.search(line)) and ("/" in match[2] or "\\" in match[2]):
            self._add_time(match[1], Pack.at(match[2]))
        elif (name := line.rpartition("] ")[2]).startswith("IMPORT FAILED: "):
            self._add(meaning.lost(Pack.at(f"{self._core_folder}/{name.partition(': ')[2]}")))
        else:
            self._read_other(line)

    def _read_other(self, line: str) -> None:
        for folder in CORE_FOLDERS:
            if f"some {folder}/ nodes did not import" in line:
                self._core_folder = folder
        if "times for custom nodes:" in line:
            self._is_prestartup = "Prestartup times" in line
        self._block.read(line)

    def _add_time(self, failed: str | None, pack: Pack) -> None:
        if failed:
            self._add(meaning.lost(pack, "prestartup" if failed == "PRESTARTUP" else "import"))
        elif pack.name and not self._is_prestartup:
            self.imported[pack.name] = None

    def _add(self, failure: ImportFailure) -> None:
        known = self.failures.get(failure.pack)
        # What is told first comes with its reason; the summary afterwards has none.
        if failure.pack and (known is None or (known.stage == "prestartup" and failure.stage != "prestartup")):
            self.failures[failure.pack] = failure


def _between(line: str, before: str, after: str) -> tuple[str, str] | None:
    """What stands between these words, and what follows the second."""
    _, found, rest = line.partition(before)
    middle, found_too, rest = rest.partition(after)
    return (middle, rest) if found and found_too else None
