"""The sections of the config: frozen, every key with its type, default and meaning. config.py loads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, PrivateAttr

from encoders.base import EncoderSpec
from encoders.fusion.base import FusionSpec
from encoders.names import clean_separator
from index_builders.devices import DEVICE
from index_builders.settings import IndexSettings
from lookup.filters.currencies import PLACES
from pipeline.config.byte_sizes import Bytes
from pipeline.config.duplicates import DuplicatesConfig
from pipeline.config.golden import GoldenConfig
from pipeline.config.lexical import LexicalConfig
from pipeline.config.photo_urls import PhotoUrls
from pipeline.config.run_section import RunConfig
from pipeline.config.search_section import SearchConfig
from pipeline.config.section import Count, Name, NotNegative, Seconds, Section, Share, Switch, listed, words
from pipeline.config.specs import AS_FIELDS, checked_tower


def _separator(value: str) -> str:
    cleaned = clean_separator(value)
    if not cleaned:
        raise ValueError(
            "something that can be seen, as `>` or ` / `: white space and what is invisible never separates"
        )
    return cleaned


def _currency(value: str) -> str:
    if value not in PLACES:
        raise ValueError("a code of ISO 4217 such as EUR")
    return value


def _rows_or_auto(value: object) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("a whole number of rows, 1 or more, or `auto`")


def _version(value: object) -> int | str | None:
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).strip()):
        return value
    raise ValueError("a whole number, a time (ISO 8601) or a name")


UnitRows = Annotated[int | Literal["auto"], PlainValidator(_rows_or_auto)]
Separator = Annotated[str, AfterValidator(_separator)]


class CatalogConfig(PhotoUrls):
    """The input table, its columns, and where its photos are."""

    path: Name = Field(
        description="Parquet file, folder or glob; local (relative to the current directory) or an fsspec URL"
    )
    table: Literal["delta", "iceberg"] | None = Field(
        None, description="what kind of table `path` is: delta or iceberg, read by its own log; null: Parquet files"
    )
    version: Annotated[int | str | None, PlainValidator(_version)] = Field(
        None,
        description="the table's version: its number, a time (ISO 8601) or, of Iceberg, a snapshot's id, a branch or a "
        "tag; null: the latest",
    )
    image_root: Name | None = Field(
        None,
        description="folder, or archives (`.tar`, `.zip`, a glob of them), that photo paths are relative to and stay "
        "inside; null: the catalog's folder",
    )
    columns: dict[Name, Name] = Field(
        {}, description="canonical column: its name in the file; columns not listed keep their names"
    )
    text: tuple[Name, ...] = Field(
        ("title", "description"), description="canonical columns joined, in order, for the text tower"
    )
    image: Name | None = Field(
        "image_link", description="canonical column of the first photo: path, URL, file URI, bytes or {bytes, path}"
    )
    more_images: Name | None = Field(
        None,
        description="canonical column of further photos, such as additional_image_link: a list, or paths with commas "
        "between",
    )
    image_type: Literal["base64"] | None = Field(
        None, description="base64: texts in the columns of photos are photos, alone or as `data:` URIs; null: paths"
    )
    partition: Name | None = Field(None, description="canonical column that splits the catalog; null: one partition")
    partition_levels: Count = Field(1, description="levels of the partition column that count, as in `Fruit > Apple`")
    partition_separator: Annotated[tuple[Separator, ...], BeforeValidator(listed), Field(min_length=1)] = Field(
        (">",),
        description="what separates levels, one or several; with spaces, as ` / `, only where there are spaces",
    )
    attributes: tuple[Name, ...] = Field(
        ("title",), description="canonical columns carried to each hit, and filtered by"
    )
    prices: tuple[Name, ...] = Field(
        (), description="those of the attributes that are prices, as in `1,299.00 USD`: filters compare the amounts"
    )
    currency: Annotated[str, AfterValidator(_currency)] | None = Field(
        None, description="the shop's own, such as EUR: of prices that name none, and of queries as `under 20`"
    )
    numbers: tuple[Name, ...] = Field(
        (), description="those of the attributes that are numbers written as text, as `4,5`: read with decimal_mark"
    )
    decimal_mark: Literal[".", ","] | None = Field(
        None,
        description="the decimal mark of prices and numbers that can be read in two ways, as `1,299`; null: such are "
        "not read",
    )
    null_words: Annotated[tuple[Name, ...], BeforeValidator(words)] = Field(
        (), description="words that are null in every column, as `nan` or `\\N`; trimmed, case counts"
    )
    image_identity: Literal["stat", "bytes", "version"] = Field(
        "stat", description="what tells that a photo changed: path + size + mtime, its bytes, or path + version_column"
    )
    version_column: Name | None = Field(None, description="canonical column whose value changes with the photo")
    # 20 MB and 50 MP: caps under which none of 7,500 damaged or hostile photos exhausted a worker.
    max_photo_bytes: Bytes = Field(
        20_000_000, description="bytes of a photo file, such as 20MB; larger ones are rejected"
    )
    max_photo_pixels: Count = Field(
        50_000_000, description="width x height that a photo may claim; larger ones are not decoded"
    )
    max_photo_seconds: Seconds = Field(
        10.0, description="seconds of CPU that decoding a photo may take; one that takes longer is given up"
    )
    max_text_chars: Count = Field(
        10_000, description="characters of cleaned text that reach the text tower; the rest is cut"
    )
    max_row_bytes: Bytes = Field(
        67_108_864, description="bytes of a row's columns in use once decoded, such as 64MiB; larger rows are rejected"
    )
    max_partitions: Count = Field(
        256, description="partitions beyond which the partition column is taken for a mistake"
    )
    _searched: tuple[str, ...] = PrivateAttr(())
    _parts: Mapping[str, Any] | None = PrivateAttr(None)
    _text_fields: tuple[str, ...] = PrivateAttr(())

    @property
    def searched(self) -> tuple[str, ...]:
        """Canonical columns whose texts shards keep, by name: those that are searched by their words; none without
        `lexical`.
        """
        return self._searched

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Canonical columns whose texts an encoder reads by themselves, beside the whole text."""
        return self._text_fields

    def reading(self, fields: Iterable[str]) -> CatalogConfig:
        """The same, with the texts of the columns `fields` beside the whole text."""
        found = self.model_copy()
        found._text_fields = tuple(fields)
        return found

    def searching(self, fields: Iterable[str]) -> CatalogConfig:
        """The same, with texts of the columns `fields` kept."""
        found = self.model_copy()
        found._searched = tuple(sorted(fields))
        return found

    @property
    def parts(self) -> Mapping[str, Any] | None:
        """How files are read that are not plain, path -> files.parts.Part, as a plan found them; None before there is
        one.
        """
        return self._parts

    def planned(self, parts: Mapping[str, Any], version: int | None = None) -> CatalogConfig:
        """The same, whose files are read as a plan found them, see `parts`; of a table in its `version`."""
        found = self.model_copy(update={} if version is None else {"version": version})
        found._parts = dict(parts)
        return found


