"""How much pip would fetch, and the question that comes before a CUDA build."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from comfyui_api.errors import SandboxError
from comfyui_api.quantities import count

_HEAD_SECONDS = 5.0


@dataclass(frozen=True)
class Download:
    """What pip would fetch: how many packages, bytes where known, and which belong to a CUDA build."""

    packages: int
    size: int
    unknown: int
    cuda: tuple[str, ...]

    def __str__(self) -> str:
        size = f"{self.size / 1e9:.1f} GB" if self.size >= 1e9 else f"{self.size / 1e6:.0f} MB"
        if self.unknown == self.packages:
            size = "size unknown"
        elif self.unknown:
            size = f"{size} and {self.unknown} of unknown size"
        return f"{count(self.packages, 'package')}, {size}"


def agree_to(download: Download, torch_index: str, confirm: Callable[[str], bool]) -> None:
    """Ask before a CUDA build is fetched. Raises SandboxError, with what to set instead, if the answer is no."""
    if not download.cuda:
        return
    question = (
        f"The PyTorch that pip finds is a CUDA build ({download}, {len(download.cuda)} of them for CUDA), which the "
        "sandbox does not need: it works on the CPU. Install it nevertheless?"
    )
    if confirm(question):
        return
    setting = "COMFYUI_API_SANDBOX_TORCH_INDEX (or sandbox_torch_index in settings.toml)"
    raise SandboxError(
        f"Nothing was installed: PyTorch would come as a CUDA build ({download}).",
        f"{'Correct' if torch_index else 'Set'} {setting}: the address of a package index with CPU builds of PyTorch. "
        "pip's own settings (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS) are honoured as well.",
    )


def measure(report: dict[str, Any]) -> Download:
    """Count and size what a report of `pip install --dry-run` lists (its format: pip's "Installation Report")."""
    names, addresses = [], []
    for item in report["install"]:
        names.append(str(item["metadata"]["name"]).lower().replace("_", "-"))
        addresses.append(str(item["download_info"]["url"]))
    cuda = tuple(name for name in names if name.startswith(("nvidia-", "cuda-", "triton")))
    sizes = list(_sizes(addresses))
    known = [size for size in sizes if size is not None]
    return Download(packages=len(names), size=sum(known), unknown=len(sizes) - len(known), cuda=cuda)


def _sizes(addresses: Sequence[str]) -> Iterator[int | None]:
    """The bytes behind each address, None where nobody says."""
    from urllib.request import url2pathname  # noqa: PLC0415  (slow, and needed for an installation only)

    import httpx2  # noqa: PLC0415  (the same)

    with httpx2.Client(timeout=_HEAD_SECONDS, follow_redirects=True) as client:
        reachable = True
        for address in addresses:
            parts = urlsplit(address)
            if parts.scheme == "file":
                file = Path(url2pathname(parts.path))
                yield file.stat().st_size if file.is_file() else None
                continue
            size = None
            if reachable:
                try:
                    length = client.head(address).headers.get("content-length", "")
                    size = int(length) if length.isdigit() else None
                except httpx2.RequestError:
                    # pip may have a way out that we do not know. The size is a courtesy: ask no further.
                    reachable = False
            yield size
