"""Ends a run or a training that makes no progress any more: a worker's thread died, a process was killed, a call hangs.

Beam waits for ever for what a dead thread would have said. A thread that dies of
what the machine lacks, or that is Beam's own worker, is seen at once (threading.excepthook): the local runner's server
of gRPC, say, that cannot start a thread, or a worker for which there is no memory. For all else signs of life are
beats of this process, the mtime of a file that workers of this machine touch, and finished units
(foundation/liveness.py).
Without any for the stated time, the stacks of all threads go into the run's log, and an error is raised in the main
thread, again and again, because what is waited for there may be waited for again while the runner is closed. Where that
does not help, the watchdog itself leaves the report and ends the process, with which its locks go.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from foundation import liveness, streams
from foundation.errors import VitrineError
from foundation.machine import machine_fault, machine_fault_in
from pipeline.engine import printing

_SIGNAL = signal.SIGUSR2  # by which the main thread is woken from whatever it waits for
_LOOK = 5.0  # seconds between two looks, at most
_AGAIN, _GRACE = 1.0, 20.0  # seconds between two tries to wake the main thread, and until that is given up
_LAST_WORD = 2.0  # seconds for a run to end by itself after a thread died
_WORDS = 30.0  # seconds that the last report and the lock may take

_log = logging.getLogger(__name__)
_stalled: list[VitrineError] = []  # of runs of this process
_dogs: list[_Dog] = []  # that watch now
_WORKER = "run_worker"  # Beam's name for the thread that serves a worker: it waits for ever for one that died


class StalledError(VitrineError):
    """A run that made no progress for the stated time, or will make none."""


@contextmanager
def watchdog(
    minutes: float | None, sign: Path | None, log: Path, give_up: Callable[[VitrineError], None]
) -> Iterator[None]:
    """StalledError when there is no sign of life for `minutes` while the body runs (None: wait for ever), or when a
    thread died for which the body waits; of the machine's fault, if it did.

    `sign` is made, and removed; None where no other process works for the body. `give_up` is called in a thread of its
    own where the body cannot be ended: it shall leave the report.
    """
    if sign is not None:
        sign.touch()
        liveness.attach(sign)
    dog = _Dog(math.inf if minutes is None else 60 * minutes, sign, log, give_up)
    try:
        with dog.heard():
            yield
    finally:
        dog.end()
        if sign is not None:
            liveness.detach(sign)
            sign.unlink(missing_ok=True)


@contextmanager
def training_watchdog(minutes: float | None, out: Path) -> Iterator[None]:
    """The same while the body trains into `out`. The stacks go into `log.txt` of its working folder; the lock there is
    the system's, which frees it with the process.
    """
    with watchdog(minutes, None, Path(f"{out}.training") / "log.txt", lambda _: None):
        yield


def died(err: BaseException, where: str) -> None:
    """Tell that work of which nobody asks the end was left, by `err`: what is watched now would wait for it."""
    for dog in list(_dogs):
        dog.hear(err, where, waited_for=True)


def leave() -> None:
    """End this process now if a run of it stalled: threads that hang would be waited for, and children outlive it."""
    if _stalled:
        _end()


class _Dog:
    def __init__(self, seconds: float, sign: Path | None, log: Path, give_up: Callable[[VitrineError], None]) -> None:
        self.seconds, self.sign, self.log, self.give_up = seconds, sign, log, give_up
        self.over, self.roused = threading.Event(), threading.Event()
        self.dead: VitrineError | None = None  # what a thread died of
        self.main = threading.current_thread() is threading.main_thread()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Watch while the body runs; the main thread heeds the signal meanwhile."""
        watcher = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        before = signal.signal(_SIGNAL, self._wake) if self.main else None
        watcher.start()
        hook, threading.excepthook = threading.excepthook, self._heard_of
        self.hook = hook
        _dogs.append(self)
        try:
            yield
        finally:
            _dogs.remove(self)
            threading.excepthook = hook
            self.end()
            if self.main:
                signal.signal(_SIGNAL, before)

    def end(self) -> None:
        """Watch no longer."""
        self.over.set()
        self.roused.set()

    def _heard_of(self, death: threading.ExceptHookArgs) -> None:
        """A thread died of an error: the run ends where it would wait for that thread."""
        err, thread = death.exc_value, death.thread
        name = "" if thread is None else thread.name
        if err is not None:
            self.hear(err, f"the thread {name}", waited_for=name == _WORKER)
        self.hook(death)

    def hear(self, err: BaseException, where: str, waited_for: bool) -> None:
        """Of an error by which something ended that the body may wait for, or does."""
        fault = machine_fault(err)
        if fault is None and waited_for:
            said = f"RuntimeError: {type(err).__name__} in {where}: {' '.join(str(err).split())[:300]}"
            foreseen = machine_fault_in(said)  # as the server's end of a connection tells it
            fault = foreseen or VitrineError("every worker to end well", said, "log.txt has the stacks; report it")
        if fault is not None and self.dead is None:
            self.dead = fault
            self.roused.set()

    def _wake(self, number: int, frame: FrameType | None) -> None:
        if _stalled and not self.over.is_set():
            raise _stalled[-1]

    def _watch(self) -> None:
        liveness.beat()
        look = min(_LOOK, self.seconds / 4)
        seen, alive, looked = self._mtime(), time.monotonic(), time.monotonic()
        while not self.roused.wait(look):
            now, mtime = time.monotonic(), self._mtime()
            if mtime != seen or now - looked > 2 * look + 1:  # stopped meanwhile, with all that it watches
                seen, alive = mtime, now
            alive, looked = max(alive, liveness.last_beat()), now
            if now - alive > self.seconds:
                self._end_run(self._silent(now - alive), f"no progress for {self.seconds / 60:g} minutes")
                return
        # The body may end by itself, and say more of it.
        if self.dead is not None and not self.over.wait(_LAST_WORD):
            self._end_run(self.dead, "a thread died")

    def _silent(self, seconds: float) -> VitrineError:
        return StalledError(
            f"some progress within {self.seconds / 60:g} minutes (run.stall_minutes)",
            f"none for {seconds / 60:.2g} minutes: no row, photo, micro-batch, step, block or unit was finished",
            f"read the stacks of all threads in {self._place()}; run again: it goes on where it stopped. "
            "Where one piece of work does take longer, raise run.stall_minutes",
        )

    def _place(self) -> str:
        """Where the log is, for people: a run has a folder of its own, which in a bucket is not yet the store's."""
        return str(self.log) if self.sign is None else f"{self.log.name} of the run"

    def _end_run(self, err: VitrineError, why: str) -> None:
        _stalled.append(err)
        self._write_stacks(why)
        waited = 0.0
        while self.main and waited < _GRACE:
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            if self.over.wait(_AGAIN):
                return
            waited += _AGAIN
        words = threading.Thread(target=self._last_words, args=(err,), name="last words", daemon=True)
        words.start()
        words.join(_WORDS)
        _end()

    def _last_words(self, err: VitrineError) -> None:

        printing.error(err, as_json=False)
        self.give_up(err)

    def _write_stacks(self, why: str) -> None:
        _log.error("%s: the stacks of all threads are in %s", why, self.log)
        with suppress(OSError):
            self.log.parent.mkdir(parents=True, exist_ok=True)  # a training has no folder while it reads the catalog
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{why}; the stacks of all threads:\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)

    def _mtime(self) -> int:
        try:
            return 0 if self.sign is None else self.sign.stat().st_mtime_ns
        except OSError:
            return 0


def _end() -> None:
    for child in _descendants(os.getpid()):
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
    with streams.flushed():
        pass
    os._exit(StalledError.exit_code)


def _descendants(parent: int) -> list[int]:
    """Children of a process and theirs, where the system shows them."""
    found: list[int] = []
    for listed in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, listed.read_text().split()):
                found += [child, *_descendants(child)]
    return found
