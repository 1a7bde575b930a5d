"""What a query is that was given without a word for what it is: a text, a photo file, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from encoders.photos.faults import format_of
from foundation.errors import InputError
from foundation.machine import machine_fault

_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff"))
_BEGINNING = 64  # bytes of a file that say what it is


@dataclass(frozen=True)
class Given:
    """What was given: a text, the path of a photo file, or both."""

    text: str | None
    image: str | None

    @property
    def taken_for(self) -> Literal["text", "photo", "text and photo"]:
        """What it is, in words."""
        if self.image is None:
            return "text"
        return "photo" if self.text is None else "text and photo"


def recognise(words: Sequence[str]) -> Given:
    """What `words` are: the one that is a photo file, by its first bytes or the ending of its name, is the photo, and
    the others together are the text. InputError for a photo that is not there, and for two.
    """
    photos = [word for word in words if _is_photo(word)]
    if len(photos) > 1:
        raise InputError("one photo, and words", f"the photos {', '.join(photos)}", "search by one of them at a time")
    text = " ".join(word for word in words if word not in photos).strip()
    return Given(text or None, photos[0] if photos else None)


# --- inside ---


def _is_photo(word: str) -> bool:
    """Whether a word is the path of a photo; a file that is none of our formats, and has no such name, is a word that
    happens to be called so.
    """
    path = Path(word)
    named = path.suffix.lower() in _ENDINGS
    begins: bytes | None = None  # None: there is no such file
    try:
        if path.is_file():
            with path.open("rb") as file:
                begins = file.read(_BEGINNING)
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        if not named:
            return False
        raise machine_fault(err) or _unread(word, str(err)) from err
    if named and begins is None:
        raise _unread(word, "no such file")
    return named or (begins is not None and format_of(begins) is not None)


def _unread(word: str, why: str) -> InputError:
    return InputError("the file of a photo that can be read", f"{word}: {why}", f"correct the path, or --text {word!r}")
