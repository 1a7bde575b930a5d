"""Threads of the command that wait for one another sleep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foundation import allocator


@pytest.mark.skipif(allocator._glibc("mallopt") is None, reason="another OpenMP than GNU's says it otherwise")
@pytest.mark.parametrize(("said", "turns"), [({}, 0), ({"OMP_WAIT_POLICY": "ACTIVE"}, 3 * 10**10)])
def test_threads_that_wait_sleep_unless_told_otherwise(published: Path, said: dict[str, str], turns: int) -> None:
    """How often a thread looks before it sleeps, as OpenMP itself reports in a search, which loads FAISS: never; where
    the environment names a policy, as that has it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    words = [sys.executable, "-m", "pipeline", "search", published, "--text", "red dress"]
    asked = {**kept, **said, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(words, env=asked, capture_output=True, text=True, check=True)
    found = [line.split("=")[1].strip(" '") for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert set(found) == {str(turns)}
