"""One partition's index, memory-mapped: queries in, positions and scores out.

    index = PartitionIndex.open({role: store.verified(file) for role, file in record.files.items()}, record)
    D, I = index.search(xq, k=10)
    ids = index.ids(I[0])

Position p is the p-th row of the partition's segments in order. The files of an index are

    index.faiss         FAISS, position p added as number p; cosine is the inner product of rows made unit
    ids.parquet         column `id`, row p is the id at position p
    refine.npy          refine vectors, row p is that of position p, beside indexes that store codes only: see refine.py
    refine_range.npy    what their codes stand for, beside refine.npy of uint8

Scores are those of metric.py, bigger is better. How true they are: exactly, with a flat, ivf_flat or hnsw
index or float16 refine vectors; to a rounding of each number, with sq8 refine vectors or an ivf_sq8 index (measured:
0.002 for unit rows); estimated, where codes alone rank (`score_error` of the record says how far). Scores of several
partitions are merged as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.arrays import Positions, Vectors
from foundation.errors import InputError, IntegrityError
from foundation.machine import machine_fault
from foundation.metric import Metric
from lookup.index.ranking import best, enough, filled_up, ranked
from lookup.index.refine import Refine

FORMAT = 4  # of the files together, and of what is measured on them
INDEX_FILE, IDS_FILE, REFINE_FILE, RANGE_FILE = "index.faiss", "ids.parquet", "refine.npy", "refine_range.npy"
_VERIFY = "run `vitrine verify STORE` to see what is damaged"
# Up to so many hits, a search looks at the same rows whatever k is, so that its first hits are the same: at the
# candidates of ten hits, and at so many rows or more. Ranking 100 candidates again takes some 40 us.
STEADY, HITS = 100, 10
_MOSTLY = 4  # who asks a graph for more than this share of the rows, one in so many, has every row compared


class Recorded(Protocol):
    """What the reader must know of an index; `lookup.store.entries.index_record.IndexRecord` knows it."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def dim(self) -> int:
        """Length of the vectors."""

    @property
    def rows(self) -> int:
        """Vectors in the index."""

    @property
    def metric(self) -> str:
        """The value of a `foundation.metric.Metric`."""

    @property
    def nprobe(self) -> int:
        """How widely to search by default, see `PartitionIndex.widest`; 0 for an exact index."""

    @property
    def refine_factor(self) -> int:
        """Candidates per hit that are ranked again with the refine vectors; 0 where there are none."""


