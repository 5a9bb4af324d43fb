"""Lets the tests ask the real server's validation for verdicts, without anything being queued."""

import copy
import uuid

import execution
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS = {}


@PromptServer.instance.routes.post("/tests/verdicts")
async def verdicts(request):
    """A list of prompts in, a list of [is valid, error, outputs that would run, node errors] out."""
    answers = []
    for prompt in await request.json():
        try:
            answers.append(list(await execution.validate_prompt(str(uuid.uuid4()), copy.deepcopy(prompt), None)))
        except Exception as exc:  # noqa: BLE001  # what the server's own route would answer with 500
            answers.append([False, {"type": "exception", "message": repr(exc)}, [], {}])
    return web.json_response(answers)
