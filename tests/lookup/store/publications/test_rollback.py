"""Going back to an earlier snapshot without the command, as docs/how-to/operations.md says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import lookup
from foundation.errors import InputError
from lookup.store.publications.rollback import publish_again
from lookup.store.store import Store
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.places import ROOT
from tests.support.stores import manifest_of, publish_by_hand

PAGE = ROOT / "docs/how-to/operations.md"


def test_the_line_that_is_documented_works(tmp_path: Path) -> None:
    """Where a person writes the publication, its snapshot is served; the next run takes that for its parent, is held by
    nothing and publishes over it.
    """
    store = tmp_path / "store"
    old, new = (write_titles(tmp_path / f"{word}.parquet", [f"{word} dress", "blue mug"]) for word in ("red", "green"))
    for catalog in (old, new):
        assert run_titles(catalog, store).exit_code == 0
    parent = manifest_of(store).parent or ""
    section = PAGE.read_text().partition("\n## Rollback\n")[2].partition("\n## ")[0]
    (line,) = re.findall(r"`(\{.*\})`", section)
    for there, here in (("43", "3"), ("42", "2"), ("<id>", parent)):
        line = line.replace(there, here)
    (store / "publications" / "0000000003.json").write_text(line)
    assert f"snapshot {parent} is whole" in vitrine("verify", store).stdout
    assert lookup.open(str(store)).search("red dress", k=1)[0].attributes["title"] == "red dress"
    again = run_titles(new, store, "gates.max_row_drop=0.5")
    assert again.exit_code == 0, again.stderr
    assert json.loads(vitrine("inspect", store, "--json").stdout)["manifest"]["parent"] == parent
    assert lookup.open(str(store)).search("red dress", k=1)[0].attributes["title"] == "green dress"
    history = Store.open(str(store)).publications()
    assert [(one.number, one.before) for one in history] == [(1, None), (2, 1), (3, 2), (4, 3)]
    assert (history[2].snapshot, history[2].run, history[2].reason) == (parent, None, "wrong prices")


@pytest.mark.parametrize("wrong", [".json", "", "\n"])
def test_an_id_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    """With its ending, as `ls` prints it, or cut, or with a line break: the message names the file and a way out."""
    store = tmp_path / "store"
    assert run_titles(write_titles(tmp_path / "c.parquet", ["red dress"]), store).exit_code == 0
    name = (Store.open(str(store)).current() or "")[: None if wrong else -1] + wrong
    path = publish_by_hand(store, name)
    done = vitrine("verify", store)
    assert done.exit_code == 4
    _, came, fix = told(done.stderr)
    assert repr(name) in came
    assert str(path.relative_to(store)) in came
    assert "publications/0000000003.json" in fix


def test_a_copied_digest_is_refused(tmp_path: Path) -> None:
    """A run's publication that a person copied and changed is told as altered, and that it needs no digest."""
    store = tmp_path / "store"
    assert run_titles(write_titles(tmp_path / "c.parquet", ["red dress"]), store).exit_code == 0
    fields = json.loads((store / "publications" / "0000000001.json").read_text())
    path = store / "publications" / "0000000002.json"
    path.write_text(json.dumps({**fields, "number": 2, "before": 1}))
    assert "written by hand has none" in told(vitrine("verify", store).stderr)[1]
    path.write_text(json.dumps({**fields, "number": 2, "before": 1, "digest": None}))
    assert vitrine("verify", store).exit_code == 0


def test_a_snapshot_is_published_again(tmp_path: Path) -> None:
    """`publish_again` serves an earlier snapshot, on top of whatever is there, and refuses one that is not."""
    path = tmp_path / "store"
    for title in ("red dress", "green dress"):
        assert run_titles(write_titles(tmp_path / "c.parquet", [title]), path).exit_code == 0
    store = Store.open(str(path))
    first, last = store.publications()
    with pytest.raises(InputError, match="a file of snapshots/"):
        publish_again(store, "20200101T000000Z-0123456789abcdef", "a mistake")
    assert publish_again(store, first.snapshot, "green was wrong") == store.latest()
    assert (store.current(), store.publications()[-1].reason) == (first.snapshot, "green was wrong")
    (path / "publications" / "0000000003.json").write_bytes(b"")
    assert publish_again(store, last.snapshot, "it was not").before is None
    assert lookup.open(str(path)).search("green dress", k=1)[0].attributes["title"] == "green dress"
    assert vitrine("verify", path).exit_code == 0
