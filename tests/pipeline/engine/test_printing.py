"""Tables on stdout: columns side by side, whatever script their cells are in, and no cell cut."""

from __future__ import annotations

import os

import pytest

from pipeline.engine import printing

TITLES = [["1", "Summer dress, red  夏季连衣裙 红色", "89.99"], ["12", "[bold]Café[/bold]", "1.00"]]


def test_columns_are_as_wide_as_their_cells_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A Chinese character takes two places, and what looks like markup is shown."""
    printing.table(["", "title", "price"], TITLES)
    assert capsys.readouterr().out.splitlines() == [
        f"    {'title':34}  price",
        "1   Summer dress, red  夏季连衣裙 红色  89.99",
        f"12  {'[bold]Café[/bold]':34}  1.00 ",
    ]


def test_what_does_not_fit_goes_on_below(capsys: pytest.CaptureFixture[str]) -> None:
    """Of 160 places the widest column gives as many as are missing; all of its cell is shown, the others are whole."""
    words = [f"word{number}" for number in range(40)]
    printing.table(["id", "title"], [["P0", " ".join(words)], ["P1", "x" * 200]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 160
    assert [line[:2] for line in lines] == ["id", "P0", "  ", "P1", "  "]
    assert " ".join(line[4:].strip() for line in lines[1:3]).split() == words
    assert "".join(line[4:].strip() for line in lines[3:]) == "x" * 200


def test_a_terminal_says_how_wide_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On one of 20 places titles are broken between words; the head of the table is bold there, and nowhere else."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((20, 24)))
    printing.table(["id", "title"], [["P0", "Midi dress, white, plain"]])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "\x1b[1mid  title           \x1b[0m"
    assert rows == ["P0  Midi dress,     ", "    white, plain    "]
