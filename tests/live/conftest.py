"""Fixtures: the real web frontend, in a browser, and the node classes of the server that serves it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from comfyui_api.workspace import read_settings
from tests.oracle import Frontend, ObjectInfo, OracleUnavailable, check_programs, oracle_sandbox, read_object_info


@pytest.fixture(scope="session")
def frontend_url() -> Iterator[str]:
    """The URL of a ComfyUI that serves the frontend. Skips where the frontend cannot run."""
    try:
        check_programs()
        with oracle_sandbox(read_settings(os.environ), logging.getLogger("sandbox").warning) as state:
            assert state.url is not None
            yield state.url
    except OracleUnavailable as exc:
        _give_up(exc)


@pytest.fixture(scope="session")
def frontend(frontend_url: str) -> Iterator[Frontend]:
    """The real frontend."""
    try:
        started = Frontend(frontend_url)
    except OracleUnavailable as exc:
        _give_up(exc)
    with started:
        yield started


@pytest.fixture(scope="session")
def frontend_classes(frontend_url: str) -> ObjectInfo:
    """/object_info of the server that serves the frontend."""
    return read_object_info(frontend_url)


def _give_up(reason: OracleUnavailable) -> NoReturn:
    """CI has all that is needed: there, a frontend that does not run is a failure."""
    if os.environ.get("COMFYUI_API_ORACLE_REQUIRED") == "1":
        pytest.fail(str(reason))
    pytest.skip(str(reason))
