"""Why a row was rejected, or indexed with one modality fewer: the codes that shards, manifests and reports use."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reject's reason. Codes are part of the store's format: add, never rename."""

    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    INVALID_TEXT = "invalid_text"
    NO_MODALITY = "no_modality"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_UNDECODABLE = "image_undecodable"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SLOW = "image_too_slow"
    IMAGE_FORBIDDEN = "image_forbidden"
    ENCODER_FAILED = "encoder_failed"
    NONFINITE_EMBEDDING = "nonfinite_embedding"
