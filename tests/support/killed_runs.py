"""Runs in processes of their own that are killed while they work, without waiting for what each would import."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

# Of each line on stdin, [seconds, words]: runs the command in a process of its own, which is killed so long after
# its first log line, or never where seconds is null; prints the exit code and the seconds since that line. Forked from
# one that has imported what a run imports, which takes seconds.
RUN_AND_KILL = """
import json, os, signal, sys, time
import encoders.types.hashed_text, encoders.types.photo_descriptors, pipeline.run, pipeline.embed.transforms
from pipeline.commands.cli import main

for line in sys.stdin:
    seconds, words = json.loads(line)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(theirs, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        # The streams made before remember of which kind of file they were.
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        sys.argv[1:] = words
        main()
    os.close(theirs)
    with open(ours) as said:
        said.readline()
        started = time.perf_counter()
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        said.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([code, time.perf_counter() - started]), flush=True)
"""


def runs_to_kill() -> subprocess.Popen[str]:
    """The process that the runs are forked from; it ends when its stdin is closed."""
    words = [sys.executable, "-c", RUN_AND_KILL]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ended(runs: subprocess.Popen[str], words: list[str], seconds: float | None) -> tuple[int, float]:
    assert runs.stdin is not None
    assert runs.stdout is not None
    runs.stdin.write(json.dumps([seconds, words]) + "\n")
    runs.stdin.flush()
    code, took = json.loads(runs.stdout.readline())
    return int(code), float(took)


def seconds_of(runs: subprocess.Popen[str], words: list[str]) -> float:
    """How long the command `words` works after its first log line when nobody kills it: machines differ threefold."""
    code, seconds = _ended(runs, words, None)
    assert code == 0
    return seconds


def killed_after(runs: subprocess.Popen[str], words: list[str], seconds: float) -> bool:
    """Run the command `words` and kill it that long after its first log line; whether it was still running."""
    return _ended(runs, words, seconds)[0] == -signal.SIGKILL
