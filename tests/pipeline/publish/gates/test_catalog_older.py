"""A catalog from before the parent's, and attributes that are others than the parent's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.command import run_titles, told, vitrine, words_of_titles, write_titles
from tests.support.stores import last_log

TITLES = [f"red dress {n}" for n in range(30)]
DAY = 86_400
SIZE = "catalog.attributes=[title,size]"


def aged(path: Path, days: float) -> Path:
    """The file as if it had been written so many days ago."""
    written = path.stat().st_mtime - days * DAY
    os.utime(path, (written, written))
    return path


def test_an_earlier_export_is_refused_before_anything_is_encoded(tmp_path: Path, encoded: list[str]) -> None:
    """Yesterday's export in the place of today's, or of a clock a year back: exit 3, both times told; accepted it is
    published, and what is newer than that is ordinary again. The same export under another path was meant.
    """
    catalog, store = tmp_path / "c.parquet", tmp_path / "store"
    assert run_titles(write_titles(catalog, TITLES), store).exit_code == 0
    assert run_titles(aged(write_titles(catalog, [*TITLES, "blue coat"]), 0.03), store).exit_code == 0
    encoded.clear()
    for days in (1, 365):
        aged(write_titles(catalog, [*TITLES, "green hat"]), days)
        refused = run_titles(catalog, store)
        assert refused.exit_code == 3
        expected, came, fix = told(refused.stderr)
        assert expected == "catalog_older <= 1"
        assert came.startswith(f"catalog_older {24 * days - 0.72:.0f}"[:16])
        assert fix.endswith("--accept catalog_older")
        assert not encoded
    elsewhere = aged(write_titles(tmp_path / "old" / "c.parquet", TITLES), 20)
    assert run_titles(elsewhere, tmp_path / "store").exit_code == 0
    assert run_titles(aged(write_titles(catalog, TITLES), 30), store).exit_code == 0  # the parent's was elsewhere
    assert (
        run_titles(aged(write_titles(catalog, [*TITLES, "a hat"]), 40), store, "--accept", "catalog_older").exit_code
        == 0
    )
    assert run_titles(write_titles(catalog, TITLES), store).exit_code == 0


def test_attributes_that_differ_are_one_notice(tmp_path: Path) -> None:
    """New, gone, and of another type that compares: all of it is one notice of plan and run."""
    catalog, store = tmp_path / "c.parquet", tmp_path / "store"
    size, price = list(range(30)), [float(n) for n in range(30)]
    write_titles(catalog, TITLES, price=size, colour=["red"] * 30)
    before = "catalog.attributes=[title,price,colour]"
    assert run_titles(catalog, store, before).exit_code == 0
    assert "attributes_changed" not in last_log(store, "run.json")
    write_titles(catalog, TITLES, price=price, size=size)
    now = "catalog.attributes=[title,price,size]"
    assert run_titles(catalog, store, now).exit_code == 0
    notices = json.loads(last_log(store, "run.json"))["notices"]
    (found,) = [one for one in notices if one["what"] == "attributes_changed"]
    assert found["examples"] == ["size is new", "colour is gone", "price is double, was int64"]
    gone = run_titles(catalog, store, before)
    assert gone.exit_code == 2
    assert "no column 'colour'" in told(gone.stderr)[1]
    words = ("encoders.image=null", "catalog.image=null", "catalog.image_root=null", "catalog.partition=null")
    planned = vitrine(
        *("plan", "-c", "configs/weightless.yaml", f"catalog.path={catalog}", f"store.path={store}", *words),
        *("catalog.text=[title]", "catalog.attributes=[title]", "encoders.text.dim=32"),
    )
    assert "price is gone" in planned.stdout


def test_a_plan_tells_every_gate_that_would_refuse(tmp_path: Path) -> None:
    """Its message is the run's, of all gates at once; with the words that it names it goes on, as the run does."""
    catalog, store = tmp_path / "c.parquet", tmp_path / "store"
    assert run_titles(write_titles(catalog, TITLES, size=list(range(30))), store, SIZE).exit_code == 0
    aged(write_titles(catalog, TITLES, size=["small"] * 30), 1)
    plan = ("plan", *words_of_titles(catalog, store, SIZE)[1:])
    planned, ran = vitrine(*plan), run_titles(catalog, store, SIZE)
    assert (planned.exit_code, ran.exit_code) == (3, 3)
    assert told(planned.stderr)[:2] == told(ran.stderr)[:2]
    assert [one.split()[0] for one in told(planned.stderr)[0].split("; ")] == ["catalog_older", "attribute_types"]
    assert told(planned.stderr)[2].endswith("--accept catalog_older --accept attribute_types")
    assert vitrine(*plan, "--accept", "catalog_older").exit_code == 3
    assert vitrine(*plan, "--accept", "catalog_older", "--accept", "attribute_types").exit_code == 0
    assert vitrine(*plan, "--accept", "catalog").exit_code == 2
