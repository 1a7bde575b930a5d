"""Threads of the command that wait for one another sleep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foundation import allocator


@pytest.mark.skipif(allocator._glibc("mallopt") is None, reason="another OpenMP than GNU's says it otherwise")
@pytest.mark.parametrize(("said", "heard"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_sleep_unless_told_otherwise(published: Path, said: dict[str, str], heard: str) -> None:
    """What OpenMP itself reports of a search, which loads FAISS; where the environment names a policy, that one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    words = [sys.executable, "-m", "pipeline", "search", published, "--text", "red dress"]
    asked = {**kept, **said, "OMP_DISPLAY_ENV": "true"}
    done = subprocess.run(words, env=asked, capture_output=True, text=True, check=True)
    found = [line.split("=")[1].strip().strip("'") for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert set(found) == {heard}
