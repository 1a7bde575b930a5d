"""Whether words can be searched by: languages that are stemmed, synonyms that can be read."""

from __future__ import annotations

from collections.abc import Iterator

from foundation.errors import InputError
from pipeline.build.lexical import query_analysis
from pipeline.preflight.findings import Finding, Subject


def lexical_findings(subject: Subject) -> Iterator[Finding]:
    """What is wrong with the section `lexical`, beside its keys."""
    settings = subject.settings.indexing.lexical
    if subject.purpose != "run" or settings is None:
        return
    try:
        query_analysis(settings)
    except InputError as err:
        yield Finding.of("lexical", err)
