"""`--accept`: a gate that refuses stops nothing, and everything that tells of the snapshot says so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.nights import last_run
from tests.support.stores import digests, last_log, manifest_of, publications

KINDS = ("Shoes & Co", "Hats")
MORE = ("catalog.partition=product_type", "gates.min_ids_kept=0")


def catalog(path: Path, shoes: int, hats: int) -> Path:
    kinds = [KINDS[0]] * shoes + [KINDS[1]] * hats
    names = [f"{KINDS[0]} {n}" for n in range(shoes)] + [f"{KINDS[1]} {n}" for n in range(hats)]
    return write_titles(path, [f"red {name}" for name in names], product_type=kinds, id=names)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of 60 shoes and 60 hats. Tests must not change it."""
    folder = tmp_path_factory.mktemp("first")
    assert run_titles(catalog(folder / "c.parquet", 60, 60), folder / "store", *MORE).exit_code == 0
    return folder / "store"


@pytest.fixture
def shop(first: Path, tmp_path: Path) -> Path:
    """A folder with a copy of it."""
    shutil.copytree(first, tmp_path / "store")
    return tmp_path


def night(shop: Path, shoes: int, hats: int, *more: str) -> Result:
    return run_titles(catalog(shop / "c.parquet", shoes, hats), shop / "store", *MORE, *more)


def accepting(*places: str) -> list[str]:
    return [word for place in places for word in ("--accept", place)]


def test_a_refused_night_tells_how_to_accept_it_and_is_published_so(shop: Path) -> None:
    """The words that the refusal tells publish it; manifest, run.json, log, page, inspect and history say so."""
    refused = night(shop, 20, 60)
    assert refused.exit_code == 3
    _, came, fix = told(refused.stderr)
    assert "partition_row_drop:Shoes & Co 0.666667" in came
    assert fix.endswith("--accept row_drop --accept 'partition_row_drop:Shoes & Co'")
    done = night(shop, 20, 60, *accepting("row_drop", "partition_row_drop:shoes &amp; co"))
    assert done.exit_code == 0, done.stderr
    assert "accepted: partition_row_drop:Shoes & Co is 0.666667, <= 0.3 was asked" in done.stdout
    accepted = manifest_of(shop / "store").accepted
    assert [(one.place, round(one.value, 3), one.bound) for one in accepted] == [
        ("row_drop", 0.333, 0.3),
        ("partition_row_drop:Shoes & Co", 0.667, 0.3),
    ]
    assert {one.run for one in accepted} == {last_run(shop).name}
    report = json.loads(last_log(shop / "store", "run.json"))
    assert [one["name"] for one in report["gates"] if one["accepted"]] == ["row_drop", "partition_row_drop"]
    assert (report["status"], report["steps"][-2]["counts"]["accepted"]) == ("published", 2)
    assert "WARNING" in last_log(shop / "store", "log.txt")
    assert "accepted: row_drop is 0.333333" in last_log(shop / "store", "log.txt")
    assert ">accepted<" in last_log(shop / "store", "report.html")
    metrics = last_log(shop / "store", "metrics.prom")
    assert re.search(r'vitrine_run_gate_accepted\{.*gate="row_drop".*\} 1.0', metrics)
    assert "published in spite of" in vitrine("inspect", shop / "store", "--html", shop / "page.html").stdout
    assert "Published in spite of" in (shop / "page.html").read_text()
    history = json.loads(list(publications(shop / "store").values())[-1])
    assert history["reason"] == "a run of the whole catalog, in spite of row_drop, partition_row_drop:Shoes & Co"


