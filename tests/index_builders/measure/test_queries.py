"""Indexes are tuned for what users ask: texts and photos of products, encoded anew, or the queries of a file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from click.testing import Result

from encoders.photos.decode import PhotoError
from encoders.types.hashed_text import HashedText
from foundation.arrays import Vectors
from index_builders.build import build
from index_builders.choose import choice as choose
from index_builders.measure.queries import NO_ROW, PHOTO, TEXT, TowerQueries, by_kind, inside, is_row, make_queries
from index_builders.rows.shards import SegmentRef, read_embeddings
from index_builders.settings import IndexSettings
from lookup.store.entries.index_record import IndexRecord
from pipeline.build import tower_queries as making
from pipeline.build.photo_views import as_taken
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import config_for, overrides, told, vitrine
from tests.support.nights import LARGE, SMALL, night, titles
from tests.support.nights import index_of as night_index
from tests.support.partitions import clustered, segments_of, vectors_file
from tests.support.stores import manifest_of

PRODUCTS = 640
OPTIONS = (
    "index.exact_below=512",
    "index.held_out_queries=120",
    "index.large={type: ivf_flat, nlist: 16}",
    "catalog.partition=null",
    "encoders.text.dim=256",
    "encoders.image.dim=256",
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
    _, _, has_photo = vectors_of(store, "image_vector")
    own = drawn_for(len(x))
    own_with_text, own_with_photo = own[has_text[own]], own[has_photo[own]]
    asked_by_text = np.zeros((len(own_with_text), x.shape[1]))
    factor = np.sqrt(2) if "concat" in fusion else 1  # what half the weight is divided by
    asked_by_text[:, : texts.shape[1]] = factor * texts[own_with_text]
    counted = {one.kind: (one.queries, one.recall) for one in index.recalls}
    assert counted["row"] == pytest.approx((len(own), recall(store, x, x[own], own)), abs=1e-9)
    by_text = recall(store, x, asked_by_text, np.full(len(own_with_text), -5))
    assert counted["text"] == pytest.approx((len(own_with_text), by_text), abs=0.002)  # a tie
    assert 0 < len(own_with_text) < len(own)
    assert counted["photo"][0] == len(own_with_photo)


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
    assert list(making.tower_queries(texts.settings.indexing) or ()) == [TEXT]
    assert list(making.tower_queries(photos.settings.indexing) or ()) == [PHOTO]
    assert len({making.tower_queries_identity(config.settings.indexing) for config in (off, on, texts, photos)}) == 4
    assert making.tower_queries_identity(off.settings.indexing) is None
    rows, dim = index_of(store).rows, index_of(store).dim
    plain = off.index.identity(rows, dim)
    assert on.index.identity(rows, dim, None) == plain
    assert on.index.identity(rows, dim, making.tower_queries_identity(on.settings.indexing)) != plain
    seeded = config_for(catalog, tmp_path, *OPTIONS, "encoders.text.dim=512")
    assert making.tower_queries_identity(seeded.settings.indexing) not in (
        None,
        making.tower_queries_identity(on.settings.indexing),
    )
    # A partition whose every row is compared is not asked, whatever there is.
    assert on.index.identity(100, dim, making.tower_queries_identity(on.settings.indexing)) == on.index.identity(
        100, dim
    )


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        (("encoders.text=null", "catalog.text=[]"), [PHOTO]),
        (("encoders.image=null", "catalog.image=null"), [TEXT]),
        (("shards.towers=false",), [TEXT, PHOTO]),
        (("fusion={type: single, modality: image}",), [PHOTO]),
        (("fusion={type: single, modality: text}",), [TEXT]),
        (("index.text_queries=false", "fusion={type: single, modality: text}"), []),
    ],
)
def test_what_products_are_found_by_is_asked(
    catalog: Path, tmp_path: Path, more: tuple[str, ...], kinds: list[str]
) -> None:
    """One tower or two, vectors of towers kept or not: every kind that a user can ask by, and no other."""
    config = config_for(catalog, tmp_path, *OPTIONS, *more)
    assert list(making.tower_queries(config.settings.indexing) or ()) == kinds
    assert (making.tower_queries_identity(config.settings.indexing) is None) == (not kinds)


def test_texts_are_encoded_as_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The titles of held-out products go through the text tower as queries; vectors of shards are not asked."""
    asked_for: list[str] = []
    forward = HashedText.forward

    def seen(self: HashedText, chunk: Any, role: Any) -> Vectors:
        asked_for.extend(chunk if role == "query" else [])
        return forward(self, chunk, role)

    monkeypatch.setattr(HashedText, "forward", seen)
    rows = titles(600)
    assert night(tmp_path, rows, *SMALL, LARGE).exit_code == 0
    assert asked_for[:100] == [rows[at] for at in drawn_for(600, 100)]
    found = {one.kind: one.queries for one in night_index(tmp_path).recalls}
    assert found == {"row": 100, "text": 100}


