"""The command `comfyui-api`: the MCP server, or the console."""

from __future__ import annotations

import gc
import os
import sys

COMPLETING = "_COMFYUI_API_COMPLETE"  # set by the shell's completion


def main() -> None:
    """Serve MCP for `serve`, and where nobody sits at a terminal; otherwise the console."""
    arguments = sys.argv[1:]
    nobody_asks = not arguments and not sys.stdin.isatty() and COMPLETING not in os.environ
    if arguments == ["serve"] or nobody_asks:
        _serve()
        return
    from comfyui_api.cli import run  # noqa: PLC0415  # the console's libraries are not for the server

    run()


def _serve() -> None:
    # Collecting garbage while modules load costs a sixth of the start; what was loaded then stays for good.
    gc.disable()
    import signal  # noqa: PLC0415

    import anyio  # noqa: PLC0415

    from comfyui_api.app import serve_stdio  # noqa: PLC0415
    from comfyui_api.errors import ComfyError  # noqa: PLC0415

    gc.enable()
    gc.freeze()
    # The thread that reads standard input cannot be stopped: Ctrl-C ends the process as SIGTERM does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        anyio.run(serve_stdio, dict(os.environ))
    except ComfyError as exc:
        sys.stderr.write(f"comfyui-api: {exc}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
