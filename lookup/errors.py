"""The errors that a user sees, for the packages above `encoders` (see encoders/errors.py)."""

from encoders.errors import GateError, InputError, IntegrityError, LockedError, VitrineError

__all__ = ["GateError", "InputError", "IntegrityError", "LockedError", "VitrineError"]
