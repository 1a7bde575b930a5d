"""What real feeds have: the faulty rows of a dirty demo catalog, and what must become of each.

The rules: a broken id rejects the row; good text with a broken photo is indexed by its text (`degraded`); a broken
photo without text is rejected for the photo's reason; no text and no photo is rejected as `no_modality`; a string that
is not UTF-8 rejects the row.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from foundation.reasons import Reason
from pipeline.demo.drawings import SIZE, Look, draw, encoded, photo

Row = dict[str, Any]
Outcome = Literal["embedded", "degraded", "rejected"]

OUTCOMES = pa.schema(
    [
        ("row", pa.int64()),  # in the whole catalog, from 0
        ("file", pa.string()),  # relative to the catalog's folder
        ("row_in_file", pa.int64()),
        ("id", pa.string()),
        ("what", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),  # null: nothing is wrong with it
    ]
)
_LONG_TITLE_BYTES = 2**20


@dataclass(frozen=True)
class DrawnPhoto:
    """A photo whose bytes are made from the row's look; as a file it is called `<what><suffix>`."""

    make: Callable[[Look], bytes]
    suffix: str = ".jpg"


@dataclass(frozen=True)
class Link:
    """A path in place of a photo, for photos as files; with `target`, a symbolic link to that lies there."""

    path: str
    target: str | None = None


@dataclass(frozen=True)
class Fault:
    """One faulty row: a clean row after `change`, with this photo (None: null), and what must become of it."""

    what: str
    outcome: Outcome
    reason: Reason | None
    photo: DrawnPhoto | Link | None
    change: Callable[[Row], Row]
    duplicate_of: Literal["nearest", "first"] | None = None  # a clean row before it, whose id it repeats

    @property
    def photo_path(self) -> str | None:
        """The image_link of the row, relative to the catalog's folder unless that is the fault."""
        if isinstance(self.photo, DrawnPhoto):
            return f"photos/dirty/{self.what}{self.photo.suffix}"
        return self.photo.path if self.photo is not None else None


def faults_for(photos: str) -> tuple[Fault, ...]:
    """Every fault that a catalog with photos as `files`, `bytes` or `none` can have, in a fixed order."""
    if photos == "files":
        return _FAULTS
    if photos == "bytes":
        made = (fault for fault in _FAULTS if not isinstance(fault.photo, Link))
        # Beside a path, no bytes are no photo: the path counts, and names what is not there.
        empty = (_EMPTY, f"{_EMPTY}_no_text")
        return tuple(replace(one, reason=Reason.IMAGE_NOT_FOUND) if one.what in empty else one for one in made)
    good = tuple(fault for fault in _FAULTS if fault.photo in (_GOOD, None))
    return tuple(fault for fault in good if fault.photo is None or fault.change is not _no_text)


def dirty_row(fault: Fault, base: Row, look: Look, originals: dict[str, str], schema: pa.Schema) -> pa.Table:
    """The faulty row as a table of `schema`. `base` is the clean row; `originals`: ids a duplicate can repeat."""
    row = fault.change(dict(base))
    if fault.duplicate_of is not None:
        row["id"] = originals[fault.duplicate_of]
    if "image_link" in schema.names:
        row["image_link"] = fault.photo_path
    if "image" in schema.names and isinstance(fault.photo, DrawnPhoto):
        row["image"] = {"bytes": fault.photo.make(look), "path": f"{fault.what}{fault.photo.suffix}"}
    return pa.table([_one(row.get(field.name), field.type) for field in schema], schema=schema)


def write_file(folder: Path, fault: Fault, look: Look) -> None:
    """Lay down what the row's image_link names, if there is to be anything."""
    if fault.photo_path is None or (isinstance(fault.photo, Link) and fault.photo.target is None):
        return
    path = folder / fault.photo_path
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(fault.photo, DrawnPhoto):
        path.write_bytes(fault.photo.make(look))
    elif fault.photo is not None and fault.photo.target is not None and not path.is_symlink():
        path.symlink_to(fault.photo.target)


def _one(value: Any, kind: pa.DataType) -> pa.Array:
    """`value` alone in an array; bytes go into a string column unchecked, as some writers put them there."""
    if kind == pa.string() and isinstance(value, bytes):
        return pa.array([value], pa.binary()).view(pa.string())
    return pa.array([value], kind)


