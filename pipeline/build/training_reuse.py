"""Which index a partition keeps, and whose training a new one is offered: what `index.retrain` means for a run.

What an index is made of, its inputs, are segments and settings; of one that may have the training of the parent's index
that training too, since its bytes depend on it. Its record remembers what its inputs are without that, so that an
unchanged partition keeps it, whatever `index.retrain` says by then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from index_builders.build import index_inputs
from index_builders.choose.training_reuse import offered_inputs, why_anew
from lookup.store.entries.index_record import UNDECIDED, IndexRecord
from lookup.store.manifest import Manifest
from lookup.store.segment_table import PartitionSegments
from lookup.store.store import Store
from pipeline.build.index_files import restored_index, reusable_index
from pipeline.build.task_files import TrainingOffer
from pipeline.build.tower_queries import tower_queries_identity
from pipeline.config.published import same_models
from pipeline.config.sections import Indexing

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToBuild:
    """An index that does not stand: its inputs, and the training that it may have."""

    inputs: str
    offer: TrainingOffer


class Retraining:
    """What a run knows of the parent snapshot's indexes."""

    def __init__(self, store: Store, indexing: Indexing, dim: int, parent: Manifest | None) -> None:
        self.store, self.settings, self.dim = store, indexing.index, dim
        self.texts = tower_queries_identity(indexing)
        self.parents = {entry.name: entry.index for entry in parent.partitions} if parent else {}
        self.comparable = parent is not None and same_models(indexing.embedding, parent)

    def wanted(self, partition: str, segments: PartitionSegments) -> IndexRecord | ToBuild:
        """The index of a partition of these segments: where it did not change the parent's, else any of its inputs."""
        rows = segments.total
        content = index_inputs(segments.digests, self.settings.identity(rows, self.dim, self.texts))
        parent = self.parents.get(partition)
        unchanged = parent is not None and _content(parent) == content
        record = restored_index(self.store, parent) if parent is not None and unchanged else None
        record = record or reusable_index(self.store, content)
        if record is not None:
            return record
        reason = self._why_anew(parent, rows, unchanged)
        if parent is None or reason is not None:
            return ToBuild(content, TrainingOffer(content=content, texts=self.texts, reason=reason or "", parent=None))
        inputs = offered_inputs(content, parent, self.settings)
        record = reusable_index(self.store, inputs)
        if record is not None:
            return record
        return ToBuild(inputs, TrainingOffer(content=content, texts=self.texts, reason="", parent=parent))

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
    """The inputs that an index of these rows and settings has when it is trained on them."""
    return index.inputs if index.training is None else index.training.content
