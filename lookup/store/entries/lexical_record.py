"""What is recorded of one partition's lexical index, and of how a snapshot's queries use them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lookup.store.fields import FileRef, NamedRecord, Record


class LexicalRecord(NamedRecord):
    """One partition's lexical index: written beside it as its last file."""

    inputs: str  # 64 hex digits of what decides its bytes: texts, fields, analysis, format
    made_of: str  # of the digests of the segments' texts, in order: see index_record.made_of
    analysis: str  # the identity of how texts became terms
    fields: tuple[str, ...]  # canonical columns, by name
    rows: int
    terms: int
    postings: int
    words: int  # that misspellings are corrected to
    files: dict[str, FileRef]  # by role, see lookup/lexical/files.py
    build_seconds: float

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files.values())


class Tuned(Record):
    """How a weight was found on judged queries: nDCG@10 of it, of either half alone, and the 95% bootstrap interval of
    what it gains over the weight before. `queries` are those that find a product of the snapshot.
    """

    judged: str  # 64 hex digits: of the files of judged queries
    queries: int
    ndcg: float
    vectors: float
    words: float
    low: float
    high: float
    kept: bool  # whether it is the parent's, than which none was better beyond the interval


class LexicalEntry(Record):
    """How a snapshot's queries are answered by words. None of it is built into an index."""

    fields: dict[str, float]  # canonical column -> weight of its words
    analysis: dict[str, Any] = Field(default_factory=dict)  # fields of lookup.lexical.analysis.Analysis
    weight: float  # share of the lexical half in a score, 0..1
    tuned: Tuned | None = None  # None: the weight is as the config has it, or there are no judged queries
