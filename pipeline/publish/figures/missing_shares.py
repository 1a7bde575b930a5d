"""How products without a photo, or without a text, fare: whether what the fusion puts in its place favours or buries
them, against the ranking of the tower that knows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.base import Encoded, TextEncoder, load_text
from encoders.fusion.base import Fusion, StatesFusion, fused_queries
from foundation.arrays import Mask, Vectors
from index_builders.rows.shards import SegmentRef, read_embeddings, read_ids, read_tower, shard_metadata
from lookup.store.entries.missing_share import MissingShare
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.encoding import fusion_of
from pipeline.config.sections import Embedding
from pipeline.embed.stand_ins import Drawn, aside, drawn
from pipeline.embed.states import CHUNK
from pipeline.plan.units import Plan

TEXT, PHOTO = "text", "photo"
HITS = 10  # of each query
_ROWS = 8192  # of the snapshot at most, from segments in random order
_QUERIES = 512


def missing_shares(
    store: Store, manifest: Manifest, parent: Manifest | None, embedding: Embedding, plan: Plan
) -> tuple[MissingShare, ...] | None:
    """By text and by photo, how many of the hits are products that lack the other; None where it is not measured.

    Queries by text are texts of the catalog as somebody might ask, encoded anew; by photo they are the products' own
    photos, where the fusion reads no states. A product is no hit of its own query. What the parent measured of the
    same files is kept.
    """
    encoders = embedding.encoders
    if not embedding.fusion.stands_in or encoders.text is None or encoders.image is None:
        return None
    if not manifest.rows:
        return ()
    if parent is not None and parent.content == manifest.content and parent.missing is not None:
        return parent.missing
    if not embedding.shards.towers:
        return None
    fusion, rows = fusion_of(embedding), _rows(store, manifest)
    if rows is None:
        return None
    asked = [(name, query) for one in drawn(embedding, plan, _QUERIES) for name, query in _named(one)]
    text = load_text(encoders.text, encoders.device)
    vectors, fused = aside(lambda: _asked_by_text(fusion, text, [query for _, query in asked]))
    by_text = _Queries(vectors, [name for name, _ in asked])
    by_text = replace(by_text, vectors=fusion.before("text", by_text.vectors))
    texts = fusion.before("text", rows.text)
    of_text = _figures(TEXT, fused, by_text, texts, rows.has_text, ~rows.has_image, rows)
    if isinstance(fusion, StatesFusion):
        return (of_text,)  # shards hold no states of photos
    photos = np.random.default_rng(1).permutation(np.flatnonzero(rows.has_image))[:_QUERIES]
    by_photo = _Queries(rows.image[photos], [rows.ids[row] for row in photos.tolist()])
    fused, images = fusion.queries(image=by_photo.vectors), fusion.before("image", rows.image)
    by_photo = replace(by_photo, vectors=fusion.before("image", by_photo.vectors))
    return of_text, _figures(PHOTO, fused, by_photo, images, rows.has_image, ~rows.has_text, rows)


def _asked_by_text(fusion: Fusion, text: TextEncoder, queries: list[str]) -> tuple[Vectors, Vectors]:
    """(nq, dt) and (nq, dim) float32: what the tower says of `queries`, and the fusion of that."""
    vectors, fused = [np.empty((0, text.dim), np.float32)], [np.empty((0, fusion.dim), np.float32)]
    for start in range(0, len(queries), CHUNK):
        some = queries[start : start + CHUNK]
        with_states = isinstance(fusion, StatesFusion)
        found = text.encode_states(some, "query") if with_states else Encoded(text.encode(some, "query"), [])
        vectors.append(found.vectors)
        fused.append(fused_queries(fusion, text=found))
    return np.concatenate(vectors), np.concatenate(fused)


@dataclass(frozen=True)
class _Rows:
    ids: list[str]
    embedding: Vectors
    text: Vectors
    image: Vectors
    has_text: Mask
    has_image: Mask


@dataclass(frozen=True)
class _Queries:
    """(nq, d) float32 of a tower, and the ids of the products that they were made of."""

    vectors: Vectors
    of: list[str]


def _named(one: Drawn) -> Iterator[tuple[str, str]]:
    """The queries of the rows, each behind the id of its product."""
    names = one.rows.column("id").to_pylist()
    return ((name, query) for name, query in zip(names, one.asked, strict=True) if query is not None)


def _rows(store: Store, manifest: Manifest) -> _Rows | None:
    """Whole segments, in random order, until there are `_ROWS`; of the last one some rows. None where no shard has the
    vectors of both towers: runs of one category may have them beside others that have not.
    """
    live, parts, left = manifest.shards.segments, [], _ROWS
    for number in np.random.default_rng(0).permutation(len(live)).tolist():
        segment = manifest.shards.at(number)
        if segment is None or not left:
            continue
        path = store.verified(segment.file)
        lengths = shard_metadata(path)
        if None in (lengths["text_dim"], lengths["image_dim"]):
            continue
        part = _read(SegmentRef(path, segment.row_group, segment.rows, segment.digest), left)
        parts.append(part)
        left -= len(part.ids)
    if not parts:
        return None
    ids = [name for part in parts for name in part.ids]
    return _Rows(
        ids,
        np.concatenate([part.embedding for part in parts]),
        np.concatenate([part.text for part in parts]),
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.has_text for part in parts]),
        np.concatenate([part.has_image for part in parts]),
    )


def _read(ref: SegmentRef, most: int) -> _Rows:
    at = np.sort(np.random.default_rng(0).permutation(ref.rows)[:most])
    (text, has_text), (image, has_image) = (read_tower(ref, tower) for tower in ("text", "image"))
    ids = read_ids(ref).to_pylist()
    names = [ids[row] for row in at.tolist()]
    return _Rows(names, read_embeddings(ref)[at], text[at], image[at], has_text[at], has_image[at])


def _figures(
    kind: str, fused: Vectors, asked: _Queries, tower: Vectors, has: Mask, lacks: Mask, rows: _Rows
) -> MissingShare:
    """The shares among rows that have what is asked by."""
    at = np.flatnonzero(has)
    place = {rows.ids[row]: number for number, row in enumerate(at.tolist())}
    own = np.array([place.get(name, -1) for name in asked.of], dtype=np.int64)
    lacking = lacks[at]
    shares = (
        _share(queries @ of[at].T, own, lacking) for queries, of in ((fused, rows.embedding), (asked.vectors, tower))
    )
    share, alone = shares
    return MissingShare(kind=kind, queries=len(fused), rows=len(at), lacking=int(lacking.sum()), share=share, own=alone)


def _share(scores: Vectors, own: npt.NDArray[np.int64], lacking: Mask) -> float:
    """The share of `lacking` columns among the best of each row; column own[i] is no hit of row i."""
    known = np.flatnonzero(own >= 0)
    scores[known, own[known]] = -np.inf
    hits = min(HITS, scores.shape[1])
    if not scores.size:
        return 0.0
    return float(lacking[np.argpartition(-scores, hits - 1, axis=1)[:, :hits]].mean())
