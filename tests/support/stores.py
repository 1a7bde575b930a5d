"""What a store holds after a run, as tests compare it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from blake3 import blake3

from lookup.store.manifest import Manifest
from lookup.store.store import Store

FOLDERS = ("publications", "snapshots", "shards", "indexes")


def digests(store: Path) -> dict[str, str]:
    """blake3 of everything that readers may be sent to: publications, manifests, shards and indexes."""
    files = [file for folder in FOLDERS for file in (store / folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(store)): blake3(file.read_bytes()).hexdigest() for file in sorted(files)}


def manifest_of(store: Path) -> Manifest:
    """The published manifest."""
    return Store.open(str(store)).published()[1]


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


def make_format_1(store: Path) -> None:
    """Make the store one of before there were publications: CURRENT names what is published."""
    current = Store.open(str(store)).current()
    shutil.rmtree(store / "publications")
    (store / "CURRENT").write_text(f"{current}\n")


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
