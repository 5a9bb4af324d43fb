"""What ComfyUI 0.30 and later have and 0.3.75 has not: one route that stops a run wherever it stands."""

import nodes
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict = {}


@PromptServer.instance.routes.post("/jobs/{job_id}/cancel")
async def cancel(request):
    job_id, queue = request.match_info["job_id"], PromptServer.instance.prompt_queue
    stopped = queue.delete_queue_item(lambda item: item[1] == job_id)
    if any(item[1] == job_id for item in queue.get_current_queue()[0]):
        nodes.interrupt_processing()
        stopped = True
    return web.json_response({"cancelled": stopped})
