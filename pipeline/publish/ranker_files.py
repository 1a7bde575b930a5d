"""The folder of a re-ranker: read and checked, held against what a snapshot can give, and committed to its store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from blake3 import blake3
from pydantic import ValidationError

from foundation.errors import InputError
from foundation.identity import describe_parts, identity_of
from foundation.regular_files import IrregularFileError, OversizedFileError, read_regular
from lookup.rerank.features import FEATURES, attribute_of
from lookup.rerank.learned_on import differing_scores, with_terms
from lookup.rerank.models import VERSION, ranker_spec, ranker_types
from lookup.rerank.values import kind_of
from lookup.store.entries.ranker_record import RankerRecord, RankerSettings
from lookup.store.fields import FileRef
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.publish.snapshot import content_of

CONFIG = "config.json"
_MOST_BYTES = 256 << 20  # of a file
_FIX = "learn it: vitrine train rank -c CONFIG --judged QUERIES QRELS --out FOLDER; then set search.ranker to FOLDER"


def read_ranker(folder: str) -> tuple[RankerSettings, dict[str, bytes]]:
    """(its settings, its files by name); InputError where it is no re-ranker, of another version, or altered."""
    path = Path(folder).expanduser()
    raw = _read(path / CONFIG)
    try:
        settings = RankerSettings.model_validate_json(raw)
    except ValidationError as err:
        raise InputError(f"search.ranker: a re-ranker, as {CONFIG} tells it", f"{path}: {err}", _FIX) from err
    if settings.version != VERSION or (unknown := _unknown(settings)):
        came = f"{path}: version {settings.version}" if settings.version != VERSION else f"{path}: {', '.join(unknown)}"
        expected = f"a re-ranker of version {VERSION}, of a type and of features that this version of vitrine has"
        raise InputError(expected, came, _FIX)
    file = ranker_spec(settings.type).file
    model = _read(path / file)
    found = blake3(model).hexdigest()
    if found != settings.weights:
        expected = f"{path / file} as {CONFIG} has it, blake3 {settings.weights[:16]}"
        raise InputError(expected, f"blake3 {found[:16]}: the file was changed after it was learned", _FIX)
    return settings, {CONFIG: raw, file: model}


def refuse_other_scores(settings: RankerSettings, folder: str, scores: Mapping[str, str]) -> None:
    """InputError where the re-ranker sees scores of other models than those it was learned on; `scores` as
    `lookup.rerank.learned_on.score_parts` has them.
    """
    names = differing_scores(settings, scores)
    if names:
        raise InputError(
            f"the models whose scores {folder} was learned on: {describe_parts(names, settings.learned_on.scores)}",
            describe_parts(names, with_terms(scores, settings.features, settings.languages)),
            "learn it again: publish a snapshot without search.ranker, then vitrine train rank; or use those models",
        )


def lacking(settings: RankerSettings, attributes: Collection[str], types: Mapping[str, str]) -> list[str]:
    """What the re-ranker reads of products that a snapshot of these attributes, of these types, does not give."""
    found = [settings.title] if settings.title is not None and settings.title not in attributes else []
    for name, kind in settings.attributes.items():
        if name not in attributes:
            found.append(name)
        elif types.get(name) != "null" and kind_of(types.get(name, "string")) != kind:
            found.append(f"{name} as a {kind}, not {types.get(name, 'text')}")
    return found


def put_ranker(store: Store, folder: str) -> RankerRecord:
    """Commit the files of a re-ranker under `rankers/`, in a folder that their content names; also where they are there
    already: then they are young again, and no collection takes them.
    """
    settings, files = read_ranker(folder)
    identity = identity_of({name: blake3(raw).hexdigest() for name, raw in files.items()})
    refs = dict[str, FileRef]()
    with store.scratch() as scratch:
        for role, (name, raw) in zip(("config", "model"), files.items(), strict=True):
            (scratch / name).write_bytes(raw)
            refs[role] = store.put(scratch / name, f"rankers/{identity[:32]}/{name}", rows=0)
    return RankerRecord(identity=identity, settings=settings, files=refs)


def with_ranker(store: Store, manifest: Manifest, folder: str | None) -> Manifest:
    """`manifest` with the re-ranker of `folder`; None: as it is."""
    if folder is None:
        return manifest
    ranked = manifest.model_copy(update={"ranker": put_ranker(store, folder)})
    return ranked.model_copy(update={"content": content_of(ranked)})


def _unknown(settings: RankerSettings) -> list[str]:
    types = [] if settings.type in ranker_types() else [f"type {settings.type}"]
    features = settings.features
    return types + [one for one in features if one not in FEATURES and attribute_of(one) not in settings.attributes]


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except (OSError, IrregularFileError, OversizedFileError) as err:
        came = f"{path}: {err.strerror if isinstance(err, OSError) and err.strerror else err}"
        raise InputError("search.ranker: the folder of a re-ranker that was learned", came, _FIX) from err
