"""A process of the command ends when its work has ended: with its exit code, nothing lost, nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# What a command may leave for the end: a temporary folder, a handler, a line that is not flushed. Python itself would
# take the modules apart after these; here one is there whose end says so.
ENDING = """
import atexit, logging, sys, tempfile, threading, time
from pipeline.commands.leaving import leaving

class Module:
    def __del__(self):
        sys.stderr.write("taken apart\\n")

sys.modules["module"] = Module()
folder = tempfile.TemporaryDirectory(dir=sys.argv[1])
open(folder.name + "/file", "w").write("bytes")
atexit.register(lambda: sys.stdout.write("at exit\\n"))
with leaving():
    sys.stdout.write("said\\n")
    {how}
"""


def _ended(tmp_path: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ENDING.format(how=how), str(tmp_path)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("how", "code"), [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("sys.exit(None)", 0)])
def test_a_process_leaves_without_taking_its_modules_apart(tmp_path: Path, how: str, code: int) -> None:
    """The exit code is that of the command; what was printed is out, handlers ran, the temporary folder is gone."""
    done = _ended(tmp_path, how)
    assert done.returncode == code
    assert done.stdout == "said\nat exit\n"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_fault_and_a_thread_at_work_end_as_python_ends_them(tmp_path: Path) -> None:
    """A failure that nobody foresaw has its traceback and exit code 1; a thread that is not a daemon is waited for."""
    done = _ended(tmp_path, "raise KeyError('unforeseen')")
    assert done.returncode == 1
    assert "KeyError: 'unforeseen'" in done.stderr
    slow = "threading.Thread(target=lambda: (time.sleep(0.2), print('worked'))).start(); sys.exit(4)"
    done = _ended(tmp_path, slow)
    assert done.returncode == 4
    assert "worked\n" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_command_leaves_so(published: Path) -> None:
    """The command's own entry, of the script and of `python -m pipeline`, ends by itself, with the code that is
    documented; what Python does after is never reached.
    """
    code = (
        "import sys; sys.argv[1:] = {words}\n"
        "class Module:\n    def __del__(self): sys.stderr.write('taken apart')\n"
        "sys.modules['module'] = Module()\n"
        "from pipeline.commands.cli import main\nmain()"
    )
    for words, expected in ((["inspect", str(published), "--json"], 0), (["inspect", "nowhere"], 2)):
        asked = [sys.executable, "-c", code.format(words=words)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == expected
        assert "taken apart" not in done.stderr
        assert (done.stdout[:1] == "{") == (expected == 0)
