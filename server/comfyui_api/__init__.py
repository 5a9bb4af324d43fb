"""comfyui-api: operate ComfyUI from a coding agent or a script.

The package is a house of six floors; imports point down (tests/test_floors.py names every room):
5 doors (`__main__`, `cli`, `app`), 4 `tools`, 3 operations, 2 adapters, 1 knowledge, 0 vocabulary.
"""

__version__ = "0.1.0"
