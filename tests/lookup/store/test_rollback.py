"""Going back to an earlier snapshot by hand, as docs/how-to/operations.md says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import lookup
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.places import ROOT

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
    inspect, listing, write, verify = commands()
    assert (inspect, verify) == ("vitrine inspect store", "vitrine verify store")
    parent = vitrine(*inspect.split()[1:-1], store).stdout.split("parent ")[1].split()[0]

    def shell(line: str) -> str:
        return subprocess.run(["sh", "-ec", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    listed = shell(listing).split()
    assert f"{parent}.json" in listed
    example = re.search(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}", write)
    assert example is not None
    shell(write.replace(example[0], parent))
    assert f"snapshot {parent} is whole" in vitrine("verify", store).stdout
    assert lookup.open(str(store)).search("red dress", k=1)[0].attributes["title"] == "red dress"
    again = run_titles(new, store, "gates.max_row_drop=0.5")
    assert again.exit_code == 0, again.stderr
    assert json.loads(vitrine("inspect", store, "--json").stdout)["manifest"]["parent"] == parent
    assert lookup.open(str(store)).search("red dress", k=1)[0].attributes["title"] == "green dress"


def test_a_name_with_its_ending_is_refused(tmp_path: Path) -> None:
    """As `ls` prints it: the message says to leave it off, and the old store is not touched."""
    store = tmp_path / "store"
    assert run_titles(write_titles(tmp_path / "c.parquet", ["red dress"]), store).exit_code == 0
    name = next((store / "snapshots").iterdir()).name
    (store / "CURRENT").write_text(f"{name}\n")
    done = vitrine("verify", store)
    assert done.exit_code == 4
    _, came, fix = told(done.stderr)
    assert name in came
    assert "leave out .json" in fix
