"""The section `search` of the config: what searches of a snapshot do where a query does not say otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from lookup.store.entries.understand_settings import UnderstandSettings
from pipeline.config.section import Name, Section
from pipeline.config.yaml_files import Problem, shown


class SearchConfig(Section):
    """What searches of a snapshot do where a query does not say otherwise."""

    ranker: Name | None = Field(
        None,
        description="folder of a re-ranker that `vitrine train rank` learned, relative to the current directory: it "
        "puts the first hits in its order; null: none",
    )
    understand: UnderstandSettings = Field(
        UnderstandSettings(), description="what a query's text says beside what it looks for"
    )


def understood_problems(section: Any, attributes: Sequence[str]) -> list[Problem]:
    """Attributes that queries could not name: none of the catalog's. The section is as it was written."""
    understand = section.get("understand") if isinstance(section, dict) else None
    if not isinstance(understand, dict):
        return []
    listed = understand.get("attributes")
    named = {"attributes": [one for one in listed if isinstance(one, str)] if isinstance(listed, list | tuple) else []}
    for key in ("price", "rating"):
        named[key] = [understand[key]] if isinstance(understand.get(key), str) else []
    problems = []
    for key, names in named.items():
        if unknown := [name for name in names if name not in attributes]:
            expected = "columns of catalog.attributes, because hits have no others"
            fix = f"add to catalog.attributes: {', '.join(unknown)}"
            problems.append(Problem(f"search.understand.{key}", shown(unknown), expected, fix))
    return problems
