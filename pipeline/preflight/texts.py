"""Columns of texts that hold no texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeline.preflight.findings import Finding, Subject

_NOTHING = {"nan", "none", "null", "n/a", "na", "nil", "undefined", "-", "--", "?", "#n/a", "<na>"}
_URL = re.compile(r"\s*(https?://|www\.|s3://|gs://)\S+\s*")
_NUMBER = re.compile(r"\s*[-+]?[\d.,\s]*\d[\d.,\s]*%?\s*")
_MOST = 0.5  # of the values, from which on a column is taken for something else
_LEAST = 20  # values that must be seen: fewer say nothing


def text_findings(subject: Subject) -> Iterator[Finding]:
    """What the columns of `catalog.text` hold; one that holds nothing stops a run only where no product has a photo
    either.
    """
    settings, sample = subject.config.catalog, subject.sample
    if subject.config.encoders.text is None or not sample.rows:
        return
    empty = []
    for name in settings.text:
        values = [value for value in sample.words(name) if value and value.strip()]
        words = [value for value in values if value.strip().lower() not in _NOTHING]
        if not words:
            empty.append((name, values))
        elif len(words) >= _LEAST:
            yield from _held(name, words)
    lonely = len(empty) == len(settings.text) and not any(sample.photos)
    for name, values in empty:
        came = f"the column {name}: {_some(values) if values else 'null or blank'} in each of {sample.rows:,} rows"
        fix = f"name a column that has texts (catalog.text=[...]), or rename: catalog.columns.{name}=..."
        yield Finding("catalog.text", came, "texts of products", fix, stops=lonely and bool(sample.rows >= _LEAST))


# --- inside ---


def _held(name: str, words: Sequence[str]) -> Iterator[Finding]:
    for pattern, what in ((_URL, "addresses"), (_NUMBER, "numbers")):
        found = [word for word in words if pattern.fullmatch(word)]
        if len(found) > _MOST * len(words):
            came = f"{what} in the column {name}, such as {_some(found)}: {len(found):,} of {len(words):,} values"
            fix = f"leave {name} out of catalog.text, or name the column that was meant: catalog.columns.{name}=..."
            yield Finding("catalog.text", came, "texts that say what a product is", fix, stops=False)


def _some(values: Sequence[str]) -> str:
    return ", ".join(repr(value[:60]) for value in dict.fromkeys(values[:50]))[:150]
