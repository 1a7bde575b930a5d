"""The errors that a user sees, for the packages above `encoders` (see encoders/errors.py and encoders/machine.py)."""

from encoders.errors import GateError, InputError, IntegrityError, LockedError, VitrineError
from encoders.machine import machine_fault

__all__ = ["GateError", "InputError", "IntegrityError", "LockedError", "VitrineError", "machine_fault"]
