"""What is told of a row that the catalog itself rejects, beside the reason: fixed words, then `: ` and what is this
row's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from foundation.reasons import Reason


def reject_details(
    reject: pa.Array,
    ids: pa.Array,
    too_large: pa.Array,
    not_utf8: Mapping[str, pa.Array],
    nested: Mapping[str, pa.Array],
    numbers: Mapping[str, pa.Array],
) -> pa.Array:
    """The detail of each row of `reject`, string; null where that is.

    `too_large` has the bytes of too large rows; by column, `not_utf8` and `nested` (not to be cleaned) have masks of
    rows, and `numbers` what names nothing.
    """

    def of(row: int, columns: Mapping[str, pa.Array]) -> dict[str, Any]:
        return {name: value for name, column in columns.items() if (value := column[row].as_py())}

    words: dict[Reason, Callable[[int], str]] = {
        Reason.ROW_TOO_LARGE: lambda row: f"more than catalog.max_row_bytes: {too_large[row].as_py():,} bytes",
        Reason.INVALID_TEXT: lambda row: (
            f"bytes that are not UTF-8 in {', '.join(of(row, not_utf8))}"
            if of(row, not_utf8)
            else f"markup, entities or mojibake in one another, too deep to be cleaned, in {', '.join(of(row, nested))}"
        ),
        Reason.INVALID_NUMBER: lambda row: "; ".join(of(row, numbers).values()),
        Reason.MISSING_ID: lambda row: "the id is null or blank",
        Reason.DUPLICATE_ID: lambda row: f"the id came before: {(ids[row].as_py() or '')[:200]}",
        Reason.NO_MODALITY: lambda row: "neither text nor photo in the row",
    }
    details: list[str | None] = [None] * len(reject)
    for row in pc.indices_nonzero(pc.is_valid(reject)).to_pylist():
        details[row] = words[Reason(reject[row].as_py())](row)
    return pa.array(details, pa.string())
