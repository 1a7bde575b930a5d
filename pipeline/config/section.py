"""What sections of the config are made of: their base, and the types of values that several have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
NotNegative = Annotated[float, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(gt=0, le=86_400, strict=True)]
Name = Annotated[str, Field(min_length=1)]
Switch = Annotated[bool, Field(strict=True)]


class Section(BaseModel):
    """A frozen part of the config that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def listed(value: object) -> object:
    """A value that may stand for a list of one."""
    return [value] if isinstance(value, str) else value


def words(value: object) -> object:
    """The same of words; ValueError for what YAML made numbers or null of."""
    found = listed(value)
    if isinstance(found, list) and not all(isinstance(one, str) for one in found):
        raise ValueError('words in quotes, as ["null", "nan"], because YAML reads null and 0 otherwise')
    return found