def test_a_photo_that_is_gone_is_counted(
    catalog: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos that cannot be read again while an index is tuned are left out and told; others are changed views."""
    shutil.copytree(store / "shards", tmp_path / "store" / "shards")
    taken: list[tuple[int, ...]] = []
    read, view = making.fetch, making.as_taken

    def sometimes(photo: dict[str, Any], *more: Any) -> bytes:
        if len(photo["path"]) and int(blake3(photo["path"].encode()).hexdigest(), 16) % 4 == 0:
            raise PhotoError("image_not_found", "gone")
        return read(photo, *more)

    def viewed(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        made = view(photo, rng)
        assert made.shape != photo.shape or (made != photo).any()
        taken.append(made.shape)
        return made

    monkeypatch.setattr(making, "fetch", sometimes)
    monkeypatch.setattr(making, "as_taken", viewed)
    done = run(catalog, tmp_path / "store", "index.text_queries=false")
    assert done.exit_code == 0, done.stderr
    counted = {one.kind: one.queries for one in index_of(tmp_path / "store").recalls}
    whole = {one.kind: one.queries for one in index_of(store).recalls}
    assert 0 < counted["photo"] == len(taken) < whole["photo"]
    assert re.search(r"\d+ of \d+ photos to ask by could not be read", log_of(tmp_path / "store"))


def test_views_depend_on_their_seed_alone() -> None:
    """The same photo and seed give the same view, of any size and shape; another seed gives another."""
    for shape in ((1, 1, 3), (2, 500, 3), (300, 200, 3), (1500, 900, 3)):
        photo = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        one, same, other = (as_taken(photo, np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert one.dtype == np.uint8
        assert shape == (1, 1, 3) or one.shape != other.shape or (one != other).any()


def test_the_queries_of_a_file_are_asked(catalog: Path, store: Path, tmp_path: Path) -> None:
    """By kind; unchanged ones keep the index, others or another photo under the same name give it another name."""
    shutil.copytree(store / "shards", tmp_path / "store" / "shards")
    shutil.copy(catalog / "query-photos" / "red-dress.jpg", tmp_path / "a.jpg")
    rows = {"text": ["red dress", "cup", None, None, "blue"], "image": [None, None, "a.jpg", "gone.jpg", "a.jpg"]}
    pq.write_table(pa.table(rows), tmp_path / "q.parquet")
    names = []
    for change in range(3):
        if change == 2:
            other = next(path for path in (catalog / "query-photos").iterdir() if path.name != "red-dress.jpg")
            shutil.copy(other, tmp_path / "a.jpg")
        done = run(catalog, tmp_path / "store", f"index.queries={tmp_path / 'q.parquet'}")
        assert done.exit_code == 0, done.stderr
        index = index_of(tmp_path / "store")
        assert {one.kind: one.queries for one in index.recalls} == {"row": 120, "text": 2, "photo": 1, "both": 1}
        names.append(index.name)
    assert names[0] == names[1] != names[2]
    assert index_of(store).name not in names


def test_a_file_of_queries_that_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    """Photos alone, of products that are found by text; and a file that is not there."""
    pq.write_table(pa.table({"image": ["a.jpg"]}), tmp_path / "q.parquet")
    for name, said in (("q.parquet", "queries by text"), ("none.parquet", "a Parquet file")):
        done = night(tmp_path, titles(600), *SMALL, LARGE, f"index.queries={tmp_path / name}")
        assert done.exit_code == 2
        assert said in told(done.stderr)[0]
        assert "--queries" not in done.stderr  # the key that names the file is told
        assert "index.queries" in told(done.stderr)[2]
    assert not list((tmp_path / "store" / "runs").glob("*/units"))  # before anything is encoded


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
    """The texts of given rows, across segments and in order, also of a sample."""
    xb = clustered(500)
    texts = TowerQueries(segments_of(tmp_path, xb, per=200), {TEXT: doubled})
    at = np.array([4, 199, 200, 480])
    np.testing.assert_array_equal(texts.queries(TEXT, at, 16), 2 * xb[at])
    sample = np.arange(1, 500, 2)
    np.testing.assert_array_equal(texts.among(sample).queries(TEXT, np.array([0, 1, 100]), 16), 2 * xb[[1, 3, 201]])
    np.testing.assert_array_equal(
        texts.among(sample).among(np.array([5, 7])).queries(TEXT, np.array([1]), 16), 2 * xb[[15]]
    )
    assert texts.queries(TEXT, np.array([], np.int64), 16).shape == (0, 16)


def doubled(segments: Sequence[SegmentRef], positions: np.ndarray) -> Vectors:
    """Twice the embeddings of rows, for queries."""
    rows = [read_embeddings(ref)[at] for ref, at in inside(segments, positions)]
    return 2 * np.concatenate([np.zeros((0, 16)), *rows])


def test_a_row_is_an_answer_to_its_own_text(tmp_path: Path) -> None:
    """Asked by text, the row itself counts among the answers; asked as a row, it does not."""
    xb = clustered(400)
    own = np.arange(0, 400, 10)
    queries = make_queries(vectors_file(xb), own, 10, TowerQueries(segments_of(tmp_path, xb, per=200), {TEXT: doubled}))
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
    refs = segments_of(tmp_path, xb, per=200)
    wanted: list[np.ndarray] = []

    def watched(segments: Sequence[SegmentRef], positions: np.ndarray) -> Vectors:
        wanted.append(positions)
        return doubled(segments, positions)

    (tmp_path / "out").mkdir()
    chosen = IndexSettings(exact_below=512, held_out_queries=60, max_bytes_per_vector=60)  # too few for whole vectors
    made = build(refs, 16, chosen, tmp_path / "out", {TEXT: watched})
    assert sum(map(len, wanted)) >= 120  # 60 of the sample, 60 of each index of all rows
    assert {one.kind: one.queries for one in made.measured.recalls} == {"row": 60, "text": 60}
    assert [one.rows for one in made.considered][:6] == [800] * 6


# --- what is looked at ---


def log_of(store: Path) -> str:
    """The log of the last run."""
    return (sorted((store / "runs").iterdir())[-1] / "log.txt").read_text()


def vectors_of(store: Path, tower: str = "text_vector") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, d) embeddings and (n, dt) vectors of a tower as float64, by position, and (n,) bool of who has one."""
    parts = [store / shard.file.path for shard in manifest_of(store).shards.entries if shard.file]
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
