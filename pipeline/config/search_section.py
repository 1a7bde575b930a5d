"""The section `search` of the config: what searches of a snapshot do where a query does not say otherwise."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.section import Name, Section


class SearchConfig(Section):
    """What searches of a snapshot do where a query does not say otherwise."""

    ranker: Name | None = Field(
        None,
        description="folder of a re-ranker that `vitrine train rank` learned, relative to the current directory: it "
        "puts the first hits in its order; null: none",
    )
