"""Photos that are work without end: refused, or given up after their seconds, and the catalog is published without."""

from __future__ import annotations

import os
import signal
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoders.networks.jpeg import decode_photo
from encoders.photos import decoder_process
from encoders.photos.decode import FORMATS, PhotoError, PhotoLimits, claimed_pixels, decode
from encoders.photos.decoder_process import decode_apart
from encoders.photos.work import is_unbounded
from tests.support.command import told, vitrine
from tests.support.photo_runs import huge, ran, saved
from tests.support.stores import manifest_of

LIMITS = PhotoLimits()


def scan_bomb(scans: int, side: int = 2000) -> bytes:
    """A grey progressive JPEG whose last scan is repeated: 75 bytes and a pass over all pixels each."""
    raw = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True, quality=30)
    last = raw[raw.rfind(b"\xff\xda") : -2]
    return raw[:-2] + last * scans + raw[-2:]


def line_bomb(width: int = 12_000_000) -> bytes:
    """A BMP of two lines in run lengths: four bytes have Pillow fill a line in Python, pixel by pixel."""
    data = b"\x01\x01\x00\x00" * 2
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, 2, 1, 8, 1, len(data), 0, 0, 256, 0)
    at = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + header + palette + data


def test_a_jpeg_of_many_scans_costs_its_row_the_photo(tmp_path: Path) -> None:
    """50 passes are decoded, 3,000 are refused before any is made; all products are published."""
    photos = {"bomb.jpg": scan_bomb(3000), "slow.jpg": scan_bomb(50)}
    assert ran(tmp_path, photos) == (0, {"image_too_slow": 1})
    assert manifest_of(tmp_path / "store").rows == 3


def test_what_cannot_be_told_beforehand_is_given_up_in_time(tmp_path: Path) -> None:
    """A file that says nothing of its work is decoded where it can be stopped, after the seconds of CPU allowed."""
    photos = {"lines.bmp": line_bomb(), "fine.tiff": saved(Image.new("RGB", (40, 30), "red"), "TIFF")}
    assert ran(tmp_path, photos, "catalog.max_photo_seconds=0.5") == (0, {"image_too_slow": 1})


def test_a_query_photo_is_given_up_as_well(published: Path, tmp_path: Path) -> None:
    """A search by such a photo ends with what it was, exit 2."""
    (tmp_path / "bomb.jpg").write_bytes(scan_bomb(3000))
    done = vitrine("search", published, "--image", tmp_path / "bomb.jpg")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "more than 10 s of work: 3,006 scans of 4,000,000 pixels" in told(done.stderr)[1]


@pytest.mark.parametrize("decoder", [decode, decode_photo], ids=["pillow", "torchcodec"])
def test_both_decoders_are_bounded(decoder: Any) -> None:
    """Scans are counted whatever decodes them; with fewer seconds fewer are allowed."""
    assert decoder(scan_bomb(20), LIMITS).shape == (2000, 2000, 3)
    with pytest.raises(PhotoError) as caught:
        decoder(scan_bomb(20), PhotoLimits(max_seconds=0.1))
    assert caught.value.code == "image_too_slow"


@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_are_the_same_wherever_they_are_decoded(kind: str) -> None:
    """The other process gives bit for bit what this one would, orientation applied, and the same reasons."""
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (31, 47, 3), dtype=np.uint8))
    raw = saved(noise, kind, **options)
    decoder_process.dismiss()
    here = decode(raw, LIMITS)
    np.testing.assert_array_equal(decode_apart(raw, LIMITS), here)
    assert here.shape == ((31, 47, 3) if kind in ("GIF", "BMP") else (47, 31, 3))
    for limits, cut in ((PhotoLimits(max_pixels=10), raw), (LIMITS, raw[:-200])):
        with pytest.raises(PhotoError) as apart:
            decode_apart(cut, limits)
        with pytest.raises(PhotoError) as there:
            decode(cut, limits)
        assert (apart.value.code, str(apart.value)) == (there.value.code, str(there.value))


def test_ordinary_photos_are_decoded_in_this_process(demo: Path) -> None:
    """Photos of shops start no process, whatever their format; what may be without bound always does."""
    files = sorted((demo / "query-photos").glob("*.jpg"))
    assert files
    kinds = {kind: saved(Image.new("RGB", (640, 480), "red"), kind) for kind in FORMATS}
    ordinary = [
        *(file.read_bytes() for file in files),
        *(kinds[kind] for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")),
    ]
    decoder_process.dismiss()
    for raw in ordinary:
        decode(raw, LIMITS)
    assert not decoder_process._idle
    assert is_unbounded(kinds["TIFF"])
    assert is_unbounded(kinds["AVIF"])


def test_pixels_of_a_frame_are_counted_by_the_limit_given_too() -> None:
    """A GIF of a small canvas whose frame has 200 megapixels is judged by our limit where it is decoded apart."""
    frame = struct.pack("<HHHHB", 0, 0, 20_000, 10_000, 0) + b"\x02\x02\x44\x01\x00;"
    raw = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6) + b"," + frame
    with pytest.raises(PhotoError, match="more than 1,000 pixels: 20,000 x 10,000"):
        decode_apart(raw, PhotoLimits(max_pixels=1000))


