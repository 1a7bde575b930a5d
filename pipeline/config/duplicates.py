"""The `duplicates:` section of the config: which products of a partition count as one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lookup.store.entries.duplicates_record import ANY
from pipeline.config.section import Count, Name, Section, Switch


class DuplicatesConfig(Section):
    """Near-duplicates, found when indexes are built, for searches that show one of each group."""

    photo: Switch = Field(True, description="products of equal photos, by what tells photos apart, are one group")
    near: Annotated[float, Field(ge=0.5, le=1)] | None = Field(
        None,
        description="cosine of embeddings from which on their products are one group, such as 0.98; null: none",
    )
    group: Name | None = Field(
        None, description="attribute whose equal values make a group, such as item_group_id; null: none"
    )
    told: Count = Field(20, description="products of one group beyond which the run says so")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of groups that are looked for, and `ANY` of them together."""
        said = {"photo": self.photo, "near": self.near is not None, "group": self.group is not None}
        return frozenset([ANY, *(kind for kind, wanted in said.items() if wanted)])
