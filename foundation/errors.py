"""The errors that a user sees: each says what was expected, what came, and what to do.

They live in the lowest package so that every other one can raise them.
"""

from __future__ import annotations

from typing import Any


class VitrineError(Exception):
    """A failure with a message in three parts, and the exit code of the command that ends with it."""

    exit_code = 1

    def __init__(self, expected: str, came: str, fix: str) -> None:
        super().__init__(f"expected: {expected}\ncame: {came}\nto do: {fix}")
        self.expected = expected
        self.came = came
        self.fix = fix

    def __reduce__(self) -> tuple[type[VitrineError], tuple[Any, ...]]:
        # Exceptions cross process boundaries; the default reduce would call __init__ with one argument.
        return type(self), (self.expected, self.came, self.fix)


class InputError(VitrineError):
    """The config, the command line, the catalog or a query cannot be used as given."""

    exit_code = 2


class GateError(VitrineError):
    """A gate refused to publish; what was published stays."""

    exit_code = 3


class IntegrityError(VitrineError):
    """A published file is missing, cut, altered, or of a format this version cannot read."""

    exit_code = 4


class LockedError(VitrineError):
    """Another run is at the same, or published while this one worked."""

    exit_code = 5
