"""The columns of a unit's rows: what each stage leaves, by name and Arrow type, from the catalog to the shard.

A function from table to table says by `row_function` which columns it needs, which it adds or sets anew, and which it
drops. It reads no others, so that a stage can be understood, moved or repeated by what stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from index_builders.rows.shards import embedding_type
from pipeline.catalog.columns import PHOTO as _PHOTO

ROW = "row"  # its number, counted from the first row of the unit's first row group
ID = "id"
PARTITION = "partition"  # never null
TEXT = "text"  # cleaned and joined; null: none
TEXTS = "texts"  # struct of those that are searched by their words, by canonical column; null: none. Without: no fields
FIELDS = "text_fields"  # struct of those that an encoder reads by themselves, as TEXTS
PHOTOS = "photos"  # null: none; once fingerprinted, each with its stamp, see photos.py
VERSION = "version"  # of `catalog.version_column`
ATTRIBUTES = "attributes"
NOT_UTF8 = "not_utf8"  # names of attributes that are null because their text is none; null: no such
REJECT = "reject"  # a Reason; null: a good row
DETAIL = "detail"  # in words, why a row is rejected, degraded, or lost a photo
TEXT_FINGERPRINT = "text_fingerprint"
PHOTO_FINGERPRINT = "photo_fingerprint"
STAMPS = "stamps"  # of the row's photos
PHOTO_STATE = "photo_state"  # of the files of the row's photos, where no fingerprint tells of these, see embed/tries.py
TEXT_VECTOR = "text_vector"  # float16 bytes; null: none
IMAGE_VECTOR = "image_vector"
TEXT_FAULT, TEXT_DETAIL = "text_fault", "text_detail"  # why a row has no text vector
IMAGE_FAULT, IMAGE_DETAIL = "image_fault", "image_detail"  # why it has no image vector, or lost some of its photos
PHOTO = "photo"  # path of the first one
PHOTO_COUNT, PHOTOS_LOST = "photo_count", "photos_lost"
MAY_PASS = "photo_may_pass"  # whether a photo was lost to what may pass, see PhotoError
DEGRADED = "degraded"  # a Reason: the row lost all of a modality, and is embedded by the other
EMBEDDING = "embedding"

READ = (ROW, ID, PARTITION, TEXT, TEXTS, FIELDS, PHOTOS, VERSION, ATTRIBUTES, NOT_UTF8, REJECT, DETAIL)
FINGERPRINTED = (*READ, TEXT_FINGERPRINT, PHOTO_FINGERPRINT, STAMPS)
_NAMED = tuple(name for name in FINGERPRINTED if name not in (VERSION, STAMPS, NOT_UTF8, TEXTS, FIELDS))
# vectors that stand, and nulls for the encoders
FILLED = (*_NAMED, TEXTS, FIELDS, NOT_UTF8, PHOTO_STATE, TEXT_VECTOR, IMAGE_VECTOR)
ENCODED = (
    *(name for name in FILLED if name not in (TEXT, FIELDS, PHOTOS)),
    *(PHOTO, PHOTO_COUNT, PHOTOS_LOST, TEXT_FAULT, TEXT_DETAIL, IMAGE_FAULT, IMAGE_DETAIL, MAY_PASS),
)
FUSED = (*ENCODED, DEGRADED, EMBEDDING)

FINGERPRINT = pa.binary(16)
STAMPED_PHOTO = pa.struct([*_PHOTO, pa.field("stamp", pa.string())])
_TYPES = {
    **dict.fromkeys((ROW, PHOTO_COUNT, PHOTOS_LOST), pa.int32()),
    **dict.fromkeys((ID, PARTITION, TEXT, VERSION, REJECT, DETAIL, PHOTO, DEGRADED), pa.string()),
    **dict.fromkeys((TEXT_FAULT, TEXT_DETAIL, IMAGE_FAULT, IMAGE_DETAIL), pa.string()),
    **dict.fromkeys((TEXT_FINGERPRINT, PHOTO_FINGERPRINT, PHOTO_STATE), FINGERPRINT),
    **dict.fromkeys((STAMPS, NOT_UTF8), pa.list_(pa.string())),
    MAY_PASS: pa.bool_(),
}


def naming(table: pa.Table) -> pa.Table:
    """The columns that name a shard, in their order: texts that are searched among them where there are such."""
    texts = (TEXTS,) if table.schema.field(TEXTS).type.num_fields else ()
    return table.select([*_NAMED, *texts])


class Shape(NamedTuple):
    """What a catalog and its encoders decide of the types: the struct of attributes, lengths of vectors, None: no such
    tower, and the structs of texts that are searched, and that are read by themselves.
    """

    attributes: pa.DataType
    text: int | None
    image: int | None
    embedding: int
    texts: pa.DataType = pa.struct([])
    fields: pa.DataType = pa.struct([])


def vector_type(dim: int | None) -> pa.DataType:
    """The type of a tower's vectors; of a tower that is absent the type of nothing but nulls."""
    return pa.null() if dim is None else pa.binary(2 * dim)


def stage_schema(stage: tuple[str, ...], shape: Shape) -> pa.Schema:
    """Names and types of the columns that `stage` leaves."""
    types = _TYPES | {
        PHOTOS: pa.list_(_PHOTO if stage in (READ, FINGERPRINTED) else STAMPED_PHOTO),
        ATTRIBUTES: shape.attributes,
        TEXTS: shape.texts,
        FIELDS: shape.fields,
        TEXT_VECTOR: vector_type(shape.text),
        IMAGE_VECTOR: vector_type(shape.image),
        EMBEDDING: embedding_type(shape.embedding),
    }
    return pa.schema([(name, types[name]) for name in stage])


# --- what functions of rows say of themselves ---


class Columns(NamedTuple):
    """What a function needs of a table, adds to it or sets anew, and drops."""

    needs: tuple[str, ...]
    adds: tuple[str, ...]
    drops: tuple[str, ...]


Function = TypeVar("Function", bound=Callable[..., Any])
ROW_FUNCTIONS: dict[Callable[..., Any], Columns] = {}  # of the modules that are imported


def row_function(
    needs: tuple[str, ...] = (), adds: tuple[str, ...] = (), drops: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Declare the columns of a function whose first argument is a table, which it leaves as it is."""

    def declare(function: Function) -> Function:
        ROW_FUNCTIONS[function] = Columns(needs, adds, drops)
        return function

    return declare


def with_columns(table: pa.Table, **columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    """`table` with these columns, in place of those of their names."""
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
    return table
