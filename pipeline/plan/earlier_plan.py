"""The plan of an earlier run, taken again: of a table whose version was planned before, asked for alike, no file is
opened.
"""

from __future__ import annotations

import json
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import distributions
from typing import Any

import pyarrow as pa
from blake3 import blake3

from foundation.errors import VitrineError
from foundation.extras import DISTRIBUTION
from foundation.identity import identity_of
from lookup.store.store import Store
from pipeline.catalog.pieces import PIECE_ROWS
from pipeline.config.encoding import encoding_identity
from pipeline.config.sections import Embedding, GatesConfig
from pipeline.files.catalog import find_catalog
from pipeline.files.discover import CatalogFile, Found
from pipeline.photos.root import existing_root
from pipeline.plan.unit_sizes import NOTHING, Before
from pipeline.plan.units import Plan, Unit, make_plan
from pipeline.report.notices import Notice

_FILE = "planned.json"
_LOOKED_AT = 3  # runs, the newest first


def planned(
    embedding: Embedding, gates: GatesConfig, category: str | None = None, before: Before = NOTHING, store: str = ""
) -> Plan:
    """`make_plan`; of the whole of a table whose version a run of the store at `store` has planned, that run's plan."""
    if embedding.catalog.table is None or category is not None:
        return make_plan(embedding, gates, category, before)
    found = find_catalog(embedding.catalog)
    asked = _asked(embedding, gates, found)
    earlier = _earlier(store, asked, found, before) if store else None
    return earlier or replace(make_plan(embedding, gates, None, before, found), asked=asked)


def keep_plan(store: Store, run: str, plan: Plan) -> None:
    """Leave the plan of a table for later runs; nothing of other catalogs."""
    if plan.asked:
        units = [{**unit._asdict(), "duplicates": b64encode(unit.duplicates).decode()} for unit in plan.units]
        kept = asdict(replace(plan, notices=(), units=(), parts={}))
        kept |= {"units": units, "notices": [one.model_dump() for one in plan.notices]}
        raw = json.dumps(kept, ensure_ascii=False).encode()
        store.put_bytes(blake3(raw).hexdigest().encode() + b"\n" + raw, f"runs/{run}/{_FILE}")


# --- inside ---


def _asked(embedding: Embedding, gates: GatesConfig, found: Found) -> str:
    """Equal for two plans that find the same, whatever was published before."""
    catalog = embedding.catalog
    parts = {
        "table": found.identity,
        "files": [asdict(file) for file in found.files],
        "parts": {path: part.identity for path, part in found.parts.items()},
        "reading": catalog.model_dump(mode="json"),
        "root": existing_root(catalog.image_root, catalog.path),
        "gates": gates.model_dump(mode="json"),
        "shards": embedding.shards.model_dump(mode="json"),
        "encoding": encoding_identity(embedding),
        "photos": embedding.encoders.image is not None,
        "by": [next((one.version for one in distributions(name=DISTRIBUTION)), ""), pa.__version__, PIECE_ROWS],
        "unicode": unicodedata.unidata_version,
    }
    return identity_of(parts)


def _earlier(path: str, asked: str, found: Found, before: Before) -> Plan | None:
    """The plan of one of the last runs of a store; None where these planned otherwise, or had another snapshot before
    them.

    A plan calls categories, and cuts units, as the snapshot does that is made of it: planned on top of that one, it
    would be the same.
    """
    try:
        store = Store.at(path)
        names = store.names("runs")[: -_LOOKED_AT - 1 : -1]
        plans = [plan for name in names if (plan := _read(store, name, asked, found)) is not None]
    except (OSError, VitrineError):
        return None
    for plan in plans:
        if before.unit_rows == plan.unit_rows and {*before.partitions} <= {*plan.partitions}:
            return plan
    return None


def _read(store: Store, run: str, asked: str, found: Found) -> Plan | None:
    try:
        digest, _, raw = store.read(f"runs/{run}/{_FILE}").partition(b"\n")
    except FileNotFoundError:
        return None
    if blake3(raw).hexdigest().encode() != digest:
        return None
    kept: Mapping[str, Any] = json.loads(raw)
    if kept["asked"] != asked:
        return None
    units = tuple(Unit(**{**one, "duplicates": b64decode(one["duplicates"])}) for one in kept["units"])
    notices = tuple(Notice(**one) for one in kept["notices"])
    files = tuple(CatalogFile(**one) for one in kept["files"])
    return Plan(**{**kept, "units": units, "notices": notices, "files": files, "parts": found.parts})
