"""Going back to an earlier snapshot by hand, as docs/how-to/operations.md says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import lookup
from foundation.errors import InputError
from lookup.store.store import Store
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.places import ROOT
from tests.support.stores import publish_by_hand

PAGE = ROOT / "docs/how-to/operations.md"


def commands() -> list[str]:
    """The lines under `## Rollback`, without what is said of them."""
    section = PAGE.read_text().partition("\n## Rollback\n")[2].partition("\n## ")[0]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line.partition("  #")[0].strip() for line in block[1].splitlines()]


def test_the_way_back_that_is_documented_works(tmp_path: Path) -> None:
    """Its commands serve the snapshot before, whole; the next run takes that for its parent and publishes over it."""
    store = tmp_path / "store"
    old, new = (write_titles(tmp_path / f"{word}.parquet", [f"{word} dress", "blue mug"]) for word in ("red", "green"))
    for catalog in (old, new):
        assert run_titles(catalog, store).exit_code == 0
    listing, inspect, write, link, verify = commands()
    assert (inspect, verify) == ("vitrine inspect store", "vitrine verify store")
    parent = vitrine(*inspect.split()[1:-1], store).stdout.split("parent ")[1].split()[0]

    def shell(line: str) -> str:
        for there, here in (("43", "3"), ("42", "2"), ("00000003", "000000003"), (example, parent)):
            line = line.replace(there, here)
        return subprocess.run(["sh", "-ec", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    example = re.findall(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}", write)[0]
    assert shell(listing).split() == ["0000000001.json", "0000000002.json"]
    shell(write)
    shell(link)
    shell(write)
    with pytest.raises(subprocess.CalledProcessError):  # a number is taken once
        shell(link)
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
        store.publish_again("20200101T000000Z-0123456789abcdef", "a mistake")
    assert store.publish_again(first.snapshot, "green was wrong") == store.latest()
    assert (store.current(), store.publications()[-1].reason) == (first.snapshot, "green was wrong")
    (path / "publications" / "0000000003.json").write_bytes(b"")
    assert store.publish_again(last.snapshot, "it was not").before is None
    assert lookup.open(str(path)).search("green dress", k=1)[0].attributes["title"] == "green dress"
    assert vitrine("verify", path).exit_code == 0