@dataclass(frozen=True)
class PartitionIndex:
    """An open index. Searching changes nothing in it, so threads may share it."""

    name: str
    dim: int
    rows: int
    metric: Metric
    nprobe: int  # 0: the index is exact
    refine_factor: int  # 0: FAISS's own ranking stands
    refine: Refine | None
    faiss_index: Any  # faiss.Index; the stubs know little of its subclasses
    id_column: pa.ChunkedArray  # (rows,) string, by position

    @classmethod
    def open(cls, paths: Mapping[str, Path], record: Recorded) -> PartitionIndex:
        """The index in `paths` (roles `index`, `ids`, `refine`, `refine_range`), whose digests were checked before.

        IntegrityError when the files do not hold what `record` says, or do not belong together.
        """
        metric = Metric(record.metric)
        opened = cls(
            name=record.name,
            dim=record.dim,
            rows=record.rows,
            metric=metric,
            nprobe=record.nprobe,
            refine_factor=record.refine_factor,
            refine=Refine.open(paths, metric),
            faiss_index=_mapped(paths["index"]),
            id_column=_read_ids(paths["ids"]),
        )
        opened._check(paths["index"])
        return opened

    @cached_property
    def ivf(self) -> Any:
        """The inverted file of the index, inside its rotation where it has one; None when it has no lists."""
        return faiss.try_extract_index_ivf(self.faiss_index)

    @property
    def nlist(self) -> int:
        """Inverted lists; 0 when the index has none."""
        return 0 if self.ivf is None else int(self.ivf.nlist)

    @property
    def widest(self) -> int:
        """The most that nprobe can be: inverted lists, or for hnsw rows (its nprobe is efSearch); 0 when exact."""
        return self.rows if isinstance(self.faiss_index, faiss.IndexHNSW) else self.nlist

    def search(self, xq: Vectors, k: int, nprobe: int | None = None) -> tuple[Vectors, Positions]:
        """The k best rows of each query: scores (nq, k) float32, descending, and positions (nq, k) int64.

        `xq` is (nq, dim) float32, finite. k rows come, or all where there are fewer and -inf and -1 after them: where
        the tuned nprobe, or `nprobe` in its place, looks at too few, the search widens. Ties are in order of position,
        in an exact index also at the cut. The first hits are the same for every k up to `STEADY`, in an exact index for
        every k; for a larger one other indexes look at more candidates, some of which may come before them. What scores
        mean, and that those of several indexes compare, the module says. An exact index takes no nprobe.
        """
        if k < 1:
            raise InputError("k of at least 1", f"k: {k}", "ask for one hit or more")
        stored = self.metric.stored(self.checked(xq))
        scores, positions = self.candidates(xq, self.candidates_for(k, self.refine_factor), nprobe, self.wanted(k))
        if self.refine is not None:
            scores = self.refine.scores(stored, positions)
        return best(scores, positions, k)

    @cached_property
    def list_of(self) -> npt.NDArray[np.int32]:
        """The inverted list of each row, (rows,) int32: four bytes a row from the first filter on."""
        lists, found = self.ivf.invlists, np.zeros(self.rows, np.int32)
        for number in range(self.nlist):
            size = lists.list_size(number)
            if size:
                found[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
        return found

    def candidates_for(self, k: int, refine_factor: int) -> int:
        """How many candidates FAISS is asked for when k hits are wanted."""
        if not self.widest and self.refine is None:
            return min(self.rows, k)  # the hits themselves
        return min(self.rows, max(self.wanted(k), (HITS if k <= STEADY else k) * refine_factor))

    def wanted(self, k: int) -> int:
        """How many rows a search for k hits has to find at least."""
        return min(self.rows, max(k, STEADY))

    def candidates(
        self, xq: Vectors, count: int, nprobe: int | None = None, wanted: int = STEADY
    ) -> tuple[Vectors, Positions]:
        """What FAISS returns before refine vectors rank it: scores (nq, count) float32, positions (nq, count) int64.

        `wanted` of them are rows, wherever these lie, as far as there are so many and `count` asks for them; what comes
        beyond is what the lists hold that were looked at.
        """
        return self._found(self.metric.stored(self.checked(xq)), count, min(count, wanted, self.rows), nprobe)

    def _found(self, stored: Vectors, count: int, wanted: int, nprobe: int | None) -> tuple[Vectors, Positions]:
        """The `count` candidates of each `stored` query, at least `wanted` of them rows."""
        chosen = self.wide(nprobe)
        if not chosen or (not self.nlist and _MOSTLY * count > self.rows):
            return self.compared(stored, count)
        if self.nlist:
            found = enough(lambda xq, lists: self._search(xq, count, lists), stored, wanted, chosen, self.nlist)
            return filled_up(found, wanted, self.rows)
        scores, positions = self._search(stored, count, chosen)
        short = np.flatnonzero((positions >= 0).sum(axis=1) < wanted)
        if len(short):  # a graph does not lead everywhere, least of all among rows that are equal
            scores[short], positions[short] = self.compared(stored[short], count)
        return scores, positions

    def _search(self, stored: Vectors, count: int, nprobe: int) -> tuple[Vectors, Positions]:
        """What one search of FAISS returns."""
        scores, positions = self.faiss_index.search(stored, count, params=self._parameters(nprobe))
        return self.metric.from_faiss(scores), positions

    def compared(
        self, stored: Vectors, count: int, params: Any = None, rows: int | None = None
    ) -> tuple[Vectors, Positions]:
        """(nq, count) float32 scores and int64 positions: the best of all rows of an index of whole vectors without
        lists, or of those `rows` that `params` select: each is compared with each `stored` query.
        """
        vectors: Any = self.faiss_index
        if isinstance(vectors, faiss.IndexHNSW):
            vectors = faiss.downcast_index(vectors.storage)

        def search(xq: Vectors, k: int) -> tuple[Vectors, Positions]:
            scores, positions = vectors.search(xq, k, params=params)
            return self.metric.from_faiss(scores), positions

        return ranked(search, stored, count, self.rows if rows is None else rows)

    def ids(self, positions: Sequence[int] | Positions) -> list[str]:
        """The ids at `positions`, (n,) int64, each from 0 to rows - 1."""
        wanted = np.asarray(positions, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.rows):
            came = f"{wanted.min()} to {wanted.max()}"
            raise InputError(f"positions from 0 to {self.rows - 1}", came, "drop the -1 of missing hits")
        ends = self._id_ends  # not `id_column.take`, which joins the ids of all chunks: 15 ms of 10,000,000
        at = np.searchsorted(ends, wanted, side="right")
        starts = np.concatenate([[0], ends])[at]
        return [
            self.id_column.chunk(chunk)[row].as_py()
            for chunk, row in zip(at.tolist(), (wanted - starts).tolist(), strict=True)
        ]

    @cached_property
    def _id_ends(self) -> Positions:
        """(chunks,) int64: the position behind the last of each chunk of `id_column`."""
        return np.cumsum([len(chunk) for chunk in self.id_column.chunks], dtype=np.int64)

    def _parameters(self, nprobe: int) -> Any:
        """Search parameters of one call; set on the index, they would change the searches of other threads."""
        if not self.nlist:
            return faiss.SearchParametersHNSW(efSearch=nprobe)  # type: ignore[attr-defined]  # the stubs lack it
        params = faiss.SearchParametersIVF(nprobe=nprobe)  # type: ignore[call-arg]  # the stubs lack the keywords
        if isinstance(self.faiss_index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=params)  # type: ignore[call-arg]
        return params

    def wide(self, nprobe: int | None) -> int:
        """The nprobe of one call, 0 for an exact index."""
        if not self.widest:
            return 0
        chosen = self.nprobe if nprobe is None else nprobe
        if not 1 <= chosen <= self.widest:
            raise InputError(f"nprobe from 1 to {self.widest}", f"nprobe: {chosen}", "choose one in that range")
        return chosen

    def checked(self, xq: Vectors) -> Vectors:
        """(nq, dim) float32, contiguous; InputError unless `xq` is of that shape and finite."""
        if xq.ndim != 2 or xq.shape[1] != self.dim:
            fix = "embed the query with the encoders of the snapshot"
            raise InputError(f"queries of shape (nq, {self.dim})", f"shape {xq.shape}", fix)
        if not np.isfinite(xq).all():
            bad = int((~np.isfinite(xq)).any(axis=1).sum())
            came = f"NaN or infinity in {bad} of {len(xq)}"
            raise InputError("queries of finite numbers", came, "check what embeds the query")
        return np.ascontiguousarray(xq, dtype=np.float32)

    def _check(self, path: Path) -> None:
        """FAISS reads nearly any bytes without a word; what can be known without the vectors is compared here."""
        found = {
            "metric": self.faiss_index.metric_type,
            "dim": self.faiss_index.d,
            "vectors (ntotal)": self.faiss_index.ntotal,
            "ids": len(self.id_column),
            "refine vectors": None if self.refine is None else self.refine.layout,
        }
        recorded = {
            "metric": self.metric.faiss,
            "dim": self.dim,
            "vectors (ntotal)": self.rows,
            "ids": self.rows,
            "refine vectors": self._refine_layout() if self.refine_factor else None,
        }
        if self.nlist:
            # FAISS drops rows with NaN when it adds them, but ntotal counts them.
            found["vectors in lists"], recorded["vectors in lists"] = self.ivf.invlists.compute_ntotal(), self.rows
        if found != recorded:
            wrong = [what for what in found if found[what] != recorded[what]]
            raise IntegrityError(
                f"the files beside {path} to hold " + ", ".join(f"{what}: {recorded[what]}" for what in wrong),
                ", ".join(f"{what}: {found[what]}" for what in wrong),
                "delete that folder and run `vitrine run` again: it builds the index anew",
            )

    def _refine_layout(self) -> tuple[tuple[int, ...], str, tuple[int, ...] | None]:
        """What refine vectors of this index are laid out as: float16, unless the file holds codes."""
        coded = self.refine is not None and self.refine.codes.dtype.str == "|u1"
        return (self.rows, self.dim), "|u1" if coded else "<f2", (2, self.dim) if coded else None


def _mapped(path: Path) -> faiss.Index:
    """The index in `path`, its vectors and codes memory-mapped.

    Of FAISS's two ways only this flag maps the vectors of a flat index too (1.15.1, measured by resident memory).
    """
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as err:
        raise machine_fault(err) or IntegrityError(f"{path} to be a FAISS index", str(err), _VERIFY) from err


def _read_ids(path: Path) -> pa.ChunkedArray:
    try:
        return pq.read_table(path, columns=["id"], page_checksum_verification=True, use_threads=False).column("id")
    except (OSError, pa.ArrowInvalid) as err:
        raise machine_fault(err) or IntegrityError(f"{path} to hold the column id", str(err), _VERIFY) from err
