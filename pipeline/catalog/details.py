"""What is told of a row that the catalog itself rejects, beside the reason: fixed words, then `: ` and what is this
row's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from foundation.reasons import Reason


def reject_details(reject: pa.Array, ids: pa.Array, not_utf8: Mapping[str, pa.Array]) -> pa.Array:
    """The detail of each row of `reject`, string; null where that is.

    `not_utf8` has a mask of the rows by column.
    """
    details: list[str | None] = [None] * len(reject)
    for row in pc.indices_nonzero(pc.is_valid(reject)).to_pylist():
        details[row] = _detail(
            reject[row].as_py(), ids[row].as_py(), [name for name in not_utf8 if not_utf8[name][row].as_py()]
        )
    return pa.array(details, pa.string())


def _detail(reason: str, row_id: str | None, not_utf8: list[str]) -> str:
    if reason == Reason.INVALID_TEXT:
        return f"bytes that are not UTF-8 in {', '.join(not_utf8)}"
    if reason == Reason.MISSING_ID:
        return "the id is null or blank"
    if reason == Reason.DUPLICATE_ID:
        return f"the id came before: {(row_id or '')[:200]}"
    return "neither text nor photo in the row"
