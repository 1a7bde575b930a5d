"""What scores depend on, part by part: a re-ranker that reads them belongs to the models that gave them."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.photos.golden import PIXELS
from lookup.rerank.features import needs
from lookup.store.manifest import EncoderEntry, Manifest
from lookup.store.ranker_record import RankerSettings

_MEASURED = "missing"  # of a fusion: what a run measures anew, which changes no scale


def score_parts(
    text: EncoderEntry | None, image: EncoderEntry | None, fusion: Mapping[str, str], metric: str, lexical: str | None
) -> dict[str, str]:
    """Part -> value, of encoders, of a fusion by its parts, the metric, and the identity of the lexical half."""
    parts = {"metric": metric, "lexical half": lexical or "none"}
    for name, entry in (("text encoder", text), ("image encoder", image)):
        if entry is None:
            parts[name] = "none"
            continue
        own = {key: value for key, value in entry.parts.items() if name != "text encoder" or not key.startswith(PIXELS)}
        parts |= {f"{name}: {key}": value for key, value in (own or {"identity": entry.identity}).items()}
    return parts | {f"fusion: {key}": value for key, value in fusion.items() if key != _MEASURED}


def parts_of_snapshot(manifest: Manifest) -> dict[str, str]:
    """`score_parts` of a snapshot."""
    fusion = manifest.fusion_parts or {key: str(value) for key, value in manifest.fusion.items()}
    return score_parts(manifest.text, manifest.image, fusion, manifest.metric, lexical_identity(manifest))


def lexical_identity(manifest: Manifest) -> str | None:
    """What decides the scores of words in a snapshot; None without a lexical half."""
    return None


def differing_scores(settings: RankerSettings, parts: Mapping[str, str]) -> list[str]:
    """The parts that are others than where the re-ranker was learned, of those that its features depend on."""
    before = settings.learned_on.scores
    names = [name for name in {**before, **parts} if before.get(name) != parts.get(name)]
    dense, lexical = (needs(settings.features, of, "score") for of in ("dense", "lexical"))
    return [name for name in names if (lexical if name == "lexical half" else dense)]
