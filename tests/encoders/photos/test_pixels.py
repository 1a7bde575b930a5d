"""Photos: whatever bytes come, there are upright 8-bit RGB pixels or a PhotoError with a reason, and nothing else."""

from __future__ import annotations

import io
import pickle
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.networks.jpeg import check_torchcodec, decode_photo, jpeg_identity
from encoders.photos.decode import FORMATS, PhotoError, PhotoLimits, decode, decoder_identity
from foundation.errors import InputError

LIMITS = PhotoLimits()
SIZE = (48, 32)

each_decoder = pytest.mark.parametrize("decoder", [decode, decode_photo], ids=["pillow", "torchcodec"])


def drawn() -> Image.Image:
    """A smooth picture whose four corners differ."""
    row, column = np.indices((SIZE[1], SIZE[0]))
    return Image.fromarray(np.stack([row * 7, column * 5, 255 - row * 3 - column * 3], -1).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def code_of(raw: bytes, limits: PhotoLimits = LIMITS, decoder: Callable[..., Any] = decode) -> str:
    """The reason for which `raw` is refused."""
    with pytest.raises(PhotoError) as caught:
        decoder(raw, limits)
    assert str(caught.value)
    return caught.value.code


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that claims any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_decodes_to_rgb(kind: str) -> None:
    """Seven formats come out as (h, w, 3) uint8 near what was drawn."""
    pixels = decode(saved(drawn(), kind), LIMITS)
    assert pixels.shape == (SIZE[1], SIZE[0], 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert np.abs(pixels.astype(int) - np.asarray(drawn())).mean() < 12


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "ICO", "PDF", "JPEG2000"])
def test_other_formats_are_not_even_tried(kind: str) -> None:
    """Formats that Pillow knows but products do not come in are undecodable."""
    assert code_of(saved(drawn(), kind)) == "image_undecodable"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@each_decoder
def test_exif_orientation_is_applied(decoder: Callable[..., Any], kind: str, orientation: int) -> None:
    """The eight orientations come out upright, by the definition of the tag in TIFF 6.0."""
    upright = np.asarray(drawn())
    # Where row 0 and column 0 of the stored picture lie in the upright one: the table of the tag, undone.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    pixels = decoder(saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options), LIMITS)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 4


