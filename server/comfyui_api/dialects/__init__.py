"""The dialects in which servers are spoken to: ComfyUI's own, Comfy Cloud's and API v2's."""

from __future__ import annotations

from comfyui_api.client import ComfyClient
from comfyui_api.comfy_server import ComfyServer
from comfyui_api.events import EventStream, RunEvents
from comfyui_api.settings import Access

__all__ = ["open_server"]


def open_server(url: str, access: Access, *, timeout: float) -> tuple[ComfyServer, RunEvents]:
    """The connection to a server and what it tells of runs, by the kind of server that `access` names.

    `timeout` is in seconds without a byte. Nothing is asked yet. Raises InvalidArgument for an address that is none.
    """
    match access.kind:
        case "cloud":
            from comfyui_api.dialects.cloud import CloudEvents, CloudServer  # noqa: PLC0415  # only for those who use it

            cloud = CloudServer(url, timeout=timeout, access=access)
            return cloud, CloudEvents(cloud)
        case "v2":
            from comfyui_api.dialects.job_events import JobEvents  # noqa: PLC0415  # only for those who use it
            from comfyui_api.dialects.v2 import V2Server  # noqa: PLC0415

            v2 = V2Server(url, timeout=timeout, access=access)
            return v2, JobEvents(v2)
        case "local":
            client = ComfyClient(url, timeout=timeout, access=access)
            return client, EventStream(client)
