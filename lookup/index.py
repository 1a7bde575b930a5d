"""One partition's index, memory-mapped: queries in, positions and true inner products out.

    index = PartitionIndex.open({role: store.verified(file) for role, file in record.files.items()}, record)
    D, I = index.search(xq, k=10)
    ids = index.ids(I[0])

Position p is the p-th row of the partition's segments in order. The files of an index are

    index.faiss    FAISS, inner product, position p added as number p
    ids.parquet    column `id`, row p is the id at position p
    refine.npy     (n, d) float16, row p is the vector at position p; beside indexes that store codes only
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lookup.errors import InputError, IntegrityError

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

FORMAT = 1  # of the three files together
INDEX_FILE, IDS_FILE, REFINE_FILE = "index.faiss", "ids.parquet", "refine.npy"
_VERIFY = "run `vitrine verify STORE` to see what is damaged"
_LEAST_HITS = 10  # that candidates are fetched for: who asks for one hit gets the same first hit as who asks for ten
_REFINED_NUMBERS = 1 << 22  # float32 numbers of candidates ranked again at a time: 16 MB


class Recorded(Protocol):
    """What the reader must know of an index; `lookup.manifest.IndexRecord` knows it."""

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
    def nprobe(self) -> int:
        """Inverted lists probed by default; 0 for an exact index."""

    @property
    def refine_factor(self) -> int:
        """Candidates per hit that are ranked again with the refine vectors; 0 where there are none."""


@dataclass(frozen=True)
class PartitionIndex:
    """An open index. Searching changes nothing in it, so threads may share it."""

    name: str
    dim: int
    rows: int
    nprobe: int  # 0: the index is exact
    refine_factor: int  # 0: FAISS's scores are the true ones
    _index: Any  # faiss.Index; the stubs know little of its subclasses
    _ids: pa.ChunkedArray
    _refine: npt.NDArray[np.float16] | None

    @classmethod
    def open(cls, paths: Mapping[str, Path], record: Recorded) -> PartitionIndex:
        """The index in `paths` (role `index`, `ids` and, with codes, `refine`), whose digests were checked before.

        IntegrityError when the files do not hold what `record` says, or do not belong together.
        """
        opened = cls(
            name=record.name,
            dim=record.dim,
            rows=record.rows,
            nprobe=record.nprobe,
            refine_factor=record.refine_factor,
            _index=_mapped(paths["index"]),
            _ids=_read_ids(paths["ids"]),
            _refine=np.load(paths["refine"], mmap_mode="r", allow_pickle=False) if "refine" in paths else None,
        )
        opened._check(paths["index"])
        return opened

    @property
    def nlist(self) -> int:
        """Inverted lists, the most that can be probed; 0 when the index is exact."""
        return int(self._index.nlist) if isinstance(self._index, faiss.IndexIVF) else 0

    def search(self, xq: Vectors, k: int, nprobe: int | None = None) -> tuple[Vectors, Positions]:
        """The k best rows of each query: inner products (nq, k) float32, descending, and positions (nq, k) int64.

        `xq` is (nq, dim) float32, finite. Ties are in order of position; missing rows are -inf and -1. The scores
        are true inner products (with the refine vectors where there are any): those of several indexes compare.
        `nprobe` replaces the tuned one; an exact index takes none.
        """
        xq = self._checked(xq)
        if k < 1:
            raise InputError("k of at least 1", f"k: {k}", "ask for one hit or more")
        candidates = min(self.rows, max(k, _LEAST_HITS) * self.refine_factor if self.refine_factor else k)
        scores, positions = self._index.search(xq, candidates, params=self._parameters(nprobe))
        if self._refine is not None:
            scores = self._true_scores(xq, positions)
        return _best(scores, positions, k)

    def ids(self, positions: Sequence[int] | Positions) -> list[str]:
        """The ids at `positions`, each from 0 to rows - 1."""
        wanted = np.asarray(positions, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.rows):
            came = f"{wanted.min()} to {wanted.max()}"
            raise InputError(f"positions from 0 to {self.rows - 1}", came, "drop the -1 of missing hits")
        found: list[str] = self._ids.take(pa.array(wanted)).to_pylist()
        return found

    def _parameters(self, nprobe: int | None) -> faiss.SearchParameters | None:
        """Search parameters of one call; set on the index, they would change the searches of other threads."""
        if not self.nlist:
            return None
        chosen = self.nprobe if nprobe is None else nprobe
        if not 1 <= chosen <= self.nlist:
            raise InputError(f"nprobe from 1 to {self.nlist}", f"nprobe: {chosen}", "choose one in that range")
        return faiss.SearchParametersIVF(nprobe=chosen)  # type: ignore[call-arg]  # the stubs lack the keywords

    def _true_scores(self, xq: Vectors, positions: Positions) -> Vectors:
        """(nq, c) float32 inner products of each query with its candidates; -inf where the position is -1."""
        assert self._refine is not None
        scores = np.empty(positions.shape, dtype=np.float32)
        step = max(1, _REFINED_NUMBERS // (positions.shape[1] * self.dim))
        for start in range(0, len(xq), step):
            part = slice(start, start + step)
            vectors = self._refine[np.maximum(positions[part], 0)].astype(np.float32)
            scores[part] = np.matmul(vectors, xq[part, :, None])[:, :, 0]
        scores[positions < 0] = -np.inf
        return scores

    def _checked(self, xq: Vectors) -> Vectors:
        if xq.ndim != 2 or xq.shape[1] != self.dim:
            fix = "embed the query with the encoders of the snapshot"
            raise InputError(f"queries of shape (nq, {self.dim})", f"shape {xq.shape}", fix)
        if not np.isfinite(xq).all():
            raise InputError("queries of finite numbers", "NaN or infinity", "check what embeds the query")
        return np.ascontiguousarray(xq, dtype=np.float32)

    def _check(self, path: Path) -> None:
        """FAISS reads nearly any bytes without a word; what can be known without the vectors is compared here."""
        found = {
            "metric is inner product": self._index.metric_type == faiss.METRIC_INNER_PRODUCT,
            "dim": self._index.d,
            "vectors (ntotal)": self._index.ntotal,
            "ids": len(self._ids),
            "refine vectors": None if self._refine is None else (self._refine.shape, self._refine.dtype.str),
        }
        recorded = {
            "metric is inner product": True,
            "dim": self.dim,
            "vectors (ntotal)": self.rows,
            "ids": self.rows,
            "refine vectors": ((self.rows, self.dim), "<f2") if self.refine_factor else None,
        }
        if self.nlist:
            # FAISS drops rows with NaN when it adds them, but ntotal counts them.
            found["vectors in lists"], recorded["vectors in lists"] = self._index.invlists.compute_ntotal(), self.rows
        if found != recorded:
            wrong = [what for what in found if found[what] != recorded[what]]
            raise IntegrityError(
                f"the files beside {path} to hold " + ", ".join(f"{what}: {recorded[what]}" for what in wrong),
                ", ".join(f"{what}: {found[what]}" for what in wrong),
                "delete that folder and run `vitrine run` again: it builds the index anew",
            )


def _mapped(path: Path) -> faiss.Index:
    """The index in `path`, its vectors and codes memory-mapped.

    Of FAISS's two ways only this flag maps the vectors of a flat index too (1.15.1, measured by resident memory).
    """
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as err:
        raise IntegrityError(f"{path} to be a FAISS index", str(err), _VERIFY) from err


def _read_ids(path: Path) -> pa.ChunkedArray:
    try:
        return pq.read_table(path, columns=["id"], page_checksum_verification=True, use_threads=False).column("id")
    except (OSError, pa.ArrowInvalid) as err:
        raise IntegrityError(f"{path} to hold the column id", str(err), _VERIFY) from err


def _best(scores: Vectors, positions: Positions, k: int) -> tuple[Vectors, Positions]:
    """The k best columns of (nq, c) arrays, best first, equal scores by position; padded with -inf and -1."""
    scores = np.where(positions < 0, np.float32(-np.inf), scores)
    order = np.lexsort((positions, -scores), axis=-1)[:, :k]
    best, at = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
    missing = ((0, 0), (0, k - best.shape[1]))
    return np.pad(best, missing, constant_values=-np.inf), np.pad(at, missing, constant_values=-1)
