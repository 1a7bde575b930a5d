"""Commands forked from a process that has imported what a run imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of each line on stdin, [patch, words]: the command in a process of its own, forked from one that has imported what a
# run imports, after `patch` was executed; prints its exit code and what stderr got.
COMMAND = """
import json, os, sys, tempfile, time
import fsspec, pipeline.run, pipeline.build.transforms, pipeline.embed.transforms
from apache_beam.runners.worker import sdk_worker
from encoders.types.hashed_text import HashedText
from lookup.store.store import Store
from pipeline.commands.cli import main

for line in sys.stdin:
    patch, words = json.loads(line)
    said = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        os.dup2(said.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv[1:] = words
        exec(patch)
        main()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.seek(0)
    print(json.dumps([code, said.read().decode()]), flush=True)
"""


class Forked:
    """Commands in processes of their own: exit code and stderr of words that are given after `patch` was executed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, patch: str, *words: object) -> tuple[int, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([patch, [str(word) for word in words]]) + "\n")
        self.process.stdin.flush()
        code, said = json.loads(self.process.stdout.readline())
        return code, said


@contextmanager
def forked(imports: str = "") -> Iterator[Forked]:
    """Commands, forked from a process that has imported what a run imports, and executed `imports`."""
    words = [sys.executable, "-c", imports + COMMAND]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forked(process)
        assert process.stdin is not None
        process.stdin.close()
