"""The lexical index of each partition: which stands, which has to be built, and its files in the store.

It is named like the index of embeddings beside it. Its inputs are the texts of its segments, which fields these are,
and how texts become terms; weights of fields, synonyms and stop words act on queries, and build nothing.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.regular_files import read_regular
from index_builders.lexical.build import build_lexical
from index_builders.rows.texts import text_blocks
from lookup.lexical.analysis import Analysis
from lookup.lexical.files import FORMAT
from lookup.store.entries.index_record import made_of
from lookup.store.entries.lexical_record import LexicalEntry, LexicalRecord
from lookup.store.manifest import Manifest
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.segment_table import PartitionSegments
from lookup.store.store import Store
from pipeline.build.index_files import Made, made_path, pointed_index, put_files, record_path
from pipeline.build.task_files import opened, shards_of_run
from pipeline.config.lexical import AUTO, HALF, LexicalConfig

_MOST_BYTES = 10_000_000  # of a file of synonyms


class LexicalTask(NamedTuple):
    """One partition's lexical index to build, of the shards that a file of the run names."""

    number: int
    partition: str
    inputs: str
    shards: str


def analysis_of(settings: LexicalConfig, synonyms: str = "") -> Analysis:
    """How texts become terms; `synonyms`, the content of their file, act on queries alone. InputError for a language
    that nobody stems, or a line that is no synonym.
    """
    try:
        return Analysis(languages=settings.languages, stop_words=settings.stop_words, synonyms=synonyms)
    except ValueError as err:
        said = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in err.errors())  # type: ignore[attr-defined]
        raise InputError("lexical.languages and lexical.synonyms that can be used", said, "correct them") from err


def query_analysis(settings: LexicalConfig) -> Analysis:
    """The same with the synonyms, as queries use it; InputError where their file cannot be read."""
    if settings.synonyms is None:
        return analysis_of(settings)
    try:
        content = read_regular(settings.synonyms, _MOST_BYTES).decode()
    except (OSError, ValueError) as err:
        came = f"{settings.synonyms}: {getattr(err, 'strerror', None) or err}"
        raise InputError("lexical.synonyms, a text file in UTF-8", came, "correct the path, or the file") from err
    return analysis_of(settings, content)


def lexical_entry(settings: LexicalConfig | None) -> LexicalEntry | None:
    """How queries are answered by words, before the weight is tuned; None: they are not."""
    if settings is None:
        return None
    weight = HALF if settings.weight == AUTO else float(settings.weight)
    return LexicalEntry(
        fields=settings.fields, analysis=query_analysis(settings).model_dump(mode="json"), weight=weight
    )


class LexicalIndexes:
    """What a run knows of the lexical indexes that stand; `settings` of None: there are to be none."""

    def __init__(self, store: Store, settings: LexicalConfig | None, parent: Manifest | None) -> None:
        self.store, self.settings = store, settings
        self.analysis = None if settings is None else analysis_of(settings).identity
        known = () if parent is None else parent.partitions
        self.parents = {one.name: one.lexical for one in known if one.lexical is not None}

    def wanted(self, partition: str, segments: PartitionSegments) -> LexicalRecord | str | None:
        """The lexical index of a partition of these segments, where it stands: the parent's, else any of its inputs;
        else the inputs of the one to build. None: it has none.
        """
        if self.settings is None:
            return None
        fields = sorted(self.settings.fields)
        inputs = identity_of(
            {
                "format": FORMAT,
                "texts": segments.texts,
                "fields": fields,
                "analysis": self.analysis,
                "rows": segments.total,
            }
        )
        parent = self.parents.get(partition)
        if parent is not None and parent.inputs == inputs and _whole(self.store, parent):
            if own_lexical_record(self.store, parent.name) is None:
                write_record(self.store, record_path(parent.name), parent)
            return parent
        record = _made(self.store, inputs)
        if record is not None and _whole(self.store, record):
            note_made(self.store, inputs, record.name)
            return record
        return inputs


def write_lexical(store: Store, task: LexicalTask, settings: LexicalConfig) -> LexicalRecord:
    """Build the lexical index of a task, its record last."""
    began = time.perf_counter()
    shards, fields = shards_of_run(store.root, task.shards), sorted(settings.fields)
    texts, segments = shards.segments.of(task.partition).texts, opened(store, shards.located(task.partition))
    analysis = analysis_of(settings)
    with store.scratch() as folder:
        built = build_lexical(text_blocks(segments, texts, fields), fields, analysis, folder)
        name, files = put_files(store, task.inputs, folder, built.files, built.rows)
    record = LexicalRecord(
        name=name,
        inputs=task.inputs,
        made_of=made_of(texts),
        analysis=analysis.identity,
        fields=tuple(fields),
        rows=built.rows,
        terms=built.terms,
        postings=built.postings,
        words=built.words,
        files=files,
        build_seconds=time.perf_counter() - began,
    )
    standing = own_lexical_record(store, name)
    if standing is None or (standing.inputs, standing.files) != (record.inputs, record.files):
        write_record(store, record_path(name), record)
    note_made(store, task.inputs, name)
    return record


def own_lexical_record(store: Store, name: str) -> LexicalRecord | None:
    """The record of lexical index `name`; None when there is none of that name."""
    return read_record(store, record_path(name), LexicalRecord, name)


def lexical_record(store: Store, inputs: str) -> LexicalRecord:
    """The record of the lexical index of these inputs, which this run built or found whole."""
    record = _made(store, inputs)
    if record is None:
        raise lost_record(f"the record of the lexical index of {inputs}", made_path(inputs), "index")
    return record


def note_made(store: Store, inputs: str, name: str) -> None:
    """Note which index was made of `inputs`; anew where that stood, for it may be old, and now it is needed."""
    write_record(store, made_path(inputs), Made(name=inputs, index=name))


def _made(store: Store, inputs: str) -> LexicalRecord | None:
    name = pointed_index(store, inputs)
    record = None if name is None else own_lexical_record(store, name)
    return record if record is not None and record.inputs == inputs else None


def _whole(store: Store, record: LexicalRecord) -> bool:
    return all(store.stands(file) for file in record.files.values())
