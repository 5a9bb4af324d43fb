"""projects/{project}/: the manifest that names a project's server, and the workflows saved for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfyui_api.errors import FileProblem, InvalidArgument, NotPermitted
from comfyui_api.storage import put_in_place, safe_name, temporary_beside, text_of

DEFAULT_PROJECT = "default"


def project_folder(home: Path, project: str) -> Path:
    """The folder of a project. Its name must be a plain folder name."""
    if safe_name(project) != project:
        raise InvalidArgument(
            f"'{project[:200]}' cannot be a project's name.",
            f"Use a plain folder name, e.g. '{safe_name(project, DEFAULT_PROJECT)}'.",
        )
    folder = home / "projects" / project
    if not folder.resolve().is_relative_to(home.resolve()):
        raise NotPermitted(f"{folder} leads out of the working folder.", "Remove the link, or use another project.")
    return folder


def manifest_server(home: Path, project: str) -> str | None:
    """`comfyui_url` of projects/{project}/manifest.yaml: an address, or a name in servers.toml.

    None where there is no manifest or no such key. Raises FileProblem.
    """
    path = project_folder(home, project) / "manifest.yaml"
    try:
        text = text_of(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise FileProblem(
            f"{path} could not be read: {exc.strerror or exc}.", "Correct the file or remove it."
        ) from exc
    manifest = _parse(text, path)
    url = manifest.get("comfyui_url") if isinstance(manifest, dict) else None
    if url is None:
        return None
    if not isinstance(url, str):
        raise FileProblem(f"comfyui_url in {path} should be a text.", "Write e.g. comfyui_url: http://127.0.0.1:8188")
    return url


def _parse(text: str, path: Path) -> Any:
    import yaml  # noqa: PLC0415  # only projects with a manifest need it

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # ValueError: a date that does not exist
        first_line = str(exc).splitlines()[0]
        raise FileProblem(f"{path} is not valid YAML: {first_line}.", "Correct the file or remove it.") from exc


def save_workflow(home: Path, project: str, name: str, workflow: dict[str, Any]) -> Path:
    """Write projects/{project}/workflows/{name}.json, atomically and never over another file.

    Where other content stands under that name, `name-2` is used and so on. Returns where it stands.
    """
    target = project_folder(home, project) / "workflows" / f"{safe_name(name, 'workflow')}.json"
    with temporary_beside(target) as temporary:
        try:
            temporary.write_text(json.dumps(workflow, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        except UnicodeEncodeError:  # lone surrogates, which only escapes can carry
            temporary.write_text(json.dumps(workflow, indent=2) + "\n", encoding="ascii")
        return put_in_place(temporary, target)
