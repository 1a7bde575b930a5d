"""What a store holds after a run, as tests compare it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from blake3 import blake3

from lookup.store.backends.folder import FolderBackend
from lookup.store.manifest import Manifest
from lookup.store.records import read_record
from lookup.store.shard_record import ShardRecord
from lookup.store.store import Store

FOLDERS = ("publications", "snapshots", "shards", "indexes", "rankers", "understanding")


def digests(store: Path) -> dict[str, str]:
    """blake3 of everything that readers may be sent to: publications, manifests, shards and indexes."""
    files = [file for folder in FOLDERS for file in (store / folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(store)): blake3(file.read_bytes()).hexdigest() for file in sorted(files)}


def manifest_of(store: Path) -> Manifest:
    """The published manifest."""
    return Store.open(str(store)).published()[1]


def in_another_second() -> None:
    """Wait until the clock shows another second: ids of snapshots sort by time, which they have to the second."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.01)


def publications(store: Path) -> dict[str, bytes]:
    """The bytes of every publication, by its name; none before the first."""
    return {path.name: path.read_bytes() for path in sorted(store.glob("publications/*"))}


def publish_by_hand(store: Path, snapshot: str) -> Path:
    """The file of one more publication, of `snapshot`, as a person writes it."""
    number = max((int(Path(name).stem) for name in publications(store)), default=0) + 1
    fields = {"number": number, "before": None, "snapshot": snapshot, "reason": "a test"}
    path = store / "publications" / f"{number:010d}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(fields))
    return path


def make_format_1(store: Path, without: Iterable[str] = ("inputs",)) -> str:
    """Make the store one of before there were publications, of the snapshot that is published and no other: CURRENT
    names it, its one file has all of its segments, indexes are named by what they were made of. Its id.

    Records of indexes are `without` some fields, `inputs` among them.
    """
    opened = Store.open(str(store))
    manifest = opened.published()[1]
    fields = {**manifest.model_dump(mode="json"), "format": 1, "parent": None}
    fields["shards"] = [_entry_of_format_1(opened, manifest, number) for number in range(len(manifest.shards.entries))]
    for partition in fields["partitions"]:
        partition["index"] = _index_of_format_1(opened, partition["index"], set(without))
    raw = json.dumps(fields, indent=1).encode()
    name = f"{manifest.created_at:%Y%m%dT%H%M%SZ}-{blake3(raw).hexdigest()[:16]}"
    for folder in ("publications", "snapshots"):
        shutil.rmtree(store / folder)
    for pointer in store.glob("indexes/*.json"):
        pointer.unlink()
    (store / "snapshots").mkdir()
    (store / "snapshots" / f"{name}.json").write_bytes(raw)
    (store / "CURRENT").write_text(f"{name}\n")
    return name


def _entry_of_format_1(store: Store, manifest: Manifest, number: int) -> dict[str, Any]:
    shard, table = manifest.shards.entries[number], manifest.shards.segments.table
    record = read_record(store, f"shards/{shard.name}.json", ShardRecord, shard.name)
    assert record is not None
    live = set(table.filter(pc.equal(table["shard"], number))["partition"].to_pylist())
    fields = record.model_dump(mode="json")
    used = {key: [one for one in fields[key] if one["partition"] in live] for key in ("segments", "rejected")}
    return {"record": fields, "source": shard.source, "row_groups": shard.row_groups, **used}


def _index_of_format_1(store: Store, fields: dict[str, Any], without: set[str]) -> dict[str, Any]:
    old, name = fields["name"], fields["inputs"]
    moved = {role: {**file, "path": file["path"].replace(old, name)} for role, file in fields["files"].items()}
    folder = store.backend.local(f"indexes/{old}")
    if folder.exists():
        folder.rename(folder.with_name(name))
    fields = {key: one for key, one in fields.items() if key not in without} | {"name": name, "files": moved}
    line = json.dumps(fields).encode()
    store.put_bytes(line + b"\n" + blake3(line).hexdigest().encode() + b"\n", f"indexes/{name}/record.json")
    return fields


def products(store: Path) -> dict[str, bytes]:
    """The bytes of every file under shards/ and indexes/; of index records, which hold timings, only the names."""
    found = {}
    for path in sorted(store.glob("shards/*")) + sorted(store.glob("indexes/*/*")):
        found[str(path.relative_to(store))] = b"" if path.name == "record.json" else path.read_bytes()
    return found


def everything(store: Path) -> dict[str, bytes]:
    """The bytes of all that readers may see: publications/, snapshots/, shards/ and indexes/."""
    seen = [path for folder in FOLDERS for path in (store / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(store)): path.read_bytes() for path in seen}


def last_log(store: Path, name: str) -> str:
    """A file of what the last run of `store` left."""
    return (sorted((store / "runs").iterdir())[-1] / name).read_text(encoding="utf-8")


def publish_like(source: Path, store: Store) -> None:
    """Commit what `source` publishes, file by file as a run does, on top of what `store` publishes."""
    manifest = Store.open(str(source)).published()[1]
    with store.scratch() as folder:
        for file in manifest.files():
            store.put_whole(Path(shutil.copy(source / file.path, folder / "file")), file)
    for entry in manifest.shards.entries:
        store.put_bytes((source / f"shards/{entry.name}.json").read_bytes(), f"shards/{entry.name}.json")
    for one in manifest.partitions:
        record = f"indexes/{one.index.name}/record.json"
        store.put_bytes((source / record).read_bytes(), record)
    store.publish(manifest, store.latest(), "a test")


def publish_in_between(monkeypatch: pytest.MonkeyPatch, store: Path, times: int) -> None:
    """So many times somebody else publishes the served snapshot anew, just when a number is about to be taken."""
    real, left = FolderBackend.create, [times]

    def create(backend: FolderBackend, raw: bytes, name: str) -> None:
        if left[0]:
            left[0] -= 1
            publish_by_hand(store, Store.open(str(store)).current() or "")
            raise FileExistsError(name)
        real(backend, raw, name)

    monkeypatch.setattr(FolderBackend, "create", create)
