"""Runs of one category: what they replace, what they leave as it was, and what they refuse to mix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from foundation.errors import InputError
from pipeline.config.encoding import towers
from pipeline.config.load import Config
from tests.support.command import run
from tests.support.stores import everything, manifest_of
from tests.support.three_kinds import KINDS, Rows, accounted, answers, entries, write
from tests.support.tiny_fusions import random_fusion
from tests.support.tiny_models import text_model


def test_a_category_run_replaces_only_its_partition(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str]
) -> None:
    """Other partitions' entries are equal, their pending changes wait, and answers are those of a full run."""
    write(tmp_path, rows)
    run(config())
    before = entries(tmp_path / "store")
    rows[1]["title"], rows[2]["title"] = "red boots, kind of shoes", "a toy that is not asked for"  # shoes, toys
    write(tmp_path, rows)
    encoded.clear()
    report = run(config(), category="shoes")
    assert encoded == ["red boots, kind of shoes"]
    assert (report.rows_in, report.rows_embedded, report.rows_in_snapshot) == (13, 13, 40)
    after = entries(tmp_path / "store")
    assert [name for name in KINDS if before[name] != after[name]] == ["shoes"]
    assert accounted(manifest_of(tmp_path / "store"), 40)
    again = run(config(), category="shoes")
    assert again.status == "unchanged"
    run(config(store="fresh"))
    assert answers(tmp_path / "store", "shoes") == answers(tmp_path / "fresh", "shoes")
    run(config())
    assert answers(tmp_path / "store") == answers(tmp_path / "fresh")
    assert manifest_of(tmp_path / "store").content == manifest_of(tmp_path / "fresh").content


def test_a_first_run_may_be_of_one_category(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The empty store gets that partition alone; the next category joins it."""
    write(tmp_path, rows)
    assert run(config(), category="toys").rows_embedded == 13
    assert list(entries(tmp_path / "store")) == ["toys"]
    second = run(config(), category="fruit")
    assert (second.rows_embedded, second.rows_in_snapshot) == (14, 27)
    assert list(entries(tmp_path / "store")) == ["fruit", "toys"]
    assert accounted(manifest_of(tmp_path / "store"), 27)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("encoders.text.dim=64", "text"),
        ("fusion.text_weight=0.3", "fusion"),
        ("catalog.attributes=[title, photo]", "attributes"),
        ("catalog.partition_levels=2", "catalog.partition_levels"),
        ("catalog.columns.title=kind", "catalog.columns"),
        ("catalog.text=[kind]", "catalog.text"),
        ("catalog.more_images=photo", "catalog.more_images"),
        ("catalog.max_text_chars=5", "catalog.max_text_chars"),
        ("catalog.null_words=[None]", "catalog.null_words"),
        ("catalog.image_root=.", "catalog.image_root"),
    ],
)
def test_a_category_is_not_mixed_with_others_read_or_encoded_otherwise(
    tmp_path: Path, rows: Rows, config: Callable[..., Config], encoded: list[str], override: str, named: str
) -> None:
    """One category under other settings is refused before any work, and what differs is named."""
    write(tmp_path, rows)
    run(config())
    before = everything(tmp_path / "store")
    encoded.clear()
    with pytest.raises(InputError) as caught:
        run(config(override), category="toys")
    assert caught.value.exit_code == 2
    assert caught.value.expected.startswith(f"{named} as in the published snapshot")
    assert caught.value.came.startswith(f"{named}: ")
    assert not encoded
    assert everything(tmp_path / "store") == before


def test_a_category_run_after_the_fusion_moved(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The same fusion in another folder is the published one; another one is refused, in the same folder too."""
    write(tmp_path, rows)
    identities = [tower.identity for tower in towers(config()) if tower]

    def using(folder: str) -> Config:
        return config(f"fusion={{type: transformer, model: {tmp_path / folder}}}")

    random_fusion(tmp_path / "here", "transformer", 256, 0, identities)
    run(using("here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(using("there"), category="toys").rows_in == 13
    (tmp_path / "there").rename(tmp_path / "kept")
    for folder in ("here", "there"):
        random_fusion(tmp_path / folder, "transformer", 256, 1, identities)
        with pytest.raises(InputError, match="fusion as in the published snapshot"):
            run(using(folder), category="toys")


def test_a_category_run_after_an_encoder_moved(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """The same model in another folder is the published encoder; another model in its place is not."""
    write(tmp_path, rows)

    def using(folder: str) -> Config:
        return config(f"encoders.text={{type: hf_text, max_tokens: 16, model: {tmp_path / folder}}}")

    text_model(tmp_path / "here", "bert")
    run(using("here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(using("there"), category="toys").rows_in == 13
    text_model(tmp_path / "here", "distilbert")
    with pytest.raises(InputError, match="text as in the published snapshot"):
        run(using("here"), category="toys")


def test_a_category_run_builds_its_own_index_alone(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> None:
    """New settings of the index are for the category only: the others' indexes stay the published ones."""
    write(tmp_path, rows)
    run(config())
    before = entries(tmp_path / "store")
    report = run(config("index.seed=9"), category="shoes")
    after = entries(tmp_path / "store")
    assert (report.status, report.indexes_reused, report.partitions[0].reused) == ("published", 2, True)
    assert [name for name in KINDS if before[name] != after[name]] == ["shoes"]
    assert len(list((tmp_path / "store" / "indexes").glob("*/record.json"))) == 4
    assert [gate.name for gate in report.gates if not gate.passed] == []
