"""What a snapshot gets to know the likely categories of a query by: centers of each partition, the temperature that
makes their scores probabilities, and what is lost where the unlikely ones are not searched.

Of a partition whose index is the parent's, centers and queries stay the parent's: the catalog is not read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from foundation.arrays import Positions, Vectors
from foundation.liveness import beat
from foundation.metric import Metric
from index_builders.measure.queries import inside
from index_builders.rows.shards import read_embeddings
from lookup.index.partition_index import PartitionIndex
from lookup.search import open_partition
from lookup.store.entries.understanding_record import CategoryEntry, CategoryFigures, UnderstandingRecord
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.store import Store
from lookup.understood.categories import KEPT, LEAST, Categories, Probabilities, likely_ones, softmax
from pipeline.build.tower_queries import Asking, query_kinds
from pipeline.config.sections import Indexing
from pipeline.embed.stand_ins import aside
from pipeline.publish.figures.drawn_rows import DrawnRows, draw_rows

_CENTERS = 64  # of a partition at most
_ASKED, _LEAST_ASKED, _MOST_ASKED = 512, 4, 32  # queries over all; of a partition
_SEGMENTS = 4  # of a partition, that its rows are drawn from
_K, _TENTHS = 10, 10
_STEADY = 100  # rows that a search of ten hits needs at least
_SURE = 0.005  # more than the least has to be kept by the queries that choose, so that the others keep the least
_TEMPERATURES = np.geomspace(1e-3, 10, 401)  # of the scores' spread


def with_understanding(
    store: Store, manifest: Manifest, parent: Manifest | None, indexing: Indexing, unsearched: float | None
) -> Manifest:
    """`manifest` with the centers of its partitions, where there are enough of them; None: without."""
    if unsearched is None or len(manifest.partitions) < LEAST:
        return manifest.model_copy(update={"understanding": None})
    known = _known(store, manifest, parent)
    before = parent.understanding if parent else None
    same = {one.name: one.index.name for one in manifest.partitions}
    if (
        before is not None
        and same == {one.name: one.index for one in before.categories}
        and (before.figures is None or before.figures.unsearched == unsearched)
    ):
        return manifest.model_copy(update={"understanding": before})
    new = [one for one in manifest.partitions if one.name not in known]
    drawn = aside(lambda: {one.name: _drawn(store, manifest, one, indexing, len(manifest.partitions)) for one in new})
    samples = [(one, drawn.get(one.name) or known[one.name]) for one in manifest.partitions]
    return manifest.model_copy(update={"understanding": _recorded(store, manifest, samples, unsearched)})


@dataclass(frozen=True)
class _Sample:
    """Rows of a partition: (n, dim) float32 embeddings, and (m, dim) float32 queries by the text or photo of others."""

    centers: Vectors
    queries: Vectors


# --- inside ---


def _known(store: Store, manifest: Manifest, parent: Manifest | None) -> dict[str, _Sample]:
    """The samples of partitions whose index the parent, or this snapshot before it was merged, has too."""
    found: dict[str, _Sample] = {}
    indexes = {one.name: one.index.name for one in manifest.partitions}
    for record in (parent.understanding if parent else None, manifest.understanding):
        if record is None:
            continue
        files = {
            role: np.load(store.verified(file), mmap_mode="r", allow_pickle=False)
            for role, file in record.files.items()
        }
        center = query = 0
        for one in record.categories:
            sample = _Sample(
                np.array(files["centers"][center : center + one.centers]),
                np.array(files["queries"][query : query + one.queries]),
            )
            center, query = center + one.centers, query + one.queries
            if indexes.get(one.name) == one.index and sample.centers.shape[1] == manifest.dim:
                found[one.name] = sample
    return found


def _drawn(store: Store, manifest: Manifest, entry: PartitionEntry, indexing: Indexing, partitions: int) -> _Sample:
    """Some rows of a partition: every so many are asked for, the others are its centers."""
    asked = min(max(_ASKED // partitions, _LEAST_ASKED), _MOST_ASKED, entry.rows // 4)
    rows = draw_rows(store, manifest.shards, [entry.name], _SEGMENTS, _CENTERS + asked)
    at = np.unique(np.linspace(0, len(rows.positions) - 1, asked).astype(np.int64))
    held_out = rows.positions[at] if asked else rows.positions[:0]
    kept = np.setdiff1d(rows.positions, held_out)
    kinds = query_kinds(indexing)
    queries = np.empty((0, manifest.dim), np.float32)
    if kinds and len(held_out):
        queries = Asking.of(indexing).own(kinds[0], rows.segments, held_out)[1]
    beat()
    return _Sample(_embeddings(rows, kept), queries)


def _embeddings(rows: DrawnRows, positions: Positions) -> Vectors:
    return np.concatenate([read_embeddings(ref)[at] for ref, at in inside(rows.segments, positions)])


def _recorded(
    store: Store, manifest: Manifest, samples: Sequence[tuple[PartitionEntry, _Sample]], unsearched: float
) -> UnderstandingRecord:
    centers = np.concatenate([sample.centers for _, sample in samples]).astype(np.float32)
    queries = np.concatenate([sample.queries for _, sample in samples]).astype(np.float32)
    entries = tuple(
        CategoryEntry(name=one.name, index=one.index.name, centers=len(s.centers), queries=len(s.queries))
        for one, s in samples
    )
    categories = Categories.of({one.name: one.centers for one in entries}, centers, Metric(manifest.metric), 1.0)
    truth = np.repeat(np.arange(len(entries)), [one.queries for one in entries])
    temperature, figures = 1.0, None
    if len(queries) >= 2:
        scores = categories.scores(queries)
        temperature = fitted(scores, truth)
        figures = measured(scores, truth, _best(store, manifest, queries), _rows(manifest), unsearched)
    named = blake3(centers.tobytes() + queries.tobytes() + repr(entries).encode()).hexdigest()[:32]
    with store.scratch() as folder:
        files = {}
        for role, vectors in (("centers", centers), ("queries", queries)):
            np.save(folder / role, vectors, allow_pickle=False)
            name = f"understanding/{named}/{role}.npy"
            files[role] = store.put(folder / f"{role}.npy", name, rows=len(vectors))
    return UnderstandingRecord(files=files, categories=entries, temperature=temperature, figures=figures)


def fitted(scores: Vectors, truth: npt.NDArray[np.int64]) -> float:
    """The temperature under which the true categories of queries, (n,) int64, are likeliest together, of (n, c) float32
    scores: Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", section 4.2. Of those that
    explain them as well, to half a nat, the highest: where every query is right, no probability is 1 for that.
    """
    spread = float(np.std(scores)) or 1.0
    rows = np.arange(len(truth))
    losses = [-np.log(softmax(scores, t * spread)[rows, truth] + 1e-300).sum() for t in _TEMPERATURES]
    return float(_TEMPERATURES[np.flatnonzero(np.array(losses) <= min(losses) + 0.5)[-1]] * spread)


def measured(
    scores: Vectors,
    truth: npt.NDArray[np.int64],
    best: Sequence[tuple[Vectors, Positions]],
    rows: npt.NDArray[np.int64],
    unsearched: float,
) -> CategoryFigures:
    """What becomes of queries with (n, c) float32 scores: probabilities of half of them are by the temperature that the
    other half gives, and so is how many categories are searched at least. `best` are (n, 10) scores and positions that
    each category of `rows` rows has.
    """
    probabilities = np.empty(scores.shape)
    halves = np.arange(len(truth)) % 2 == 0
    for half in (halves, ~halves):
        probabilities[half] = softmax(scores[half], fitted(scores[~half], truth[~half]))
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    # The likeliest are a row of categories, so a hit is kept where its own is among the first so many.
    counts = np.array([len(likely_ones(one, rows, unsearched, _STEADY)) for one in probabilities])
    places = [_places(best, at, one) for at, one in enumerate(probabilities)]
    fewest = [
        _fewest(counts[half], [places[at] for at in np.flatnonzero(half)], len(rows)) for half in (~halves, halves)
    ]
    counts = np.maximum(counts, np.where(halves, *fewest))
    shares = np.array([np.mean(one < count) for one, count in zip(places, counts, strict=True)])
    return CategoryFigures(
        asked=len(truth),
        right=float(right.mean()),
        ece=calibration_error(top, right),
        unsearched=unsearched,
        searched=float(np.mean(counts / len(rows))),
        kept=float(np.mean(shares)),
        same=float(np.mean(shares == 1)),
        fewest=max(fewest),
    )


def _fewest(counts: npt.NDArray[np.int64], places: Sequence[Positions], categories: int) -> int:
    """How many of the likeliest categories have to be searched at least, so that of the first hits, whose categories
    are at such `places` among them, enough are kept where else (n,) `counts` are: 1, 2, 4 and so on, half of all
    `categories` at most; 1 where these keep too few, for then all are searched.
    """
    fewest = 1
    while 2 * fewest <= categories:
        found = np.maximum(counts, fewest)
        if np.mean([np.mean(one < count) for one, count in zip(places, found, strict=True)]) >= KEPT + _SURE:
            return fewest
        fewest *= 2
    return 1


def _places(best: Sequence[tuple[Vectors, Positions]], query: int, probabilities: Probabilities) -> Positions:
    """(hits,): the places of the first hits' categories among the likeliest, of (c,) probabilities."""
    order = np.argsort(-probabilities, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[[place for place, _ in _first(best, query, range(len(best)))]]


def calibration_error(likely: Probabilities, right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error by tenths: the distance of (n,) probabilities from how often they are right, weighed
    by how many there are (Guo et al. 2017, section 2).
    """
    tenth = np.minimum((likely * _TENTHS).astype(np.int64), _TENTHS - 1)
    gaps = np.bincount(tenth, weights=likely - right, minlength=_TENTHS)
    return float(np.abs(gaps).sum() / len(likely))


def _best(store: Store, manifest: Manifest, queries: Vectors) -> list[tuple[Vectors, Positions]]:
    found = []
    for entry in manifest.partitions:
        index: PartitionIndex = open_partition(store, entry, manifest.shards).index
        found.append(index.search(queries, min(_K, index.rows)))
        beat()
    return found


def _rows(manifest: Manifest) -> npt.NDArray[np.int64]:
    return np.array([entry.rows for entry in manifest.partitions], np.int64)


def _first(best: Sequence[tuple[Vectors, Positions]], query: int, places: Sequence[int]) -> set[tuple[int, int]]:
    """(category, position) of the first hits in the categories at `places`."""
    hits = [
        (-float(score), place, int(position))
        for place in places
        for score, position in zip(best[place][0][query], best[place][1][query], strict=True)
        if position >= 0
    ]
    return {(place, position) for _, place, position in sorted(hits)[:_K]}
