"""What stdout can take decides nothing: ends of pipes, full disks and old encodings leave the exit code as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lookup.store.store import Store
from tests.support.command import TITLES_ONLY, write_titles

# Of each line on stdin, [kind of stdout, encoding, words]: the command in a process of its own, forked from one that
# has imported what it needs; prints its exit code and what stderr and stdout got.
COMMAND = """
import io, json, os, sys, tempfile
import encoders.types.hashed_text, pipeline.run, pipeline.embed.transforms, pipeline.evaluate.questions
from pipeline.commands.cli import main

for line in sys.stdin:
    kind, encoding, words = json.loads(line)
    said, shown = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        os.dup2(said.fileno(), 2)
        if kind == "closed":
            os.close(1)
            sys.stdout = None
        else:
            ours, theirs = os.pipe()
            out = {"full": os.open("/dev/full", os.O_WRONLY), "gone": theirs, "file": shown.fileno()}[kind]
            os.dup2(out, 1)
            os.closerange(3, max(ours, theirs, out) + 1) if kind == "gone" else None
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), encoding=encoding, write_through=True)
        sys.argv[1:] = words
        main()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.seek(0), shown.seek(0)
    print(json.dumps([code, said.read().decode(), shown.read().decode("latin-1")]), flush=True)
"""
CATEGORIES = ["Café", "衣服", "plain"]


class Commands:
    """Commands with a stdout of some kind."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def __call__(self, kind: str, encoding: str, *words: object) -> tuple[int, str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([kind, encoding, [str(word) for word in words]]) + "\n")
        self.process.stdin.flush()
        code, said, shown = json.loads(self.process.stdout.readline())
        return code, said, shown

    def run(self, kind: str, encoding: str, store: Path, *more: object) -> tuple[int, str, str]:
        """`vitrine run` on the small catalog."""
        return self(kind, encoding, *run_words(self.folder, store), *more)


def run_words(folder: Path, store: Path) -> list[str]:
    where = [f"catalog.path={folder / 'c.parquet'}", f"store.path={store}", "catalog.partition=kind"]
    return ["run", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Commands on a folder with a catalog of three categories, and its published store `store`."""
    folder = tmp_path_factory.mktemp("streams")
    titles = [f"Kleid für Größe {n} 红色" for n in range(30)]
    write_titles(folder / "c.parquet", titles, kind=[CATEGORIES[n % 3] for n in range(30)])
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked = Commands(process, folder)
        assert asked.run("file", "utf-8", folder / "store")[0] == 0
        yield asked
        assert process.stdin is not None
        process.stdin.close()


KINDS = [("file", "ascii"), ("file", "latin-1"), ("full", "utf-8"), ("gone", "utf-8"), ("closed", "utf-8")]


@pytest.mark.parametrize(("kind", "encoding"), KINDS)
def test_a_run_that_published_exits_0(commands: Commands, tmp_path: Path, kind: str, encoding: str) -> None:
    """Whatever stdout is, a run whose snapshot stands exits 0, with or without --json, and shows no traceback."""
    for more in ((), ("--json",)):
        code, said, shown = commands.run(kind, encoding, tmp_path / "store", *more)
        assert code == 0, said
        assert "Traceback" not in said
        assert Store.open(str(tmp_path / "store")).published()[1].rows == 30
        if kind == "file" and more:
            names = [row["name"] for row in json.loads(shown)["partitions"]]
            assert sorted(names) == sorted(CATEGORIES)
        if kind == "full":
            assert "could not be printed" in said
            assert "run.json" in said


@pytest.mark.parametrize("words", [["search", "--text", "rot", "--json"], ["search", "--text", "rot"], ["inspect"]])
@pytest.mark.parametrize(("kind", "encoding"), KINDS)
def test_other_commands_on_any_stdout(commands: Commands, kind: str, encoding: str, words: list[str]) -> None:
    """A reader that has seen enough, a closed stdout and an old encoding are no failure; a full disk is, in three
    parts. JSON stays JSON.
    """
    code, said, shown = commands(kind, encoding, words[0], commands.folder / "store", *words[1:])
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert code == (1 if kind == "full" else 0), said
    if kind == "full":
        assert "No space left on device" in said
    if kind == "file" and "--json" in words:
        assert all("红色" in hit["attributes"]["title"] for hit in json.loads(shown)["hits"])
    if kind == "file" and "--json" not in words:
        assert "\\u8863\\u670d" in shown  # 衣服


@pytest.mark.parametrize("kind", ["full", "gone", "closed"])
def test_an_error_keeps_its_code(commands: Commands, kind: str) -> None:
    """What a command fails with is its exit code, also where its document cannot be printed."""
    code, said, _ = commands(
        kind, "utf-8", "search", commands.folder / "store", "--text", "x", "--category", "y", "--json"
    )
    assert (code, "Traceback" in said) == (2, False)
    assert "expected: a category of the snapshot" in said


def test_pipes_and_encodings_as_a_shell_has_them(commands: Commands) -> None:
    """The command itself: `search | head -1`, and a closed stdout under `LC_ALL=C` without UTF-8 mode."""
    base = f"{sys.executable} -m pipeline search {commands.folder / 'store'} --text rot"
    c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    cases: list[tuple[str, dict[str, str]]] = [
        (f"{base} -k 30 | head -1; exit ${{PIPESTATUS[0]}}", {}),
        (f"{base} >&-", c),
    ]
    for line, more in cases:
        done = subprocess.run(
            ["bash", "-c", line], env={**os.environ, **more}, capture_output=True, text=True, encoding="latin-1"
        )
        assert (done.returncode, done.stderr) == (0, ""), line


def test_a_run_whose_notes_are_lost_exits_0(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log and report that the disk does not take once the snapshot is published are told, and change nothing."""
    from pipeline import run as stages
    from tests.support.command import vitrine

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stages.RunLog, "close", full)
    monkeypatch.setattr(stages, "write_report", full)
    done = vitrine(*run_words(commands.folder, tmp_path / "store"))
    assert done.exit_code == 0
    assert "published: " in done.stdout
