"""Why a row was rejected, or indexed with one modality fewer: the codes that shards, manifests and reports use."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """A reject's reason. Codes are part of the store's format: add, never rename."""

    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    INVALID_TEXT = "invalid_text"
    INVALID_NUMBER = "invalid_number"
    NO_MODALITY = "no_modality"
    ROW_TOO_LARGE = "row_too_large"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_UNDECODABLE = "image_undecodable"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SLOW = "image_too_slow"
    IMAGE_FORBIDDEN = "image_forbidden"
    IMAGE_CHANGED = "image_changed"
    IMAGE_UNAVAILABLE = "image_unavailable"
    ENCODER_FAILED = "encoder_failed"
    NONFINITE_EMBEDDING = "nonfinite_embedding"

    @property
    def fix(self) -> str:
        """What a shop does about such rows."""
        return _FIXES[self]


_FIXES = {
    Reason.MISSING_ID: "give each product an id in the export, or name its column: catalog.columns.id=...",
    Reason.DUPLICATE_ID: "export each product once; of rows with one id the first is kept",
    Reason.INVALID_TEXT: "write the export in UTF-8, its texts without markup",
    Reason.INVALID_NUMBER: "write ids and categories as text or as integers",
    Reason.NO_MODALITY: "give the row a text or a photo, or name their columns: catalog.text, catalog.image",
    Reason.ROW_TOO_LARGE: "shorten its texts, give photos as files, or raise catalog.max_row_bytes",
    Reason.IMAGE_NOT_FOUND: "put the photos where their paths or URLs lead, or correct catalog.image_root",
    Reason.IMAGE_UNDECODABLE: "save the photo again as JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF",
    Reason.IMAGE_TOO_LARGE: "make the photo smaller, or raise catalog.max_photo_bytes or catalog.max_photo_pixels",
    Reason.IMAGE_TOO_SLOW: "save the photo again, or raise catalog.max_photo_seconds",
    Reason.IMAGE_FORBIDDEN: "name a file below catalog.image_root that this user may read, or a host's URL that "
    "catalog.photo_hosts allows, and catalog.photo_networks where its address is private",
    Reason.IMAGE_CHANGED: "run again: it is read anew; put photos in place before the run, or write and rename them",
    Reason.IMAGE_UNAVAILABLE: "run again once its host answers; see how it fails, and catalog.photo_patience",
    Reason.ENCODER_FAILED: "see log.txt for what the encoder said of the row, and correct its text or photo",
    Reason.NONFINITE_EMBEDDING: "use encoders.text.precision=fp32, or weights that give numbers for such a row",
}


def fix_of(code: str) -> str:
    """What to do about rows with this reason; empty for one that another version knew."""
    return Reason(code).fix if code in set(Reason) else ""


def fix_of_most(counts: Mapping[str, int]) -> str:
    """What to do about the reason that most rows have."""
    return fix_of(min(counts, key=lambda code: (-counts[code], code), default=""))