class EncodersConfig(Section):
    """The towers, specs of encoders; each may be null, not both."""

    device: str = Field("cpu", pattern=DEVICE, description="where encoders run: cpu, cuda or cuda:N")
    text: Annotated[EncoderSpec | None, PlainValidator(checked_tower("text")), AS_FIELDS] = Field(
        {"type": "hashed_text", "dim": 256},
        validate_default=True,
        description="encoder of texts, by type; null: no text tower",
    )
    image: Annotated[EncoderSpec | None, PlainValidator(checked_tower("image")), AS_FIELDS] = Field(
        {"type": "photo_descriptors"},
        validate_default=True,
        description="encoder of photos, by type; null: no image tower",
    )

    @property
    def networks_on_cpu(self) -> bool:
        """Whether networks compute on the CPU, where each takes all cores."""
        specs = (self.text, self.image)
        return self.device == "cpu" and any(spec is not None and spec.network for spec in specs)


class ShardsConfig(Section):
    """How the catalog is cut into units of work: whole row groups, or pieces of 32,768 rows of a larger one."""

    unit_rows: UnitRows = Field(
        "auto",
        description="rows at which a unit takes no further row group; at most 32,768 count. auto: 1,024, doubled until "
        "there are 64 units at most, a unit has 64 rows of a category on average, and units times categories are "
        "100,000 at most",
    )
    max_unit_bytes: Bytes = Field(
        268_435_456,
        description="bytes of a unit's used columns once decoded, such as 256MiB; more are refused, over 1 GiB always",
    )
    towers: Switch = Field(
        True, description="keep the vectors of both towers beside the embedding, for whoever reads shards"
    )


