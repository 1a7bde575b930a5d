"""The digest of settings, for the packages above `encoders` (see encoders/identity.py)."""

from encoders.identity import identity_of

__all__ = ["identity_of"]
