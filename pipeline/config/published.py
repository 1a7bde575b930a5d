"""How a config stands to a published snapshot: whether encoders and fusion are the same, what differs, and what the
snapshot has measured that a run goes on with.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from encoders.base import EncoderSpec
from encoders.fusion.base import LEFT_OUT, fusion_spec
from encoders.photos.golden import PIXELS
from foundation.identity import VERSION, describe_parts, differing
from lookup.identities import describe_differing
from lookup.store.manifest import (
    EncoderEntry,
    Manifest,
)
from lookup.store.store import Store
from pipeline.config.duplicates import DuplicatesConfig
from pipeline.config.encoding import photo_limits
from pipeline.config.sections import Embedding, RunSettings


def compared_models(embedding: Embedding, parent: Manifest) -> dict[str, tuple[Any, Any]]:
    """Encoders and fusion of both, as `_comparable` has them."""
    encoders, fusion = embedding.encoders, embedding.fusion
    fused = _Model(fusion.model_dump(mode="json"), fusion.identity, fusion.parts)
    models = _models(encoder_entry(encoders.text), encoder_entry(encoders.image), fused)
    published = _models(parent.text, parent.image, _Model(parent.fusion, parent.fusion_identity, parent.fusion_parts))
    return {name: _comparable(models[name], published[name]) for name in models}


class _Model(NamedTuple):
    """An encoder or a fusion, as far as it is known."""

    fields: dict[str, Any] | None
    identity: str | None
    parts: dict[str, str]


def _models(text: EncoderEntry | None, image: EncoderEntry | None, fusion: _Model) -> dict[str, _Model]:
    towers = {"text": text, "image": image}
    none = _Model(None, None, {})
    models = {n: _Model(e.fields, e.identity, e.parts) if e else none for n, e in towers.items()}
    return models | {"fusion": fusion}


def _comparable(mine: _Model, theirs: _Model) -> tuple[Any, Any]:
    """Two values that are equal exactly when the models are, and say how they differ when they are not.

    Fields may name places: a folder that moved is the same model, and equal fields may name another training. They
    decide only where an identity is not known: of fusions, before there were learned ones.
    """
    if mine.identity is None or theirs.identity is None:
        return mine.fields, theirs.fields
    if mine.identity != theirs.identity and mine.parts and theirs.parts:
        there, here = describe_differing(theirs.parts, mine.parts)
        return here, there
    if mine.identity == theirs.identity or mine.fields == theirs.fields:
        return f"identity {mine.identity[:16]}", f"identity {theirs.identity[:16]}"
    return mine.fields, theirs.fields


@dataclass(frozen=True)
class ReplacedModel:
    """An encoder or a fusion, `text`, `image` or `fusion`, that is another than the published snapshot's though the
    config names it as before. `differs` says in which part; `files` whether files of a model do, rather than versions
    alone.
    """

    name: str
    differs: str
    files: bool


def replaced_models(embedding: Embedding, parent: Manifest) -> list[ReplacedModel]:
    """The models that are others under the fields that they had. A fusion that measures first is another each time."""
    encoders, fusion = embedding.encoders, embedding.fusion
    mine: dict[str, _Model] = {}
    for name, spec in (("text", encoders.text), ("image", encoders.image)):
        if spec is not None:
            mine[name] = _Model(spec.model_dump(mode="json"), spec.identity, spec.parts)
    if not to_measure(embedding):
        mine["fusion"] = _Model(fusion.model_dump(mode="json"), fusion.identity, fusion.parts)
    theirs = _models(parent.text, parent.image, _Model(parent.fusion, parent.fusion_identity, parent.fusion_parts))
    pairs = ((name, theirs[name], model) for name, model in mine.items())
    return [found for name, before, now in pairs if (found := _replaced(name, before, now)) is not None]


def _replaced(name: str, before: _Model, now: _Model) -> ReplacedModel | None:
    if before.fields is None or now.fields is None or before.identity in (None, now.identity):
        return None
    if any(now.fields.get(key) != before.fields.get(key) for key in (*before.fields, *LEFT_OUT)):
        return None
    if not before.parts:  # of an earlier version
        there, here = f"identity {str(before.identity)[:16]}", f"identity {str(now.identity)[:16]}"
        return ReplacedModel(name, f"{here} instead of {there}", True)
    parts = differing(before.parts, now.parts)
    files = [part for part in parts if part != VERSION and not part.startswith(PIXELS)]
    told = files or parts
    differs = f"{describe_parts(told, now.parts)} instead of {describe_parts(told, before.parts)}"
    return ReplacedModel(name, differs, bool(files))


def encoder_entry(spec: EncoderSpec | None) -> EncoderEntry | None:
    """What a manifest says of an encoder."""
    if spec is None:
        return None
    fields = spec.model_dump(mode="json")
    return EncoderEntry(
        fields=fields,
        identity=spec.identity,
        dim=spec.dim,
        parts=spec.parts,
        about=spec.about(),
        members=tuple(one.dim for one in spec.joined),
        by_field=bool(spec.text_fields),
    )


def same_models(embedding: Embedding, parent: Manifest) -> bool:
    """Whether `embedding` embeds a product as the parent's were embedded."""
    return all(mine == theirs for mine, theirs in compared_models(embedding, parent).values())


