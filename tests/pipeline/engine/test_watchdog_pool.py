"""A worker of an external pool that is killed: Beam waits for it for ever, the run does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookup.store.store import Store
from pipeline.engine.watchdog import _descendants
from tests.support.command import TITLES_ONLY, run_titles, told, write_titles

# Executed by the worker before all else: it says that it is at work, and is, for ever.
AT_WORK = """
import time
from pathlib import Path
from encoders.types.hashed_text import HashedText

def works(*_):
    Path({mark!r}).touch()
    time.sleep(1e6)

HashedText.forward = works
"""


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """(process id, port) of a pool whose workers take for ever, and touch `tmp_path`/mark once they have begun."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(AT_WORK.format(mark=str(tmp_path / "mark")))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the pool starts whatever `python` is
    words = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with subprocess.Popen(words, env={**os.environ, "PATH": paths, "PYTHONPATH": str(tmp_path / "path")}) as process:
        yield process.pid, port
        for child in _descendants(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()


@pytest.mark.nightly  # a pool, its worker and the run import Beam, each for itself
def test_a_killed_worker_of_an_external_pool_ends_the_run(pool: tuple[int, int], tmp_path: Path) -> None:
    """SIGKILL in the middle of a bundle: exit 1 by run.stall_minutes, stacks in the log, a report, a free lock; the
    next run publishes.
    """
    catalog, store = write_titles(tmp_path / "c.parquet", [f"red dress {n}" for n in range(40)], 10), tmp_path / "store"
    beam = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    where = (f"catalog.path={catalog}", f"store.path={store}", "run.stall_minutes=0.1")
    words = [sys.executable, "-m", "pipeline", "run", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where]
    words += ["--", *beam, f"--environment_config=localhost:{pool[1]}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        while not (tmp_path / "mark").exists():
            assert run.poll() is None, run.communicate()[1]
            for sign in store.glob("tmp/*.alive"):
                os.utime(sign)  # a worker that begins gives no sign, and may take its time
            time.sleep(0.05)
        workers = _descendants(pool[0])
        assert workers
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        _, said = run.communicate(timeout=300)
    assert run.returncode == 1, said
    assert "run.stall_minutes" in told("error" + said.rpartition("\nerror")[2])[0]
    (folder,) = (store / "runs").iterdir()
    assert "most recent call first" in (folder / "log.txt").read_text()
    assert (folder / "run.json").is_file()
    assert run_titles(catalog, store).exit_code == 0
    assert Store.open(str(store)).published()[1].rows == 40
