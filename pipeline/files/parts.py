"""What a table says of one of its files that the file itself does not: columns of the path or of the log, columns by
another name, and rows that are deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.identity import identity_of

Positions = npt.NDArray[np.int64]
_FIELD_ID = b"PARQUET:field_id"
_DASHES = [8, 12, 16, 20]  # of the 32 digits of a UUID (RFC 9562)
_APART = " (of the table)"  # marks a column of the table whose name another column of the file has


class Column(NamedTuple):
    """A column that a file, its path or its table has: `key` names it among what is read of the file."""

    key: str
    type: pa.DataType


@dataclass(frozen=True)
class Part:
    """How one file is read. `constants` have one value in all of its rows. `fields`, where a table has a schema of its
    own, are all of its columns: the id of the field in the file, or its name there; `named` are names of such as have
    no ids, and `inner`, where there is one, has the same of every field of a struct, step by step below its column.
    `deleted` are the numbers of rows of the file that do not count, rising. With `table_first` a constant counts before
    a column of the file.
    """

    constants: Mapping[str, pa.Scalar] = field(default_factory=dict)
    fields: Mapping[str, int | str] | None = None
    deleted: bytes = b""  # int64
    table_first: bool = False
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    inner: Mapping[str, tuple[int | str, ...]] | None = None

    @property
    def rows_deleted(self) -> int:
        """How many rows of the file do not count."""
        return len(self.deleted) // 8

    def columns(self, schema: pa.Schema, fields: Collection[str] = ()) -> dict[str, Column]:
        """Every column that can be read of a file whose own columns are `schema`, by the name that the table gives it;
        constants that are null have the type null. Of `fields` those that are fields of structs, as `info.brand`.
        """
        own = {name: Column(name, _stored_type(schema.field(at).type)) for name, at in self._own(schema).items()}
        for name, value in self.constants.items():
            if name not in own or self.table_first:
                own[name] = Column(self.key(name, schema), value.type if value.is_valid else pa.null())
        inner = {name: self._field(name, schema) for name in fields if name not in own and "." in name}
        return own | {name: column for name, column in inner.items() if column is not None}

    def key(self, name: str, schema: pa.Schema) -> str:
        """What the column `name` of the table is called among what is read, also where the file lacks it."""
        at = self._own(schema).get(name)
        if at is not None and not (self.table_first and name in self.constants):
            return str(schema.names[at])
        inner = None if name in self.constants or "." not in name else self._field(name, schema)
        if inner is not None:
            return inner.key
        taken = name in schema.names or PLAIN._field(name, schema) is not None
        return f"{name}{_APART}" if taken else name

    def constant(self, key: str) -> pa.Scalar | None:
        """The value of a column that is not read of the file; None where it is null in all rows."""
        value = self.constants.get(key.removesuffix(_APART))
        return value if value is not None and value.is_valid else None

    def deleted_in(self, metadata: pq.FileMetaData, group: int) -> Positions:
        """Numbers of the deleted rows of a row group, counted from its first, rising."""
        every = np.frombuffer(self.deleted, np.int64)
        if not len(every):
            return every
        start = sum(metadata.row_group(before).num_rows for before in range(group))
        first, end = np.searchsorted(every, [start, start + metadata.row_group(group).num_rows])
        return np.asarray(every[first:end] - start, np.int64)

    @property
    def identity(self) -> str:
        """Equal for two parts that are read alike."""
        constants = {name: [str(value.type), str(value)] for name, value in sorted(self.constants.items())}
        fields = None if self.fields is None else dict(self.fields)
        way = {
            "fields": fields,
            "first": self.table_first,
            "named": {**self.named},
            "inner": self.inner and {**self.inner},
        }
        return identity_of({"constants": constants, "deleted": self.deleted.hex(), **way})

    def _field(self, name: str, schema: pa.Schema) -> Column | None:
        """The field of a struct, by the names of the columns and fields that hold it; None where there is none."""
        top, *path = name.split(".")
        at = self._own(schema).get(top)
        steps = path if self.inner is None else self.inner.get(name)
        if at is None or steps is None:
            return None
        if isinstance(steps[0], int) and not _ids(schema):  # a file that was added as it was
            steps = path
        found = schema.field(at)
        key = [schema.names[at]]
        for step in steps:
            places = _ids(found.type) if isinstance(step, int) else _names(found.type)
            if step not in places:
                return None
            found = found.type.field(places[step])
            key.append(found.name)
        return Column(".".join(key), _stored_type(found.type))

    def _own(self, schema: pa.Schema) -> dict[str, int]:
        """Name in the table -> place in the file, of the columns that the file has; of several of a name the last."""
        if self.fields is None:
            return {name: at for at, name in enumerate(schema.names)}
        by_name, by_id = _names(schema), _ids(schema)
        if self.named and not by_id:
            ways = {name: [by_name[one] for one in names if one in by_name] for name, names in self.named.items()}
            return {name: places[0] for name, places in ways.items() if places}
        found = {
            name: by_id.get(one) if isinstance(one, int) else by_name.get(one) for name, one in self.fields.items()
        }
        return {name: at for name, at in found.items() if at is not None}


def _ids(fields: pa.Schema | pa.DataType) -> dict[int | str, int]:
    """Id -> place, of the fields of a schema or a struct that have one; of another type none."""
    return {
        int(one.metadata[_FIELD_ID]): at
        for at, one in enumerate(_fields(fields))
        if one.metadata and _FIELD_ID in one.metadata
    }


def _names(fields: pa.Schema | pa.DataType) -> dict[int | str, int]:
    """The same of names, of several of a name the last."""
    return {one.name: at for at, one in enumerate(_fields(fields))}


def _fields(of: pa.Schema | pa.DataType) -> list[pa.Field]:
    return list(of) if isinstance(of, pa.Schema) or pa.types.is_struct(of) else []


PLAIN = Part()


def stored(values: pa.Array) -> pa.Array:
    """`values` as texts where Parquet marks them as JSON or UUIDs; any others as they are."""
    if isinstance(values.type, pa.JsonType):
        return values.storage
    if not isinstance(values.type, pa.UuidType):
        return values
    known = values.storage.drop_null()
    raw = np.frombuffer(b"".join(known.to_pylist()), np.uint8)
    digits = np.frombuffer(raw.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    texts = np.insert(digits, _DASHES, ord("-"), axis=1)
    places = pa.array(np.cumsum(values.is_valid()) - 1, mask=values.is_null().to_numpy(zero_copy_only=False))
    return pa.array(texts.view("S36").ravel().astype(str), pa.string()).take(places)


def _stored_type(kind: pa.DataType) -> pa.DataType:
    """The type of what `stored` makes of values of a type."""
    if isinstance(kind, pa.JsonType):
        return kind.storage_type
    return pa.string() if isinstance(kind, pa.UuidType) else kind


def packed(rows: Positions) -> bytes:
    """Numbers of rows as `Part.deleted` has them."""
    return np.unique(rows.astype(np.int64)).tobytes()
