"""What a store holds after a run, as tests compare it."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from lookup.store.manifest import Manifest
from lookup.store.store import Store


def digests(store: Path) -> dict[str, str]:
    """blake3 of everything that readers may be sent to: CURRENT, manifests, shards and indexes."""
    kept = [store / "CURRENT", *(store / folder for folder in ("snapshots", "shards", "indexes"))]
    files = [file for place in kept for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    return {str(file.relative_to(store)): blake3(file.read_bytes()).hexdigest() for file in sorted(files)}


def manifest_of(store: Path) -> Manifest:
    """The published manifest."""
    return Store.open(str(store)).published()[1]


def products(store: Path) -> dict[str, bytes]:
    """The bytes of every file under shards/ and indexes/; of index records, which hold timings, only the names."""
    found = {}
    for path in sorted(store.glob("shards/*")) + sorted(store.glob("indexes/*/*")):
        found[str(path.relative_to(store))] = b"" if path.name == "record.json" else path.read_bytes()
    return found


def everything(store: Path) -> dict[str, bytes]:
    """The bytes of all that readers may see: CURRENT, snapshots/, shards/ and indexes/."""
    seen = [store / "CURRENT", *store.glob("snapshots/*"), *store.glob("shards/*"), *store.glob("indexes/*/*")]
    return {str(path.relative_to(store)): path.read_bytes() for path in seen}


def last_log(store: Path, name: str) -> str:
    """A file of what the last run of `store` left."""
    return (sorted((store / "runs").iterdir())[-1] / name).read_text(encoding="utf-8")
