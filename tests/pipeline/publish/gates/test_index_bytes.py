"""Indexes that take more room than their type does, or than the night before."""

from __future__ import annotations

from pathlib import Path

import pytest

from index_builders.types import flat
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.sections import GatesConfig
from pipeline.publish.gates import index_bytes
from pipeline.publish.gates.base import Comparison
from pipeline.report.run_report import GateResult
from tests.support.command import run_titles, told, write_titles
from tests.support.stores import manifest_of

TITLES = [f"red lamp number {n}" for n in range(300)]


def grown(manifest: Manifest, role: str, factor: float) -> Manifest:
    """`manifest` with another index of its one partition, a file of which is larger."""
    (entry,) = manifest.partitions
    file = entry.index.files[role]
    files = {**entry.index.files, role: file.model_copy(update={"bytes": int(file.bytes * factor)})}
    index = entry.index.model_copy(update={"files": files, "name": "another"})
    return manifest.model_copy(update={"partitions": (entry.model_copy(update={"index": index}),)})


def judged(store: Path, new: Manifest, old: Manifest | None) -> list[GateResult]:
    """What the gate says, with bounds as they are by default."""
    return [*index_bytes.Gate().check(Comparison(Store.open(str(store)), new, old, None, GatesConfig()))]


def test_an_index_that_is_too_large_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the bytes of its type stop a run; twice the parent's too, where these are more than 1 MB, and ids never
    count. An index that is the parent's is not looked at.
    """
    catalog = write_titles(tmp_path / "c.parquet", TITLES)
    monkeypatch.setattr(index_bytes, "_LEAST_BYTES", 10_000)
    with monkeypatch.context() as patch:
        patch.setattr(flat.Spec, "vector_bytes", lambda spec, dim: 2.0 * dim)  # of four bytes each
        done = run_titles(catalog, tmp_path / "store")
        assert done.exit_code == 3
        assert "index_bytes <= 0.5" in told(done.stderr)[0]
        assert "worst partition: all, 38,445 bytes, 19,200 by its type;" in told(done.stderr)[1]
    assert run_titles(catalog, tmp_path / "store").exit_code == 0
    store, manifest = tmp_path / "store", manifest_of(tmp_path / "store")
    assert judged(store, manifest, manifest) == []
    (result,) = judged(store, grown(manifest, "index", 1.6), manifest)
    assert (result.passed, result.partition) == (False, "all")
    assert all(one.passed for one in judged(store, grown(manifest, "ids", 9), manifest))
    larger = manifest.model_copy(update={"config": {**manifest.config, "index": {}}})
    assert "by its type" in judged(store, grown(manifest, "index", 1.6), larger)[0].advice
    monkeypatch.setattr(index_bytes, "_LEAST_BYTES", 1_000_000)
    (result,) = judged(store, grown(manifest, "index", 9), manifest)
    assert result.passed
    assert result.advice.endswith("less than 1 MB too much, so nothing is stopped")
