"""Sizes in bytes as a config says them: 10485760, 10MB, 10 MiB, 1.5GB.

Not pydantic's ByteSize (2.14), which reads as much of a text as it understands: `1,000` as one byte, `4GB each` as 4GB.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def parse_bytes(value: Any) -> int:
    """Bytes: a whole number, or words as KB, MB, GB, TB (by 1,000) and KiB to TiB (by 1,024), in capitals or not.

    PydanticCustomError for what is no size, and for a fraction of a byte.
    """
    if isinstance(value, float) and value.is_integer():  # YAML's 2e9
        value = int(value)
    said = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None  # True is no digit
    unit = None if said is None else _UNITS.get(said[2].lower())
    size = None if said is None or unit is None else Fraction(said[1]) * unit
    if size is None or size.denominator != 1:
        raise PydanticCustomError("byte_size", "a size, such as 4GB or 800MB")
    return int(size)


Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(ge=1)]
