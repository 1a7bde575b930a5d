"""Queries by text alone and by photo alone, for tuning the indexes of products that have both."""

from __future__ import annotations

from encoders.base import Vectors
from encoders.fusion.base import Fusion, StatesFusion
from index_builders.asked import PHOTO, TEXT, Embed
from lookup.identity import identity_of
from pipeline.config import Config
from pipeline.embed import fusion_of


def tower_queries(config: Config) -> Embed | None:
    """What makes queries of the towers' vectors in shards; None where nobody can ask by one alone, or rows are just
    that.

    That is with one tower, without `shards.towers`, with a fusion that uses one modality, and with one that reads
    states of tokens, which shards do not hold.
    """
    encoders, index = config.encoders, config.index
    if encoders.text_spec is None or encoders.image_spec is None:
        return None
    if not config.shards.towers or not (index.text_queries or index.photo_queries):
        return None
    fusion: Fusion = fusion_of(config)
    if isinstance(fusion, StatesFusion) or fusion.uses != {"text", "image"}:
        return None

    def by_text(vectors: Vectors) -> Vectors:
        return fusion.queries(text=vectors)

    def by_photo(vectors: Vectors) -> Vectors:
        return fusion.queries(image=vectors)

    wanted = ((TEXT, by_text, index.text_queries), (PHOTO, by_photo, index.photo_queries))
    return {kind: embed for kind, embed, asked in wanted if asked}


def tower_queries_identity(config: Config) -> str | None:
    """64 hex digits of what the queries of `tower_queries` are made by; None where it makes none."""
    embed, (text, image) = tower_queries(config), (config.encoders.text_spec, config.encoders.image_spec)
    if embed is None or text is None or image is None:
        return None
    towers = {kind: spec.identity for kind, spec in ((TEXT, text), (PHOTO, image)) if kind in embed}
    return identity_of({**towers, "fusion": config.fusion_spec.identity})
