"""Whether the index that the config names can be had of so many rows of such a length, and tuned for its queries."""

from __future__ import annotations

from collections.abc import Iterator

from foundation.errors import InputError
from index_builders.fill.compute import compute_of
from pipeline.build.tower_queries import tower_queries
from pipeline.config.encoding import fusion_of
from pipeline.preflight.findings import Finding, Subject


def index_findings(subject: Subject) -> Iterator[Finding]:
    """What a build would refuse, for the partitions that would meet it; rejects can only make them smaller."""
    settings, plan = subject.settings.indexing.index, subject.plan
    dim = fusion_of(subject.settings.embedding).dim
    sizes = [plan.rows] if subject.category is not None else plan.partitions.values()
    large = sorted({rows for rows in sizes if rows >= settings.exact_below})
    if large and settings.device != "cpu":
        try:
            compute_of(settings.device)
        except InputError as err:
            yield Finding.of("index.device", err)
    for rows in large:
        spec = settings.choose(rows, dim)
        if spec is None or not spec.trained:
            return
        try:
            spec.refuse(dim, settings.train_rows(rows, dim))
        except InputError as err:
            yield Finding.of("index.large", err)
            return


def query_findings(subject: Subject) -> Iterator[Finding]:
    """Whether the queries of `index.queries` can be asked."""
    if subject.purpose != "run" or subject.settings.indexing.index.queries is None:
        return
    try:
        tower_queries(subject.settings.indexing)
    except InputError as err:
        yield Finding.of("index.queries", err)
