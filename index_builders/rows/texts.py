"""The texts of a shard's rows that are searched by their words: a struct column, read segment by segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from foundation.errors import IntegrityError
from index_builders.rows.shards import TEXTS, SegmentRef, read_segments

_BYTES = 16  # of a digest
_AT_ONCE = 4_096  # rows of a block


def texts_digest(texts: pa.StructArray) -> str:
    """32 hex digits of the texts of some rows, in order: which fields there are, who has none of one, and the texts."""
    digest = blake3(len(texts).to_bytes(8, "little"))
    for field, values in zip(texts.type, texts.flatten(), strict=True):
        there = pc.is_valid(values).to_numpy(zero_copy_only=False)
        raw = [one.encode() for one in values.drop_null().to_pylist()]
        digest.update(field.name.encode() + b"\0" + np.packbits(there).tobytes())
        digest.update(np.array([len(one) for one in raw], "<i8").tobytes())
        digest.update(b"".join(raw))
    return digest.hexdigest(_BYTES)


def text_blocks(segments: Iterable[SegmentRef], digests: Sequence[str], fields: Sequence[str]) -> Iterator[pa.Table]:
    """The texts of `segments`, whose digests are given, in order: tables of the string columns `fields`, null where a
    row has none. IntegrityError for a segment that is not as it was written.
    """
    for ref, wanted in zip(segments, digests, strict=True):
        (table,) = read_segments(ref.path, [ref.row_group], [TEXTS])
        found = table.column(TEXTS).combine_chunks() if TEXTS in table.column_names else pa.array([], pa.struct([]))
        came = texts_digest(found)
        if len(found) != ref.rows or came != wanted:
            raise IntegrityError(
                f"{ref.path} with {ref.rows} texts of digest {wanted} in row group {ref.row_group}",
                f"{len(found)} of digest {came}",
                "run `vitrine verify STORE`, delete the files that it names, and run `vitrine run` again",
            )
        texts = pa.table(dict(zip(found.type.names, found.flatten(), strict=True))).select(list(fields))
        yield from (texts.slice(start, _AT_ONCE) for start in range(0, ref.rows, _AT_ONCE))
