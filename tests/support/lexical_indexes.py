"""Small lexical indexes, built and opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from index_builders.lexical.build import BuiltLexical, build_lexical
from lookup.lexical.analysis import Analysis
from lookup.lexical.index import LexicalIndex
from lookup.lexical.query import LexicalQuery
from lookup.lexical.reading import read_query
from lookup.lexical.scoring import Statistics

TITLE = {"title": 1.0}
Row = Mapping[str, str | None]


def titles(*texts: str | None) -> list[Row]:
    """A row for each text."""
    return [{"title": text} for text in texts]


def block(rows: Sequence[Row], fields: Mapping[str, float] = TITLE) -> pa.Table:
    """Rows as a block of texts."""
    return pa.table({field: pa.array([row[field] for row in rows], pa.string()) for field in fields})


def opened(built: BuiltLexical, folder: Path, fields: Mapping[str, float], analysis: Analysis) -> LexicalIndex:
    """What was built into `folder`."""
    paths = {role: folder / name for role, name in built.files.items()}
    return LexicalIndex.open(paths, built.rows, fields, analysis)


def index_of(
    rows: Sequence[Row], folder: Path, fields: Mapping[str, float] = TITLE, analysis: Analysis | None = None
) -> LexicalIndex:
    """The index of `rows`, built into `folder`, which is made."""
    analysis = analysis or Analysis()
    folder.mkdir(parents=True)
    return opened(build_lexical([block(rows, fields)], list(fields), analysis, folder), folder, fields, analysis)


def asked(
    text: str, indexes: Sequence[LexicalIndex], analysis: Analysis | None = None
) -> tuple[LexicalQuery, Statistics]:
    """A query read for some indexes, and their statistics."""
    query = read_query(text, analysis or Analysis(), indexes)
    return query, Statistics.of(query, indexes)


def found(text: str, index: LexicalIndex, analysis: Analysis | None = None, k: int = 10) -> list[int]:
    """The positions that a query finds in one index, best first."""
    positions: list[int] = index.search(*asked(text, [index], analysis), k)[1].tolist()
    return positions
