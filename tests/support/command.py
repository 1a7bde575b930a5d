"""The command in this process, on small catalogs: its arguments, its messages, and whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from pipeline.commands.cli import cli
from pipeline.config.load import Config, load_config
from pipeline.report.run_report import RunReport


def overrides(catalog: Path, store: Path, *more: str) -> list[str]:
    """Command-line overrides that run `configs/weightless.yaml` on a demo catalog in small units."""
    return [
        f"catalog.path={catalog / 'catalog'}",
        f"catalog.image_root={catalog}",
        f"store.path={store}",
        "shards.unit_rows=30",
        *more,
    ]


def config_for(catalog: Path, store: Path, *more: str, env: dict[str, Any] | None = None) -> Config:
    """The config that those overrides make."""
    return load_config("configs/weightless.yaml", overrides(catalog, store, *more), env or {}).config


# Overrides for a catalog of `write_titles`: texts only, one partition, small vectors.
TITLES_ONLY = (
    "catalog.image_root=null",
    "catalog.image=null",
    "catalog.text=[title]",
    "catalog.partition=null",
    "catalog.attributes=[title]",
    "encoders.image=null",
    "encoders.text.dim=32",
)


# Overrides for nights that have nothing to do with the one before.
ANY_NIGHT = (
    "gates.max_row_drop=1",
    "gates.max_row_growth=1000",
    "gates.max_partition_growth=1000",
    "gates.min_ids_kept=0",
    "gates.max_texts_changed=1",
    "gates.max_photos_changed=1",
    "gates.max_texts_repeated=1",
    "gates.max_photos_repeated=1",
    "gates.max_null_rise=1",
    "gates.max_attribute_shift=1",
    "gates.max_reject_rise=1",
    "gates.max_degraded_rise=1",
    "gates.max_photos_lost_rise=1",
    "gates.max_hours_older=1000000",
)


def write_titles(path: Path, titles: Sequence[str | None], row_group_rows: int = 1000, **more: Sequence[Any]) -> Path:
    """A catalog file of `titles` with ids P0, P1, ..., and of the columns `more`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": [f"P{number}" for number in range(len(titles))], "title": pa.array(titles, pa.string())}
    pq.write_table(pa.table({**columns, **more}), path, row_group_size=row_group_rows, write_page_checksum=True)
    return path


def vitrine(*arguments: object) -> Result:
    """The command, in this process: exit code, stdout and stderr. A failure that it does not foresee is raised here."""
    return CliRunner().invoke(cli, [str(word) for word in arguments], prog_name="vitrine", catch_exceptions=False)


def words_of_titles(catalog: Path | str, store: Path, *more: str) -> list[str]:
    """The words of `vitrine run` on a catalog of `write_titles`."""
    where = (f"catalog.path={catalog}", f"store.path={store}")
    return ["run", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, *more]


def run_titles(catalog: Path | str, store: Path, *more: str) -> Result:
    """`vitrine run` on a catalog of `write_titles`."""
    return vitrine(*words_of_titles(catalog, store, *more))


def told(stderr: str) -> tuple[str, str, str]:
    """The one error message in `stderr`: expected, came, to do."""
    assert stderr.count("error\nexpected: ") == 1, stderr
    assert "Traceback" not in stderr, stderr
    message = stderr.partition("error\nexpected: ")[2]
    expected, _, rest = message.partition("\ncame: ")
    came, _, fix = rest.rpartition("\nto do: ")
    assert all(part.strip() for part in (expected, came, fix)), stderr
    return expected, came, fix.strip()


def run(config: Config, *beam_arguments: str, category: str | None = None, no_parent: bool = False) -> RunReport:
    """A whole run in this process, as `vitrine run` does it."""
    from pipeline import run as stages

    return stages.run(stages.Request(config, category, beam_arguments, no_parent=no_parent))
