"""Photos that the catalog holds as text: base64, alone or in a `data:` URI, where `catalog.image_type` says so.

What can be decoded travels as bytes. The rest, as the catalog has it, is the path of a photo that has no bytes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote

from encoders.photos.decode import PhotoError, PhotoLimits
from foundation.reasons import Reason

_SCHEME, _MARK = "data:", ";base64"
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")  # of photos


@dataclass(frozen=True)
class Inline:
    """The text itself: it names no file, and nothing of it changes by itself."""

    def facts(self, path: str, anew: bool = False) -> str | None:
        """See Source."""
        return None

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, str | None]:
        """See Source: a PhotoError, for what could be decoded and was declared is no path."""
        try:
            decoded(path)
        except ValueError as err:
            raise PhotoError(Reason.IMAGE_UNDECODABLE, f"no base64, {err}: {path[:200]}") from err
        what = "a photo in the column itself, which catalog.image_type=base64 declares"
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{what}: {path[:200]}")


def is_inline(path: str) -> bool:
    """Whether what the catalog calls a path is the text of a photo, which `inline` marks."""
    return path[: len(_SCHEME)].lower() == _SCHEME


def inline(text: str) -> str:
    """The text of a photo as a `data:` URI: as it is, or with a mark before it."""
    return text if is_inline(text) else f"{_SCHEME}{_MARK},{text}"


def is_photo_text(text: str) -> bool:
    """Whether a text that is taken for a path is a photo in base64."""
    try:
        return decoded(inline(text)).startswith(_BEGINNINGS)
    except ValueError:
        return False


def decoded(uri: str) -> bytes:
    """The bytes of a `data:` URI (RFC 2397) in base64 (RFC 4648, white space left out, signs of it percent-encoded or
    not); ValueError that says what is wrong with it.
    """
    head, comma, text = uri.partition(",")
    if not comma or not head.lower().endswith(_MARK):
        raise ValueError("a data: URI without `;base64,`")
    try:
        return base64.b64decode("".join(unquote(text).split()), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as err:
        raise ValueError(str(err).lower()) from err
