"""Which index a partition keeps, and whose training a new one is offered: what `index.retrain` means for a run.

An index is named by its content: segments and settings. One that may have the training of the parent's index is named
by that training too, since its bytes depend on it. Its record remembers the content, so that an unchanged partition
keeps it, whatever `index.retrain` says by then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from index_builders.build import index_name
from index_builders.choose.training_reuse import offered_name, why_anew
from lookup.store.index_record import UNDECIDED, IndexRecord
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.build.index_files import Located, Offer, reusable_index
from pipeline.build.tower_queries import tower_queries_identity
from pipeline.config.published import same_models
from pipeline.config.sections import Indexing

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The index that a partition shall have; `offer` is None where it stands whole already."""

    name: str
    offer: Offer | None


class Retraining:
    """What a run knows of the parent snapshot's indexes."""

    def __init__(self, store: Store, indexing: Indexing, dim: int, parent: Manifest | None) -> None:
        self.store, self.settings, self.dim = store, indexing.index, dim
        self.texts = tower_queries_identity(indexing)
        self.parents = {entry.name: entry.index for entry in parent.partitions} if parent else {}
        self.comparable = parent is not None and same_models(indexing.embedding, parent)

    def wanted(self, partition: str, located: Sequence[Located]) -> Wanted:
        """The index of a partition of these segments."""
        rows = sum(segment.rows for _, segment, *_ in located)
        identity = self.settings.identity(rows, self.dim, self.texts)
        content = index_name([segment.digest for _, segment, *_ in located], identity)
        parent = self.parents.get(partition)
        unchanged = parent is not None and _content(parent) == content
        for name in [parent.name, content] if parent is not None and unchanged else [content]:
            if reusable_index(self.store, name) is not None:
                return Wanted(name, None)
        reason = self._why_anew(parent, rows, unchanged)
        if parent is None or reason is not None:
            return Wanted(content, Offer(content=content, texts=self.texts, reason=reason or "", parent=None))
        name = offered_name(content, parent, self.settings)
        if reusable_index(self.store, name) is not None:
            return Wanted(name, None)
        return Wanted(name, Offer(content=content, texts=self.texts, reason="", parent=parent))

    def _why_anew(self, parent: IndexRecord | None, rows: int, unchanged: bool) -> str | None:
        """Why the parent's training is not offered; None: it is."""
        if self.settings.retrain == "always":
            return UNDECIDED
        if parent is not None and unchanged and not (parent.training and parent.training.reused):
            return "the parent's index of the same rows is damaged; it was trained on these rows, and is again"
        if parent is not None and not self.comparable:
            return "the parent's rows were embedded by other encoders or another fusion"
        reason = why_anew(parent, self.settings, rows, self.dim, self.texts)
        if reason is None and parent is not None and not self.store.stands(parent.files["index"]):
            reason = f"the parent's index is damaged: {parent.files['index'].path} is not as it was written"
            _log.warning("%s; trained anew", reason)
        return reason


def _content(index: IndexRecord) -> str:
    """The name that an index of these rows and settings has when it is trained on them."""
    return index.name if index.training is None else index.training.content
