"""Decoding where it can be stopped: in processes of their own, started when first needed and killed when they overrun.

A process decodes one photo at a time, bounds its own CPU seconds by a timer whose signal ends it, and its memory. It is
a fresh Python that imports Pillow and numpy only, so threads, torch and whatever else this process holds are not
forked. What comes back are numbers and JSON, never pickles: a hostile photo might have taken that process over.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.photos.decoder_child import ANSWER, READY, REQUEST
from encoders.photos.foreign import note
from encoders.photos.limits import PhotoError, PhotoLimits
from foundation.errors import VitrineError
from foundation.machine import machine_fault

_IDLE_SECONDS = 60.0  # of wall time that a process may take beside what its CPU seconds last on a busy machine
_SLOWDOWN = 20  # wall seconds per CPU second, at most, on a machine that does other work too
_START_SECONDS = 120.0  # of wall time, to import Pillow and numpy from a slow disk
_MOST_TOLD = 2**20  # bytes of JSON that are believed
_MOST_SAID = 500  # characters, of each part of an error
_START = "import sys; sys.path[:] = {path!r}; from encoders.photos.decoder_child import serve; serve()"


class _DiedError(Exception):
    """The process ended, or was ended, before it answered; `signal` says of what, 0 where it ended by itself, and
    `waited` for how many seconds of wall time, where it was ended for these.
    """

    def __init__(self, signal: int, waited: float = 0.0) -> None:
        super().__init__(signal, waited)
        self.signal = signal
        self.waited = waited


def decode_apart(raw: bytes, limits: PhotoLimits) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB of an image file as `decode.decode` has it; PhotoError `image_too_slow` when that
    takes more CPU seconds than are allowed.

    VitrineError where the machine is at fault: it has not the memory that such a photo may take, say, or its processes
    are killed, this one twice.
    """
    pixels, answer = _answered(raw, limits)
    for text in answer["notes"]:
        note(str(text))
    if answer["machine"] is not None:
        raise VitrineError(*(str(part)[:_MOST_SAID] for part in answer["machine"]))
    if answer["error"] is not None:
        code, message = answer["error"]
        raise PhotoError(str(code), str(message))
    return pixels


def dismiss() -> None:
    """End the processes that are idle; the next photo starts another. Without this they end with this process."""
    with _lock:
        ending, _idle[:] = list(_idle), []
    for child in ending:
        child.close()  # all at once: each needs a moment
    for child in ending:
        child.end()


def _answered(raw: bytes, limits: PhotoLimits) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    """What a process says of a photo; of two, where the first was killed from outside: that may be chance."""
    for last in (False, True):
        child = _taken()
        try:
            answer = child.ask(raw, limits)
        except _DiedError as err:
            if err.signal == signal.SIGKILL:
                if not last:
                    continue
                raise _killed(raw) from None
            raise _fault(err, raw, limits) from None
        except BaseException:
            child.end()
            raise
        _give_back(child)
        return answer
    raise AssertionError("unreachable: the second process answers, or raises")


def _killed(raw: bytes) -> VitrineError:
    """Nothing that is decoded sends SIGKILL, and what it asks for is bounded: the system, or somebody, ended it."""
    came = f"a process that decodes photos was killed twice (SIGKILL), at one of {len(raw):,} bytes"
    return machine_fault(RuntimeError(came)) or VitrineError("processes that live", came, "see who kills them")


def _fault(died: _DiedError, raw: bytes, limits: PhotoLimits) -> PhotoError:
    ended_by, size = died.signal, f"{len(raw):,} bytes in the file"
    if died.waited:
        return PhotoError("image_too_slow", f"no answer in {died.waited:g} s of wall time: {size}", may_pass=True)
    if ended_by == signal.SIGPROF:
        return PhotoError("image_too_slow", f"more than {limits.max_seconds:g} s of CPU: {size}", may_pass=True)
    name = signal.Signals(ended_by).name if ended_by in set(signal.Signals) else str(ended_by)
    return PhotoError("image_undecodable", f"the decoder crashed: {name}, {size}", may_pass=True)


