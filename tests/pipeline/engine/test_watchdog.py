"""A run that hangs ends: exit code 1, three parts, stacks in the log, a report, and a free lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookup.store.store import Store
from tests.support.command import TITLES_ONLY, told, write_titles
from tests.support.forked_commands import Forked, forked

SLEEPS = "HashedText.forward = lambda *_: time.sleep(1e6)"
SWALLOWS = """
def waits(*_, **__):
    while True:
        try:
            time.sleep(1e6)
        except BaseException:
            pass
pipeline.run.preflight = waits
"""
RAISES = """
def raises(*_):
    raise {}
{} = raises
"""
HANGS = {
    "an encoder that sleeps": SLEEPS,
    "a store that never answers": "Store.put = lambda *_, **__: time.sleep(1e6)",
    "a main thread that heeds nothing": "import pipeline.engine.watchdog; pipeline.engine.watchdog._GRACE = 2\n"
    + SWALLOWS,
}

DEATHS = {
    "no memory for Beam's worker": ("MemoryError()", "sdk_worker.SdkHarness.run", "memory for what a run holds"),
    "a worker that leaves": ("SystemExit()", "sdk_worker.SdkHarness._request_process_bundle", "every worker to end"),
    "no thread for the runner's server": ("RuntimeError(CANNOT)", "grpc._server._handle_call", "threads and processes"),
    "a killed worker process": (
        'RuntimeError("Worker subprocess exited with return code -9")',
        "sdk_worker.SdkHarness.run",
        "every process of",
    ),
    "a thread of the worker's pool": ("SystemExit()", "sdk_worker.statesampler.instruction_id", "every worker to end"),
    "a thread of the server's pool": ("SystemExit()", "grpc._server._call_behavior", "every worker to end"),
    "no thread for a worker": (
        "RuntimeError(CANNOT)",
        "sdk_worker.SdkHarness._request_execute",
        "threads and processes",
    ),
}


class Runs:
    """Runs in processes of their own."""

    def __init__(self, command: Forked, catalog: Path) -> None:
        self.command, self.catalog = command, catalog

    def __call__(self, patch: str, store: Path, *more: str) -> tuple[int, str]:
        words = ("run", "-c", "configs/weightless.yaml", *TITLES_ONLY, f"catalog.path={self.catalog}")
        return self.command(patch, *words, f"store.path={store}", *more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs on a catalog of 40 titles in four units."""
    catalog = write_titles(tmp_path_factory.mktemp("runs") / "c.parquet", [f"red dress {n}" for n in range(40)], 10)
    with forked() as command:
        yield Runs(command, catalog)


@pytest.mark.parametrize("hang", HANGS)
def test_a_run_that_hangs_ends(hang: str, runs: Runs, tmp_path: Path) -> None:
    """Whatever hangs: exit 1 with the setting's name, stacks and report in the run's folder, and the next run works."""
    store = tmp_path / "store"
    code, said = runs(HANGS[hang], store, "run.stall_minutes=0.02", "shards.unit_rows=10")
    assert code == 1, said
    expected, came, fix = told("error" + said.rpartition("\nerror")[2])  # Python tells of threads that died before
    assert "some progress within 0.02 minutes (run.stall_minutes)" in expected
    assert came.startswith("none for ")
    assert "log.txt" in fix
    (folder,) = (store / "runs").iterdir()
    assert "most recent call first" in (folder / "log.txt").read_text()  # as faulthandler writes stacks
    if hang != "a store that never answers":
        report = json.loads((folder / "run.json").read_text())
        assert (report["status"], report["exit_code"]) == ("failed", 1)
        assert "run.stall_minutes" in report["error"]
    code, said = runs("", store)
    assert code == 0, said
    assert Store.open(str(store)).published()[1].rows == 40


@pytest.mark.parametrize("death", DEATHS)
def test_a_run_whose_thread_died_ends_at_once(death: str, runs: Runs, tmp_path: Path) -> None:
    """A thread, or work of a pool, that the local runner would wait for: the run says what it died of, long before its
    stall_minutes.
    """
    raised, where, said_of_it = DEATHS[death]
    patch = 'import grpc._server\nCANNOT = "can\'t start new thread"\n' + RAISES.format(raised, where)
    store = tmp_path / "store"
    code, said = runs(patch, store, "run.stall_minutes=1")
    assert code == 1, said
    assert said_of_it in told("error" + said.rpartition("\nerror")[2])[0]
    (folder,) = (store / "runs").iterdir()
    assert "a thread died; the stacks of all threads" in (folder / "log.txt").read_text()
    assert json.loads((folder / "run.json").read_text())["exit_code"] == 1


def test_a_slow_run_is_left_alone(runs: Runs, tmp_path: Path) -> None:
    """A run whose every micro-batch takes a good part of the time allowed, and all of them several times that, ends
    well; so does one whose index build only computes.
    """
    slow = """
forward = HashedText.forward
def slowly(self, chunk, role):
    time.sleep(0.4)
    return forward(self, chunk, role)
HashedText.forward = slowly
"""
    code, said = runs(slow, tmp_path / "store", "run.stall_minutes=0.03", "shards.unit_rows=10", "run.workers=1")
    assert code == 0, said
    busy = """
import pipeline.build.transforms
started = pipeline.build.transforms.started
def busily(*words):
    end = time.process_time() + 5
    while time.process_time() < end:
        sum(range(1000))
    return started(*words)
pipeline.build.transforms.started = busily
"""
    code, said = runs(busy, tmp_path / "other", "run.stall_minutes=0.06")  # a busy machine takes a second at times
    assert code == 0, said
    assert list((tmp_path / "other" / "tmp").iterdir()) == []


@pytest.mark.nightly
def test_worker_processes_are_seen_and_ended(runs: Runs, tmp_path: Path) -> None:
    """Workers in processes of their own: those that work are left alone, and one that is killed ends the run."""
    processes = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=1"]
    code, said = runs("", tmp_path / "store", "run.stall_minutes=1", *processes)
    assert code == 0, said
    kills = """
import threading, signal
from pipeline.engine.watchdog import _descendants
def kill():
    found = []
    while not found:
        time.sleep(0.2)
        line = lambda one: open(f"/proc/{one}/cmdline", "rb").read()
        found = [one for one in _descendants(os.getpid()) if b"sdk_worker_main" in line(one)]
    time.sleep(2)
    for one in found:
        os.kill(one, signal.SIGSTOP)
threading.Thread(target=kill, daemon=True).start()
"""
    code, said = runs(kills, tmp_path / "other", "run.stall_minutes=0.2", *processes)
    assert code == 1, said
    assert "run.stall_minutes" in told("error" + said.rpartition("\nerror")[2])[0]


def test_leftovers_of_killed_runs_are_swept(runs: Runs, tmp_path: Path) -> None:
    """A killed run leaves nothing in the folder for temporary files; what it left in the store goes with the next."""
    temporary, store = tmp_path / "temporary", tmp_path / "store"
    temporary.mkdir()
    killed = f"""
import tempfile, signal
tempfile.tempdir = {str(temporary)!r}
HashedText.forward = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
    code, _ = runs(killed, store)
    assert code == -9
    assert [path.name for path in temporary.iterdir() if path.name.startswith("beam")] == []
    assert any((store / "tmp").iterdir())
    assert runs("", store)[0] == 0
    assert list((store / "tmp").iterdir()) == []
