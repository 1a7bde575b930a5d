"""The files that snapshots of a store name, remembered from when they are named: no name ever has two contents."""

from __future__ import annotations

import random
from pathlib import Path

from blake3 import blake3

from lookup.store.store import Store


class KeptFiles:
    """What every manifest of a store names, with the records beside it, and what a test has damaged of it.

    Records are in no manifest, and hold times: of them the bytes may change, as long as `vitrine verify` takes them.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.digests: dict[str, str] = {}  # path -> digest, as the first manifest that names it says
        self._bytes: dict[str, bytes] = {}
        self._damaged: dict[str, bytes | None] = {}  # path -> what the test left there; None: nothing

    def remember(self) -> None:
        """Learn what manifests name by now; of a path that is known, the digest is the one that it had."""
        opened = Store.open(str(self.store))
        for name in opened.snapshots():
            for file in opened.manifest(name).files():
                assert self.digests.setdefault(file.path, file.blake3) == file.blake3, file.path
        for path in [*self.digests, *self._records()]:
            if path not in self._damaged and (path not in self._bytes or path not in self.digests):
                self._bytes[path] = (self.store / path).read_bytes()

    def damage(self, draw: random.Random) -> None:
        """Do something to a file or record: of all, or of those that the published snapshot names."""
        published = {file.path for file in Store.open(str(self.store)).published()[1].files()}
        among = published if draw.random() < 0.6 else self._bytes.keys()
        path = draw.choice(sorted(among - self._damaged.keys()))
        raw, kind, place = self._bytes[path], draw.choice(("flip", "cut", "remove", "swap")), self.store / path
        if kind == "remove":
            place.unlink()
        elif kind == "flip":
            at = draw.randrange(len(raw))
            place.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :])
        elif kind == "cut":
            place.write_bytes(raw[: draw.randrange(len(raw))])
        else:
            same = [one for one in self._bytes if Path(one).suffixes == Path(path).suffixes]
            place.write_bytes(self._bytes[draw.choice(same)])
        self._damaged[path] = place.read_bytes() if place.exists() else None

    def check(self) -> None:
        """Every file has its digest, but for damage that nothing has touched since: that is put right from here, as
        from a backup.
        """
        for path, left in self._damaged.items():
            place = self.store / path
            if (place.read_bytes() if place.exists() else None) == left:
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(self._bytes[path])
        self._damaged = {}
        self.remember()
        for path, digest in self.digests.items():
            assert blake3((self.store / path).read_bytes()).hexdigest() == digest, path

    def _records(self) -> list[str]:
        found = [*self.store.glob("shards/*.json"), *self.store.glob("indexes/*/record.json")]
        return sorted(str(path.relative_to(self.store)) for path in found)
