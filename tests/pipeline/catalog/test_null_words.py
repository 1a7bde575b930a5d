"""Words for nothing (`nan`, `NULL`): told where they stand, and null everywhere once `catalog.null_words` has them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from pipeline.catalog.null_words import nulled
from pipeline.config.sections import CatalogConfig
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import last_log, manifest_of

WORDS = ["nan", "None", "NULL", "N/A", "-", "\\N", "#N/A", "null"]
GOOD = 24


def catalog(folder: Path) -> Path:
    """Good products, then one with each of the words in each of its columns but one, which differs."""
    bad, n = [f" {word} " for word in WORDS], len(WORDS)
    columns = {
        "id": [f"P{number}" for number in range(GOOD + 2 * n)] + bad,
        "title": [f"red dress {number}" for number in range(GOOD)] + bad + ["blue shoe"] * 2 * n,
        "kind": ["Shoes"] * (GOOD + n) + bad + ["Shoes"] * n,
        "brand": ["Acme"] * (GOOD + n) + bad + ["Acme"] * n,
    }
    pq.write_table(pa.table(columns), folder / "c.parquet", row_group_size=16)
    return folder / "c.parquet"


def night(folder: Path, *more: str) -> Result:
    settings = ("catalog.partition=kind", "catalog.attributes=[title, brand]", "gates.max_reject_share=0.9")
    return run_titles(catalog(folder), folder / "store", *settings, *more)


def notices_of(folder: Path) -> dict[str, Any]:
    return {one["what"]: one for one in json.loads(last_log(folder / "store", "run.json"))["notices"]}


def setting_in(notice: dict[str, Any]) -> str:
    """The setting that a notice proposes, as a shell would pass it on."""
    found = str(notice["told"]).partition("catalog.null_words=")[2].partition(", and they are null")[0]
    return "catalog.null_words=" + shlex.split(found)[0]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a run without the setting, and of one with what its notice proposes. Tests must not change them."""
    plain, fixed = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("fixed")
    assert (done := night(plain)).exit_code == 0, done.stderr
    assert (done := night(fixed, setting_in(notices_of(plain)["ids_null_words"]))).exit_code == 0, done.stderr
    return plain, fixed


def test_words_for_nothing_are_told_and_kept(nights: tuple[Path, Path]) -> None:
    """Without a setting the words are ids, categories and texts as others are, and a notice counts them by role."""
    plain, _ = nights
    notices = notices_of(plain)
    for what in ("ids_null_words", "categories_null_words"):
        assert notices[what]["count"] == len(WORDS)
        assert sorted(notices[what]["examples"]) == sorted(f"{word!r} (1)" for word in WORDS)
    sampled = notices["sampled_null_words"]
    assert sampled["count"] == 2 * len(WORDS)  # of the text, which is an attribute too, and of the brand: once each
    assert {"title: 'nan' (1)", "brand: 'nan' (1)"} <= set(sampled["examples"])
    report = json.loads(last_log(plain / "store", "run.json"))
    assert (report["rows_embedded"], report["rejects"]) == (GOOD + 3 * len(WORDS), {})
    assert "ids_null_words" in last_log(plain / "store", "metrics.prom")
    assert "8 rows have ids" in last_log(plain / "store", "log.txt")


def test_more_examples_are_counted_in_their_own_unit(tmp_path: Path) -> None:
    """500 ids of one spelling are one example, and none is left to name: on the terminal, in run.json and the page."""
    catalog = write_titles(tmp_path / "c.parquet", [f"red shoe {n}" for n in range(505)])
    ids = ["nan"] * 500 + [f"P{n}" for n in range(5)]
    pq.write_table(pq.read_table(catalog).set_column(0, "id", [ids]), catalog)
    done = run_titles(catalog, tmp_path / "store", "gates.max_reject_share=1")
    assert "500 rows have ids" in done.stdout
    assert not re.search("and [0-9,]+ more", done.stdout)
    assert "more</li>" not in last_log(tmp_path / "store", "report.html")
    [notice] = json.loads(last_log(tmp_path / "store", "run.json"))["notices"]
    assert (notice["count"], notice["kinds"], notice["examples"]) == (500, 1, ["'nan' (500)"])


def test_the_words_that_are_set_are_null_in_every_role(nights: tuple[Path, Path]) -> None:
    """An id that is one is missing, a title absent, a category none, an attribute null; nothing is told any more."""
    _, fixed = nights
    report = json.loads(last_log(fixed / "store", "run.json"))
    assert report["rejects"] == {"missing_id": len(WORDS), "no_modality": len(WORDS)}
    assert {one.name: one.rows for one in manifest_of(fixed / "store").partitions} == {
        "Shoes": GOOD,
        "_none": len(WORDS),
    }
    assert notices_of(fixed) == {}
    found = vitrine(
        "search", str(fixed / "store"), "--text", "blue shoe", "--where", "brand is null", "-k", "20", "--json"
    )
    assert len(json.loads(found.stdout)["hits"]) == len(WORDS), found.stdout


def test_plan_says_what_run_says(nights: tuple[Path, Path], tmp_path: Path) -> None:
    """`plan` has the notices of the run."""
    plain, _ = nights
    settings = ("catalog.partition=kind", "catalog.attributes=[title, brand]", f"catalog.path={plain / 'c.parquet'}")
    words = ("catalog.text=[title]", "catalog.image=null", "catalog.image_root=null", "encoders.image=null")
    done = vitrine("plan", "-c", "configs/weightless.yaml", "--json", *settings, *words, f"store.path={tmp_path / 's'}")
    assert {one["what"]: one for one in json.loads(done.stdout)["notices"]} == notices_of(plain)


@pytest.mark.parametrize("words", ["[null, nan]", "[0]"])
def test_words_that_yaml_reads_otherwise_are_refused(tmp_path: Path, words: str) -> None:
    """`[null]` is no word in YAML: refused with the quotes that make it one."""
    done = night(tmp_path, f"catalog.null_words={words}")
    assert done.exit_code == 2
    assert 'words in quotes, as ["null", "nan"]' in " ".join(told(done.stderr))


def test_words_are_null_in_lists_structs_and_dictionaries() -> None:
    """The form of a column makes no difference, nor do white space and slices; case does."""
    settings = CatalogConfig(path="c", null_words=("nan", " N/A"))
    cases: list[tuple[pa.Array, list[Any]]] = [
        (pa.array(["x", "nan", " N/A\t", "Nan", None, "nan b"]), ["x", None, None, "Nan", None, "nan b"]),
        (pa.array(["nan", "x"]).dictionary_encode(), [None, "x"]),
        (pa.array([["nan", "x"], None, [], ["N/A"]]), [[None, "x"], None, [], [None]]),
        (pa.array([{"bytes": b"nan", "path": "nan"}, None]), [{"bytes": None, "path": None}, None]),
        (pa.array([1, None]), [1, None]),
    ]
    for values, want in cases:
        for start in range(len(values)):
            column = pa.chunked_array([values.slice(start), values.slice(0, 1)])
            assert nulled(column, settings).to_pylist() == [*want[start:], want[0]]
