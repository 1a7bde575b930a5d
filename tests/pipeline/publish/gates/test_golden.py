"""Golden queries: asked of each snapshot before it is published, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run_titles, told, write_titles
from tests.support.shop import Shop
from tests.support.stores import last_log, manifest_of

TITLES = [f"{colour} {kind} number {n}" for n in range(10) for colour in ("red", "blue") for kind in ("lamp", "coat")]
UNKNOWN = "golden_unknown"
GOLDEN = """
- {text: red lamp number 3, expect: [P12]}
- {text: blue coat number 7, expect: [gone, P31], k: 3}
- {text: blue lamp number 9, expect: P38}
- {text: red lamp number 3, expect: [P0], k: 1}
"""


def night(folder: Path, *more: str, titles: list[str] | None = None, golden: str = GOLDEN, **columns: Any) -> Any:
    """A run with a golden file beside the catalog."""
    (folder / "golden.yaml").write_text(golden)
    catalog = write_titles(folder / "c.parquet", titles or TITLES, **columns)
    return run_titles(catalog, folder / "store", f"golden={folder / 'golden.yaml'}", *more)


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """What golden.json of the last run says of each query."""
    found: list[dict[str, Any]] = json.loads(last_log(folder / "store", "golden.json"))["queries"]
    return found


def counted(folder: Path) -> tuple[int, int, int]:
    """(queries, found, unknown) of the published manifest."""
    golden = manifest_of(folder / "store").golden
    assert golden is not None
    return golden.queries, golden.found, golden.unknown


def notices(folder: Path) -> dict[str, int]:
    """Kind -> count of the last run's notices."""
    return {one["what"]: one["count"] for one in json.loads(last_log(folder / "store", "run.json"))["notices"]}


def test_each_query_is_told_and_one_that_misses_stops_nothing(tmp_path: Path) -> None:
    """golden.json has rank and hits of each query, the manifest the counts; a night on which nothing changed asks
    nothing and keeps them.
    """
    done = night(tmp_path)
    assert done.exit_code == 0, done.stderr
    first, second, third, last = outcomes(tmp_path)
    assert [one["outcome"] for one in (first, second, third)] == ["found"] * 3
    assert (first["rank"], first["k"], first["hits"][0]["id"], first["hits"][0]["category"]) == (1, 10, "P12", "all")
    assert (second["k"], len(second["hits"]), second["unknown"]) == (3, 3, ["gone"])
    assert (last["outcome"], last["rank"], last["hits"][0]["id"]) == ("missed", None, "P12")
    assert counted(tmp_path) == (4, 3, 0)
    assert notices(tmp_path)["golden_missed"] == 1
    kept = manifest_of(tmp_path / "store").golden
    assert night(tmp_path).exit_code == 0
    assert not (sorted((tmp_path / "store/runs").iterdir())[-1] / "golden.json").exists()
    assert manifest_of(tmp_path / "store").golden == kept


def test_shuffled_titles_and_renamed_ids_are_stopped(tmp_path: Path) -> None:
    """Two queries that miss what they expect refuse a night; so do two whose products have other ids. One whose product
    is no longer sold is a notice.
    """
    assert night(tmp_path).exit_code == 0
    sold = [f"P{n}" for n in range(40)]
    done = night(tmp_path, titles=[title for n, title in enumerate(TITLES) if n != 12], id=sold[:12] + sold[13:])
    assert done.exit_code == 0, done.stderr
    assert notices(tmp_path)["golden_unknown"] == 1
    assert counted(tmp_path)[2] == 1
    assert night(tmp_path, golden="- {text: red lamp, expect: [gone]}").exit_code == 0
    (gate,) = [one for one in json.loads(last_log(tmp_path / "store", "run.json"))["gates"] if one["name"] == UNKNOWN]
    assert (gate["value"], gate["passed"]) == (1.0, True)
    assert gate["advice"].endswith("1 of 1 golden queries expect; fewer than 2, so nothing is stopped")
    done = night(tmp_path, "golden.k=1", titles=TITLES[20:] + TITLES[:20])
    assert done.exit_code == 3
    assert "golden >= 0.9" in told(done.stderr)[0]
    assert "0 of 4 golden queries find a product that they expect; golden.json" in told(done.stderr)[1]
    done = night(tmp_path, id=[f"N{n}" for n in range(40)])
    assert done.exit_code == 3
    assert "golden_unknown <= 0.3" in told(done.stderr)[0]
    assert "no product that 4 of 4 golden queries expect" in told(done.stderr)[1]


def test_a_file_that_cannot_be_asked_ends_the_run_before_any_work(tmp_path: Path) -> None:
    """Every problem is told at once, with the query's number: exit code 2, nothing encoded."""
    wrong = """
- {text: red lamp}
- {text: red lamp, expect: []}
- {expect: [P1]}
- {text: red lamp, expects: [P1], expect: [P1]}
- {image: nowhere.jpg, expect: [P1]}
"""
    done = night(tmp_path, golden=wrong)
    assert done.exit_code == 2
    expected, came, _ = told(done.stderr)
    assert expected == "golden queries that can be asked"
    for said in ("query 1: expect", "query 2: expect", "query 3: ", "query 4: expects", "query 5: image"):
        assert said in came
    assert "nowhere.jpg" in came
    assert not list((tmp_path / "store").glob("shards/*"))
    for golden in ("text: red lamp", "", "- ["):
        assert night(tmp_path, golden=golden).exit_code == 2
    done = night(tmp_path, f"golden.path={tmp_path / 'absent.yaml'}")
    assert done.exit_code == 2
    assert "absent.yaml" in told(done.stderr)[1]


def test_a_run_of_one_category_asks_its_queries_and_those_of_all(tmp_path: Path) -> None:
    """Queries of other categories are not asked again; a category that is gone is unknown."""
    golden = """
- {text: red lamp number 3, category: a, expect: [P12]}
- {text: red lamp number 3, category: b, expect: [P12]}
- {text: red lamp number 3, expect: [P12]}
- {text: red lamp number 3, category: nowhere, expect: [P12]}
"""
    kinds = {"kind": ["a", "b"] * 20}
    more = ("catalog.partition=kind", "gates.min_golden=0.5")
    assert night(tmp_path, *more, golden=golden, **kinds).exit_code == 0
    assert [one["outcome"] for one in outcomes(tmp_path)] == ["found", "missed", "found", "unknown"]
    done = night(tmp_path, *more, "--category", "a", titles=[*TITLES[:-2], "new", "newer"], golden=golden, **kinds)
    assert done.exit_code == 0, done.stderr
    assert [one["category"] for one in outcomes(tmp_path)] == ["a", None]


def test_photos_are_asked_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a photo is relative to the golden file, whatever the current directory is."""
    shop = Shop(tmp_path, monkeypatch)
    (tmp_path / "golden.yaml").write_text("- {image: photos/7.png, expect: [P7], category: shoes, k: 1}\n")
    shop.night(f"golden={tmp_path / 'golden.yaml'}")
    (one,) = outcomes(tmp_path)
    assert (one["outcome"], one["rank"], one["hits"][0]["photo"]) == ("found", 1, "7.png")
