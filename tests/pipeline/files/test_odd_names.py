"""Names of files that are not UTF-8, told as escapes by plan and run alike."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.command import TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import last_log

ODD = os.fsdecode(b"x_\xe9")


def planned(catalog: Path | str, store: Path | str, *more: str) -> list[str]:
    return [
        "plan",
        "-c",
        "configs/weightless.yaml",
        *TITLES_ONLY,
        f"catalog.path={catalog}",
        f"store.path={store}",
        *more,
    ]


def test_what_is_left_out_may_have_any_name(tmp_path: Path) -> None:
    """A stray file, a broken link and a folder that is linked twice: named by plan, run and its report."""
    catalog = write_titles(tmp_path / "c" / "a.parquet", ["red dress"]).parent
    (catalog / f"{ODD}.txt").write_text("notes")
    (catalog / f"{ODD}.link").symlink_to("nowhere")
    (catalog / ODD).mkdir()
    (catalog / f"{ODD}.twice").symlink_to(catalog / ODD)
    done, said = run_titles(catalog, tmp_path / "store"), vitrine(*planned(catalog, tmp_path / "store"))
    assert (done.exit_code, said.exit_code) == (0, 0), done.stderr
    for page in (done.stdout, said.stdout, last_log(tmp_path / "store", "log.txt")):
        assert all(
            f"x_\\xe9{ending}" in page for ending in (".txt: text", ".link: a link to nothing", ".twice: the same")
        )
    (kept,) = json.loads(last_log(tmp_path / "store", "plan.json"))["notices"]
    assert kept["count"] == 3


@pytest.mark.parametrize("name", [f"{ODD}.parquet", f"kind={ODD}/a.parquet", f"{ODD}/cut.parquet"])
def test_catalog_files_need_a_name_in_utf8(tmp_path: Path, name: str) -> None:
    """Exit 2 with the name and what to do, from plan and run; also where a folder above has it."""
    raw = write_titles(tmp_path / "a", ["red dress"]).read_bytes()  # Arrow itself takes no such name
    (tmp_path / "c" / name).parent.mkdir(parents=True)
    (tmp_path / "c" / name).write_bytes(raw[:-9] if "cut" in name else raw)
    done, said = run_titles(tmp_path / "c", tmp_path / "store"), vitrine(*planned(tmp_path / "c", tmp_path / "store"))
    assert (done.exit_code, said.exit_code) == (2, 2)
    assert told(done.stderr) == told(said.stderr)
    assert "x_\\xe9" in told(done.stderr)[1]
    assert "rename it in UTF-8" in told(done.stderr)[2]


def test_folders_that_are_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not UTF-8, in which a user stands or which one names: exit 2 with what to rename."""
    store = tmp_path / "store"
    assert run_titles(write_titles(tmp_path / "c" / "a", ["tea"]), store).exit_code == 0
    shutil.copytree(tmp_path / "c", tmp_path / ODD / "c")
    shutil.copytree(store, tmp_path / ODD / "moved")
    config = os.path.abspath("configs/weightless.yaml")
    monkeypatch.chdir(tmp_path / ODD)
    for words in (
        [*planned("c", store)],
        [*planned(tmp_path / "c", "store")],
        ["run", *planned(tmp_path / "c", "store")[1:]],
        [*planned(tmp_path / "c", store, "catalog.image_root=.")],
        ["search", tmp_path / ODD / "moved", "--text", "red"],
        ["verify", tmp_path / ODD / "moved"],
        ["search", store, "--queries", tmp_path / ODD / "c" / "a"],
        ["demo-catalog", "demo", "--products", "3"],
        ["train", *planned(tmp_path / "c", store)[1:], "--from", "builtin", "--out", "model"],
        ["models", "pull", "builtin", "--folder", "."],
    ):
        done = vitrine(*(config if word == "configs/weightless.yaml" else word for word in words))
        assert (done.exit_code, "x_\\xe9" in told(done.stderr)[1]) == (2, True), words
        assert "rename" in told(done.stderr)[2]
    assert [path.name for path in sorted(Path().iterdir())] == ["c", "moved"]
