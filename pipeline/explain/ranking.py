"""The place of a product among all, for a query: exactly, and as the indexes find it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from foundation.metric import Metric
from index_builders.rows.shards import SegmentRef, read_embeddings, read_places
from lookup.candidates import Candidates
from lookup.query import Query, QueryEncoder
from lookup.search import Reader
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from lookup.why.explain import explain_hits
from lookup.why.why import Why
from pipeline.evaluate.exact_search import Part, parts_of, vector_blocks
from pipeline.explain.product import IndexedRow

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Above:
    """A product that scores more, or as much and comes first."""

    id: str
    partition: str
    score: float


@dataclass(frozen=True)
class Rank:
    """Where a product stands for a query. Ranks count from 1; `rank` among all products, by their exact scores.

    `hit` and `hit_in_partition` are its place among the `k` hits of a search, None: it is none. `nprobe` is what its
    index is tuned to, 0: exact. `nprobe_needed` is a number of lists at which a search of its partition has it among
    the hits, where at the tuned one it is not though its rank says so; None: it is, or no number helps. All of that is
    by vectors. `words` is the share of the query's words that it has, None: it is not searched by words, and
    `hit_with_words` its place among the hits where both count.
    """

    k: int
    score: float
    parts: dict[str, float] | None  # of the score: of the texts and of the photos, where it is their sum
    rank: int
    rank_in_partition: int
    products: int
    products_in_partition: int
    above: tuple[Above, ...]  # the best of them, up to k
    hit: int | None
    hit_in_partition: int | None
    nprobe: int
    nprobe_needed: int | None
    words: float | None
    hit_with_words: int | None
    why: Why  # which words and which part of the photo it is for, as its index scores it


@dataclass(frozen=True)
class Asked:
    """A query."""

    text: str | None
    image: bytes | None
    k: int


def rank_of(store: Store, manifest: Manifest, row: IndexedRow, name: str, asked: Asked) -> Rank:
    """Compare a query with every product of the published snapshot `manifest`."""
    reader, queries = Reader.open(store.root), QueryEncoder.of(manifest)
    xq, metric, parts = queries.embed(asked.text, asked.image), Metric(manifest.metric), parts_of(store, manifest)
    mine = next(part for part in parts if part.name == row.partition)
    number = mine.first + row.position
    ref = _segment(mine, row.position)[0]
    query = metric.stored(xq)[0]
    (score,) = _scores(metric, query, read_embeddings(ref)[row.row : row.row + 1]).tolist()
    better, inside, best = _compared(parts, metric, query, score, number, mine, asked.k)
    entry = next(one for one in manifest.partitions if one.name == row.partition)
    hit = _place(reader, xq, asked.k, name)
    hit_inside = _place(reader, xq, asked.k, name, row.partition)
    needed = None
    if hit_inside is None and inside < asked.k and entry.index.nprobe:
        most = int(entry.index.parameters.get("nlist") or entry.rows)
        tried = (entry.index.nprobe << step for step in range(1, 32))
        needed = _least(reader, xq, asked.k, name, row.partition, tried, most)
    itself = Candidates.of([row.partition], [(np.array([score], np.float32), np.array([row.position]))])
    (why,) = explain_hits(reader.opened, queries, Query(asked.text, asked.image), itself)
    return Rank(
        k=asked.k,
        score=score,
        parts=why.modalities,
        rank=better + 1,
        rank_in_partition=inside + 1,
        products=manifest.rows,
        products_in_partition=mine.rows,
        above=tuple(_above(parts, best)),
        hit=hit,
        hit_in_partition=hit_inside,
        nprobe=entry.index.nprobe,
        nprobe_needed=needed,
        words=None if asked.text is None else reader.by_words.share(asked.text, row.partition, row.position),
        hit_with_words=_place_with_words(reader, asked, name),
        why=why,
    )


def _compared(
    parts: list[Part], metric: Metric, query: Vectors, score: float, number: int, mine: Part, k: int
) -> tuple[int, int, list[tuple[float, int]]]:
    """(how many come before a product, how many of its partition, (score, number) of the best of them)."""
    better, inside, best = 0, 0, list[tuple[float, int]]()
    for part in parts:
        for rows, numbers in vector_blocks(part, "embedding"):
            scores = _scores(metric, query, rows)
            before = np.flatnonzero((scores > score) | ((scores == score) & (numbers < number)))
            better += len(before)
            inside += len(before) if part is mine else 0
            few = before[np.lexsort((numbers[before], -scores[before]))[:k]]
            best = sorted([*best, *zip((-scores[few]).tolist(), numbers[few].tolist(), strict=True)])[:k]
    return better, inside, [(-negative, at) for negative, at in best]


def _scores(metric: Metric, query: Vectors, rows: Vectors) -> Scores:
    """(n,) float64, the same for equal rows wherever they lie."""
    stored = metric.stored(rows)
    if metric is Metric.L2:
        apart = stored - query
        return -np.asarray(np.einsum("ij,ij->i", apart, apart, dtype=np.float64))
    return np.asarray(np.einsum("ij,j->i", stored, query, dtype=np.float64))


def _above(parts: list[Part], best: list[tuple[float, int]]) -> Iterator[Above]:
    for score, number in best:
        part = next(one for one in parts if one.first <= number < one.first + one.rows)
        ref, row = _segment(part, number - part.first)
        (name,), _ = read_places(ref, np.array([row], np.int64))
        yield Above(name, part.name, score)


def _segment(part: Part, position: int) -> tuple[SegmentRef, int]:
    """Where a position of a partition lies: its segment, and the row of that."""
    for ref in part.segments:
        if position < ref.rows:
            return ref, position
        position -= ref.rows
    raise ValueError(f"expected a position of {part.name}, {position} rows beyond it")


def _place(
    reader: Reader, xq: Vectors, k: int, name: str, partition: str | None = None, nprobe: int | None = None
) -> int | None:
    hits = reader.search_vector(xq, partition, k, nprobe)
    return next((rank for rank, hit in enumerate(hits, 1) if hit.id == name), None)


def _place_with_words(reader: Reader, asked: Asked, name: str) -> int | None:
    if reader.opened.words is None or asked.text is None:
        return None
    hits = reader.answer(Query(asked.text, asked.image, k=asked.k, rerank=False, understand=False))
    return next((rank for rank, hit in enumerate(hits, 1) if hit.id == name), None)


def _least(
    reader: Reader, xq: Vectors, k: int, name: str, partition: str, tried: Iterator[int], most: int
) -> int | None:
    """The first number of lists of those `tried` that has the product among the hits, or `most` of them, or none."""
    for nprobe in tried:
        if _place(reader, xq, k, name, partition, min(nprobe, most)) is not None:
            return min(nprobe, most)
        if nprobe >= most:
            return None
    return None
