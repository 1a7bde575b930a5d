"""Why a hit is one, held against searches without each word, and photos greyed by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookup
from lookup.query import Query, QueryEncoder
from lookup.search import Reader
from lookup.why.regions import SIDE, greyed
from tests.support.command import config_for, run, run_titles, vitrine, write_titles

TEXT = "blue cup with dots"


@pytest.fixture(scope="module")
def store(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 products with photos."""
    path = tmp_path_factory.mktemp("why") / "store"
    run(config_for(demo, path))
    return path


@pytest.fixture(scope="module")
def reader(store: Path) -> Reader:
    return lookup.open(str(store))


def score_of(reader: Reader, queries: QueryEncoder, wanted: str, text: str | None, image: bytes | None) -> float:
    """The score that a search for other words, or another photo, gives a product."""
    hits = reader.search_vector(queries.embed(text, image), k=120)
    return next(hit.score for hit in hits if hit.id == wanted)


def test_the_effect_of_a_word_is_what_a_search_without_it_scores_less(reader: Reader) -> None:
    """For every hit and every word; the hits are those of a search that was not asked why."""
    queries = QueryEncoder.of(reader.manifest)
    hits = reader.search(text=TEXT, k=5, explain=True)
    assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in reader.search(text=TEXT, k=5)]
    for hit in hits:
        assert hit.why is not None
        assert [one.word for one in hit.why.words] == TEXT.split()
        for number, one in enumerate(hit.why.words):
            rest = " ".join(word for at, word in enumerate(TEXT.split()) if at != number)
            assert one.effect == pytest.approx(hit.score - score_of(reader, queries, hit.id, rest, None), abs=1e-5)


def test_what_texts_and_photos_give_adds_up(reader: Reader, demo: Path) -> None:
    """The parts of a query by both sum to the score, of the very hit."""
    photo = (demo / "query-photos" / "red-dress.jpg").read_bytes()
    for hit in reader.search("red dress", photo, k=5, explain=True):
        assert hit.why is not None
        assert hit.why.modalities is not None
        assert sum(hit.why.modalities.values()) == pytest.approx(hit.score, abs=1e-3)
        assert set(hit.why.modalities) == {"text", "image"}


def test_the_part_of_the_photo_that_shows_the_product_counts(reader: Reader) -> None:
    """Greyed by hand and asked again, each part of the photo takes from the score what is said of it."""
    picture = np.full((64, 64, 3), 200, np.uint8)
    picture[:16, 48:] = (200, 30, 30)  # the upper right cell
    queries = QueryEncoder.of(reader.manifest)
    (hit, *_) = reader.search(image=as_png(picture), k=1, explain=True)
    assert hit.why is not None
    assert hit.why.regions is not None
    for number, photo in enumerate(greyed(picture)):
        told = hit.why.regions[number // SIDE][number % SIDE]
        assert told == pytest.approx(hit.score - score_of(reader, queries, hit.id, None, as_png(photo)), abs=1e-5)
    assert max(max(map(abs, row)) for row in hit.why.regions) == abs(hit.why.regions[0][3]) > 0


def as_png(photo: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(photo).save(out, "PNG")
    return out.getvalue()


def test_the_command_says_why(store: Path, demo: Path, tmp_path: Path) -> None:
    """In JSON, in words, on the page and in `vitrine explain`; and nothing of it where it was not asked for."""
    photo = demo / "query-photos" / "red-dress.jpg"
    asked = ("search", store, "--text", "red dress", "--image", photo, "-k", "2")
    plain = json.loads(vitrine(*asked, "--json").stdout)
    assert all("why" not in hit for hit in plain["hits"])
    page = tmp_path / "hits.html"
    told = json.loads(vitrine(*asked, "--explain", "--json", "--html", page).stdout)
    why = told["hits"][0]["why"]
    assert [one["word"] for one in why["words"]] == ["red", "dress"]
    assert len(why["regions"]) == SIDE
    assert page.read_text().count("<mark ") == 4
    words = vitrine(*asked, "--explain").stdout
    assert "without the word: red " in words
    assert "of the texts" in words
    of_one = vitrine("explain", store, told["hits"][0]["id"], "--text", "red dress").stdout
    assert "without the word: red " in of_one


@pytest.fixture(scope="module")
def by_words(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """160 titles in two partitions, searched by words too."""
    folder = tmp_path_factory.mktemp("why-words")
    things = [f"{colour} {thing} {n}" for n in range(4) for colour in COLOURS for thing in THINGS]
    kinds = {"kind": [f"k{n % 2}" for n in range(len(things))]}
    catalog = write_titles(folder / "c.parquet", things, **kinds)
    assert run_titles(catalog, folder / "store", "catalog.partition=kind", "lexical.weight=0.4").exit_code == 0
    return lookup.open(str(folder / "store"))


COLOURS = ["red", "blue", "green", "black", "white"]
THINGS = ["dress", "shoe", "lamp", "kite", "chair", "vase", "mug", "scarf"]


def test_words_and_embeddings_add_up_and_so_do_the_effects_of_words(by_words: Reader) -> None:
    """What both halves give is the score; a word's effect is what both lose without it, at the scale of the query."""
    text, reader = "red kite 3", by_words
    queries, words = QueryEncoder.of(reader.manifest), reader.opened.words
    assert words is not None
    within = [(partition, None) for partition in reader.opened.partitions.values()]
    found = reader.candidates(Query(text, k=5))
    hits = reader.search(text, k=5, explain=True)
    assert found.merge is not None
    weight, most, low, high = found.merge
    assert weight == 0.4
    for at, hit in enumerate(hits):
        assert hit.why is not None
        assert hit.why.halves is not None
        assert hit.why.halves["words"] == pytest.approx(weight * found.lexical[at] / most, abs=1e-5)
        assert sum(hit.why.halves.values()) == pytest.approx(hit.score, abs=1e-5)
        for word, rest in (("red", "kite 3"), ("kite", "red 3"), ("3", "red kite")):
            (effect,) = (one.effect for one in hit.why.words if one.word == word)
            lexical = words.asked(rest, within).scores(found)[at]
            dense = score_of(reader, queries, hit.id, rest, None)
            lost = weight / most * (found.lexical[at] - lexical)
            lost += (1 - weight) / (high - low) * (found.dense[at] - dense)
            assert effect == pytest.approx(lost, abs=1e-4)
