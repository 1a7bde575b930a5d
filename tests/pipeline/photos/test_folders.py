"""Photos in a local folder: what lies inside it is read, all else is refused for its reason, and nothing hangs."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.photos import folders
from pipeline.photos.photos import fetch, photo_facts
from tests.support.photo_places import LIMITS, fetched


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of one photo, beside a file that no catalog may name."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "good.jpg").write_bytes(b"photo")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "path", ["good.jpg", "./good.jpg", "../photos/good.jpg", "{root}/good.jpg", "link.jpg", "up/photos/good.jpg"]
)
def test_paths_inside_the_root_are_read(root: Path, path: str) -> None:
    """Relative, absolute, through `..` or links: what ends inside image_root is read."""
    (root / "link.jpg").symlink_to("good.jpg")
    (root / "up").symlink_to("..")
    assert fetched(path.format(root=root), root) == b"photo"


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    """A linked image_root holds its own photos, and still nothing of the folders around."""
    linked = root.parent / "linked"
    linked.symlink_to(root)
    assert fetched("good.jpg", linked) == b"photo"
    assert fetched(f"{linked}/good.jpg", linked) == b"photo"
    assert fetched("../secret", linked) == "image_forbidden"


MAKERS: dict[str, Callable[[Path], object]] = {
    "link_out": lambda path: path.symlink_to("../secret"),
    "link_to_zeros": lambda path: path.symlink_to("/dev/zero"),
    "link_to_itself": lambda path: path.symlink_to(path.name),
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "socket": lambda path: _socket(path),
    "linked_folder": lambda path: path.symlink_to(".."),
}


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            listening.bind(path.name)
        finally:
            os.chdir(before)


@pytest.mark.parametrize("what", MAKERS)
def test_what_is_no_file_of_the_root_is_forbidden(root: Path, what: str) -> None:
    """Links that lead out, pipes, folders, sockets and devices are refused at once, however photos are identified."""
    MAKERS[what](root / what)
    assert fetched(what, root) == "image_forbidden"


FORBIDDEN = [
    "../secret", "{root}/../secret", "/etc/passwd", ".", "..", "a\0b", "http://shop.example/1.jpg", "file:///etc/passwd",
    "s3://bucket/1.jpg", "../root-beside/1.jpg",
]  # fmt: skip


@pytest.mark.parametrize("path", FORBIDDEN)
def test_paths_out_of_the_root_are_forbidden(root: Path, path: str) -> None:
    """Whether or not such a file exists: nobody learns what lies outside."""
    (root.parent / "root-beside").mkdir()
    assert fetched(path.format(root=root), root) == "image_forbidden"


@pytest.mark.parametrize(
    "path", ["absent.jpg", "good.jpg/1.jpg", "no/such/folder.jpg", "n" * 5000, "图" * 100, "d/" * 3000]
)
def test_what_is_not_there_is_not_found(root: Path, path: str) -> None:
    """Absent files, and names that no file can have, counted in bytes as the file system does."""
    assert fetched(path, root) == "image_not_found"


def test_files_that_may_not_be_read_are_forbidden(root: Path) -> None:
    """A file without permission costs its row the photo, not the run; once it may be read, it counts as changed."""
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    (root / "locked.jpg").write_bytes(b"photo")
    (root / "locked.jpg").chmod(0)
    assert fetched("locked.jpg", root) == "image_forbidden"
    before = photo_facts("locked.jpg", str(root))
    (root / "locked.jpg").chmod(0o600)
    assert photo_facts("locked.jpg", str(root)) != before


def test_large_files_are_refused_by_their_size(root: Path) -> None:
    """A file of the limit is read, one byte more is too large, and bytes of the column are the decoder's to judge."""
    (root / "full.jpg").write_bytes(bytes(LIMITS.max_bytes))
    (root / "over.jpg").write_bytes(bytes(LIMITS.max_bytes + 1))
    with (root / "huge.jpg").open("wb") as huge:
        huge.truncate(2**40)
    assert len(fetched("full.jpg", root)) == LIMITS.max_bytes
    assert fetched("over.jpg", root) == fetched("huge.jpg", root) == "image_too_large"
    assert fetch({"bytes": b"x", "path": "../secret"}, str(root), LIMITS) == b"x"


def test_a_failing_disk_stops_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not about this one file is raised: else a night of bad luck degrades a whole catalog."""

    def failing(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(OSError, match="Input/output error"):
        fetch({"bytes": None, "path": "good.jpg"}, str(root), LIMITS)


# --- what tells that a photo changed ---


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_failing_disk_is_not_an_absent_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Errors that are not about this one file are raised; a locked, looping or absent one just has no stamp."""
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name in ("loop.jpg", "absent.jpg", "a.jpg/b.jpg", "n" * 5000, "a\0b"):
        assert photo_facts(name, str(tmp_path)) is None

    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folders, "os", SimpleNamespace(**{**vars(os), "stat": failing}))
    with pytest.raises(OSError, match=os.strerror(number)):
        photo_facts("a.jpg", str(tmp_path))
