"""What searches make of a query's words, as a snapshot's config says: section `search.understand`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["filter", "boost", "off"]
Name = Annotated[str, Field(min_length=1)]


class UnderstandSettings(BaseModel):
    """What a search makes of bounds, values and negations that its query names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    always: Annotated[bool, Field(strict=True)] = Field(
        False, description="understand every query that does not say otherwise; false: only those that ask for it"
    )
    prices: Action = Field(
        "filter",
        description="bounds of prices, as in `under 20 euros` or `20元以下`: filter, boost or off; of a bound that is "
        "written out a shopper wants nothing beyond",
    )
    price: Name | None = Field(
        None,
        description="attribute that they bound; null: the first of catalog.prices, where there is one",
    )
    ratings: Action = Field("filter", description="likewise of ratings, as in `4 stars and up` or `四星以上`")
    rating: Name | None = Field(
        None, description="attribute that they bound; null: `rating`, `average_rating` or `stars`, if it is a number"
    )
    values: Action = Field(
        "boost",
        description="values of attributes, as a brand, a colour or `size 42`; products that are meant may lack them",
    )
    negations: Action = Field(
        "filter",
        description="values that are not wanted, as in `not leather` or `不要皮革`; products without a value stay",
    )
    attributes: tuple[Name, ...] | None = Field(
        None,
        description="attributes whose values are looked for in queries; null: texts that are no titles, of which one "
        "value is that of two products or more on average",
    )
    categories: Literal["auto", "off"] = Field(
        "off",
        description="auto: of 16 categories and more the likely ones are searched, where a run has measured that the "
        "first 10 hits stay, 98 of 100; off: all",
    )
    unsearched: Annotated[float, Field(gt=0, lt=1, strict=True)] = Field(
        0.02, description="how likely the categories together may be that are not searched"
    )
    boost: Annotated[float, Field(ge=0, strict=True)] = Field(
        0.05, description="what a product's score gains for each value or bound that it meets, where they are boosts"
    )


def settings_of(config: Mapping[str, Any]) -> UnderstandSettings:
    """Those of a snapshot's config; the defaults where it is of before there were any."""
    return UnderstandSettings.model_validate((config.get("search") or {}).get("understand") or {})
