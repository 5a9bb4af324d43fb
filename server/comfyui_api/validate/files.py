"""Files that loader nodes take from the server's folders: LoadImage, LoadAudio, LoadVideo, Load3D and their kin."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from comfyui_api.node_class import InputSpec
from comfyui_api.runs import FolderType
from comfyui_api.validate.faults import ACCEPTED, Fault, shown


class LoadValue(NamedTuple):
    """What a loader's value such as "sub/x.png [output]" names (folder_paths.py, annotated_filepath)."""

    filename: str
    subfolder: str
    folder: FolderType
    is_safe: bool

    @classmethod
    def of(cls, value: str) -> LoadValue:
        folder: FolderType = "input"
        for name in get_args(FolderType):
            if value.endswith(f" [{name}]"):
                folder, value = name, value.removesuffix(f" [{name}]")
                break
        path = value.replace("\\", "/")
        subfolder, _, filename = path.rpartition("/")
        leads_out = path.startswith("/") or ".." in path.split("/") or path[1:2] == ":"
        return cls(filename, subfolder, folder, not leads_out)


def takes_file(spec: InputSpec) -> bool:
    """Whether an input names a file that may be uploaded: its class looks for the file itself."""
    return spec.is_upload and (spec.is_combo or spec.type == "STRING")


def check_file(value: Any, spec: InputSpec, exists: bool | None) -> Fault | None:
    """Whether the server has the file. `exists` is what it said of it; None where it was not asked.

    Unasked, a plain name counts as missing where it is not among the options, which are the files of the folder;
    files in subfolders never are, and are left open.
    """
    if not isinstance(value, str):
        # The class looks for the file, and fails over anything but a name.
        return Fault("exception_during_validation", f"'{spec.name}' takes the name of a file, not {shown(value)}.")
    if is_listed(value, spec):
        return None
    named = LoadValue.of(value)
    if not named.is_safe:
        reason = "is absolute or has '..' in it. Some servers accept that; here it is refused"
        return Fault("custom_validation_failed", f"The file {shown(value)} of '{spec.name}' {reason}.")
    if not named.filename:
        return Fault("custom_validation_failed", f"'{spec.name}' names no file. {ACCEPTED}")
    if exists is None:
        exists = spec.options is None or bool(named.subfolder) or named.folder != "input"
    if exists:
        return None
    return Fault(
        "custom_validation_failed",
        f"The file {shown(value)} of '{spec.name}' is not in the server's {named.folder} folder.",
    )


def link_for_file(spec: InputSpec) -> Fault:
    """The class looks for the file before anything runs, when no link has brought a name yet."""
    return Fault("exception_during_validation", f"'{spec.name}' takes the name of a file itself, not a link to one.")


def is_listed(value: str, spec: InputSpec) -> bool:
    """Whether a file needs no looking up: it is among the options, or none is chosen where that may be."""
    return value in (spec.options or ()) or (value == "" and not spec.is_combo)