class GatesConfig(Section):
    """What a snapshot must satisfy to be published. Shares are of 1."""

    max_reject_share: Share = Field(
        0.05, description="rejected rows, share of the rows read; least_rows of them, or more than half"
    )
    max_degraded_share: Share = Field(
        0.3,
        description="rows indexed without one of their modalities, share of the rows embedded; least_rows of them, or "
        "more than half",
    )
    max_photos_lost_share: Share = Field(
        0.3, description="photos that could not be read, share of those of the rows embedded; least_rows of them"
    )
    max_row_drop: Share = Field(0.3, description="rows fewer than in the parent snapshot, share of the parent's")
    max_row_growth: NotNegative = Field(
        0.5, description="rows more than in the parent snapshot, share of the parent's; least_rows of them at least"
    )
    max_partition_growth: NotNegative = Field(
        1.0, description="the same of each partition, of which small ones grow by leaps: 1 is twice as many"
    )
    min_ids_kept: Share = Field(
        0.8, description="ids of the parent that are still there, of a partition: in it; least_rows gone at least"
    )
    max_texts_changed: Share = Field(
        0.2, description="products with another text than in the parent, share of those that both have in one partition"
    )
    max_photos_changed: Share = Field(0.2, description="likewise products with other photos")
    max_texts_repeated: Share = Field(
        0.1, description="likewise products more than in the parent whose text another one has: `N/A`, or cut texts"
    )
    max_photos_repeated: Share = Field(
        0.1, description="likewise products more whose photos look like another one's to the last bit: a placeholder"
    )
    max_null_rise: Share = Field(
        0.1, description="likewise rise of the share without a value, of the attribute where it rose most"
    )
    max_attribute_shift: Share = Field(
        0.1,
        description="likewise distance of an attribute's values from the parent's: numbers and prices beyond twice or "
        "half of what they were, texts of up to 256 values; a sale passes, prices times 100 do not",
    )
    max_reject_rise: Share = Field(
        0.03, description="rise of the share of rejected rows over the parent's; least_rows rejected more at least"
    )
    max_degraded_rise: Share = Field(0.1, description="likewise of rows indexed without one of their modalities")
    max_photos_lost_rise: Share = Field(0.1, description="likewise of photos that could not be read")
    least_rows: Count = Field(
        20,
        description="rows, or photos, that must be lost or changed before a share of them refuses: one of three stops "
        "nothing",
    )
    max_moved_share: Share = Field(
        0.01,
        description="of a category that is run alone: published products that stand in other categories by now, share "
        "of its products; least_rows of them at least",
    )
    max_changed_types: int = Field(
        0,
        ge=0,
        strict=True,
        description="attributes that no longer compare with the parent's, as a number that became text",
    )
    max_hours_older: NotNegative = Field(
        1.0, description="hours by which the newest file of a catalog may be older than the newest of the parent's was"
    )
    min_recall: Share = Field(0.9, description="measured recall@k of each partition's index")
    max_missing_shift: Share = Field(
        0.05,
        description="share of products without photo among hits of queries by text, more or less than under the text "
        "tower alone; likewise of those without text, by photo",
    )

    max_agreement_drop: Share = Field(
        0.15,
        description="agreement of texts with photos that is lost, share of the parent's; of 50 products that have "
        "both, and more than chance explains",
    )
    max_found_again_drop: Share = Field(
        0.1,
        description="products that are no longer found by their own text, or by their own photo, encoded anew, share "
        "of those asked; more than chance explains",
    )

    max_index_growth: Annotated[float, Field(ge=0, strict=True)] = Field(
        0.5,
        description="by how much a partition's new index, without ids, takes more bytes than as many rows of the "
        "parent's of the same type and settings, or than its type takes: share of these; 1 MB at least",
    )
    min_golden: Share = Field(
        0.9,
        description="golden queries that find a product which they expect, share of those whose products the snapshot "
        "has; two that miss, or more than half",
    )
    min_ranker_gain: Share = Field(
        0.001,
        description="gain of the re-ranker over none in nDCG@10 on held-out queries: the low end of its 95% interval",
    )
    max_golden_unknown: Share = Field(
        0.3, description="golden queries whose products the snapshot does not have, share of all; two at least"
    )

    def enough(self, part: float, whole: float) -> bool:
        """Whether `part` of `whole` may stop a run: one of three is an accident, most of them are not, however few."""
        return part >= self.least_rows or part > 0.5 * whole


class StoreConfig(Section):
    """Where snapshots are published."""

    path: Name = Field(description="folder of the store, relative to the current directory; made where it is absent")


# --- sections that go together: below the commands nobody takes the whole config ---


@dataclass(frozen=True)
class Embedding:
    """What decides embeddings: the catalog as it is read, the towers, how these are fused, and how units are cut."""

    catalog: CatalogConfig
    encoders: EncodersConfig
    fusion: FusionSpec
    shards: ShardsConfig


@dataclass(frozen=True)
class Indexing:
    """What decides indexes: the embeddings, and what is made of them."""

    embedding: Embedding
    index: IndexSettings
    lexical: LexicalConfig | None = None
    duplicates: DuplicatesConfig | None = None


@dataclass(frozen=True)
class RunSettings:
    """What a run goes by: what decides indexes, when they may be published, how the machine is used, and the store."""

    indexing: Indexing
    gates: GatesConfig
    limits: RunConfig
    store: str  # its path
    golden: GoldenConfig = field(default_factory=GoldenConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    @property
    def embedding(self) -> Embedding:
        """What decides embeddings."""
        return self.indexing.embedding

    def embedded_by(self, embedding: Embedding) -> RunSettings:
        """The same, of other embeddings."""
        return replace(self, indexing=replace(self.indexing, embedding=embedding))
