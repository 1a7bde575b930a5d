"""What of a config decides embeddings: its towers, its fusion, the limits on photos; and the identity of all that."""

from __future__ import annotations

from dataclasses import asdict

from encoders.fusion.base import Fusion
from encoders.fusion.load import load_fusion
from encoders.models.folders import changed_model
from encoders.photos.decode import PhotoLimits
from encoders.towers import Tower
from foundation.identity import identity_of
from index_builders.rows.shards import FORMAT
from pipeline.config.sections import CatalogConfig, Embedding


def tower_dims(embedding: Embedding) -> tuple[int | None, int | None]:
    """Lengths of the text and the image tower's vectors; None for a tower that is absent."""
    text, image = embedding.encoders.text, embedding.encoders.image
    return text.dim if text else None, image.dim if image else None


def towers(embedding: Embedding) -> tuple[Tower | None, Tower | None]:
    """What a fusion may know of the text and the image encoder; None for a tower that is absent."""
    return Tower.of(embedding.encoders.text, "text"), Tower.of(embedding.encoders.image, "image")


def fusion_of(embedding: Embedding) -> Fusion:
    """The live fusion, once per process; InputError when it does not fit the towers."""
    return load_fusion(embedding.fusion, *towers(embedding), embedding.encoders.device)


def photo_limits(settings: CatalogConfig) -> PhotoLimits:
    """What one photo may cost."""
    return PhotoLimits(settings.max_photo_bytes, settings.max_photo_pixels, settings.max_photo_seconds)


def encoding_identity(embedding: Embedding) -> str:
    """64 hex digits of everything but the rows that decides a shard's bytes."""
    encoders, searched = embedding.encoders, embedding.catalog.searched
    return identity_of(
        {
            **({"searched": searched} if searched else {}),
            "format": FORMAT,
            "text": encoders.text.identity if encoders.text else None,
            "image": encoders.image.identity if encoders.image else None,
            "fusion": embedding.fusion.identity,
            "towers": embedding.shards.towers,
            "photo_limits": asdict(photo_limits(embedding.catalog)),
        }
    )


def refuse_other_models(embedding: Embedding, encoding: str) -> None:
    """VitrineError when the encoders and the fusion are not those that `encoding` was told of any more."""
    if encoding_identity(embedding) != encoding:
        raise changed_model("a model of encoders or fusion, which the plan saw,")
