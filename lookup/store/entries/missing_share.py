"""How products without a photo, or without a text, fare among hits: what a manifest says of it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class MissingShare(BaseModel):
    """Of queries of one `kind`, `text` or `photo`, the share of products that lack the other modality among the first
    ten hits by the fused embedding, and among those by the one tower, over `rows` of the snapshot that have it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    queries: int
    rows: int
    lacking: int  # of the rows
    share: float
    own: float  # under the tower alone
