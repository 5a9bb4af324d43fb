"""From which hosts model files may come, and which of them is shown a token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from comfyui_api.errors import InvalidArgument, NotPermitted
from comfyui_api.transport import is_loopback

# The hosts that references/models.md links to, and those that they send a download on to: Hugging Face's as its
# /.well-known/meta.json names them, GitHub's for releases and raw files, Civitai's two storages, ModelScope's.
KNOWN_HOSTS = (
    "huggingface.co",
    "hf.co",
    "*.hf.co",
    "cdn-lfs.huggingface.co",
    "cdn-lfs-us-1.huggingface.co",
    "cdn-lfs-eu-1.huggingface.co",
    "github.com",
    "raw.githubusercontent.com",
    "media.githubusercontent.com",
    "objects.githubusercontent.com",
    "release-assets.githubusercontent.com",
    "civitai.com",
    "b2.civitai.com",
    # The part after the star is Civitai's own account there: the storage of others is not meant.
    "*.5ac0637cfd0766c97916cefa3764fbdf.r2.cloudflarestorage.com",
    "modelscope.cn",
    "*.modelscope.cn",
    "dl.fbaipublicfiles.com",
    "openaipublic.azureedge.net",
    "storage.googleapis.com",
    "heibox.uni-heidelberg.de",
)
KNOWN = "default"
"""The word that stands for them in the setting."""

TOKENS = {"huggingface.co": "HF_TOKEN", "civitai.com": "CIVITAI_API_TOKEN"}

_ENTRY = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?")


@dataclass(frozen=True)
class Hosts:
    """The hosts that files may come from: "host", "host:port", or "*.host" for all below it."""

    entries: tuple[str, ...]

    @classmethod
    def of(cls, setting: tuple[str, ...]) -> Hosts:
        """The list that the setting `download_hosts` means. Raises InvalidArgument for an entry that is no host."""
        entries: list[str] = []
        for entry in setting:
            name = entry.strip().casefold()
            if name == KNOWN:
                entries.extend(KNOWN_HOSTS)
            elif _ENTRY.fullmatch(name):
                entries.append(name)
            else:
                raise InvalidArgument(
                    f"COMFYUI_API_DOWNLOAD_HOSTS names '{entry[:200]}', which is no host.",
                    f"Write hosts such as mirror.example, mirror.example:8443 or *.example, and '{KNOWN}' for the "
                    "known ones.",
                )
        return cls(tuple(entries))

    def permit(self, url: httpx2.URL) -> None:
        """Raise NotPermitted for an address that nothing may be fetched from.

        https on the usual port; another port only where the list names it, and http only on this machine.
        """
        host = url.raw_host.decode("ascii").casefold().removesuffix(".")
        if url.userinfo:
            raise NotPermitted(
                f"The link to {host[:200]} carries a user name or password.", "Use a link without one, and a token."
            )
        place = f"[{host}]" if ":" in host else host
        if url.port is not None:
            place = f"{place}:{url.port}"
        if not any(_means(entry, place) for entry in self.entries):
            raise NotPermitted(
                f"{place[:200] or 'This link'} is not on the list of hosts that models are fetched from.",
                f"Check that it is to be trusted, then set COMFYUI_API_DOWNLOAD_HOSTS={KNOWN},{place[:200]}, or fetch "
                "the file by hand.",
            )
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
            raise NotPermitted(
                f"The link to {place[:200]} is not https, so anybody on the way could change the file.",
                "Use an https link.",
            )


def tokens_of(environment: Mapping[str, str]) -> dict[str, str]:
    """{host: token} for files that need an account. A token is only ever sent to that very host.

    Raises InvalidArgument for one that no header can carry, without repeating it.
    """
    tokens = {}
    for host, variable in TOKENS.items():
        if token := environment.get(variable, "").strip():
            if not re.fullmatch(r"[!-~]{1,4096}", token):
                raise InvalidArgument(
                    f"{variable} holds no token: there are blanks or other letters in it.",
                    "Copy it again, or unset it.",
                )
            tokens[host] = token
    return tokens


def _means(entry: str, place: str) -> bool:
    # The star stands for one name or several; what follows it begins with a dot, so that x-hf.co is not hf.co.
    return place.endswith(entry[1:]) and place != entry[1:] if entry.startswith("*.") else place == entry
