"""Commands forked from a process that has imported what a run imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of each line on stdin, [patch, words]: starts the command in a process of its own, forked from one that has imported
# what a run imports, after `patch` was executed; prints its number. Of a number: waits, and prints its exit code and
# what stderr got.
COMMAND = """
import json, os, sys, tempfile, time
import fsspec, pipeline.run, pipeline.build.transforms, pipeline.embed.transforms
from apache_beam.runners.worker import sdk_worker
from encoders.types.hashed_text import HashedText
from lookup.store.store import Store
from pipeline.commands.cli import main

said = {}
for line in sys.stdin:
    given = json.loads(line)
    if isinstance(given, int):
        code = os.waitstatus_to_exitcode(os.waitpid(given, 0)[1])
        said[given].seek(0)
        print(json.dumps([code, said.pop(given).read().decode()]), flush=True)
        continue
    patch, words = given
    stderr = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        os.dup2(stderr.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv[1:] = words
        exec(patch)
        main()
    said[child] = stderr
    print(child, flush=True)
"""


class Forked:
    """Commands in processes of their own, after `patch` was executed: called, exit code and stderr; or started, to wait
    for later.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, patch: str, *words: object) -> tuple[int, str]:
        return self.wait(self.start(patch, *words))

    def start(self, patch: str, *words: object) -> int:
        """The number of the process."""
        number: int = self._answer([patch, [str(word) for word in words]])
        return number

    def wait(self, number: int) -> tuple[int, str]:
        """Exit code and stderr of a process that was started."""
        code, said = self._answer(number)
        return code, said

    def _answer(self, given: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def forked(imports: str = "") -> Iterator[Forked]:
    """Commands, forked from a process that has imported what a run imports, and executed `imports`."""
    words = [sys.executable, "-c", imports + COMMAND]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forked(process)
        assert process.stdin is not None
        process.stdin.close()
