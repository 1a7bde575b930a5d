"""Beam shells: one fused stage from unit to shard. The logic is in the functions of rows beside this file.

Only references cross a shuffle. A unit travels as one UnitRows through the fused stage; nothing is carried between
`process_batch` calls, and nothing is emitted from `finish_bundle` (Beam drops that in front of a batch consumer).
Beam reads batch types off the annotations, so this module must not postpone their evaluation.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import apache_beam as beam
import pyarrow as pa
from apache_beam import coders
from apache_beam.metrics import Metrics

from encoders.base import ImageEncoder, TextEncoder, load_image, load_text
from encoders.fusion.base import Fusion
from encoders.photos.decoder_process import dismiss
from foundation.allocator import keep_memory
from foundation.errors import VitrineError
from foundation.liveness import attach, computing
from lookup.store.store import Store
from pipeline.catalog.stage_columns import IMAGE_VECTOR, PHOTOS, TEXT, TEXT_VECTOR, naming
from pipeline.config.encoding import fusion_of, photo_limits, refuse_other_models, tower_dims
from pipeline.config.sections import Embedding, EncodersConfig
from pipeline.embed.earlier.earlier_vectors import earlier_vectors
from pipeline.embed.earlier.reuse import fill_vectors
from pipeline.embed.earlier.why_encoded import why_encoded
from pipeline.embed.element import Row, UnitKey, UnitRows
from pipeline.embed.encode import encode_photos, encode_texts, waits
from pipeline.embed.fingerprinted_units import read_fingerprinted
from pipeline.embed.fingerprints import shard_name, stamp_photos
from pipeline.embed.fuse import fuse
from pipeline.embed.shard_files import mark_unit, write_unit
from pipeline.embed.states import StatesPath, embed_and_fuse
from pipeline.embed.tally import Tally
from pipeline.embed.tries import add_photo_states, standing, state_of
from pipeline.engine.elements import Done
from pipeline.engine.failures import translate_failures
from pipeline.engine.progress import at_unit
from pipeline.photos.root import Root
from pipeline.plan.units import Unit

Tower = TypeVar("Tower", TextEncoder, ImageEncoder)
for element in (Unit, Done):
    coders.registry.register_coder(element, coders.RowCoder)


@dataclass(frozen=True)
class EmbedJob:
    """What every step of the stage is told."""

    embedding: Embedding
    encoding: str  # the identity that the embedding had in the plan: models that are others by now are refused
    store: str  # its path
    root: Root  # of photos
    run: str
    photo_threads: int
    earlier: str  # what earlier shards offer, see earlier_vectors.py


class UnitDoFn(beam.DoFn):  # type: ignore[misc]
    """A step of the fused stage that gives batches."""

    def __init__(self, job: EmbedJob) -> None:
        self.job = job

    def infer_output_type(self, input_type: Any) -> Any:
        """Row: see the class Row."""
        return Row


class EncodeDoFn(UnitDoFn, Generic[Tower]):
    """A step that encodes. Its encoder is loaded for the first row that waits for it: a night may need none, and torch
    takes seconds. It is no attribute, for Beam looks at these while it builds the graph, and pickles what it finds.
    """

    def setup(self) -> None:
        """Refuse another model than the plan saw."""
        refuse_other_models(self.job.embedding, self.job.encoding)
        self.load: Callable[[], Tower | None] = cache(self._load)

    def load_tower(self, encoders: EncodersConfig) -> Tower | None:
        """The encoder of this step; None where the config has none. Threads of one process share it."""
        raise NotImplementedError

    def _load(self) -> Tower | None:
        encoders = self.job.embedding.encoders
        _keep_memory_for(encoders)
        with computing():
            encoder = self.load_tower(encoders)
        refuse_other_models(self.job.embedding, self.job.encoding)
        return encoder


class ReadUnit(UnitDoFn):
    """Unit -> its rows, clean and fingerprinted, and whether its shard stands already."""

    def setup(self) -> None:
        """Open the store, and what earlier shards offer; threads of one process share that."""
        self.store, self.dims = Store.at(self.job.store), tower_dims(self.job.embedding)
        with translate_failures():
            self.earlier = earlier_vectors(self.job.store, self.job.earlier)
        attach(self.store.sign_of(self.job.run))

    @beam.DoFn.yields_batches  # type: ignore[untyped-decorator]
    def process(self, unit: Unit) -> Iterator[UnitRows]:
        """Read, clean, fingerprint, and look whether the shard exists and validates."""
        embedding, root = self.job.embedding, self.job.root
        with translate_failures():
            table = read_fingerprinted(unit, embedding, root)
            if table.num_rows != unit.rows:
                groups = f"row groups {unit.first_group} to {unit.end_group - 1} from row {unit.first_row:,} on"
                raise VitrineError(
                    f"{unit.rows} rows in {groups} of {unit.path}, as planned",
                    f"{table.num_rows}",
                    "the catalog changed during the run: run again",
                )
            inputs = shard_name(self.job.encoding, naming(table))
            found, tally = standing(self.store, self.earlier, inputs, table, embedding, root)
            rows = UnitRows(UnitKey(unit.number, unit.rows), found, table, tally)
            if found.name is not None:
                Metrics.counter("vitrine", "units_reused").inc()
            else:
                table = stamp_photos(add_photo_states(table, embedding, root))
                rows = rows.having(*fill_vectors(table, *self.dims, self.earlier))
                rows = rows.having(rows.table, Tally(why=why_encoded(rows.table, self.earlier)))
        yield rows


class EncodeTexts(EncodeDoFn[TextEncoder]):
    """Rows -> rows with text vectors, of a unit whose shard does not stand."""

    def load_tower(self, encoders: EncodersConfig) -> TextEncoder | None:
        """See EncodeDoFn."""
        return load_text(encoders.text, encoders.device) if encoders.text else None

    def process_batch(self, rows: UnitRows) -> Iterator[UnitRows]:
        """Encode the whole unit in micro-batches inside this call."""
        if rows.shard.name is None:
            with translate_failures():
                encoder = self.load() if waits(rows.table, TEXT, TEXT_VECTOR) else None
                table = encode_texts(rows.table, encoder).table
            rows = rows.having(table, _encoded(rows.table, table))
        yield rows


class EncodePhotos(EncodeDoFn[ImageEncoder]):
    """Rows -> rows with photo vectors, of a unit whose shard does not stand. Pixels live inside this call only."""

    def setup(self) -> None:
        """Start the decoding threads too."""
        super().setup()
        self.limits = photo_limits(self.job.embedding.catalog)
        self.pool = ThreadPoolExecutor(self.job.photo_threads, thread_name_prefix="photos")

    def teardown(self) -> None:
        """Stop the decoding threads, and the processes that they had started."""
        self.pool.shutdown()
        dismiss()

    def load_tower(self, encoders: EncodersConfig) -> ImageEncoder | None:
        """See EncodeDoFn."""
        return load_image(encoders.image, encoders.device) if encoders.image else None

    def process_batch(self, rows: UnitRows) -> Iterator[UnitRows]:
        """Fetch, decode and encode the unit's photos, decoding ahead of the encoder."""
        if rows.shard.name is None:
            with translate_failures(), at_unit(*rows.unit):
                encoder = self.load() if waits(rows.table, PHOTOS, IMAGE_VECTOR) else None
                table = encode_photos(rows.table, encoder, self.job.root, self.limits, self.pool).table
            rows = rows.having(table, _encoded(rows.table, table))
        yield rows


