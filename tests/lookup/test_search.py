"""Search held against brute force in numpy over the embeddings of all shards, with the snapshot's own encoders."""

from __future__ import annotations

import gc
import inspect
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import lookup
from encoders.types.hashed_text import Spec as HashedTextSpec
from foundation.errors import InputError
from lookup.query import Query, QueryEncoder
from lookup.search import Reader
from lookup.store.fields import FileRef
from lookup.store.store import Store
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.brute_force import Flat, assert_same, embed, read_flat
from tests.support.command import ANY_NIGHT, config_for, run
from tests.support.stores import manifest_of

TEXTS = ["red dress", "blue cup with dots", "黑色 台灯", "zebra"]


@pytest.fixture(scope="module")
def store(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 products with photos, all partitions exact."""
    path = tmp_path_factory.mktemp("search") / "store"
    run(config_for(demo, path))
    return path


@pytest.fixture(scope="module")
def flat(store: Path) -> Flat:
    """The same, for brute force."""
    return read_flat(store)


@pytest.fixture(scope="module")
def reader(store: Path) -> Reader:
    """The open snapshot."""
    return lookup.open(str(store))


@pytest.fixture(scope="module")
def photo(demo: Path) -> bytes:
    """A photo of what the catalog might have."""
    return (demo / "query-photos" / "red-dress.jpg").read_bytes()


@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.parametrize("what", ["text", "photo", "both"])
def test_exact_search_is_brute_force(store: Path, flat: Flat, reader: Reader, photo: bytes, what: str, k: int) -> None:
    """Ids, order and scores over all partitions and in each one, also where k exceeds the partition."""
    for text in TEXTS:
        words = None if what == "photo" else text
        image = None if what == "text" else photo
        xq = embed(store, words, image)
        for category in (None, *reader.categories):
            hits = reader.search(words, image, category, k)
            expected = flat.best(xq, k, category)
            assert len(hits) == len(expected) == min(k, sum(category in (None, r["partition"]) for r in flat.rows))
            assert_same(hits, expected)
            assert category is None or {hit.partition for hit in hits} == {category}


def test_a_hit_is_the_catalog_row(demo: Path, reader: Reader, photo: bytes) -> None:
    """Attributes, photo and source of a hit lead to one row of the catalog, which has the hit's id."""
    columns = ["title", "title_zh", "price", "brand", "image_link"]
    hits = reader.search("dress", photo, k=120)
    assert len({hit.id for hit in hits}) == 120
    for hit in hits:
        path, group, number = hit.source
        row = pq.ParquetFile(path).read_row_group(group).slice(number, 1).to_pylist()[0]
        assert row["id"] == hit.id
        assert {name: row[name] for name in columns} == hit.attributes
        assert row["product_type"].split(">")[0].strip() == hit.partition
        assert row["image_link"] == hit.photo


def test_source_counts_from_the_first_row_group_of_a_unit(demo: Path, tmp_path: Path) -> None:
    """In a unit of several row groups and a run of one category, the row number still leads to the row."""
    run(config_for(demo, tmp_path / "store", "shards.unit_rows=1000"), category="Home")
    hits = lookup.open(str(tmp_path / "store")).search("lamp", k=100)
    assert hits
    for hit in hits:
        file = pq.ParquetFile(hit.source[0])
        rows = file.read_row_groups(range(hit.source[1], file.num_row_groups), columns=["id"])
        assert rows["id"][hit.source[2]].as_py() == hit.id


def test_threads_get_what_one_thread_gets(store: Path, photo: bytes) -> None:
    """Eight threads that share a fresh reader find the same hits."""
    asked = [(text, image, k) for text in TEXTS for image in (None, photo) for k in (1, 7, 30)]
    alone = lookup.open(str(store))
    expected = [alone.search(text, image, k=k) for text, image, k in asked]
    shared = lookup.open(str(store))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: shared.search(one[0], one[1], k=one[2]), asked * 4))
    assert found == expected * 4


def test_a_reader_stays_with_its_snapshot(tmp_path: Path) -> None:
    """What is published later changes no answer of a reader that was open; a new reader sees it."""
    for products in (60, 90):
        write_demo_catalog(tmp_path / str(products), DemoOptions(products=products, photos="none"))
    text_only = ["catalog.image=null", "encoders.image=null", "catalog.attributes=[title]", *ANY_NIGHT]
    target = tmp_path / "store"
    run(config_for(tmp_path / "60", target, *text_only))
    old = lookup.open(str(target))
    before = old.search("red", k=200)
    report = run(config_for(tmp_path / "90", target, *text_only, "encoders.text.dim=128"))
    assert report.status == "published"
    assert len(before) == 60
    assert old.search("red", k=200) == before
    assert old.search("lamp", k=5) == old.search("lamp", k=200)[:5]
    assert len(lookup.open(str(target)).search("red", k=200)) == 90


