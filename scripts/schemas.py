"""Write foundation/tool-results.schema.json from the result models; a test keeps it true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfyui_api.results import RESULTS

TARGET = Path(__file__).resolve().parent.parent / "foundation" / "tool-results.schema.json"


def result_schemas() -> dict[str, Any]:
    """The full schema of each tool's structured content."""
    definitions: dict[str, Any] = {}
    tools = {}
    for name, model in RESULTS.items():
        schema = model.model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        definitions[name] = schema
        tools[name] = {"$ref": f"#/$defs/{name}"}
    definitions = {name: without_null(schema) for name, schema in definitions.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of the tools",
        "description": "Structured content by tool. A field that has nothing to say is left out.",
        "type": "object",
        "properties": tools,
        "$defs": dict(sorted(definitions.items())),
    }


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Fields that may be null are left out instead: they become optional, and null goes."""
    properties = {}
    for name, field in schema.get("properties", {}).items():
        kept = {key: value for key, value in field.items() if key not in ("title", "default")}
        options = [option for option in kept.pop("anyOf", []) if option.get("type") != "null"]
        properties[name] = {**kept, **options[0]} if options else kept
    optional = {name for name, field in schema.get("properties", {}).items() if "anyOf" in field}
    required = [name for name in schema.get("required", []) if name not in optional]
    rest = {key: value for key, value in schema.items() if key != "title"}
    return {**rest, "properties": properties, "required": required}


if __name__ == "__main__":
    TARGET.write_text(json.dumps(result_schemas(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {TARGET.name}")