class FuseAndWrite(beam.DoFn):  # type: ignore[misc]
    """Rows -> shard in the store, and a reference to it."""

    def __init__(self, job: EmbedJob) -> None:
        self.job = job

    def setup(self) -> None:
        """Open the store."""
        self.store = Store.at(self.job.store)
        self.dims = tower_dims(self.job.embedding)
        self.load_fusion = cache(self._load_fusion)

    def _load_fusion(self) -> Fusion:
        """The fusion, loaded for the first unit that is fused."""
        _keep_memory_for(self.job.embedding.encoders)
        fusion = fusion_of(self.job.embedding)
        refuse_other_models(self.job.embedding, self.job.encoding)
        return fusion

    @beam.DoFn.yields_elements  # type: ignore[untyped-decorator]
    def process_batch(self, rows: UnitRows) -> Iterator[Done]:
        """Fuse, write, and note in the run's folder which shard the unit became."""
        unit, shard = rows.unit, rows.shard
        name = shard.name
        with translate_failures():
            if name is None:
                rows = self.fuse(rows)
                embedding, state = self.job.embedding, state_of(rows.table)
                name = write_unit(self.store, shard.inputs, rows.table, embedding, state).name
            stands = shard.name is not None
            mark_unit(self.store, self.job.run, unit.number, name, stands, rows.tally)
        yield Done(unit.number, name, unit.rows, stands)

    def fuse(self, rows: UnitRows) -> UnitRows:
        """The unit with its embeddings."""
        return rows.having(fuse(rows.table, self.load_fusion(), *self.dims))

    def infer_output_type(self, input_type: Any) -> Any:
        """A reference."""
        return Done


class EncodeFuseAndWrite(FuseAndWrite):
    """Rows -> shard, for a fusion that reads states: these are too large to travel, so all is done in one place."""

    def setup(self) -> None:
        """Open the store, load fusion and encoders, and start the decoding threads."""
        super().setup()
        encoders, catalog = self.job.embedding.encoders, self.job.embedding.catalog
        if encoders.text is None or encoders.image is None:  # the config was refused
            raise TypeError("a fusion that reads states needs both encoders")
        self.path = StatesPath(
            load_text(encoders.text, encoders.device),
            load_image(encoders.image, encoders.device),
            self.load_fusion(),
            self.job.root,
            photo_limits(catalog),
            ThreadPoolExecutor(self.job.photo_threads, thread_name_prefix="photos"),
        )
        refuse_other_models(self.job.embedding, self.job.encoding)

    def teardown(self) -> None:
        """Stop the decoding threads, and the processes that they had started."""
        self.path.pool.shutdown()
        dismiss()

    def fuse(self, rows: UnitRows) -> UnitRows:
        """The unit encoded and fused, chunk by chunk."""
        fused = embed_and_fuse(rows.table, self.path)
        return rows.having(fused, _encoded(rows.table, fused))


def _encoded(before: pa.Table, after: pa.Table) -> Tally:
    """The vectors that one has and the other had not, which are counted for Beam's metrics too."""
    columns = [(table.column(TEXT_VECTOR), table.column(IMAGE_VECTOR)) for table in (before, after)]
    texts, photos = (had.null_count - has.null_count for had, has in zip(*columns, strict=True))
    Metrics.counter("vitrine", "texts_encoded").inc(texts)
    Metrics.counter("vitrine", "photos_encoded").inc(photos)
    return Tally(texts_encoded=texts, photos_encoded=photos)


def _keep_memory_for(encoders: EncodersConfig) -> None:
    """In a worker's own process nothing was said yet, and any of the encoding steps may be the first to import
    torch.
    """
    if encoders.networks_on_cpu:
        keep_memory()
