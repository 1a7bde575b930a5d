"""The clean products of the demo catalog, in columns: what each one is, says and shows.

All of it depends on the seed and the product's number alone, never on how rows are grouped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from foundation.arrays import Positions
from pipeline.demo.drawings import Look
from pipeline.demo.words import BRANDS, COLOUR_WORDS, DESCRIPTIONS, KIND_WORDS, PATTERN_WORDS, PRAISE, TITLES, USES

TEXTS = ("title", "title_zh", "description", "description_zh")
PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Choices = npt.NDArray[np.int64]


def schema(photos: str) -> pa.Schema:
    """The columns of the catalog; names follow the Google Merchant product feed."""
    columns = [(name, pa.string()) for name in ("id", *TEXTS, "product_type", "brand")]
    columns.append(("price", pa.float64()))
    if photos == "files":
        columns.append(("image_link", pa.string()))
    if photos == "bytes":
        columns.append(("image", PHOTO))
    return pa.schema(columns)


def product_rows(seed: int, rows: Positions) -> pa.Table:
    """The clean products with the numbers `rows`, (n,) int64: columns of `schema("none")`."""
    chosen = _choose(seed, rows)

    def lots(what: str, below: int) -> Choices:
        return _draw_lots(seed, what, rows, below)

    nouns = chosen.kind * 3 + lots("noun", 3)
    patterns = chosen.pattern * 2 + lots("pattern word", 2)
    brand, praise, use = lots("brand", len(BRANDS)), lots("praise", len(PRAISE)), lots("use", len(USES))
    form, story = lots("title form", len(TITLES)), lots("description form", len(DESCRIPTIONS))
    texts: dict[str, pa.Array] = {}
    for language, suffix in enumerate(("", "_zh")):
        words = {
            "colour": _pick([pair[language] for pair in COLOUR_WORDS.values()], chosen.colour),
            "pattern": _pick([pair[language] for pairs in PATTERN_WORDS.values() for pair in pairs], patterns),
            "noun": _pick([pair[language] for kind in KIND_WORDS.values() for pair in kind.nouns], nouns),
            "praise": _pick([pair[language] for pair in PRAISE], praise),
            "use": _pick([pair[language] for pair in USES], use),
            "brand": _pick(BRANDS, brand),
        }
        texts[f"title{suffix}"] = _compose([forms[language] for forms in TITLES], form, words)
        texts[f"description{suffix}"] = _compose([forms[language] for forms in DESCRIPTIONS], story, words)
    dearness = np.array([kind.price for kind in KIND_WORDS.values()], dtype=np.float64)[chosen.kind]
    price = np.floor(dearness * (70 + lots("price", 81)) / 100) + 0.99
    return pa.table(
        {
            "id": ids(rows),
            **{name: texts[name] for name in TEXTS},
            "product_type": _pick([kind.product_type for kind in KIND_WORDS.values()], chosen.kind),
            "brand": _pick(BRANDS, brand),
            "price": pa.array(price),
        }
    )


def ids(rows: Positions) -> pa.Array:
    """The ids, string, of the products with the numbers `rows`."""
    return pc.binary_join_element_wise("V", pc.utf8_lpad(pc.cast(pa.array(rows), pa.string()), 8, "0"), "-")


def looks(seed: int, rows: Positions) -> list[Look]:
    """What the photos of the products with the numbers `rows` show."""
    chosen = _choose(seed, rows)
    kinds, colours, patterns = list(KIND_WORDS), list(COLOUR_WORDS), list(PATTERN_WORDS)
    picked = zip(rows.tolist(), chosen.kind.tolist(), chosen.colour.tolist(), chosen.pattern.tolist(), strict=True)
    return [Look(kinds[k], colours[c], patterns[p], f"{seed}/photo/{row}") for row, k, c, p in picked]


@dataclass(frozen=True)
class _Chosen:
    """What each of n products is: (n,) int64 positions in the word lists."""

    kind: Choices
    colour: Choices
    pattern: Choices


def _choose(seed: int, rows: Positions) -> _Chosen:
    return _Chosen(
        kind=_draw_lots(seed, "kind", rows, len(KIND_WORDS)),
        colour=_draw_lots(seed, "colour", rows, len(COLOUR_WORDS)),
        pattern=_draw_lots(seed, "pattern", rows, len(PATTERN_WORDS)),
    )


def _draw_lots(seed: int, what: str, rows: Positions, below: int) -> Choices:
    """(n,) int64 in 0..below-1, from the seed, the purpose and each row's number: independent of how rows are grouped.

    splitmix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators") over a counter.
    """
    key = random.Random(f"{seed}/{what}").getrandbits(64)
    with np.errstate(over="ignore"):
        z = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(32)) * np.uint64(below) >> np.uint64(32)).astype(np.int64)


def _pick(words: Sequence[str], positions: Choices) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(positions))


def _compose(forms: Sequence[str], form: Choices, words: dict[str, pa.Array]) -> pa.Array:
    """Each row's form, such as `{Colour} {noun}`, with its words filled in; a capital asks for a capital."""
    out = pa.nulls(len(form), pa.string())
    for number, template in enumerate(forms):
        mine = form == number
        pieces: list[Any] = []
        for piece in template.replace("}", "{").split("{"):
            column = words.get(piece.lower())
            if column is None:
                pieces.append(piece)
                continue
            values = column.filter(pa.array(mine))
            pieces.append(pc.utf8_capitalize(values) if piece[0].isupper() else values)
        filled = pc.binary_join_element_wise(*pieces, "")
        out = pc.replace_with_mask(out, pa.array(mine), filled)
    return out
