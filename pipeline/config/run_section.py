"""The section `run`: how the machine is used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.byte_sizes import Bytes
from pipeline.config.section import Count, Name, Section

LogFormat = Literal["text", "json"]


class RunConfig(Section):
    """How the machine is used; no value here changes a result."""

    workers: Count = Field(
        2,
        description="threads of the local runner, each with a unit in memory, no more than there are units; they share "
        "one encoder. Networks on a CPU take all its cores, so that one worker feeds them",
    )
    # More only wait: of a bucket, too, a connection each.
    photo_threads: Annotated[Count, Field(le=1_024)] = Field(
        2, description="threads that fetch and decode photos, in each worker; at most 1,024"
    )
    part_rows: Count = Field(
        262_144,
        description="rows added to an index at a time, up to whole blocks of 16,384: larger partitions are built as "
        "parts, in parallel, and merged on disk",
    )
    memory: Bytes | None = Field(
        None,
        description="bytes of memory that a run may hold, such as 4GB: less is done at once until it fits, or it is "
        "refused; null: any",
    )
    stall_minutes: Annotated[float, Field(gt=0)] | None = Field(
        30,
        description="minutes without any progress (a micro-batch, a photo, rows read, a unit, a step) after which a "
        "run or a training is ended, its stacks in the log; null: never",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    metrics_path: Name | None = Field(
        None,
        description="file of the metrics for node_exporter's textfile collector, in a folder that is there, such as "
        "/var/lib/node_exporter/vitrine.prom; null: in the run's folder only",
    )
    log_format: LogFormat = Field(
        "text", description="lines on stderr: text, or json, one object a line; log.txt is text"
    )
