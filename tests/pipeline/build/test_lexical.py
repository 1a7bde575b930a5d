"""The lexical index of each partition: built beside the other, kept while its texts are as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import Stemmer

from lookup.store.manifest import Manifest
from tests.support.command import ANY_NIGHT, TITLES_ONLY, run_titles, vitrine, write_titles
from tests.support.stores import manifest_of

TITLES = ["red dress", "blue dress", "red shoe", "running shoes", "oak chair", None]
KINDS = ["clothes", "clothes", "shoes", "shoes", "home", "home"]
ON = ("catalog.partition=kind", "gates.max_reject_share=1", *ANY_NIGHT)
WORDS = (*ON, "lexical.fields={title: 2.0, brand: 1.0}")
Night = Callable[..., Manifest]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """A run on titles, brands and prices; its snapshot."""

    def ran(*more: str, titles: list[str | None] = TITLES, prices: str = "1") -> Manifest:
        brands, cost = [f"brand{n % 2}" for n in range(len(titles))], [prices] * len(titles)
        catalog = write_titles(tmp_path / "c.parquet", titles, kind=KINDS, brand=brands, price=cost)
        done = run_titles(catalog, tmp_path / "store", *(more or WORDS), "catalog.attributes=[title, price]")
        assert done.exit_code == 0, done.stderr
        return manifest_of(tmp_path / "store")

    return ran


def lexical(manifest: Manifest) -> dict[str, Any]:
    """Partition -> its lexical index."""
    return {one.name: one.lexical for one in manifest.partitions}


def folders(tmp_path: Path) -> set[str]:
    """The indexes in the store."""
    return {path.name for path in (tmp_path / "store" / "indexes").iterdir() if path.is_dir()}


def test_every_partition_has_one_of_its_rows(tmp_path: Path, night: Night) -> None:
    """Of as many rows as the index beside it, its files named, digested and verified like all others."""
    found = night()
    assert {name: (one.rows, one.fields) for name, one in lexical(found).items()} == {
        "clothes": (2, ("brand", "title")),
        "home": (1, ("brand", "title")),
        "shoes": (2, ("brand", "title")),
    }
    assert found.lexical is not None
    assert (found.lexical.fields, found.lexical.weight) == ({"title": 2.0, "brand": 1.0}, 0.5)
    named = {file.path for file in found.files()}
    assert {file.path for one in lexical(found).values() for file in one.files.values()} < named
    assert vitrine("verify", tmp_path / "store").exit_code == 0
    path = tmp_path / "store" / lexical(found)["home"].files["terms"].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    refused = vitrine("verify", tmp_path / "store")
    assert refused.exit_code == 4
    assert path.name in refused.stderr


def test_without_the_section_there_is_none(night: Night) -> None:
    """Neither in the manifest's JSON, nor in the segments: a snapshot is as it was before there was the section."""
    found = night(*ON)
    assert "lexical" not in json.loads(found.written().manifest)
    assert "lexical" not in json.loads(found.written().manifest)["partitions"][0]
    assert not found.shards.segments.has_texts
    assert night().lexical is not None
    assert night(*ON).lexical is None


def test_it_is_kept_while_its_texts_are_as_they_were(tmp_path: Path, night: Night) -> None:
    """Other prices, weights, synonyms or stop words build none; another text that of its partition alone."""
    first = night()
    (tmp_path / "words").write_text("sofa, couch")
    cheaper = night(prices="2")
    assert lexical(cheaper) == lexical(first)
    assert cheaper.content != first.content
    built = folders(tmp_path)
    for more in (
        ("lexical.fields={title: 5.0, brand: 1.0}",),
        ("lexical.weight=0.2",),
        (f"lexical.synonyms={tmp_path / 'words'}",),
        ("lexical.stop_words=false",),
    ):
        now = night(*WORDS, *more, prices="2")
        assert lexical(now) == lexical(first)
        assert now.content != cheaper.content  # readers are given it
    assert folders(tmp_path) == built
    other = lexical(night(titles=["red gown", *TITLES[1:]], prices="2"))
    before = lexical(first)
    assert [name for name in other if other[name] != before[name]] == ["clothes"]