# --- indexes that are not exact ---


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,400 texts in five partitions: the two largest IVF-PQ, the others exact."""
    folder = tmp_path_factory.mktemp("mixed")
    write_demo_catalog(folder / "demo", DemoOptions(products=2400, photos="none", row_group_rows=600))
    more = ["catalog.image=null", "encoders.image=null", "catalog.attributes=[title]", "encoders.text.dim=64"]
    index = ["index.exact_below=512", "index.large={type: ivf_pq, nbits: 6, refine_factor: 10}", "shards.unit_rows=600"]
    run(config_for(folder / "demo", folder / "store", *more, *index, "gates.min_recall=0.5"))
    return folder / "store"


def test_mixed_indexes_find_nearly_what_brute_force_finds(mixed: Path) -> None:
    """Recall@10 of at least 0.9 against brute force, overall and in each partition; every score is the true one."""
    types = {partition.name: partition.index.type for partition in manifest_of(mixed).partitions}
    assert set(types.values()) == {"flat", "ivf_pq"}
    reader, flat = lookup.open(str(mixed)), read_flat(mixed)
    names = {row["id"]: i for i, row in enumerate(flat.rows)}
    assert len(names) == 2400
    rng = np.random.default_rng(5)
    texts = [flat.rows[i]["attributes"]["title"] for i in rng.choice(len(flat.rows), 25, replace=False)]
    for category in (None, *reader.categories):
        found = true = 0
        for text in texts:
            xq = embed(mixed, text)
            expected = flat.best(xq, 10, category)
            hits = reader.search(text, category=category)
            for hit in hits:
                assert abs(hit.score - float(flat.vectors[names[hit.id]] @ xq[0])) < 2e-6
            found += sum(hit.score >= expected[-1][1] - 2e-6 for hit in hits)
            true += len(expected)
            if category is not None and types[category] == "flat":
                assert_same(hits, expected)
        assert found / true >= 0.9, f"{category}: recall {found / true}"


def test_all_lists_probed_is_closer_than_one(mixed: Path) -> None:
    """`nprobe` replaces the tuned one; more than there are lists means all of them."""
    reader, flat = lookup.open(str(mixed)), read_flat(mixed)
    found = {1: 0, 10_000: 0}
    for text in [row["attributes"]["title"] for row in flat.rows[::100]]:
        least = flat.best(embed(mixed, text), 10)[-1][1] - 2e-6
        for nprobe in found:
            found[nprobe] += sum(hit.score >= least for hit in reader.search(text, nprobe=nprobe))
    assert found[1] < found[10_000]
    with pytest.raises(InputError, match="nprobe of at least 1"):
        reader.search("red", nprobe=0)


# --- a modality that is missing ---


def test_products_without_a_photo_are_ranked_by_text_as_if_all_had_none(
    demo: Path, store: Path, tmp_path: Path
) -> None:
    """Of products a third of which lost their photo, text finds exactly what pure text ranking finds."""
    catalog = pq.read_table(demo / "catalog")
    links = [None if i % 3 == 0 else link for i, link in enumerate(catalog["image_link"].to_pylist())]
    at = catalog.schema.get_field_index("image_link")
    (tmp_path / "half" / "catalog").mkdir(parents=True)
    holed = catalog.set_column(at, catalog.schema.field(at), [links])
    pq.write_table(holed, tmp_path / "half" / "catalog" / "part.parquet", row_group_size=30)
    run(config_for(tmp_path / "half", tmp_path / "store", f"catalog.image_root={demo}"))
    run(config_for(demo, tmp_path / "texts", "catalog.image=null", "encoders.image=null"))
    holes, texts = lookup.open(str(tmp_path / "store")), lookup.open(str(tmp_path / "texts"))
    without = {name for name, link in zip(catalog["id"].to_pylist(), links, strict=True) if link is None}
    assert len(without) == 40
    for text in TEXTS:
        # One is stored as float16 of t, the other as float16 of t * sqrt(1/2): scores agree to that rounding.
        scores = {hit.id: hit.score for hit in texts.search(text, k=120)}
        found = holes.search(text, k=120)
        assert len(found) == 120
        for hit in found:
            assert hit.score == pytest.approx(scores[hit.id], abs=1e-3)
        pure = texts.search(text, k=10)
        mine, theirs = ({hit.id for hit in hits} & without for hits in (found[:10], pure))
        least = pure[-1].score
        assert all(abs(scores[name] - least) < 2e-3 for name in mine ^ theirs)


# --- queries that cannot be asked ---


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "<b></b>", "&nbsp;"])
def test_a_text_without_a_visible_character_is_refused(reader: Reader, text: str) -> None:
    """It would match everything alike."""
    with pytest.raises(InputError, match="at least one visible character"):
        reader.search(text)


def test_what_cannot_be_asked_is_refused(reader: Reader, store: Path) -> None:
    """No query, no photo, no hit, no such category: each is told with what to do."""
    for wrong, said in [
        ({}, "a text, a photo or both"),
        ({"image": b"GIF89a, but not really"}, "a photo: JPEG"),
        ({"text": "red", "k": 0}, "k of at least 1"),
        ({"text": "red", "category": "Clothin"}, "'Clothing'"),
    ]:
        with pytest.raises(InputError) as caught:
            reader.search(**wrong)  # type: ignore[arg-type]
        assert said in caught.value.expected
    with pytest.raises(InputError, match="'Clothing'"):
        Reader.open(str(store), ["Clothing", "Cloting"])
    with pytest.raises(InputError, match="vitrine run"):
        lookup.open(str(store / "absent"))


def test_a_photo_is_not_asked_of_texts_alone(tmp_path: Path, demo: Path, photo: bytes) -> None:
    """A snapshot without photo vectors says so."""
    run(config_for(demo, tmp_path / "store", "catalog.image=null", "encoders.image=null"))
    with pytest.raises(InputError, match=r"encoders\.image"):
        lookup.open(str(tmp_path / "store")).search(image=photo)


def test_another_version_of_an_encoder_is_refused(store: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of another encoder would be compared with the products' for nothing; another Pillow may give the same
    pixels.
    """
    reader = lookup.open(str(store))
    with monkeypatch.context() as patched:
        patched.setattr(HashedTextSpec, "version", 99)
        with pytest.raises(InputError, match="vitrine inspect"):
            reader.search("red")
        # the other tower is as it was
        assert reader.search(image=photo, k=1)
    assert reader.search("red", k=1)
    with monkeypatch.context() as patched:
        patched.setattr("PIL.__version__", "0.0.1")  # other pixels: lookup/test_identities.py
        assert lookup.open(str(store)).search(image=photo, k=1)


