"""What a shopper's history gains, on logs of sessions: through the command, held against searches asked one by one."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from pipeline.catalog.sessions import read_sessions
from tests.support.command import told, vitrine
from tests.support.session_logs import LAST_DAY, write_sessions


def measured(store: Path, log: Path, *more: object) -> dict[str, Any]:
    done = vitrine("eval", store, "--sessions", log, "--json", *more)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ndcgs(store: Path, log: Path, days: set[datetime.date], mix: float) -> list[float]:
    """nDCG@10 of the last product of each session of these days, by its rank in a search as users ask it."""
    reader, found = lookup.open(str(store)), []
    rows = pq.read_table(log).to_pylist()
    for at in range(0, len(rows), 4):
        *before, last = rows[at : at + 4]
        if last["day"] in days:
            hits = reader.search(last["query"], history=[one["id"] for one in before], mix=mix)
            ranks = [rank for rank, hit in enumerate(hits, 1) if hit.id == last["id"]]
            found.append(1 / np.log2(1 + ranks[0]) if ranks else 0.0)
    return found


def test_history_is_held_against_none_session_by_session(published: Path, demo: Path, tmp_path: Path) -> None:
    """The share is chosen on the earlier days and measured on the last fifth: figures are those of searches, gains of
    the same sessions with history and without.
    """
    log = write_sessions(tmp_path / "log.parquet", demo, sessions=40, days=5)
    found = measured(published, log, "--mix", 0.4, "--mix", 0.2)
    assert (found["asked"], found["sessions"], found["left_out"]) == (40, 40, {})
    assert found["held_out_since"] == str(LAST_DAY)
    rows = {(row["part"], row["mix"]): row for row in found["rows"]}
    assert list(rows) == [(part, mix) for part in ("earlier", "held out") for mix in (0.0, 0.2, 0.4)]
    earlier = {LAST_DAY - datetime.timedelta(days=ago) for ago in range(1, 5)}
    for part, days in (("earlier", earlier), ("held out", {LAST_DAY})):
        without, history = ndcgs(published, log, days, 0.0), ndcgs(published, log, days, 0.4)
        assert rows[part, 0.4]["sessions"] == len(history)
        assert rows[part, 0.4]["figures"]["ndcg@10"]["mean"] == pytest.approx(np.mean(history))
        assert rows[part, 0.4]["gained"]["ndcg@10"]["mean"] == pytest.approx(np.mean(history) - np.mean(without))
        assert rows[part, 0.0]["gained"]["ndcg@10"] == {"mean": 0, "low": 0, "high": 0}
    gains = {mix: rows["earlier", mix]["gained"]["ndcg@10"]["mean"] for mix in (0.2, 0.4)}
    assert found["best"] == max(gains, key=lambda mix: gains[mix])
    kept = [mix for mix in (0.2, 0.4) if rows["held out", mix]["gained"]["ndcg@10"]["low"] >= 0]
    assert found["never_below"] == (kept if rows["held out", 0.2]["sessions"] >= 10 else [])
    done = vitrine("eval", published, "--sessions", log, "--mix", 0.4)
    assert "best on the earlier days: " in done.stdout
    assert "held out: sessions that end on 2026-11-30 or later" in done.stdout


def test_without_a_query_the_history_is_held_against_the_newest_product(
    published: Path, demo: Path, tmp_path: Path
) -> None:
    """A log of one day holds nothing out, and without queries says nothing of shares."""
    log = write_sessions(tmp_path / "log.parquet", demo, sessions=12, days=1, queries=False)
    found = measured(published, log)
    assert (found["best"], found["never_below"], found["held_out_since"]) == (None, [], None)
    assert [(row["kind"], row["part"], row["mix"]) for row in found["rows"]] == [
        ("history alone", "all", 0.0),
        ("history alone", "all", None),
    ]
    done = vitrine("eval", published, "--sessions", log)
    assert "no session that was asked ends with a query" in done.stdout


def test_sessions_that_say_nothing_are_left_out_and_counted(published: Path, demo: Path, tmp_path: Path) -> None:
    """Those of one product, and those whose last product the store does not have; rows without an id."""
    first = pq.read_table(demo / "catalog", columns=["id"])["id"][0].as_py()
    more = {
        "session": [900, 901, 901, 902],
        "id": [first, first, "gone", None],
        "day": [LAST_DAY] * 4,
        "query": ["cup"] * 4,
    }
    log = write_sessions(tmp_path / "log.parquet", demo, sessions=4, days=2, **more)
    found = measured(published, log, "--mix", 0.2, "--since", "2026-11-30")
    assert found["left_out"] == {"null_id_rows": 1, "of_one_product": 1, "last_product_not_in_store": 1}
    assert (found["sessions"], found["asked"]) == (6, 4)


def test_the_rows_of_a_session_are_in_order_of_days_and_then_of_the_file(tmp_path: Path) -> None:
    """Its last product is the one of its last day that comes last; sessions are in order of their last days."""
    one, other = datetime.date(2026, 11, 1), datetime.date(2026, 11, 2)
    table = {
        "session": ["b", "a", "b", "b", "a"],
        "id": ["3", "9", "1", "2", "8"],
        "day": [other, one, one, other, one],
        "query": ["x", None, "y", " Red  Cup ", None],
    }
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    a, b = read_sessions(tmp_path / "log.parquet", 100).sessions
    assert (a.name, a.looked_at, a.wanted, a.query, a.day) == ("a", ("9",), "8", None, one)
    assert (b.name, b.looked_at, b.wanted, b.query, b.day) == ("b", ("1", "3"), "2", "Red Cup", other)


@pytest.mark.parametrize(
    ("columns", "words", "said"),
    [
        ({"session": [1], "id": ["a"]}, (), "without day"),
        ({"session": [1.5], "id": ["a"], "day": [LAST_DAY]}, (), "no_session"),
        ({"session": [b"1"], "id": [["a"]], "day": [LAST_DAY]}, (), "list"),
        ({"session": [1, 1], "id": ["a", "b"], "day": [LAST_DAY] * 2}, (), "1 last product not in store"),
        (None, ("--since", "2027-01-01"), "2027-01-01; the sessions end on 2026-11-29 to 2026-11-30"),
        (None, ("--queries", "q.parquet", "--late"), "--queries, --late"),
    ],
)
def test_logs_that_say_nothing_are_refused(
    published: Path, demo: Path, tmp_path: Path, columns: dict[str, Any] | None, words: tuple[str, ...], said: str
) -> None:
    """Each with what was expected, what came and what to do; exit code 2."""
    log = tmp_path / "log.parquet"
    if columns is None:
        write_sessions(log, demo, sessions=4, days=2)
    else:
        pq.write_table(pa.table(columns), log)
    done = vitrine("eval", published, "--sessions", log, *words)
    assert done.exit_code == 2
    assert said in told(done.stderr)[1]


def test_one_of_both_ways_to_evaluate_is_named(published: Path) -> None:
    """Neither judged queries nor sessions, and an option of sessions without them, exit with code 2."""
    for words, said in (
        ((), "neither"),
        (("--queries", "q"), "one of --queries and --qrels"),
        (("--mix", 0.2), "no --"),
    ):
        done = vitrine("eval", published, *words)
        assert done.exit_code == 2
        assert said in told(done.stderr)[1]
