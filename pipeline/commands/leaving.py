"""How a process ends that has nothing left to do: at once.

Python takes its modules apart before it ends. With torch and transformers imported that takes one to two seconds after
a command's last line, for memory that the system takes back anyway.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def leaving() -> Iterator[None]:
    """End the process with the exit code of the body, which a command's own entry wraps around everything it does.

    What was registered for the end is done: temporary folders go, child processes are dismissed, logs are closed. A
    process in which a thread is still at work that Python would wait for ends as it always did, and so does one that
    fails in a way nobody foresaw, with its traceback.
    """
    try:
        yield
    except SystemExit as err:
        if err.code is not None and not isinstance(err.code, int):  # a message, which Python prints
            raise
        _leave(err.code or 0)
        raise


def _leave(code: int) -> None:
    """End here; return where Python has to end the process itself."""
    waited = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if waited or threading.current_thread() is not threading.main_thread():
        return
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or full: streams.flushed has seen to it
            stream.flush()
    os._exit(code)