def test_damaged_exif_does_not_cost_the_photo() -> None:
    """A whole picture with unreadable EXIF is taken as stored."""
    raw = saved(drawn(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decode(raw, LIMITS).shape == (SIZE[1], SIZE[0], 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "RGBA"])
def test_each_mode_becomes_rgb(mode: str) -> None:
    """Grey, palette, CMYK and the others look as they did."""
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    expected = np.asarray(drawn().convert("LA" if mode == "LA" else mode).convert("RGB")).astype(int)
    assert np.abs(decode(saved(drawn().convert(mode), kind), LIMITS) - expected).mean() < 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(kind: str) -> None:
    """16-bit grey keeps its whole range: value / 257, rounded."""
    deep = np.linspace(0, 65535, 64 * 4).astype(np.uint16).reshape(4, 64)
    pixels = decode(saved(Image.fromarray(deep), kind), LIMITS)
    np.testing.assert_array_equal(pixels, np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["F", "I"])
def test_pixels_without_an_agreed_white_are_refused(kind: str) -> None:
    """32-bit pictures are measurements, not photos."""
    assert code_of(saved(drawn().convert(kind), "TIFF")) == "image_undecodable"


def test_transparency_is_white() -> None:
    """What is transparent shows white, half-transparent half white; in RGBA, palette, and colour-key pictures."""
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    clear.putpixel((1, 0), (0, 0, 0, 0))
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 127))
    assert decode(saved(clear, "PNG"), LIMITS).tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert decode(saved(half, "PNG"), LIMITS).tolist() == [[[128, 128, 128]]]
    for image in (Image.new("P", (1, 1), 0), Image.new("L", (1, 1), 0)):
        assert decode(saved(image, "PNG", transparency=0), LIMITS).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_animations_give_their_first_frame(kind: str) -> None:
    """The first of several frames is the photo."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    pixels = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]), LIMITS)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() < 30


def _webp_bomb() -> bytes:
    raw = bytearray(saved(drawn(), "WEBP", save_all=True, append_images=[drawn().rotate(90)]))
    raw[24:30] = b"\xfe\x3f\x00" * 2
    return bytes(raw)


def _jpeg_bomb() -> bytes:
    raw = saved(drawn(), "JPEG")
    return raw.replace(struct.pack(">HH", SIZE[1], SIZE[0]), struct.pack(">HH", 60_000, 60_000), 1)


def _patched(kind: str, offset: int, layout: str) -> bytes:
    raw = bytearray(saved(drawn(), kind))
    struct.pack_into(layout, raw, offset, 60_000, 60_000)
    return bytes(raw)


BOMBS = {
    "PNG 100,000": png(100_000, 100_000),
    "PNG 144 MP": png(12_000, 12_000),
    "GIF": _patched("GIF", 6, "<HH"),
    "BMP": _patched("BMP", 18, "<ii"),
    "WEBP": _webp_bomb(),
    "JPEG": _jpeg_bomb(),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@each_decoder
def test_a_bomb_is_refused_from_its_header(decoder: Callable[..., Any], name: str) -> None:
    """A small file that claims a huge picture is refused at once, before memory is taken for its pixels."""
    code_of(png(9000, 9000))  # what the first call imports is not the bomb's
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        tracemalloc.start()
        assert code_of(BOMBS[name], LIMITS, decoder) == "image_too_large"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        seconds.append(time.perf_counter() - start)
    assert peak < 2**20
    assert min(seconds) < 0.05


def test_limits_are_inclusive() -> None:
    """As many bytes and pixels as allowed are decoded, one more is not."""
    raw = saved(drawn(), "PNG")
    assert decode(raw, PhotoLimits(len(raw), SIZE[0] * SIZE[1])).shape == (SIZE[1], SIZE[0], 3)
    assert code_of(raw, PhotoLimits(len(raw) - 1, SIZE[0] * SIZE[1])) == "image_too_large"
    assert code_of(raw, PhotoLimits(len(raw), SIZE[0] * SIZE[1] - 1)) == "image_too_large"


@pytest.mark.parametrize("kind", FORMATS)
@each_decoder
def test_a_cut_file_is_undecodable(decoder: Callable[..., Any], kind: str) -> None:
    """A file that ends in the middle of its pixels is refused, not filled with grey."""
    raw = saved(drawn(), kind)
    assert code_of(raw[: len(raw) * 3 // 4], LIMITS, decoder) == "image_undecodable"


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """`raw` cut, with flipped bits, with another header, or with pieces moved, repeated or dropped."""
    out, at = bytearray(raw), rng.randrange(len(raw))
    match rng.randrange(5):
        case 0:
            del out[at:]
        case 1:
            out[at] ^= 1 << rng.randrange(8)
        case 2:
            for _ in range(8):
                out[rng.randrange(min(200, len(out)))] = rng.randrange(256)
        case 3:
            piece = rng.randrange(len(out))
            out[at : at + 8] = out[piece : piece + 8]
        case _:
            out[at : at + rng.randrange(1, 9)] = bytes([rng.choice([0, 127, 128, 255])]) * rng.randrange(12)
    return bytes(out)


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in FORMATS},
    "JPEG progressive": ("JPEG", {"progressive": True}),
    "WEBP lossless": ("WEBP", {"lossless": True}),
    "WEBP animated": ("WEBP", {"save_all": True, "append_images": [drawn()]}),
    "TIFF lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "PNG exif": (
        "PNG",
        {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.filterwarnings("error")
@each_decoder
def test_damage_never_escapes(decoder: Callable[..., Any], name: str) -> None:
    """Of 150 damaged files, each decodes or is refused with a code, even where warnings are errors; some are."""
    kind, options = VARIANTS[name]
    raw, rng, codes = saved(drawn(), kind, **options), random.Random(name), []
    for _ in range(150):
        try:
            pixels = decoder(damaged(raw, rng), PhotoLimits(max_pixels=1_000_000))
        except PhotoError as err:
            codes.append(err.code)
        else:
            assert pixels.ndim == 3
            assert pixels.dtype == np.uint8
    assert len(codes) > 10
    assert set(codes) <= {"image_undecodable", "image_too_large"}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_photo_are_undecodable(raw: bytes) -> None:
    """Arbitrary bytes are refused with the reason."""
    assert code_of(raw) == "image_undecodable"


@each_decoder
def test_threads_decode_alike(decoder: Callable[..., Any]) -> None:
    """Several threads at once get what one gets."""
    files = [saved(drawn(), kind) for kind in FORMATS] * 6
    with ThreadPoolExecutor(4) as pool:
        for pixels, raw in zip(pool.map(lambda raw: decoder(raw, LIMITS), files), files, strict=True):
            np.testing.assert_array_equal(pixels, decode(raw, LIMITS))


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (77, 131, 3), dtype=np.uint8))


def _with_app1(content: bytes) -> bytes:
    raw = saved(_noise(), "JPEG")
    return raw[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + raw[2:]


def _with_comment(content: bytes, raw: bytes) -> bytes:
    return raw[:2] + b"\xff\xfe" + (len(content) + 2).to_bytes(2, "big") + content + b"\xff\xe1\x00\x02" + raw[2:]


def _with_empty_app1s(raw: bytes) -> bytes:
    return raw[:2] + 1000 * b"\xff\xe1\x00\x02" + raw[2:]


# An orientation of 6 where Pillow does not look for it, or where only Pillow does.
_TIFF_6 = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
_XMP_6 = b'http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
JPEGS = {
    "4:4:4": saved(_noise(), "JPEG", subsampling=0),
    "4:2:0": saved(_noise(), "JPEG", subsampling=2),
    "progressive": saved(_noise(), "JPEG", progressive=True),
    "RGB as stored": saved(_noise(), "JPEG", keep_rgb=True),
    "grey": saved(_noise().convert("L"), "JPEG"),
    "CMYK": saved(_noise().convert("CMYK"), "JPEG"),
    "MPO": saved(_noise(), "MPO", save_all=True, append_images=[_noise()]),
    "EXIF": _with_app1(b"Exif\x00\x00" + _TIFF_6),
    "APP1 that is no EXIF": _with_app1(b"Else\x00\x00" + _TIFF_6),
    "XMP": _with_app1(_XMP_6),
    "XMP after filled up markers": _with_app1(_XMP_6).replace(b"\xff\xe1", b"\xff\xff\xff\xe1", 1),
    "XMP after a comment that quotes an empty one": _with_comment(b"\xff\xe1\x00\x02", _with_app1(_XMP_6)),
    "EXIF after a thousand empty ones": _with_empty_app1s(_with_app1(b"Exif\x00\x00" + _TIFF_6)),
}


@pytest.mark.parametrize("name", JPEGS)
def test_torchcodec_gives_the_pixels_of_pillow(name: str) -> None:
    """Bit for bit, in every way to write JPEG, and the same way up."""
    pixels, expected = decode_photo(JPEGS[name], LIMITS), decode(JPEGS[name], LIMITS)
    assert expected.shape == ((131, 77, 3) if name.startswith(("EXIF", "XMP")) else (77, 131, 3))
    np.testing.assert_array_equal(pixels, expected)


def test_another_decoder_is_asked_for_whole_jpeg_only_and_believed_within_limits() -> None:
    """It gets grey and RGB JPEG that is not too large; pixels of another size than the header's are refused."""
    asked: list[int] = []

    def jpeg(raw: bytearray) -> Any:
        asked.append(len(raw))
        return np.zeros((2, 2, 3), np.uint8)

    for raw in (saved(drawn(), "PNG"), JPEGS["CMYK"]):
        decode(raw, LIMITS, jpeg)
    with pytest.raises(PhotoError, match="more than 10 pixels"):
        decode(JPEGS["grey"], PhotoLimits(max_pixels=10), jpeg)
    assert not asked
    with pytest.raises(PhotoError) as caught:
        decode(JPEGS["grey"], LIMITS, jpeg)
    assert caught.value.code == "image_undecodable"
    assert asked == [len(JPEGS["grey"])]


def test_a_torchcodec_that_does_not_load_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built for another torch, it fails on import: the message says so, and nothing decodes in its place."""
    check_torchcodec()
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(InputError, match=f"{jpeg_identity()} does not load beside torch"):
        check_torchcodec()


def test_encoders_without_weights_decode_without_torch() -> None:
    """Importing torch takes seconds: a run or a query without networks never does."""
    code = (
        "import io, sys; from PIL import Image; from encoders.base import encoder_spec, load_image; "
        "from encoders.photos.decode import PhotoLimits; "
        "Image.new('RGB', (64, 64)).save(file := io.BytesIO(), 'JPEG'); "
        "encoder = load_image(encoder_spec({'type': 'photo_descriptors'}), 'cpu'); "
        "print(len(encoder.encode([encoder.decode(file.getvalue(), PhotoLimits())])), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_an_error_crosses_processes_whole() -> None:
    """A PhotoError keeps all it has when pickled, and the decoder names itself."""
    back = pickle.loads(pickle.dumps(PhotoError("image_not_found", "no such file", may_pass=True)))  # noqa: S301 - our own bytes
    assert (back.code, str(back), back.may_pass) == ("image_not_found", "no such file", True)
    assert decoder_identity() == f"pillow {PIL.__version__}"
