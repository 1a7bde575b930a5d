"""One hit of each group of near-duplicates: its best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.errors import InputError, IntegrityError
from lookup.candidates import Candidates
from lookup.index.partition_index import STEADY
from lookup.lru import Recent
from lookup.store.entries.duplicates_record import ANY, DuplicatesRecord
from lookup.store.manifest import PartitionEntry
from lookup.store.store import Store

_DEEPER = 4  # times as many rows, where those looked at have too few groups
Groups = npt.NDArray[np.int32]
Collapse = bool | str | None  # False or None: not; True: by every kind; or one of them: photo, near, group


@dataclass(frozen=True)
class Collapsed:
    """The best of each group, and how many others of its partition are in the group, (n,) each."""

    hits: Candidates
    others: list[int]


class Duplicates:
    """The groups of partitions of a snapshot, memory-mapped when they are first asked for. Threads may share it."""

    def __init__(self, store: Store, partitions: Sequence[PartitionEntry]) -> None:
        self._store = store
        self._records = {one.name: one.duplicates for one in partitions if one.duplicates is not None}
        self._groups: Recent[tuple[str, str], Groups] = Recent(2**31)

    def kind(self, collapse: Collapse) -> str | None:
        """Which groups are meant; None: none. InputError where the snapshot has no such."""
        if collapse is None or collapse is False:
            return None
        known = sorted({kind for record in self._records.values() for kind in record.kinds})
        kind = ANY if collapse is True else collapse
        if not known:
            fix = "set duplicates={photo: true} in the config and run again, or leave out collapse"
            raise InputError("a snapshot whose duplicates were looked for", "one that was made without", fix)
        if kind not in known:
            raise InputError(f"collapse by {', '.join(known)}", repr(collapse), "name one of them")
        return kind

    def best_of_each(self, search: Callable[[int], Candidates], kind: str, k: int) -> Collapsed:
        """The first `k` groups of a ranking, by the best row of each; `search` gives the ranking of the best rows of
        all, at least as deep as it is asked. Where there are k groups, so many come.

        It is looked at as deep as gives `STEADY` groups, so that the first hits are the same for every k up to that.
        """
        wanted = depth = max(k, STEADY)
        while True:
            found = search(depth).first(depth)
            groups, sizes = self._of(found, kind)
            firsts = _firsts(found.part, groups)
            if len(firsts) >= wanted or len(found) < depth:
                return Collapsed(found.take(firsts[:k]), (sizes[firsts[:k]] - 1).tolist())
            depth = max(_DEEPER * depth, min(_flood(groups, sizes, found.part) + wanted, _DEEPER**3 * depth))

    def _of(self, found: Candidates, kind: str) -> tuple[Groups, Groups]:
        """(n,) of each row: the least position of its group, and the size of that; its own where there is none."""
        groups, sizes = found.positions.astype(np.int32), np.ones(len(found), np.int32)
        for number, name in enumerate(found.partitions):
            known = self.of_partition(name, kind)
            if known is not None:
                here = np.flatnonzero(found.part == number)
                groups[here], sizes[here] = known[:, found.positions[here]]
        return groups, sizes

    def of_partition(self, name: str, kind: str) -> Groups | None:
        """(2, rows) int32 of partition `name`: the least position of each row's group, and how many it has; None where
        no duplicates of that kind were looked for.
        """
        record = self._records.get(name)
        if record is None or kind not in record.kinds:
            return None
        return self._mapped(name, kind, record)

    def _mapped(self, name: str, kind: str, record: DuplicatesRecord) -> Groups:
        return self._groups.get((name, kind), lambda: self._open(kind, record))

    def _open(self, kind: str, record: DuplicatesRecord) -> Groups:
        path = self._store.verified(record.files[kind])
        groups = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        if (groups.shape, groups.dtype.str) != ((2, record.rows), "<i4"):
            fix = "run `vitrine verify STORE`, delete the files that it names, and run `vitrine run` again"
            raise IntegrityError(f"{path} with (2, {record.rows}) int32", f"{groups.shape} {groups.dtype}", fix)
        return groups


def _flood(groups: Groups, sizes: Groups, part: npt.NDArray[np.int32]) -> int:
    """How many rows the largest group of those looked at has, where three of four are of it: what is behind them is
    found at once, not step by step.
    """
    _, at, counts = np.unique(_numbers(part, groups), return_index=True, return_counts=True)
    most = int(counts.argmax())
    return int(sizes[at[most]]) if counts[most] >= 0.75 * len(groups) else 0


def _firsts(part: npt.NDArray[np.int32], groups: Groups) -> npt.NDArray[np.int64]:
    """Where each group comes first, in order: (m,)."""
    _, at = np.unique(_numbers(part, groups), return_index=True)
    return np.sort(at)


def _numbers(part: npt.NDArray[np.int32], groups: Groups) -> npt.NDArray[np.int64]:
    """(n,) int64: the group of each row, told apart from those of other partitions."""
    return part.astype(np.int64) << 32 | groups
