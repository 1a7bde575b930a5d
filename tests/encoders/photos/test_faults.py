"""What the machine lacks is not told of photos: the run ends with what to do, and no good photo becomes a reject."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from encoders.photos import decoder_process
from encoders.photos import pixels as photo_pixels
from lookup.store.store import Store
from tests.support.command import told, vitrine
from tests.support.photo_runs import huge, ran, saved, tried
from tests.support.stores import manifest_of

SMALL = {"small.png": saved(Image.new("RGB", (41, 31), "blue"), "PNG")}
APART = {"small.tiff": saved(Image.new("RGB", (41, 31), "blue"), "TIFF")}
NUMBERS = {
    errno.EMFILE: "files that this process may hold open",
    errno.ENOMEM: "memory for what a run holds at once",
    errno.EIO: "a disk or a mount that gives",
    errno.EBUSY: "the disk to take and give",
}
# Before a process that decodes begins to: less memory than its photos may take; more asked than that; a kill.
SCARCE = "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)); "
GREEDY = "from encoders.photos import pixels; pixels._rgb = lambda image: bytearray(1 << 44); "
NO_FILES = "import os, errno; from encoders.photos import pixels; pixels._rgb = lambda image: os.open('/', 0o1); "
KILLED = "import os; from encoders.photos import pixels; pixels._rgb = lambda image: os.kill(os.getpid(), 9); "


@pytest.fixture
def raises(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What Pillow raises in this process for photos of 41 x 31 pixels."""
    rgb, raised = photo_pixels._rgb, list[BaseException]()

    def failing(image: Image.Image) -> Image.Image:
        if image.size == (41, 31) and raised:
            raise raised[0]
        return rgb(image)

    monkeypatch.setattr(photo_pixels, "_rgb", failing)
    return raised


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Code that processes execute before they decode. Others than those of this test never do."""
    decoder_process.dismiss()
    start, before = decoder_process._START, list[str]()

    class Start(str):
        def format(self, **named: object) -> str:  # type: ignore[override]
            first, serving = start.format(**named).split("from encoders.photos.decoder_child")
            return f"{first}{''.join(before)}from encoders.photos.decoder_child{serving}"

    monkeypatch.setattr(decoder_process, "_START", Start())
    yield before
    decoder_process.dismiss()


def refused(folder: Path, photos: dict[str, bytes]) -> str:
    """What a run expected that ended with exit code 1 and published nothing."""
    done = tried(folder, photos)
    assert done.exit_code == 1, done.stderr
    assert Store.at(str(folder / "store")).current() is None
    return told(done.stderr)[0]


@pytest.mark.parametrize("number", NUMBERS)
def test_errors_with_a_number_are_the_machines(number: int, raises: list[BaseException], tmp_path: Path) -> None:
    """No file to be had, no memory, a failing disk, in the middle of decoding: exit 1 in three parts."""
    raises.append(OSError(number, os.strerror(number)))
    assert NUMBERS[number] in refused(tmp_path, SMALL)


def test_errors_without_one_are_the_photos(raises: list[BaseException], tmp_path: Path) -> None:
    """Pillow's own OSErrors are damage, as ever: the run goes on."""
    raises.append(OSError("broken data stream when reading image file"))
    assert ran(tmp_path, SMALL) == (0, {"image_undecodable": 1})


@pytest.mark.parametrize("said", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")], ids=str)
def test_want_of_memory_in_a_busy_process_costs_no_photo(
    said: BaseException, raises: list[BaseException], tmp_path: Path
) -> None:
    """Where a run's own process has no memory for a photo, one that does nothing else decodes it."""
    raises.append(said)
    assert ran(tmp_path, SMALL) == (0, {})
    assert manifest_of(tmp_path / "store").rows == 2


def test_memory_that_pixels_take_is_the_machines_to_give(child: list[str], tmp_path: Path) -> None:
    """A photo within the limits, for which there is not the memory, ends the run with the limits to lower."""
    child.append(SCARCE)
    assert "memory for what a run holds at once" in refused(tmp_path, {"large.tiff": huge("TIFF", 8000, 6000)})


def test_memory_beyond_what_pixels_take_is_the_photos_doing(child: list[str], tmp_path: Path) -> None:
    """A file that makes its decoder ask for terabytes is damaged, and the run goes on, whatever memory there is."""
    child += [SCARCE, GREEDY]
    assert ran(tmp_path, APART) == (0, {"image_undecodable": 1})


def test_a_process_that_decodes_meets_the_machine_too(child: list[str], tmp_path: Path) -> None:
    """What it meets comes back in three parts; one that is killed again and again ends the run."""
    child.append(NO_FILES)
    assert "a machine that decodes photos" in refused(tmp_path, APART)
    decoder_process.dismiss()
    child[:] = [KILLED]
    assert "every process of the run to live" in refused(tmp_path, APART)


def test_a_query_photo_meets_the_machine(raises: list[BaseException], published: Path, tmp_path: Path) -> None:
    """A search by photo says the same, exit 1."""
    (tmp_path / "small.png").write_bytes(SMALL["small.png"])
    raises.append(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    done = vitrine("search", published, "--image", tmp_path / "small.png")
    assert done.exit_code == 1
    assert NUMBERS[errno.EMFILE] in told(done.stderr)[0]
