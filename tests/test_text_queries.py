"""Indexes of products with text and photo are tuned for queries by one of them too, and say what each kind finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from encoders.base import Vectors
from encoders.fusion.base import StatesFusion
from index_builders import asked as asking
from index_builders import choose
from index_builders.asked import NO_ROW, PHOTO, TEXT, Alone, asked, by_kind, is_row
from index_builders.build import build
from index_builders.shards import SegmentRef, shard_schema, write_shard
from index_builders.sizing import IndexSettings
from lookup.manifest import IndexRecord
from pipeline import tower_queries as making
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.conftest import config_for, manifest_of, overrides, vitrine
from tests.test_index_builders import clustered, kept

PRODUCTS = 640
OPTIONS = (
    "index.exact_below=512",
    "index.held_out_queries=120",
    "index.large={type: ivf_flat, nlist: 16}",
    "catalog.partition=null",
    "encoders.text.dim=256",
    "shards.unit_rows=200",
    "gates.min_recall=0",
    "gates.max_reject_share=1",
)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo catalog in which every fifth product has no text."""
    folder = tmp_path_factory.mktemp("texts") / "demo"
    write_demo_catalog(folder, DemoOptions(products=PRODUCTS, row_group_rows=200))
    for path in sorted((folder / "catalog").glob("*.parquet")):
        table = pq.read_table(path)
        for name in ("title", "title_zh", "description", "description_zh"):
            texts = [None if row % 5 == 0 else text for row, text in enumerate(table.column(name).to_pylist())]
            table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
        pq.write_table(table, path, row_group_size=200, write_page_checksum=True)
    return folder


