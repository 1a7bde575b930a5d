"""Small records of the store that carry their own digest and name, so that an altered or misplaced one reads as none.

A record says which files are whole. One that lies would have a run trust what it should write again; so would one that
tells the truth about something else: a record is believed only under its own name.
"""

from __future__ import annotations

import json
from typing import TypeVar

from blake3 import blake3
from pydantic import ValidationError

from foundation.errors import IntegrityError
from lookup.store.fields import NamedRecord
from lookup.store.store import Store

AnyRecord = TypeVar("AnyRecord", bound=NamedRecord)


def write_record(store: Store, path: str, record: NamedRecord) -> None:
    """Commit `record` under `path`: one line of JSON, and the blake3 of that line."""
    line = record.model_dump_json().encode()
    store.put_bytes(line + b"\n" + blake3(line).hexdigest().encode() + b"\n", path)


def read_record(store: Store, path: str, kind: type[AnyRecord], name: str | None = None) -> AnyRecord | None:
    """The record under `path` that bears `name`, by default the path itself.

    None when there is none, when it was altered, when another version wrote it, or when it was copied or moved there.
    """
    if not store.exists(path):
        return None
    line, _, digest = store.read(path).partition(b"\n")
    if digest != blake3(line).hexdigest().encode() + b"\n":
        return None
    fields = json.loads(line)
    if not set(kind.model_fields) - kind.later <= set(fields) <= set(kind.model_fields):
        return None
    if fields.get("name") != (path if name is None else name):
        return None
    try:
        return kind.model_validate_json(line)
    except ValidationError:  # a field inside is of another version
        return None


def lost_record(what: str, path: str, owner: str, fix: str = "run again: it is written anew") -> IntegrityError:
    """The error for `what` should stand in `path` of an `owner`, such as an index, and `read_record` did not give."""
    return IntegrityError(f"{what} in {path}", f"none, an altered one, or that of another {owner}", fix)
