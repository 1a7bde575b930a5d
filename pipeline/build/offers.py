"""What the task of an index says of its training, and what its record then does."""

from __future__ import annotations

from foundation.errors import IntegrityError
from index_builders.base import builder_spec
from index_builders.build import BuiltIndex
from index_builders.choose.training_reuse import Earlier, learned_under
from index_builders.settings import IndexSettings
from lookup.store.digests import differs
from lookup.store.fields import Record
from lookup.store.index_record import IndexRecord, Training
from lookup.store.store import Store


class Offer(Record):
    """The training that an index may have: that of `parent`, an index of the parent snapshot, or None."""

    content: str  # the name of the index when it is trained on its own rows
    texts: str | None  # see IndexSettings.identity
    reason: str  # why nothing is offered
    parent: IndexRecord | None


def earlier(store: Store, offer: Offer) -> Earlier | None:
    """The training that is offered; IntegrityError where its file is damaged: no damage is passed over in silence."""
    if offer.parent is None:
        return None
    file = offer.parent.files["index"]
    path = store.local(file)
    problem = differs(path, file)
    if path is None or problem is not None:
        asked = (
            f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}, whose training index.retrain: auto takes"
        )
        fix = "restore the file from a backup, or run once with index.retrain=always, which trains anew without it"
        raise IntegrityError(asked, problem or "no such file", fix)
    return Earlier(path, offer.parent)


def training(name: str, offer: Offer, built: BuiltIndex, settings: IndexSettings) -> Training:
    """What the record of index `name` says of its training."""
    learned, trained_by = built.learned, name
    if learned.reused and offer.parent is not None and offer.parent.training is not None:
        trained_by = offer.parent.training.trained_by
    return Training(
        content=offer.content,
        settings=learned_under(settings, offer.texts, builder_spec({"type": built.type, **built.parameters})),
        trained_by=trained_by,
        reused=learned.reused,
        reason=learned.reason or offer.reason,
        then=learned.then,
        now=learned.now,
    )
