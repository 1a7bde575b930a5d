"""Whether a snapshot of this config can give what its re-ranker sees, under the models that it was learned on."""

from __future__ import annotations

from collections.abc import Iterator

from foundation.errors import InputError
from lookup.rerank.learned_on import WEIGHT, score_parts
from pipeline.build.lexical import lexical_entry
from pipeline.config.lexical import AUTO
from pipeline.config.published import encoder_entry
from pipeline.preflight.findings import Finding, Subject
from pipeline.publish.ranker_files import lacking, read_ranker, refuse_other_scores

_KEY = "search.ranker"


def ranker_findings(subject: Subject) -> Iterator[Finding]:
    """What is wrong with the folder of a re-ranker, or with it here."""
    folder = subject.settings.search.ranker
    if subject.purpose != "run" or folder is None:
        return
    encoders, indexing = subject.encoders, subject.settings.indexing
    try:
        settings, _ = read_ranker(folder)
        words = lexical_entry(indexing.lexical)
    except InputError as err:
        yield Finding.of(_KEY, err)
        return
    parts = score_parts(
        encoder_entry(encoders.text),
        encoder_entry(encoders.image),
        indexing.embedding.fusion.parts,
        indexing.index.metric.value,
        words,
    )
    if indexing.lexical is not None and indexing.lexical.weight == AUTO:  # it is tuned later; the gate looks again
        parts[WEIGHT] = settings.learned_on.scores.get(WEIGHT, "")
    try:
        refuse_other_scores(settings, folder, parts)
    except InputError as err:
        yield Finding.of(_KEY, err)
        return
    attributes = subject.catalog.attributes
    if missing := lacking(settings, attributes, subject.plan.attribute_types):
        expected = f"attributes that {folder} sees: {', '.join(missing)}"
        fix = "list them in catalog.attributes as they were where it was learned, or learn it again"
        yield Finding(_KEY, f"catalog.attributes with {', '.join(attributes) or 'none'}", expected, fix)
