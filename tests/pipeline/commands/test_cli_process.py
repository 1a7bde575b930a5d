"""The command as a process: what goes to stdout, stderr and a terminal, and what an interrupt leaves."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.commands import console
from tests.support.command import overrides, told, vitrine
from tests.support.stores import publications

MODULE = [sys.executable, "-m", "pipeline"]
# Becomes the command that follows, which an interrupt reaches.
_HEEDING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
CONFIG = ("-c", "configs/weightless.yaml")


def test_a_real_run_keeps_stdout_for_the_result(demo: Path, tmp_path: Path) -> None:
    """A run's stdout is the report that run.json has; log lines with each step are on stderr and in log.txt."""
    store = tmp_path / "store"
    command = [*MODULE, "run", *CONFIG, *overrides(demo, store), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (folder,) = (store / "runs").iterdir()
    assert json.loads(done.stdout) == json.loads((folder / "run.json").read_text())
    for step in ("plan", "embed", "build", "gate", "publish"):
        assert f"INFO {step}: " in done.stderr
        assert f"INFO pipeline.report.run_report {step}: " in (folder / "log.txt").read_text()
    assert "INFO embed 120 of 120 rows" in done.stderr


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """Where stderr is a terminal a bar counts the products; stdout stays the result."""
    ours, theirs = pty.openpty()
    command = [*MODULE, "demo-catalog", tmp_path / "demo", "--products", "60", "--row-group-rows", "20", "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["products"] == 60
    os.close(ours)
    assert b"60/60" in shown
    assert b"\x1b[" in shown


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`vitrine config show | head -1` ends without a traceback."""
    command = [*MODULE, "config", "show", *CONFIG]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_ctrl_c_ends_a_run_cleanly(demo: Path, tmp_path: Path) -> None:
    """An interrupted run exits 130 with one message, a report and a free lock, and the next one completes."""
    store = tmp_path / "store"
    command = [*MODULE, "run", *CONFIG, *overrides(demo, store), "--json"]
    # Tests that a shell runs in the background ignore interrupts, and what they start inherits that.
    heeding = [sys.executable, "-c", _HEEDING, *command]
    with subprocess.Popen(heeding, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if "embed 0 of" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert json.loads(process.stdout.read())["exit_code"] == 130
    assert process.returncode == 130
    assert told(rest)[1] == "an interrupt"
    (folder,) = (store / "runs").iterdir()
    report = json.loads((folder / "run.json").read_text())
    assert (report["status"], report["exit_code"]) == ("failed", 130)
    assert "KeyboardInterrupt" in (folder / "log.txt").read_text()
    assert not publications(store)
    assert vitrine("run", *CONFIG, *overrides(demo, store)).exit_code == 0


def test_log_lines_of_failed_workers_are_for_the_log() -> None:
    """Beam's tracebacks are not shown to people; its warnings and our errors are."""

    def record(name: str, level: int) -> logging.LogRecord:
        return logging.LogRecord(name, level, "", 0, "said", (), None)

    assert not console._for_people(record("apache_beam.runners.worker.sdk_worker", logging.ERROR))
    assert console._for_people(record("apache_beam.options", logging.WARNING))
    assert console._for_people(record("pipeline.run", logging.ERROR))