class _Child:
    """One process and its pipes."""

    def __init__(self) -> None:
        """Start it, and wait until it is ready; OSError when it is not to be had."""
        from multiprocessing.spawn import get_executable  # of an interpreter inside another program, as that says

        # A file without a name: a pipe that nobody reads would block a library that complains much.
        with tempfile.TemporaryFile() as noise:
            fcntl.fcntl(noise, fcntl.F_SETFL, os.O_APPEND)
            self._process = subprocess.Popen(
                [os.fsdecode(get_executable()), "-I", "-c", _START.format(path=sys.path)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=noise,
                start_new_session=True,  # Ctrl-C ends this process, and that one with it
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
            self._in, self._out = (pipe.fileno() for pipe in (self._process.stdin, self._process.stdout) if pipe)
            os.set_blocking(self._in, False)
            os.set_blocking(self._out, False)
            try:
                self._receive(bytearray(len(READY)), time.monotonic() + _START_SECONDS)
            except (_DiedError, TimeoutError) as err:
                self.end()
                answer = os.pread(noise.fileno(), 4096, 0).decode("utf-8", "replace").strip()
                raise OSError(answer.rpartition("\n")[2] or "no answer") from err

    def ask(self, raw: bytes, limits: PhotoLimits) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """The pixels of a photo, (h, w, 3) uint8, and what is told beside them; _DiedError when the process did."""
        most = _IDLE_SECONDS + _SLOWDOWN * limits.max_seconds
        until = time.monotonic() + most
        try:
            self._send(REQUEST.pack(len(raw), limits.max_bytes, limits.max_pixels, limits.max_seconds), until)
            self._send(raw, until)
            height, width, size = ANSWER.unpack(self._receive(bytearray(ANSWER.size), until))
            if height * width > limits.max_pixels or size > _MOST_TOLD:
                raise _DiedError(signal.SIGABRT)
            answer: dict[str, Any] = json.loads(bytes(self._receive(bytearray(size), until)))
            pixels = np.empty((height, width, 3), np.uint8)
            self._receive(pixels.reshape(-1), until)
        except TimeoutError:
            self.end()
            raise _DiedError(0, most) from None
        except (OSError, _DiedError, ValueError):
            raise _DiedError(self.end()) from None
        return pixels, answer

    def end(self) -> int:
        """End the process, if it still runs; the signal that it ended by, 0 for none, or for that of this call."""
        self.close()
        if self._process.poll() is None:
            try:
                self._process.wait(0.5)  # one that waits for requests ends by itself
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                return 0
        return max(0, -self._process.returncode)

    def close(self) -> None:
        """Let go of the pipes: a process that waits for requests ends by that."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def forget(self) -> None:
        """Let go of another process's child: it is not this one's to wait for."""
        self.close()
        self._process.returncode = 0

    def _send(self, raw: bytes, until: float) -> None:
        view = memoryview(raw)
        while len(view):
            _wait(self._in, select.POLLOUT, until)
            view = view[os.write(self._in, view[: 2**20]) :]

    def _receive(self, into: Any, until: float) -> Any:
        view = memoryview(into)
        while len(view):
            _wait(self._out, select.POLLIN, until)
            got = os.readv(self._out, [view])
            if not got:
                raise _DiedError(0)
            view = view[got:]
        return into


def _wait(handle: int, event: int, until: float) -> None:
    poll = select.poll()
    poll.register(handle, event)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError


_lock = threading.Lock()
_idle: list[_Child] = []  # as many as ever worked at once: a caller's threads bound them


def _taken() -> _Child:
    with _lock:
        if _idle:
            return _idle.pop()
    try:
        return _Child()
    except OSError as err:
        raise VitrineError(
            "a process that decodes photos of unknown cost",
            f"it does not start: {err}",
            "leave memory, processes and files for it (ulimit -v, -u, -n); where Python runs inside another program, "
            "name one with multiprocessing.set_executable",
        ) from err


def _give_back(child: _Child) -> None:
    with _lock:
        _idle.append(child)


def _forget() -> None:
    """In a forked process: the children are its parent's, two callers would read each other's answers."""
    global _lock
    _lock = threading.Lock()
    for child in _idle:
        child.forget()
    _idle.clear()


atexit.register(dismiss)
os.register_at_fork(after_in_child=_forget)
