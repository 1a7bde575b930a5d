"""Beam shells: one fused stage from unit to shard, and one from build task to index. The logic is in embed.py and
build.

Only references cross a shuffle. A unit travels as one RecordBatch through the fused stage; nothing is carried between
`process_batch` calls, and nothing is emitted from `finish_bundle` (Beam drops that in front of a batch consumer).
Beam reads batch types off the annotations, so this module must not postpone their evaluation.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam import coders
from apache_beam.metrics import Metrics
from apache_beam.typehints.batch import BatchConverter

from encoders.base import load_image, load_text
from encoders.photos.decoder_process import dismiss
from foundation.errors import VitrineError
from foundation.liveness import attach, computing
from lookup.store.store import Store
from pipeline.catalog.rows import read_unit
from pipeline.config.encoding import encoding_identity, fusion_of, photo_limits, refuse_other_models, tower_dims
from pipeline.config.load import Config
from pipeline.embed import fingerprints
from pipeline.embed.rows import embed_photos, embed_texts, fuse
from pipeline.embed.shard_files import mark_unit, write_unit
from pipeline.embed.states import StatesPath, embed_and_fuse
from pipeline.embed.tries import standing, state_of, with_states
from pipeline.engine.allocator import keep_memory
from pipeline.engine.elements import Done
from pipeline.engine.failures import translate_failures
from pipeline.engine.progress import at_unit
from pipeline.files.pinned import unchanged
from pipeline.plan.units import Unit

_META = b"vitrine"


class Row(NamedTuple):
    """The element type that Beam knows of a batch's rows; rows themselves never become elements."""

    row: int


for element in (Unit, Done):
    coders.registry.register_coder(element, coders.RowCoder)


class UnitBatchConverter(BatchConverter):  # type: ignore[misc]
    """Makes pa.RecordBatch a batch type of Beam's. Turning batches into elements raises: it would be silent and 20x
    slower.
    """

    @staticmethod
    @BatchConverter.register(name="vitrine_unit_batch")  # type: ignore[untyped-decorator]
    def from_typehints(element_type: type, batch_type: type) -> "UnitBatchConverter":
        """The converter for this pair of types; TypeError tells Beam to look on."""
        if batch_type != pa.RecordBatch:
            raise TypeError("batch type must be pa.RecordBatch")
        return UnitBatchConverter(batch_type, element_type)

    def get_length(self, batch: pa.RecordBatch) -> int:
        """Rows."""
        return int(batch.num_rows)

    def estimate_byte_size(self, batch: pa.RecordBatch) -> int:
        """Bytes."""
        return int(batch.nbytes)

    def explode_batch(self, batch: pa.RecordBatch) -> Any:
        """Never: see the class."""
        raise TypeError("a batch left the fused stage: keep ReadUnit to WriteShard adjacent, each with process_batch")

    def produce_batch(self, elements: Any) -> Any:
        """Never: see the class."""
        raise TypeError(
            "elements were sent to a batch stage: keep ReadUnit to WriteShard adjacent, each with process_batch"
        )


class ReadUnit(beam.DoFn):  # type: ignore[misc]
    """Unit -> its rows as one batch, or an empty batch when its shard stands already."""

    def __init__(self, config: Config, root: str) -> None:
        self.config, self.root = config, root
        self.encoding = encoding_identity(config)

    def setup(self) -> None:
        """Open the store."""
        self.store = Store.at(self.config.store.path)
        attach(self.store.backend.sign)

    @beam.DoFn.yields_batches  # type: ignore[untyped-decorator]
    def process(self, unit: Unit) -> Iterator[pa.RecordBatch]:
        """Read, clean, fingerprint, and look whether the shard exists and validates."""
        with translate_failures():
            table = read_fingerprinted(unit, self.config, self.root)
            if table.num_rows != unit.rows:
                groups = f"row groups {unit.first_group} to {unit.end_group - 1} from row {unit.first_row:,} on"
                raise VitrineError(
                    f"{unit.rows} rows in {groups} of {unit.path}, as planned",
                    f"{table.num_rows}",
                    "the catalog changed during the run: run again",
                )
            name = fingerprints.shard_name(self.encoding, table.drop_columns(["version", "stamps"]))
            found = standing(self.store, name, table, self.config, self.root)
            if found.stands:
                Metrics.counter("vitrine", "units_reused").inc()
                table = table.slice(0, 0)
            else:
                table = with_states(table, self.config, self.root)
                stamped = fingerprints.with_stamps(table.column("photos"), table.column("stamps"))
                table = table.set_column(table.column_names.index("photos"), "photos", stamped)
        meta = {"unit": unit.number, "rows": unit.rows, "shard": found.name, "before": found.before}
        yield _batch(table.drop_columns(["version", "stamps"]), meta)

    def infer_output_type(self, input_type: Any) -> Any:
        """Row: see the class Row."""
        return Row


