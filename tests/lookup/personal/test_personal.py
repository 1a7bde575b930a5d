"""Searches by products, held against brute force in numpy over the towers' vectors of all shards."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import lookup
from encoders.fusion.base import Fusion, fusion_spec
from encoders.fusion.concat import Concat
from foundation.errors import InputError
from lookup.personal.items import ItemQueries
from lookup.personal.places import Place
from lookup.personal.wishes import faded
from lookup.query import Query
from lookup.search import Reader
from tests.support.brute_force import Flat, Vectors, embed, read_flat
from tests.support.command import told, vitrine
from tests.support.stores import manifest_of


@pytest.fixture(scope="module")
def reader(published: Path) -> Reader:
    """The demo catalog, open."""
    return lookup.open(str(published))


@pytest.fixture(scope="module")
def flat(published: Path) -> Flat:
    """The same, for brute force."""
    return read_flat(published)


@pytest.fixture(scope="module")
def asked_by(published: Path) -> dict[str, Vectors]:
    """(1, dim) of each id: what a search by its text and photo would ask by, of the towers' vectors in shards."""
    manifest = manifest_of(published)
    dims = (entry.dim if entry else None for entry in (manifest.text, manifest.image))
    fusion, found = fusion_spec(manifest.fusion).load(*dims), {}
    for shard in manifest.shards.entries:
        assert shard.file is not None
        for row in pq.read_table(published / shard.file.path).to_pylist():
            text, image = (
                None if row[name] is None else np.frombuffer(row[name], "<f2").astype(np.float32)[None]
                for name in ("text_vector", "image_vector")
            )
            found[row["id"]] = fusion.queries(text, image)
    assert len(found) == 120
    return found


def expected(flat: Flat, xq: Vectors, k: int, apart: Sequence[str] = ()) -> list[tuple[str, float]]:
    return [one for one in flat.best(xq, 120) if one[0] not in apart][:k]


@pytest.mark.parametrize("k", [1, 10, 200])
def test_like_finds_what_is_near_a_product_and_not_the_product(
    reader: Reader, flat: Flat, asked_by: dict[str, Vectors], k: int
) -> None:
    """Of one product its own query, of several the mean of theirs; there are min(k, all others) hits."""
    ids = [row["id"] for row in flat.rows]
    for asked in (ids[:1], ids[7:8], ids[20:23]):
        hits = reader.search(like=asked, k=k)
        wanted = expected(flat, np.mean([asked_by[one] for one in asked], axis=0), k, asked)
        assert len(hits) == min(k, 120 - len(asked))
        np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in wanted], atol=2e-3)
        assert {hit.id for hit in hits[:5]} & {one for one, _ in wanted[:5]}


def test_like_beside_a_text_asks_for_both_equally(
    published: Path, reader: Reader, flat: Flat, asked_by: dict[str, Vectors]
) -> None:
    """Scores are the mean of both scores; a filter and a category still bind."""
    one = flat.rows[3]["id"]
    xq = (embed(published, "red dress") + asked_by[one]) / 2
    hits = reader.search("red dress", like=[one], k=20)
    np.testing.assert_allclose([hit.score for hit in hits], [s for _, s in expected(flat, xq, 20, [one])], atol=2e-3)
    hits = reader.search("red dress", like=[one], category="Home", where=["price < 40"], k=500)
    assert {hit.partition for hit in hits} == {"Home"}
    assert len(hits) == len(reader.search("red dress", category="Home", where=["price < 40"], k=500))


def agreeing(flat: Flat, asked_by: dict[str, Vectors], shares: dict[str, float]) -> float:
    """How much of a history of products with these shares counts, by loops over all products."""
    ids, found = [row["id"] for row in flat.rows], 0.0
    for one, share in shares.items():
        others = sum(asked_by[other][0] * weight for other, weight in shares.items() if other != one) / (1 - share)
        partition = flat.rows[ids.index(one)]["partition"]
        rows = [at for at, row in enumerate(flat.rows) if row["partition"] == partition]
        scores = flat.vectors[rows].astype(np.float64) @ others
        found += share * (scores[rows.index(ids.index(one))] - scores.mean()) / scores.std()
    beyond = found / np.sqrt(2 * sum(share**2 for share in shares.values()))
    return float(np.clip(beyond - 1, 0, 1))