ODD = {
    "PNG of many chunks": saved(Image.new("RGB", (4, 4)), "PNG")[:33] + b"\x00\x00\x00\x00tEXt\x00\x00\x00\x00" * 100,
    "PNG of empty pieces": saved(Image.new("RGB", (4, 4)), "PNG")[:33] + b"\0\0\0\0IDAT\0\0\0\0" * 20_000,
    "JPEG of many comments": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1000 + saved(Image.new("L", (4, 4)), "JPEG")[2:],
    "JPEG with much EXIF": b"\xff\xd8" + b"\xff\xe1\xff\xffExif".ljust(65537, b"\0") * 2,
    "JPEG filled up": b"\xff\xd8" + b"\xff" * 1000,
    "JPEG, arithmetic coding": saved(Image.new("L", (4, 4)), "JPEG").replace(b"\xff\xc0", b"\xff\xc9"),
    "GIF with a long comment": b"GIF89a" + bytes(7) + b"\x21\xfe" + (b"\xff" + b"a" * 255) * 5000,
    "WebP of many pieces": b"RIFF\0\0\0\0WEBPVP8X" + b"\x0a\0\0\0" + bytes(10) + b"XXXX\0\0\0\0" * 100,
    "BMP in run lengths": line_bomb(4),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_makes_are_not_opened_in_this_process(name: str) -> None:
    """Files that cost more to open than their bytes and pixels say are known by their make."""
    assert is_unbounded(ODD[name])


def test_a_decoder_that_dies_costs_one_photo(tmp_path: Path) -> None:
    """A process that a photo crashes is told so, and the next photo has another one; so has one whose process was
    killed from outside.
    """
    raw = saved(Image.new("RGB", (40, 30)), "TIFF")
    decode(raw, LIMITS)
    os.kill(decoder_process._idle[-1]._process.pid, signal.SIGKILL)
    assert decode(raw, LIMITS).shape == (30, 40, 3)
    os.kill(decoder_process._idle[-1]._process.pid, signal.SIGSEGV)
    with pytest.raises(PhotoError, match="the decoder crashed: SIGSEGV") as caught:
        decode(raw, LIMITS)
    assert (caught.value.code, caught.value.may_pass) == ("image_undecodable", True)
    assert decode(raw, LIMITS).shape == (30, 40, 3)


def test_seconds_on_the_wall_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that gives no answer, on a machine that stands still say, was not measured to use its seconds of CPU.
    It may pass.
    """
    raw = saved(Image.new("RGB", (40, 30)), "TIFF")
    decode(raw, LIMITS)
    os.kill(decoder_process._idle[-1]._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder_process, "_IDLE_SECONDS", 0.25)
    monkeypatch.setattr(decoder_process, "_SLOWDOWN", 0)
    with pytest.raises(PhotoError, match=r"^no answer in 0.25 s of wall time: [0-9,]+ bytes in the file$") as caught:
        decode(raw, LIMITS)
    assert (caught.value.code, caught.value.may_pass) == ("image_too_slow", True)


def test_threads_have_a_process_each() -> None:
    """Photos of several threads do not wait for one that is slow, and get their own pixels."""
    raws = [saved(Image.new("RGB", (20 + i, 30), (i, i, i)), "TIFF") for i in range(12)]
    with ThreadPoolExecutor(3) as pool:
        shapes = [pixels.shape for pixels in pool.map(lambda raw: decode(raw, LIMITS), raws)]
    assert shapes == [(30, 20 + i, 3) for i in range(12)]


def test_a_forked_process_has_its_own() -> None:
    """A server that forks after its first photo does not share pipes: parent and child both get answers."""
    raw = saved(Image.new("RGB", (40, 30)), "TIFF")
    decode(raw, LIMITS)
    child = os.fork()
    if not child:
        right = decode(raw, LIMITS).shape == (30, 40, 3)
        os._exit(0 if right else 1)
    assert decode(raw, LIMITS).shape == (30, 40, 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.nightly  # gigabytes
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.filterwarnings("error")
def test_photos_beyond_pillows_own_limit_are_decoded_where_they_are_allowed(kind: str) -> None:
    """200 megapixels, as phones have them, are decoded within limits that say so, and refused one pixel below."""
    raw = huge(kind, 20_000, 10_000)
    pixels = decode(raw, PhotoLimits(max_pixels=200_000_000, max_seconds=60))
    assert pixels.shape == (10_000, 20_000, 3)
    assert pixels[::5000, ::5000].min() == pixels[::5000, ::5000].max() == (255 if kind == "PNG" else 1)
    with pytest.raises(PhotoError, match="more than 199,999,999 pixels: 20,000 x 10,000"):
        decode(raw, PhotoLimits(max_pixels=199_999_999))


@pytest.mark.parametrize("side", [13_000, 20_000, 60_000])
@pytest.mark.filterwarnings("error")
def test_pixels_are_counted_by_the_limit_given_alone(side: int) -> None:
    """Headers of 169, 400 and 3,600 megapixels, on both sides of Pillow's own limits, are judged by ours."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    raw = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    raw += b"\0\0\0\x04IDAT\x78\x9c\x03\x00" + struct.pack(">I", zlib.crc32(b"IDAT\x78\x9c\x03\x00"))
    assert claimed_pixels(raw, PhotoLimits(max_pixels=side * side)) == side * side
    assert claimed_pixels(raw, PhotoLimits(max_pixels=side * side - 1)) == 0
    with pytest.raises(PhotoError, match=f"more than {side * side - 1:,} pixels") as caught:
        decode(raw, PhotoLimits(max_pixels=side * side - 1))
    assert caught.value.code == "image_too_large"
