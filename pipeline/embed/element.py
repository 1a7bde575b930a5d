"""What travels through the fused stage from unit to shard: all rows of a unit, as one batch of Beam's.

Beam reads batch types off annotations, so modules with `process_batch` must not postpone their evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
from apache_beam.typehints.batch import BatchConverter

from pipeline.embed.tally import NOTHING_DONE, Tally
from pipeline.embed.tries import Standing


class UnitKey(NamedTuple):
    """Which unit of the plan, and how many rows it has."""

    number: int
    rows: int


@dataclass(frozen=True)
class UnitRows:
    """The rows of a unit, with the columns that the stage before left: see catalog/stage_columns.py. Where the shard
    stands, nobody looks at them any more.
    """

    unit: UnitKey
    shard: Standing
    table: pa.Table
    tally: Tally = NOTHING_DONE

    def having(self, table: pa.Table, tally: Tally = NOTHING_DONE) -> UnitRows:
        """The same unit with another table, for which `tally` was done beside."""
        return replace(self, table=table, tally=self.tally + tally)


class Row(NamedTuple):
    """The element type that Beam knows of a batch's rows; rows themselves never become elements."""

    row: int


class UnitRowsConverter(BatchConverter):  # type: ignore[misc]
    """Makes UnitRows a batch type of Beam's. Turning batches into elements raises: it would be silent, and 20x
    slower.
    """

    @staticmethod
    @BatchConverter.register(name="vitrine_unit_rows")  # type: ignore[untyped-decorator]
    def from_typehints(element_type: type, batch_type: type) -> UnitRowsConverter:
        """The converter for this pair of types; TypeError tells Beam to look on."""
        if batch_type != UnitRows:
            raise TypeError("batch type must be UnitRows")
        return UnitRowsConverter(batch_type, element_type)

    def get_length(self, batch: UnitRows) -> int:
        """Rows."""
        return int(batch.table.num_rows)

    def estimate_byte_size(self, batch: UnitRows) -> int:
        """Bytes."""
        return int(batch.table.nbytes)

    def explode_batch(self, batch: UnitRows) -> Any:
        """Never: see the class."""
        raise TypeError("a batch left the fused stage: keep ReadUnit to WriteShard adjacent, each with process_batch")

    def produce_batch(self, elements: Any) -> Any:
        """Never: see the class."""
        raise TypeError(
            "elements were sent to a batch stage: keep ReadUnit to WriteShard adjacent, each with process_batch"
        )