def test_a_history_moves_the_query_by_its_share(
    published: Path, reader: Reader, flat: Flat, asked_by: dict[str, Vectors]
) -> None:
    """The newest counts most, each one before it 0.8 of that; `mix` of it is in the query where its products agree, and
    it stays findable.
    """
    seed, text = flat.rows[5]["id"], embed(published, "blue")
    a, b = (hit.id for hit in reader.search(like=[seed], k=2))
    history = [seed, a, seed, b]
    shares = np.array([0.8**3, 0.8**2, 0.8, 1])
    mean = np.einsum("n,nqd->qd", shares / shares.sum(), np.array([asked_by[one] for one in history]))
    for mix in (0.2, 0.9):
        hits = reader.search("blue", history=history, mix=mix, k=120)
        wanted = flat.best(((1 - mix) * text + mix * mean).astype(np.float32), 120)
        np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in wanted], atol=2e-3)
        assert {hit.id for hit in hits} == set(asked_by)
    equal = reader.search("blue", history=history, weights=[1, 1, 1, 1], mix=0.9, k=5)
    mean = np.mean([asked_by[one] for one in history], axis=0)
    wanted = flat.best((0.1 * text + 0.9 * mean).astype(np.float32), 5)
    np.testing.assert_allclose([hit.score for hit in equal], [score for _, score in wanted], atol=2e-3)


def test_a_history_counts_as_far_as_it_agrees_with_itself(
    reader: Reader, flat: Flat, asked_by: dict[str, Vectors]
) -> None:
    """Nothing where its products are no more alike than chance has it, and of one product, however often it comes;
    between that and all of it, what numpy makes of every product's score.
    """
    ids = [row["id"] for row in flat.rows]
    drawn, between = np.random.default_rng(0), 0
    for _ in range(40):
        history = [ids[at] for at in drawn.choice(len(ids), 3, replace=False)]
        wanted = agreeing(flat, asked_by, dict(zip(history, np.array([0.64, 0.8, 1]) / 2.44, strict=True)))
        counted = reader.found(Query("cup", history=history, mix=0.5)).history
        assert counted == pytest.approx(wanted / 2, abs=0.02)
        between += 0.1 < wanted < 0.9
    assert between
    plain = reader.search("cup")
    for history in ([ids[3]], [ids[3]] * 3):
        found = reader.found(Query("cup", history=history, mix=0.9))
        assert (found.history, found.hits) == (0.0, plain)
    assert reader.found(Query("cup")).history is None


def test_random_histories_rarely_move_a_search(reader: Reader) -> None:
    """Of any length: of 200 drawn histories of 2, 4 and 8 products each fewer than a quarter count for anything."""
    ids = [str(one) for name in reader.categories for one in reader.ids(name)]
    drawn = np.random.default_rng(1)
    for length in (2, 4, 8):
        shares = []
        for _ in range(200):
            history = [ids[at] for at in drawn.choice(len(ids), length, replace=False)]
            places = [one[0] for one in reader._personal.places.of(history)]
            personal = reader._personal
            shares.append(personal.agreement.share(places, personal.items.of(places), faded(length)))
        assert np.mean(np.array(shares) > 0) < 0.25
        assert np.mean(shares) < 0.15


def test_a_history_alone_is_asked_by_alone(reader: Reader, flat: Flat, asked_by: dict[str, Vectors]) -> None:
    """Without a text or photo `mix` has nothing to mix with; what was looked at is no hit."""
    history = [flat.rows[at]["id"] for at in (9, 50)]
    hits = reader.search(history=history, k=30)
    xq = ((0.8 * asked_by[history[0]] + asked_by[history[1]]) / 1.8).astype(np.float32)
    wanted = expected(flat, xq, 30, history)
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in wanted], atol=2e-3)
    assert not {hit.id for hit in hits} & set(history)


def test_what_is_gone_of_a_history_counts_nothing(reader: Reader, flat: Flat, caplog: pytest.LogCaptureFixture) -> None:
    """Products that are gone leave the others as if they had never been there, weights too, and are logged; with all
    gone, and with a share of 0, hits are those without history, to the last bit.
    """
    one = flat.rows[1]["id"]
    other = reader.search(like=[one], k=1)[0].id
    with caplog.at_level(logging.INFO):
        hits = reader.search("cup", history=[one, "gone", other])
    assert "of 3 products of a history 2 are in the snapshot" in caplog.text
    assert hits == reader.search("cup", history=[one, other]) != reader.search("cup")
    given, kept = ["gone", one, other], reader.search("cup", history=[one, other], weights=[2, 3])
    assert reader.search("cup", history=given, weights=[5, 2, 3]) == kept
    plain = reader.search("cup")
    assert reader.search("cup", history=["gone", "lost"]) == plain
    assert reader.search("cup", history=[one, other], mix=0) == plain


def test_the_first_hits_are_the_same_for_every_k(reader: Reader, flat: Flat) -> None:
    """Products that are left out do not change how deep a search goes."""
    asked = [row["id"] for row in flat.rows[:3]]
    deep = reader.search(like=asked, k=100)
    for k in (1, 5, 98, 99):
        assert reader.search(like=asked, k=k) == deep[:k]