@pytest.fixture(scope="module")
def store(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run on it. Tests must not change it."""
    store = tmp_path_factory.mktemp("store") / "store"
    assert run(catalog, store).exit_code == 0
    return store


def run(catalog: Path, store: Path, *more: str) -> Result:
    """A run with both towers."""
    return vitrine("run", "-c", "configs/weightless.yaml", *overrides(catalog, store, *OPTIONS, *more))


def index_of(store: Path) -> IndexRecord:
    """The index of the only partition."""
    return manifest_of(store).partitions[0].index


# --- through the command ---


@pytest.mark.parametrize("fusion", ["{type: concat}", "{type: weighted_sum, text_weight: 0.5}"])
def test_every_kind_reaches_the_target_as_numpy_counts(catalog: Path, store: Path, tmp_path: Path, fusion: str) -> None:
    """Held-out rows, and their texts by what the fusion makes of them, found among all rows by brute force."""
    if "concat" not in fusion:  # which is the other store's
        store = tmp_path / "store"
        assert run(catalog, store, f"fusion={fusion}").exit_code == 0
    index = index_of(store)
    assert {one.kind for one in index.recalls} == {"row", "text", "photo"}
    assert (index.recall, index.recall_queries) == (index.recalls[0].recall, index.recalls[0].queries)
    assert all(one.recall >= index.recall >= 0.95 for one in index.recalls)
    assert all(one.low <= one.recall <= one.high for one in index.recalls)
    assert index.proof is not None
    assert (index.proof.recall_low, index.proof.recall_high) == (index.recalls[0].low, index.recalls[0].high)
    x, texts, has_text = vectors_of(store)
    _, photos, has_photo = vectors_of(store, "image_vector")
    own = drawn_for(len(x))
    own_with_text, own_with_photo = own[has_text[own]], own[has_photo[own]]
    asked_by_text, asked_by_photo = (np.zeros((len(some), x.shape[1])) for some in (own_with_text, own_with_photo))
    factor = np.sqrt(2) if "concat" in fusion else 1  # what half the weight is divided by
    asked_by_text[:, : texts.shape[1]] = factor * texts[own_with_text]
    if "concat" in fusion:  # the other one turns photos towards texts, and adds them up in the same dimensions
        asked_by_photo[:, texts.shape[1] :] = factor * photos[own_with_photo]
    counted = {one.kind: (one.queries, one.recall) for one in index.recalls}
    assert counted["row"] == pytest.approx((len(own), recall(store, x, x[own], own)), abs=1e-9)
    by_text = recall(store, x, asked_by_text, np.full(len(own_with_text), -5))
    assert counted["text"] == pytest.approx((len(own_with_text), by_text), abs=0.002)  # a tie
    assert 0 < len(own_with_text) < len(own)
    assert counted["photo"][0] == len(own_with_photo)
    if "concat" in fusion:
        by_photo = recall(store, x, asked_by_photo, np.full(len(own_with_photo), -5))
        assert counted["photo"][1] == pytest.approx(by_photo, abs=0.002)


def test_rows_alone_would_miss_what_texts_ask(catalog: Path, store: Path, tmp_path: Path) -> None:
    """Tuned for rows alone, the same index searches less widely, and finds less of what is asked by text."""
    shutil.copytree(store / "shards", tmp_path / "store" / "shards")
    neither = ("index.text_queries=false", "index.photo_queries=false")
    assert run(catalog, tmp_path / "store", *neither).exit_code == 0
    alone, both = index_of(tmp_path / "store"), index_of(store)
    assert alone.recalls == ()
    assert alone.nprobe < both.nprobe
    x, texts, has_text = vectors_of(store)
    own = drawn_for(len(x))
    own = own[has_text[own]]
    queries = np.zeros((len(own), x.shape[1]))
    queries[:, : texts.shape[1]] = texts[own]
    assert recall(tmp_path / "store", x, queries, np.full(len(own), -5)) < 0.95
    assert alone.files["index"].blake3 == both.files["index"].blake3  # nothing else differs


def test_the_switch_is_part_of_the_name(catalog: Path, store: Path, tmp_path: Path) -> None:
    """Turned off, the index has the name of its rows alone; on, one that fusion and text encoder make."""
    off, on = (
        config_for(catalog, tmp_path, *OPTIONS, f"index.text_queries={switch}", f"index.photo_queries={switch}")
        for switch in ("false", "true")
    )
    texts, photos = (config_for(catalog, tmp_path, *OPTIONS, f"index.{one}_queries=false") for one in ("photo", "text"))
    assert list(making.tower_queries(texts) or ()) == [TEXT]
    assert list(making.tower_queries(photos) or ()) == [PHOTO]
    assert len({making.tower_queries_identity(config) for config in (off, on, texts, photos)}) == 4
    assert making.tower_queries_identity(off) is None
    rows, dim = index_of(store).rows, index_of(store).dim
    plain = off.index.identity(rows, dim)
    assert on.index.identity(rows, dim, None) == plain
    assert on.index.identity(rows, dim, making.tower_queries_identity(on)) != plain
    seeded = config_for(catalog, tmp_path, *OPTIONS, "encoders.text.dim=512")
    assert making.tower_queries_identity(seeded) not in (None, making.tower_queries_identity(on))
    # A partition whose every row is compared is not asked, whatever there is.
    assert on.index.identity(100, dim, making.tower_queries_identity(on)) == on.index.identity(100, dim)


@pytest.mark.parametrize(
    "more",
    [
        ("encoders.text=null", "catalog.text=[]"),
        ("encoders.image=null", "catalog.image=null"),
        ("shards.towers=false",),
        ("fusion={type: single, modality: image}",),
        ("fusion={type: single, modality: text}",),
    ],
    ids=["photos", "texts", "no towers", "by photo", "by text"],
)
def test_texts_are_not_asked_where_they_cannot_be(catalog: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    """One tower, towers that are not kept, a fusion of one modality: no queries by text, and names that say nothing."""
    config = config_for(catalog, tmp_path, *OPTIONS, *more)
    assert making.tower_queries(config) is None
    assert making.tower_queries_identity(config) is None


def test_rows_alone_are_asked_then(catalog: Path, tmp_path: Path) -> None:
    """Of products that are found by photo alone, rows are held out and nothing else is asked."""
    done = run(catalog, tmp_path / "store", "fusion={type: single, modality: image}")
    assert done.exit_code == 0, done.stderr
    index = index_of(tmp_path / "store")
    assert index.recalls == ()
    assert index.recall_queries == 120


def test_a_fusion_of_states_is_not_asked(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards hold no states of tokens, so a fusion that reads them makes no query of a text vector."""

    class Reads(StatesFusion):
        dim = 8

        def items(self, *given: Any, **more: Any) -> Vectors:
            raise NotImplementedError

        def queries(self, *given: Any, **more: Any) -> Vectors:
            raise NotImplementedError

    monkeypatch.setattr(making, "fusion_of", lambda config: Reads())
    assert making.tower_queries(config_for(catalog, tmp_path, *OPTIONS)) is None


def test_small_partitions_are_not_asked(published: Path) -> None:
    """Exact search finds everything: rows alone are asked."""
    assert all(entry.index.recalls == () for entry in manifest_of(published).partitions)


def test_inspect_shows_every_kind(store: Path, tmp_path: Path) -> None:
    """In the table and on the page, the recall of each kind stands beside the least."""
    done = vitrine("inspect", store, "--html", tmp_path / "page.html")
    kinds = {one.kind: one.recall for one in index_of(store).recalls}
    said = f"(photo {kinds['photo']:.3f}, row {kinds['row']:.3f}, text {kinds['text']:.3f})"
    assert said in done.stdout
    assert said in (tmp_path / "page.html").read_text()
    shown = json.loads(vitrine("inspect", store, "--json").stdout)
    assert len(shown["manifest"]["partitions"][0]["index"]["recalls"]) == 3


# --- the parts ---


def test_texts_of_chosen_rows(tmp_path: Path) -> None:
    """The texts of given rows, across segments and in order, without those that have none, also of a sample."""
    xb = clustered(500)
    missing = {3, 250, 499}
    texts = Alone(segments_with_texts(tmp_path, xb, missing), {TEXT: lambda vectors: 2 * vectors})
    at = np.array([3, 4, 199, 200, 250, 480, 499])
    np.testing.assert_array_equal(texts.queries(TEXT, at, 16), 2 * xb[[4, 199, 200, 480]])
    sample = np.arange(1, 500, 2)
    np.testing.assert_array_equal(texts.among(sample).queries(TEXT, np.array([0, 1, 100]), 16), 2 * xb[[1, 201]])
    np.testing.assert_array_equal(
        texts.among(sample).among(np.array([5, 7])).queries(TEXT, np.array([1]), 16), 2 * xb[[15]]
    )
    assert texts.queries(TEXT, np.array([3, 499]), 16).shape == (0, 16)


def test_a_row_is_an_answer_to_its_own_text(tmp_path: Path) -> None:
    """Asked by text, the row itself counts among the answers; asked as a row, it does not."""
    xb = clustered(400)
    own = np.arange(0, 400, 10)
    queries = asked(kept(xb), own, 10, Alone(segments_with_texts(tmp_path, xb, set()), {TEXT: lambda vectors: vectors}))
    assert queries.own.tolist() == own.tolist() + [NO_ROW[TEXT]] * 40
    assert is_row(queries).sum() == 40
    scores = xb.astype(np.float64) @ xb[own].astype(np.float64).T
    best = np.argsort(-scores, axis=0)[:11].T  # the row itself is first: all are of unit length
    by = by_kind(queries, queries.recalls(np.vstack([best, best])))
    assert by["row"].min() == by["text"].min() == 1
    others = np.array([[p for p in at if p != row][:10] for at, row in zip(best, own, strict=True)])
    by = by_kind(queries, queries.recalls(np.vstack([others, others])))
    assert by["row"].min() == 1
    np.testing.assert_allclose(by["text"], 0.9, atol=1e-9)


def test_a_sample_is_asked_by_its_texts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates that are judged by a sample are judged by the texts of its rows, and the winner by those of all."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 800)
    xb = clustered(1600)
    refs = segments_with_texts(tmp_path, xb, set())
    wanted: list[np.ndarray] = []
    read = asking.read_tower_vectors

    def watched(ref: SegmentRef, tower: str, rows: np.ndarray) -> Vectors:
        wanted.append(rows)
        return read(ref, tower, rows)

    monkeypatch.setattr(asking, "read_tower_vectors", watched)
    (tmp_path / "out").mkdir()
    chosen = IndexSettings(exact_below=512, held_out_queries=60)
    made = build(refs, 16, chosen, tmp_path / "out", {TEXT: lambda vectors: vectors})
    assert sum(map(len, wanted)) >= 120  # 60 of the sample, 60 of each index of all rows
    assert {one.kind: one.queries for one in made.recalls} == {"row": 60, "text": 60}
    assert [one.rows for one in made.considered][:6] == [800] * 6


# --- what is looked at ---


def segments_with_texts(folder: Path, xb: Vectors, missing: set[int]) -> list[SegmentRef]:
    """`xb` in shards of 200 rows, whose text vectors are the rows themselves; null at the positions `missing`."""
    refs = []
    schema = shard_schema(xb.shape[1], xb.shape[1], None, pa.schema([]), {})
    for start in range(0, len(xb), 200):
        part = xb[start : start + 200]
        values: dict[str, Any] = {
            "id": [f"p{start + row}" for row in range(len(part))],
            "row": list(range(len(part))),
            "embedding": part.tolist(),
            "text_vector": [
                None if start + row in missing else part[row].astype("<f2").tobytes() for row in range(len(part))
            ],
        }
        columns = [pa.array(values.get(field.name, [None] * len(part)), field.type) for field in schema]
        path = folder / f"{start}.parquet"
        [digest] = write_shard(path, pa.Table.from_arrays(columns, schema=schema), [0, len(part)])
        refs.append(SegmentRef(path, 0, len(part), digest))
    return refs


def vectors_of(store: Path, tower: str = "text_vector") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, d) embeddings and (n, dt) vectors of a tower as float64, by position, and (n,) bool of who has one."""
    parts = [store / shard.record.file.path for shard in manifest_of(store).shards if shard.record.file]
    table = pa.concat_tables([pq.read_table(path, columns=["embedding", tower]) for path in parts])
    raw = table.column(tower).to_pylist()
    length = next(len(one) for one in raw if one)
    texts = np.array([np.frombuffer(one or bytes(length), "<f2") for one in raw], dtype=np.float64)
    return np.array(table.column("embedding").to_pylist()), texts, np.array([one is not None for one in raw])


def drawn_for(rows: int, nq: int = 120, seed: int = 1234) -> np.ndarray:
    """The positions that a build holds out: drawn with the training rows, all others here, and split from them."""
    held = np.random.default_rng((seed, 1)).choice(rows, nq, replace=False)
    return np.sort(held)


def recall(store: Path, x: np.ndarray, queries: np.ndarray, own: np.ndarray, k: int = 10) -> float:
    """recall@k of the published index at its setting, against brute force in float64, ties to 1e-6 allowed."""
    record = index_of(store)
    index = faiss.read_index(str(store / record.files["index"].path))
    index.nprobe = record.nprobe
    found = index.search(queries.astype(np.float32), k + 1)[1]
    scores = queries @ x.T
    mine = own >= 0
    scores[np.flatnonzero(mine), own[mine]] = -np.inf
    worst = -np.sort(-scores, axis=1)[:, k - 1]
    hits = [
        sum(scores[q, p] >= worst[q] - 1e-6 for p in [p for p in at if p != own[q] and p >= 0][:k])
        for q, at in enumerate(found.tolist())
    ]
    return float(np.mean(hits)) / k
