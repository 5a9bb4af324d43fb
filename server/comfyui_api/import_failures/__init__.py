"""Node packs that a server has but could not load: what its log says of each, and what to do.

Source of the words: load_custom_node, init_external_custom_nodes and init_extra_nodes in ComfyUI's nodes.py and
execute_prestartup_script in its main.py. The log is what /internal/logs gives (app/logger.py): the last few hundred
writes, so that reasons may be gone while the summary is still there, and later all of it.
"""

from comfyui_api.import_failures.failure import ImportFailure, Stage, StartupLog
from comfyui_api.import_failures.log import import_failures, read_startup, told_failure

__all__ = ["ImportFailure", "Stage", "StartupLog", "import_failures", "read_startup", "told_failure"]
