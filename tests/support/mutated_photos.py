"""Photos as damaged disks, broken exports and hostile sellers make them: seeded mutations of good ones."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

WAYS: dict[str, dict[str, Any]] = {  # how a photo is written before it is mutated
    "JPEG": {"quality": 80},
    "JPEG progressive": {"progressive": True},
    "PNG": {},
    "WEBP": {"quality": 70},
    "WEBP lossless": {"lossless": True},
    "WEBP animated": {"save_all": True},
    "GIF": {"save_all": True},
    "AVIF": {"speed": 10},
    "BMP": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF jpeg": {"compression": "jpeg"},
}


def mutated(photos: Sequence[bytes], seed: int) -> tuple[bytes, str]:
    """One photo of `photos` in another format, with one to three mutations, and what they were; equal for equal
    seeds.
    """
    rng = random.Random(seed)
    way = rng.choice(list(WAYS))
    raw, told = _written(rng.choice(photos), way, rng), [way]
    for _ in range(rng.randint(1, 3)):
        mutation = rng.choice(MUTATIONS)
        raw = mutation(raw, rng) if raw else raw
        told.append(mutation.__name__.strip("_"))
    return raw, ", ".join(told)


def _written(raw: bytes, way: str, rng: random.Random) -> bytes:
    image = Image.open(io.BytesIO(raw)).convert(rng.choice(["RGB", "RGB", "L"]))
    image.thumbnail((rng.choice([8, 64, 200]),) * 2)
    options = dict(WAYS[way])
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90 * turn) for turn in range(1, 4)]
    out = io.BytesIO()
    image.save(out, way.split()[0], **options)
    return out.getvalue()


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _flipped(raw: bytes, rng: random.Random) -> bytes:
    out = bytearray(raw)
    for _ in range(rng.randint(1, 20)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _header(raw: bytes, rng: random.Random) -> bytes:
    out = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        out[rng.randrange(min(120, len(out)))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(out)


def _large_number(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(min(200, len(raw)))
    number = rng.choice([2**31 - 1, 2**32 - 1, 65_535, 100_000, 2**16])
    return raw[:at] + number.to_bytes(4, rng.choice(["little", "big"])) + raw[at + 4 :]


def _piece_repeated(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    piece = raw[at : at + rng.choice([1, 16, 400])]
    return raw[:at] + piece * rng.choice([2, 50, 2_000]) + raw[at:]


def _scans_repeated(raw: bytes, rng: random.Random) -> bytes:
    at = raw.rfind(b"\xff\xda")
    return (
        raw if at < 0 else raw[:-2] + raw[at:-2] * rng.choice([10, 1_000, 20_000 // max(1, len(raw) - at)]) + raw[-2:]
    )


def _chunks_repeated(raw: bytes, rng: random.Random) -> bytes:
    at = raw.find(rng.choice([b"IDAT", b"ANMF", b"\x21\xf9", b"\xff\xe1", b"\xff\xdb"]))
    return raw if at < 4 else raw[: at - 4] + raw[at - 4 : at + 60] * rng.choice([3, 500]) + raw[at - 4 :]


def _piece_moved(raw: bytes, rng: random.Random) -> bytes:
    here, there, size = rng.randrange(len(raw)), rng.randrange(len(raw)), rng.randint(1, 300)
    return raw[:here] + raw[there : there + size] + raw[here + size :]


def _zeros(raw: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(raw)), rng.randint(1, 5_000)
    return raw[:at] + bytes(min(size, len(raw) - at)) + raw[at + size :]


def _text_in_front(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"<!DOCTYPE html>", b"\xef\xbb\xbf", b"\r\n", b"{", b"\0" * 16]) + raw


def _crlf(raw: bytes, rng: random.Random) -> bytes:
    return raw.replace(b"\n", b"\r\n")


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut, _flipped, _header, _large_number, _piece_repeated, _scans_repeated, _chunks_repeated, _piece_moved, _zeros,
    _text_in_front, _crlf,
)  # fmt: skip
