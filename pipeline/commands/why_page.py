"""Why hits are there, for people: what of the score is of texts and photos, which words mattered, which part of the
photo.
"""

from __future__ import annotations

from collections.abc import Iterator

from lookup.why.why import Why

_OF = {"text": "of the texts", "image": "of the photos"}
_SHADES = " ░▒▓█"  # from nothing to the most that a part of any hit's photo gives


def lines_of(why: Why) -> Iterator[str]:
    """Lines of at most a sentence, and a small map of the photo."""
    parts = why.modalities or {}
    yield f"embedding {why.vectors:.4f}" + "".join(
        f" {sign} {value:.4f} {_OF[name]}" for sign, (name, value) in zip("=+", parts.items(), strict=False)
    )
    if why.halves is not None:
        of_words, of_vectors = why.halves["words"], why.halves["vectors"]
        yield f"by both {of_words + of_vectors:.4f} = {of_words:.4f} of its words + {of_vectors:.4f} of its embedding"
    yield from effects(why)


def effects(why: Why) -> Iterator[str]:
    """What goes from the score without each word, and without each part of the photo."""
    if why.words:
        yield "without the word: " + ", ".join(f"{one.word} {-one.effect:+.4f}" for one in why.words)
    if why.regions is not None:
        most = max(map(max, why.regions))
        if most <= 0:
            yield "no part of the photo is what it is found for: without any, the score is not lower"
            return
        yield f"without a part of the photo: {-most:+.4f} at most, where it is darkest"
        yield from (f"  |{row}|" for row in shaded(why.regions))


def shaded(regions: tuple[tuple[float, ...], ...]) -> Iterator[str]:
    """Rows of a map: the darker, the more of the score goes with that part."""
    most = max(map(max, regions))
    for row in regions:
        yield "".join(2 * _SHADES[round(max(cell, 0) / most * (len(_SHADES) - 1))] for cell in row)