class EncodeTexts(beam.DoFn):  # type: ignore[misc]
    """Batch -> batch with text vectors. Without a text tower the batch passes as it is."""

    def __init__(self, config: Config) -> None:
        self.config, self.encoding = config, encoding_identity(config)
        self.spec, self.device = config.encoders.text_spec, config.encoders.device
        self.networks = config.encoders.networks_on_cpu

    def setup(self) -> None:
        """Load the encoder; threads of one process share it."""
        _keep_memory_for(self.networks)
        with computing():
            self.encoder = load_text(self.spec, self.device) if self.spec else None
        refuse_other_models(self.config, self.encoding)

    def process_batch(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Encode the whole unit in micro-batches inside this call."""
        if self.encoder is not None and batch.num_rows:
            with translate_failures():
                table = embed_texts(pa.Table.from_batches([batch]), self.encoder)
            batch = _batch(table, _meta(batch))
            Metrics.counter("vitrine", "texts_encoded").inc(batch.num_rows - batch.column("text_vector").null_count)
        yield batch

    def infer_output_type(self, input_type: Any) -> Any:
        """Row: see the class Row."""
        return Row


class EncodePhotos(beam.DoFn):  # type: ignore[misc]
    """Batch -> batch with photo vectors. Pixels live inside this call only."""

    def __init__(self, config: Config, root: str) -> None:
        self.config, self.encoding = config, encoding_identity(config)
        self.spec, self.device, self.root = config.encoders.image_spec, config.encoders.device, root
        self.limits = photo_limits(config.catalog)
        self.threads = config.run.photo_threads
        self.networks = config.encoders.networks_on_cpu

    def setup(self) -> None:
        """Load the encoder and start the decoding threads."""
        _keep_memory_for(self.networks)
        with computing():
            self.encoder = load_image(self.spec, self.device) if self.spec else None
        refuse_other_models(self.config, self.encoding)
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="photos")

    def teardown(self) -> None:
        """Stop the decoding threads, and the processes that they had started."""
        self.pool.shutdown()
        dismiss()

    def process_batch(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Fetch, decode and encode the unit's photos, decoding ahead of the encoder."""
        if self.encoder is not None and batch.num_rows:
            meta = _meta(batch)
            with translate_failures(), at_unit(meta["unit"], meta["rows"]):
                table = embed_photos(pa.Table.from_batches([batch]), self.encoder, self.root, self.limits, self.pool)
            batch = _batch(table, meta)
            Metrics.counter("vitrine", "photos_encoded").inc(batch.num_rows - batch.column("image_vector").null_count)
        yield batch

    def infer_output_type(self, input_type: Any) -> Any:
        """Row: see the class Row."""
        return Row


class FuseAndWrite(beam.DoFn):  # type: ignore[misc]
    """Batch -> shard in the store, and a reference to it."""

    def __init__(self, config: Config, run: str) -> None:
        self.config, self.run = config, run
        self.encoding = encoding_identity(config)

    def setup(self) -> None:
        """Open the store and load the fusion."""
        _keep_memory_for(self.config.encoders.networks_on_cpu)
        self.store = Store.at(self.config.store.path)
        self.dims = tower_dims(self.config)
        self.fusion = fusion_of(self.config)
        refuse_other_models(self.config, self.encoding)

    @beam.DoFn.yields_elements  # type: ignore[untyped-decorator]
    def process_batch(self, batch: pa.RecordBatch) -> Iterator[Done]:
        """Fuse, write, and note in the run's folder which shard the unit became."""
        meta, reused = _meta(batch), not batch.num_rows
        name = meta["shard"]
        with translate_failures():
            if not reused:
                fused = self.fused(pa.Table.from_batches([batch]))
                name = write_unit(self.store, meta["shard"], fused, self.config, state_of(fused), meta["before"]).name
            mark_unit(self.store, self.run, meta["unit"], name, reused)
        yield Done(meta["unit"], name, meta["rows"], reused)

    def fused(self, unit: pa.Table) -> pa.Table:
        """The unit with its embeddings."""
        return fuse(unit, self.fusion, *self.dims)

    def infer_output_type(self, input_type: Any) -> Any:
        """A reference."""
        return Done


class EncodeFuseAndWrite(FuseAndWrite):
    """Batch -> shard, for a fusion that reads states: these are too large to travel, so all is done in one place."""

    def __init__(self, config: Config, root: str, run: str) -> None:
        super().__init__(config, run)
        self.root = root

    def setup(self) -> None:
        """Open the store, load fusion and encoders, and start the decoding threads."""
        super().setup()
        encoders, catalog = self.config.encoders, self.config.catalog
        if encoders.text_spec is None or encoders.image_spec is None:  # the config was refused
            raise TypeError("a fusion that reads states needs both encoders")
        self.path = StatesPath(
            load_text(encoders.text_spec, encoders.device),
            load_image(encoders.image_spec, encoders.device),
            self.fusion,
            self.root,
            photo_limits(catalog),
            ThreadPoolExecutor(self.config.run.photo_threads, thread_name_prefix="photos"),
        )
        refuse_other_models(self.config, self.encoding)

    def teardown(self) -> None:
        """Stop the decoding threads, and the processes that they had started."""
        self.path.pool.shutdown()
        dismiss()

    def fused(self, unit: pa.Table) -> pa.Table:
        """The unit encoded and fused, chunk by chunk."""
        table = embed_and_fuse(unit, self.path)
        for what, column in (("texts", "text_vector"), ("photos", "image_vector")):
            Metrics.counter("vitrine", f"{what}_encoded").inc(table.num_rows - table.column(column).null_count)
        return table


def _keep_memory_for(networks: bool) -> None:
    """In a worker's own process nothing was said yet, and any of the encoding steps may be the first to import
    torch.
    """
    if networks:
        keep_memory()


def read_fingerprinted(unit: Unit, config: Config, root: str) -> pa.Table:
    """One unit: clean rows of its category, with fingerprints of text and photos, and the stamps of these."""
    duplicates = np.frombuffer(unit.duplicates, dtype=np.int32).tolist()
    groups = range(unit.first_group, unit.end_group)
    limit = config.shards.max_unit_bytes
    with unchanged(unit.path, unit.pin):
        table = read_unit(unit.path, groups, unit.first_row, duplicates, config.catalog, limit, unit.spellings)
    if unit.category:
        table = table.filter(pa.compute.equal(table.column("partition"), unit.category))
    photos, versions = table.column("photos"), table.column("version")
    found, stamps = fingerprints.stamped_fingerprints(photos, versions, config.catalog, root)
    table = table.append_column("text_fingerprint", fingerprints.text_fingerprints(table.column("text")))
    return table.append_column("photo_fingerprint", found).append_column("stamps", stamps)


def _batch(table: pa.Table, meta: dict[str, Any]) -> pa.RecordBatch:
    """One RecordBatch whose schema metadata says which unit it is."""
    schema = table.schema.with_metadata({_META: json.dumps(meta)})
    batches = table.combine_chunks().to_batches()
    if len(batches) > 1:  # Arrow keeps chunks apart where strings together exceed 2 GB
        raise ValueError(f"unit {meta['unit']} does not fit one batch: {[len(batch) for batch in batches]} rows")
    columns = batches[0].columns if batches else [pa.nulls(0, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _meta(batch: pa.RecordBatch) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(batch.schema.metadata[_META])
    return meta
