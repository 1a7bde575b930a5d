"""Columns of a text that are encoded each by itself: scores by an independent formula, what stands in for a column that
a product lacks, and whole nights by the command.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.base import RowText, encoder_spec, load_text
from encoders.fusion.base import fusion_spec
from encoders.fusion.fields import FieldMembers, FieldSample, FieldsMissing, measured_fields
from encoders.fusion.load import load_fusion
from encoders.fusion.members import Members
from encoders.towers import Tower
from tests.support.command import ANY_NIGHT, told, vitrine
from tests.support.stores import manifest_of
from tests.support.two_towers import towers, unit

CONFIG = "configs/weightless.yaml"
FIELDS = (
    "encoders.text={type: joined_texts, towers: [{type: hashed_text, dim: 64}, {type: hashed_text, dim: 64}], "
    "fields: [title, description]}"
)


def joined(blocks: list[Any], there: Any) -> Any:
    """What the joined encoder gives: zeros for what is missing, unit rows."""
    rows = np.concatenate([block * has[:, None] for block, has in zip(blocks, there.T, strict=True)], axis=1)
    return unit(rows)


@settings(deadline=None, max_examples=40)
@given(
    weights=st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
    slopes=st.lists(st.floats(-0.5, 2), min_size=3, max_size=3),
    seed=st.integers(0, 1000),
)
def test_scores_are_the_formula(weights: list[float], slopes: list[float], seed: int) -> None:
    """Whatever a product lacks: known cosines by their weights, and for each missing one its mean, and slope times what
    the known ones have above their own. Items are of unit length, and a product finds itself.
    """
    rng, lengths = np.random.default_rng(seed), (8, 16, 8)
    blocks = [unit(rng.standard_normal((40, one))) for one in lengths]
    there = rng.random((40, 3)) < 0.6
    there[~there.any(axis=1), 0] = True
    asked = [unit(rng.standard_normal((5, one))) for one in lengths]
    missing = FieldsMissing.of([rng.standard_normal(one) * 0.1 for one in lengths], slopes)
    w, means = np.array(weights) / sum(weights), missing.vectors()
    expected = np.empty((5, 40))
    for q in range(5):
        cos = [[float(asked[m][q] @ blocks[m][i]) for m in range(3)] for i in range(40)]
        mean = [float(asked[m][q] @ means[m]) for m in range(3)]
        for i in range(40):
            known = [m for m in range(3) if there[i, m]]
            total = sum(w[m] for m in known)
            above = sum(w[m] * (cos[i][m] - mean[m]) for m in known) / total
            expected[q, i] = sum(
                w[m] * (cos[i][m] if m in known else mean[m] + missing.slopes[m] * above) for m in range(3)
            )
    tower = Tower(sum(lengths), "a", {}, lengths, by_field=True)
    for kind in ("concat", "single"):
        fields = {"type": kind, "text_weights": weights, "text_missing": missing.model_dump()}
        fusion = load_fusion(fusion_spec(fields), tower, None, "cpu")
        texts, every = joined(blocks, there), np.ones(40, bool)
        items = fusion.items(texts, np.zeros((40, 0), np.float32), every, ~every)
        assert items.shape == (40, fusion.dim) == (40, 40)
        queries = fusion.queries(text=joined(asked, np.ones((5, 3), bool)))
        np.testing.assert_allclose(queries @ items.T, expected, atol=5e-6)
        np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1, atol=1e-6)
        assert fusion.queries_of_items(items) is None


def test_what_is_measured_keeps_the_share_of_products_that_lack_a_column() -> None:
    """Of 30% without description, among products not measured on: within 5 points of the titles' own share, for
    towers with a gap and without, where scaling up is 10 points off for some, and nothing for it more.
    """
    scaled, nothing = [], []
    for gap, weights in (
        (0.0, (0.5, 0.5)),
        (0.5, (0.5, 0.5)),
        (0.3, (0.7, 0.3)),
        (1.0, (0.3, 0.7)),
    ):
        title, description, query = towers(1600, gap, seed=1)
        lacks = np.random.default_rng(2).random(1600) < 0.3
        there = np.stack([np.ones(1600, bool), ~lacks], axis=1)
        rows, asked = joined([title, description], there), joined([query, query], np.ones((1600, 2), bool))
        members = Members((32, 32), weights)
        few = np.arange(800)
        missing = measured_fields(FieldSample(rows[few], asked[few], few), members, (0.05, 0.6))
        live = FieldMembers(members, missing)
        items, queries = live.items(rows[800:]), live.queries(asked[800:1000])
        cos = query[800:1000] @ title[800:].T

        def share(scores: Any, lacks: Any = lacks[800:]) -> float:
            scores = scores.copy()
            np.fill_diagonal(scores, -np.inf)
            return float(lacks[np.argsort(-scores, axis=1)[:, :10]].mean())

        own = share(cos)
        assert share(queries @ items.T) == pytest.approx(own, abs=0.05), (gap, weights)
        other = weights[1] * (query[800:1000] @ description[800:].T)
        scaled.append(abs(share(np.where(lacks[800:], cos, weights[0] * cos + other)) - own))
        nothing.append(abs(share(weights[0] * cos + np.where(lacks[800:], 0, other)) - own))
    assert max(scaled) > 0.1
    assert min(nothing) > 0.1


def test_each_member_reads_its_column_and_a_query_is_read_by_all() -> None:
    """Zeros for a column that is not there; one tower may read the whole text."""
    plain = {"type": "hashed_text", "dim": 64}
    spec = encoder_spec({"type": "joined_texts", "towers": [plain, plain], "fields": ["title", None]})
    live, alone = load_text(spec, "cpu"), load_text(encoder_spec(plain), "cpu")
    rows = [RowText("Dress\nred", {"title": "Dress"}), RowText("red", {"title": None})]
    found, whole = live.encode_rows(rows), alone.encode(["Dress\nred", "red"])
    np.testing.assert_allclose(found[0, :64] * 2**0.5, alone.encode(["Dress"])[0], atol=1e-6)
    np.testing.assert_allclose(found[0, 64:] * 2**0.5, whole[0], atol=1e-6)
    assert not found[1, :64].any()
    np.testing.assert_allclose(found[1, 64:], whole[1], atol=1e-6)
    query = live.encode(["red dress"], "query")
    np.testing.assert_array_equal(query[:, :64], query[:, 64:])
    assert (spec.text_fields, spec.parts["tower 1 field"]) == (("title",), "title")
    assert spec.identity != encoder_spec({"type": "joined_texts", "towers": [plain, plain]}).identity


def write_catalog(path: Path, descriptions: list[str | None]) -> None:
    """Products of two words of title each."""
    colours, kinds = ("red", "green", "blue", "black", "white"), ("dress", "boot", "lamp", "chair", "mug", "scarf")
    titles = [f"{colour} {kind} {n}" for n in range(2) for colour in colours for kind in kinds]
    ids = [f"p{n}" for n in range(len(titles))]
    path.mkdir(exist_ok=True)
    pq.write_table(
        pa.table({"id": ids, "title": titles, "description": pa.array(descriptions, pa.string())}), path / "a.parquet"
    )


def test_nights_encode_what_changed_and_measure_once(tmp_path: Path) -> None:
    """A change in one column encodes its product alone; other weights encode nothing and measure anew; a night on which
    nothing changed keeps what was measured. Searches find by either column, and the parts of a score add up.
    """
    catalog, store = tmp_path / "catalog", tmp_path / "store"
    said: list[str | None] = [None if n % 3 == 0 else f"soft wool from bergen number{n}" for n in range(60)]
    write_catalog(catalog, said)
    words = (
        *(f"catalog.path={catalog}", f"store.path={store}", "catalog.image=null", "catalog.image_root=null"),
        *("catalog.text=[title,description]", "catalog.attributes=[title]", "encoders.image=null"),
        *("catalog.partition=null", FIELDS, *ANY_NIGHT),
    )

    def run(*more: str) -> tuple[Any, dict[str, int], set[str]]:
        done = vitrine("run", "-c", CONFIG, "--json", *words, *more)
        assert done.exit_code == 0, done.stderr
        made = json.loads(done.stdout)
        counts = next(step["counts"] for step in made["steps"] if step["name"] == "embed")
        return made, counts, {step["name"] for step in made["steps"]}

    _, counts, steps = run()
    assert counts["texts_encoded"] == 60
    assert "measure" in steps
    manifest = manifest_of(store)
    assert manifest.text is not None
    assert (manifest.text.by_field, manifest.dim) == (True, 136)
    measured = manifest.fusion["text_missing"]
    assert len(measured["slopes"]) == 2
    hits = json.loads(vitrine("search", store, "--text", "wool number31", "-k", 1, "--json").stdout)["hits"]
    assert hits[0]["id"] == "p31"
    hits = json.loads(vitrine("search", store, "--text", "red boot 0", "-k", 3, "--json").stdout)["hits"]
    assert "p1" in {one["id"] for one in hits}
    rank = json.loads(vitrine("explain", store, "p31", "--text", "wool number31", "--json").stdout)["rank"]
    assert sum(rank["parts"].values()) == pytest.approx(rank["score"], abs=2e-3)
    made, _, steps = run()
    assert (made["units_reused"], "measure" in steps) == (made["units"], False)
    said[31] = "soft cotton"
    write_catalog(catalog, said)
    plan = vitrine("plan", "-c", CONFIG, *words, "--rows", "--json")
    assert plan.exit_code == 0, plan.stderr
    _, counts, steps = run()
    assert (counts["texts_encoded"], counts["texts_copied"], "measure" in steps) == (1, 59, False)
    assert manifest_of(store).fusion["text_missing"] == measured
    _, counts, steps = run("fusion.text_weights=[3,1]")
    assert (counts.get("texts_encoded", 0), counts["texts_copied"]) == (0, 60)
    assert manifest_of(store).fusion["text_missing"]["slopes"] != measured["slopes"]
    assert vitrine("verify", store, "--all").exit_code == 0


def test_columns_that_cannot_be_read_alone_are_refused(tmp_path: Path) -> None:
    """One that is not in catalog.text, one that no tower reads, as many as there are towers, fusions and heads that say
    nothing of what is missing: by the key, before any work.
    """
    write_catalog(tmp_path / "catalog", ["soft"] * 60)
    words = (
        *(f"catalog.path={tmp_path / 'catalog'}", f"store.path={tmp_path / 'store'}", "catalog.image=null"),
        *("catalog.image_root=null", "encoders.image=null", "catalog.partition=null", "catalog.attributes=[title]"),
    )

    def refused(*more: str) -> str:
        done = vitrine("plan", "-c", CONFIG, *words, *more)
        assert done.exit_code == 2, done.stdout
        assert len(told(done.stderr)) == 3
        return str(done.stderr)

    assert "add description to catalog.text" in refused(FIELDS, "catalog.text=[title]")
    unread = refused(FIELDS.replace("description", "title"), "catalog.text=[title,description]")
    assert "none reads description" in unread
    assert "one column or null for each of the 2 towers" in refused(
        FIELDS.replace("[title, description]", "[title]"), "catalog.text=[title]"
    )
    both = (FIELDS, "catalog.text=[title,description]")
    assert "encoders.text.fields names columns" in refused(*both, "fusion={type: single, shared: true}")
    assert "fusion.text_head=nowhere" in refused(*both, "fusion.text_head=nowhere")
    means = "fusion.text_missing={means: ['', '', ''], slopes: [1, 1, 1]}"
    assert "leave fusion.text_missing out" in refused(*both, means)
