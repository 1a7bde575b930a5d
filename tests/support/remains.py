"""What readers make of the store on a disk that lost power, without writing that disk anew for each way it may look."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from blake3 import blake3

from lookup.store import manifest as manifests
from lookup.store.backends.backend import Backend, Found
from lookup.store.manifest import Manifest
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from tests.support.power_loss import FOLDER, Disk, Shown


class Remains(Backend):
    """The files below `root` of what a disk shows, to be read only."""

    def __init__(self, root: str, disk: Disk, shown: Shown) -> None:
        super().__init__(root)
        self._disk, self._torn = disk, shown.torn
        self.numbers = {
            path.removeprefix(f"{root}/"): number
            for path, number in shown.tree.items()
            if path.startswith(f"{root}/") and number != FOLDER
        }

    def whole(self, name: str) -> bool:
        """Whether the file is there with all of its bytes."""
        return name in self.numbers and self.numbers[name] not in self._torn

    def local(self, name: str) -> Path:
        return Path("/nowhere") / name

    def exists(self, name: str) -> bool:
        return name in self.numbers

    def size(self, name: str) -> int | None:
        return len(self.read(name)) if self.exists(name) else None

    def read(self, name: str) -> bytes:
        if name not in self.numbers:
            raise FileNotFoundError(name)
        raw = self._disk.bytes_of(self.numbers[name])
        return raw if self.whole(name) else raw[: len(raw) // 2]

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.read(name))

    def names(self, folder: str) -> list[str]:
        below = (name.removeprefix(f"{folder}/") for name in self.numbers if name.startswith(f"{folder}/"))
        return sorted({name.partition("/")[0] for name in below})

    def walk(self, folder: str) -> list[Found]:
        return [Found(name, len(self.read(name)), 0) for name in self.numbers if name.startswith(f"{folder}/")]

    def fetch(self, name: str, folder: Path) -> NoReturn:
        raise AssertionError("nothing is fetched from what is left")

    prepare = written = put = replace = create = delete = remove = fetch  # type: ignore[assignment]  # nor written


@dataclass
class Reader:
    """Says of what a disk shows which publication is served, and that all that is kept is whole."""

    disk: Disk
    root: str
    _manifests: dict[tuple[int, int], Manifest] = field(default_factory=dict)
    _digests: dict[int, str] = field(default_factory=dict)

    def served(self, shown: Shown) -> int:
        """The number of the publication that readers follow, 0 before the first; an error where a publication, a
        manifest or a file that one names is not as it was written, unless it was given up.
        """
        left = Remains(self.root, self.disk, shown)
        store = Store(left)
        publications = store.publications()
        for snapshot in {*store.snapshots(), *_kept(publications)}:
            manifest = self._manifest(store, left, snapshot)
            for file in manifest.files():
                assert left.whole(file.path), f"{snapshot} names {file.path}, which is not whole"
                assert self._digest(left.numbers[file.path]) == file.blake3, f"{file.path} is another"
            records = [f"shards/{one.name}.json" for one in manifest.shards.entries]
            for path in [*records, *(f"indexes/{one.index.name}/record.json" for one in manifest.partitions)]:
                assert left.whole(path), f"{snapshot} needs {path}, which is not whole"
        return publications[-1].number if publications else 0

    def _manifest(self, store: Store, left: Remains, snapshot: str) -> Manifest:
        paths = manifests.path_of(snapshot), manifests.segments_path(snapshot)
        if not all(left.whole(path) for path in paths):
            return store.manifest(snapshot)  # which says what is wrong with it
        key = left.numbers[paths[0]], left.numbers[paths[1]]
        if key not in self._manifests:
            self._manifests[key] = store.manifest(snapshot)
        return self._manifests[key]

    def _digest(self, number: int) -> str:
        if number not in self._digests:
            self._digests[number] = blake3(self.disk.bytes_of(number)).hexdigest()
        return self._digests[number]


def _kept(publications: list[Publication]) -> set[str]:
    """The snapshots that no collection gave up."""
    last = max((n for n, one in enumerate(publications) if one.collected), default=0)
    return {one.snapshot for one in publications[last:]} | {name for one in publications[last:] for name in one.kept}
