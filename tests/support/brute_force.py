"""A published snapshot read by pyarrow alone, searched by numpy, and compared with hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from encoders.base import encoder_spec
from encoders.fusion.base import fusion_spec
from encoders.photos.decode import PhotoLimits, decode
from lookup.hit import Hit
from tests.support.stores import manifest_of

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Flat:
    """All products of a snapshot: embeddings (n, d) float32, and what each hit has to say of its row."""

    vectors: Vectors
    rows: list[dict[str, Any]]

    def best(self, xq: Vectors, k: int, category: str | None = None) -> list[tuple[str, float]]:
        """(id, score) of the k best rows, equal scores in order of partition and position."""
        scores = self.vectors.astype(np.float64) @ xq[0].astype(np.float64)
        chosen = [i for i, row in enumerate(self.rows) if category in (None, row["partition"])]
        chosen.sort(key=lambda i: (-scores[i], self.rows[i]["partition"], i))
        return [(self.rows[i]["id"], float(scores[i])) for i in chosen[:k]]


def read_flat(store: Path) -> Flat:
    """Every live segment of the published snapshot, read by pyarrow alone."""
    vectors, rows = [], []
    manifest = manifest_of(store)
    for partition, segment in manifest.shards.shard_by_shard([one.name for one in manifest.partitions]):
        table = pq.ParquetFile(store / segment.file.path).read_row_group(segment.row_group)
        vectors.append(np.array(table["embedding"].to_pylist(), dtype=np.float32))
        kept = [name for name in ("id", "row", "photo", "attributes") if name in table.column_names]
        rows += [{**row, "partition": partition} for row in table.select(kept).to_pylist()]
    return Flat(np.concatenate(vectors), rows)


def embed(store: Path, text: str | None = None, image: bytes | None = None) -> Vectors:
    """A query by the encoders and the fusion that the manifest names, (1, d) float32."""
    manifest = manifest_of(store)
    given: dict[str, Vectors] = {}
    if text is not None and manifest.text is not None:
        given["text"] = encoder_spec(manifest.text.fields).load("cpu").encode([text], "query")  # type: ignore[attr-defined]
    if image is not None and manifest.image is not None:
        given["image"] = encoder_spec(manifest.image.fields).load("cpu").encode([decode(image, PhotoLimits())])  # type: ignore[attr-defined]
    dims = (entry.dim if entry else None for entry in (manifest.text, manifest.image))
    return fusion_spec(manifest.fusion).load(*dims).queries(**given)


def assert_same(hits: Sequence[Hit], expected: Sequence[tuple[str, float]]) -> None:
    """Equal scores to float32 rounding, and equal ids in order, but for neighbours that score the same."""
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], atol=2e-6)
    differing = [(hit, want) for hit, want in zip(hits, expected, strict=True) if hit.id != want[0]]
    truth = dict(expected)
    for hit, (_, score) in differing:
        assert abs(truth.get(hit.id, expected[-1][1]) - score) < 4e-6, f"{hit.id} stands where another belongs"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
