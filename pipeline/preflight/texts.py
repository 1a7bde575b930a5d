"""Columns of texts that hold no texts."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from encoders.networks.token_counts import token_counts
from foundation.errors import InputError
from pipeline.catalog.null_words import null_words_notice, spellings_of_nothing, stands_for_nothing
from pipeline.preflight.findings import Finding, Subject
from pipeline.report.notices import Notice

_log = logging.getLogger(__name__)
_URL = re.compile(r"\s*(https?://|www\.|s3://|gs://)\S+\s*")
_NUMBER = re.compile(r"\s*[-+]?[\d.,\s]*\d[\d.,\s]*%?\s*")
_MOST_CUT = 0.25  # of the texts
_MOST = 0.5  # of the values, from which on a column is taken for something else
_LEAST = 20  # values that must be seen: fewer say nothing


def text_findings(subject: Subject) -> Iterator[Finding]:
    """What the columns of `catalog.text` hold; one that holds nothing stops a run only where no product has a photo
    either.
    """
    settings, sample = subject.catalog, subject.sample
    if subject.encoders.text is None or not sample.rows:
        return
    empty = []
    for name in settings.text:
        values = [value for value in sample.words(name) if value and value.strip()]
        words = [value for value in values if not stands_for_nothing(value)]
        if not words and not any(sample.not_utf8([name])):
            empty.append((name, values))
        elif len(words) >= _LEAST:
            yield from _held(name, words)
    yield from _cut(subject)
    lonely = len(empty) == len(settings.text) and not any(sample.photos)
    for name, values in empty:
        came = f"the column {name}: {_some(values) if values else 'null or blank'} in each of {sample.rows:,} rows"
        fix = f"name a column that has texts (catalog.text=[...]), or rename: catalog.columns.{name}=..."
        yield Finding("catalog.text", came, "texts of products", fix, stops=lonely and bool(sample.rows >= _LEAST))


def text_notices(subject: Subject) -> list[Notice]:
    """Words for nothing among the sampled texts, attributes and photos. Ids and categories are known of all rows."""
    settings, sample = subject.catalog, subject.sample
    names = [*settings.text, *settings.attributes, settings.image, settings.more_images]
    found: Counter[str] = Counter()
    named = []
    for name in dict.fromkeys(name for name in names if name and name not in ("id", settings.partition)):
        words = spellings_of_nothing(pa.array(sample.words(name), pa.string()))
        found += words
        named += [f"{name}: {word!r} ({rows:,})" for word, rows in words.most_common()]
    return null_words_notice("sampled_null_words", "sampled values are read", found, settings, named)


# --- inside ---


def _held(name: str, words: Sequence[str]) -> Iterator[Finding]:
    for pattern, what in ((_URL, "addresses"), (_NUMBER, "numbers")):
        found = [word for word in words if pattern.fullmatch(word)]
        if len(found) > _MOST * len(words):
            came = f"{what} in the column {name}, such as {_some(found)}: {len(found):,} of {len(words):,} values"
            fix = f"leave {name} out of catalog.text, or name the column that was meant: catalog.columns.{name}=..."
            yield Finding("catalog.text", came, "texts that say what a product is", fix, stops=False)


def _cut(subject: Subject) -> Iterator[Finding]:
    """Texts of which the model reads the beginning only."""
    spec, settings = subject.encoders.text, subject.catalog
    try:
        reads = spec.reads_tokens() if spec is not None else None
        if reads is None:
            return
        rows = zip(*(subject.sample.words(name) for name in settings.text), strict=True)
        texts = ["\n".join(word for word in row if word) for row in rows]
        counts = token_counts(reads[0], [text for text in texts if text])
    except (InputError, ValueError, OSError) as err:  # what is wrong with the model is told by whoever loads it
        _log.debug("no tokens are counted: %s", err)
        return
    longer = [count for count in counts if count > reads[1]]
    if len(counts) >= _LEAST and len(longer) > _MOST_CUT * len(counts):
        came = f"{len(longer):,} of {len(counts):,} sampled texts have more, up to {max(longer):,}: the rest is cut off"
        fix = "name the columns that say most first, or fewer (catalog.text), or take a model that reads more"
        yield Finding(
            "catalog.text", came, f"texts of at most {reads[1]:,} tokens, as the model reads", fix, stops=False
        )


def _some(values: Sequence[str]) -> str:
    return ", ".join(repr(value[:60]) for value in dict.fromkeys(values[:50]))[:150]