def test_an_encoder_of_a_later_version_is_refused(store: Path, tmp_path: Path) -> None:
    """Fields that this version does not know are told, not raised from the depths."""
    manifest = manifest_of(store)
    assert manifest.text is not None
    text = manifest.text.model_copy(update={"fields": {**manifest.text.fields, "heads": 8}})
    later = manifest.model_copy(update={"text": text})
    with pytest.raises(InputError, match="does not know it"):
        QueryEncoder.of(later).embed("red")


def test_a_query_is_cut_and_capped_as_the_products_were(demo: Path, store: Path, tmp_path: Path, photo: bytes) -> None:
    """max_text_chars and the photo caps of the snapshot's config hold for queries too."""
    run(config_for(demo, tmp_path / "store", "catalog.max_text_chars=9", "gates.max_degraded_share=1"))
    cut = lookup.open(str(tmp_path / "store"))
    assert cut.search("red dress with dots", k=5) == cut.search("red dress", k=5)
    manifest = manifest_of(store)
    catalog = {**manifest.config["catalog"], "max_photo_bytes": len(photo) - 1}
    capped = QueryEncoder.of(manifest.model_copy(update={"config": {**manifest.config, "catalog": catalog}}))
    with pytest.raises(InputError, match=f"more than {len(photo) - 1:,} bytes"):
        capped.embed(image=photo)


# --- what a reader keeps ---


def test_a_dropped_reader_is_gone(store: Path) -> None:
    """A process that opens snapshot after snapshot keeps none that it has dropped."""
    reader = lookup.open(str(store))
    assert reader.search("red dress", k=3)
    kept = weakref.ref(reader.store)
    del reader
    gc.collect()
    assert kept() is None


def test_a_slow_shard_holds_up_no_other(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread checks a shard, hits of another shard come; the digest of each shard is checked once."""
    reader = lookup.open(str(store))
    shards = [shard for shard in reader.manifest.shards.entries if shard.file is not None]
    slow, quick = (shard.file for shard in shards[:2])
    assert slow is not None
    assert quick is not None
    waiting, go_on, checked = threading.Event(), threading.Event(), list[str]()
    verified = Store.verified

    def check(self: Store, file: FileRef) -> Path:
        checked.append(file.path)
        if file == slow:
            waiting.set()
            assert go_on.wait(30)
        return verified(self, file)

    monkeypatch.setattr(Store, "verified", check)
    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(reader.opened.segments.table, slow, 0) for _ in range(2)]
        assert waiting.wait(30)
        assert pool.submit(reader.opened.segments.table, quick, 0).result(30).num_rows
        go_on.set()
        assert first[0].result(30) is first[1].result(30)
    assert reader.opened.segments.table(slow, 1).num_rows
    assert sorted(checked) == sorted([slow.path, quick.path])


def test_search_takes_what_a_query_has(reader: Reader) -> None:
    """Each field of `Query` is a keyword of `search`, as `help` shows; another word is refused."""
    shown = inspect.signature(Reader.search).parameters
    assert list(shown) == ["self", *inspect.signature(Query).parameters]
    assert reader.search("red dress", k=3, all_categories=True) == reader.answer(Query("red dress", k=3))
    with pytest.raises(TypeError, match="'categories'"):
        reader.search("red dress", categories=True)  # type: ignore[call-arg]
