"""Whether words can be searched by: languages that are stemmed, synonyms and judgments that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from foundation.errors import InputError
from pipeline.build.lexical import query_analysis
from pipeline.catalog.user_tables import user_table
from pipeline.config.lexical import JudgedConfig
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
    if settings.judged is not None:
        yield from _judged_findings(settings.judged)


def _judged_findings(judged: JudgedConfig) -> Iterator[Finding]:
    """Files of judged queries that cannot be read, or lack a column."""
    for key, path, needed in (
        ("queries", judged.queries, ("query_id",)),
        ("qrels", judged.qrels, ("query_id", "id", "gain")),
    ):
        try:
            _, columns = user_table(Path(path), f"lexical.judged.{key}", needed)
        except InputError as err:
            yield Finding.of(f"lexical.judged.{key}", err)
            continue
        if missing := [name for name in needed if name not in columns]:
            came, expected = f"{path} without {', '.join(missing)}", f"the columns {', '.join(needed)}"
            yield Finding(f"lexical.judged.{key}", came, expected, "rename the columns")
