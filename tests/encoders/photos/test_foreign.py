"""What libraries print or warn of while they read photos: told with the photo, never by itself on a terminal."""

from __future__ import annotations

import ctypes
import io
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from encoders.photos import c_messages
from encoders.photos.c_messages import messages
from tests.support.command import vitrine
from tests.support.stores import last_log

CONFIG = (
    "catalog.text=[title]", "catalog.attributes=[title]", "catalog.partition=null", "gates.max_degraded_share=1",
    "gates.max_reject_share=1", "gates.min_recall=0",
)  # fmt: skip
OURS = re.compile(r"[0-9-]{10}T[0-9:.]{12}Z (INFO|WARNING) ")  # how each line of ours begins


def saved(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def damaged() -> dict[str, bytes]:
    """Photos at which torchcodec's libjpeg, Pillow, and libtiff in its own process have something to say."""
    jpeg, tiff = saved("JPEG"), bytearray(saved("TIFF", compression="tiff_lzw"))
    tables, scan = jpeg.index(b"\xff\xdb"), jpeg.index(b"\xff\xda")
    tiff[20:60] = bytes(40)
    return {
        "between.jpg": jpeg[:tables] + b"\x01\x02\x03\x04" + jpeg[tables:],
        "short.jpg": jpeg[: scan + 60] + b"\xff\xd9",
        "exif.jpg": saved("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x1a\0\x05\0\0\0\x01\0\0\xff\xff"),
        "lzw.tiff": bytes(tiff),
    }


def test_a_run_over_damaged_photos_shows_nothing_but_its_own_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each line of stderr and of log.txt is ours and below ERROR, and each photo's messages stand with its name; the
    same for a query by such a photo.
    """
    photos = {"good.jpg": saved("JPEG"), **damaged()}
    for name, raw in photos.items():
        (tmp_path / name).write_bytes(raw)
    titles = [f"red dress {name}" for name in photos]
    pq.write_table(pa.table({"id": list(photos), "title": titles, "image_link": list(photos)}), tmp_path / "a.parquet")
    where = (f"catalog.path={tmp_path / 'a.parquet'}", f"catalog.image_root={tmp_path}", f"store.path={tmp_path}/store")
    command = [sys.executable, "-m", "pipeline", "run", "-c", "configs/demo.yaml", *where, *CONFIG]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert (done.returncode, [line for line in lines if not OURS.match(line)]) == (0, [])
    for name in damaged():
        assert any(f"photo {name}: its reader warns: " in line for line in lines), f"{name}: {done.stderr}"
    assert "between.jpg: its reader warns: libjpeg: Corrupt JPEG data: 4 extraneous bytes before marker" in done.stderr
    assert "photo good.jpg" not in done.stderr
    assert " ERROR " not in last_log(tmp_path / "store", "log.txt")
    asked = vitrine("search", tmp_path / "store", "--image", tmp_path / "between.jpg", "-k", "1")
    assert (asked.exit_code, capfd.readouterr().err) == (0, "")


needs_glibc = pytest.mark.skipif(not c_messages.are_kept(), reason="needs glibc")


def printed(text: str) -> None:
    """`text` as C code prints it, the interpreter let go: perror(3) writes it to the C library's stderr."""
    ctypes.CDLL(None).perror(text.encode())


@needs_glibc
def test_messages_stay_with_the_thread_that_prints() -> None:
    """Eight threads that print at once hear each their own lines and no other."""

    def heard(name: str) -> list[str]:
        with messages() as lines:
            for _ in range(20):
                printed(name)
        return lines

    names = [f"thread {i}" for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(names, pool.map(heard, names), strict=True))
    for name, lines in found.items():
        assert len(lines) == 20
        assert all(line.startswith(f"{name}: ") for line in lines)


@needs_glibc
def test_what_others_print_meanwhile_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """A thread in which nobody listens prints to the terminal as before, also while another one listens, and so does a
    forked process.
    """
    with messages() as lines, ThreadPoolExecutor(1) as pool:
        pool.submit(printed, "elsewhere").result()
        child = os.fork()
        if not child:
            c_messages._written.text = None
            printed("forked")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    printed("afterwards")
    assert lines == []
    assert [line.partition(":")[0] for line in capfd.readouterr().err.splitlines()] == [
        "elsewhere", "forked", "afterwards",
    ]  # fmt: skip