def test_an_unchanged_night_reads_no_text(tmp_path: Path, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """It publishes nothing, and builds nothing."""
    first = night()

    def nobody(*_: object) -> None:
        raise AssertionError("a text was read")

    monkeypatch.setattr("pipeline.build.lexical.text_blocks", nobody)
    assert night() == first
    cheaper = night(prices="2")
    assert lexical(cheaper) == lexical(first)


def test_one_that_lost_a_file_or_its_record_is_whole_again(tmp_path: Path, night: Night) -> None:
    """A night builds what was damaged, and writes a record that was lost; the same bytes under the same name."""
    first = lexical(night())
    (tmp_path / "store" / first["home"].files["low"].path).write_bytes(b"")
    (tmp_path / "store" / "indexes" / first["shoes"].name / "record.json").unlink()
    (tmp_path / "store" / first["home"].files["low"].path).unlink()
    again = lexical(night(prices="2"))
    assert {name: one.files for name, one in again.items()} == {name: one.files for name, one in first.items()}
    assert vitrine("verify", tmp_path / "store").exit_code == 0


def test_other_languages_are_other_indexes(tmp_path: Path, night: Night) -> None:
    """Words of another stem are other terms; garbage of before goes, what is retained stays."""
    first, second = lexical(night()), lexical(night(*WORDS, "lexical.languages=[german]"))
    assert not {one.name for one in first.values()} & {one.name for one in second.values()}
    collected = vitrine("gc", tmp_path / "store", "--keep", "1", "--older-than", "0h")
    assert collected.exit_code == 0, collected.stderr
    assert {one.name for one in second.values()} <= folders(tmp_path)
    assert not {one.name for one in first.values()} & folders(tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lexical.languages=[klingon]", "no stemmer for klingon"),
        ("lexical.synonyms=nowhere.txt", "nowhere.txt: No such file"),
    ],
)
def test_what_cannot_be_analysed_is_refused_before_any_work(tmp_path: Path, override: str, words: str) -> None:
    """A language that nobody stems, or synonyms that cannot be read."""
    catalog = write_titles(tmp_path / "c.parquet", ["a"])
    refused = run_titles(catalog, tmp_path / "store", "lexical={}", override)
    assert refused.exit_code == 2, refused.stderr
    assert words in refused.stderr
    assert not (tmp_path / "store" / "shards").exists()


def test_a_category_alone_keeps_the_others(tmp_path: Path, night: Night) -> None:
    """A run of one category builds its lexical index, and names those of others as they are."""
    first = lexical(night())
    catalog = write_titles(
        tmp_path / "c.parquet", ["red gown", *TITLES[1:]], kind=KINDS, brand=["x"] * 6, price=["1"] * 6
    )
    more = (*WORDS, "catalog.attributes=[title, price]", "--category", "clothes")
    assert run_titles(catalog, tmp_path / "store", *more).exit_code == 0
    now = lexical(manifest_of(tmp_path / "store"))
    assert [name for name in now if now[name] != first[name]] == ["clothes"]
    refused = run_titles(catalog, tmp_path / "store", *more, "lexical.languages=[german]")
    assert refused.exit_code == 2
    assert "lexical.languages as in the published snapshot" in refused.stderr


def test_a_category_of_another_version_is_refused(
    tmp_path: Path, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of two PyStemmers are no terms of one snapshot: nobody could open it. The whole catalog is indexed anew."""
    first = night()
    monkeypatch.setattr(Stemmer, "version", lambda: "0.0")
    catalog = write_titles(
        tmp_path / "c.parquet", ["red gown", *TITLES[1:]], kind=KINDS, brand=["x"] * 6, price=["1"] * 6
    )
    more = (*WORDS, "catalog.attributes=[title, price]", "--category", "clothes")
    refused = run_titles(catalog, tmp_path / "store", *more)
    assert refused.exit_code == 2, refused.stdout
    assert "versions of PyStemmer and Unicode" in refused.stderr
    assert "run the whole catalog once" in refused.stderr
    assert manifest_of(tmp_path / "store") == first
    assert not {one.name for one in lexical(first).values()} & {one.name for one in lexical(night()).values()}


def test_plan_inspect_and_report_know_it(tmp_path: Path, night: Night) -> None:
    """What it takes is in the forecast's disk; inspect shows weight, fields and sizes, run.json bytes and seconds."""
    found = night()
    shown = vitrine("inspect", tmp_path / "store").stdout
    assert "share in a score" in shown
    assert "title 2, brand 1" in shown
    assert "lexical rows" in shown
    report = json.loads(max((tmp_path / "store").glob("runs/*/run.json")).read_text())
    sizes = {one["name"]: one["lexical_bytes"] for one in report["partitions"]}
    assert sizes == {name: one.bytes for name, one in lexical(found).items()}
    assert all(one["lexical_seconds"] > 0 for one in report["partitions"])
    where = (f"catalog.path={tmp_path / 'c.parquet'}", f"store.path={tmp_path / 'store'}", *TITLES_ONLY)
    disks = []
    for words in (ON, WORDS):
        planned = vitrine("plan", "-c", "configs/weightless.yaml", *where, *words, "--json")
        assert planned.exit_code == 0, planned.stderr
        disks.append(json.loads(planned.stdout)["disk_bytes"])
    assert disks[0] != disks[1]
