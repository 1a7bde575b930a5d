"""Which modules of a package are types, for the packages above `encoders` (see encoders/named_types.py)."""

from encoders.named_types import types_in

__all__ = ["types_in"]
