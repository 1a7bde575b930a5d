"""Queries by text alone, for tuning the indexes of products that have text and photo."""

from __future__ import annotations

from encoders.base import Vectors
from encoders.fusion.base import Fusion, StatesFusion
from index_builders.asked import Embed
from lookup.identity import identity_of
from pipeline.config import Config
from pipeline.embed import fusion_of


def text_queries(config: Config) -> Embed | None:
    """What makes queries of the text vectors in shards; None where nobody can ask by text alone, or rows are just that.

    That is with one tower, without `shards.towers`, with a fusion that uses one modality, and with one that reads
    states of tokens, which shards do not hold.
    """
    encoders = config.encoders
    if encoders.text_spec is None or encoders.image_spec is None:
        return None
    if not config.shards.towers or not config.index.text_queries:
        return None
    fusion: Fusion = fusion_of(config)
    if isinstance(fusion, StatesFusion) or fusion.uses != {"text", "image"}:
        return None

    def embed(text: Vectors) -> Vectors:
        return fusion.queries(text=text)

    return embed


def texts_identity(config: Config) -> str | None:
    """64 hex digits of what the queries of `text_queries` are made by; None where it makes none."""
    text = config.encoders.text_spec
    if text is None or text_queries(config) is None:
        return None
    return identity_of({"text": text.identity, "fusion": config.fusion_spec.identity})
