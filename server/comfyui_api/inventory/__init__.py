"""state/inventory.json: what a server has installed, kept so that validation works without it.

The head file is small and readable; the node classes stand beside it in an SQLite file, read class by class, since a
server with many packs describes itself in 100 MB. foundation/inventory.schema.json describes the head.
"""

from comfyui_api.inventory.classes import ClassesInMemory, ClassFile, ClassStore, ClassWriter, node_classes_of
from comfyui_api.inventory.head import (
    STALE_AFTER,
    Inventory,
    classes_path_of,
    inventory_path,
    read_head,
    read_inventory,
)
from comfyui_api.inventory.keeping import Stock, keep, temporary_classes, unkept, update_classes

__all__ = [
    "STALE_AFTER",
    "ClassFile",
    "ClassStore",
    "ClassWriter",
    "ClassesInMemory",
    "Inventory",
    "Stock",
    "classes_path_of",
    "inventory_path",
    "keep",
    "node_classes_of",
    "read_head",
    "read_inventory",
    "temporary_classes",
    "unkept",
    "update_classes",
]
