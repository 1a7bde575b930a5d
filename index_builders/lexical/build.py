"""The lexical index of one partition, built from its texts in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from foundation.errors import InputError
from index_builders.lexical.merge import Spilled, merge
from index_builders.lexical.runs import run_of
from lookup.lexical.analysis import Analysis
from lookup.lexical.files import FILES, LexicalFiles

_ROWS, _BYTES = 50_000, 16_000_000  # of a run, at most: some 200 MB while it is made


@dataclass(frozen=True)
class BuiltLexical:
    """What was built."""

    files: Mapping[str, str]  # role: name in the folder
    rows: int
    terms: int
    postings: int
    words: int  # distinct words of letters, those that misspellings are corrected to
    bytes: int  # of all files
    mean_length: Mapping[str, float]  # by field: words of a row that has any


def build_lexical(blocks: Iterable[pa.Table], fields: Sequence[str], analysis: Analysis, folder: Path) -> BuiltLexical:
    """Write the lexical index of `blocks` into `folder`: tables of string columns named as `fields`, null where a row
    has no text, rows in the order of their positions.

    Equal rows, fields and analysis give equal bytes, however blocks are cut. Runs of rows are spilled into `folder`
    while it is built; memory holds one run, or the vocabulary and 8 bytes for each term of each run.
    """
    if not fields or len(set(fields)) != len(fields):
        raise InputError("fields of a lexical index, each once", f"{list(fields)}", "name one text field or more")
    with tempfile.TemporaryDirectory(prefix="runs-", dir=folder) as runs:
        spilled = Spilled(Path(runs))
        for block in _cut(blocks):
            spilled = spilled.add(run_of(block, fields, analysis))
        head = merge(spilled, fields, analysis.identity, folder)
    built = LexicalFiles.open({role: folder / name for role, name in FILES.items()})
    return BuiltLexical(
        dict(FILES),
        head.rows,
        len(built.terms),
        len(built.low),
        len(built.words),
        sum((folder / name).stat().st_size for name in FILES.values()),
        {name: head.sums[at] / max(head.filled[at], 1) for at, name in enumerate(fields)},
    )


def _cut(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of `blocks` as tables of `_ROWS` and about `_BYTES` at most; none is empty."""
    waiting, rows = list[pa.Table](), 0
    for block in blocks:
        waiting.append(block)
        rows += block.num_rows
        while rows >= _ROWS:
            whole = pa.concat_tables(waiting)
            yield from _of_few_bytes(whole.slice(0, _ROWS))
            waiting, rows = [whole.slice(_ROWS)], rows - _ROWS
    if rows:
        yield from _of_few_bytes(pa.concat_tables(waiting))


def _of_few_bytes(block: pa.Table) -> Iterator[pa.Table]:
    """`block` in pieces of about `_BYTES` at most, of a row at least."""
    rows = max(1, min(block.num_rows, block.num_rows * _BYTES // max(block.nbytes, 1)))
    return (block.slice(at, rows) for at in range(0, block.num_rows, rows))