# --- changes to a row ---


def _keep(row: Row) -> Row:
    return row


def _no_text(row: Row) -> Row:
    return row | dict.fromkeys(("title", "title_zh", "description", "description_zh", "brand"))


def _with(**values: Any) -> Callable[[Row], Row]:
    return lambda row: row | values


def _mojibake(row: Row) -> Row:
    """UTF-8 read as Latin-1, the way most of it comes about."""
    title = f"{row['title']} – “Café” édition"
    return row | {"title": _misread(title), "title_zh": _misread(row["title_zh"])}


def _misread(text: str) -> str:
    return text.encode("utf-8").decode("latin-1")


def _markup(row: Row) -> Row:
    first, _, rest = row["title"].partition(" ")
    return row | {
        "title": f"<b>{first}</b> {rest} &amp; gift&nbsp;box<br/>",
        "title_zh": f"<p>{row['title_zh']}</p>",
    }


def _long(row: Row) -> Row:
    unit = row["title"] + " "
    return row | {"title": (unit * (_LONG_TITLE_BYTES // len(unit) + 1))[:_LONG_TITLE_BYTES]}


def _controls_only(row: Row) -> Row:
    return _no_text(row) | {"title": "\x00\x01\x07\x1b\u200b\u200e\ufeff"}


def _latin1_bytes(row: Row) -> Row:
    return row | {"title": f"{row['title']} – édition".encode("cp1252")}


def _emoji_and_rtl(row: Row) -> Row:
    return row | {"title": f"🔥 {row['title']} 👗👍🏽 \u202bجديد\u202c חדש"}


# --- photos ---


def _saved(format: str, mode: str | None = None, **options: Any) -> Callable[[Look], bytes]:
    return lambda look: encoded(draw(look) if mode is None else draw(look).convert(mode), format, **options)


def _cut(look: Look) -> bytes:
    whole = photo(look)
    return whole[: len(whole) // 2]


def _sixteen_bit(look: Look) -> bytes:
    return encoded(Image.fromarray(np.asarray(draw(look).convert("L")).astype(np.uint16) * 257), "PNG")


def _transparent(look: Look) -> bytes:
    picture, alpha = draw(look), Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(alpha).ellipse((4, 4, SIZE - 4, SIZE - 4), fill=255)
    picture.putalpha(alpha)
    return encoded(picture, "PNG")


def _lying(look: Look) -> bytes:
    """A JPEG stored on its side, with the EXIF orientation (6) that sets it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(draw(look).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=85, exif=exif)


def _animated(format: str) -> Callable[[Look], bytes]:
    def make(look: Look) -> bytes:
        second = draw(Look(look.kind, look.colour, look.pattern, f"{look.seed}/2"))
        return encoded(draw(look), format, save_all=True, append_images=[second], duration=200, loop=0)

    return make


def _bomb(look: Look) -> bytes:
    """A valid PNG header of 100,000 x 100,000 pixels in a file of 92 bytes."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(24), 0)), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def _always(content: bytes) -> Callable[[Look], bytes]:
    return lambda look: content


_HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
_SVG = (
    b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="160" height="160">'
    b'<circle cx="80" cy="80" r="60" fill="red"/></svg>\n'
)
_GOOD = DrawnPhoto(photo)

_ODD_PHOTOS: dict[str, DrawnPhoto] = {
    "png_named_jpg": DrawnPhoto(_saved("PNG")),
    "cmyk_jpeg": DrawnPhoto(_saved("JPEG", "CMYK", quality=85)),
    "grey_jpeg": DrawnPhoto(_saved("JPEG", "L", quality=85)),
    "exif_rotated_jpeg": DrawnPhoto(_lying),
    "sixteen_bit_png": DrawnPhoto(_sixteen_bit, ".png"),
    "palette_png": DrawnPhoto(_saved("PNG", "P"), ".png"),
    "transparent_png": DrawnPhoto(_transparent, ".png"),
    "animated_gif": DrawnPhoto(_animated("GIF"), ".gif"),
    "animated_webp": DrawnPhoto(_animated("WEBP"), ".webp"),
    "avif": DrawnPhoto(_saved("AVIF", quality=75, speed=8, max_threads=1), ".avif"),
    "bmp": DrawnPhoto(_saved("BMP"), ".bmp"),
    "tiff": DrawnPhoto(_saved("TIFF"), ".tiff"),
}
_EMPTY = "empty_file"
_BROKEN_PHOTOS: dict[str, tuple[Reason, DrawnPhoto | Link]] = {
    "missing_file": (Reason.IMAGE_NOT_FOUND, Link("photos/dirty/missing.jpg")),
    _EMPTY: (Reason.IMAGE_UNDECODABLE, DrawnPhoto(_always(b""))),
    "cut_jpeg": (Reason.IMAGE_UNDECODABLE, DrawnPhoto(_cut)),
    "html_named_jpg": (Reason.IMAGE_UNDECODABLE, DrawnPhoto(_always(_HTML))),
    "svg": (Reason.IMAGE_UNDECODABLE, DrawnPhoto(_always(_SVG), ".svg")),
    "bomb_png": (Reason.IMAGE_TOO_LARGE, DrawnPhoto(_bomb, ".png")),
    "path_above_root": (Reason.IMAGE_FORBIDDEN, Link("../../etc/passwd")),
    "absolute_path": (Reason.IMAGE_FORBIDDEN, Link("/etc/passwd")),
    "link_out_of_root": (Reason.IMAGE_FORBIDDEN, Link("photos/dirty/link_out_of_root.jpg", target="/etc/passwd")),
    "http_url": (Reason.IMAGE_FORBIDDEN, Link("http://shop.example/photos/1.jpg")),  # RFC 2606: nobody has this name
}


def _photo_faults() -> list[Fault]:
    odd = [Fault(what, "embedded", None, made, _keep) for what, made in _ODD_PHOTOS.items()]
    broken = _BROKEN_PHOTOS.items()
    degraded = [Fault(what, "degraded", reason, shown, _keep) for what, (reason, shown) in broken]
    return [
        *odd,
        *degraded,
        *(Fault(f"{what}_no_text", "rejected", why, shown, _no_text) for what, (why, shown) in broken),
    ]


_FAULTS: tuple[Fault, ...] = (
    Fault("null_id", "rejected", Reason.MISSING_ID, _GOOD, _with(id=None)),
    Fault("empty_id", "rejected", Reason.MISSING_ID, _GOOD, _with(id="")),
    Fault("duplicate_of_nearest", "rejected", Reason.DUPLICATE_ID, _GOOD, _keep, duplicate_of="nearest"),
    Fault("duplicate_of_first", "rejected", Reason.DUPLICATE_ID, _GOOD, _keep, duplicate_of="first"),
    *_photo_faults(),
    Fault("photo_without_text", "embedded", None, _GOOD, _no_text),
    Fault("text_without_photo", "embedded", None, None, _keep),
    Fault("no_text_no_photo", "rejected", Reason.NO_MODALITY, None, _no_text),
    Fault("control_characters_no_photo", "rejected", Reason.NO_MODALITY, None, _controls_only),
    Fault("title_not_utf8", "rejected", Reason.INVALID_TEXT, _GOOD, _latin1_bytes),
    Fault("mojibake_title", "embedded", None, _GOOD, _mojibake),
    Fault("html_in_title", "embedded", None, _GOOD, _markup),
    Fault("one_megabyte_title", "embedded", None, _GOOD, _long),
    Fault("emoji_and_right_to_left", "embedded", None, _GOOD, _emoji_and_rtl),
    Fault("null_category", "embedded", None, _GOOD, _with(product_type=None)),
)


def outcome_rows(
    faults: Sequence[Fault], rows: Sequence[int], ids: Sequence[str | None], file: str, start: int
) -> pa.Table:
    """What must become of the faults at catalog rows `rows`, in a file whose first row is `start` (OUTCOMES)."""
    return pa.table(
        [
            pa.array(rows, pa.int64()),
            pa.array([file] * len(rows), pa.string()),
            pa.array([row - start for row in rows], pa.int64()),
            pa.array(ids, pa.string()),
            pa.array([fault.what for fault in faults], pa.string()),
            pa.array([fault.outcome for fault in faults], pa.string()),
            pa.array([fault.reason for fault in faults], pa.string()),
        ],
        schema=OUTCOMES,
    )
