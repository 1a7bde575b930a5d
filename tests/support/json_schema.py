"""Whether a document is as a JSON Schema says, by the keywords that docs/reference/run.schema.json uses."""

from __future__ import annotations

import json
from typing import Any

from tests.support.places import ROOT

RUN_SCHEMA = ROOT / "docs" / "reference" / "run.schema.json"
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_KNOWN = {"$ref", "$defs", "anyOf", "enum", "const", "type", "properties", "required", "additionalProperties", "items"}
_SAY_NOTHING = {"$schema", "$id", "title", "description", "default", "format"}


def faults(document: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "") -> list[str]:
    """Where `document` is not as `schema` says; ValueError for a keyword that is not looked at."""
    root = schema if root is None else root
    if "$ref" in schema:
        return faults(document, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if unknown := set(schema) - _KNOWN - _SAY_NOTHING:
        raise ValueError(f"{unknown} at {at}")
    if "anyOf" in schema:
        return [] if any(not faults(document, one, root, at) for one in schema["anyOf"]) else [f"{at}: {document!r}"]
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    kind = schema.get("type")
    is_kind = kind is None or (isinstance(document, _TYPES[kind]) and (kind == "boolean") == isinstance(document, bool))
    if not is_kind or (allowed is not None and document not in allowed):
        return [f"{at}: {document!r}"]
    if isinstance(document, dict):
        return _of_object(document, schema, root, at)
    items = schema.get("items", {})
    return [
        fault
        for n, one in enumerate(document if kind == "array" else ())
        for fault in faults(one, items, root, f"{at}[{n}]")
    ]


def _of_object(document: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    own, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{at}: no {name}" for name in schema.get("required", ()) if name not in document]
    for name, value in document.items():
        if name in own or isinstance(others, dict):
            found += faults(value, own.get(name, others), root, f"{at}.{name}")
        elif not others:
            found.append(f"{at}: {name} is not known")
    return found


def check_run_json(document: Any) -> None:
    """A run.json is as its schema says."""
    assert faults(document, json.loads(RUN_SCHEMA.read_text())) == []