def test_of_a_partition_that_is_accepted_another_is_not(shop: Path) -> None:
    """GATE:PARTITION accepts this partition's figure, neither another's nor that of the whole; GATE accepts all."""
    before = digests(shop / "store")
    done = night(shop, 20, 20, *accepting("partition_row_drop:Hats", "row_drop"))
    assert (done.exit_code, digests(shop / "store")) == (3, {**digests(shop / "store"), **before})
    assert told(done.stderr)[1].startswith("partition_row_drop:Shoes & Co 0.666667")
    assert "Hats 0" not in told(done.stderr)[1]
    wanted = "--accept row_drop --accept partition_row_drop:Hats --accept 'partition_row_drop:Shoes & Co'"
    assert told(done.stderr)[2].endswith(wanted)  # also what was accepted: without it that fails the next time
    assert night(shop, 20, 20, *accepting("partition_row_drop:Hats", "partition_row_drop:Shoes & Co")).exit_code == 3
    assert night(shop, 20, 20, *accepting("partition_row_drop", "row_drop")).exit_code == 0
    assert len(manifest_of(shop / "store").accepted) == 3


def test_accepting_what_did_not_fail_says_nothing(shop: Path) -> None:
    """A gate that passed was not accepted; the next night's snapshot does not say what an earlier one's did."""
    assert night(shop, 20, 60, *accepting("row_drop", "partition_row_drop", "recall")).exit_code == 0
    assert night(shop, 20, 61, *accepting("row_drop", "recall:Hats")).exit_code == 0
    assert manifest_of(shop / "store").accepted == ()
    assert "in spite of" not in str(publications(shop / "store")["0000000003.json"])


def test_a_category_run_keeps_what_was_accepted_of_the_others(shop: Path) -> None:
    """What was accepted of a partition is gone once that one is indexed again, and stays where another one is."""
    wide = accepting("row_drop", "partition_row_drop")
    assert night(shop, 20, 20, *wide).exit_code == 0
    assert night(shop, 21, 21, "--category", "Hats").exit_code == 0
    places = [one.place for one in manifest_of(shop / "store").accepted]
    assert places == ["row_drop", "partition_row_drop:Shoes & Co"]


def test_a_merge_keeps_what_was_accepted_of_what_it_carries(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A category that is published on top of what another run published meanwhile says what that one was published in
    spite of, of the whole too.
    """
    from pipeline import run as stages

    real = stages.refuse_another_catalog

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(stages, "refuse_another_catalog", real)
        where = catalog(shop / "other.parquet", 60, 20)
        wide = accepting("row_drop", "partition_row_drop")
        assert run_titles(where, shop / "store", *MORE, "--category", "Hats", *wide).exit_code == 0
        real(*arguments)

    monkeypatch.setattr(stages, "refuse_another_catalog", meanwhile)
    done = night(shop, 61, 60, "--category", KINDS[0])
    assert done.exit_code == 0, done.stderr
    manifest = manifest_of(shop / "store")
    assert [(one.name, one.rows) for one in manifest.partitions] == [("Hats", 20), (KINDS[0], 61)]
    assert {one.place for one in manifest.accepted} == {"row_drop", "partition_row_drop:Hats"}


@pytest.mark.parametrize(
    ("place", "came", "expected"),
    [
        ("rowdrop", "rowdrop: no gate has that name", "reject_share, row_drop"),
        ("index_rows", "index_rows: what it refuses no snapshot may have", "row_drop"),
        ("products", "products: what it refuses no snapshot may have", "row_drop"),
        ("ids_unique:Hats", "ids_unique:Hats: what it refuses no snapshot may have", "row_drop"),
        ("recall:Caps", "'Caps'", "of the partitions Hats, Shoes & Co"),
    ],
)
def test_what_cannot_be_accepted_is_wrong_input(
    shop: Path, encoded: list[str], place: str, came: str, expected: str
) -> None:
    """A gate or a partition that is not known, or that nobody can accept, ends with 2 and the names that are known;
    nothing is encoded.
    """
    done = night(shop, 60, 70, "--accept", place)
    assert done.exit_code == 2
    told_expected, told_came, _ = told(done.stderr)
    assert told_came == came
    assert expected in told_expected
    assert not encoded
