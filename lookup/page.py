"""One offline HTML file of hits, photos included: no script, no network, any title safe to show.

`render` and `put_page` also make the pages of pipeline/, so that all look alike.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.names import NO_CATEGORY
from foundation.disk import replace_file
from foundation.errors import InputError
from foundation.machine import machine_fault
from lookup.hit import Hit, words
from lookup.why.why import Why

if TYPE_CHECKING:
    from encoders.photos.limits import PhotoError, PhotoLimits

THUMBNAIL = 240  # pixels of the longer side; a card is at most about that wide
_LONGEST = 300  # characters of a title or attribute that a card shows


@dataclass(frozen=True)
class NoPhoto:
    """A photo that cannot be shown, and why: in a few words that all photos have in common of which that is true."""

    why: str

    @classmethod
    def of(cls, err: PhotoError) -> NoPhoto:
        """It, of the reason of a reject: without what is true of this one photo alone."""
        return cls(err.message.partition(": ")[0])


@dataclass(frozen=True)
class Answer:
    """What was asked and what came back. `photos` are the hits' photo files, None where a product has none; `note` says
    why nothing was found.
    """

    title: str
    query_photo: bytes | None
    hits: Sequence[Hit]
    seconds: float
    photos: Sequence[bytes | NoPhoto | None]
    note: str = ""
    understood: str = ""


def write_page(path: Path, answers: Sequence[Answer], heading: str, note: str, limits: PhotoLimits) -> None:
    """Write the page of hits to `path`, in one step also where one stands; InputError where it cannot be written.

    Photos are shown within the `limits` of the run, so that what was indexed is seen.
    """
    shown = [_shown(answer, limits) for answer in answers]
    html = render("lookup/page.html", ["lookup/page.css"], heading=heading, note=note, answers=shown)
    put_page(path, html, "hits")


# --- pages that need nothing beside them ---


def render(template: str, styles: Sequence[str], extra_style: str = "", **values: Any) -> bytes:
    """The UTF-8 HTML of `template` with the style files inside; all are named by their paths, as `lookup/page.css`.

    Values are escaped. The page's content security policy names the hash of its one style block and allows nothing
    else but embedded images. Lone surrogates, which UTF-8 cannot hold, become question marks.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(language=_language, duration=duration)
    style = "".join(_resource(name) for name in styles) + extra_style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # Markup: our own CSS; the hash holds only for the very same characters.
    page = environment.get_template(template).render(style=Markup(style), style_hash=f"sha256-{digest}", **values)
    return page.encode("utf-8", "replace")


def put_page(path: Path, html: bytes, what: str) -> None:
    """Write a page that a user asked for, its folder too; InputError, which names `what`, where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, html)
    except OSError as err:
        fix = "name a file in a folder that can be written"
        raise machine_fault(err) or InputError(f"a page of {what} at {path}", str(err), fix) from err


def duration(seconds: float) -> str:
    """Seconds as people say them: `8.4 ms`, `2.6 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _resource(name: str) -> str:
    package, _, file = name.rpartition("/")
    return files(package.replace("/", ".")).joinpath(file).read_text("utf-8")


def _language(text: str) -> str:
    """The language by which browsers choose the shapes of Han characters; empty where the script says enough."""
    if re.search("[\u3040-\u30ff]", text):  # kana
        return "ja"
    if re.search("[\uac00-\ud7a3]", text):  # hangul syllables
        return "ko"
    return "zh" if re.search("[\u3400-\u4dbf\u4e00-\u9fff]", text) else ""


# --- hits as the template wants them ---


def _shown(answer: Answer, limits: PhotoLimits) -> dict[str, Any]:
    cards = [_card(hit, photo, limits) for hit, photo in zip(answer.hits, answer.photos, strict=True)]
    return {
        "title": _clipped(answer.title),
        "asked_photo": answer.query_photo is not None,
        "photo": thumbnail(answer.query_photo, "the query", limits),
        "seconds": answer.seconds,
        "not_shown": not_shown(card["photo"] for card in cards),
        "note": answer.note,
        "understood": answer.understood,
        "cards": cards,
    }


def _card(hit: Hit, photo: bytes | NoPhoto | None, limits: PhotoLimits) -> dict[str, Any]:
    title = _clipped(words(hit.attributes.get("title")))
    others = [(name, _clipped(words(value))) for name, value in hit.attributes.items() if name != "title"]
    return {
        "id": _clipped(hit.id),
        "score": f"{hit.score:.3f}",
        "category": "no category" if hit.partition == NO_CATEGORY else _clipped(hit.partition),
        "title": title or _clipped(hit.id),
        "attributes": [(_clipped(name), value) for name, value in others if value],
        "photo": thumbnail(photo, hit.id, limits),
        "others": hit.others,
        "why": None if hit.why is None else _reasons(hit.why),
    }


def _reasons(why: Why) -> dict[str, Any]:
    """What a card says of why its hit is there: each word, and each part of the photo, with its strength in 0..1."""
    words_of, cells = [one.effect for one in why.words], [cell for row in why.regions or () for cell in row]
    return {
        "parts": why.modalities or {},
        "halves": why.halves or {},
        "words": [
            (one.word, f"{-one.effect:+.3f}", share) for one, share in zip(why.words, _shares(words_of), strict=True)
        ],
        "side": len(why.regions or ()),
        "cells": _shares(cells),
    }


def _shares(effects: Sequence[float]) -> list[float]:
    """Each as a share of the greatest; what counts against a hit has none."""
    most = max([*effects, 1e-9])
    return [round(max(effect, 0) / most, 3) for effect in effects]


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def thumbnail(
    photo: bytes | NoPhoto | None, of: str, limits: PhotoLimits, longest: int = THUMBNAIL
) -> str | NoPhoto | None:
    """A photo as a data URI of a small JPEG, `longest` pixels at most; why there is none of one that cannot be shown or
    decoded; None where there is no photo.
    """
    from PIL import Image

    from encoders.photos.decode import PhotoError, decode
    from encoders.photos.foreign import naming

    if not isinstance(photo, bytes):
        return photo
    try:
        with naming(f"of {of}", None):
            picture = Image.fromarray(decode(photo, limits))
    except PhotoError as err:
        return NoPhoto.of(err)
    picture.thumbnail((longest, longest))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def not_shown(photos: Iterable[str | NoPhoto | None]) -> list[str]:
    """How many of the `photos` of a page cannot be shown for which reason, the most frequent first: sentences."""
    counts = Counter(photo.why for photo in photos if isinstance(photo, NoPhoto))
    return [
        f"{count:,} {'photo is' if count == 1 else 'photos are'} not shown: {why}"
        for why, count in counts.most_common()
    ]
