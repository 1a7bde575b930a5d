"""Locks that the system frees with their holder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foundation.errors import InputError, VitrineError
from foundation.file_locks import holding

HOLD = """
import sys, time
from pathlib import Path
from foundation.file_locks import holding
with holding(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(99)
"""


def test_a_lock_goes_with_a_holder_that_is_killed(tmp_path: Path) -> None:
    """Another process has it until kill -9, not a moment longer, though its file is still there."""
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with holding(lock) as ours:
            assert not ours
        holder.kill()
    assert lock.exists()
    with holding(lock) as ours:
        assert ours


def test_one_holder_at_a_time_though_each_deletes_the_file(tmp_path: Path) -> None:
    """Of eight threads that take a lock again and again, and delete its file before they let go, one has it."""
    inside: list[int] = []
    most = 0

    def take(number: int) -> int:
        nonlocal most
        got = 0
        while got < 60:
            with holding(tmp_path / "lock") as ours:
                if ours:
                    inside.append(number)
                    most = max(most, len(inside))
                    got += 1
                    inside.remove(number)
                    (tmp_path / "lock").unlink()
        return got

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(8))) == 480
    assert most == 1


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other kind of lock to fall back to, which a person would have to delete."""

    def absent(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("foundation.file_locks.fcntl.flock", absent)
    with pytest.raises(InputError, match="files can be locked"), holding(tmp_path / "lock"):
        pass


def test_a_disk_that_fails_is_no_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as what it is, and nobody is sent to another file system."""

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("foundation.file_locks.fcntl.flock", broken)
    with pytest.raises(VitrineError, match="mend the disk") as caught, holding(tmp_path / "lock"):
        pass
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(("code", "words"), [(errno.EACCES, "this user can write"), (errno.EROFS, "can be written")])
def test_a_lock_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    """With the path, and what to do."""

    def refused(path: Path, *_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("foundation.file_locks.os.open", refused)
    with pytest.raises(VitrineError, match=words) as caught, holding(tmp_path / "lock"):
        pass
    assert str(tmp_path / "lock") in caught.value.came