class ByTowers(Concat):
    """A concat that cannot tell a query from an embedding."""

    def queries_of_items(self, items: Vectors) -> None:  # type: ignore[override]
        """See Fusion.queries_of_items."""
        return


def test_vectors_of_towers_and_embeddings_ask_alike(
    published: Path, reader: Reader, asked_by: dict[str, Vectors]
) -> None:
    """A fusion that needs the towers' vectors gets what `queries` makes of them, one by one and by segments; threads
    share what was read.
    """
    manifest = manifest_of(published)
    assert manifest.text is not None
    assert manifest.image is not None
    fusions: list[Fusion] = [kind(manifest.text.dim, manifest.image.dim, 0.5) for kind in (ByTowers, Concat)]
    places = [Place(name, at) for name in reader.categories for at in range(len(reader.ids(name)))]
    ids = [str(one) for name in reader.categories for one in reader.ids(name)]
    with ThreadPoolExecutor(4) as pool:
        by_towers, by_embedding = pool.map(lambda fusion: ItemQueries(reader.opened, fusion).of(places), fusions)
    np.testing.assert_array_equal(by_towers, np.concatenate([asked_by[one] for one in ids]))
    np.testing.assert_allclose(by_embedding, by_towers, atol=2e-3)
    for fusion, one_by_one in zip(fusions, (by_towers, by_embedding), strict=True):
        items = ItemQueries(reader.opened, fusion)
        segments = [one for name in reader.categories for one in items.of_segments(name)]
        assert [str(one) for mine, _ in segments for one in mine] == ids
        np.testing.assert_allclose(np.concatenate([rows for _, rows in segments]), one_by_one, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"like": "P1"}, "several ids as like"),
        ({"like": ["V-00000001", ""]}, "ids as like"),
        ({"like": [7]}, "ids as like"),
        ({"history": ["a", "b"], "weights": [1.0]}, "2 weights above 0"),
        ({"history": ["a", "b"], "weights": [1.0, float("nan")]}, "2 weights above 0"),
        ({"text": "a", "history": ["a"], "mix": 1.5}, "mix from 0"),
        ({"text": "a", "history": ["a"], "mix": True}, "mix from 0"),
        ({"history": ["a", "b"]}, "2 products, none of them in the snapshot"),
        ({"history": ["V-00000001"], "mix": 0}, "weighs nothing"),
        ({"like": ["V-00000001"], "explain": True}, "products alone"),
        ({}, "a text, a photo or both"),
    ],
)
def test_what_cannot_be_asked_is_refused(reader: Reader, given: dict[str, object], said: str) -> None:
    """Each with what was expected, what came and what to do."""
    with pytest.raises(InputError, match=said):
        reader.search(**given)  # type: ignore[arg-type]


def test_the_command_searches_by_products(published: Path, flat: Flat) -> None:
    """--like and --history, alone and beside a text, from any category; what is gone of a history is counted."""
    one, other = flat.rows[0]["id"], flat.rows[119]["id"]
    reader = lookup.open(str(published))

    def found(*words: str) -> tuple[dict[str, object], list[str]]:
        done = vitrine("search", published, "--json", "-k", 5, *words)
        assert done.exit_code == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer, [hit["id"] for hit in answer["hits"]]

    answer, ids = found("--like", one, "--like", other)
    assert ids == [hit.id for hit in reader.search(like=[one, other], k=5)]
    assert answer["query"] == {"name": f"{one}, {other}", "text": None, "image": None}
    assert "gone" not in answer
    assert found("--like", other, "--category", "Home")[1] == [
        hit.id for hit in reader.search(like=[other], category="Home", k=5)
    ]
    near = reader.search(like=[one], k=1)[0].id
    answer, ids = found("--text", "dress", "--history", f"{one},gone", "--history", near, "--mix", "0.5")
    assert ids == [hit.id for hit in reader.search("dress", history=[one, near], mix=0.5, k=5)]
    assert (answer["gone"], answer["history_share"]) == (1, 0.5)
    done = vitrine("search", published, "--text", "dress", "--history", f"{one},{near}", "-k", 1)
    assert "the history counts 0.20 of the query" in done.stdout
    done = vitrine("search", published, "--text", "dress", "--history", one, "-k", 1)
    assert "the history counts nothing" in done.stdout
    assert found("--history", one, "--late")[1] == found("--history", one)[1]
    done = vitrine("search", published, "--text", "dress", "--history", "gone", "-k", 1)
    assert "no longer there: 1" in done.stdout


def test_an_id_that_is_not_there_names_those_that_may_be_meant(published: Path) -> None:
    """Exit code 2, and the ids that are one letter away."""
    done = vitrine("search", published, "--like", "V-0000O001")
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    assert "'V-00000001'" in expected
    assert "'V-0000O001'" in came
    assert "like" in fix
