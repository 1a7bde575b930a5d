"""What is recorded of one partition's index: its files, how it was chosen and trained, and its measured quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import model_validator

from foundation.identity import identity_of
from lookup.store.fields import FileRef, NamedRecord, Record


class CurvePoint(Record):
    """One measured setting of an index: recall@k in 0..1, what it costs by count (see measure/cost.py), and
    milliseconds per query with one thread.
    """

    nprobe: int
    refine_factor: int = 0
    recall: float
    cost_us: float = 0.0
    ms: float


class Considered(Record):
    """An index that was weighed for a partition: its cheapest setting that reaches the target recall, or its best.

    `rows` is how many rows it was built of: all of the partition's, or of a sample. Bytes are per vector: of the FAISS
    file, and of that with the refine vectors. `verdict` says why it was taken or passed over.
    """

    type: str
    parameters: dict[str, Any]
    rows: int
    nprobe: int
    refine_factor: int
    recall: float
    cost_us: float
    memory_bytes: float
    disk_bytes: float
    verdict: str


class Proof(Record):
    """What was looked at in the files as readers open them, after every count was found right."""

    recall_low: float  # the 95% bootstrap interval of recall@k over the held-out queries
    recall_high: float
    found_itself: int  # sampled rows that were asked for, and found among the first hits
    imbalance: float | None  # of the lists: nlist * sum(size^2) / rows^2, 1 when all are equal; None: no lists
    score_error: float  # root mean square of (the score by which candidates are found - the true score)
    reconstruction_error: float | None  # mean |x - decoded x|^2 / |x|^2; None: FAISS does not decode this type
    memory_bytes: float  # per vector: the FAISS file
    disk_bytes: float  # per vector: the FAISS file and the refine vectors


class KindRecall(Record):
    """recall@k of one kind of queries, `row` or `text`, with the 95% bootstrap interval of its mean."""

    kind: str
    queries: int
    recall: float
    low: float
    high: float


class TrainingFigures(Record):
    """How well centroids and codes that were learned fit the rows of an index."""

    rows: int
    assignment_error: float  # mean |x - c|^2 of rows drawn from all, c the centroid of the list that x is in
    imbalance: float  # of the lists, see Proof
    nprobe: int  # the setting that the index was tuned to when it was trained, at which `recall` is measured
    refine_factor: int
    recall: float


UNDECIDED = "index.retrain: always"  # the `reason` of a training where nothing was to be decided


class Training(Record):
    """Whose rows an index was learned from, and why: see index_builders/choose/training_reuse.py."""

    content: str  # the inputs of the index of these rows and settings when it is trained on its own rows
    settings: str  # 64 hex digits: of what decides a training, and under `type: auto` the choice
    trained_by: str  # the inputs of the index whose rows it was learned from; its own, unless `reused`
    reused: bool
    reason: str  # the bound that decided, or that there was nothing to decide
    then: TrainingFigures | None  # of `trained_by` when it was trained; None: nothing is learned
    now: TrainingFigures | None  # of this index; those of `then`, unless `reused`


class IndexRecord(NamedRecord):
    """One partition's index and its measured quality: written beside the index as its last file."""

    # Fields that came later: a record without them is one of an index that is kept.
    later: ClassVar[frozenset[str]] = frozenset({"recalls", "training", "made_of", "note", "faiss", "inputs"})

    inputs: str  # 64 hex digits of what decides it: segments, settings, the training on offer
    type: str
    parameters: dict[str, Any]
    metric: str
    dim: int
    rows: int
    files: dict[str, FileRef]  # role (index, ids, refine, refine_range) -> file
    nprobe: int  # how widely to search, see lookup.index.partition_index.PartitionIndex.widest; 0: the index is exact
    refine_factor: int  # candidates per hit that are re-ranked with the refine vectors; 0: none
    k: int  # the k of recall@k
    recall: float  # where more than one kind of queries was asked, of the kind that has the least
    recall_queries: int
    curve: tuple[CurvePoint, ...]
    p50_ms: float
    p99_ms: float
    train_rows: int
    build_seconds: float  # to build, check and measure it; of one built as parts the sum over all steps
    proof: Proof | None = None  # None: an index of an earlier version
    considered: tuple[Considered, ...] = ()
    recalls: tuple[KindRecall, ...] = ()  # of every kind of queries, the least first; empty: of rows alone
    training: Training | None = None  # None: an index of an earlier version
    made_of: str | None = None  # see `made_of`; None: an index of an earlier version
    note: str = ""  # why it is not of the type, or has not the lists, that the settings ask for
    faiss: str = ""  # the version that built it, for people: another may give other bytes; empty: of an earlier version

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, fields: Any) -> Any:
        """These named an index by its inputs."""
        return {"inputs": fields.get("name"), **fields} if isinstance(fields, dict) else fields

    @property
    def exact(self) -> bool:
        """Whether a search compares every row: its recall is 1 by construction, and nothing of it is measured."""
        return not self.nprobe and self.recall >= 1


def made_of(segments: Sequence[str]) -> str:
    """64 hex digits of the digests of segments, in order: what an index was made of."""
    return identity_of({"segments": list(segments)})


def describe_training(index: IndexRecord) -> str:
    """Whose training an index has, and what decided; empty where nothing is learned, or nothing was decided."""
    training = index.training
    if training is None or training.then is None or training.reason in ("", UNDECIDED):
        return ""
    return f"{'training used again' if training.reused else 'trained on its own rows'}: {training.reason}"
