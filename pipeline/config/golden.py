"""The `golden:` section of the config: queries that somebody answered by hand."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.section import Count, Name, Section


class GoldenConfig(Section):
    """Queries that have to find their products before anything is published."""

    path: Name | None = Field(
        None,
        description="YAML or Parquet file of golden queries: text, image, category, k, expect; relative to the current "
        "directory; `golden: FILE` in short; null: none",
    )
    k: Count = Field(10, description="hits of which one has to be a product that is expected")