def why_not_copied(embedding: Embedding, parent: Manifest) -> list[str]:
    """Why vectors that the parent's shards have, or might have, are of no use: for people, a line for each reason."""
    if embedding.fusion.reads_states:
        return [f"no vector is copied: {embedding.fusion.type} reads states, which shards do not keep"]
    config = parent.config
    if not config.get("shards", {}).get("towers", True):
        return ["no vector is copied: the snapshot before was made with shards.towers: false"]
    reasons, models = list[str](), compared_models(embedding, parent)
    for name, tower, published in (
        ("text", embedding.encoders.text, parent.text),
        ("image", embedding.encoders.image, parent.image),
    ):
        mine, theirs = models[name]
        if tower is not None and published is not None and mine != theirs:
            reasons.append(f"no vector of the {name} tower is copied, it is another one: {mine} instead of {theirs}")
    limits, before = asdict(photo_limits(embedding.catalog)), limits_of(parent)
    if embedding.encoders.image is not None and parent.image is not None and before != limits:
        reasons.append(f"no vector of photos is copied: their limits are {limits} instead of {before}")
    return reasons


def limits_of(parent: Manifest) -> dict[str, Any] | None:
    """The limits of photos of the run of a snapshot, as `asdict(PhotoLimits)` has them; None: unknown."""
    catalog = parent.config.get("catalog", {})
    keys = {"max_bytes": "max_photo_bytes", "max_pixels": "max_photo_pixels", "max_seconds": "max_photo_seconds"}
    known = {name: catalog.get(key) for name, key in keys.items()}
    return None if None in known.values() else known


def adopted(embedding: Embedding, parent: Manifest | None) -> Embedding:
    """`embedding` with what the parent has measured, where towers and fusion are the same; else as it is."""
    if parent is None or not to_measure(embedding):
        return embedding
    encoders = embedding.encoders
    towers = (encoders.text, parent.text), (encoders.image, parent.image)
    same = all((spec and spec.identity) == (entry and entry.identity) for spec, entry in towers)
    measured = measured_field(embedding)
    fields = {**embedding.fusion.model_dump(mode="json"), measured: parent.fusion.get(measured)}
    if not same or fields[measured] is None or fields != parent.fusion:
        return embedding
    fusion = fusion_spec(fields)
    if parent.fusion_identity not in (None, fusion.identity):  # another head, at the place that the fields name
        return embedding
    return replace(embedding, fusion=fusion)


def as_published(settings: RunSettings) -> RunSettings:
    """`settings` with what the store publishes `adopted`."""
    store = Store.at(settings.store)
    current = store.current()
    return settings.embedded_by(adopted(settings.embedding, store.manifest(current) if current else None))


def to_measure(embedding: Embedding) -> bool:
    """Whether a run of `embedding`, as it is, measures first."""
    fields = measured_field(embedding) == "text_missing" and embedding.fusion.text_missing is None
    return fields or embedding.fusion.measure_weight is not None


def measured_field(embedding: Embedding) -> str:
    """The field of the fusion that a run measures, where it measures: what stands in for a column of texts, or for a
    text or a photo. No fusion takes both: see encoders/fusion/load.py.
    """
    text = embedding.encoders.text
    return "text_missing" if text is not None and text.text_fields else "missing"


def duplicates_of(parent: Manifest) -> DuplicatesConfig | None:
    """Section `duplicates`, as the last run had it; None: nothing is looked for."""
    section = parent.config.get("duplicates")
    return None if section is None else DuplicatesConfig.model_validate(section)
