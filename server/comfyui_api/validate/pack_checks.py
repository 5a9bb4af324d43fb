"""Inputs that classes of node packs judge themselves (VALIDATE_INPUTS), which /object_info does not show.

ComfyUI checks neither list nor range of an input that a class's VALIDATE_INPUTS (V3: validate_inputs) takes by its
name, of none at all where the method takes **kwargs, and no type of a link where it takes `input_types`
(execution.py, validate_inputs). Read off the packs' public sources. What such a method then says of a value is known
for files of the server's folders only; for anything else the verdict names the class among what was not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_NOTHING: frozenset[str] = frozenset()
_NO_TYPES: Mapping[str, frozenset[str]] = MappingProxyType({})
_NO_SLOTS: Mapping[int, frozenset[str]] = MappingProxyType({})


class Own(NamedTuple):
    """What a class of a pack does in place of the server.

    `names` are the inputs it judges itself, `every` where it is all of them. `files` are those of them whose value it
    looks for as LoadImage does: in the input folder, or in the one named as in "x.mp4 [output]". `any_links` where it
    judges the types of links itself. `takes` are types that an input takes beside the declared one, `gives` those that
    an output stands for beside its own: such types compare by a rule of their own (a str with its own __ne__). Outputs
    of V3 classes have one too, which comes first, so that `takes` counts for links from V1 classes only.
    """

    pack: str
    names: frozenset[str] = _NOTHING
    every: bool = False
    files: frozenset[str] = _NOTHING
    any_links: bool = False
    takes: Mapping[str, frozenset[str]] = _NO_TYPES
    gives: Mapping[int, frozenset[str]] = _NO_SLOTS

    def judges(self, name: str) -> bool:
        return self.every or name in self.names


_VHS, _IMPACT, _SCRIPTS = "ComfyUI-VideoHelperSuite", "ComfyUI-Impact-Pack", "ComfyUI-Custom-Scripts"
_INT, _LATENT = frozenset({"INT"}), frozenset({"LATENT"})
_RATE, _FRAMES = MappingProxyType({"force_rate": _INT}), MappingProxyType({0: _LATENT})
_VIDEO, _IMAGE, _AUDIO = frozenset({"video"}), frozenset({"image"}), frozenset({"audio"})

PACK_CHECKS: Mapping[str, Own] = MappingProxyType(
    {
        "VHS_LoadVideo": Own(_VHS, _VIDEO, files=_VIDEO, takes=_RATE, gives=_FRAMES),
        "VHS_LoadVideoFFmpeg": Own(_VHS, _VIDEO, files=_VIDEO, takes=_RATE, gives=_FRAMES),
        # Paths may lie anywhere on the server's disk, or on the web: nothing that could be looked up from here.
        "VHS_LoadVideoPath": Own(_VHS, _VIDEO, takes=_RATE, gives=_FRAMES),
        "VHS_LoadVideoFFmpegPath": Own(_VHS, _VIDEO, takes=_RATE, gives=_FRAMES),
        "VHS_LoadImagePath": Own(_VHS, gives=_FRAMES),
        "VHS_LoadImages": Own(_VHS, every=True),  # a folder within the input folder
        "VHS_LoadImagesPath": Own(_VHS, every=True),
        "VHS_LoadAudio": Own(_VHS, every=True),
        "VHS_LoadAudioUpload": Own(_VHS, every=True, files=_AUDIO),
        # Its newer versions leave the values to the server; the older ones took any.
        "VHS_VideoCombine": Own(_VHS, takes=MappingProxyType({"images": _LATENT, "frame_rate": _INT})),
        "VHS_Unbatch": Own(_VHS, any_links=True),
        # "#DATA" is no file: the image comes in image_data.
        "ImageReceiver": Own(
            _IMPACT, frozenset({"image", "link_id", "save_to_workflow", "image_data", "trigger_always"})
        ),
        "LatentReceiver": Own(_IMPACT, frozenset({"latent", "link_id", "trigger_always"}), files=frozenset({"latent"})),
        "LoadAndResizeImage": Own("ComfyUI-KJNodes", _IMAGE, files=_IMAGE),
        "Load image with metadata [Crystools]": Own("ComfyUI-Crystools", _IMAGE, files=_IMAGE),
        "LoadVideoAndSegment_": Own("comfyui-mixlab-nodes", every=True, files=_VIDEO),
        # The list of files is filled in the editor; what is refused leads out of the chosen folder.
        "LoadText|pysssss": Own(_SCRIPTS, every=True),
        "SaveText|pysssss": Own(_SCRIPTS, every=True),
        "ReroutePrimitive|pysssss": Own(_SCRIPTS, every=True),  # always content
        "Combo Clone": Own("cg-use-everywhere", every=True),  # any text: it stands for the combo that it is linked to
        "DisplayAny": Own("ComfyUI_essentials", any_links=True),
        "PCSaveExpandedWorkflow": Own("comfyui-prompt-control", any_links=True),
    }
)
# All classes of a pack that have one base class; by the end of their names.
FAMILIES: Mapping[str, Own] = MappingProxyType({" (JOV)": Own("Jovimetrix", any_links=True)})


def own_rules(class_type: str) -> Own | None:
    """What is known of a class of a pack; None where nothing is, or where it leaves all to the server."""
    if (own := PACK_CHECKS.get(class_type)) is not None:
        return own
    return next((own for ending, own in FAMILIES.items() if class_type.endswith(ending)), None)


def judges_itself(class_type: str, name: str) -> bool:
    """Whether the class takes this input into its own hands: neither list nor range counts."""
    own = own_rules(class_type)
    return own is not None and own.judges(name)


def looks_for_file(class_type: str, name: str) -> bool:
    """Whether the class looks for the file that this input names."""
    own = own_rules(class_type)
    return own is not None and name in own.files


def takes_link(class_type: str, name: str, received: str, *, from_v3: bool = False) -> bool:
    """Whether an input takes an output of this type though it declares another one; `from_v3` where a V3 class gives
    it."""
    own = own_rules(class_type)
    return own is not None and (own.any_links or (not from_v3 and received in own.takes.get(name, ())))


def gives_as_well(class_type: str, slot: int) -> frozenset[str]:
    """The types that an output stands for beside the one it declares."""
    own = own_rules(class_type)
    return own.gives.get(slot, _NOTHING) if own is not None else _NOTHING
