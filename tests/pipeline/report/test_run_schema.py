"""The schema of run.json: it is the code's, what runs write is as it says, and what earlier versions wrote is read.

`python -m tests.pipeline.report.test_run_schema` writes docs/reference/run.schema.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.run_report import PartitionRow, RunReport
from tests.support.command import run_titles, write_titles
from tests.support.json_schema import RUN_SCHEMA, check_run_json, faults
from tests.support.stores import last_log

NO_NUMBER = {"enum": ["NaN", "Infinity", "-Infinity"]}  # plain JSON has none; elsewhere it is null


def schema() -> dict[str, Any]:
    """The schema of what a run writes now, and of what it wrote before."""
    made = RunReport.model_json_schema(mode="serialization")
    for name, record in [*made["$defs"].items(), ("", made)]:
        instead = NO_NUMBER if name == PartitionRow.__name__ else {"type": "null"}
        for field in record.get("properties", {}).values():
            if field.get("type") == "number":
                field["anyOf"] = [{"type": field.pop("type")}, instead]
    for record in made["$defs"].values():  # what has a default was not written by an earlier version
        record["required"] = [one for one in record.get("required", ()) if "default" not in record["properties"][one]]
    lacking = {name for name, field in RunReport.model_fields.items() if not field.is_required()} - {"format"}
    made["required"] = [name for name in made["required"] if name not in lacking]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "run.json of a Vitrine run"}
    return {**made, **head}


def test_the_schema_is_that_of_the_code() -> None:
    """docs/reference/run.schema.json is what this file writes."""
    assert json.loads(RUN_SCHEMA.read_text()) == schema(), "python -m tests.pipeline.report.test_run_schema"


@pytest.mark.parametrize(
    "words", [(), ("--category", "all"), ("gates.max_reject_share=0",), ("catalog.text=[nothing]",)]
)
def test_what_a_run_writes_is_as_the_schema_says(words: tuple[str, ...], tmp_path: Path) -> None:
    """Of a run that publishes, of a category, refused by a gate, or refused before its plan: run.json is as the schema
    says, and names version, host and config.
    """
    catalog = write_titles(tmp_path / "catalog.parquet", ["red dress", None, "blue shoe"])
    done = run_titles(catalog, tmp_path / "store", *words)
    document = json.loads(last_log(tmp_path / "store", "run.json"))
    check_run_json(document)
    assert document["exit_code"] == done.exit_code
    assert (document["format"], document["host"]["cores"] > 0, len(document["config"])) == (2, True, 64)
    assert document["vitrine"]


def test_a_schema_that_is_not_met_is_noticed(tmp_path: Path) -> None:
    """A field that is unknown, lacks, or is of another kind is a fault."""
    catalog = write_titles(tmp_path / "catalog.parquet", ["red dress"])
    run_titles(catalog, tmp_path / "store")
    document = json.loads(last_log(tmp_path / "store", "run.json"))
    without = {name: value for name, value in document.items() if name != "rows_in"}
    for wrong in ({**document, "more": 1}, without, {**document, "status": "done"}, {**document, "rows_in": "many"}):
        assert faults(wrong, schema())


def test_a_run_json_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """One of format 1, without the fields of later, is as the schema says, and read with their defaults."""
    catalog = write_titles(tmp_path / "catalog.parquet", ["red dress"])
    run_titles(catalog, tmp_path / "store")
    document = json.loads(last_log(tmp_path / "store", "run.json"))
    later = ("category", "vitrine", "host", "config", "encoded", "bytes_added", "snapshot_bytes")
    old = {name: value for name, value in document.items() if name not in later} | {"format": 1}
    old["steps"] = [{name: value for name, value in step.items() if name != "rates"} for step in old["steps"]]
    for gate in old["gates"]:
        del gate["partition"], gate["accepted"]
    check_run_json(old)
    read = RunReport.model_validate_json(json.dumps(old))
    assert (read.rows_in, read.host, read.encoded) == (1, None, ())


if __name__ == "__main__":
    RUN_SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n")
