"""Small records of the store that carry their own digest, so that an altered one reads as none at all.

A record says which files are whole. One that lies would have a run trust what it should write again.
"""

from __future__ import annotations

import json
from typing import TypeVar

from blake3 import blake3
from pydantic import ValidationError

from lookup.manifest import Record
from lookup.store import Store

AnyRecord = TypeVar("AnyRecord", bound=Record)


def write_record(store: Store, name: str, record: Record) -> None:
    """Commit `record` under `name`: one line of JSON, and the blake3 of that line."""
    line = record.model_dump_json().encode()
    store.put_bytes(line + b"\n" + blake3(line).hexdigest().encode() + b"\n", name)


def read_record(store: Store, name: str, kind: type[AnyRecord]) -> AnyRecord | None:
    """The record under `name`; None when there is none, when it was altered, or when another version wrote it."""
    if not store.exists(name):
        return None
    line, _, digest = store.read(name).partition(b"\n")
    if digest != blake3(line).hexdigest().encode() + b"\n":
        return None
    fields = set(json.loads(line))
    if not set(kind.model_fields) - kind.later <= fields <= set(kind.model_fields):
        return None
    try:
        return kind.model_validate_json(line)
    except ValidationError:  # a field inside is of another version
        return None
