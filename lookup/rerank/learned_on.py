"""What scores depend on, part by part: a re-ranker that reads them belongs to the models that gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from encoders.photos.golden import PIXELS
from foundation.identity import identity_of
from lookup.lexical.analysis import Analysis
from lookup.rerank.features import needs
from lookup.store.entries.lexical_record import LexicalEntry
from lookup.store.entries.ranker_record import RankerSettings
from lookup.store.manifest import EncoderEntry, Manifest

_MEASURED = "missing"  # of a fusion: what a run measures anew, which changes no scale
_HALF, WEIGHT, _SCALE, _TERMS = "lexical half", "lexical weight", "scale of both halves", "terms of titles"
_PERFECT = "perfect match"  # changed with what halves.py makes of both


def score_parts(
    text: EncoderEntry | None,
    image: EncoderEntry | None,
    fusion: Mapping[str, str],
    metric: str,
    lexical: LexicalEntry | None,
) -> dict[str, str]:
    """Part -> value, of encoders, of a fusion by its parts, the metric, and the lexical half with its weight."""
    parts = {"metric": metric, **_lexical_parts(lexical)}
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
    return score_parts(manifest.text, manifest.image, fusion, manifest.metric, manifest.lexical)


def with_terms(parts: Mapping[str, str], features: Sequence[str], languages: Sequence[str]) -> dict[str, str]:
    """The parts, and what words of titles become on this host, by its stemmer, where `features` see words."""
    if not needs(features, "words"):
        return dict(parts)
    return {**parts, _TERMS: Analysis(languages=tuple(languages)).identity}


def differing_scores(settings: RankerSettings, parts: Mapping[str, str]) -> list[str]:
    """The parts that are others than where the re-ranker was learned; of scores none where its features are of none.
    Without one of both halves together the weight of words and their scale do not count.
    """
    before, parts = settings.learned_on.scores, with_terms(parts, settings.features, settings.languages)
    names = [name for name in {**before, **parts} if before.get(name) != parts.get(name)]
    if not needs(settings.features, "dense", "lexical", "score"):
        return [name for name in names if name == _TERMS]
    return [name for name in names if name not in (WEIGHT, _SCALE) or needs(settings.features, "score")]


def _lexical_parts(entry: LexicalEntry | None) -> dict[str, str]:
    if entry is None:
        return {_HALF: "none", WEIGHT: "none"}
    words = Analysis(**entry.analysis)
    decides = {"fields": entry.fields, "analysis": words.identity, "queries": [words.stop_words, words.synonyms]}
    return {_HALF: identity_of(decides), WEIGHT: f"{entry.weight:g}", _SCALE: _PERFECT}
