"""Judged queries for the demo catalog: what each of its products shows is known, so any name says what it should find.

    python benchmarks/demo_queries.py --products 2000 --out FOLDER

writes FOLDER/en.parquet, zh.parquet and, for `vitrine eval`, their judgments, *-qrels.parquet. Names are all pairs of
colour and kind that some product shows (`red dress`), and every third of those with a pattern (`red striped dress`).
Relevant is what shows all that is named, whatever words its title has for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.catalog import DemoOptions
from pipeline.demo.products import ids, looks
from pipeline.demo.words import COLOUR_WORDS, KIND_WORDS, PATTERN_WORDS

LANGUAGES = ("en", "zh")
EVERY = 3  # of the names with a pattern

Named = tuple[str, str, str | None]  # kind, colour, pattern


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    rows = np.arange(words.products)
    shown = looks(DemoOptions.seed, rows)
    found: dict[Named, list[str]] = {}
    for name, look in zip(ids(rows).to_pylist(), shown, strict=True):
        for pattern in (None, look.pattern):
            found.setdefault((look.kind, look.colour, pattern), []).append(name)
    for number, language in enumerate(LANGUAGES):
        write(words.out, language, {text(one, number): found[one] for one in asked(found)})


def asked(found: dict[Named, list[str]]) -> Iterator[Named]:
    """The names that are asked for, those without a pattern first."""
    ordered = sorted(found, key=lambda one: (one[2] is not None, *one[:2], one[2] or ""))
    patterned = [one for one in ordered if one[2] is not None]
    yield from (one for one in ordered if one[2] is None)
    yield from patterned[::EVERY]


def text(named: Named, language: int) -> str:
    """A name in words: English with spaces, Chinese without."""
    kind, colour, pattern = named
    words = [COLOUR_WORDS[colour][language], *([] if pattern is None else [PATTERN_WORDS[pattern][0][language]])]
    return (" ", "")[language].join([*words, KIND_WORDS[kind].nouns[0][language]])


def write(folder: Path, language: str, judged: dict[str, list[str]]) -> None:
    """The queries of a language and their judgments, as `vitrine eval` takes them."""
    names = {query: f"{language}{number:03d}" for number, query in enumerate(judged)}
    queries = [{"query_id": name, "text": query, "image": None, "category": None} for query, name in names.items()]
    gains = [{"query_id": names[query], "id": one, "gain": 1} for query, right in judged.items() for one in right]
    kinds = [(name, pa.string()) for name in ("query_id", "text", "image", "category")]
    pq.write_table(pa.Table.from_pylist(queries, pa.schema(kinds)), folder / f"{language}.parquet")
    pq.write_table(pa.Table.from_pylist(gains), folder / f"{language}-qrels.parquet")


if __name__ == "__main__":
    main()
