"""Log lines as an operator's tools meet them: each with its date, as text or as one JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import TITLES_ONLY, write_titles
from tests.support.forked_commands import Forked, forked
from tests.support.stores import last_log

DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) ")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ALONE = "import logging; logging.getLogger().handlers.clear();"  # of what Beam sets up where it is imported first
BROKEN = "import pipeline.run; pipeline.run._publish = lambda *_: 1 / 0"


@pytest.fixture(scope="module")
def command() -> Iterator[Forked]:
    with forked() as ran:
        yield ran


def _run(command: Forked, folder: Path, *more: str, patch: str = "") -> tuple[int, str]:
    catalog = write_titles(folder / "catalog.parquet", ["red dress", "blue shoe"])
    where = (f"catalog.path={catalog}", f"store.path={folder / 'store'}")
    return command(ALONE + patch, "run", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, *more)


def test_each_line_of_text_has_its_date(command: Forked, tmp_path: Path) -> None:
    """On stderr and in log.txt a line begins with its date and time in UTC."""
    code, said = _run(command, tmp_path)
    assert code == 0
    for lines in (said.splitlines(), last_log(tmp_path / "store", "log.txt").splitlines()):
        assert len(lines) > 5
        assert [line for line in lines if not DATED.match(line)] == []


def test_json_is_one_object_a_line_and_names_the_run(command: Forked, tmp_path: Path) -> None:
    """With --log-format json each line of stderr is an object with time, level, logger, message and the run's id."""
    code, said = _run(command, tmp_path, "--log-format", "json")
    lines = [json.loads(line) for line in said.splitlines()]
    assert code == 0
    assert all(STAMP.fullmatch(line["time"]) and line["level"] and line["logger"] for line in lines)
    (run,) = (path.name for path in (tmp_path / "store" / "runs").iterdir())
    assert {line["run"] for line in lines if line["message"].startswith(("plan: ", "publish: "))} == {run}
    assert DATED.match(last_log(tmp_path / "store", "log.txt"))  # which people read


def test_errors_and_faults_are_json_lines_too(command: Forked, tmp_path: Path) -> None:
    """What a config lacks is an object with its three parts and exit code; a fault of the program has its traceback."""
    code, said = command(ALONE, "run", "--log-format", "json", "store.path=x")
    (line,) = [json.loads(line) for line in said.splitlines()]
    assert (code, line["exit_code"], line["level"]) == (2, 2, "ERROR")
    assert line["message"] == f"expected: {line['expected']}\ncame: {line['came']}\nto do: {line['to_do']}"
    code, said = _run(command, tmp_path, "run.log_format=json", patch=BROKEN)
    last = [json.loads(line) for line in said.splitlines()][-1]
    assert (code, last["level"]) == (1, "CRITICAL")
    assert "ZeroDivisionError" in last["exception"]
    assert last["run"]
